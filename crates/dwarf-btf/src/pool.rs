//! The types that were met, each once.
//!
//! Threads add the types of their units in any order. For each type the pool keeps the place where it is
//! met first in the order of units, which does not depend on the order of adding.
//!
//! A type is found by a hash of 64 bits, and its name, kind and count are compared besides; two types
//! that agree in the hash but not in these are reported as a collision, and then another way is taken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::{HashSet, HashTable};

use crate::cu::{kind, kind_of};
use crate::hash::FixedState;

/// Number of a type in the pool.
pub(crate) type PoolId = u32;

/// A place in the stream of types: the unit, then the number within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub u64);

impl Place {
    pub fn new(unit: u32, local: u32) -> Self {
        Place(u64::from(unit) << 32 | u64::from(local))
    }

    pub fn unit(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub fn local(self) -> u32 {
        self.0 as u32
    }
}

/// What adding a type has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// For the first time.
    New,
    /// Until now only at later places.
    Earlier,
    /// At an earlier place.
    Later,
    /// In this unit already, which is the earliest so far, under the number given.
    Twice(u32),
}

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;

/// A type of the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub key: u64,
    pub place: Place,
    /// Hash of the contents that a named structure was met with first.
    contents: u64,
    pub words: (u32, u32),
    pub children: (u32, u32),
}

/// A part of the pool.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    table: HashTable<u32>,
    pub nodes: Vec<Node>,
    /// Records; where they refer to types, the words mean nothing.
    pub words: Vec<u32>,
    /// Keys of what the records refer to.
    pub children: Vec<u64>,
    /// Structures and contents that were met besides the first.
    contents: HashSet<u64, FixedState>,
    /// Structures and the structures that they refer to, by identity: see [`crate::merge`].
    pub links: HashSet<(u64, u64), FixedState>,
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Pool {
    shards: Vec<Mutex<Shard>>,
    collided: AtomicBool,
    mask: u64,
}

impl Pool {
    /// `hash_bits` is 64; tests take less, so that hashes collide.
    pub fn new(hash_bits: u32) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let mask = u64::MAX >> (64 - hash_bits);
        Pool { shards, collided: AtomicBool::new(false), mask }
    }

    fn shard(&self, key: u64) -> (usize, std::sync::MutexGuard<'_, Shard>) {
        let index = (key >> 3) as usize % SHARDS;
        (index, self.shards[index].lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// Adds a type that was met at `place`. `children` lists the keys of what it refers to.
    pub fn add(
        &self,
        key: u64,
        record: &[u32],
        contents: u64,
        place: Place,
        children: impl FnOnce(&mut Vec<u64>),
    ) -> (PoolId, Met) {
        let key = key & self.mask;
        let (index, mut shard) = self.shard(key);
        let shard = &mut *shard;
        let hash = key.rotate_left(32);
        let found = shard.table.find(hash, |&at| shard.nodes[at as usize].key == key);
        if let Some(&at) = found {
            let node = &mut shard.nodes[at as usize];
            let known = &shard.words[node.words.0 as usize..node.words.1 as usize];
            if !agree(known, record) {
                self.collided.store(true, Ordering::Relaxed);
            }
            let met = if place < node.place && place.unit() < node.place.unit() {
                node.place = place;
                Met::Earlier
            } else if place.unit() == node.place.unit() {
                Met::Twice(node.place.local())
            } else {
                Met::Later
            };
            return (pool_id(at, index), met);
        }
        let at = shard.nodes.len() as u32;
        let words = shard.words.len() as u32;
        let first = shard.children.len() as u32;
        shard.words.extend_from_slice(record);
        children(&mut shard.children);
        for child in &mut shard.children[first as usize..] {
            *child &= self.mask;
        }
        shard.nodes.push(Node {
            key,
            place,
            contents,
            words: (words, shard.words.len() as u32),
            children: (first, shard.children.len() as u32),
        });
        let nodes = &shard.nodes;
        shard.table.insert_unique(hash, at, |&at| nodes[at as usize].key.rotate_left(32));
        (pool_id(at, index), Met::New)
    }

    /// Moves the first place of a type within its unit.
    pub fn replace(&self, id: PoolId, place: Place) {
        let (index, at) = parts(id);
        let mut shard = self.shards[index].lock().unwrap_or_else(|e| e.into_inner());
        let node = &mut shard.nodes[at];
        if node.place.unit() == place.unit() {
            node.place = place;
        }
    }

    /// Whether a named structure was met with these contents for the first time.
    pub fn new_contents(&self, id: PoolId, contents: u64) -> bool {
        let (index, at) = parts(id);
        let mut shard = self.shards[index].lock().unwrap_or_else(|e| e.into_inner());
        let node = &shard.nodes[at];
        node.contents != contents && {
            let key = contents ^ u64::from(id);
            shard.contents.insert(key)
        }
    }

    /// Notes that a structure refers to a structure or a forward declaration.
    pub fn link(&self, from: u64, to: &[u64]) {
        let (_, mut shard) = self.shard(from);
        shard.links.extend(to.iter().map(|&to| (from, to)));
    }

    /// Whether two different types were met under one hash.
    pub fn collided(&self) -> bool {
        self.collided.load(Ordering::Relaxed)
    }

    /// The parts, when nothing is added any more.
    pub fn into_shards(self) -> Vec<Shard> {
        self.shards.into_iter().map(|s| s.into_inner().unwrap_or_else(|e| e.into_inner())).collect()
    }

    pub fn mask(&self) -> u64 {
        self.mask
    }
}

fn pool_id(at: u32, shard: usize) -> PoolId {
    at << SHARD_BITS | shard as u32
}

/// The shard of a type and its index there.
pub(crate) fn parts(id: PoolId) -> (usize, usize) {
    (id as usize % SHARDS, (id >> SHARD_BITS) as usize)
}

/// Whether two records can be of the same type, as far as can be seen without their references.
#[inline]
fn agree(a: &[u32], b: &[u32]) -> bool {
    let sized = matches!(kind_of(a[1]), kind::STRUCT | kind::UNION | kind::ENUM | kind::INT);
    a[..2] == b[..2] && a.len() == b.len() && (!sized || a[2] == b[2])
}
