//! Where input sections went that ld.lld's map does not list.
//!
//! The rule (ld.lld 19, `ELF/OutputSections.cpp`, `finalizeInputSections`): in each output section those
//! sections are merged that have the same flags and entry size, strings also the same alignment. They go where
//! the first of them stood, and that is how the map names them. Any other section that is not listed has
//! been thrown away.

use std::sync::Arc;

use hashbrown::HashMap;
use image::consts::{SHF_ALLOC, SHF_GROUP};

use crate::error::{Error, lossy};
use crate::layout::{self, Group, Layout, Member, NO_STATEMENT, Place};
use crate::map::LinkMap;
use crate::map_lld::INTERNAL;
use crate::object::Object;
use crate::script;

/// A merged section: the statement, the pattern list in it, the input and the section.
type Found = (usize, usize, usize, usize);

/// Places all sections of `objects` that are part of the image's memory and are not listed.
///
/// # Errors
/// Merged sections that the map does not have.
pub(crate) fn place(
    layout: &mut Layout<'_>,
    objects: &[Arc<Object<'_>>],
    map: &LinkMap<'_>,
) -> Result<(), Error> {
    let mut merged: Vec<Found> = Vec::new();
    let mut matches: HashMap<&[u8], Option<(usize, usize)>> = HashMap::new();
    for (input, object) in objects.iter().enumerate() {
        for (index, section) in object.elf.sections().iter().enumerate() {
            let listed = layout.statements[input][index] != NO_STATEMENT;
            if section.flags & SHF_ALLOC.0 == 0 || listed {
                continue;
            }
            let place = &mut layout.places[input][index];
            if !layout::is_merged(map.linker, object, index) {
                // References to a duplicate may go to the one that is kept; these are put together anew.
                let made_anew: [&[u8]; 2] = [b".eh_frame", b".note.gnu.property"];
                if section.flags & SHF_GROUP.0 == 0 && !made_anew.contains(&section.name) {
                    *place = Place::Discarded;
                }
                continue;
            }
            let taken = matches
                .entry(section.name)
                .or_insert_with(|| layout::statement_of(map, section.name).ok());
            match *taken {
                Some((statement, _)) if map.statements[statement].name == script::DISCARD => {
                    *place = Place::Discarded;
                }
                Some((statement, list)) => merged.push((statement, list, input, index)),
                None => {}
            }
        }
    }
    merged.sort_unstable();
    for of_statement in merged.chunk_by(|a, b| a.0 == b.0) {
        group(layout, objects, map, of_statement)?;
    }
    Ok(())
}

/// Makes the groups of one output section.
fn group(
    layout: &mut Layout<'_>,
    objects: &[Arc<Object<'_>>],
    map: &LinkMap<'_>,
    merged: &[Found],
) -> Result<(), Error> {
    let mut keys: HashMap<(u64, u64, u64), u32> = HashMap::new();
    let statement = merged[0].0;
    let made = map.statements[statement].inputs.iter().filter(|listed| listed.file == INTERNAL);
    let mut made: Vec<_> = made.collect();
    for &(_, _, input, index) in merged {
        let section = &objects[input].elf.sections()[index];
        let strings = layout::is_strings(section);
        let align = if strings { section.align.max(1) } else { 0 };
        let group = match keys.get(&(section.flags, section.entsize, align)) {
            Some(&group) => group,
            None => {
                let at = made.iter().position(|listed| listed.section == section.name);
                let listed = at.map(|at| made.remove(at)).ok_or_else(|| {
                    let name = lossy(section.name);
                    Error::disagree(format!("the map has no merged section called {name}"))
                })?;
                let mut group = Group::like(section, None);
                group.extent = Some((listed.addr, listed.size));
                // That of constants is the strictest of theirs.
                group.align = listed.align.unwrap_or(1).max(1);
                layout.groups.push(group);
                let group = layout.groups.len() as u32 - 1;
                keys.insert((section.flags, section.entsize, align), group);
                group
            }
        };
        layout.statements[input][index] = statement as u32;
        let (input, section) = (input as u32, index as u32);
        layout.join(group, Member { input, section, addr: 0, size: 0 });
    }
    Ok(())
}
