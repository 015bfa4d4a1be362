//! One input exchanged in a linked image for another of the same shape.
//!
//! A kernel is linked with a kallsyms object whose tables have the right sizes and the wrong contents, or with a BTF object
//! that has no contents yet. What is made of that kernel fits into the same place, so nothing has to be linked again:
//! the contents are exchanged, and the fields that refer to symbols computed as the linker does it.

use hashbrown::HashMap;
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
        let input = Input::new(exchange.name, data);
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
            lookups: None,
            offset: place.addr,
            linker: map.linker,
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
        (Some(only), None) => match elf.locate(only.addr, only.size) {
            Some((output, offset)) => {
                elf.bytes(output)?;
                Some((only.addr, offset as usize))
            }
            None => None,
        },
        _ => None,
    };
    found.ok_or_else(|| {
        let section = lossy(section.name);
        Error::disagree(format!("{name}: the map does not say where its {section} is"))
    })
}

/// What the symbols of the object stand for. Its own sections are not looked for: tables refer to the kernel only.
fn targets(elf: &Elf<'_>, object: &Object<'_>) -> Result<Vec<Target>, Error> {
    let is_global = |symbol: &&image::Symbol<'_>| symbol.bind != STB_LOCAL.0;
    // The object refers to a few of the image's 200,000.
    let mut globals: HashMap<&[u8], Option<u64>> =
        object.symbols.iter().filter(is_global).map(|symbol| (symbol.name, None)).collect();
    if !globals.is_empty() {
        for symbol in elf.symbols()?.iter().filter(is_global) {
            if let Some(value) = globals.get_mut(symbol.name) {
                *value = Some(symbol.value);
            }
        }
    }
    let resolve = |symbol: &image::Symbol<'_>| match globals.get(symbol.name) {
        Some(&Some(value)) if symbol.bind != STB_LOCAL.0 => Target::Value(value),
        _ => Target::Unknown,
    };
    // The null symbol comes first in the table.
    Ok([Target::Unknown].into_iter().chain(object.symbols.iter().map(resolve)).collect())
}

#[cfg(test)]
mod tests {
    use image::consts::{R_X86_64_64, R_X86_64_PC32};
    use image::{DataSection, NewSymbol, Relocatable, Relocation};

    use super::*;
    use crate::testing;

    const MAP: &str = "Linker script and memory map\n\n\
        .rodata         0x0000000000000000       0x20\n .rodata        0x0000000000000000       0x20 k.o\n";

    /// An object, or an image in the form of one, whose section is at address 0; `text` is where `_text` is.
    fn object(
        name: &'static str,
        bytes: &[u8],
        relocations: &[(u64, u32, i64)],
        text: Option<u64>,
    ) -> Vec<u8> {
        let header = testing::x86_64();
        let relocation =
            |&(offset, r_type, addend)| Relocation { offset, symbol: 0, r_type, addend };
        let relocations = relocations.iter().map(relocation).collect();
        let data = DataSection { name, flags: SHF_ALLOC.0, align: 8, bytes, relocations };
        let (section, value) = (text.map(|_| 0), text.unwrap_or(0));
        let symbols = vec![NewSymbol { name: "_text", section, value, size: 0 }];
        Relocatable { header, sections: vec![data], symbols, rela: true }.write().unwrap()
    }

    const RELOCATED: [(u64, u32, i64); 2] = [(8, R_X86_64_64.0, 0x100), (20, R_X86_64_PC32.0, 2)];

    fn try_refill(image: &mut [u8], old: &[u8], new: &[u8]) -> Result<(), Error> {
        let map = LinkMap::parse_gnu(MAP.as_bytes()).unwrap();
        refill(image, &map, &Exchange { name: "k.o", old, new })
    }

    /// The image of a link, its kallsyms object, and the one that takes its place.
    fn case() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let before = RELOCATED.map(|(offset, r_type, _)| (offset, r_type, 0));
        (
            object(".rodata", &[0xee; 32], &before, Some(0x10)),
            object(".rodata", &[0; 32], &before, None),
            object(".rodata", &[0x55; 32], &RELOCATED, None),
        )
    }

    #[test]
    fn contents_and_kept_relocations_become_those_of_the_new_object() {
        let (mut image, old, new) = case();
        try_refill(&mut image, &old, &new).unwrap();
        let mut filled = [0x55; 32];
        filled[8..16].copy_from_slice(&0x110u64.to_le_bytes());
        // From its own place: 0x10 + 2 - 20.
        filled[20..24].copy_from_slice(&(-2i32).to_le_bytes());
        assert_eq!(image, object(".rodata", &filled, &RELOCATED, Some(0x10)));
    }

    #[test]
    fn an_object_of_another_shape_or_place_is_refused() {
        let (image, old, new) = case();
        let error = |old: &[u8], new: &[u8]| {
            let mut image = image.clone();
            let error = try_refill(&mut image, old, new).unwrap_err().to_string();
            assert_eq!(image, self::case().0, "the image is as it was");
            error
        };
        let longer = object(".rodata", &[0; 40], &RELOCATED, None);
        assert!(error(&old, &longer).contains("k.o: sections of other sizes"));
        assert!(error(&longer, &longer).contains("the map does not say where its .rodata is"));
        let types = object(".BTF", &[0; 32], &[], None);
        assert!(error(&old, &types).contains("k.o: sections of other sizes"));
        let fewer = object(".rodata", &[0; 32], &RELOCATED[..1], None);
        assert!(error(&old, &fewer).contains("keeps relocations of another number"));
        let local = object(".rodata", &[0; 32], &RELOCATED, Some(0));
        assert!(
            try_refill(&mut image.clone(), &old, &local).is_ok(),
            "a global symbol is the image's"
        );
        assert!(error(&old, &new[..new.len() / 2]).contains("k.o"));
    }

    #[test]
    fn broken_input_is_refused_or_used_and_never_a_panic() {
        let (image, old, new) = case();
        for at in 0..old.len().max(new.len()).max(image.len()) {
            for value in [0x00, 0x01, 0x7f, 0xff] {
                let broken = |bytes: &[u8]| {
                    let mut bytes = bytes.to_vec();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                    bytes
                };
                let _ = try_refill(&mut broken(&image), &old, &new);
                let _ = try_refill(&mut image.clone(), &broken(&old), &new);
                let _ = try_refill(&mut image.clone(), &old, &broken(&new));
                let _ = try_refill(&mut image.clone(), &broken(&old), &broken(&new));
            }
        }
    }
}
