//! A hollow object: what the linker lays a kernel out by, without what it only copies.
//!
//! What: [`Hollow::new`] takes a relocatable object and gives its hollow twin, with the same section headers under the same
//! indexes, the same symbols and names, and loaded sections of the same sizes. But what the linker would only copy is
//! a hole: the contents of loaded sections, and relocations. Debug sections have no size. The twin is given as pieces of a
//! file; all sections without contents share the one hole behind the last piece.
//!
//! Why: the linker reads, relocates and copies on one thread. Half of the time of a link without debug information is
//! spent on contents that do not change where anything goes. Linked from the twin, symbols, addresses, section headers
//! and the map are the same; and contents can be put in by all threads.
//!
//! What stays real is what a linker, or a reader of an image without contents, looks into: symbols and names; sections
//! whose entries are merged; notes and every other section that is not `SHT_PROGBITS`; all that is not loaded and
//! no debug information (`.comment`); and `.BTF_ids`, whose flags say which functions are kfuncs.
//!
//! A merged section with relocations is not merged by either linker, so such a section keeps its relocations, as ones that
//! do nothing (`R_X86_64_NONE` is a record of zeros). All others can be taken away: their section headers become
//! `SHT_NULL`, which both linkers skip ([`Relocations`]).
//!
//! Linkers parse `.eh_frame` and `.sframe` with their relocations, so both stay as they are.
//!
//! What else makes layout depend on contents or relocations is refused: groups; compressed sections; warnings in `.gnu.warning`; IFUNCs, thread-local symbols and a reference to the global offset
//! table, which have the linker make sections of its own; and all but x86_64.
//!
//! Cost: the section headers are copied and symbols looked at. What is in pieces, mostly symbols and names, is a hundredth
//! of a `vmlinux.o`, and the hole is as large as the largest section. The hole is shared because the linker reads all
//! contents: pages of zeros are made once.
//!
//! Source of facts: GNU ld 2.40 (`bfd/elf.c`, `bfd_section_from_shdr`; `bfd/merge.c`, `_bfd_add_merge_section`), ld.lld 19
//! (`ELF/InputFiles.cpp`, `initializeSections`), and images linked both ways.

use std::borrow::Cow;

use image::consts::{
    EM_X86_64, ET_REL, SHF_ALLOC, SHF_COMPRESSED, SHF_GROUP, SHF_MERGE, SHF_TLS, SHN_UNDEF,
    SHT_GROUP, SHT_NOBITS, SHT_NULL, SHT_PROGBITS, SHT_REL, SHT_RELA, SHT_SYMTAB, STT_GNU_IFUNC,
    STT_TLS,
};
use image::{Class, Elf, Endianness, Section};

use crate::error::{Error, lossy};
use crate::fields::{Fields, FileField, SectionField};
use crate::layout::too_large;
use crate::object::Input;

/// Bytes of a symbol of x86_64.
const SYMBOL: usize = 24;
/// Where the hole begins: at the next multiple of this.
const PAGE: u64 = 4096;

/// What becomes of relocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relocations {
    /// Their sections are taken away. For a link that keeps none.
    Dropped,
    /// Those of loaded sections become as many that do nothing. For a link with `--emit-relocs`, so that the image has
    /// room for them.
    Cleared,
}

/// A part of a hollow object that is not a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where it stands in the file, in bytes.
    pub offset: u64,
    /// What stands there.
    pub bytes: Cow<'a, [u8]>,
}

/// The hollow twin of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hollow<'a> {
    /// Length of the file, in bytes.
    pub len: u64,
    /// What is not a hole, by offset.
    pub pieces: Vec<Piece<'a>>,
}

