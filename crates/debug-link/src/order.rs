//! The order of sections in the finished file.
//!
//! The rule: output sections stand in the order of the linker script. Relocations that are kept have a section
//! of their own; GNU ld puts it behind the one that is relocated (`bfd/elf.c`), ld.lld behind all that the
//! script names, in the order in which the inputs first have such relocations (`ELF/LinkerScript.cpp`,
//! `addOrphanSections`).

use std::sync::Arc;

use hashbrown::HashMap;
use image::Elf;

use crate::error::{Error, lossy};
use crate::frame::{Origin, Tables, is_kept, statement};
use crate::layout::{DebugSection, Layout, NO_STATEMENT};
use crate::linker::Linker;
use crate::map::LinkMap;
use crate::object::Object;

/// An input, and the section of relocations in it.
type First = (usize, usize);

/// All sections of the finished file, those of kept relocations only if `keeps`.
pub(crate) fn sections(
    image: &Elf<'_>,
    map: &LinkMap<'_>,
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
    keeps: bool,
    tables: Tables,
) -> Result<Vec<Origin>, Error> {
    let beside = keeps && map.linker == Linker::Gnu;
    let mut order = insert(image, map, &layout.debug, beside, tables)?;
    if keeps && map.linker == Linker::Lld {
        insert_kept(&mut order, image, map, objects, layout)?;
    }
    Ok(order)
}

/// Puts the debug sections among those of the image, each with its kept relocations if they are to stand `beside` it.
fn insert(
    image: &Elf<'_>,
    map: &LinkMap<'_>,
    debug: &[DebugSection<'_>],
    beside: bool,
    tables: Tables,
) -> Result<Vec<Origin>, Error> {
    let mut order = Vec::with_capacity(image.sections().len() + debug.len());
    let mut rest = (0..debug.len()).peekable();
    // GNU ld's tables stand behind all that the script has.
    let behind = |index: u32| map.linker == Linker::Gnu && index >= tables.symbols;
    for (index, section) in image.sections().iter().enumerate() {
        let index = index as u32;
        let of_section = index != 0 && !behind(index) && !is_kept(section);
        let at = match of_section {
            true => Some(statement(map, section.name).ok_or_else(|| {
                Error::disagree(format!("the map has no output section {}", lossy(section.name)))
            })?),
            false => None,
        };
        let before =
            |&next: &usize| behind(index) || at.is_some_and(|at| debug[next].statement < at);
        while let Some(next) = rest.next_if(before) {
            order.push(Origin::Debug(next as u32));
            if beside && debug[next].relocated {
                order.push(Origin::Relocations(next as u32));
            }
        }
        order.push(Origin::Image(index));
    }
    match rest.next() {
        None => Ok(order),
        Some(next) => {
            let name = lossy(debug[next].name);
            Err(Error::unsupported(format!("{name} behind all other sections")))
        }
    }
}

/// Puts the kept relocations of debug sections among those of the image, as ld.lld does.
fn insert_kept(
    order: &mut Vec<Origin>,
    image: &Elf<'_>,
    map: &LinkMap<'_>,
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
) -> Result<(), Error> {
    let firsts = firsts(objects, layout);
    let first_of = |origin: &Origin| -> Option<First> {
        let name = match *origin {
            Origin::Image(index) => image.sections()[index as usize].name,
            _ => return None,
        };
        firsts.get(&(statement(map, name)? as u32)).copied()
    };
    let is_kept = |origin: &Origin| match *origin {
        Origin::Image(index) => is_kept(&image.sections()[index as usize]),
        _ => false,
    };
    let begin = order.iter().position(is_kept).unwrap_or(order.len());
    let kept = order.split_off(begin);
    let mut all = Vec::with_capacity(kept.len() + layout.debug.len());
    for origin in kept {
        let first = first_of(&origin).filter(|_| is_kept(&origin));
        all.push((first.ok_or_else(|| Error::disagree("kept relocations of no input"))?, origin));
    }
    if !all.is_sorted_by_key(|&(first, _)| first) {
        return Err(Error::disagree("kept relocations stand in another order"));
    }
    for (index, debug) in layout.debug.iter().enumerate().filter(|(_, debug)| debug.relocated) {
        let first = debug.pieces.iter().filter_map(|piece| {
            let (input, section) = (piece.input as usize, piece.section as usize);
            let relocations = objects[input].relocations[section] as usize;
            (relocations != 0).then_some((input, relocations))
        });
        let first = first.min().ok_or_else(|| Error::unsupported("relocated strings"))?;
        all.push((first, Origin::Relocations(index as u32)));
    }
    all.sort_by_key(|&(first, _)| first);
    order.extend(all.into_iter().map(|(_, origin)| origin));
    Ok(())
}

/// For each output section that the map has, the first of its input sections in the order of the link.
fn firsts(objects: &[Arc<Object<'_>>], layout: &Layout<'_>) -> HashMap<u32, First> {
    let mut firsts = HashMap::new();
    for (input, statements) in layout.statements.iter().enumerate().take(objects.len()) {
        for (section, &statement) in statements.iter().enumerate() {
            if statement != NO_STATEMENT {
                firsts.entry(statement).or_insert((input, section));
            }
        }
    }
    firsts
}
