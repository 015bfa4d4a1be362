//! Relocations that stay in the output (`--emit-relocs`).
//!
//! The rule (GNU ld 2.40, `bfd/elflink.c`): every relocation of an input is kept, with its offset
//! in the output section. One against a section symbol is then against the symbol of the output
//! section, and its addend leads there; another keeps its addend. One against something discarded
//! becomes nothing, at its place. With debug info there are more section symbols, so the indexes of
//! all symbols behind them are others, in the relocations of the image too.

use std::sync::Arc;

use hashbrown::HashMap;
use image::consts::{STB_LOCAL, STT_FILE, STT_SECTION};
use image::{Place as Defined, Symbol};
use rayon::prelude::*;

use crate::layout::{Layout, NO_STATEMENT};
use crate::object::Object;
use crate::seen::Seen;
use crate::targets::{SYMBOLS, Target};

/// The symbol of the output that a kept relocation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// This symbol; the addend stays.
    Symbol(u32),
    /// The symbol of an output section; the addend becomes the target less this address.
    Section { symbol: u32, addr: u64 },
    /// There is none, or more than one would do.
    Unknown,
}

/// New indexes of symbols after others have been put between them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Renumbering {
    /// The old indexes before which a symbol has been put, ascending.
    before: Vec<u32>,
}

impl Renumbering {
    pub(crate) fn new(mut before: Vec<u32>) -> Self {
        before.sort_unstable();
        Renumbering { before }
    }

    /// The new index of the symbol `old`.
    pub(crate) fn index(&self, old: u32) -> u32 {
        old.saturating_add(self.before.partition_point(|&before| before <= old) as u32)
    }
}

/// The local symbols of the image that have a name of their own, by name and value; each as its index among all symbols,
/// the null symbol left out. `None` if several have both.
#[derive(Debug)]
pub(crate) struct Locals<'s>(HashMap<(&'s [u8], u64), Option<u32>>);

impl<'s> Locals<'s> {
    /// From the symbols of the image.
    pub(crate) fn new(image_symbols: &[Symbol<'s>]) -> Self {
        let mut locals = HashMap::new();
        for (symbol, index) in image_symbols.iter().zip(0..) {
            let named = symbol.kind != STT_SECTION.0 && symbol.kind != STT_FILE.0;
            if symbol.bind == STB_LOCAL.0 && named {
                let known = locals.entry((symbol.name, symbol.value));
                known.and_modify(|index| *index = None).or_insert(Some(index));
            }
        }
        Locals(locals)
    }
}

impl Unshown for Locals<'_> {
    fn find(&self, symbol: &Symbol<'_>, _: At, target: Target) -> Option<u32> {
        match target {
            Target::Value(value) => self.0.get(&(symbol.name, value)).copied().flatten(),
            Target::Merged { .. } | Target::Discarded | Target::Unknown => None,
        }
    }
}

/// Where a symbol of an input stands: the input, and the symbol's index there, the null symbol left out.
pub(crate) type At = (usize, usize);

/// What the image has of symbols that it does not show as global.
pub(crate) trait Unshown: Sync {
    /// The image's symbol that a symbol of an input is; its index among all, the null symbol left out.
    fn find(&self, symbol: &Symbol<'_>, at: At, target: Target) -> Option<u32>;
}

/// What the symbols of the output are called.
#[derive(Clone, Copy)]
pub(crate) struct Known<'k> {
    pub(crate) seen: &'k Seen,
    pub(crate) unshown: &'k dyn Unshown,
    /// Their indexes in the output.
    pub(crate) new: &'k Renumbering,
    /// Symbol, by its new index, and address of each output section, by its statement in the map.
    pub(crate) sections: &'k HashMap<u32, (u32, u64)>,
}

impl Known<'_> {
    fn symbol(&self, symbol: &Symbol<'_>, at: At, target: Target) -> Named {
        let global = self.seen.find(at.0, at.1);
        let found = global.or_else(|| self.unshown.find(symbol, at, target));
        // In the table the null symbol comes first.
        found.map_or(Named::Unknown, |index| Named::Symbol(self.new.index(index + 1)))
    }

    fn section(&self, statement: u32) -> Named {
        let section = self.sections.get(&statement);
        section.map_or(Named::Unknown, |&(symbol, addr)| Named::Section { symbol, addr })
    }

    /// For each input the names of its symbols in the output, the null symbol first; nothing where
    /// there are no targets.
    pub(crate) fn names(
        &self,
        objects: &[Arc<Object<'_>>],
        layout: &Layout<'_>,
        targets: &[Vec<Target>],
    ) -> Vec<Vec<Named>> {
        let of_input = |(input, targets): (usize, &Vec<Target>)| {
            if targets.is_empty() {
                return Vec::new();
            }
            let name =
                |(index, (symbol, &target)): (usize, (&Symbol<'_>, &Target))| match symbol.place {
                    Defined::Section(section) if symbol.kind == STT_SECTION.0 => {
                        let statement = layout.statements[input].get(section as usize);
                        self.section(statement.copied().unwrap_or(NO_STATEMENT))
                    }
                    _ => self.symbol(symbol, (input, index), target),
                };
            let symbols = objects[input].symbols.par_iter().with_min_len(SYMBOLS);
            let named = symbols.zip(&targets[1..]).enumerate().map(name);
            rayon::iter::once(Named::Symbol(0)).chain(named).collect()
        };
        targets.par_iter().enumerate().map(of_input).collect()
    }
}

/// Gives `names` the indexes that symbols have after others have been put between them, and the symbols of sections that
/// had none before.
pub(crate) fn rename(
    names: &mut [Vec<Named>],
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
    (new, sections): (&Renumbering, &HashMap<u32, (u32, u64)>),
) {
    let of_section = |input: usize, symbol: &Symbol<'_>| match symbol.place {
        Defined::Section(section) if symbol.kind == STT_SECTION.0 => {
            let statement = layout.statements[input].get(section as usize)?;
            sections.get(statement).map(|&(symbol, addr)| Named::Section { symbol, addr })
        }
        _ => None,
    };
    names.par_iter_mut().enumerate().for_each(|(input, names)| {
        // The null symbol comes first, and stays.
        let names = names.par_iter_mut().skip(1).zip(&objects[input].symbols);
        names.with_min_len(SYMBOLS).for_each(|(name, symbol)| match name {
            Named::Symbol(index) | Named::Section { symbol: index, .. } => {
                *index = new.index(*index);
            }
            Named::Unknown => *name = of_section(input, symbol).unwrap_or(Named::Unknown),
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_behind_new_ones_have_higher_indexes() {
        let renumbering = Renumbering::new(vec![9, 5, 5]);
        let new: Vec<u32> = [0, 4, 5, 8, 9].map(|old| renumbering.index(old)).to_vec();
        assert_eq!(new, [0, 4, 7, 10, 12]);
        assert_eq!(Renumbering::default().index(7), 7);
    }
}
