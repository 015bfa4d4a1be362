//! Resuming: what was saved, without what units have said that are not there any more.

use hashbrown::HashMap;

use super::key::Key;
use super::load::Saved;
use super::noted::{FirstTwo, NONE};
use crate::hash::FixedState;
use crate::merge::Kept;
use crate::pool::{PoolId, SavedShard};

/// After so many runs all units are read again: what is known of second places only gets less, and names more.
pub(crate) const MAX_AGE: u32 = 200;

/// Which units are the same in two links.
#[derive(Debug)]
pub(crate) struct Matching {
    /// By number in the link before: the number now; [`NONE`] if it has changed or is gone.
    pub new: Vec<u32>,
    /// By number now: the number before; [`NONE`] if it has changed or is new.
    pub old: Vec<u32>,
}

/// Finds units that are the same by their keys. Their order stays.
pub(crate) fn match_units(old: &[Key], new: &[Key]) -> Matching {
    let mut matching = Matching { new: vec![NONE; old.len()], old: vec![NONE; new.len()] };
    let same = |(a, b): &(&Key, &Key)| a == b && **a != 0;
    let front = old.iter().zip(new).take_while(same).count();
    let (old_rest, new_rest) = (&old[front..], &new[front..]);
    let back = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let mut both = |a: usize, b: usize| {
        matching.new[a] = b as u32;
        matching.old[b] = a as u32;
    };
    (0..front).for_each(|at| both(at, at));
    (1..=back).for_each(|at| both(old.len() - at, new.len() - at));
    // Between: each unit at the next place where it was.
    let mut places: HashMap<Key, Vec<usize>, FixedState> = HashMap::with_hasher(FixedState);
    for (at, &key) in (front..).zip(&old_rest[..old_rest.len() - back]) {
        places.entry(key).or_default().push(at);
    }
    let mut next = front;
    for (at, key) in (front..).zip(&new_rest[..new_rest.len() - back]) {
        let places = places.get(key).map_or(&[][..], Vec::as_slice);
        let place = places.get(places.partition_point(|&place| place < next));
        if let Some(&place) = place.filter(|_| *key != 0) {
            both(place, at);
            next = place + 1;
        }
    }
    matching
}

impl Matching {
    /// How many units have to be read.
    pub fn unknown(&self) -> usize {
        self.old.iter().filter(|&&old| old == NONE).count()
    }
}

/// What a run begins with that reads some units only.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// By unit; `None` also for those that have to be read.
    pub units: Vec<Option<Kept>>,
    /// By unit: whether it need not be read.
    pub is_known: Vec<bool>,
    /// By unit.
    pub keys: Vec<Key>,
    /// The structures of which it is said which units have them.
    pub wanted: Vec<PoolId>,
    pub age: u32,
}

impl Resumed {
    /// Takes what has been saved but its strings; `keys` are those of the units that are there now.
    pub fn new(saved: Saved<'_>, matching: &Matching, keys: Vec<Key>) -> (Self, Vec<SavedShard>) {
        let Saved { mut units, wanted, age, mut shards, .. } = saved;
        let known = matching.old.iter().map(|&old| match old {
            NONE => None,
            old => units[old as usize].take(),
        });
        let units = known.collect();
        let next = next_known(&matching.new);
        let number =
            |unit: u32| matching.new.get(unit as usize).copied().filter(|&new| new != NONE);
        let next = |unit: u32| next.get(unit as usize).copied().unwrap_or(NONE);
        let moved = |list: &mut FirstTwo| *list = list.moved(number, next);
        for shard in &mut shards {
            shard.notes.types.iter_mut().for_each(moved);
            shard.notes.contents.values_mut().for_each(moved);
        }
        let is_known = matching.old.iter().map(|&old| old != NONE).collect();
        (Resumed { units, is_known, keys, wanted: wanted.to_vec(), age: age + 1 }, shards)
    }
}

/// By number of a unit: the new number of the first that stayed of it and those behind.
fn next_known(new: &[u32]) -> Vec<u32> {
    let mut next = NONE;
    let mut all: Vec<u32> = new
        .iter()
        .rev()
        .map(|&new| {
            if new != NONE {
                next = new;
            }
            next
        })
        .collect();
    all.reverse();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_matched_in_their_order() {
        let new = |old: &[Key], new: &[Key]| match_units(old, new).old;
        assert_eq!(new(&[1, 2, 3], &[1, 2, 3]), [0, 1, 2]);
        assert_eq!(new(&[1, 2, 3], &[1, 9, 3]), [0, NONE, 2]);
        assert_eq!(new(&[1, 2, 3, 4], &[1, 3, 4]), [0, 2, 3]);
        assert_eq!(new(&[1, 3], &[5, 1, 6, 7, 3, 8]), [NONE, 0, NONE, NONE, 1, NONE]);
        assert_eq!(new(&[1, 2, 3, 4, 5], &[2, 1, 3, 5, 4]), [1, NONE, 2, 4, NONE]);
        assert_eq!(new(&[7, 7, 7], &[7, 7]), [0, 1]);
        assert_eq!(new(&[7, 7], &[7, 7, 7]), [0, 1, NONE]);
        // What has no key is never known.
        assert_eq!(new(&[0, 2, 0], &[0, 2, 0]), [NONE, 1, NONE]);
        assert_eq!(new(&[], &[1]), [NONE]);
        assert_eq!(match_units(&[1, 2, 3], &[3]).new, [NONE, NONE, 0]);
    }
}
