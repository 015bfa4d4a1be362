//! Which ids an image wants: the symbols of `.BTF_ids`.
//!
//! `__BTF_ID__KIND__NAME__N` is one id, where `N` makes the symbol unique; `__BTF_ID__set__NAME` and
//! `__BTF_ID__set8__NAME` are sets whose symbol's size is that of their members.

use std::collections::HashMap;
use std::fmt;

use image::consts::SHT_SYMTAB;
use image::{Elf, Place, Symbol};

use crate::{Error, IDS};

const PREFIX: &[u8] = b"__BTF_ID__";

/// The kinds of type that an id can name, in the order in which the peer patches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// `struct`.
    Struct,
    /// `union`.
    Union,
    /// `typedef`.
    Typedef,
    /// `func`.
    Func,
}

impl Target {
    /// All of them, in the order of patching.
    pub(crate) const ALL: [Target; 4] =
        [Target::Struct, Target::Union, Target::Typedef, Target::Func];

    /// The word that stands for it in symbols.
    pub fn word(self) -> &'static str {
        match self {
            Target::Struct => "struct",
            Target::Union => "union",
            Target::Typedef => "typedef",
            Target::Func => "func",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One name of a kind, and every place that wants its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'data> {
    pub name: &'data [u8],
    /// Offsets into `.BTF_ids`, in bytes, in the order of the symbols; not yet checked.
    pub offsets: Vec<u64>,
    /// The id once it is found; 0 before.
    pub id: u32,
}

/// The names of one kind.
#[derive(Debug, Default)]
pub(crate) struct Group<'data> {
    /// In the order of their first symbols.
    pub entries: Vec<Entry<'data>>,
    /// Index into `entries` by name.
    pub by_name: HashMap<&'data [u8], usize>,
    /// How many symbols there are, several to an entry.
    pub symbols: usize,
}

impl<'data> Group<'data> {
    /// The indices of the entries in the order of patching: by falling name.
    pub fn falling(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_unstable_by(|&a, &b| self.entries[b].name.cmp(self.entries[a].name));
        order
    }

    /// Notes a symbol; returns whether its name is new.
    fn add(&mut self, name: &'data [u8], offset: u64) -> bool {
        self.symbols += 1;
        let next = self.entries.len();
        let index = *self.by_name.entry(name).or_insert(next);
        if index == next {
            self.entries.push(Entry { name, offsets: vec![offset], id: 0 });
        } else {
            self.entries[index].offsets.push(offset);
        }
        index == next
    }
}

/// A sorted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set<'data> {
    pub name: &'data [u8],
    /// Offset of its count into `.BTF_ids`, in bytes; not yet checked.
    pub offset: u64,
    /// How many members its symbol's size says it has. The count's own size is in it, so that a
    /// symbol of size 0 wraps to `u32::MAX`; the bounds are checked when it is used.
    pub count: u32,
    /// `set8`: each member is an id and its flags, and flags follow the count.
    pub flagged: bool,
}

/// All that an image wants.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'data> {
    groups: [Group<'data>; 4],
    /// By falling name, the order of patching.
    pub sets: Vec<Set<'data>>,
    /// The names in the order in which symbols first give them, sets among them.
    pub added: Vec<&'data [u8]>,
    /// Where each symbol is in `.BTF_ids`, in bytes, and its name, sets among them; in their order.
    pub places: Vec<(u64, &'data [u8])>,
}

impl<'data> Wanted<'data> {
    pub fn group(&self, target: Target) -> &Group<'data> {
        &self.groups[target as usize]
    }

    pub fn group_mut(&mut self, target: Target) -> &mut Group<'data> {
        &mut self.groups[target as usize]
    }

    fn add(&mut self, tail: &'data [u8], offset: u64, size: u64) -> Result<(), Error> {
        let target = Target::ALL.into_iter().find(|t| tail.starts_with(t.word().as_bytes()));
        if let Some(target) = target {
            let name = symbol_name(&tail[target.word().len()..])
                .ok_or_else(|| Error::SymbolName(lossy(tail)))?;
            self.places.push((offset, name));
            if self.groups[target as usize].add(name, offset) {
                self.added.push(name);
            }
            return Ok(());
        }
        let (flagged, head, member) = if tail.starts_with(b"set8") {
            (true, "set8__".len(), 8)
        } else if tail.starts_with(b"set") {
            (false, "set__".len(), 4)
        } else {
            return Err(Error::Prefix(lossy(tail)));
        };
        let name = tail.get(head..).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Error::SetName(lossy(tail)))?;
        let count = (size / member).wrapping_sub(1) as u32;
        self.places.push((offset, name));
        self.sets.push(Set { name, offset, count, flagged });
        self.added.push(name);
        Ok(())
    }
}

