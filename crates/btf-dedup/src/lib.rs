//! Deduplication of BTF, with libbpf's result to the byte.
//!
//! The problem: every compile unit of a program describes the types that it uses, so a kernel's types
//! are described thousands of times, more or less completely: what is a full structure in one unit is a
//! forward declaration in another. Types form graphs with cycles, so two structures are the same only if
//! all that they refer to is the same, which can be decided only by walking both graphs side by side.
//!
//! The passes, in this order, each over all types by their number:
//! 1. `prim`: integers, floats, enumerations and forward declarations, by their contents.
//! 2. `graph`: structures and unions (and typedefs, in libbpf since 1.6), by walking graphs.
//!    A walk that succeeds also says which forward declarations stand for which structures.
//! 3. Forward declarations whose name only one structure has.
//! 4. `refs`: everything else, by contents, what is referred to first.
//! 5. `compact`: the types that stand for themselves are kept, in their order.
//!
//! Which of several equal types is kept is always the one that was met first; but where graphs are
//! ambiguous (a forward declaration fits two structures of one name) the first candidate that fits is
//! taken, and candidates are looked at in the order of libbpf's hash chains. `table` keeps that order.
//!
//! Cost: linear in the size of the input, but for ambiguous names. Nothing recurses, so the depth of a
//! graph costs memory only. Deterministic: one thread, and no order is taken from a hash.
//!
//! Source of facts: btf.c and hashmap.c of libbpf 1.1.2, 1.7.0 and 1.8 (`btf__dedup` and its essays).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod blob;
mod compact;
mod graph;
mod prim;
mod records;
mod refs;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod twins;

pub use blob::{Merged, merge, strings, types};
pub use records::{Types, kind, name_positions, reference_positions};
pub use twins::{Records, twins_fit};

use state::State;

/// Where versions of libbpf differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Typedefs are compared as structures are, by their graphs, and not by contents (libbpf 1.6).
    pub typedefs_by_graph: bool,
    /// Two types of one unit that meet the same type are compared in depth, where older versions only
    /// compare arrays and structures (libbpf 1.6).
    pub compare_in_depth: bool,
    /// The typedefs of a base are never found: they are hashed with what they refer to, but looked for
    /// without (libbpf 1.6 and 1.7, `btf_dedup_prep`). It matters only with `typedefs_by_graph`.
    pub base_typedefs_unseen: bool,
    /// Every type gets the same hash: for tests that collisions do not matter.
    pub collide: bool,
}

impl Options {
    /// As libbpf 1.1 (Debian 12).
    pub fn libbpf_1_1() -> Self {
        Options::default()
    }

    /// As libbpf 1.7.
    pub fn libbpf_1_7() -> Self {
        Options { base_typedefs_unseen: true, ..Options::libbpf_1_8() }
    }

    /// As libbpf 1.8, which is in the source of Linux 7.3.
    pub fn libbpf_1_8() -> Self {
        Options { typedefs_by_graph: true, compare_in_depth: true, ..Options::default() }
    }
}

/// Why types could not be deduplicated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A type refers to itself through nothing but references.
    #[error("type {0} refers to itself without a structure in between")]
    Loop(u32),
    /// A type refers to a number that no type has.
    #[error("type {id} refers to type {target}, which does not exist")]
    Dangling {
        /// The type that refers.
        id: u32,
        /// What it refers to.
        target: u32,
    },
    /// A kind that is not known, or that may not be referred to where it is.
    #[error("type {id} is of the unexpected kind {kind}")]
    Kind {
        /// The type.
        id: u32,
        /// Its kind.
        kind: u32,
    },
    /// A blob that is not sound.
    #[error("offset {offset:#x}: {cause}")]
    Blob {
        /// Offset in bytes into the blob.
        offset: usize,
        /// What is wrong.
        cause: &'static str,
    },
}

/// What became of the types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deduplicated {
    /// The types that are left, references being their new numbers.
    pub types: Types,
    /// The new number of each type by its old one, those of the base included; 0 is `void`.
    pub map: Vec<u32>,
}

/// Deduplicates `types`, whose numbers continue those of `base`.
///
/// Names are only compared, so any numbers do that are equal where the names are, 0 for none, in the base
/// as in the types.
///
/// # Errors
/// A reference to a type that does not exist, or a cycle without a structure.
pub fn dedup(base: &Types, types: Types, options: &Options) -> Result<Deduplicated, Error> {
    base.check(&Types::default())?;
    types.check(base)?;
    let mut state = State::new(base, types, *options);
    prim::run(&mut state);
    graph::run(&mut state)?;
    graph::resolve_forwards(&mut state);
    refs::run(&mut state)?;
    Ok(compact::run(state))
}
