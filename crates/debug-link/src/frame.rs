//! The frame of the finished file: the order of sections, their offsets, the headers.
//!
//! The rule: sections that are loaded lie where their addresses want them; behind them every other section at
//! the next multiple of its alignment, in the order of the section headers; the section headers last, aligned
//! to an address. GNU ld puts symbols and strings, relocations that are kept and names behind the other
//! sections ([`Turn`]); ld.lld does not. Before the rule is used for the finished file it is tried on the
//! image without debug info, whose offsets and names must come out. Sources of facts: GNU ld 2.40, `bfd/elf.c`;
//! ld.lld 19, `ELF/Writer.cpp`, `assignFileOffsets`.

use std::sync::Arc;

use hashbrown::HashMap;
use image::consts::{
    SHF_ALLOC, SHF_INFO_LINK, SHN_LORESERVE, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_RELA,
};
use image::consts::{SHT_STRTAB, SHT_SYMTAB, SHT_SYMTAB_SHNDX};
use image::{Elf, Section};

use crate::emit::Renumbering;
use crate::error::{Error, lossy};
use crate::fields::{Fields, FileField, SectionField};
use crate::layout::{DebugSection, Layout, aligned, too_large};
use crate::linker::{Linker, Turn};
use crate::map::LinkMap;
use crate::names::Names;
use crate::object::Object;
use crate::order;
use crate::section_symbols::{self, NewSymbol};

/// Where a section of the finished file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The section of this index of the image without debug info.
    Image(u32),
    /// The debug section of this index.
    Debug(u32),
    /// The relocations of the debug section of this index, kept.
    Relocations(u32),
    /// The relocations of the section of this index of the image, kept where the image has none.
    ImageRelocations(u32),
}

/// The tables of symbols and names, by their index in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) symbols: u32,
    pub(crate) strings: u32,
    pub(crate) names: u32,
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
    /// The tables of symbols and names in the image.
    pub(crate) tables: Tables,
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
    /// What became of the symbols of the image.
    pub(crate) renumbering: Renumbering,
    /// Whether relocations are kept.
    pub(crate) keeps: bool,
    /// The contents of `.shstrtab`.
    pub(crate) names: Vec<u8>,
    /// Size of the file in bytes.
    pub(crate) len: u64,
}

