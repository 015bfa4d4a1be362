//! The sections that are filled: where they are in the image, and what is kept of them there.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use image::consts::{
    EM_X86_64, ET_EXEC, SHF_ALLOC, SHF_COMPRESSED, SHT_DYNAMIC, SHT_NOBITS, SHT_NOTE, SHT_RELA,
    STT_SECTION,
};
use image::{Class, Elf, Endianness, Place as Defined, Section, Symbol};

use crate::emit::Named;
use crate::error::{Error, lossy};
use crate::frame::{Extent, Frame, Origin, is_kept, statement};
use crate::layout::{Layout, Place};
use crate::linker::Linker;
use crate::map::LinkMap;
use crate::object::{Object, is_debug};
use crate::relocate::Source;
use crate::sections::DebugSections;
use crate::targets::Target;

/// Size of a relocation with its addend in bytes.
pub(crate) const RECORD: usize = 24;

/// An input section that is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) input: u32,
    pub(crate) section: u32,
    /// Address in the running kernel.
    pub(crate) addr: u64,
    /// Offset of the contents in the image, in bytes.
    pub(crate) contents_at: u64,
    /// Offset of the relocations that stay, if any do.
    pub(crate) records_at: Option<u64>,
    /// Index of the output section.
    output: u32,
    /// Number of relocations.
    pub(crate) count: u64,
}

impl Filled {
    /// The input section with all that its relocations refer to: what the symbols of all inputs stand for, and their names
    /// where relocations are kept.
    pub(crate) fn source<'p, 'a>(
        &self,
        debug: &'p DebugSections<'a>,
        targets: &'p [Vec<Target>],
        names: &'p [Vec<Named>],
    ) -> Result<Source<'p, 'a>, Error> {
        let input = self.input as usize;
        let object = &debug.objects[input];
        Ok(Source {
            object,
            section: self.section,
            bytes: object.bytes(self.section)?,
            targets: &targets[input],
            names: names.get(input).map_or(&[], |names| &names[..]),
            merged: &debug.merged,
            lookups: None,
            offset: self.addr,
            linker: debug.linker,
        })
    }
}

/// Puts records into the order of their offsets, in which GNU ld keeps them.
pub(crate) fn sort_records(records: &mut [u8]) {
    let (records, _) = records.as_chunks_mut::<RECORD>();
    let offset = |record: &[u8; RECORD]| {
        record.first_chunk().map_or(0, |offset| u64::from_le_bytes(*offset))
    };
    if !records.is_sorted_by_key(offset) {
        records.sort_by_key(offset);
    }
}

/// Refuses what is not for x86_64, or not for fixed addresses.
pub(crate) fn check_machine(image: &Elf<'_>, objects: &[Arc<Object<'_>>]) -> Result<(), Error> {
    let header = image.header();
    let of = (header.class, header.endian, header.machine);
    if of != (Class::Elf64, Endianness::Little, EM_X86_64.0) {
        return Err(Error::unsupported(format!("filling for machine {}", header.machine)));
    }
    let dynamic = image.sections().iter().any(|section| section.sh_type == SHT_DYNAMIC.0);
    if header.file_type != ET_EXEC.0 || dynamic {
        // Some of its fields are filled when it is loaded.
        return Err(Error::unsupported("filling an image that is not for fixed addresses"));
    }
    match objects.iter().find(|object| !object.is_for(header)) {
        None => Ok(()),
        Some(other) => Err(Error::disagree(format!("{} is for another machine", other.name))),
    }
}

/// The bytes of the image from `at` on.
pub(crate) fn part(image: &mut [u8], at: u64, len: u64) -> Result<&mut [u8], Error> {
    let range = usize::try_from(at).ok().zip(at.checked_add(len));
    let range = range.and_then(|(at, end)| image.get_mut(at..usize::try_from(end).ok()?));
    range.ok_or_else(|| Error::disagree("a section behind the end of the image"))
}

