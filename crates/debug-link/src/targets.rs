//! What the symbols of the inputs stand for in the output.
//!
//! Debug info refers mostly to section symbols, whose place is the section's. A global symbol is
//! what the image's symbol table says; one that is not there was hidden, and its own definition
//! counts. An undefined weak symbol is 0, or like something thrown away.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use image::consts::{STB_LOCAL, STB_WEAK, STT_GNU_IFUNC, STT_SECTION, STT_TLS};
use image::{Place as Defined, Symbol};
use rayon::prelude::*;

use crate::layout::{Layout, Place};
use crate::linker::Linker;
use crate::merge::Merged;
use crate::object::{Object, is_debug};
use crate::seen::Seen;

/// Symbols that are worth a thread of their own.
pub(crate) const SYMBOLS: usize = 1 << 12;

/// The image's symbols that are not local, by name; each as its index among all symbols, the null symbol left out.
#[derive(Debug)]
pub(crate) struct Globals<'s>(HashMap<&'s [u8], u32>);

impl<'s> Globals<'s> {
    /// From the symbols of the image.
    pub(crate) fn new(image_symbols: &[Symbol<'s>]) -> Self {
        let globals = image_symbols.iter().zip(0..).filter(|(s, _)| s.bind != STB_LOCAL.0);
        let mut by_name = HashMap::with_capacity(globals.clone().count());
        by_name.extend(globals.map(|(symbol, index)| (symbol.name, index)));
        Globals(by_name)
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

/// What refers to symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Debug sections.
    Debug,
    /// What is loaded: an undefined symbol has to be weak, and a value has to be an address that the linker has not
    /// made up (a place in a table of it).
    Loaded,
}

/// For each input the targets of its symbols, the null symbol first; nothing for inputs without
/// debug info if that is the use.
pub(crate) fn resolve(
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
    merged: &[Merged<'_>],
    image_symbols: &[Symbol<'_>],
    seen: &Seen,
    (linker, of_use): (Linker, Use),
) -> Vec<Vec<Target>> {
    let loaded = of_use == Use::Loaded;
    let undefined = match linker.undefined_is_discarded() && !loaded {
        true => Target::Discarded,
        false => Target::Value(0),
    };
    let special = |kind| loaded && [STT_GNU_IFUNC.0, STT_TLS.0].contains(&kind);
    let own = |input: usize, symbol: &Symbol<'_>| match special(symbol.kind) {
        true => Target::Unknown,
        false => defined(symbol, &layout.places[input], merged),
    };
    let of_image = |symbol: &Symbol<'_>| match symbol.place {
        _ if special(symbol.kind) => Target::Unknown,
        Defined::Undefined if loaded && symbol.bind != STB_WEAK.0 => Target::Unknown,
        Defined::Undefined => undefined,
        _ => Target::Value(symbol.value),
    };
    let found = unseen(objects, seen);
    let mut hidden = hidden(&found, own);
    if loaded {
        hold_against(&mut hidden, &found, objects, image_symbols, of_image);
    }
    let of_input = |(input, object): (usize, &Arc<Object<'_>>)| {
        if !loaded && !has_debug_relocations(object) {
            return Vec::new();
        }
        let of_symbol = |(index, symbol): (usize, &Symbol<'_>)| {
            if symbol.bind == STB_LOCAL.0 {
                return own(input, symbol);
            }
            if let Some(found) = seen.find(input, index) {
                return of_image(&image_symbols[found as usize]);
            }
            match (symbol.place, hidden.get(symbol.name)) {
                (_, Some(&target)) => target,
                (_, None) if loaded => Target::Unknown,
                (Defined::Undefined, None) if symbol.bind == STB_WEAK.0 => undefined,
                _ => own(input, symbol),
            }
        };
        // The null symbol comes first. One input may have nearly all symbols.
        let symbols = object.symbols.par_iter().enumerate();
        let symbols = symbols.with_min_len(SYMBOLS).map(of_symbol);
        rayon::iter::once(Target::Value(0)).chain(symbols).collect()
    };
    objects.par_iter().enumerate().map(of_input).collect()
}

/// A symbol with the input that has it.
type Found<'a> = (usize, Symbol<'a>);

/// The symbols of inputs that are not local there, and that the image does not show as global.
fn unseen<'a>(objects: &[Arc<Object<'a>>], seen: &Seen) -> Vec<Found<'a>> {
    let of_input = |(input, object): (usize, &Arc<Object<'a>>)| -> Vec<Found<'a>> {
        let is_unseen = |(index, symbol): &(usize, &Symbol<'_>)| {
            symbol.bind != STB_LOCAL.0 && seen.find(input, *index).is_none()
        };
        let symbols = object.symbols.par_iter().enumerate().with_min_len(SYMBOLS);
        symbols.filter(is_unseen).map(|(_, &symbol)| (input, symbol)).collect()
    };
    let found: Vec<Vec<_>> = objects.par_iter().enumerate().map(of_input).collect();
    found.into_iter().flatten().collect()
}

/// The definitions of symbols that the image does not show as global, the strong ones first.
fn hidden<'a>(
    found: &[Found<'a>],
    own: impl Fn(usize, &Symbol<'_>) -> Target,
) -> HashMap<&'a [u8], Target> {
    let mut hidden = HashMap::new();
    for weak in [false, true] {
        let turn = |(_, symbol): &&Found<'a>| {
            symbol.place != Defined::Undefined && (symbol.bind == STB_WEAK.0) == weak
        };
        for (input, symbol) in found.iter().filter(turn) {
            hidden.entry(symbol.name).or_insert_with(|| own(*input, symbol));
        }
    }
    hidden
}

/// Holds hidden definitions against the image, which has them as local symbols, and takes from there what the linker
/// script defines. A weak symbol that is nowhere is 0; the linkers do not leave out anything that is defined.
fn hold_against<'a>(
    hidden: &mut HashMap<&'a [u8], Target>,
    found: &[Found<'a>],
    objects: &[Arc<Object<'a>>],
    image_symbols: &[Symbol<'_>],
    of_image: impl Fn(&Symbol<'_>) -> Target,
) {
    let mut shown: HashMap<&'a [u8], Vec<Target>> =
        found.iter().map(|(_, symbol)| (symbol.name, Vec::new())).collect();
    if shown.is_empty() {
        return;
    }
    for symbol in image_symbols.iter().filter(|symbol| symbol.bind == STB_LOCAL.0) {
        if let Some(targets) = shown.get_mut(symbol.name) {
            targets.push(of_image(symbol));
        }
    }
    let is_strong = |symbol: &Symbol<'_>| symbol.bind != STB_WEAK.0;
    let strong = found.iter().filter(|(_, symbol)| is_strong(symbol));
    let strong: HashSet<&[u8]> = strong.map(|(_, symbol)| symbol.name).collect();
    let symbols = objects.iter().flat_map(|object| &object.symbols);
    let local = symbols.filter(|symbol| symbol.bind == STB_LOCAL.0).map(|symbol| symbol.name);
    let local: HashSet<&[u8]> = local.filter(|name| shown.contains_key(name)).collect();
    for (name, shown) in shown {
        let target = match (hidden.get(name), &shown[..]) {
            (Some(own), shown) if shown.contains(own) => *own,
            (None, &[only]) if !local.contains(name) => only,
            (None, []) if !strong.contains(name) => Target::Value(0),
            _ => Target::Unknown,
        };
        hidden.insert(name, target);
    }
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