impl Frame {
    /// `counts` has the number of relocations of each debug section.
    pub(crate) fn new(
        image: &Elf<'_>,
        map: &LinkMap<'_>,
        objects: &[Arc<Object<'_>>],
        layout: &Layout<'_>,
        counts: &[u64],
    ) -> Result<Self, Error> {
        let (linker, debug) = (map.linker, &layout.debug[..]);
        let tables = Tables::of(image, linker)?;
        let keeps = keeps_relocations(image, tables)?;
        let head = head_of(image)?;
        let plain = (0..image.sections().len() as u32).map(Origin::Image).collect();
        let tried = Files { image, tables, linker, debug: &[], counts: &[] };
        tried.offsets(plain, head, 0)?.check(image, tables)?;
        let files = Files { image, tables, linker, debug, counts };
        let order = order::sections(image, map, objects, layout, keeps, tables)?;
        let new_symbols = match (keeps, linker) {
            (false, _) => Vec::new(),
            (true, Linker::Gnu) => section_symbols::gnu(image, tables, &order)?,
            (true, Linker::Lld) => {
                section_symbols::lld(image, map, objects, layout, tables, &order)?
            }
        };
        files.frame(order, head, new_symbols, keeps)
    }

    /// For an image that keeps no relocations, as if it had been linked with `--emit-relocs`; `counts` has the number of
    /// relocations of each of its sections.
    ///
    /// # Errors
    /// Another linker than GNU ld; an image that keeps relocations.
    pub(crate) fn keeping(image: &Elf<'_>, linker: Linker, counts: &[u64]) -> Result<Self, Error> {
        let tables = Tables::of(image, linker)?;
        if linker != Linker::Gnu || keeps_relocations(image, tables)? {
            return Err(Error::unsupported("adding relocations to those that an image keeps"));
        }
        let head = head_of(image)?;
        let files = Files { image, tables, linker, debug: &[], counts };
        let plain = (0..image.sections().len() as u32).map(Origin::Image).collect();
        files.offsets(plain, head, 0)?.check(image, tables)?;
        let mut order = Vec::with_capacity(2 * image.sections().len());
        let mut new_symbols = Vec::new();
        for (index, section) in image.sections().iter().enumerate() {
            if (1..tables.symbols as usize).contains(&index) {
                let (section, addr) = (order.len() as u32, section.addr);
                new_symbols.push(NewSymbol { before: 1, section, addr });
            }
            order.push(Origin::Image(index as u32));
            if counts.get(index).is_some_and(|&count| count != 0) {
                order.push(Origin::ImageRelocations(index as u32));
            }
        }
        files.frame(order, head, new_symbols, true)
    }

    /// Whether an image looks as if it kept relocations.
    pub(crate) fn may_keep(image: &Elf<'_>) -> bool {
        image.sections().iter().any(is_kept)
    }

    /// Symbol and address of each output section, by its statement in the map.
    pub(crate) fn section_symbols(
        &self,
        image: &Elf<'_>,
        map: &LinkMap<'_>,
        debug: &[DebugSection<'_>],
    ) -> HashMap<u32, (u32, u64)> {
        let fields = Fields::of(image.header());
        let symbols = self.symbols.chunks_exact(fields.symbol()).enumerate().skip(1);
        let mut found = HashMap::new();
        for (index, symbol) in symbols.filter(|(_, symbol)| fields.is_section_symbol(symbol)) {
            let section = fields.symbol_section(symbol).map(usize::from);
            let Some(extent) = section.and_then(|section| self.sections.get(section)) else {
                continue;
            };
            let of_section = match extent.origin {
                Origin::Debug(debug_index) => Some((debug[debug_index as usize].statement, 0)),
                Origin::Image(old) => {
                    let section = &image.sections()[old as usize];
                    statement(map, section.name).map(|statement| (statement, section.addr))
                }
                Origin::Relocations(_) | Origin::ImageRelocations(_) => None,
            };
            found.extend(
                of_section.map(|(statement, addr)| (statement as u32, (index as u32, addr))),
            );
        }
        found
    }
}

fn is_alloc(section: &Section<'_>) -> bool {
    section.flags & SHF_ALLOC.0 != 0
}

impl Tables {
    fn of(image: &Elf<'_>, linker: Linker) -> Result<Self, Error> {
        let sections = image.sections();
        let find = |name: &[u8], sh_type: u32| {
            let is = |section: &Section<'_>| section.name == name && section.sh_type == sh_type;
            let found = sections.iter().position(is);
            let missing = || Error::unsupported(format!("an image without {}", lossy(name)));
            found.map(|index| index as u32).ok_or_else(missing)
        };
        let symbols = find(b".symtab", SHT_SYMTAB.0)?;
        let strings = find(b".strtab", SHT_STRTAB.0)?;
        let names = find(b".shstrtab", SHT_STRTAB.0)?;
        let at_end = [3, 2, 1].map(|back| (sections.len() - back.min(sections.len())) as u32);
        if linker == Linker::Gnu && [symbols, strings, names] != at_end {
            return Err(Error::unsupported(
                "an image that does not end in symbols, strings, names",
            ));
        }
        Ok(Tables { symbols, strings, names })
    }
}

/// Refuses what the rules here do not cover; returns whether the image keeps relocations.
fn keeps_relocations(image: &Elf<'_>, tables: Tables) -> Result<bool, Error> {
    let sections = image.sections();
    let refused = |section: &&Section<'_>| {
        let addendless = !is_alloc(section) && section.sh_type == SHT_REL.0;
        addendless || section.sh_type == SHT_SYMTAB_SHNDX.0
    };
    if let Some(section) = sections.iter().find(refused) {
        return Err(Error::unsupported(format!("{} in the image", lossy(section.name))));
    }
    // Only where relocations are kept does each section have a symbol, even if none is left in the image.
    let fields = Fields::of(image.header());
    let symbols = &sections[tables.symbols as usize];
    let mut symbols = image.bytes(symbols)?.chunks_exact(fields.symbol()).skip(1);
    let named = symbols.any(|symbol| fields.is_section_symbol(symbol));
    Ok(named || sections.iter().any(is_kept))
}

/// Whether a section holds relocations that stay in the output.
pub(crate) fn is_kept(section: &Section<'_>) -> bool {
    !is_alloc(section) && section.sh_type == SHT_RELA.0
}

/// The output section of the map of that name.
pub(crate) fn statement(map: &LinkMap<'_>, name: &[u8]) -> Option<usize> {
    map.statements.iter().position(|statement| statement.name == name)
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

/// Both sources of sections.
struct Files<'f, 'a> {
    image: &'f Elf<'a>,
    tables: Tables,
    linker: Linker,
    debug: &'f [DebugSection<'a>],
    /// The number of relocations of each section that gets them: the debug sections, or those of the image.
    counts: &'f [u64],
}

/// Offsets and names by the linker's rule.
struct Offsets {
    sections: Vec<Extent>,
    names: Names,
    headers_at: u64,
    /// By index of the image's sections, their new index.
    renumbered: Vec<u32>,
}

impl Files<'_, '_> {
    fn name(&self, origin: Origin) -> Vec<u8> {
        match origin {
            Origin::Image(index) => self.image.sections()[index as usize].name.to_vec(),
            Origin::Debug(index) => self.debug[index as usize].name.to_vec(),
            Origin::Relocations(index) => [b".rela", self.debug[index as usize].name].concat(),
            Origin::ImageRelocations(index) => {
                [b".rela", self.image.sections()[index as usize].name].concat()
            }
        }
    }

