//! The build ID, as the linker computes it over the finished file.
//!
//! GNU ld (`bfd/elfcode.h`, `elf_checksum_contents`; `ld/ldelf.c`, `write_build_id`) hashes the
//! file header without the offsets of the other headers; the program headers; then for each section
//! its header without its offset, and its contents. Tables that are no sections to BFD (symbols,
//! strings, names) count with their headers only. The whole note of the ID, its header and name
//! too, counts as zeros: it is written after everything else.
//!
//! ld.lld (`ELF/Writer.cpp`, `writeBuildId`) hashes the whole file with an ID of zeros: each MiB on its
//! own, then those hashes one behind the other. What it calls SHA-1 is BLAKE3, cut to 20 bytes.
//!
//! The linker hashes what it writes. A kernel's tables are sorted after that: the ID is to be set
//! before.
//!
//! A linker that is to hash nothing, because what it writes is changed after it, gets [`reserving`] in place of
//! the tree's flag: a note of the same size with an ID of zeros. GNU ld's own hash, in C,
//! takes longer.
//!
//! Cost: the hash runs through all of it, SHA-1 in one sequence with the processor's instructions, BLAKE3 by many blocks
//! at a time. [`crate::Plan::make`] hashes what it makes while other threads make the next parts.

use std::borrow::Cow;

use image::consts::{SHT_NOBITS, SHT_NOTE, SHT_STRTAB, SHT_SYMTAB};
use image::{Class, Elf, Endianness};
use sha1::{Digest, Sha1};

use crate::dialect::BuildId;
use crate::error::Error;
use crate::fields::{Fields, FileField, SectionField};
use crate::linker::Linker;

/// The flag with which a linker writes an ID of 20 zeros, and hashes nothing.
const ZEROS: &str = "--build-id=0x0000000000000000000000000000000000000000";

/// `flag`, a flag of `linker`, such that the build ID becomes one of zeros, of the same size, if it asks for one that
/// [`compute`] knows. Any other flag stays as it is.
pub fn reserving(flag: &str, linker: Linker) -> Cow<'_, str> {
    match BuildId::of_flag(flag, linker) {
        Some(BuildId::Sha1) if flag.starts_with("-Wl,") => format!("-Wl,{ZEROS}").into(),
        Some(BuildId::Sha1) => ZEROS.into(),
        Some(BuildId::None) | None => flag.into(),
    }
}

/// Type of the note with the build ID.
const NT_GNU_BUILD_ID: u32 = 3;

/// Where the note of the build ID is in a file; offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Offset of the note's header.
    pub start: usize,
    /// Offset of the ID.
    pub id: usize,
    /// End of the ID.
    pub end: usize,
}

/// Finds the note of the build ID; `None` if there is none.
///
/// # Errors
/// Notes that do not lie within the file.
pub fn locate(image: &Elf<'_>) -> Result<Option<Note>, Error> {
    for section in image.sections().iter().filter(|section| section.sh_type == SHT_NOTE.0) {
        let bytes = image.bytes(section)?;
        if let Some(note) = in_notes(bytes, image.endian() == Endianness::Little) {
            let base = section.offset as usize;
            let (start, id, end) = (base + note.start, base + note.id, base + note.end);
            return Ok(Some(Note { start, id, end }));
        }
    }
    Ok(None)
}

/// The build ID among the notes of a section, with offsets into the section.
fn in_notes(notes: &[u8], little: bool) -> Option<Note> {
    let mut at = 0usize;
    loop {
        let word = |index: usize| {
            let bytes = notes.get(at.checked_add(index * 4)?..)?.first_chunk::<4>()?;
            Some(if little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) })
        };
        let (name, desc, kind) = (word(0)? as usize, word(1)? as usize, word(2)?);
        let name_at = at.checked_add(12)?;
        let id = name_at.checked_add(name)?.checked_next_multiple_of(4)?;
        let end = id.checked_add(desc)?;
        if kind == NT_GNU_BUILD_ID && notes.get(name_at..)?.starts_with(b"GNU\0") {
            return (end <= notes.len()).then_some(Note { start: at, id, end });
        }
        at = end.checked_next_multiple_of(4)?;
    }
}

