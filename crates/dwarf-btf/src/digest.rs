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
    /// Everything that a type says but what it refers to.
    heads: Vec<u64>,
    /// What the types refer to, one type behind the other, and where each begins. Arrays' indices are a
    /// number behind the last type.
    references: Vec<u32>,
    starts: Vec<u32>,
    /// The structures and unions that have names.
    composites: Vec<u32>,
    /// The types whose hashes follow from others, behind those that they refer to.
    order: Vec<u32>,
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
        self.heads(cu);
        self.patterns.clear();
        let Digest {
            heads,
            references,
            starts,
            composites,
            order,
            outlines,
            identities,
            contents,
            ..
        } = self;
        let graph = Graph { heads, references, starts };
        let count = graph.heads.len() as u32;
        order.clear();
        graph.all(outlines, order)?;
        for &id in composites.iter() {
            identities[id as usize] = mix(graph.hash(id, outlines) ^ DEFINED, STEP) | 1;
        }
        // The same types are known from the start, so the same order will do.
        for &id in order.iter() {
            identities[id as usize] = graph.hash(id, identities) | 1;
        }
        contents.clear();
        contents.resize(count as usize, 0);
        for &id in composites.iter() {
            contents[id as usize] = graph.hash(id, identities) | 1;
        }
        Ok(())
    }

    /// Goes through the records, and sets the hashes that follow from a record alone.
    fn heads(&mut self, cu: &Cu) {
        let Digest { heads, references, starts, composites, outlines, identities, .. } = self;
        let count = cu.starts.len() + 1;
        heads.clear();
        heads.push(0);
        references.clear();
        starts.clear();
        starts.extend([0, 0]);
        composites.clear();
        for hashes in [&mut *outlines, &mut *identities] {
            hashes.clear();
            hashes.resize(count + 1, 0);
            hashes[0] = VOID;
            hashes[count] = INDEX_IDENTITY;
        }
        for id in 1..count {
            let record = cu.record(id as u32);
            let head = head(record);
            heads.push(head);
            // Most references are those of structures, whose members are known to be so many.
            if matches!(kind_of(record[1]), kind::STRUCT | kind::UNION) {
                references.extend(record[3..].chunks_exact(3).map(|member| member[1]));
            } else {
                let index = count as u32;
                each_reference(record, |target| {
                    references.push(if target == INDEX { index } else { target });
                });
            }
            starts.push(references.len() as u32);
            if !is_leaf(record) {
                continue;
            }
            let name = named(record) | 1;
            outlines[id] = name;
            match kind_of(record[1]) {
                kind::STRUCT | kind::UNION => composites.push(id as u32),
                kind::FWD => identities[id] = mix(name ^ FORWARD, STEP) | 1,
                _ => identities[id] = head | 1,
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

    /// What the type refers to, in the record's order; [`INDEX`] is a number behind the last type.
    pub fn references(&self, id: u32) -> &[u32] {
        let (start, end) = (self.starts[id as usize], self.starts[id as usize + 1]);
        &self.references[start as usize..end as usize]
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

    /// Hash of a named structure with the identities of what its members refer to.
    #[inline]
    pub fn contents(&self, id: u32) -> u64 {
        self.contents[id as usize]
    }
}

/// A unit's types as they refer to each other.
struct Graph<'d> {
    heads: &'d [u64],
    references: &'d [u32],
    starts: &'d [u32],
}

impl Graph<'_> {
    /// Marks a type that is being hashed; no hash is even.
    const BUSY: u64 = 2;

    fn references(&self, id: u32) -> &[u32] {
        let (start, end) = (self.starts[id as usize], self.starts[id as usize + 1]);
        &self.references[start as usize..end as usize]
    }

    /// Fills in the hashes that are not there, and notes in which order.
    fn all(&self, hashes: &mut [u64], order: &mut Vec<u32>) -> Result<(), TooDeep> {
        for id in 1..self.heads.len() as u32 {
            if hashes[id as usize] == 0 {
                self.one(id, hashes, order, MAX_DEPTH)?;
            }
        }
        Ok(())
    }

    /// Fills in the hash of a type and of all that it refers to.
    fn one(
        &self,
        id: u32,
        hashes: &mut [u64],
        order: &mut Vec<u32>,
        depth: u32,
    ) -> Result<(), TooDeep> {
        for &target in self.references(id) {
            match hashes[target as usize] {
                0 if depth == 0 => return Err(TooDeep),
                0 => {
                    hashes[id as usize] = Self::BUSY;
                    self.one(target, hashes, order, depth - 1)?;
                }
                Self::BUSY => return Err(TooDeep),
                _ => {}
            }
        }
        hashes[id as usize] = self.hash(id, hashes) | 1;
        order.push(id);
        Ok(())
    }

    /// Hash of a type, with the hashes of what it refers to. The products do not wait for each other.
    #[inline]
    fn hash(&self, id: u32, hashes: &[u64]) -> u64 {
        let mut state = self.heads[id as usize];
        let mut step = STEP;
        for &target in self.references(id) {
            step = step.wrapping_add(NEXT);
            state = state.wrapping_add(mix(hashes[target as usize] ^ SEED, step));
        }
        mix(state ^ SEED, STEP)
    }
}

/// Calls `each` with all references of a record in their order.
#[inline]
pub(crate) fn each_reference(record: &[u32], mut each: impl FnMut(u32)) {
    match kind_of(record[1]) {
        kind::STRUCT | kind::UNION => {
            record[3..].chunks_exact(3).for_each(|member| each(member[1]));
        }
        kind::ARRAY => {
            each(record[3]);
            each(record[4]);
        }
        kind::FUNC_PROTO => {
            each(record[2]);
            record[3..].chunks_exact(2).for_each(|param| each(param[1]));
        }
        kind::INT | kind::FLOAT | kind::ENUM | kind::ENUM64 | kind::FWD => {}
        _ => each(record[2]),
    }
}

/// Hash of all that a record says but what it refers to.
#[inline]
fn head(record: &[u32]) -> u64 {
    let pair = |a: u32, b: u32| u64::from(a) | u64::from(b) << 32;
    let mut state = mix(pair(record[0], record[1]) ^ SEED, STEP);
    let mut step = STEP;
    let mut add = |word: u64| {
        step = step.wrapping_add(NEXT);
        state = state.wrapping_add(mix(word ^ NAME, step));
    };
    match kind_of(record[1]) {
        kind::STRUCT | kind::UNION => {
            add(u64::from(record[2]));
            record[3..].chunks_exact(3).for_each(|member| add(pair(member[0], member[2])));
        }
        kind::ARRAY => add(u64::from(record[5])),
        kind::FUNC_PROTO => {
            record[3..].chunks_exact(2).for_each(|param| add(u64::from(param[0])));
        }
        kind::INT | kind::FLOAT | kind::ENUM | kind::ENUM64 | kind::FWD => {
            record[2..].iter().for_each(|&word| add(u64::from(word)));
        }
        _ => {}
    }
    mix(state, STEP)
}