/// All sections that are filled, in no order that matters.
///
/// # Errors
/// Loaded sections that the map does not place, or that the linker makes anew.
pub(crate) fn sections(
    image: &Elf<'_>,
    map: &LinkMap<'_>,
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
) -> Result<Vec<Filled>, Error> {
    let outputs = outputs(image, map);
    let mut sections = Vec::new();
    for (input, object) in objects.iter().enumerate() {
        for (index, section) in object.elf.sections().iter().enumerate() {
            let place = layout.places[input][index];
            let Some(addr) = placed(object, index, section, place)? else { continue };
            let output = outputs.get(&layout.statements[input][index]).copied();
            let at =
                output.and_then(|output| offset(&image.sections()[output as usize], addr, section));
            let Some((output, contents_at)) = output.zip(at) else {
                return Err(fault(object, section, "is not where the map has it"));
            };
            let count = count(object, index)?;
            let (input, section) = (input as u32, index as u32);
            let records_at = None;
            sections.push(Filled { input, section, addr, contents_at, records_at, output, count });
        }
    }
    Ok(sections)
}

fn fault(object: &Object<'_>, section: &Section<'_>, cause: &str) -> Error {
    Error::unsupported(format!("{}: {} {cause}", object.name, lossy(section.name)))
}

/// The address of a section that is filled; nothing for others.
fn placed(
    object: &Object<'_>,
    index: usize,
    section: &Section<'_>,
    place: Place,
) -> Result<Option<u64>, Error> {
    let relocated = object.relocations[index] != 0;
    let refused = |cause| Err(fault(object, section, cause));
    if section.flags & SHF_ALLOC.0 == 0 {
        // Such as .comment, which is as it was linked.
        return match place {
            Place::At(_) if relocated && !is_debug(section) => {
                refused("is relocated and not loaded")
            }
            _ => Ok(None),
        };
    }
    if section.size == 0 {
        return if relocated { refused("is empty and relocated") } else { Ok(None) };
    }
    match place {
        Place::Discarded => Ok(None),
        _ if section.name == b".eh_frame" => refused("is made anew by the linker"),
        _ if section.flags & SHF_COMPRESSED.0 != 0 => refused("is compressed"),
        Place::Merged { .. } if !relocated => Ok(None),
        _ if section.sh_type == SHT_NOTE.0 && !relocated => Ok(None),
        Place::At(_) if section.sh_type == SHT_NOBITS.0 && !relocated => Ok(None),
        Place::At(_) if section.sh_type == SHT_NOBITS.0 => {
            refused("has no contents and is relocated")
        }
        Place::At(addr) => Ok(Some(addr)),
        Place::Resized => refused("was changed by the linker"),
        Place::Unknown | Place::Merged { .. } => refused("has a place that is not known"),
    }
}

/// The image's loaded sections by their statement in the map.
fn outputs(image: &Elf<'_>, map: &LinkMap<'_>) -> HashMap<u32, u32> {
    let mut outputs = HashMap::new();
    for (section, index) in image.sections().iter().zip(0..) {
        if section.flags & SHF_ALLOC.0 != 0
            && let Some(statement) = statement(map, section.name)
        {
            outputs.entry(statement as u32).or_insert(index);
        }
    }
    outputs
}

/// The offset in the image of an input section at `addr`.
fn offset(output: &Section<'_>, addr: u64, section: &Section<'_>) -> Option<u64> {
    let into = addr.checked_sub(output.addr)?;
    let inside = into.checked_add(section.size)? <= output.size;
    let loaded = output.sh_type != SHT_NOBITS.0;
    output.offset.checked_add(into).filter(|_| inside && loaded)
}

/// How many relocations a section has.
fn count(object: &Object<'_>, index: usize) -> Result<u64, Error> {
    let relocations = object.relocations[index];
    let section = &object.elf.sections()[relocations as usize];
    let of_size = section.entsize == RECORD as u64 && section.size % RECORD as u64 == 0;
    match relocations {
        0 => Ok(0),
        _ if section.sh_type == SHT_RELA.0 && of_size => Ok(section.size / RECORD as u64),
        _ => Err(fault(object, section, "has relocations of another form")),
    }
}

