//! The frame of the finished file: the order of sections, their offsets, the headers.
//!
//! The linker's rule (GNU ld 2.40, `bfd/elf.c`): sections that are loaded lie where their addresses want them;
//! behind them every other section at the next multiple of its alignment, in the order of the section
//! headers; then symbols, strings, names; the section headers last, aligned to an address. Before the rule is used for the
//! finished file it is tried on the image without debug info, whose offsets and names must come out.

use image::consts::{
    SHF_ALLOC, SHF_INFO_LINK, SHN_LORESERVE, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_RELA,
};
use image::consts::{SHT_STRTAB, SHT_SYMTAB, SHT_SYMTAB_SHNDX};
use image::{Elf, Section};

use crate::error::{Error, lossy};
use crate::fields::{Fields, FileField, SectionField};
use crate::layout::{DebugSection, aligned, too_large};
use crate::map::LinkMap;
use crate::names::Names;

/// Where a section of the finished file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The section of this index of the image without debug info.
    Image(u32),
    /// The debug section of this index.
    Debug(u32),
}

/// Where a section's bytes are in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) origin: Origin,
    /// Offset into the file, in bytes.
    pub(crate) offset: u64,
    /// Size in the file, in bytes.
    pub(crate) size: u64,
}

/// The finished file but for its sections' contents.
#[derive(Debug)]
pub(crate) struct Frame {
    /// All sections by their index, the null section first.
    pub(crate) sections: Vec<Extent>,
    /// Up to here the file is as the image without debug info, but for the file header.
    pub(crate) head: u64,
    /// The file header.
    pub(crate) file_header: Vec<u8>,
    /// The section headers.
    pub(crate) section_headers: Vec<u8>,
    /// Their offset in the file.
    pub(crate) section_headers_at: u64,
    /// The contents of `.symtab`.
    pub(crate) symbols: Vec<u8>,
    /// The contents of `.shstrtab`.
    pub(crate) names: Vec<u8>,
    /// Size of the file in bytes.
    pub(crate) len: u64,
}

impl Frame {
    pub(crate) fn new(
        image: &Elf<'_>,
        map: &LinkMap<'_>,
        debug: &[DebugSection<'_>],
    ) -> Result<Self, Error> {
        check_image(image)?;
        let head = head_of(image)?;
        let plain = (0..image.sections().len() as u32).map(Origin::Image).collect();
        let tried = Files { image, debug: &[] }.offsets(plain, head)?;
        tried.check(image)?;
        let files = Files { image, debug };
        let order = insert(image, map, debug)?;
        let made = files.offsets(order, head)?;
        let (symbols, section_headers) = (made.symbols(image)?, made.section_headers(&files)?);
        let fields = Fields::of(image.header());
        let at = made.headers_at;
        let len = at.checked_add(section_headers.len() as u64).ok_or_else(too_large)?;
        let mut file_header = image.data().get(..fields.file_header()).unwrap_or(&[]).to_vec();
        let count = made.sections.len() as u64;
        fields.set_file(&mut file_header, FileField::SectionHeaders, at)?;
        fields.set_file(&mut file_header, FileField::SectionCount, count)?;
        fields.set_file(&mut file_header, FileField::NamesSection, count - 1)?;
        let names = made.names.bytes;
        let section_headers_at = at;
        Ok(Frame {
            sections: made.sections,
            head,
            file_header,
            section_headers,
            section_headers_at,
            symbols,
            names,
            len,
        })
    }
}

fn is_alloc(section: &Section<'_>) -> bool {
    section.flags & SHF_ALLOC.0 != 0
}

/// What the rules here do not cover.
fn check_image(image: &Elf<'_>) -> Result<(), Error> {
    let sections = image.sections();
    let [.., symbols, strings, names] = sections else {
        return Err(Error::unsupported("an image with fewer than three sections"));
    };
    let types = (symbols.sh_type, strings.sh_type, names.sh_type);
    if types != (SHT_SYMTAB.0, SHT_STRTAB.0, SHT_STRTAB.0) {
        return Err(Error::unsupported("an image that does not end in symbols, strings, names"));
    }
    for section in sections {
        let kept = !is_alloc(section) && [SHT_REL.0, SHT_RELA.0].contains(&section.sh_type);
        if kept || section.sh_type == SHT_SYMTAB_SHNDX.0 {
            let what = format!("{} in the image (--emit-relocs)", lossy(section.name));
            return Err(Error::unsupported(what));
        }
    }
    Ok(())
}

/// Where the part of the file ends that is loaded.
fn head_of(image: &Elf<'_>) -> Result<u64, Error> {
    let rest = image.sections().iter().skip(1).filter(|section| !is_alloc(section));
    let first = rest.min_by_key(|section| section.offset);
    let first = first.ok_or_else(|| Error::unsupported("an image that is all loaded"))?;
    if first.align <= 1 {
        return Ok(first.offset);
    }
    let end = |section: &Section<'_>| match section.sh_type == SHT_NOBITS.0 {
        true => Some(section.offset),
        false => section.offset.checked_add(section.size),
    };
    let loaded = image.sections().iter().filter(|section| is_alloc(section));
    let head = loaded.map(end).max().flatten().ok_or_else(too_large)?;
    if aligned(head, first.align)? == first.offset {
        Ok(head)
    } else {
        Err(Error::disagree(format!("{} does not follow what is loaded", lossy(first.name))))
    }
}