impl<'a> Hollow<'a> {
    /// The twin of `object`.
    ///
    /// # Errors
    /// An object that cannot be read, or in which something depends on contents or relocations.
    pub fn new(object: &Input<'a>, relocations: Relocations) -> Result<Self, Error> {
        let bad = |fault| Error::input(object.name, fault);
        let elf = Elf::parse(object.data).map_err(bad)?;
        let refused = |what: &str| Error::unsupported(format!("{}: {what}", object.name));
        let header = elf.header();
        let format = (header.class, header.endian, header.machine, header.file_type);
        if format != (Class::Elf64, Endianness::Little, EM_X86_64.0, ET_REL.0) {
            return Err(refused("it is no relocatable object of x86_64"));
        }
        let sections = elf.sections();
        let mut headers = headers(&elf).ok_or_else(|| refused("it has no sections"))?;
        let fields = Fields::of(header);
        let (size, word) = (fields.section_header(), fields.alignment());
        let before = fields.file_header() as u64;
        let mut file = File { end: before, word, pieces: Vec::new() };
        let set = |headers: &mut [u8], index: usize, field, value| {
            fields.set_section(&mut headers[index * size..], field, value)
        };
        let (mut hole, mut holes) = (0, Vec::new());
        for (index, section) in sections.iter().enumerate() {
            if let Some(what) = obstacle(section) {
                return Err(refused(&format!("{} {what}", lossy(section.name))));
            }
            let bytes = elf.bytes(section).map_err(bad)?;
            match fate(section, sections, relocations) {
                Fate::Kept => {
                    let offset = file.add(bytes.into(), section.align);
                    set(&mut headers, index, SectionField::Offset, offset)?;
                }
                Fate::Hole => {
                    hole = hole.max(bytes.len() as u64);
                    holes.push(index);
                }
                Fate::Empty => {
                    set(&mut headers, index, SectionField::Size, 0)?;
                    set(&mut headers, index, SectionField::Offset, before)?;
                }
                Fate::Gone => headers[index * size..][..size].fill(0),
            }
            if section.sh_type == SHT_SYMTAB.0
                && let Some(what) = symbol_obstacle(&elf, section, bytes)
            {
                return Err(refused(what));
            }
        }
        let table = file.end.next_multiple_of(word);
        let start = (table + headers.len() as u64).next_multiple_of(PAGE);
        for index in holes {
            set(&mut headers, index, SectionField::Offset, start)?;
        }
        file.add(headers.into(), word);
        let mut first = object.data[..fields.file_header()].to_vec();
        fields.set_file(&mut first, FileField::SectionHeaders, table)?;
        file.pieces.insert(0, Piece { offset: 0, bytes: first.into() });
        let len = start.checked_add(hole).ok_or_else(too_large)?;
        Ok(Hollow { len, pieces: file.pieces })
    }
}

/// The file, as far as it has been laid out.
struct File<'a> {
    end: u64,
    /// Everything is aligned to this at least.
    word: u64,
    pieces: Vec<Piece<'a>>,
}

impl<'a> File<'a> {
    /// Adds what is to be aligned; gives its offset. The pieces are no larger than an object, so the offset is none
    /// beyond 64 bits.
    fn add(&mut self, bytes: Cow<'a, [u8]>, align: u64) -> u64 {
        // More than a page is of no use in a file.
        let align = if align.is_power_of_two() { align.clamp(self.word, PAGE) } else { self.word };
        let offset = self.end.next_multiple_of(align);
        if !bytes.is_empty() {
            self.end = offset + bytes.len() as u64;
            self.pieces.push(Piece { offset, bytes });
        }
        offset
    }
}

/// What becomes of a section.
enum Fate {
    /// Its contents stay.
    Kept,
    /// Its contents are a hole.
    Hole,
    /// It has no contents.
    Empty,
    /// It is none any more; its index stays.
    Gone,
}

