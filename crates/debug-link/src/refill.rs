//! One input exchanged in a linked image for another of the same shape.
//!
//! A kernel is linked with a kallsyms object whose tables have the right sizes and the wrong contents, or with a BTF object
//! that has no contents yet. What is made of that kernel fits into the same place, so nothing has to be linked again:
//! the contents are exchanged, and the fields that refer to symbols computed as the linker does it.

use std::collections::HashMap;

use image::consts::{SHF_ALLOC, SHT_NOBITS, STB_LOCAL};
use image::{Elf, Section};

use crate::error::{Error, lossy};
use crate::kept;
use crate::map::LinkMap;
use crate::object::{Input, Object};
use crate::relocate::Source;
use crate::targets::Target;

/// The input that is exchanged.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// Its name in the map.
    pub name: &'a str,
    /// The object that was linked.
    pub old: &'a [u8],
    /// The object that takes its place.
    pub new: &'a [u8],
}

/// Where a section of the object is in the image.
struct Place {
    section: u32,
    addr: u64,
    offset: usize,
}

/// Puts the loadable contents of `exchange.new` where those of `exchange.old` were linked to.
///
/// # Errors
/// Objects of other sections or sizes, a map that does not tell where they are, references to anything but
/// global symbols, kept relocations that differ in more than addends; `image` may have been changed in part then.
pub fn refill(image: &mut [u8], map: &LinkMap<'_>, exchange: &Exchange<'_>) -> Result<(), Error> {
    let object = |data| {
        let input = Input { name: exchange.name, data };
        let objects = Object::parse_all(&[input])?;
        objects.into_iter().next().ok_or_else(|| Error::disagree("no object"))
    };
    let (old, new) = (object(exchange.old)?, object(exchange.new)?);
    let (places, targets, addends) = {
        let elf = Elf::parse(image)?;
        let places = places(&elf, map, &old, &new)?;
        let mut addends = Vec::new();
        for place in &places {
            addends.extend(kept::new_addends(&elf, place.addr, place.section, &old, &new)?);
        }
        (places, targets(&elf, &new)?, addends)
    };
    image::apply(image, &addends).map_err(|fault| Error::disagree(fault.to_string()))?;
    for place in places {
        let bytes = new.bytes(place.section)?;
        let source = Source {
            object: &new,
            section: place.section,
            bytes,
            targets: &targets,
            names: &[],
            merged: &[],
            offset: place.addr,
        };
        let out = &mut image[place.offset..place.offset + bytes.len()];
        source.write_whole(&source.whole()?, out)?;
    }
    Ok(())
}

/// The loadable sections of both objects, which have to be the same but for their contents.
fn places(
    elf: &Elf<'_>,
    map: &LinkMap<'_>,
    old: &Object<'_>,
    new: &Object<'_>,
) -> Result<Vec<Place>, Error> {
    let shape = |s: &Section<'_>| (s.name.to_vec(), s.sh_type, s.flags, s.size, s.align);
    let (before, after) = (old.elf.sections(), new.elf.sections());
    let loadable = |section: &Section<'_>| {
        section.flags & SHF_ALLOC.0 != 0 && section.size > 0 && section.sh_type != SHT_NOBITS.0
    };
    let shapes = |sections: &[Section<'_>]| -> Vec<_> {
        sections.iter().filter(|section| section.flags & SHF_ALLOC.0 != 0).map(shape).collect()
    };
    if shapes(before) != shapes(after) {
        return Err(Error::disagree(format!("{}: sections of other sizes", new.name)));
    }
    let loaded = after.iter().enumerate().filter(|(_, section)| loadable(section));
    loaded
        .map(|(index, section)| {
            let (addr, offset) = locate(elf, map, new.name, section)?;
            Ok(Place { section: index as u32, addr, offset })
        })
        .collect()
}

/// Address and file offset of an input section in the image.
fn locate(
    elf: &Elf<'_>,
    map: &LinkMap<'_>,
    name: &str,
    section: &Section<'_>,
) -> Result<(u64, usize), Error> {
    let inputs = map.statements.iter().flat_map(|statement| &statement.inputs);
    let mut listed = inputs
        .filter(|listed| listed.file == name.as_bytes() && listed.section == section.name)
        .filter(|listed| listed.size == section.size);
    let found = match (listed.next(), listed.next()) {
        (Some(only), None) => {
            elf.locate(only.addr, only.size).map(|(_, offset)| (only.addr, offset as usize))
        }
        _ => None,
    };
    found.ok_or_else(|| {
        let section = lossy(section.name);
        Error::disagree(format!("{name}: the map does not say where its {section} is"))
    })
}

/// What the symbols of the object stand for. Its own sections are not looked for: tables refer to the kernel only.
fn targets(elf: &Elf<'_>, object: &Object<'_>) -> Result<Vec<Target>, Error> {
    let symbols = elf.symbols()?;
    let globals: HashMap<&[u8], u64> = symbols
        .iter()
        .filter(|symbol| symbol.bind != STB_LOCAL.0)
        .map(|symbol| (symbol.name, symbol.value))
        .collect();
    let resolve = |symbol: &image::Symbol<'_>| match globals.get(symbol.name) {
        Some(&value) if symbol.bind != STB_LOCAL.0 => Target::Value(value),
        _ => Target::Unknown,
    };
    // The null symbol comes first in the table.
    Ok([Target::Unknown].into_iter().chain(object.symbols.iter().map(resolve)).collect())
}
