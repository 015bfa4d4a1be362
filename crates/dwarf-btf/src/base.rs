//! The BTF that a split one builds on.
//!
//! A module's types are few beside those of its kernel, and modules are many: so what is done for a base is done once
//! for all modules, and of what has to be done for each, as little as can be. Names of the base's types stay what they
//! are in its blob, offsets of strings; a module's names are given the offsets of those that the base has as well, and
//! numbers behind the base's strings where it has none. To find them, the base's strings are passed once beside the
//! names of the module.
//!
//! Cost: the types once, 7 bytes for each byte of them; for each module one pass over strings and types.

use btf_dedup::{Types, name_positions};
use hashbrown::HashMap;

use crate::Error;
use crate::hash::FixedState;
use crate::strings::StrId;

/// A base, read once for any number of [`crate::encode`].
#[derive(Debug)]
pub struct Base<'b> {
    /// Types, names being offsets into `strings`.
    pub(crate) types: Types,
    strings: &'b [u8],
    /// Names that begin within a string, which a blob may have: their offsets, each once.
    within: Vec<u32>,
}

/// The names of types that build on a base, as numbers that are equal where names are, the base's included.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// The number by the name's own; of those that were asked for.
    by_name: Vec<u32>,
    /// The name by its number: those that the base has, and those that it has not from `start` on.
    shared: HashMap<u32, StrId, FixedState>,
    own: Vec<StrId>,
    start: u32,
    /// Offsets in the base of further strings that are equal to one that is shared, and the number of that.
    aliases: HashMap<u32, u32, FixedState>,
}

impl<'b> Base<'b> {
    /// Reads a blob of either byte order, which is not split itself.
    ///
    /// # Errors
    /// A blob that is cut off, of an unknown kind of type, or with names or references to nothing.
    pub fn parse(blob: &'b [u8]) -> Result<Self, Error> {
        let strings = btf_dedup::strings(blob)?;
        let types = btf_dedup::types(blob)?;
        types.check(&Types::default())?;
        let mut within = Vec::new();
        for index in 0..types.len() {
            let record = types.record(index);
            let offsets = name_positions(record).map(|at| record[at]);
            within
                .extend(offsets.filter(|&offset| offset != 0 && strings[offset as usize - 1] != 0));
        }
        within.sort_unstable();
        within.dedup();
        Ok(Base { types, strings, within })
    }

    /// Length of the base's strings in bytes.
    pub(crate) fn string_len(&self) -> u32 {
        self.strings.len() as u32
    }

    /// Offset and text of each string, in their order, the empty one first; then of the names within strings.
    fn strings(&self) -> impl Iterator<Item = (u32, &'b [u8])> {
        let mut start = 0;
        let whole = memchr::memchr_iter(0, self.strings).map(move |end| {
            let at = std::mem::replace(&mut start, end + 1);
            (at as u32, &self.strings[at..end])
        });
        let within = self.within.iter().map(|&offset| {
            let rest = &self.strings[offset as usize..];
            (offset, rest.split(|&byte| byte == 0).next().unwrap_or_default())
        });
        whole.chain(within)
    }

    /// Numbers for `names`, which are numbered below `count`; `text` tells what they are.
    pub(crate) fn numbers<'t>(
        &self,
        names: &[StrId],
        count: usize,
        text: impl Fn(StrId) -> &'t [u8],
    ) -> Numbers {
        let wanted: HashMap<&[u8], StrId, FixedState> =
            names.iter().map(|&name| (text(name), name)).collect();
        let mut numbers = Numbers {
            by_name: vec![0; count],
            shared: HashMap::default(),
            own: Vec::new(),
            start: self.string_len(),
            aliases: HashMap::default(),
        };
        for (offset, text) in self.strings().filter(|(_, text)| !text.is_empty()) {
            let Some(&name) = wanted.get(text) else { continue };
            // Of equal strings the first counts.
            match numbers.by_name[name as usize] {
                0 => {
                    numbers.by_name[name as usize] = offset;
                    numbers.shared.insert(offset, name);
                }
                first => drop(numbers.aliases.insert(offset, first)),
            }
        }
        for &name in names {
            if name != 0 && numbers.by_name[name as usize] == 0 {
                numbers.by_name[name as usize] = numbers.start + numbers.own.len() as u32;
                numbers.own.push(name);
            }
        }
        numbers
    }

    /// The base's types, if names of them have to be given other numbers.
    pub(crate) fn renamed(&self, numbers: &Numbers) -> Option<Types> {
        if numbers.aliases.is_empty() {
            return None;
        }
        let mut types = self.types.clone();
        rename(&mut types, |offset| numbers.aliases.get(&offset).copied().unwrap_or(offset));
        Some(types)
    }
}

impl Numbers {
    /// Puts numbers in the place of names.
    pub(crate) fn put_into(&self, types: &mut Types) {
        rename(types, |name| self.by_name[name as usize]);
    }

    /// Puts names in the place of numbers.
    pub(crate) fn take_out_of(&self, types: &mut Types) {
        rename(types, |number| match number.checked_sub(self.start) {
            Some(own) => self.own[own as usize],
            None => self.shared.get(&number).copied().unwrap_or(0),
        });
    }

    /// Name and offset of the strings that the base has.
    pub(crate) fn shared(&self) -> impl Iterator<Item = (StrId, u32)> {
        self.shared.iter().map(|(&offset, &name)| (name, offset))
    }
}

/// Replaces all names.
fn rename(types: &mut Types, new: impl Fn(u32) -> u32) {
    for index in 0..types.len() {
        let start = types.starts[index] as usize;
        let end = types.starts.get(index + 1).map_or(types.words.len(), |&end| end as usize);
        let record = &mut types.words[start..end];
        for at in name_positions(record) {
            record[at] = new(record[at]);
        }
    }
}