/// The build ID of 20 bytes that `linker` computes with `--build-id=sha1` for a file that it has written.
///
/// # Errors
/// A file that is no image, or one without a build ID of 20 bytes.
pub fn compute(file: &[u8], linker: Linker) -> Result<[u8; 20], Error> {
    let mut hash = Hash::new(linker);
    match linker {
        Linker::Gnu => cover_gnu(file, &mut hash)?,
        Linker::Lld => {
            let note = sha1_note(&Elf::parse(file)?)?;
            hash.update(&file[..note.id]);
            hash.zeros((note.end - note.id) as u64);
            hash.update(&file[note.end..]);
        }
    }
    Ok(hash.finish())
}

/// Computes the build ID of a file that is as `linker` wrote it, and puts it in its place.
///
/// # Errors
/// See [`compute`].
pub fn set(file: &mut [u8], linker: Linker) -> Result<[u8; 20], Error> {
    let note = sha1_note(&Elf::parse(file)?)?;
    let id = compute(file, linker)?;
    file[note.id..note.end].copy_from_slice(&id);
    Ok(id)
}

/// Gives `to` the build ID of `from`; nothing if neither has one.
///
/// # Errors
/// Files that are no images, or build IDs of which one cannot take the place of the other.
pub fn copy(from: &[u8], to: &mut [u8]) -> Result<(), Error> {
    let (source, target) = (locate(&Elf::parse(from)?)?, locate(&Elf::parse(to)?)?);
    match (source, target) {
        (None, None) => Ok(()),
        (Some(old), Some(new)) if old.end - old.id == new.end - new.id => {
            to[new.id..new.end].copy_from_slice(&from[old.id..old.end]);
            Ok(())
        }
        _ => Err(Error::disagree("images with build IDs of different forms")),
    }
}

/// The hash of what a build ID covers, in the linker's order.
pub(crate) enum Hash {
    /// GNU ld's.
    Gnu(Sha1),
    /// ld.lld's.
    Lld {
        /// What has been seen of a part.
        part: Box<blake3::Hasher>,
        /// The hashes of the parts before.
        parts: Vec<u8>,
    },
}

/// Size of the parts that ld.lld hashes, in bytes.
const LLD_PART: u64 = 1 << 20;

impl Hash {
    pub(crate) fn new(linker: Linker) -> Self {
        match linker {
            Linker::Gnu => Hash::Gnu(Sha1::new()),
            Linker::Lld => Hash::Lld { part: Box::default(), parts: Vec::new() },
        }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        match self {
            Hash::Gnu(hash) => hash.update(bytes),
            Hash::Lld { part, parts } => {
                while !bytes.is_empty() {
                    let room = (LLD_PART - part.count()) as usize;
                    let (here, behind) = bytes.split_at(room.min(bytes.len()));
                    part.update(here);
                    if part.count() == LLD_PART {
                        parts.extend(cut(&part.finalize()));
                        part.reset();
                    }
                    bytes = behind;
                }
            }
        }
    }

    /// Puts `count` zeros into the hash.
    pub(crate) fn zeros(&mut self, mut count: u64) {
        const ZEROS: [u8; 4096] = [0; 4096];
        while count > 0 {
            let now = count.min(ZEROS.len() as u64);
            self.update(&ZEROS[..now as usize]);
            count -= now;
        }
    }

    pub(crate) fn finish(self) -> [u8; 20] {
        match self {
            Hash::Gnu(hash) => hash.finalize().into(),
            Hash::Lld { part, mut parts } => {
                if part.count() > 0 {
                    parts.extend(cut(&part.finalize()));
                }
                cut(&blake3::hash(&parts))
            }
        }
    }
}

/// The first 20 bytes of a hash.
fn cut(hash: &blake3::Hash) -> [u8; 20] {
    let mut cut = [0; 20];
    cut.copy_from_slice(&hash.as_bytes()[..20]);
    cut
}

/// Hashes all of a file that GNU ld's build ID covers.
fn cover_gnu(file: &[u8], hash: &mut Hash) -> Result<(), Error> {
    let image = Elf::parse(file)?;
    let note = sha1_note(&image)?;
    let fields = Fields::of(image.header());
    let headers = (0..image.sections().len() as u32).map(|index| {
        let at = image.section_header_offset(index).unwrap_or(0) as usize;
        file.get(at..at.saturating_add(fields.section_header())).unwrap_or(&[])
    });
    let header = file.get(..fields.file_header()).unwrap_or(&[]);
    for covered in coverage(fields, header, program_headers(file)?, headers)? {
        match covered {
            Covered::Bytes(bytes) => hash.update(&bytes),
            Covered::Section(index) => {
                let section = &image.sections()[index];
                let pieces = note.cleared(section.offset as usize, image.bytes(section)?);
                pieces.iter().for_each(|piece| hash.update(piece));
            }
        }
    }
    Ok(())
}

