//! Where the types of the pool are met: the first two units of each, and how far that is certain.
//!
//! The pool needs the first unit only. If that unit changes, what it has said is taken away, and the second takes over;
//! if both change, they are read again and say it again. What cannot be known is where a third unit stands, so each list
//! has a *bound*: other units that have the type come at this number or behind it.

use hashbrown::HashMap;

use crate::cu::LocalId;
use crate::hash::FixedState;

/// Number of a unit that is none.
pub(crate) const NONE: u32 = u32::MAX;

/// Where a unit has a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub unit: u32,
    /// The type's number there; of several the one that libbpf would keep.
    pub local: LocalId,
    /// Where the first of several begins in the unit's stream, for the order of names.
    pub start: u32,
}

impl Spot {
    const NONE: Spot = Spot { unit: NONE, local: 0, start: 0 };

    /// In the unit `unit`, wherever.
    pub fn unit(unit: u32) -> Self {
        Spot { unit, ..Spot::NONE }
    }
}

/// What noting a unit has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It is one of the first two.
    First,
    /// It is one of the first two, and was noted before, with this number.
    Again(LocalId),
    /// There are two before it.
    Behind,
}

/// The first two units that have something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FirstTwo {
    /// By unit; [`NONE`] where there is none.
    pub spots: [Spot; 2],
    /// Other units that have it come here or later; [`NONE`] if there is no other.
    pub bound: u32,
}

impl Default for FirstTwo {
    fn default() -> Self {
        FirstTwo { spots: [Spot::NONE; 2], bound: NONE }
    }
}

/// What is known of a type or of contents when all units have been noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// The first unit is the first.
    Known,
    /// No unit has it.
    Gone,
    /// Units that were not read may have it, or may have it earlier.
    Open,
}

impl FirstTwo {
    /// Notes a unit, in any order of units.
    #[inline]
    pub fn note(&mut self, spot: Spot) -> Noted {
        let [first, second] = &mut self.spots;
        if spot.unit == first.unit {
            return Noted::Again(first.local);
        }
        if spot.unit == second.unit {
            return Noted::Again(second.local);
        }
        let left_out = if spot.unit < first.unit {
            let left_out = *second;
            (*second, *first) = (*first, spot);
            left_out
        } else if spot.unit < second.unit {
            std::mem::replace(second, spot)
        } else {
            self.bound = self.bound.min(spot.unit);
            return Noted::Behind;
        };
        self.bound = self.bound.min(left_out.unit);
        Noted::First
    }

    /// Says that the unit has it under another number.
    pub fn renumber(&mut self, unit: u32, local: LocalId) {
        if let Some(spot) = self.spots.iter_mut().find(|spot| spot.unit == unit) {
            spot.local = local;
        }
    }

    /// The list after units were taken away and others put between; `number` gives the new number of a unit that
    /// stayed, `next` that of the first that stayed of a unit and those behind it ([`NONE`] if none did).
    pub fn moved(
        &self,
        number: impl Fn(u32) -> Option<u32>,
        next: impl Fn(u32) -> u32,
    ) -> FirstTwo {
        let mut moved = FirstTwo { bound: next(self.bound), ..FirstTwo::default() };
        let stayed = self.spots.iter().filter(|spot| spot.unit != NONE);
        let stayed = stayed.filter_map(|spot| Some(Spot { unit: number(spot.unit)?, ..*spot }));
        for (place, spot) in moved.spots.iter_mut().zip(stayed) {
            *place = spot;
        }
        moved
    }

    /// What is certain when all units that were not known have been noted. What is not is forgotten.
    pub fn settle(&mut self) -> Certainty {
        let [first, second] = &mut self.spots;
        if second.unit != NONE && second.unit >= self.bound {
            *second = Spot::NONE;
        }
        match (first.unit, self.bound) {
            (NONE, NONE) => Certainty::Gone,
            (NONE, _) => Certainty::Open,
            (first, bound) if first >= bound => Certainty::Open,
            _ => Certainty::Known,
        }
    }

    /// Whether some unit has it, when all units that were not known have been noted.
    pub fn presence(&self) -> Certainty {
        match (self.spots[0].unit, self.bound) {
            (NONE, NONE) => Certainty::Gone,
            (NONE, _) => Certainty::Open,
            _ => Certainty::Known,
        }
    }

