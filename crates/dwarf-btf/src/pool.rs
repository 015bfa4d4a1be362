//! The types that were met, each once.
//!
//! Threads add the types of their units in any order. For each type the pool keeps the place where it is
//! met first in the order of units, which does not depend on the order of adding.
//!
//! A type is found by a hash of 64 bits, and its name, kind and count are compared besides; two types
//! that agree in the hash but not in these are reported as a collision, and then another way is taken.

mod saved;

pub(crate) use saved::{Mark, Renumbered, SavedShard};

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::hash_map;
use hashbrown::{HashMap, HashTable};

use crate::cache::{Noted, Notes, Spot};
use crate::cu::{kind, kind_of};
use crate::hash::{FixedState, mix};

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
/// Into how many parts the pool is divided.
pub(crate) const SHARDS: usize = 1 << SHARD_BITS;

/// A type as it is looked up. Everything that is needed for a type that is known already is here, so that
/// looking it up costs one line of the cache besides the table's own.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u64,
    place: Place,
    /// Hash of the contents that a named structure was met with first, and the first unit that has it
    /// with these.
    contents: u64,
    contents_unit: u32,
    /// The order in which twins are met in a structure, of all units the same: see [`crate::twins`].
    pattern: u32,
    at: u32,
    check: u32,
}

/// What adding a type has found of its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Not met before.
    New,
    /// An earlier unit has the type with these contents.
    Known,
    /// Only later units have, or this one.
    Later,
}

/// A type of the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub place: Place,
    pub words: (u32, u32),
    pub children: (u32, u32),
}

/// A structure refers to a structure, enumeration or forward declaration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// The type that says so and its contents.
    pub of: PoolId,
    pub contents: u64,
    /// The structure by its hash.
    pub from: u64,
    /// Whether it has a name.
    pub named: bool,
    pub to: PoolId,
}

/// Who says what a structure refers to: the type, its contents, and the hash that the structure is known by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    pub of: PoolId,
    pub contents: u64,
    pub from: u64,
}

/// A type that is to be added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered<'r> {
    pub key: u64,
    pub record: &'r [u32],
    /// Hash of a named structure with the identities of what it refers to.
    pub contents: u64,
    /// Its pattern of twins: see [`crate::twins`].
    pub pattern: u64,
    /// Where it was met.
    pub place: Place,
    /// How many types it refers to.
    pub references: usize,
}

/// A part of the pool.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    table: HashTable<Entry>,
    /// What the records are: where each begins in `words` and in `children`.
    spans: Vec<(u32, u32)>,
    /// Records; where they refer to types, the words mean nothing.
    pub words: Vec<u32>,
    /// What the records refer to: types' numbers and 1, 0 for `void`, [`crate::cu::INDEX`] for that of indices.
    pub children: Vec<u32>,
    /// Structures and contents that were met besides the first, and the first unit that has them.
    contents: HashMap<u64, u32, FixedState>,
    /// Structures and what of structures and declarations they refer to: see [`crate::merge`].
    pub links: Vec<Link>,
    /// Where the types are met, if that is to be remembered: see [`crate::cache`].
    pub notes: Option<Notes>,
}

impl Shard {
    /// Adds a type, and gives its index in this part.
    pub fn add(&mut self, offered: &Offered<'_>, doubts: &Doubts) -> (u32, Met, Contents) {
        let Offered { key, record, contents, pattern, place, references } = *offered;
        let check = check(record);
        let hash = key.rotate_left(32);
        if let Some(entry) = self.table.find_mut(hash, |entry| entry.key == key) {
            if entry.check != check {
                doubts.collided.store(true, Ordering::Relaxed);
            }
            let met = if place.unit() < entry.place.unit() {
                entry.place = place;
                Met::Earlier
            } else if place.unit() == entry.place.unit() {
                Met::Twice(entry.place.local())
            } else {
                Met::Later
            };
            let (at, unit) = (entry.at, place.unit());
            let known = if entry.contents == contents {
                &mut entry.contents_unit
            } else {
                match self.contents.entry(contents ^ key) {
                    hash_map::Entry::Occupied(entry) => entry.into_mut(),
                    hash_map::Entry::Vacant(vacant) => {
                        if entry.pattern != pattern as u32 {
                            doubts.torn.store(true, Ordering::Relaxed);
                        }
                        vacant.insert(unit);
                        return (at, met, Contents::New);
                    }
                }
            };
            let found = if *known < unit { Contents::Known } else { Contents::Later };
            *known = unit.min(*known);
            return (at, met, found);
        }
        let at = self.spans.len() as u32;
        self.spans.push((self.words.len() as u32, self.children.len() as u32));
        self.words.extend_from_slice(record);
        self.children.resize(self.children.len() + references, 0);
        let contents_unit = place.unit();
        let pattern = pattern as u32;
        let entry = Entry { key, place, contents, contents_unit, pattern, at, check };
        self.table.insert_unique(hash, entry, |entry| entry.key.rotate_left(32));
        (at, Met::New, Contents::New)
    }

