//! What the symbols of the inputs stand for in the output.
//!
//! Debug info refers mostly to section symbols, whose place is the section's. A global symbol is
//! what the image's symbol table says; one that is not there was hidden, and its own definition
//! counts. An undefined weak symbol is 0, or like something thrown away.

use std::sync::Arc;

use hashbrown::HashMap;
use image::consts::{STB_LOCAL, STB_WEAK, STT_SECTION};
use image::{Place as Defined, Symbol};
use rayon::prelude::*;

use crate::layout::{Layout, Place};
use crate::linker::Linker;
use crate::merge::Merged;
use crate::object::{Object, is_debug};

/// Symbols that are worth a thread of their own.
pub(crate) const SYMBOLS: usize = 1 << 12;

/// The image's symbols that are not local, by name; each as its index among all symbols, the null symbol left out.
#[derive(Debug)]
pub(crate) struct Globals<'s>(HashMap<&'s [u8], u32>);

impl<'s> Globals<'s> {
    /// From the symbols of the image.
    pub(crate) fn new(image_symbols: &[Symbol<'s>]) -> Self {
        let globals = image_symbols.iter().zip(0..).filter(|(s, _)| s.bind != STB_LOCAL.0);
        Globals(globals.map(|(symbol, index)| (symbol.name, index)).collect())
    }

    /// The index of the symbol of that name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<u32> {
        self.0.get(name).copied()
    }
}

/// What a symbol of an input stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// This address, or offset into an output section.
    Value(u64),
    /// The start of a merged section: where the addend leads to is looked up.
    Merged {
        /// Index of the group.
        group: u32,
        /// Index of the section within it.
        member: u32,
    },
    /// Something that was thrown away.
    Discarded,
    /// Its place is not known; an error as soon as it is used.
    Unknown,
}

/// For each input the targets of its symbols, the null symbol first; nothing for inputs without
/// debug info.
pub(crate) fn resolve(
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
    merged: &[Merged<'_>],
    image_symbols: &[Symbol<'_>],
    globals: &Globals<'_>,
    linker: Linker,
) -> Vec<Vec<Target>> {
    let undefined = match linker.undefined_is_discarded() {
        true => Target::Discarded,
        false => Target::Value(0),
    };
    let own = |input: usize, symbol: &Symbol<'_>| defined(symbol, &layout.places[input], merged);
    let hidden = hidden(objects, globals, own);
    let of_input = |(input, object): (usize, &Arc<Object<'_>>)| {
        if !has_debug_relocations(object) {
            return Vec::new();
        }
        let of_symbol = |symbol: &Symbol<'_>| {
            if symbol.bind == STB_LOCAL.0 {
                return own(input, symbol);
            }
            if let Some(found) = globals.find(symbol.name) {
                let found = &image_symbols[found as usize];
                return match found.place {
                    Defined::Undefined => undefined,
                    _ => Target::Value(found.value),
                };
            }
            match (symbol.place, hidden.get(symbol.name)) {
                (_, Some(&target)) => target,
                (Defined::Undefined, None) if symbol.bind == STB_WEAK.0 => undefined,
                _ => own(input, symbol),
            }
        };
        // The null symbol comes first. One input may have nearly all symbols.
        let symbols = object.symbols.par_iter().with_min_len(SYMBOLS).map(of_symbol);
        rayon::iter::once(Target::Value(0)).chain(symbols).collect()
    };
    objects.par_iter().enumerate().map(of_input).collect()
}

/// The definitions of symbols that the image does not show as global, the strong ones first.
fn hidden<'a>(
    objects: &[Arc<Object<'a>>],
    globals: &Globals<'_>,
    own: impl Fn(usize, &Symbol<'_>) -> Target,
) -> HashMap<&'a [u8], Target> {
    let is_hidden = |symbol: &&Symbol<'_>| {
        let here = symbol.bind != STB_LOCAL.0 && symbol.place != Defined::Undefined;
        here && globals.find(symbol.name).is_none()
    };
    let of_input = |(input, object): (usize, &Arc<Object<'a>>)| -> Vec<(usize, Symbol<'a>)> {
        let symbols = object.symbols.par_iter().with_min_len(SYMBOLS).filter(is_hidden);
        symbols.map(|&symbol| (input, symbol)).collect()
    };
    let found: Vec<Vec<_>> = objects.par_iter().enumerate().map(of_input).collect();
    let mut hidden = HashMap::new();
    for weak in [false, true] {
        let turn = |(_, symbol): &&(usize, Symbol<'a>)| (symbol.bind == STB_WEAK.0) == weak;
        for (input, symbol) in found.iter().flatten().filter(turn) {
            hidden.entry(symbol.name).or_insert_with(|| own(*input, symbol));
        }
    }
    hidden
}

/// What a symbol stands for by its own definition.
fn defined(symbol: &Symbol<'_>, places: &[Place], merged: &[Merged<'_>]) -> Target {
    let section = match symbol.place {
        Defined::Section(section) => section,
        Defined::Absolute => return Target::Value(symbol.value),
        Defined::Undefined | Defined::Common | Defined::Reserved(_) => return Target::Unknown,
    };
    match places.get(section as usize) {
        Some(Place::At(addr)) => Target::Value(addr.wrapping_add(symbol.value)),
        Some(Place::Discarded) => Target::Discarded,
        // Only a section symbol's addend takes part in finding the entry.
        Some(&Place::Merged { group, member }) if symbol.kind == STT_SECTION.0 => {
            if symbol.value == 0 { Target::Merged { group, member } } else { Target::Unknown }
        }
        Some(&Place::Merged { group, member }) => {
            let at = merged.get(group as usize).and_then(|m| m.find(member, symbol.value));
            at.map_or(Target::Unknown, Target::Value)
        }
        Some(Place::Unknown | Place::Resized) | None => Target::Unknown,
    }
}

pub(crate) fn has_debug_relocations(object: &Object<'_>) -> bool {
    let sections = object.elf.sections().iter().zip(&object.relocations);
    sections.into_iter().any(|(section, &relocations)| relocations != 0 && is_debug(section))
}
