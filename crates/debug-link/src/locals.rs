//! Which symbol of the image a local symbol of an input is.
//!
//! Why: a kept relocation names a symbol by its index, and names are no key: each file has its `.LC0`, and two of them lie at
//! one address where the linker has merged their strings.
//!
//! The rule: the local symbols of a file stand together and in the file's order, without those of sections and
//! those of what was thrown away. Files follow each other as GNU ld meets them in the output sections
//! (`bfd_elf_final_link`), as ld.lld has them on its command line (`ELF/Writer.cpp`, `copyLocalSymbols`). Symbols that were
//! global in an input and are hidden stand behind, or between files. What is found is held against the name and
//! the value of each symbol, so that an image of another form is noticed.
//!
//! Cost: one comparison for each local symbol, by all threads.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use image::Symbol;
use image::consts::{STB_LOCAL, STT_FILE, STT_SECTION};
use rayon::prelude::*;

use crate::emit::{self, Unshown};
use crate::linker::Linker;
use crate::map::LinkMap;
use crate::object::Object;
use crate::targets::{SYMBOLS, Target};

/// The indexes of local symbols in the image's table.
#[derive(Debug)]
pub(crate) struct LocalIndexes<'s> {
    /// By input, by index of its symbol: 0 where it has none, or where it is not known.
    of_inputs: Vec<Vec<u32>>,
    /// Those of no file by name and value, `None` where several have both.
    hidden: HashMap<(&'s [u8], u64), Option<u32>>,
}

impl<'s> LocalIndexes<'s> {
    /// `symbols` are the image's without the null symbol, `targets` has what each symbol of the inputs stands for.
    pub(crate) fn new(
        objects: &[Arc<Object<'_>>],
        targets: &[Vec<Target>],
        symbols: &[Symbol<'s>],
        map: &LinkMap<'_>,
    ) -> Self {
        let end = symbols.partition_point(|symbol| symbol.bind == STB_LOCAL.0);
        let mut indexes = LocalIndexes {
            of_inputs: objects.iter().map(|object| vec![0; object.symbols.len() + 1]).collect(),
            hidden: HashMap::new(),
        };
        let mut rest = Rest { symbols: &symbols[..end], at: 0 };
        for input in order(objects, map) {
            let found = &mut indexes.of_inputs[input];
            let Some(passed) = rest.find_file(&objects[input], &targets[input], found) else {
                indexes.hidden.clear();
                return indexes;
            };
            indexes.hide(symbols, passed);
        }
        indexes.hide(symbols, rest.at..end);
        indexes
    }

    /// Takes symbols for such as were global in an input.
    fn hide(&mut self, symbols: &[Symbol<'s>], range: std::ops::Range<usize>) {
        for (symbol, index) in symbols[range.clone()].iter().zip(range.start as u32 + 1..) {
            if symbol.kind != STT_SECTION.0 && symbol.kind != STT_FILE.0 {
                let known = self.hidden.entry((symbol.name, symbol.value));
                known.and_modify(|index| *index = None).or_insert(Some(index));
            }
        }
    }

    /// The index of the local symbol `symbol` of the input `input`.
    fn local(&self, (input, symbol): emit::At) -> Option<u32> {
        self.of_inputs.get(input)?.get(symbol + 1).copied()
    }
}

impl Unshown for LocalIndexes<'_> {
    fn find(&self, symbol: &Symbol<'_>, at: emit::At, target: Target) -> Option<u32> {
        let found = match target {
            _ if symbol.bind == STB_LOCAL.0 => self.local(at)?,
            Target::Value(value) => self.hidden.get(&(symbol.name, value)).copied().flatten()?,
            Target::Merged { .. } | Target::Discarded | Target::Unknown => return None,
        };
        // Here the null symbol counts, and stands for none.
        found.checked_sub(1)
    }
}

/// The inputs in the order in which their symbols stand in the image.
fn order(objects: &[Arc<Object<'_>>], map: &LinkMap<'_>) -> Vec<usize> {
    if map.linker == Linker::Lld {
        return (0..objects.len()).collect();
    }
    let names = objects.iter().enumerate().map(|(index, object)| (object.name.as_bytes(), index));
    let inputs: HashMap<&[u8], usize> = names.collect();
    let mut seen = HashSet::new();
    let listed = map.statements.iter().flat_map(|statement| &statement.inputs);
    let met = listed.filter_map(|listed| inputs.get(listed.file).copied());
    met.filter(|&input| seen.insert(input)).collect()
}

/// The local symbols of the image that no file has been found for.
struct Rest<'r, 's> {
    symbols: &'r [Symbol<'s>],
    at: usize,
}

impl Rest<'_, '_> {
    /// Finds the symbols of a file; returns what was passed before the first of them, and nothing if they are not as the
    /// file has them.
    fn find_file(
        &mut self,
        object: &Object<'_>,
        targets: &[Target],
        found: &mut [u32],
    ) -> Option<std::ops::Range<usize>> {
        let own = |(symbol, &target): (&Symbol<'_>, &Target)| {
            let local = symbol.bind == STB_LOCAL.0 && symbol.kind != STT_SECTION.0;
            local && target != Target::Discarded
        };
        let all = object.symbols.iter().zip(targets.get(1..)?);
        let known = |index: usize| (index, &object.symbols[index], targets[index + 1]);
        let own: Vec<usize> = (0..).zip(all).filter(|(_, at)| own(*at)).map(|at| at.0).collect();
        let placed = own.iter().position(|&index| known(index).2 != Target::Unknown);
        let Some(placed) = placed else { return Some(self.at..self.at) };
        let own = &own[placed..];
        let (_, symbol, target) = known(own[0]);
        let passed = self.symbols[self.at..].iter().position(|there| is(there, symbol, target))?;
        let passed = self.at..self.at + passed;
        self.at = passed.end;
        // Nearly always all of them are there.
        let there = self.symbols.get(self.at..).and_then(|rest| rest.get(..own.len()));
        let same = |(&index, there): (&usize, &Symbol<'_>)| {
            let (_, symbol, target) = known(index);
            is(there, symbol, target)
        };
        let pairs = there.map(|there| own.par_iter().zip(there).with_min_len(SYMBOLS));
        if pairs.is_some_and(|pairs| pairs.all(same)) {
            for (&index, at) in own.iter().zip(self.at as u32 + 1..) {
                found[index + 1] = at;
            }
            self.at += own.len();
            return Some(passed);
        }
        for (index, symbol, target) in own.iter().map(|&index| known(index)) {
            match self.symbols.get(self.at) {
                Some(there) if is(there, symbol, target) => {
                    self.at += 1;
                    found[index + 1] = self.at as u32;
                }
                // It may be in something that has no place in the image.
                _ if target == Target::Unknown => {}
                _ => return None,
            }
        }
        Some(passed)
    }
}

/// Whether a symbol of the image is one of an input.
fn is(there: &Symbol<'_>, symbol: &Symbol<'_>, target: Target) -> bool {
    let same = there.kind == symbol.kind && there.name == symbol.name;
    same && match target {
        Target::Value(value) => there.value == value,
        Target::Merged { .. } | Target::Discarded | Target::Unknown => true,
    }
}