    /// Whether some unit has it.
    pub fn is_somewhere(&self) -> bool {
        self.spots[0].unit != NONE
    }
}

/// What is noted of one part of the pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    /// By the type's index.
    pub types: Vec<FirstTwo>,
    /// The units that have a named structure with these contents, by the structure's index and the contents.
    pub contents: HashMap<(u32, u64), FirstTwo, FixedState>,
}

impl Notes {
    /// Notes that a unit has the type `at` with these contents, 0 if it has none.
    #[inline]
    pub fn note(&mut self, at: u32, contents: u64, spot: Spot) -> Noted {
        if at as usize >= self.types.len() {
            self.types.resize(at as usize + 1, FirstTwo::default());
        }
        let noted = self.types[at as usize].note(spot);
        if contents == 0 {
            return noted;
        }
        let with = self.contents.entry((at, contents)).or_default().note(Spot::unit(spot.unit));
        match (noted, with) {
            // The type is known, with these contents it is not.
            (Noted::Behind, Noted::First | Noted::Again(_)) => Noted::First,
            _ => noted,
        }
    }

    /// The first unit that has the type `at` with these contents, [`NONE`] if none has; types without contents have 0.
    pub fn unit_with(&self, at: u32, contents: u64) -> u32 {
        let units = match contents {
            0 => self.types.get(at as usize),
            _ => self.contents.get(&(at, contents)),
        };
        units.map_or(NONE, |units| units.spots[0].unit)
    }

    /// Whether a unit has the type `at` with these contents.
    pub fn is_somewhere(&self, at: u32, contents: u64) -> bool {
        self.unit_with(at, contents) != NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(units: &[u32]) -> FirstTwo {
        let mut list = FirstTwo::default();
        for &unit in units {
            list.note(Spot { unit, local: unit + 100, start: unit + 200 });
        }
        list
    }

    fn units(list: &FirstTwo) -> (u32, u32, u32) {
        (list.spots[0].unit, list.spots[1].unit, list.bound)
    }

    #[test]
    fn the_first_two_and_the_third_are_known_in_any_order() {
        let orders = [[1, 4, 6, 9], [9, 6, 4, 1], [4, 9, 1, 6], [6, 1, 9, 4]];
        for order in orders {
            assert_eq!(units(&noted(&order)), (1, 4, 6), "{order:?}");
        }
        assert_eq!(units(&noted(&[3])), (3, NONE, NONE));
        assert_eq!(noted(&[3]).note(Spot::unit(3)), Noted::Again(103));
        assert_eq!(noted(&[3, 5]).note(Spot::unit(5)), Noted::Again(105));
        assert_eq!(noted(&[3, 5]).note(Spot::unit(7)), Noted::Behind);
    }

    /// Units are taken away and read again; what the list says then must be what a list of all would.
    #[test]
    fn what_is_certain_after_a_change_is_right() {
        // Of eight units any may have the type before and after, and any may have changed.
        for old in 0..256u32 {
            let list = noted(&(0..8).filter(|unit| old >> unit & 1 != 0).collect::<Vec<_>>());
            for changed in 0..256u32 {
                let number = |unit: u32| (changed >> unit & 1 == 0).then_some(unit);
                let next = |unit: u32| (unit..8).find_map(number).unwrap_or(NONE);
                let moved = list.moved(number, next);
                for new in [changed, 0, 0x55 & changed, 0x92 & changed] {
                    let mut moved = moved;
                    let all = old & !changed | new;
                    for unit in (0..8).filter(|unit| new >> unit & 1 != 0) {
                        moved.note(Spot::unit(unit));
                    }
                    let truth: Vec<u32> = (0..8).filter(|unit| all >> unit & 1 != 0).collect();
                    match moved.settle() {
                        Certainty::Known => {
                            assert_eq!(moved.spots[0].unit, truth[0]);
                            let second = truth.get(1).copied().unwrap_or(NONE);
                            let known = moved.spots[1].unit;
                            assert!(known == second || known == NONE && second >= moved.bound);
                            let third = truth.get(2).copied().unwrap_or(NONE);
                            assert!(moved.bound <= third);
                        }
                        Certainty::Gone => assert_eq!(truth, []),
                        Certainty::Open => assert_ne!(changed, 0),
                    }
                }
            }
        }
    }
}
