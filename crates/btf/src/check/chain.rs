//! Chains of modifiers: at most 32, and no circle.

use super::rule::{Fault, Rule};
use crate::{Btf, TypeId};

/// How many modifiers may follow each other.
const MAX_CHAIN: u32 = 32;

/// Looks at each chain. A chain that meets a type before the one in hand is known to be good from there.
pub(super) fn check(btf: &Btf<'_>) -> Option<Fault> {
    for (id, ty) in btf.types() {
        let (mut at, mut ty) = (id, ty);
        let mut left = MAX_CHAIN;
        while ty.kind.is_modifier() {
            if left == 0 {
                return Some(Fault { id: Some(id), rule: Rule::Depth });
            }
            left -= 1;
            if at < id {
                break;
            }
            at = TypeId(ty.size_or_type);
            match btf.get(at) {
                Some(next) => ty = next,
                None => return Some(Fault { id: Some(id), rule: Rule::NoType(at) }),
            }
        }
    }
    None
}
