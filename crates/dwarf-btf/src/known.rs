//! Types that a thread knows to be in the pool with all that is to be noted of them, at a place before
//! any that the thread will come to.
//!
//! A small table in front of the pool, with one place a hash. Of twenty types nineteen are found here. It
//! says too which of them the present unit had already, so that most twins are found with no table of
//! the unit's own ([`crate::twins`]).
//!
//! Cost: half a megabyte a thread, to stay in the second-level cache.

use crate::cu::LocalId;
use crate::pool::PoolId;

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// No key is 0.
    key: u64,
    at: PoolId,
    /// When it was met last: [`Known::start`] of the unit and the number there; 0 before.
    met: u32,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Known {
    entries: Vec<Entry>,
    /// What the present unit's numbers are added to.
    start: u32,
    /// What the next unit's will be.
    next: u32,
}

impl Known {
    const BITS: u32 = 15;
    const FREE: Entry = Entry { key: 0, at: 0, met: 0 };

    fn slot(key: u64) -> usize {
        (key >> (64 - Self::BITS)) as usize
    }

    /// Begins with a unit of so many types.
    pub fn begin(&mut self, count: u32) {
        self.start = self.next;
        match self.start.checked_add(count) {
            Some(next) => self.next = next,
            None => {
                self.entries.iter_mut().for_each(|entry| entry.met = 0);
                (self.start, self.next) = (0, count);
            }
        }
    }

    /// The pool's number of a type, and the first of the unit's types that was met under this key; 0
    /// if it is this one.
    #[inline]
    pub fn meet(&mut self, key: u64, id: LocalId) -> Option<(PoolId, LocalId)> {
        let entry = &mut self.entries[Self::slot(key)];
        if entry.key != key {
            return None;
        }
        if entry.met > self.start {
            return Some((entry.at, entry.met - self.start));
        }
        entry.met = self.start + id;
        Some((entry.at, 0))
    }

    /// The pool's number of a type.
    #[inline]
    pub fn get(&self, key: u64) -> Option<PoolId> {
        let entry = &self.entries[Self::slot(key)];
        (entry.key == key).then_some(entry.at)
    }

    pub fn set(&mut self, key: u64, at: PoolId) {
        self.entries[Self::slot(key)] = Entry { key, at, met: 0 };
    }
}

impl Default for Known {
    fn default() -> Self {
        Known { entries: vec![Self::FREE; 1 << Self::BITS], start: 0, next: 0 }
    }
}
