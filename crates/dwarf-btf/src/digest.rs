//! A unit's types as hashes: equal hashes, equal types.
//!
//! Type graphs have cycles, so a hash cannot follow every reference. It need not: a cycle of C types
//! always passes through a structure or union with a name. Hashes are therefore made in two steps.
//!
//! 1. The outline of a type follows references until it comes to a structure or an enumeration that has
//!    a name, and takes in the name only. A forward declaration has the outline of what it declares. The outline of a
//!    structure's own contents is its *definition*: structures of one name but of different
//!    definitions differ.
//! 2. The identity of a type follows references in the same way, but where it comes to a structure it
//!    takes in the definition, and tells it from a forward declaration.
//!
//! Types of equal identity are the same in all that they say themselves; that those behind the
//! structures' names are the same too follows when every name has one definition only, or can be
//! checked where one has more ([`crate::merge`]).
//!
//! Hashes have 64 bits and are made of words that are compared besides ([`crate::pool`]).

use crate::cu::{Cu, INDEX, kind, kind_of};
use crate::hash::mix;

const SEED: u64 = 0x2d35_8dcc_aa6c_78a5;
const STEP: u64 = 0x8bb8_4b93_962e_acc9;
const NAME: u64 = 0x4b33_a62e_d433_d4a3;
/// Steps from one factor to the next; odd, so that factors do not repeat.
const NEXT: u64 = 0x9e37_79b9_7f4a_7c15;
const FORWARD: u64 = 0x4d5a_2da5_1de1_aa47;
const DEFINED: u64 = 0xaaaa_aaaa_5555_5559;

/// Identity of the type that arrays are indexed by.
pub(crate) const INDEX_IDENTITY: u64 = 0x1f1f_1f1f_0d0d_0d0d;
/// Identity of `void`.
pub(crate) const VOID: u64 = 0x0bad_f00d_cafe_0001;
/// References are followed to this depth.
const MAX_DEPTH: u32 = 1000;

/// The hashes of a unit's types, by number.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    /// The structures and unions that have names.
    composites: Vec<u32>,
    /// The types whose hashes follow from others, behind those that they refer to.
    order: Vec<Derived>,
    outlines: Vec<u64>,
    identities: Vec<u64>,
    contents: Vec<u64>,
    /// Of structures in which twins are met, the pattern: see [`crate::twins`].
    patterns: Vec<(u32, u64)>,
}

/// A chain of references is too deep, or leads back to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooDeep;

/// Whether the type is a structure or union that has a name, which references are not followed through.
#[inline]
pub(crate) fn is_named_composite(record: &[u32]) -> bool {
    record[0] != 0 && matches!(kind_of(record[1]), kind::STRUCT | kind::UNION)
}

/// Whether a type is known by its name and can stand for a declaration of it, or is one.
#[inline]
pub(crate) fn is_leaf(record: &[u32]) -> bool {
    match kind_of(record[1]) {
        kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 => record[0] != 0,
        kind::FWD => true,
        _ => false,
    }
}

/// Hash of a name as what is declared under it.
fn named(record: &[u32]) -> u64 {
    let kind = match kind_of(record[1]) {
        kind::FWD if record[1] >> 31 != 0 => kind::UNION,
        kind::FWD => kind::STRUCT,
        kind::ENUM64 => kind::ENUM,
        kind => kind,
    };
    mix((u64::from(record[0]) << 8 | u64::from(kind)) ^ NAME, STEP)
}

impl Digest {
    /// Makes the hashes of a unit.
    pub fn make(&mut self, cu: &Cu) -> Result<(), TooDeep> {
        self.leaves(cu);
        self.patterns.clear();
        let Digest { composites, order, outlines, identities, contents, .. } = self;
        let count = outlines.len() as u32;
        order.clear();
        for id in 1..count {
            if outlines[id as usize] == 0 {
                outline(cu, id, outlines, order, MAX_DEPTH)?;
            }
        }
        for &id in composites.iter() {
            identities[id as usize] = mix(hash(cu.record(id), outlines) ^ DEFINED, STEP) | 1;
        }
        // The same types are known from the start, so the same order will do.
        for derived in order.iter() {
            let hash = match derived.target {
                MANY => hash(cu.record(derived.id), identities),
                target => joined(derived.own, identities[target as usize]),
            };
            identities[derived.id as usize] = hash | 1;
        }
        contents.clear();
        contents.resize(count as usize, 0);
        for &id in composites.iter() {
            contents[id as usize] = met_by(cu.record(id), identities) | 1;
        }
        Ok(())
    }

