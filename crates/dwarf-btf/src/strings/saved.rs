//! Strings as they were in an earlier run, with their numbers and codes.
//!
//! Types are recognised by hashes of codes, and a code is an offset into the `.debug_str` of its link or the number that
//! a string happened to get. So what is kept of types holds only with the codes that they were made of. A later
//! run gives every string that it knows its old number and code, and every other one its number as code, which no
//! other string can have.

use std::sync::atomic::Ordering;

use hashbrown::HashMap;

use super::{
    Code, Mark, NUMBERED, SHARD_BITS, SHARDS, Shard, StrId, Strings, hash, number, spread,
};
use crate::cursor::{Fault, Read};
use crate::hash::FixedState;

/// Strings by their numbers: part by part, and within a part in the order of their numbers.
#[derive(Debug)]
pub(crate) struct SavedStrings<'s> {
    /// How many strings each part has.
    pub counts: Vec<u32>,
    pub strings: Vec<&'s [u8]>,
    /// By string, 0 where no type has met it.
    pub codes: Vec<Code>,
}

impl<'s> SavedStrings<'s> {
    /// Whether a string has this number.
    pub fn has(&self, id: StrId) -> bool {
        let Some(number) = id.checked_sub(1) else { return true };
        let count = self.counts.get(number as usize % SHARDS);
        count.is_some_and(|&count| number >> SHARD_BITS < count)
    }
}

impl<'s> Strings<'s> {
    /// The strings that were known at that time, with codes, for [`Strings::resume`].
    pub fn saved(&self, then: &Mark) -> SavedStrings<'s> {
        let mut saved = SavedStrings { counts: Vec::new(), strings: Vec::new(), codes: Vec::new() };
        for (index, shard) in self.shards.iter().enumerate() {
            let shard = shard.lock().unwrap_or_else(|e| e.into_inner());
            let count = then.0.get(index).map_or(0, |&count| count as usize);
            let count = count.min(shard.strings.len());
            saved.counts.push(count as u32);
            saved.strings.extend(&shard.strings[..count]);
            saved.codes.extend(&shard.codes[..count]);
        }
        saved
    }

    /// Begins with strings of an earlier run, before there are others. `None` if that is not what they are; nothing can
    /// be done with the strings then.
    pub fn resume(&mut self, saved: &SavedStrings<'s>) -> Option<()> {
        if saved.counts.len() != SHARDS {
            return None;
        }
        let (mut strings, mut codes) = (&saved.strings[..], &saved.codes[..]);
        for (index, &count) in saved.counts.iter().enumerate() {
            let (own, rest) = strings.split_at_checked(count as usize)?;
            let (own_codes, rest_codes) = codes.split_at_checked(count as usize)?;
            (strings, codes) = (rest, rest_codes);
            let shard = self.shards[index].get_mut().unwrap_or_else(|e| e.into_inner());
            *shard = Self::resumed_shard(index, own, own_codes)?;
        }
        *self.by_code.get_mut() = false;
        *self.resumed.get_mut() = true;
        (strings.is_empty() && codes.is_empty()).then_some(())
    }

    fn resumed_shard(index: usize, own: &[&'s [u8]], codes: &[Code]) -> Option<Shard<'s>> {
        let mut shard = Shard { strings: own.to_vec(), codes: codes.to_vec(), ..Shard::default() };
        shard.table.reserve(own.len(), |&(half, _)| spread(half));
        for ((at, bytes), &code) in (0..).zip(own).zip(codes) {
            let hash = hash::bytes(bytes);
            let right = code & NUMBERED == 0 || code == number(at, index) | NUMBERED;
            if (hash >> (64 - SHARD_BITS)) as usize != index || bytes.is_empty() || !right {
                return None;
            }
            let half = hash as u32;
            shard.table.insert_unique(spread(half), (half, at), |&(half, _)| spread(half));
        }
        Some(shard)
    }

    /// The code of a string that has no offset, or whose offset does not count.
    pub fn code_of(&self, id: StrId) -> Code {
        let own = id | NUMBERED;
        if id == 0 || !self.resumed.load(Ordering::Relaxed) {
            return own;
        }
        let (shard, at) = ((id - 1) as usize % SHARDS, (id - 1) >> SHARD_BITS);
        let shard = self.shards[shard].lock().unwrap_or_else(|e| e.into_inner());
        let known = shard.codes.get(at as usize).copied().unwrap_or(0);
        drop(shard);
        if known == 0 {
            return own;
        }
        if known & NUMBERED == 0 {
            self.old_codes.lock().unwrap_or_else(|e| e.into_inner()).insert(known, id);
        }
        known
    }

    /// The string of a code that [`Strings::code_of`] has given.
    #[cold]
    pub(super) fn of_old_code(&self, code: Code) -> Read<StrId> {
        let known = self.old_codes.lock().unwrap_or_else(|e| e.into_inner());
        let cause = "a name that is not known";
        known.get(&code).copied().ok_or(Fault { offset: code as usize, cause })
    }

    /// Forgets codes of an earlier run, when all units are to be read after all.
    pub fn forget_resumed(&self) {
        self.forget_codes();
        self.resumed.store(false, Ordering::Relaxed);
        *self.old_codes.lock().unwrap_or_else(|e| e.into_inner()) =
            HashMap::with_hasher(FixedState);
        self.by_code.store(self.section.len() < (NUMBERED - 1) as usize, Ordering::Relaxed);
    }
}