/// The sections of the finished file in their order.
fn insert(
    image: &Elf<'_>,
    map: &LinkMap<'_>,
    debug: &[DebugSection<'_>],
) -> Result<Vec<Origin>, Error> {
    let tables = image.sections().len() - 3;
    let mut order = Vec::with_capacity(image.sections().len() + debug.len());
    let mut rest = (0..debug.len()).peekable();
    for (index, section) in image.sections().iter().enumerate() {
        let statement = map.statements.iter().position(|s| s.name == section.name);
        let before = |&debug_index: &usize| {
            let statement = if index >= tables { None } else { statement };
            index >= tables || statement.is_some_and(|s| debug[debug_index].statement < s)
        };
        while let Some(next) = rest.next_if(before) {
            order.push(Origin::Debug(next as u32));
        }
        if statement.is_none() && index != 0 && index < tables {
            let name = lossy(section.name);
            return Err(Error::disagree(format!("the map has no output section {name}")));
        }
        order.push(Origin::Image(index as u32));
    }
    Ok(order)
}

/// Both sources of sections.
struct Files<'f, 'a> {
    image: &'f Elf<'a>,
    debug: &'f [DebugSection<'a>],
}

/// Offsets and names by the linker's rule.
struct Offsets<'a> {
    sections: Vec<Extent>,
    names: Names<'a>,
    headers_at: u64,
    /// By index of the image's sections, their new index.
    renumbered: Vec<u32>,
}

impl<'a> Files<'_, 'a> {
    fn name(&self, origin: Origin) -> &'a [u8] {
        match origin {
            Origin::Image(index) => self.image.sections()[index as usize].name,
            Origin::Debug(index) => self.debug[index as usize].name,
        }
    }

    fn offsets(&self, order: Vec<Origin>, head: u64) -> Result<Offsets<'a>, Error> {
        let names = Names::new(order.iter().map(|&origin| self.name(origin)));
        let (mut sections, mut renumbered) = (Vec::with_capacity(order.len()), Vec::new());
        let (mut at, last) = (head, order.len() - 1);
        for (index, origin) in order.into_iter().enumerate() {
            let (loaded, offset, size, align) = match origin {
                Origin::Image(old) => {
                    renumbered.push(index as u32);
                    let section = &self.image.sections()[old as usize];
                    let size = match section.sh_type == SHT_NOBITS.0 {
                        true => 0,
                        false => section.size,
                    };
                    (is_alloc(section) || old == 0, section.offset, size, section.align)
                }
                Origin::Debug(debug) => {
                    let section = &self.debug[debug as usize];
                    (false, 0, section.size, section.align)
                }
            };
            let size = if index == last { names.bytes.len() as u64 } else { size };
            let offset = if loaded { offset } else { aligned(at, align.max(1))? };
            if !loaded {
                at = offset.checked_add(size).ok_or_else(too_large)?;
            }
            sections.push(Extent { origin, offset, size });
        }
        let headers_at = aligned(at, Fields::of(self.image.header()).alignment())?;
        Ok(Offsets { sections, names, headers_at, renumbered })
    }
}