    /// Sets what the type of that index refers to.
    pub fn refer(&mut self, at: u32, references: impl Iterator<Item = u32>) {
        let start = self.spans[at as usize].1 as usize;
        for (child, reference) in self.children[start..].iter_mut().zip(references) {
            *child = reference;
        }
    }

    /// Notes where a type is met, if that is to be remembered.
    #[inline]
    pub fn note(&mut self, at: u32, contents: u64, spot: Spot) -> Noted {
        self.notes.as_mut().map_or(Noted::Behind, |notes| notes.note(at, contents, spot))
    }

    /// Notes that the unit has a type under another number.
    pub fn renumber_note(&mut self, at: usize, unit: u32, local: u32) {
        if let Some(notes) = &mut self.notes {
            notes.types[at].renumber(unit, local);
        }
    }

    /// How many types there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The types by their number, when nothing is added any more.
    pub fn nodes(&self) -> Vec<Node> {
        let none = Node { place: Place(0), words: (0, 0), children: (0, 0) };
        let mut nodes = vec![none; self.spans.len()];
        for entry in &self.table {
            let at = entry.at as usize;
            let (words, children) = self.spans[at];
            let end = (self.words.len() as u32, self.children.len() as u32);
            let (words_end, children_end) = self.spans.get(at + 1).copied().unwrap_or(end);
            nodes[at] = Node {
                place: entry.place,
                words: (words, words_end),
                children: (children, children_end),
            };
        }
        nodes
    }
}

/// Why what was met cannot be relied on.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// Two different types were met under one hash.
    collided: AtomicBool,
    /// Units differ in what is twice in a structure.
    torn: AtomicBool,
}

/// The pool.
#[derive(Debug)]
pub(crate) struct Pool {
    shards: Vec<Mutex<Shard>>,
    pub doubts: Doubts,
    mask: u64,
}

impl Pool {
    /// `hash_bits` is 64; tests take less, so that hashes collide.
    pub fn new(hash_bits: u32) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let mask = u64::MAX >> (64 - hash_bits);
        Pool { shards, doubts: Doubts::default(), mask }
    }

    /// The part that a key belongs to.
    #[inline]
    pub fn shard_of(key: u64) -> usize {
        (key >> 3) as usize % SHARDS
    }

    /// A part, for this thread alone.
    pub fn lock(&self, shard: usize) -> std::sync::MutexGuard<'_, Shard> {
        self.shards[shard].lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Moves the first place of a type within its unit.
    pub fn replace(&self, key: u64, place: Place) {
        let mut shard = self.lock(Self::shard_of(key));
        let found = shard.table.find_mut(key.rotate_left(32), |entry| entry.key == key);
        if let Some(entry) = found.filter(|entry| entry.place.unit() == place.unit()) {
            entry.place = place;
        }
    }

    /// Notes what a structure refers to.
    pub fn link(&self, said: Said, named: bool, to: &[PoolId]) {
        let Said { of, contents, from } = said;
        let mut shard = self.lock(Self::shard_of(from));
        shard.links.extend(to.iter().map(|&to| Link { of, contents, from, named, to }));
    }

    /// Whether two different types were met under one hash.
    pub fn collided(&self) -> bool {
        self.doubts.collided.load(Ordering::Relaxed)
    }

    /// Whether units differ in what is twice in a structure.
    pub fn torn(&self) -> bool {
        self.doubts.torn.load(Ordering::Relaxed)
    }

    /// The parts, when nothing is added any more.
    pub fn into_shards(self) -> Vec<Shard> {
        self.shards.into_iter().map(|s| s.into_inner().unwrap_or_else(|e| e.into_inner())).collect()
    }

    pub fn mask(&self) -> u64 {
        self.mask
    }
}

/// The number of the type at that index of a part.
pub(crate) fn pool_id(at: u32, shard: usize) -> PoolId {
    at << SHARD_BITS | shard as u32
}

/// The shard of a type and its index there.
pub(crate) fn parts(id: PoolId) -> (usize, usize) {
    (id as usize % SHARDS, (id >> SHARD_BITS) as usize)
}

/// What is compared of a record besides its key.
#[inline]
fn check(record: &[u32]) -> u32 {
    let sized = matches!(kind_of(record[1]), kind::STRUCT | kind::UNION | kind::ENUM | kind::INT);
    let size = if sized { record[2] } else { 0 };
    let hash = mix(
        u64::from(record[0]) | u64::from(record[1]) << 32,
        u64::from(size) << 32 ^ record.len() as u64 ^ 0x9e37_79b9_7f4a_7c15,
    );
    (hash >> 32) as u32
}
