//! The debug sections of an image, ready to be read.
//!
//! Most are borrowed from the file. A section that is compressed (`SHF_COMPRESSED`) is unpacked, and in
//! a relocatable file (a module) the relocations of the debug sections are applied, into a copy.

use std::borrow::Cow;

use image::{Elf, Endianness, Section, consts};

use crate::Error;

/// pahole crashes on them, cannot deduplicate what it made, or makes members of types that they are not.
pub(crate) const TYPE_UNITS: &str = "type units (-fdebug-types-section) are not supported";

/// The debug sections that types are read from.
#[derive(Debug)]
pub(crate) struct Dwarf<'d> {
    pub big: bool,
    info: Cow<'d, [u8]>,
    abbrev: Cow<'d, [u8]>,
    strings: Cow<'d, [u8]>,
    line_strings: Cow<'d, [u8]>,
    str_offsets: Cow<'d, [u8]>,
    addr: Cow<'d, [u8]>,
    loclists: Cow<'d, [u8]>,
    loc: Cow<'d, [u8]>,
    /// Offset of `.debug_info` in the file, if it is read from there.
    pub info_offset: Option<u64>,
}

impl<'d> Dwarf<'d> {
    /// Finds the sections.
    ///
    /// # Errors
    /// No `.debug_info`; a section outside the file, compressed in an unknown way, or over 4 GiB.
    pub fn load(elf: &Elf<'d>) -> Result<Self, Error> {
        let (_, section) = elf.section(".debug_info").ok_or(Error::NoDwarf)?;
        if elf.section(".debug_types").is_some() {
            return Err(Error::new(".debug_types", 0, TYPE_UNITS));
        }
        if section.size >= u64::from(u32::MAX) {
            return Err(Error::new(".debug_info", 0, "the section is 4 GiB or larger"));
        }
        let info = contents(elf, ".debug_info")?;
        let info_offset = matches!(info, Cow::Borrowed(_)).then_some(section.offset);
        Ok(Dwarf {
            big: elf.endian() == Endianness::Big,
            info,
            info_offset,
            abbrev: contents(elf, ".debug_abbrev")?,
            strings: contents(elf, ".debug_str")?,
            line_strings: contents(elf, ".debug_line_str")?,
            str_offsets: contents(elf, ".debug_str_offsets")?,
            addr: contents(elf, ".debug_addr")?,
            loclists: contents(elf, ".debug_loclists")?,
            loc: contents(elf, ".debug_loc")?,
        })
    }

    /// The sections as they are read.
    pub fn sections(&self) -> Sections<'_> {
        Sections {
            big: self.big,
            info: &self.info,
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

/// The bytes of the debug sections, a missing one being empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sections<'s> {
    pub big: bool,
    pub info: &'s [u8],
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
