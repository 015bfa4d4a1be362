//! The build ID, as the linker computes it over the finished file.
//!
//! GNU ld (`bfd/elfcode.h`, `elf_checksum_contents`; `ld/ldelf.c`, `write_build_id`) hashes the
//! file header without the offsets of the other headers; the program headers; then for each section
//! its header without its offset, and its contents. Tables that are no sections to BFD (symbols,
//! strings, names) count with their headers only. The whole note of the ID, its header and name
//! too, counts as zeros: it is written after everything else.
//!
//! The linker hashes what it writes. A kernel's tables are sorted after that: the ID is to be set
//! before.
//!
//! Cost: the hash runs through the whole file in one sequence; SHA-1 with the processor's
//! instructions does 1 to 2 GB/s.

use image::consts::{SHT_NOBITS, SHT_NOTE, SHT_STRTAB, SHT_SYMTAB};
use image::{Class, Elf, Endianness};
use sha1::{Digest, Sha1};

use crate::error::Error;
use crate::fields::{Fields, FileField, SectionField};

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

/// The build ID that GNU ld computes with `--build-id=sha1` for a file that it has written.
///
/// # Errors
/// A file that is no image, or one without a build ID of 20 bytes.
pub fn gnu_sha1(file: &[u8]) -> Result<[u8; 20], Error> {
    let image = Elf::parse(file)?;
    let note = sha1_note(&image)?;
    let fields = Fields::of(image.header());
    let mut hash = Sha1::new();
    hash_headers(file, fields, image.class(), &mut hash)?;
    for (index, section) in image.sections().iter().enumerate() {
        let at = image.section_header_offset(index as u32).unwrap_or(0) as usize;
        let header = file.get(at..at + fields.section_header()).unwrap_or(&[]);
        let mut header = header.to_vec();
        fields.set_section(&mut header, SectionField::Offset, 0)?;
        hash.update(&header);
        let tables = [SHT_NOBITS.0, SHT_SYMTAB.0, SHT_STRTAB.0];
        if tables.contains(&section.sh_type) {
            continue;
        }
        let contents = image.bytes(section)?;
        let start = section.offset as usize;
        // PARITY: debug_link.rs, every kernel: the note's header and name count as zeros as well.
        if start <= note.start && note.end <= start + contents.len() {
            hash.update(&contents[..note.start - start]);
            hash.update(vec![0; note.end - note.start]);
            hash.update(&contents[note.end - start..]);
        } else {
            hash.update(contents);
        }
    }
    Ok(hash.finalize().into())
}

/// The note of a build ID that is a SHA-1.
fn sha1_note(image: &Elf<'_>) -> Result<Note, Error> {
    let note = locate(image)?.filter(|note| note.end - note.id == 20);
    note.ok_or_else(|| Error::unsupported("an image without a build ID of 20 bytes"))
}

/// The file header and the program headers.
fn hash_headers(file: &[u8], fields: Fields, class: Class, hash: &mut Sha1) -> Result<(), Error> {
    let image = Elf::parse(file)?;
    let little = image.endian() == Endianness::Little;
    let number = |at: usize, size: usize| {
        let bytes = file.get(at..at + size).unwrap_or(&[]);
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
    };
    let (table, count, size) = match class {
        Class::Elf64 => (number(32, 8), number(56, 2), 56),
        Class::Elf32 => (number(28, 4), number(44, 2), 32),
    };
    let mut header = file.get(..fields.file_header()).unwrap_or(&[]).to_vec();
    fields.set_file(&mut header, FileField::SectionHeaders, 0)?;
    fields.set_file(&mut header, FileField::ProgramHeaders, 0)?;
    hash.update(&header);
    let end = table.checked_add(count * size).filter(|&end| end <= file.len() as u64);
    let end = end.ok_or_else(|| Error::disagree("program headers outside the file"))?;
    hash.update(&file[table as usize..end as usize]);
    Ok(())
}

/// Computes the build ID of a file that is as GNU ld wrote it, and puts it in its place.
///
/// # Errors
/// See [`gnu_sha1`].
pub fn set_gnu_sha1(file: &mut [u8]) -> Result<[u8; 20], Error> {
    let note = sha1_note(&Elf::parse(file)?)?;
    let id = gnu_sha1(file)?;
    file[note.id..note.end].copy_from_slice(&id);
    Ok(id)
}
