//! Where the symbols of debug sections go among those of the image, with `--emit-relocs`.
//!
//! GNU ld (`bfd/elflink.c`): the symbols of sections come first, in the order of the sections.
//!
//! ld.lld (`ELF/SyntheticSections.cpp`, `sortSymTabSymbols`; `ELF/Writer.cpp`, `addSectionSymbols`): local symbols
//! stand file by file, in the order in which the files first have one. A section's symbol counts among those of
//! one file that has sections there, behind the file's own: of those that the last pattern list of the script takes,
//! the first; a merged section counts as made by the linker. Of one file's, those of orphans, which the script
//! does not have, stand behind those of the script's sections. Symbols that were global and hidden in their file follow as the last of the file. What the
//! image has is taken apart by that rule, so that an image of another form is noticed.

use std::sync::Arc;

use hashbrown::HashMap;
use image::consts::{SHF_MERGE, STB_LOCAL, STT_SECTION};
use image::{Elf, Place as Defined, Section, Symbol};

use crate::error::{Error, lossy};
use crate::fields::Fields;
use crate::frame::{Origin, Tables, statement};
use crate::layout::{self, DebugSection, Layout, Place};
use crate::map::LinkMap;
use crate::map_lld::INTERNAL;
use crate::object::Object;
use crate::script;

/// A symbol that a debug section has in the finished file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewSymbol {
    /// The symbol of the image before which it is put, by its index.
    pub(crate) before: u32,
    /// Index of the section in the finished file.
    pub(crate) section: u32,
    /// Its address.
    pub(crate) addr: u64,
}

/// The new symbols by GNU ld's rule, in their order.
pub(crate) fn gnu(
    image: &Elf<'_>,
    tables: Tables,
    order: &[Origin],
) -> Result<Vec<NewSymbol>, Error> {
    let fields = Fields::of(image.header());
    let table = image.bytes(&image.sections()[tables.symbols as usize])?;
    let symbols = table.chunks_exact(fields.symbol()).skip(1);
    let of_sections = symbols.take_while(|symbol| fields.is_section_symbol(symbol));
    let of_sections: Vec<u32> =
        of_sections.map(|symbol| fields.symbol_section(symbol).unwrap_or(0).into()).collect();
    if !of_sections.is_sorted() || of_sections.is_empty() {
        return Err(Error::unsupported("kept relocations without a symbol for each section"));
    }
    let mut new = Vec::new();
    let mut passed = 0;
    for (section, origin) in order.iter().enumerate() {
        match origin {
            Origin::Image(index) => passed = *index,
            Origin::Debug(_) => {
                let behind = of_sections.partition_point(|&section| section <= passed);
                new.push(NewSymbol { before: behind as u32 + 1, section: section as u32, addr: 0 });
            }
            Origin::Relocations(_) | Origin::ImageRelocations(_) => {}
        }
    }
    Ok(new)
}

/// The local symbols of one file, as they stand in the image.
struct Group {
    /// Index of the input; [`NO_INPUT`] for the linker's own.
    file: u32,
    /// Whether the file has symbols of its own, so that its place does not depend on its sections.
    fixed: bool,
    /// The symbols of sections: the section's turn, and the symbol's index in the image.
    sections: Vec<(u32, u32)>,
    /// Index of the symbol behind the last of a section.
    end: u32,
}

/// The new symbols by ld.lld's rule, in their order.
pub(crate) fn lld(
    image: &Elf<'_>,
    map: &LinkMap<'_>,
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
    tables: Tables,
    order: &[Origin],
) -> Result<Vec<NewSymbol>, Error> {
    let locals = image.sections()[tables.symbols as usize].info;
    let symbols = image.symbols()?;
    let symbols = symbols.get(..(locals as usize).saturating_sub(1)).unwrap_or(&symbols);
    let leads = Leads::new(objects, map);
    let lead = |section: u32| leads.of_image(image.sections().get(section as usize)?);
    let own: Vec<Vec<&[u8]>> = objects.iter().zip(&layout.places).map(kept_locals).collect();
    let groups = take_apart(symbols, &own, lead)?;
    let mut new = Vec::new();
    let mut first_of_moving: Vec<u32> = Vec::new();
    let mut debug = Vec::new();
    for (index, origin) in order.iter().enumerate() {
        if let Origin::Debug(origin) = origin {
            let lead = leads.of_debug(&layout.debug[*origin as usize], layout)?;
            debug.push((lead, index as u32));
        }
    }
    for group in &groups {
        let theirs = debug.iter().filter(|(lead, _)| lead.file == group.file);
        for &(Lead { turn, .. }, section) in theirs.clone() {
            let behind = group.sections.iter().find(|&&(other, _)| other > turn);
            let before = behind.map_or(group.end, |&(_, symbol)| symbol);
            new.push(NewSymbol { before, section, addr: 0 });
        }
        if !group.fixed {
            let turns = group.sections.iter().map(|&(turn, _)| turn);
            first_of_moving.extend(turns.chain(theirs.map(|(lead, _)| lead.turn)).min());
        }
    }
    // Two that are put before the same symbol stand in the order of their files.
    let in_order = new.is_sorted_by_key(|new| new.before) && first_of_moving.is_sorted();
    if !in_order || new.len() != debug.len() {
        return Err(Error::unsupported("symbols of debug sections that move those of other files"));
    }
    Ok(new)
}

/// In the place of the index of an input: made by the linker.
const NO_INPUT: u32 = u32::MAX;

/// What decides where the symbol of a section stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lead {
    /// Index of the input that it belongs to, or [`NO_INPUT`].
    file: u32,
    /// Its turn among the symbols of sections: the section's place in the script, orphans last.
    turn: u32,
}