    /// Turn in which a section gets its offset, size in the file, and alignment. What is loaded has
    /// no turn.
    fn measure(&self, origin: Origin, new_symbols: usize) -> (Option<Turn>, u64, u64) {
        let fields = Fields::of(self.image.header());
        let (turn, size, align) = match origin {
            Origin::Debug(index) => {
                let section = &self.debug[index as usize];
                (Turn::Contents, section.size, section.align)
            }
            Origin::Relocations(index) | Origin::ImageRelocations(index) => {
                let count = self.counts.get(index as usize).copied().unwrap_or(0);
                let size = count.saturating_mul(fields.relocation() as u64);
                (Turn::Relocations, size, fields.alignment())
            }
            Origin::Image(index) => {
                let section = &self.image.sections()[index as usize];
                let (size, align) = (section.size, section.align);
                if is_alloc(section) || index == 0 {
                    let in_file = if section.sh_type == SHT_NOBITS.0 { 0 } else { size };
                    return (None, in_file, align);
                }
                if index == self.tables.symbols {
                    let new = (new_symbols * fields.symbol()) as u64;
                    (Turn::Symbols, size.saturating_add(new), align)
                } else if index == self.tables.strings {
                    (Turn::Strings, size, align)
                } else if index == self.tables.names {
                    (Turn::Names, size, align)
                } else if is_kept(section) {
                    (Turn::Relocations, size, align)
                } else {
                    (Turn::Contents, size, align)
                }
            }
        };
        (Some(self.linker.turn(turn)), size, align)
    }

    /// The frame of these sections.
    fn frame(
        &self,
        order: Vec<Origin>,
        head: u64,
        new_symbols: Vec<NewSymbol>,
        keeps: bool,
    ) -> Result<Frame, Error> {
        let made = self.offsets(order, head, new_symbols.len())?;
        let renumbering = Renumbering::new(new_symbols.iter().map(|new| new.before).collect());
        let symbols = made.symbols(self, new_symbols)?;
        let section_headers = made.section_headers(self, &renumbering)?;
        let fields = Fields::of(self.image.header());
        let section_headers_at = made.headers_at;
        let len = section_headers_at.checked_add(section_headers.len() as u64);
        let len = len.ok_or_else(too_large)?;
        let mut file_header = self.image.data().get(..fields.file_header()).unwrap_or(&[]).to_vec();
        let count = made.sections.len() as u64;
        fields.set_file(&mut file_header, FileField::SectionHeaders, section_headers_at)?;
        fields.set_file(&mut file_header, FileField::SectionCount, count)?;
        let names_at = made.index(self.tables.names);
        fields.set_file(&mut file_header, FileField::NamesSection, names_at)?;
        let names = made.names.bytes;
        Ok(Frame {
            tables: self.tables,
            sections: made.sections,
            head,
            file_header,
            section_headers,
            section_headers_at,
            symbols,
            renumbering,
            keeps,
            names,
            len,
        })
    }

    fn offsets(&self, order: Vec<Origin>, head: u64, new_symbols: usize) -> Result<Offsets, Error> {
        let names = Names::new(order.iter().map(|&origin| self.name(origin)), self.linker);
        let mut renumbered = Vec::new();
        let mut sections = Vec::with_capacity(order.len());
        let mut turns = Vec::new();
        for (index, origin) in order.into_iter().enumerate() {
            let mut offset = 0;
            if let Origin::Image(old) = origin {
                renumbered.push(index as u32);
                offset = self.image.sections()[old as usize].offset;
            }
            let (turn, mut size, align) = self.measure(origin, new_symbols);
            if origin == Origin::Image(self.tables.names) {
                size = names.bytes.len() as u64;
            }
            turns.extend(turn.map(|turn| (turn, index, align.max(1))));
            sections.push(Extent { origin, offset, size });
        }
        turns.sort_unstable();
        let mut at = head;
        for (_, index, align) in turns {
            let extent = &mut sections[index];
            extent.offset = aligned(at, align)?;
            at = extent.offset.checked_add(extent.size).ok_or_else(too_large)?;
        }
        let headers_at = aligned(at, Fields::of(self.image.header()).alignment())?;
        Ok(Offsets { sections, names, headers_at, renumbered })
    }
}

impl Offsets {
    /// Holds the rule against an image that the linker wrote.
    fn check(&self, image: &Elf<'_>, tables: Tables) -> Result<(), Error> {
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
        let names = image.bytes(&image.sections()[tables.names as usize])?;
        if names != self.names.bytes {
            return Err(Error::disagree("the table of section names is in another order"));
        }
        Ok(())
    }