    /// Sets the hashes of the types that are known by their names.
    fn leaves(&mut self, cu: &Cu) {
        let Digest { composites, outlines, identities, .. } = self;
        let count = cu.starts.len() + 1;
        composites.clear();
        for hashes in [&mut *outlines, &mut *identities] {
            hashes.clear();
            hashes.resize(count, 0);
            hashes[0] = VOID;
        }
        for id in 1..count {
            let record = cu.record(id as u32);
            if !is_leaf(record) {
                continue;
            }
            let name = named(record) | 1;
            outlines[id] = name;
            match kind_of(record[1]) {
                kind::STRUCT | kind::UNION => composites.push(id as u32),
                kind::FWD => identities[id] = mix(name ^ FORWARD, STEP) | 1,
                _ => identities[id] = hash(record, &[]) | 1,
            }
        }
    }

    /// The type's outline; for a structure with a name that of the name.
    pub fn outline(&self, id: u32) -> u64 {
        self.outlines[id as usize]
    }

    /// What the type is recognised by.
    #[inline]
    pub fn identity(&self, id: u32) -> u64 {
        if id == INDEX { INDEX_IDENTITY } else { self.identities[id as usize] }
    }

    /// Identity and contents in one, never 0; the identity where there are no contents.
    #[inline]
    pub fn full(&self, id: u32) -> u64 {
        if self.contents[id as usize] == 0 {
            return self.identities[id as usize];
        }
        mix(self.identities[id as usize] ^ self.contents[id as usize].rotate_left(32), STEP) | 1
    }

    /// Adds the order in which twins are met in a structure to its contents.
    pub fn set_pattern(&mut self, id: u32, pattern: u64) {
        if pattern != 0 {
            self.contents[id as usize] ^= pattern;
            self.patterns.push((id, pattern));
        }
    }

    /// The order in which twins are met in a structure; 0 if none are.
    pub fn pattern(&self, id: u32) -> u64 {
        let found = self.patterns.iter().find(|&&(other, _)| other == id);
        found.map_or(0, |&(_, pattern)| pattern)
    }

    /// The structures and unions that have names, and so contents.
    pub fn composites(&self) -> &[u32] {
        &self.composites
    }

    /// Those without names in which twins are met.
    pub fn unnamed_patterns(&self) -> impl Iterator<Item = u32> + '_ {
        let ids = self.patterns.iter().map(|&(id, _)| id);
        ids.filter(|id| self.composites.binary_search(id).is_err())
    }

    /// Hash of the identities of what the members of a named structure refer to.
    #[inline]
    pub fn contents(&self, id: u32) -> u64 {
        self.contents[id as usize]
    }
}

/// Marks a type that is being hashed; no hash is even.
const BUSY: u64 = 2;

/// A type whose hash follows from others.
#[derive(Debug, Clone, Copy)]
struct Derived {
    /// Hash of what the type says itself, if it refers to just one other.
    own: u64,
    id: u32,
    /// That other type, or [`MANY`].
    target: u32,
}

/// The type is no plain reference to one other.
const MANY: u32 = u32::MAX;

/// What a record refers to if it says nothing besides but its name and kind.
#[inline]
fn only_reference(record: &[u32]) -> Option<u32> {
    const PLAIN: u32 = 1 << kind::PTR
        | 1 << kind::TYPEDEF
        | 1 << kind::VOLATILE
        | 1 << kind::CONST
        | 1 << kind::RESTRICT
        | 1 << kind::TYPE_TAG;
    (PLAIN >> kind_of(record[1]) & 1 != 0).then(|| record[2])
}

/// Fills in the outline of a type and of all that it refers to, and notes in which order.
fn outline(
    cu: &Cu,
    id: u32,
    outlines: &mut [u64],
    order: &mut Vec<Derived>,
    depth: u32,
) -> Result<(), TooDeep> {
    let record = cu.record(id);
    if let Some(target) = only_reference(record) {
        let known = known(cu, (id, target), outlines, order, depth)?;
        let own = own(record);
        outlines[id as usize] = joined(own, known) | 1;
        order.push(Derived { own, id, target });
        return Ok(());
    }
    for target in references(record) {
        known(cu, (id, target), outlines, order, depth)?;
    }
    outlines[id as usize] = hash(record, outlines) | 1;
    order.push(Derived { own: 0, id, target: MANY });
    Ok(())
}