/// The note of a build ID that is a SHA-1.
pub(crate) fn sha1_note(image: &Elf<'_>) -> Result<Note, Error> {
    let note = locate(image)?.filter(|note| note.end - note.id == 20);
    note.ok_or_else(|| Error::unsupported("an image without a build ID of 20 bytes"))
}

/// Something that GNU ld's build ID covers.
#[derive(Debug)]
pub(crate) enum Covered<'h> {
    /// These bytes.
    Bytes(Cow<'h, [u8]>),
    /// The contents of the section of this index, less the note of the build ID.
    Section(usize),
}

/// What GNU ld's build ID of a file with these headers covers, in order.
///
/// # Errors
/// Headers that are too short.
pub(crate) fn coverage<'h>(
    fields: Fields,
    file_header: &[u8],
    program_headers: &'h [u8],
    section_headers: impl Iterator<Item = &'h [u8]>,
) -> Result<Vec<Covered<'h>>, Error> {
    let mut file_header = file_header.to_vec();
    fields.set_file(&mut file_header, FileField::SectionHeaders, 0)?;
    fields.set_file(&mut file_header, FileField::ProgramHeaders, 0)?;
    let mut covered =
        vec![Covered::Bytes(file_header.into()), Covered::Bytes(program_headers.into())];
    let tables = [SHT_NOBITS.0, SHT_SYMTAB.0, SHT_STRTAB.0];
    for (index, header) in section_headers.enumerate() {
        let mut header = header.to_vec();
        fields.set_section(&mut header, SectionField::Offset, 0)?;
        let contents = fields.section_type(&header).is_some_and(|kind| !tables.contains(&kind));
        covered.push(Covered::Bytes(header.into()));
        if contents {
            covered.push(Covered::Section(index));
        }
    }
    Ok(covered)
}

impl Note {
    /// The pieces of a section's contents at `start` of the file, with zeros in place of the note.
    // PARITY: debug_link.rs, every kernel: the note's header and name count as zeros as well.
    pub(crate) fn cleared<'c>(&self, start: usize, contents: &'c [u8]) -> Vec<Cow<'c, [u8]>> {
        let within = |offset: usize| offset.checked_sub(start).filter(|&at| at <= contents.len());
        match (within(self.start), within(self.end)) {
            (Some(from), Some(to)) => {
                let zeros = vec![0; to - from];
                vec![contents[..from].into(), zeros.into(), contents[to..].into()]
            }
            _ => vec![contents.into()],
        }
    }
}

/// The program headers of a file.
///
/// # Errors
/// A file that is no image, or headers outside of it.
pub(crate) fn program_headers(file: &[u8]) -> Result<&[u8], Error> {
    let image = Elf::parse(file)?;
    let little = image.endian() == Endianness::Little;
    let number = |at: usize, size: usize| {
        let bytes = file.get(at..at + size).unwrap_or(&[]);
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
    };
    let (table, count, size) = match image.class() {
        Class::Elf64 => (number(32, 8), number(56, 2), 56),
        Class::Elf32 => (number(28, 4), number(44, 2), 32),
    };
    let end = table.checked_add(count * size).filter(|&end| end <= file.len() as u64);
    let end = end.ok_or_else(|| Error::disagree("program headers outside the file"))?;
    Ok(&file[table as usize..end as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flag_that_asks_for_a_known_build_id_is_another_where_room_is_reserved() {
        let zeros = format!("--build-id=0x{}", "00".repeat(20));
        let passed_on = format!("-Wl,{zeros}");
        for (linker, flag, expected) in [
            (Linker::Gnu, "--build-id=sha1", &zeros[..]),
            (Linker::Gnu, "-build-id", &zeros),
            (Linker::Gnu, "-Wl,--build-id=sha1", &passed_on),
            (Linker::Gnu, "--build-id=none", "--build-id=none"),
            (Linker::Gnu, "--build-id=md5", "--build-id=md5"),
            (Linker::Gnu, "--build-id=0x12", "--build-id=0x12"),
            (Linker::Gnu, "--emit-relocs", "--emit-relocs"),
            (Linker::Lld, "--build-id=sha1", &zeros),
            // Its default is a hash of 8 bytes.
            (Linker::Lld, "--build-id", "--build-id"),
            (Linker::Lld, "--build-id=tree", "--build-id=tree"),
        ] {
            assert_eq!(reserving(flag, linker), expected, "{linker:?} {flag}");
        }
    }
}
