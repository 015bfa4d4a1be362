//! The kfuncs of an image: the members of its flagged sets.
//!
//! `BTF_KFUNCS_START` makes a `set8` with [`KFUNCS`] in the flags behind its count. Each member is a place
//! for an id, which a symbol names, and the kfunc's flags.

use std::collections::{BTreeMap, HashMap};

use btf_dedup::kind;
use image::{Endian, Endianness};

use super::draft::{Draft, kind_of};
use crate::Error;
use crate::collect::{Set, Wanted, lossy};
use crate::warning::{Log, Warning};

/// `BTF_SET8_KFUNCS`: the set has kfuncs.
const KFUNCS: u32 = 1;

/// A function that BPF programs may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kfunc<'n> {
    pub name: &'n [u8],
    /// `KF_*`.
    pub flags: u32,
}

/// Kfuncs by the ids of their `FUNC`.
pub(crate) type Kfuncs<'n> = BTreeMap<u32, Kfunc<'n>>;

/// A member of a set, before its function is looked for.
struct Member<'n> {
    set: &'n [u8],
    index: u32,
    name: Option<&'n [u8]>,
    flags: u32,
}

/// The kfuncs of `wanted`, whose section's contents are `ids`.
pub(crate) fn collect<'n>(
    wanted: &Wanted<'n>,
    (ids, endian): (&[u8], Endianness),
    draft: &Draft<'_>,
    log: &mut Log,
) -> Result<Kfuncs<'n>, Error> {
    let members = members(wanted, ids, endian)?;
    let names = members.iter().filter_map(|member| member.name);
    let functions = functions(draft, names)?;
    let mut kfuncs = Kfuncs::new();
    for Member { set, index, name, flags } in members {
        let Some(name) = name else {
            log.warn(Warning::NoSymbol { set: lossy(set), index });
            continue;
        };
        let Some(&id) = functions.get(name).filter(|&&id| id != 0) else {
            log.warn(Warning::NoFunction { name: lossy(name), set: lossy(set) });
            continue;
        };
        log.line(|| format!("found kfunc {} in {}", lossy(name), lossy(set)));
        let first = kfuncs.entry(id).or_insert(Kfunc { name, flags }).flags;
        if first != flags {
            return Err(Error::KfuncFlags { name: lossy(name), first, other: flags });
        }
    }
    Ok(kfuncs)
}

/// The lowest id of a function of each name, 0 where there is none.
pub(crate) fn functions<'n>(
    draft: &Draft<'_>,
    names: impl Iterator<Item = &'n [u8]>,
) -> Result<HashMap<&'n [u8], u32>, Error> {
    let mut found: HashMap<&[u8], u32> = names.map(|name| (name, 0)).collect();
    if found.is_empty() {
        return Ok(found);
    }
    for id in draft.first_id()..draft.next_id() {
        let record = draft.record(id);
        if kind_of(record) != kind::FUNC {
            continue;
        }
        if let Some(slot) = found.get_mut(draft.name(record[0])?).filter(|slot| **slot == 0) {
            *slot = id;
        }
    }
    Ok(found)
}

/// The members of all sets of kfuncs, in the peer's order: sets by falling name.
fn members<'n>(
    wanted: &Wanted<'n>,
    ids: &[u8],
    endian: Endianness,
) -> Result<Vec<Member<'n>>, Error> {
    let mut places = wanted.places.clone();
    places.sort_by_key(|&(offset, _)| offset);
    let mut members = Vec::new();
    for set in wanted.sets.iter().filter(|set| set.flagged) {
        let pairs = pairs(set, ids, endian)?;
        for (index, flags) in (0u32..).zip(pairs) {
            let offset = set.offset.wrapping_add(8 + 8 * u64::from(index));
            let name = find(&places, offset);
            members.push(Member { set: set.name, index, name, flags });
        }
    }
    Ok(members)
}

/// The flags of each member of a set; nothing if they are no kfuncs.
fn pairs(set: &Set<'_>, ids: &[u8], endian: Endianness) -> Result<Vec<u32>, Error> {
    let bounds = || Error::SetBounds {
        name: lossy(set.name),
        offset: set.offset,
        count: set.count,
        size: ids.len(),
    };
    let tail = usize::try_from(set.offset).ok().and_then(|at| ids.get(at..)).ok_or_else(bounds)?;
    let (&[_, flags], members) = tail
        .split_first_chunk::<8>()
        .and_then(|(head, rest)| Some((head.as_chunks::<4>().0.first_chunk::<2>()?, rest)))
        .ok_or_else(bounds)?;
    if endian.read_u32(flags) & KFUNCS == 0 {
        return Ok(Vec::new());
    }
    let members = members.as_chunks::<8>().0.get(..set.count as usize).ok_or_else(bounds)?;
    Ok(members.iter().map(|&[_, _, _, _, a, b, c, d]| endian.read_u32([a, b, c, d])).collect())
}

/// The name of a symbol at `offset`.
///
/// PARITY: of several symbols at one place the one that bsearch of the C library meets first
/// (`of_symbols_at_one_place_the_middle_one_is_met`).
fn find<'n>(places: &[(u64, &'n [u8])], offset: u64) -> Option<&'n [u8]> {
    let (mut low, mut high) = (0, places.len());
    while low < high {
        let middle = (low + high) / 2;
        let (at, name) = places[middle];
        match offset.cmp(&at) {
            std::cmp::Ordering::Less => high = middle,
            std::cmp::Ordering::Greater => low = middle + 1,
            std::cmp::Ordering::Equal => return Some(name),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_symbols_at_one_place_the_middle_one_is_met() {
        let places: [(u64, &[u8]); 5] = [(0, b"a"), (8, b"b"), (8, b"c"), (8, b"d"), (16, b"e")];
        assert_eq!(find(&places, 8), Some(&b"c"[..]));
        assert_eq!(find(&places[..3], 8), Some(&b"b"[..]));
        assert_eq!(find(&places, 16), Some(&b"e"[..]));
        assert_eq!(find(&places, 4), None);
        assert_eq!(find(&[], 4), None);
    }

    #[test]
    fn a_set_that_ends_outside_is_refused() {
        let set = |offset, count| Set { name: b"s", offset, count, flagged: true };
        let mut ids = [0; 24];
        let of = |set, ids: &[u8]| pairs(&set, ids, Endianness::Little);
        assert_eq!(of(set(0, 2), &ids), Ok(vec![]));
        assert_eq!(
            of(set(0, u32::MAX), &ids),
            Ok(vec![]),
            "no kfuncs: it is looked at when sorted"
        );
        (ids[4], ids[12], ids[20]) = (1, 7, 9);
        assert_eq!(of(set(0, 2), &ids), Ok(vec![7, 9]));
        for bad in [set(0, 3), set(0, u32::MAX), set(20, 0), set(u64::MAX, 0)] {
            assert!(matches!(of(bad, &ids), Err(Error::SetBounds { .. })));
        }
    }
}
