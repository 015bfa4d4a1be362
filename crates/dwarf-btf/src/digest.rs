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
    outlines: Vec<u64>,
    definitions: Vec<u64>,
    identities: Vec<u64>,
    contents: Vec<u64>,
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
        let count = cu.starts.len() + 1;
        for hashes in
            [&mut self.outlines, &mut self.definitions, &mut self.identities, &mut self.contents]
        {
            hashes.clear();
            hashes.resize(count, 0);
        }
        self.outlines[0] = VOID;
        self.identities[0] = VOID;
        for id in 1..count as u32 {
            if self.outlines[id as usize] == 0 {
                outline(cu, id, &mut self.outlines, MAX_DEPTH)?;
            }
        }
        for id in 1..count as u32 {
            let record = cu.record(id);
            if is_named_composite(record) {
                let definition = hash(record, &self.outlines);
                self.definitions[id as usize] = definition;
                self.identities[id as usize] = mix(definition ^ DEFINED, STEP) | 1;
            } else if kind_of(record[1]) == kind::FWD {
                self.identities[id as usize] = mix(self.outlines[id as usize] ^ FORWARD, STEP) | 1;
            } else if is_leaf(record) {
                self.identities[id as usize] = hash(record, &self.outlines) | 1;
            }
        }
        for id in 1..count as u32 {
            if self.identities[id as usize] == 0 {
                outline(cu, id, &mut self.identities, MAX_DEPTH)?;
            }
        }
        for id in 1..count as u32 {
            let record = cu.record(id);
            if is_named_composite(record) {
                self.contents[id as usize] = hash(record, &self.identities) | 1;
            }
        }
        Ok(())
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

    /// Hash of a named structure with the identities of what its members refer to.
    pub fn contents(&self, id: u32) -> u64 {
        self.contents[id as usize]
    }
}

/// Fills in the hash of a type and of all that it refers to, if they are not there.
fn outline(cu: &Cu, id: u32, hashes: &mut [u64], depth: u32) -> Result<(), TooDeep> {
    const BUSY: u64 = 2;
    if depth == 0 {
        return Err(TooDeep);
    }
    let record = cu.record(id);
    if is_leaf(record) {
        hashes[id as usize] = named(record) | 1;
        return Ok(());
    }
    hashes[id as usize] = BUSY;
    let mut result = Ok(());
    each_reference(record, |target| {
        if target == INDEX || result.is_err() {
            return;
        }
        match hashes[target as usize] {
            0 => result = outline(cu, target, hashes, depth - 1),
            BUSY => result = Err(TooDeep),
            _ => {}
        }
    });
    result?;
    hashes[id as usize] = hash(record, hashes) | 1;
    Ok(())
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

/// Hash of a record, with the hashes of what it refers to.
#[inline]
fn hash(record: &[u32], hashes: &[u64]) -> u64 {
    let of = |id: u32| if id == INDEX { INDEX_IDENTITY } else { hashes[id as usize] };
    let pair = |a: u32, b: u32| u64::from(a) | u64::from(b) << 32;
    let mut state = mix(pair(record[0], record[1]) ^ SEED, STEP);
    match kind_of(record[1]) {
        kind::STRUCT | kind::UNION => {
            state = mix(state ^ u64::from(record[2]), STEP);
            for member in record[3..].chunks_exact(3) {
                // Two products that do not wait for each other.
                let name = mix(pair(member[0], member[2]) ^ NAME, STEP);
                state = mix(state ^ name, of(member[1]) ^ SEED);
            }
        }
        kind::ARRAY => {
            state = mix(state ^ u64::from(record[5]), of(record[3]) ^ SEED);
        }
        kind::FUNC_PROTO => {
            state = mix(state, of(record[2]) ^ SEED);
            for param in record[3..].chunks_exact(2) {
                state = mix(state ^ u64::from(param[0]) ^ STEP, of(param[1]) ^ SEED);
            }
        }
        kind::INT | kind::FLOAT | kind::ENUM | kind::ENUM64 | kind::FWD => {
            for &word in &record[2..] {
                state = mix(state ^ u64::from(word) ^ NAME, STEP);
            }
        }
        _ => state = mix(state, of(record[2]) ^ SEED),
    }
    state
}
