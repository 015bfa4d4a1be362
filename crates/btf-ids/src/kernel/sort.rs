//! Types by rising name, those without one first; equals stay in their order.

use btf_dedup::{Types, reference_positions};

/// Sorts types whose first has the id `first`; `name` gives the string of a name.
pub(crate) fn by_name<'s>(types: &Types, first: u32, name: impl Fn(u32) -> &'s [u8]) -> Types {
    let count = types.len();
    let names: Vec<u32> = (0..count).map(|index| types.record(index)[0]).collect();
    let order = order(&names, name);
    let mut renumbered = vec![0; count];
    for (&index, id) in order.iter().zip(first..) {
        renumbered[index as usize] = id;
    }
    let (words, starts) = (Vec::with_capacity(types.words.len()), Vec::with_capacity(count));
    let mut sorted = Types { words, starts };
    for index in order {
        let start = sorted.words.len();
        sorted.push(types.record(index as usize));
        for position in reference_positions(types.record(index as usize)) {
            let word = &mut sorted.words[start + position];
            if let Some(index) = word.checked_sub(first) {
                *word = renumbered[index as usize];
            }
        }
    }
    sorted
}

/// The indices of `names` in their order.
///
/// Each string is compared once, however many types have it; types are sorted by the rank of theirs.
fn order<'s>(names: &[u32], name: impl Fn(u32) -> &'s [u8]) -> Vec<u32> {
    let mut offsets = names.to_vec();
    offsets.sort_unstable();
    offsets.dedup();
    let mut strings: Vec<(u64, &[u8], u32)> = (0u32..)
        .zip(&offsets)
        .map(|(index, &offset)| (head(name(offset)), name(offset), index))
        .collect();
    strings.sort_unstable();
    let mut ranks = vec![0u64; offsets.len()];
    let (mut rank, mut last): (u64, &[u8]) = (0, b"");
    for (_, string, index) in strings {
        rank += u64::from(string != last);
        last = string;
        ranks[index as usize] = rank;
    }
    let rank = |offset| offsets.binary_search(offset).map_or(0, |index| ranks[index]);
    let mut order: Vec<u64> =
        (0..).zip(names).map(|(index, offset)| rank(offset) << 32 | index).collect();
    order.sort_unstable();
    order.into_iter().map(|key| key as u32).collect()
}

/// The first bytes of a string as a number that compares as they do: names have no NUL.
fn head(string: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = string.len().min(8);
    bytes[..len].copy_from_slice(&string[..len]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use btf_dedup::kind;

    use super::*;

    #[test]
    fn names_rise_as_bytes_and_references_follow() {
        let names: [&[u8]; 6] = [b"", b"b", b"a\xff", b"a", b"abcdefghi", b"abcdefgh"];
        let mut types = Types::default();
        // Typedefs of `void`, a pointer to the first of them (id 7), and `a` again, of the base's 1.
        for name in [1, 2, 3, 4, 5] {
            types.push(&[name, kind::TYPEDEF << 24, 0]);
        }
        types.push(&[0, kind::PTR << 24, 7]);
        types.push(&[3, kind::TYPEDEF << 24, 1]);
        let sorted = by_name(&types, 7, |number| names[number as usize]);
        let found: Vec<[u32; 2]> =
            (0..7).map(|i| [sorted.record(i)[0], sorted.record(i)[2]]).collect();
        assert_eq!(found, [[0, 13], [3, 0], [3, 1], [5, 0], [4, 0], [2, 0], [1, 0]]);
    }
}
