//! The order of the names, for `kallsyms_seqs_of_names`.
//!
//! Byte order (`strcmp`), equal names in the order of the symbols. Comparing whole names would fetch
//! two strings from memory for each comparison; instead the next eight bytes of each name travel with
//! its index as one big-endian number, and names that agree in them are ordered among themselves by
//! the eight after those. A name that has ended is padded with zero bytes, which no name contains, so
//! a key that ends in a zero byte decides equality.
//!
//! Source of facts: `scripts/kallsyms.c`, `compare_names` and `cleanup_symbol_name`.

use rayon::prelude::*;

use crate::Symbol;
use crate::dialect::find;

/// Eight bytes of a name and the symbol's index.
type Item = (u64, u32);

/// Runs of at least this many names are sorted in parallel.
const PARALLEL: usize = 1 << 12;

/// Indices of `symbols` in the order of their names. With a `cut`, a name ends before the first place
/// where it stands.
pub(crate) fn order_by_name(symbols: &[Symbol<'_>], cut: Option<&[u8]>) -> Vec<u32> {
    let name = |index: u32| {
        let name = symbols[index as usize].name;
        match cut.and_then(|cut| find(name, cut)) {
            Some(end) => &name[..end],
            None => name,
        }
    };
    let mut items: Vec<Item> = (0..symbols.len() as u32)
        .into_par_iter()
        .map(|index| (eight_bytes(name(index), 0), index))
        .collect();
    sort(&mut items, 0, &name);
    items.into_iter().map(|(_, index)| index).collect()
}

fn eight_bytes(name: &[u8], from: usize) -> u64 {
    let rest = name.get(from..).unwrap_or_default();
    match rest.first_chunk() {
        Some(&bytes) => u64::from_be_bytes(bytes),
        None => rest.iter().rev().fold(0, |key, &byte| key >> 8 | u64::from(byte) << 56),
    }
}

/// Sorts items whose names agree before `depth` and whose keys are the bytes from there.
fn sort<'n>(items: &mut [Item], depth: usize, name: &(impl Fn(u32) -> &'n [u8] + Sync)) {
    if items.len() >= PARALLEL {
        items.par_sort_unstable();
    } else {
        items.sort_unstable();
    }
    let mut undecided: Vec<&mut [Item]> = items
        .chunk_by_mut(|a, b| a.0 == b.0)
        .filter(|same| same.len() > 1 && same[0].0 & 0xff != 0)
        .collect();
    let descend = |same: &mut &mut [Item]| {
        for item in same.iter_mut() {
            item.0 = eight_bytes(name(item.1), depth + 8);
        }
        sort(same, depth + 8, name);
    };
    if undecided.len() >= PARALLEL / 16 || undecided.iter().any(|same| same.len() >= PARALLEL) {
        undecided.par_iter_mut().for_each(descend);
    } else {
        undecided.iter_mut().for_each(descend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols<'a>(names: &'a [Vec<u8>]) -> Vec<Symbol<'a>> {
        let symbol =
            |name: &'a Vec<u8>| Symbol { addr: 0, kind: b't', percpu_absolute: false, name };
        names.iter().map(symbol).collect()
    }

    #[test]
    fn it_is_the_order_of_the_bytes_and_then_of_the_symbols() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize
        };
        let mut names = Vec::new();
        for _ in 0..6000 {
            let len = next() % 20;
            names.push((0..len).map(|_| [b'a', b'_', 0xff][next() % 3]).collect::<Vec<u8>>());
        }
        let symbols = symbols(&names);
        let mut expected: Vec<u32> = (0..names.len() as u32).collect();
        expected.sort_by_key(|&index| &names[index as usize]);
        assert_eq!(order_by_name(&symbols, None), expected);
    }

    #[test]
    fn a_cut_hides_the_end_of_a_name() {
        let names = ["b.llvm.1", "b", "b.llvm.0", "a.llvm", "b.x"].map(|name| name.into());
        assert_eq!(order_by_name(&symbols(&names), Some(b".llvm.")), [3, 0, 1, 2, 4]);
        assert_eq!(order_by_name(&symbols(&names), None), [3, 1, 2, 0, 4]);
    }
}