    /// The new index of a section of the image.
    fn index(&self, old: u32) -> u64 {
        self.renumbered.get(old as usize).map_or(u64::from(old), |&new| u64::from(new))
    }

    /// The symbol table with the new indexes of sections, and with the symbols of debug sections.
    fn symbols(&self, files: &Files<'_, '_>, new: Vec<NewSymbol>) -> Result<Vec<u8>, Error> {
        let image = files.image;
        let table = image.bytes(&image.sections()[files.tables.symbols as usize])?;
        let fields = Fields::of(image.header());
        let added = new.len() * fields.symbol();
        let mut symbols = Vec::with_capacity(table.len() + added);
        let mut new = new.into_iter().peekable();
        for (index, symbol) in table.chunks_exact(fields.symbol()).enumerate() {
            while let Some(new) = new.next_if(|new| new.before as usize == index) {
                symbols.extend(fields.new_section_symbol(new.section.into(), new.addr)?);
            }
            let start = symbols.len();
            symbols.extend_from_slice(symbol);
            let old = fields.symbol_section(symbol).unwrap_or(0);
            if old < SHN_LORESERVE && self.index(old.into()) != u64::from(old) {
                fields.set_symbol_section(&mut symbols[start..], self.index(old.into()))?;
            }
        }
        if symbols.len() != table.len() + added {
            return Err(Error::unsupported("a symbol table of section symbols only"));
        }
        Ok(symbols)
    }

    fn section_headers(
        &self,
        files: &Files<'_, '_>,
        renumbering: &Renumbering,
    ) -> Result<Vec<u8>, Error> {
        let fields = Fields::of(files.image.header());
        let mut headers = Vec::with_capacity(fields.section_header() * self.sections.len());
        let tables = files.tables;
        let symbols = self.index(tables.symbols) as usize;
        for (index, extent) in self.sections.iter().enumerate() {
            let mut header = match extent.origin {
                Origin::Image(old) => self.old_header(files.image, old)?,
                Origin::Debug(debug) => new_header(fields, &files.debug[debug as usize])?,
                Origin::Relocations(debug) => {
                    let is_target = |extent: &Extent| extent.origin == Origin::Debug(debug);
                    let target = self.sections.iter().position(is_target).unwrap_or(0);
                    kept_header(fields, symbols, target)?
                }
                Origin::ImageRelocations(old) => {
                    kept_header(fields, symbols, self.index(old) as usize)?
                }
            };
            let name = self.names.offset(&files.name(extent.origin)).unwrap_or(0);
            fields.set_section(&mut header, SectionField::Name, name)?;
            fields.set_section(&mut header, SectionField::Offset, extent.offset)?;
            let grown = [tables.symbols, tables.names].map(Origin::Image);
            let kept =
                matches!(extent.origin, Origin::Relocations(_) | Origin::ImageRelocations(_));
            if kept || grown.contains(&extent.origin) {
                fields.set_section(&mut header, SectionField::Size, extent.size)?;
            }
            if index == symbols {
                let locals = files.image.sections()[tables.symbols as usize].info;
                let locals = renumbering.index(locals).into();
                fields.set_section(&mut header, SectionField::Info, locals)?;
            }
            headers.extend_from_slice(&header);
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
        if section.sh_type == SHT_RELA.0 || section.flags & SHF_INFO_LINK.0 != 0 {
            fields.set_section(&mut header, SectionField::Info, self.index(section.info))?;
        }
        Ok(header)
    }
}

/// The header of the kept relocations of the section `target`.
fn kept_header(fields: Fields, symbols: usize, target: usize) -> Result<Vec<u8>, Error> {
    let mut header = vec![0; fields.section_header()];
    let values = [
        (SectionField::Type, u64::from(SHT_RELA.0)),
        (SectionField::Flags, SHF_INFO_LINK.0),
        (SectionField::Link, symbols as u64),
        (SectionField::Info, target as u64),
        (SectionField::Align, fields.alignment()),
        (SectionField::EntrySize, fields.relocation() as u64),
    ];
    for (field, value) in values {
        fields.set_section(&mut header, field, value)?;
    }
    Ok(header)
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