impl Offsets<'_> {
    /// Holds the rule against an image that the linker wrote.
    fn check(&self, image: &Elf<'_>) -> Result<(), Error> {
        for (made, section) in self.sections.iter().zip(image.sections()) {
            if made.offset != section.offset {
                let (name, is) = (lossy(section.name), section.offset);
                let how = format!("{name} is at {is:#x} of the file, not at {:#x}", made.offset);
                return Err(Error::disagree(how));
            }
        }
        if image.section_header_offset(0) != Some(self.headers_at) {
            return Err(Error::disagree("the section headers are elsewhere"));
        }
        let names = image.sections().last().map(|section| image.bytes(section));
        if names.transpose()? != Some(&self.names.bytes[..]) {
            return Err(Error::disagree("the table of section names is in another order"));
        }
        Ok(())
    }

    /// The new index of a section of the image.
    fn index(&self, old: u32) -> u64 {
        self.renumbered.get(old as usize).map_or(u64::from(old), |&new| u64::from(new))
    }

    /// The symbol table with the new indexes of sections.
    fn symbols(&self, image: &Elf<'_>) -> Result<Vec<u8>, Error> {
        let table = &image.sections()[image.sections().len() - 3];
        let mut symbols = image.bytes(table)?.to_vec();
        let fields = Fields::of(image.header());
        for symbol in symbols.chunks_exact_mut(fields.symbol()) {
            let old = fields.symbol_section(symbol).unwrap_or(0);
            if old < SHN_LORESERVE {
                let new = self.index(old.into());
                if new != u64::from(old) {
                    fields.set_symbol_section(symbol, new)?;
                }
            }
        }
        Ok(symbols)
    }

    fn section_headers(&self, files: &Files<'_, '_>) -> Result<Vec<u8>, Error> {
        let fields = Fields::of(files.image.header());
        let size = fields.section_header();
        let mut headers = Vec::with_capacity(size * self.sections.len());
        for extent in &self.sections {
            let mut header = match extent.origin {
                Origin::Image(index) => self.old_header(files.image, index)?,
                Origin::Debug(index) => new_header(fields, &files.debug[index as usize])?,
            };
            let name = self.names.offset(files.name(extent.origin)).unwrap_or(0);
            fields.set_section(&mut header, SectionField::Name, name)?;
            fields.set_section(&mut header, SectionField::Offset, extent.offset)?;
            headers.extend_from_slice(&header);
        }
        if let Some(names) = headers.len().checked_sub(size) {
            let len = self.names.bytes.len() as u64;
            fields.set_section(&mut headers[names..], SectionField::Size, len)?;
        }
        Ok(headers)
    }

    /// The header of a section of the image with the new indexes of sections.
    fn old_header(&self, image: &Elf<'_>, index: u32) -> Result<Vec<u8>, Error> {
        let fields = Fields::of(image.header());
        let section = &image.sections()[index as usize];
        let at = image.section_header_offset(index).ok_or_else(too_large)? as usize;
        let header = image.data().get(at..at + fields.section_header()).ok_or_else(too_large)?;
        let mut header = header.to_vec();
        fields.set_section(&mut header, SectionField::Link, self.index(section.link))?;
        let relocations = [SHT_REL.0, SHT_RELA.0].contains(&section.sh_type);
        if relocations || section.flags & SHF_INFO_LINK.0 != 0 {
            fields.set_section(&mut header, SectionField::Info, self.index(section.info))?;
        }
        Ok(header)
    }
}

fn new_header(fields: Fields, debug: &DebugSection<'_>) -> Result<Vec<u8>, Error> {
    let mut header = vec![0; fields.section_header()];
    let values = [
        (SectionField::Type, u64::from(SHT_PROGBITS.0)),
        (SectionField::Flags, debug.flags),
        (SectionField::Size, debug.size),
        (SectionField::Align, debug.align),
        (SectionField::EntrySize, debug.entsize),
    ];
    for (field, value) in values {
        fields.set_section(&mut header, field, value)?;
    }
    Ok(header)
}