/// By section of the image, how many relocations its input sections have.
pub(crate) fn counts(image: &Elf<'_>, sections: &[Filled]) -> Vec<u64> {
    let mut counts = vec![0u64; image.sections().len()];
    for section in sections {
        let count = &mut counts[section.output as usize];
        *count = count.saturating_add(section.count);
    }
    counts
}

/// Refuses what GNU ld leaves out of an image only because that keeps no relocations: output sections without a byte
/// that have input sections (`ld/ldlang.c`, `strip_excluded_output_sections`).
pub(crate) fn check_left_out(
    image: &Elf<'_>,
    map: &LinkMap<'_>,
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
) -> Result<(), Error> {
    let names: HashSet<&[u8]> = image.sections().iter().map(|section| section.name).collect();
    for (object, statements) in objects.iter().zip(&layout.statements) {
        for (section, &statement) in object.elf.sections().iter().zip(statements) {
            if let Some(statement) = map.statements.get(statement as usize)
                && !is_debug(section)
                && !names.contains(statement.name)
            {
                return Err(fault(object, section, "stays empty where relocations are kept"));
            }
        }
    }
    Ok(())
}

/// Where relocations stay: by the section of the image that they belong to, from where to where.
pub(crate) fn tables(image: &Elf<'_>, frame: Option<&Frame>) -> HashMap<u32, (u64, u64)> {
    let range = |offset: u64, size| (offset, offset.saturating_add(size));
    match frame {
        None => {
            let kept = image.sections().iter().filter(|section| is_kept(section));
            kept.map(|table| (table.info, range(table.offset, table.size))).collect()
        }
        Some(frame) => {
            let table = |extent: &Extent| match extent.origin {
                Origin::ImageRelocations(of) => Some((of, range(extent.offset, extent.size))),
                _ => None,
            };
            frame.sections.iter().filter_map(table).collect()
        }
    }
}

/// Gives the relocations of each section their place in one of `tables`.
pub(crate) fn place_records(
    mut tables: HashMap<u32, (u64, u64)>,
    linker: Linker,
    objects: &[Arc<Object<'_>>],
    sections: &mut [Filled],
) -> Result<(), Error> {
    let mut order: Vec<&mut Filled> = sections.iter_mut().filter(|s| s.count != 0).collect();
    order.sort_by_key(|section| match linker {
        // By the offset of what is relocated.
        Linker::Gnu => (section.addr, 0),
        Linker::Lld => {
            let relocations = &objects[section.input as usize].relocations;
            (section.input.into(), relocations[section.section as usize])
        }
    });
    for section in order {
        let object = &objects[section.input as usize];
        let header = &object.elf.sections()[section.section as usize];
        let place = tables.get_mut(&section.output).and_then(|(at, end)| {
            let place = *at;
            *at = at.checked_add(section.count.checked_mul(RECORD as u64)?)?;
            (*at <= *end).then_some(place)
        });
        let missing = || fault(object, header, "has relocations that the image has no room for");
        section.records_at = Some(place.ok_or_else(missing)?);
    }
    match tables.values().all(|(at, end)| at == end) {
        true => Ok(()),
        false => Err(Error::disagree("the image keeps more relocations than its inputs have")),
    }
}

/// Symbol and address of each output section, by its statement in the map.
pub(crate) fn section_symbols(
    image: &Elf<'_>,
    map: &LinkMap<'_>,
    symbols: &[Symbol<'_>],
) -> HashMap<u32, (u32, u64)> {
    let outputs = outputs(image, map);
    let mut by_section = HashMap::new();
    for (symbol, index) in symbols.iter().zip(1..) {
        if let Defined::Section(section) = symbol.place
            && symbol.kind == STT_SECTION.0
        {
            by_section.entry(section).or_insert(index);
        }
    }
    let of_output = |(&statement, &output): (&u32, &u32)| {
        let addr = image.sections()[output as usize].addr;
        Some((statement, (*by_section.get(&output)?, addr)))
    };
    outputs.iter().filter_map(of_output).collect()
}