/// Collects what `elf` wants; `None` if it has no `.BTF_ids` or no symbol table.
pub(crate) fn collect<'data>(elf: &Elf<'data>) -> Result<Option<Wanted<'data>>, Error> {
    let Some((index, section)) = elf.section(IDS) else { return Ok(None) };
    if !elf.sections().iter().any(|section| section.sh_type == SHT_SYMTAB.0) {
        return Ok(None);
    }
    let mut wanted = Wanted::default();
    let here = |symbol: &Symbol<'data>| symbol.place == Place::Section(index);
    for symbol in elf.symbols()?.iter().filter(|symbol| here(symbol)) {
        if let Some(tail) = symbol.name.strip_prefix(PREFIX) {
            wanted.add(tail, symbol.value.wrapping_sub(section.addr), symbol.size)?;
        }
    }
    wanted.sets.sort_by(|a, b| b.name.cmp(a.name));
    match wanted.sets.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(Error::SetTwice(lossy(pair[0].name))),
        None => Ok(Some(wanted)),
    }
}

/// The name in `__NAME__N`, cut at the last `__`; `None` if there is none.
///
/// PARITY: the two bytes before the name are skipped unseen, and `N` has no underscore
/// (`only_the_last_double_underscore_cuts`).
fn symbol_name(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.get(2..)?;
    let last = rest.iter().rposition(|&byte| byte == b'_')?;
    let cut = last.checked_sub(1)?;
    (rest[cut] == b'_').then(|| &rest[..cut])
}

pub(crate) fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_double_underscore_cuts() {
        let cases: [(&str, Option<&str>); 9] = [
            ("__vfs_truncate__12", Some("vfs_truncate")),
            ("____sys__1", Some("__sys")),
            ("__a____7", Some("a__")),
            ("__x__7_", None),
            ("__x_7", None),
            ("__x", None),
            ("__", None),
            ("_", None),
            ("zzname__1", Some("name")),
        ];
        for (rest, name) in cases {
            assert_eq!(symbol_name(rest.as_bytes()), name.map(str::as_bytes), "{rest}");
        }
    }

    #[test]
    fn symbols_of_one_name_share_an_entry_and_fall_by_name() {
        let mut wanted = Wanted::default();
        for (offset, tail) in [(0, "func__b__1"), (4, "func__c__2"), (8, "func__b__3")] {
            wanted.add(tail.as_bytes(), offset, 4).unwrap();
        }
        let group = wanted.group(Target::Func);
        assert_eq!((group.symbols, group.entries.len()), (3, 2));
        assert_eq!(group.entries[0].offsets, [0, 8]);
        assert_eq!(group.falling(), [1, 0]);
        assert_eq!(wanted.added, [b"b", b"c"]);
    }

    #[test]
    fn what_is_no_symbol_of_ours_is_refused_by_name() {
        let error = |tail: &'static str| Wanted::default().add(tail.as_bytes(), 0, 4).unwrap_err();
        assert_eq!(error("func__x").to_string(), "FAILED to parse symbol name: func__x");
        assert_eq!(error("set__").to_string(), "FAILED to parse set name: set__");
        assert_eq!(error("set8__").to_string(), "FAILED to parse set name: set8__");
        assert_eq!(error("enum__x__1").to_string(), "FAILED unsupported prefix enum__x__1");
    }

    #[test]
    fn a_set_counts_its_members_without_its_count() {
        let mut wanted = Wanted::default();
        wanted.add(b"set__a", 0, 12).unwrap();
        wanted.add(b"set8__b", 0, 24).unwrap();
        wanted.add(b"set__none", 0, 0).unwrap();
        let counts: Vec<_> = wanted.sets.iter().map(|set| (set.count, set.flagged)).collect();
        assert_eq!(counts, [(2, false), (2, true), (u32::MAX, false)]);
    }
}