fn fate(section: &Section<'_>, sections: &[Section<'_>], relocations: Relocations) -> Fate {
    let loaded = |section: &Section<'_>| section.flags & SHF_ALLOC.0 != 0;
    if section.sh_type == SHT_RELA.0 {
        let of = sections.get(section.info as usize);
        if of.is_some_and(is_frames) {
            return Fate::Kept;
        }
        // Without relocations entries would be merged.
        let merged = of.is_some_and(|of| of.flags & SHF_MERGE.0 != 0);
        let kept = relocations == Relocations::Cleared && of.is_some_and(loaded);
        let debug = of.is_some_and(is_debug);
        return if (merged || kept) && !debug { Fate::Hole } else { Fate::Gone };
    }
    if is_debug(section) {
        return Fate::Empty;
    }
    if section.sh_type == SHT_NOBITS.0 {
        return Fate::Hole;
    }
    let looked_into = section.sh_type != SHT_PROGBITS.0
        || section.flags & SHF_MERGE.0 != 0
        || section.name == b".BTF_ids"
        || is_frames(section);
    if loaded(section) && !looked_into { Fate::Hole } else { Fate::Kept }
}

/// Whether linkers look into a section as it is relocated, and change its size.
fn is_frames(section: &Section<'_>) -> bool {
    section.name.starts_with(b".eh_frame") || section.name.starts_with(b".sframe")
}

/// Whether both linkers leave a section out with `--strip-debug`.
fn is_debug(section: &Section<'_>) -> bool {
    section.sh_type == SHT_PROGBITS.0
        && section.flags & SHF_ALLOC.0 == 0
        && section.name.starts_with(b".debug")
}

/// Why layout may depend on what is in a section.
fn obstacle(section: &Section<'_>) -> Option<&'static str> {
    let has = |flag: u64| section.flags & flag != 0;
    let is = |prefix: &[u8]| section.name.starts_with(prefix);
    if section.sh_type == SHT_NULL.0 || section.size == 0 {
        return None;
    }
    Some(if section.sh_type == SHT_REL.0 {
        "has no addends"
    } else if section.sh_type == SHT_RELA.0 && has(SHF_ALLOC.0) {
        "has relocations that are loaded"
    } else if section.sh_type == SHT_GROUP.0 || has(SHF_GROUP.0) {
        "is in a group"
    } else if has(SHF_COMPRESSED.0) {
        "is compressed"
    } else if has(SHF_TLS.0) {
        "is thread-local"
    } else if section.sh_type == SHT_RELA.0 {
        return None;
    } else if is(b".stab") || is(b".gnu.lto_") {
        "is parsed by the linker"
    } else if is(b".gnu.warning") {
        "is a warning"
    } else {
        return None;
    })
}

/// Why layout may depend on relocations, as far as the symbols tell.
fn symbol_obstacle(elf: &Elf<'_>, table: &Section<'_>, bytes: &[u8]) -> Option<&'static str> {
    let names = elf.sections().get(table.link as usize).and_then(|names| elf.bytes(names).ok())?;
    let got = |symbol: &[u8; SYMBOL]| {
        let at = u32::from_le_bytes([symbol[0], symbol[1], symbol[2], symbol[3]]) as usize;
        names.get(at..).is_some_and(|name| name.starts_with(b"_GLOBAL_OFFSET_TABLE_\0"))
    };
    let first_global = table.info as usize;
    for (index, symbol) in bytes.as_chunks::<SYMBOL>().0.iter().enumerate() {
        match symbol[4] & 0xf {
            kind if kind == STT_GNU_IFUNC.0 => return Some("a function is an IFUNC"),
            kind if kind == STT_TLS.0 => return Some("a symbol is thread-local"),
            _ => {}
        }
        let section = u16::from_le_bytes([symbol[6], symbol[7]]);
        if index >= first_global && section == SHN_UNDEF.0 && got(symbol) {
            return Some("it refers to the global offset table");
        }
    }
    None
}

/// A copy of the section headers.
fn headers(elf: &Elf<'_>) -> Option<Vec<u8>> {
    let start = usize::try_from(elf.section_header_offset(0)?).ok()?;
    let size = Fields::of(elf.header()).section_header();
    let bytes = elf.data().get(start..)?.get(..elf.sections().len().checked_mul(size)?)?;
    Some(bytes.to_vec())
}

#[cfg(test)]
mod tests;
