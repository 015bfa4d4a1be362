//! Candidates by hash, in the order in which libbpf meets them.
//!
//! libbpf's hash map puts a new entry at the head of its bucket's chain, and turns every chain round
//! when it grows, which it does when three quarters full. Where more than one candidate fits, the order
//! decides which is taken, so it is kept here: not by building the same buckets, but by counting how
//! often the map would have grown. Entries of one hash are always in one bucket, and their order among
//! themselves is all that can be seen from outside.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};

use hashbrown::HashMap;

#[derive(Debug, Default)]
pub(crate) struct Table {
    chains: HashMap<u64, Chain, Identity>,
    size: u64,
    capacity: u64,
    /// How often the map has grown.
    grown: u32,
}

#[derive(Debug)]
struct Chain {
    /// The first candidate and further ones, most chains having one.
    ids: VecDeque<u32>,
    /// Whether the map had grown an odd number of times when the chain began.
    odd: bool,
}

impl Table {
    /// The candidates of a hash, in order.
    pub fn candidates(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let chain = self.chains.get(&hash);
        let turned = chain.is_some_and(|chain| chain.odd != (self.grown % 2 == 1));
        let len = chain.map_or(0, |chain| chain.ids.len());
        (0..len).filter_map(move |at| {
            let at = if turned { len - 1 - at } else { at };
            chain.map(|chain| chain.ids[at])
        })
    }

    /// Counts an entry; alone, one that nobody will look for.
    pub fn count(&mut self) {
        if self.capacity == 0 || (self.size + 1) * 4 / 3 > self.capacity {
            self.capacity = (self.capacity * 2).max(4);
            self.grown += 1;
        }
        self.size += 1;
    }

    pub fn add(&mut self, hash: u64, id: u32) {
        self.count();
        let odd = self.grown % 2 == 1;
        let chain = self.chains.entry(hash).or_insert_with(|| Chain { ids: VecDeque::new(), odd });
        if chain.odd == odd {
            chain.ids.push_front(id);
        } else {
            chain.ids.push_back(id);
        }
    }
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct Identity;

impl BuildHasher for Identity {
    type Hasher = IdentityHasher;
    fn build_hasher(&self) -> IdentityHasher {
        IdentityHasher(0)
    }
}

struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// A hash of words, the same everywhere.
pub(crate) fn hash(words: impl Iterator<Item = u32>) -> u64 {
    let mut state = 0xa076_1d64_78bd_642fu64;
    for word in words {
        let product = u128::from(state ^ u64::from(word)) * 0xe703_7ed1_a0b4_28db_u128;
        state = product as u64 ^ (product >> 64) as u64;
    }
    state
}
