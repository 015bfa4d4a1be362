//! The frame of the finished file: the order of sections, their offsets, the headers.
//!
//! The linker's rule (GNU ld 2.40, `bfd/elf.c`): sections that are loaded lie where their addresses
//! want them; behind them every other section at the next multiple of its alignment, in the order
//! of the section headers; then symbols and strings, relocations that are kept, names; the section
//! headers last, aligned to an address. Relocations that are kept have a header behind that of
//! their section, and each output section has a symbol then. Before the rule is used for the
//! finished file it is tried on the image without debug info, whose offsets and names must come
//! out.

use hashbrown::HashMap;
use image::consts::{
    SHF_ALLOC, SHF_INFO_LINK, SHN_LORESERVE, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_RELA,
};
use image::consts::{SHT_STRTAB, SHT_SYMTAB, SHT_SYMTAB_SHNDX};
use image::{Elf, Section};

use crate::emit::Renumbering;
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
    /// The relocations of the debug section of this index, kept.
    Relocations(u32),
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
        debug: &[DebugSection<'_>],
        counts: &[u64],
    ) -> Result<Self, Error> {
        let keeps = check_image(image)?;
        let head = head_of(image)?;
        let plain = (0..image.sections().len() as u32).map(Origin::Image).collect();
        let tried = Files { image, debug: &[], counts: &[] }.offsets(plain, head, 0)?;
        tried.check(image)?;
        let files = Files { image, debug, counts };
        let order = insert(image, map, debug, keeps)?;
        let before = if keeps { symbols_before(image, &order)? } else { Vec::new() };
        let made = files.offsets(order, head, before.len())?;
        let renumbering = Renumbering::new(before);
        let symbols = made.symbols(image, &renumbering)?;
        let section_headers = made.section_headers(&files, &renumbering)?;
        let fields = Fields::of(image.header());
        let section_headers_at = made.headers_at;
        let len = section_headers_at.checked_add(section_headers.len() as u64);
        let len = len.ok_or_else(too_large)?;
        let mut file_header = image.data().get(..fields.file_header()).unwrap_or(&[]).to_vec();
        let count = made.sections.len() as u64;
        fields.set_file(&mut file_header, FileField::SectionHeaders, section_headers_at)?;
        fields.set_file(&mut file_header, FileField::SectionCount, count)?;
        fields.set_file(&mut file_header, FileField::NamesSection, count - 1)?;
        let names = made.names.bytes;
        Ok(Frame {
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
        for (index, symbol) in symbols.take_while(|(_, symbol)| fields.is_section_symbol(symbol)) {
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
                Origin::Relocations(_) => None,
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

/// Refuses what the rules here do not cover; returns whether the image keeps relocations.
fn check_image(image: &Elf<'_>) -> Result<bool, Error> {
    let sections = image.sections();
    let [.., symbols, strings, names] = sections else {
        return Err(Error::unsupported("an image with fewer than three sections"));
    };
    let types = (symbols.sh_type, strings.sh_type, names.sh_type);
    if types != (SHT_SYMTAB.0, SHT_STRTAB.0, SHT_STRTAB.0) {
        return Err(Error::unsupported("an image that does not end in symbols, strings, names"));
    }
    let refused = |section: &&Section<'_>| {
        let addendless = !is_alloc(section) && section.sh_type == SHT_REL.0;
        addendless || section.sh_type == SHT_SYMTAB_SHNDX.0
    };
    if let Some(section) = sections.iter().find(refused) {
        return Err(Error::unsupported(format!("{} in the image", lossy(section.name))));
    }
    // Only where relocations are kept does each section have a symbol, even if none is left in the image.
    let fields = Fields::of(image.header());
    let first = image.bytes(symbols)?.chunks_exact(fields.symbol()).nth(1);
    let named = first.is_some_and(|symbol| fields.is_section_symbol(symbol));
    Ok(named || sections.iter().any(is_kept))
}

/// Whether a section holds relocations that stay in the output.
pub(crate) fn is_kept(section: &Section<'_>) -> bool {
    !is_alloc(section) && section.sh_type == SHT_RELA.0
}

/// The output section of the map of that name.
fn statement(map: &LinkMap<'_>, name: &[u8]) -> Option<usize> {
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

/// The sections of the finished file in their order.
fn insert(
    image: &Elf<'_>,
    map: &LinkMap<'_>,
    debug: &[DebugSection<'_>],
    keeps: bool,
) -> Result<Vec<Origin>, Error> {
    let tables = image.sections().len() - 3;
    let mut order = Vec::with_capacity(image.sections().len() + debug.len());
    let mut rest = (0..debug.len()).peekable();
    for (index, section) in image.sections().iter().enumerate() {
        let of_section = index != 0 && index < tables && !is_kept(section);
        let at = match of_section {
            true => Some(statement(map, section.name).ok_or_else(|| {
                Error::disagree(format!("the map has no output section {}", lossy(section.name)))
            })?),
            false => None,
        };
        let before =
            |&next: &usize| index >= tables || at.is_some_and(|at| debug[next].statement < at);
        while let Some(next) = rest.next_if(before) {
            order.push(Origin::Debug(next as u32));
            if keeps && debug[next].relocated {
                order.push(Origin::Relocations(next as u32));
            }
        }
        order.push(Origin::Image(index as u32));
    }
    Ok(order)
}

/// For each debug section the old index of the symbol before which its own is put.
fn symbols_before(image: &Elf<'_>, order: &[Origin]) -> Result<Vec<u32>, Error> {
    let fields = Fields::of(image.header());
    let table = image.bytes(&image.sections()[image.sections().len() - 3])?;
    let symbols = table.chunks_exact(fields.symbol()).skip(1);
    let of_sections = symbols.take_while(|symbol| fields.is_section_symbol(symbol));
    let of_sections: Vec<u32> =
        of_sections.map(|symbol| fields.symbol_section(symbol).unwrap_or(0).into()).collect();
    if !of_sections.is_sorted() || of_sections.is_empty() {
        return Err(Error::unsupported("kept relocations without a symbol for each section"));
    }
    let mut before = Vec::new();
    let mut passed = 0;
    for origin in order {
        match origin {
            Origin::Image(index) => passed = *index,
            Origin::Debug(_) => {
                let behind = of_sections.partition_point(|&section| section <= passed);
                before.push(behind as u32 + 1);
            }
            Origin::Relocations(_) => {}
        }
    }
    Ok(before)
}

/// Both sources of sections.
struct Files<'f, 'a> {
    image: &'f Elf<'a>,
    debug: &'f [DebugSection<'a>],
    /// The number of relocations of each debug section.
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
        }
    }

    /// Turn in which a section gets its offset, size in the file, and alignment. What is loaded has
    /// no turn.
    fn measure(&self, origin: Origin, new_symbols: usize) -> (Option<u8>, u64, u64) {
        let fields = Fields::of(self.image.header());
        match origin {
            Origin::Debug(index) => {
                let section = &self.debug[index as usize];
                (Some(0), section.size, section.align)
            }
            Origin::Relocations(index) => {
                let count = self.counts.get(index as usize).copied().unwrap_or(0);
                (Some(3), count.saturating_mul(fields.relocation() as u64), fields.alignment())
            }
            Origin::Image(index) => {
                let section = &self.image.sections()[index as usize];
                let tables = self.image.sections().len() - 3;
                let (size, align) = (section.size, section.align);
                match (index as usize).checked_sub(tables) {
                    Some(0) => (Some(1), size + (new_symbols * fields.symbol()) as u64, align),
                    Some(1) => (Some(2), size, align),
                    Some(_) => (Some(4), size, align),
                    None if is_kept(section) => (Some(3), size, align),
                    None if section.sh_type == SHT_NOBITS.0 && is_alloc(section) => {
                        (None, 0, align)
                    }
                    None if is_alloc(section) || index == 0 => (None, size, align),
                    None => (Some(0), size, align),
                }
            }
        }
    }

    fn offsets(&self, order: Vec<Origin>, head: u64, new_symbols: usize) -> Result<Offsets, Error> {
        let names = Names::new(order.iter().map(|&origin| self.name(origin)));
        let mut renumbered = Vec::new();
        let mut sections = Vec::with_capacity(order.len());
        let mut turns = Vec::new();
        for (index, origin) in order.into_iter().enumerate() {
            let mut offset = 0;
            if let Origin::Image(old) = origin {
                renumbered.push(index as u32);
                offset = self.image.sections()[old as usize].offset;
            }
            let (turn, size, align) = self.measure(origin, new_symbols);
            turns.extend(turn.map(|turn| (turn, index, align.max(1))));
            sections.push(Extent { origin, offset, size });
        }
        if let Some(last) = sections.last_mut() {
            last.size = names.bytes.len() as u64;
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

    /// The symbol table with the new indexes of sections, and with the symbols of debug sections.
    fn symbols(&self, image: &Elf<'_>, renumbering: &Renumbering) -> Result<Vec<u8>, Error> {
        let table = image.bytes(&image.sections()[image.sections().len() - 3])?;
        let fields = Fields::of(image.header());
        let added = renumbering.before().len() * fields.symbol();
        let mut symbols = Vec::with_capacity(table.len() + added);
        let debug = self.sections.iter().enumerate();
        let mut debug = debug.filter(|(_, extent)| matches!(extent.origin, Origin::Debug(_)));
        let mut before = renumbering.before().iter().peekable();
        for (index, symbol) in table.chunks_exact(fields.symbol()).enumerate() {
            while before.next_if(|&&before| before as usize == index).is_some() {
                if let Some((section, _)) = debug.next() {
                    symbols.extend(fields.new_section_symbol(section as u64)?);
                }
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
        let symbols = self.sections.len() - 3;
        for (index, extent) in self.sections.iter().enumerate() {
            let mut header = match extent.origin {
                Origin::Image(old) => self.old_header(files.image, old)?,
                Origin::Debug(debug) => new_header(fields, &files.debug[debug as usize])?,
                Origin::Relocations(_) => kept_header(fields, symbols, index - 1)?,
            };
            let name = self.names.offset(&files.name(extent.origin)).unwrap_or(0);
            fields.set_section(&mut header, SectionField::Name, name)?;
            fields.set_section(&mut header, SectionField::Offset, extent.offset)?;
            if index >= symbols || matches!(extent.origin, Origin::Relocations(_)) {
                fields.set_section(&mut header, SectionField::Size, extent.size)?;
            }
            if index == symbols {
                let locals = files.image.sections()[files.image.sections().len() - 3].info;
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