/// The outline of what the type `id` refers to, filled in if it is not known yet.
#[inline]
fn known(
    cu: &Cu,
    (id, target): (u32, u32),
    outlines: &mut [u64],
    order: &mut Vec<Derived>,
    depth: u32,
) -> Result<u64, TooDeep> {
    match outlines.get(target as usize) {
        Some(0) if depth == 0 => Err(TooDeep),
        Some(0) => {
            outlines[id as usize] = BUSY;
            outline(cu, target, outlines, order, depth - 1)?;
            Ok(outlines[target as usize])
        }
        Some(&BUSY) => Err(TooDeep),
        Some(&known) => Ok(known),
        // What arrays are indexed by.
        None => Ok(0),
    }
}

/// Hash of what a record says itself in its first words.
#[inline]
fn own(record: &[u32]) -> u64 {
    mix((u64::from(record[0]) | u64::from(record[1]) << 32) ^ SEED, STEP)
}

/// Hash of a record that refers to one type, whose hash is `target`.
#[inline]
fn joined(own: u64, target: u64) -> u64 {
    mix(own ^ target.rotate_left(32) ^ SEED, NAME)
}

/// Hash of a record, with the hashes of what it refers to. The products do not wait for each other.
#[inline]
fn hash(record: &[u32], hashes: &[u64]) -> u64 {
    let pair = |a: u32, b: u32| u64::from(a) | u64::from(b) << 32;
    let mut state = own(record);
    let mut step = NAME;
    // What is said beside a reference, and what it leads to.
    let mut add = |word: u64, target: u64| {
        step = step.wrapping_add(NEXT);
        state = state.wrapping_add(mix(word ^ step, target ^ SEED));
    };
    match kind_of(record[1]) {
        kind::STRUCT | kind::UNION => {
            add(u64::from(record[2]), STEP);
            for member in record[3..].as_chunks::<3>().0 {
                add(pair(member[0], member[2]), hashes[member[1] as usize]);
            }
        }
        // All arrays have the same index.
        kind::ARRAY => add(u64::from(record[5]), hashes[record[3] as usize]),
        kind::FUNC_PROTO => {
            add(0, hashes[record[2] as usize]);
            for param in record[3..].chunks_exact(2) {
                add(u64::from(param[0]), hashes[param[1] as usize]);
            }
        }
        kind::INT | kind::FLOAT | kind::ENUM | kind::ENUM64 | kind::FWD => {
            record[2..].iter().for_each(|&word| add(u64::from(word), STEP));
        }
        _ => add(0, hashes[record[2] as usize]),
    }
    mix(state ^ SEED, STEP)
}

/// Hash of what the members of a structure refer to.
#[inline]
fn met_by(record: &[u32], hashes: &[u64]) -> u64 {
    let (members, _) = record[3..].as_chunks::<3>();
    let (mut state, mut step) = (0u64, NAME);
    for member in members {
        step = step.wrapping_add(NEXT);
        state = state.wrapping_add(mix(step, hashes[member[1] as usize] ^ SEED));
    }
    mix(state ^ SEED, STEP)
}

/// Where a record says what it refers to.
#[inline]
fn reference_positions(record: &[u32]) -> impl Iterator<Item = usize> + use<> {
    let (start, end, step) = match kind_of(record[1]) {
        kind::STRUCT | kind::UNION => (4, record.len(), 3),
        kind::DATASEC => (3, record.len(), 3),
        kind::FUNC_PROTO => (2, record.len(), 2),
        kind::ARRAY => (3, 5, 1),
        kind::INT | kind::FLOAT | kind::ENUM | kind::ENUM64 | kind::FWD => (0, 0, 1),
        _ => (2, 3, 1),
    };
    (start..end).step_by(step)
}

/// All that a record refers to, in the record's order.
#[inline]
pub(crate) fn references(record: &[u32]) -> impl Iterator<Item = u32> {
    reference_positions(record).map(|at| record[at])
}

/// Replaces what a record refers to by what `of` says of it.
#[inline]
pub(crate) fn replace_references(record: &mut [u32], mut of: impl FnMut(u32) -> u32) {
    reference_positions(record).for_each(|at| record[at] = of(record[at]));
}
