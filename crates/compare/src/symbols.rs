//! Two symbol tables.

use std::cmp::Ordering;

use image::{Elf, Place, Symbol};
use serde::Serialize;

use crate::{Error, Verdict};

/// How many symbols of a kind are named.
const NAMED: usize = 16;

/// What two symbol tables have in common.
#[derive(Debug, Clone, Serialize)]
pub struct Symbols {
    /// How many each has.
    pub counts: [usize; 2],
    /// Identical if names, numbers and order are the same; of the same meaning if only the order differs.
    pub verdict: Verdict,
    /// How many the second table has not.
    pub missing: usize,
    /// How many only the second table has.
    pub added: usize,
    /// The first of them, `-` or `+` before each.
    pub named: Vec<String>,
}

/// A symbol whose place has a name of its own, so that it means the same in another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Resolved<'data> {
    name: &'data [u8],
    value: u64,
    size: u64,
    kind: [u8; 3],
    place: (u32, &'data [u8]),
}

/// Compares the tables symbol by symbol.
pub fn compare(a: &Elf<'_>, b: &Elf<'_>) -> Result<Symbols, Error> {
    let (mut left, mut right) = (resolved(a)?, resolved(b)?);
    let counts = [left.len(), right.len()];
    if left == right {
        let verdict = Verdict::Identical;
        return Ok(Symbols { counts, verdict, missing: 0, added: 0, named: Vec::new() });
    }
    left.sort_unstable();
    right.sort_unstable();
    let (missing, added) = alone(&left, &right);
    let named = |sign: char, symbols: &[Resolved<'_>]| -> Vec<String> {
        symbols.iter().take(NAMED).map(|symbol| format!("{sign} {}", describe(symbol))).collect()
    };
    let same = missing.is_empty() && added.is_empty();
    Ok(Symbols {
        counts,
        verdict: if same { Verdict::SameMeaning } else { Verdict::Different },
        missing: missing.len(),
        added: added.len(),
        named: [named('-', &missing), named('+', &added)].concat(),
    })
}

fn resolved<'data>(elf: &Elf<'data>) -> Result<Vec<Resolved<'data>>, Error> {
    let sections = elf.sections();
    let resolve = |symbol: &Symbol<'data>| Resolved {
        name: symbol.name,
        value: symbol.value,
        size: symbol.size,
        kind: [symbol.bind, symbol.kind, symbol.other],
        place: match symbol.place {
            Place::Undefined => (0, b""),
            Place::Absolute => (1, b""),
            Place::Common => (2, b""),
            Place::Reserved(index) => (0x1_0000 + u32::from(index), b""),
            Place::Section(index) => (3, sections.get(index as usize).map_or(b"", |s| s.name)),
        },
    };
    Ok(elf.symbols()?.iter().map(resolve).collect())
}

/// What only one of two sorted tables has.
fn alone<'data>(
    a: &[Resolved<'data>],
    b: &[Resolved<'data>],
) -> (Vec<Resolved<'data>>, Vec<Resolved<'data>>) {
    let (mut missing, mut added) = (Vec::new(), Vec::new());
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return (missing, added),
        };
        match order {
            Ordering::Less => missing.extend(left.next()),
            Ordering::Greater => added.extend(right.next()),
            Ordering::Equal => {
                left.next();
                right.next();
            }
        }
    }
}

fn describe(symbol: &Resolved<'_>) -> String {
    let name = String::from_utf8_lossy(symbol.name);
    let place = String::from_utf8_lossy(symbol.place.1);
    format!("{:016x} {:#x} {place} {name}", symbol.value, symbol.size)
}
