//! Two types of one unit that another unit has as one.
//!
//! A compiler may describe a type twice in a unit: arrays, structures without a name, and what refers to
//! these. A walk over graphs that meets both where another unit has one type asks whether the two are
//! written the same; how far it looks is what versions of libbpf differ in.

use crate::Options;
use crate::prim::enums_fit;
use crate::records::{is_composite, kind, kind_of};
use crate::state::shallow_equal;

/// How deep two types of one unit are compared.
const DEPTH: u32 = 16;

/// Types by their numbers.
pub trait Records {
    /// The record of a type other than `void`.
    fn record(&self, id: u32) -> &[u32];
}

/// Whether two types of one unit may stand for one type of another.
pub fn twins_fit(all: &impl Records, a: u32, b: u32, options: &Options) -> bool {
    if options.compare_in_depth {
        return identical(all, a, b, DEPTH);
    }
    identical_arrays(all, a, b) || identical_structures(all, a, b, DEPTH)
}

fn kind_at(all: &impl Records, id: u32) -> u32 {
    if id == 0 { 0 } else { kind_of(all.record(id)) }
}

fn identical_arrays(all: &impl Records, a: u32, b: u32) -> bool {
    kind_at(all, a) == kind::ARRAY
        && kind_at(all, b) == kind::ARRAY
        && all.record(a) == all.record(b)
}

fn identical_structures(all: &impl Records, a: u32, b: u32, depth: u32) -> bool {
    let kind = kind_at(all, a);
    if depth == 0 || !is_composite(kind) || kind_at(all, b) != kind {
        return false;
    }
    let (a, b) = (all.record(a), all.record(b));
    shallow_equal(a, b)
        && a[3..].chunks_exact(3).zip(b[3..].chunks_exact(3)).all(|(a, b)| {
            a[1] == b[1]
                || identical_arrays(all, a[1], b[1])
                || identical_structures(all, a[1], b[1], depth - 1)
        })
}

/// Whether two types are written the same down to a depth, libbpf 1.6 and later.
fn identical(all: &impl Records, mut a: u32, mut b: u32, depth: u32) -> bool {
    // Chains of references are short; one that does not end refers to itself.
    for _ in 0..1024 {
        if a == b {
            return true;
        }
        if depth == 0 {
            return false;
        }
        let kind = kind_at(all, a);
        if kind != kind_at(all, b) {
            return false;
        }
        let (first, second) = (all.record(a), all.record(b));
        let deeper = |a, b| a == b || identical(all, a, b, depth - 1);
        match kind {
            kind::INT | kind::FWD | kind::FLOAT => return first == second,
            kind::ENUM | kind::ENUM64 => return enums_fit(first, second),
            kind::CONST
            | kind::VOLATILE
            | kind::RESTRICT
            | kind::PTR
            | kind::TYPEDEF
            | kind::FUNC
            | kind::TYPE_TAG => {
                if first[..2] != second[..2] {
                    return false;
                }
                (a, b) = (first[2], second[2]);
            }
            // PARITY: libbpf compares the first array with itself here, so the types of the elements
            // do not matter (btf_dedup_identical_types).
            kind::ARRAY => return first[..3] == second[..3] && first[5] == second[5],
            kind::STRUCT | kind::UNION => {
                return shallow_equal(first, second)
                    && first[3..]
                        .chunks_exact(3)
                        .zip(second[3..].chunks_exact(3))
                        .all(|(a, b)| deeper(a[1], b[1]));
            }
            kind::FUNC_PROTO => {
                return first[..2] == second[..2]
                    && deeper(first[2], second[2])
                    && first[3..]
                        .chunks_exact(2)
                        .zip(second[3..].chunks_exact(2))
                        .all(|(a, b)| a[0] == b[0] && deeper(a[1], b[1]));
            }
            _ => return false,
        }
    }
    false
}
