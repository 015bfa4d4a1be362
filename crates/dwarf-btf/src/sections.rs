//! The debug sections of an image, ready to be read.
//!
//! They are the image's own, or come from elsewhere ([`crate::source`]). Most of the image's own are borrowed from the file. A section that is compressed (`SHF_COMPRESSED`) is unpacked, and in
//! a relocatable file (a module) the relocations of the debug sections are applied, into a copy.

use std::borrow::Cow;

use image::{Elf, Endianness, Section, consts};

use crate::options::ReadAt;
use crate::source::{DebugSource, FilePart, Info, UNREADABLE, Unreadable};
use crate::{Error, Rules};

/// pahole crashes on them, cannot deduplicate what it made, or makes members of types that they are not.
pub(crate) const TYPE_UNITS: &str = "type units (-fdebug-types-section) are not supported";

/// `.debug_info`, here or elsewhere.
enum DwarfInfo<'d> {
    Here(Cow<'d, [u8]>),
    InFile(FilePart<'d>),
    Elsewhere(&'d dyn DebugSource),
}

/// The debug sections that types are read from.
pub(crate) struct Dwarf<'d> {
    pub big: bool,
    info: DwarfInfo<'d>,
    abbrev: Cow<'d, [u8]>,
    strings: Cow<'d, [u8]>,
    line_strings: Cow<'d, [u8]>,
    str_offsets: Cow<'d, [u8]>,
    addr: Cow<'d, [u8]>,
    loclists: Cow<'d, [u8]>,
    loc: Cow<'d, [u8]>,
}

impl<'d> Dwarf<'d> {
    /// Finds the sections. `.debug_info` is read through `read_at` if it stands in the file as it is.
    ///
    /// # Errors
    /// No `.debug_info`; a section outside the file, compressed in an unknown way, or over 4 GiB.
    pub fn load(elf: &Elf<'d>, read_at: Option<&'d ReadAt<'d>>) -> Result<Self, Error> {
        let (_, section) = elf.section(".debug_info").ok_or(Error::NoDwarf)?;
        check(elf.section(".debug_types").is_some(), section.size)?;
        let info = contents(elf, ".debug_info")?;
        let info = match (info, read_at) {
            (Cow::Borrowed(bytes), Some(read)) => {
                DwarfInfo::InFile(FilePart { start: section.offset, len: bytes.len(), read })
            }
            (info, _) => DwarfInfo::Here(info),
        };
        Ok(Dwarf {
            big: elf.endian() == Endianness::Big,
            info,
            abbrev: contents(elf, ".debug_abbrev")?,
            strings: contents(elf, ".debug_str")?,
            line_strings: contents(elf, ".debug_line_str")?,
            str_offsets: contents(elf, ".debug_str_offsets")?,
            addr: contents(elf, ".debug_addr")?,
            loclists: contents(elf, ".debug_loclists")?,
            loc: contents(elf, ".debug_loc")?,
        })
    }

    /// Takes the sections from a source, but those that are not read by these rules.
    ///
    /// # Errors
    /// No `.debug_info`, one over 4 GiB, or a section that cannot be had.
    pub fn of_source(
        endian: Endianness,
        source: &'d dyn DebugSource,
        rules: &Rules,
    ) -> Result<Self, Error> {
        let section = |name: &'static str| {
            source.section(name).map_err(|Unreadable| Error::new(name, 0, UNREADABLE))
        };
        let locations = |name| match rules.check_locations {
            true => section(name),
            false => Ok(Cow::Borrowed(&[][..])),
        };
        let size = source.info_len() as u64;
        if size == 0 {
            return Err(Error::NoDwarf);
        }
        check(!section(".debug_types")?.is_empty(), size)?;
        Ok(Dwarf {
            big: endian == Endianness::Big,
            info: DwarfInfo::Elsewhere(source),
            abbrev: section(".debug_abbrev")?,
            strings: section(".debug_str")?,
            line_strings: section(".debug_line_str")?,
            str_offsets: section(".debug_str_offsets")?,
            addr: section(".debug_addr")?,
            loclists: locations(".debug_loclists")?,
            loc: locations(".debug_loc")?,
        })
    }

    /// `.debug_info`.
    pub fn info(&self) -> Info<'_> {
        match &self.info {
            DwarfInfo::Here(bytes) => Info::Whole(bytes),
            DwarfInfo::InFile(part) => Info::InFile(*part),
            DwarfInfo::Elsewhere(source) => Info::Parts(*source),
        }
    }

    /// The sections as they are read, without `.debug_info`.
    pub fn sections(&self) -> Sections<'_> {
        Sections {
            big: self.big,
            info: &[],
            info_start: 0,
            abbrev: &self.abbrev,
            strings: &self.strings,
            line_strings: &self.line_strings,
            str_offsets: &self.str_offsets,
            addr: &self.addr,
            loclists: &self.loclists,
            loc: &self.loc,
        }
    }
}

/// What is refused before anything is read; `size` is that of `.debug_info` in bytes.
fn check(has_type_units: bool, size: u64) -> Result<(), Error> {
    if has_type_units {
        return Err(Error::new(".debug_types", 0, TYPE_UNITS));
    }
    if size >= u64::from(u32::MAX) {
        return Err(Error::new(".debug_info", 0, "the section is 4 GiB or larger"));
    }
    Ok(())
}

/// The bytes of the debug sections, a missing one being empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sections<'s> {
    pub big: bool,
    /// What is in memory of `.debug_info`.
    pub info: &'s [u8],
    /// Where that begins in the section, in bytes; offsets of entries are counted from there.
    pub info_start: usize,
    pub abbrev: &'s [u8],
    pub strings: &'s [u8],
    pub line_strings: &'s [u8],
    pub str_offsets: &'s [u8],
    pub addr: &'s [u8],
    pub loclists: &'s [u8],
    pub loc: &'s [u8],
}

fn contents<'d>(elf: &Elf<'d>, name: &'static str) -> Result<Cow<'d, [u8]>, Error> {
    let Some((index, section)) = elf.section(name) else {
        return Ok(Cow::Borrowed(&[]));
    };
    let bytes = elf.bytes(section)?;
    let mut bytes = if section.flags & consts::SHF_COMPRESSED.0 != 0 {
        Cow::Owned(crate::compressed::unpack(elf, bytes, name)?)
    } else {
        Cow::Borrowed(bytes)
    };
    if elf.header().file_type == consts::ET_REL.0 {
        for relocations in relocations_of(elf, index) {
            crate::relocate::apply(elf, relocations, bytes.to_mut(), name)?;
        }
    }
    Ok(bytes)
}

fn relocations_of<'a, 'd>(
    elf: &'a Elf<'d>,
    index: u32,
) -> impl Iterator<Item = &'a Section<'d>> + 'a {
    elf.sections().iter().filter(move |section| {
        matches!(section.sh_type, t if t == consts::SHT_RELA.0 || t == consts::SHT_REL.0)
            && section.info == index
    })
}