/// Which file the symbol of a section belongs to.
struct Leads<'l, 'a> {
    objects: &'l [Arc<Object<'a>>],
    map: &'l LinkMap<'l>,
    inputs: HashMap<&'l [u8], u32>,
}

impl<'l, 'a> Leads<'l, 'a> {
    fn new(objects: &'l [Arc<Object<'a>>], map: &'l LinkMap<'l>) -> Self {
        let names = objects.iter().enumerate();
        let inputs = names.map(|(index, object)| (object.name.as_bytes(), index as u32)).collect();
        Leads { objects, map, inputs }
    }

    /// For a section of the image; `None` for one that has no symbol.
    fn of_image(&self, section: &Section<'_>) -> Option<Lead> {
        let index = statement(self.map, section.name)?;
        let statement = &self.map.statements[index];
        let turn = if statement.patterns.is_empty() { u32::MAX } else { index as u32 };
        let takes =
            |list: &Vec<&[u8]>, name| list.iter().any(|pattern| script::fits(pattern, name));
        let mut last: Option<(usize, u32)> = None;
        for listed in &statement.inputs {
            let list = statement.patterns.iter().position(|list| takes(list, listed.section));
            let list = list.unwrap_or(0);
            if last.is_some_and(|(last, _)| last >= list) {
                continue;
            }
            match listed.file {
                INTERNAL if section.flags & SHF_MERGE.0 == 0 => {}
                INTERNAL => last = Some((list, NO_INPUT)),
                file => last = Some((list, *self.inputs.get(file)?)),
            }
        }
        last.map(|(_, file)| Lead { file, turn })
    }

    /// For a debug section.
    fn of_debug(&self, debug: &DebugSection<'_>, layout: &Layout<'_>) -> Result<Lead, Error> {
        let turn = debug.statement as u32;
        let header = |input: u32, section: u32| {
            &self.objects[input as usize].elf.sections()[section as usize]
        };
        let Some(group) = debug.group else {
            let mut last: Option<(usize, u32)> = None;
            for piece in &debug.pieces {
                let name = header(piece.input, piece.section).name;
                let (_, list) = layout::statement_of(self.map, name)?;
                if last.is_none_or(|(last, _)| list > last) {
                    last = Some((list, piece.input));
                }
            }
            return Ok(Lead { file: last.map_or(NO_INPUT, |(_, input)| input), turn });
        };
        // What is empty is not merged, and may be what decides.
        let members = &layout.groups[group as usize].members;
        match members.iter().find(|member| header(member.input, member.section).size == 0) {
            None => Ok(Lead { file: NO_INPUT, turn }),
            Some(_) => {
                let name = lossy(debug.name);
                Err(Error::unsupported(format!("an empty {name} with --emit-relocs")))
            }
        }
    }
}

/// The names of a file's own local symbols in the output, if all are kept (`--discard-none`).
fn kept_locals<'o>((object, places): (&'o Arc<Object<'_>>, &Vec<Place>)) -> Vec<&'o [u8]> {
    let kept = |symbol: &&Symbol<'_>| {
        let lives = match symbol.place {
            Defined::Section(section) => places.get(section as usize) != Some(&Place::Discarded),
            Defined::Undefined => false,
            _ => true,
        };
        symbol.bind == STB_LOCAL.0 && symbol.kind != STT_SECTION.0 && lives
    };
    object.symbols.iter().filter(kept).map(|symbol| symbol.name).collect()
}

/// Finds the files' groups among the local symbols of the image.
///
/// `own` has the names of each file's own; `lead` what decides for a section.
fn take_apart(
    symbols: &[Symbol<'_>],
    own: &[Vec<&[u8]>],
    lead: impl Fn(u32) -> Option<Lead>,
) -> Result<Vec<Group>, Error> {
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    for (file, names) in own.iter().enumerate().filter(|(_, names)| !names.is_empty()) {
        // What hidden symbols the file before has is not counted.
        let same = |at: usize| symbols.get(at).is_some_and(|s| s.name == names[0]);
        while at < symbols.len() && !same(at) && symbols[at].kind != STT_SECTION.0 {
            at += 1;
        }
        for name in names {
            if symbols.get(at).is_none_or(|symbol| symbol.name != *name) {
                let name = lossy(name);
                return Err(Error::disagree(format!(
                    "local symbol {name} is not where it should be"
                )));
            }
            at += 1;
        }
        let mut group = Group { file: file as u32, fixed: true, sections: Vec::new(), end: 0 };
        while let Some(lead) = symbols.get(at).and_then(section_of).and_then(&lead)
            && lead.file == group.file
        {
            group.sections.push((lead.turn, at as u32 + 1));
            at += 1;
        }
        group.end = at as u32 + 1;
        groups.push(group);
    }
    while let Some(symbol) = symbols.get(at) {
        at += 1;
        let Some(section) = section_of(symbol) else { continue };
        let lead = lead(section);
        let Lead { file, turn } =
            lead.ok_or_else(|| Error::disagree("the symbol of a section of no file"))?;
        if groups.last().is_none_or(|group| group.file != file) {
            if groups.iter().any(|group| group.file == file) {
                return Err(Error::disagree("symbols of sections stand in another order"));
            }
            groups.push(Group { file, fixed: false, sections: Vec::new(), end: 0 });
        }
        if let Some(group) = groups.last_mut() {
            group.sections.push((turn, at as u32));
            group.end = at as u32 + 1;
        }
    }
    Ok(groups)
}

/// The section that a symbol stands for.
fn section_of(symbol: &Symbol<'_>) -> Option<u32> {
    match symbol.place {
        Defined::Section(section) if symbol.kind == STT_SECTION.0 => Some(section),
        _ => None,
    }
}
