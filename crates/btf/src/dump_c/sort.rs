//! The order in which bpftool asks for types: enumerations, integers, structures, then what refers to
//! them, each by name; so that two headers of nearly the same kernel differ little.

use super::{DumpError, MAX_DEPTH};
use crate::{Btf, Kind, Type, TypeId};

/// The rank of what is only reached through others.
const LAST: u32 = 10;

/// What a type is sorted by; the id last, so that no two are equal.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'d> {
    rank: u32,
    sort_name: &'d [u8],
    own_name: &'d [u8],
    hash: u64,
    id: TypeId,
}

/// All types in the order in which they are to be written.
pub(super) fn wanted(btf: &Btf<'_>, unsorted: bool) -> Result<Vec<TypeId>, DumpError> {
    let ids = (0..=btf.last_id().0).map(TypeId);
    if unsorted {
        return Ok(ids.skip(1).collect());
    }
    let keys: Result<Vec<Key<'_>>, DumpError> = ids.map(|id| key(btf, id)).collect();
    let mut keys = keys?;
    keys.sort_unstable();
    // PARITY: bpftool sorts `void` with the others but begins at the second place, so the type that
    // comes first is only written where others need it (random_types_are_bpftools).
    Ok(keys.iter().skip(1).map(|key| key.id).collect())
}

fn key<'d>(btf: &Btf<'d>, id: TypeId) -> Result<Key<'d>, DumpError> {
    let ty = btf.ty(id)?;
    Ok(Key {
        rank: rank(btf, id)?,
        sort_name: sort_name(btf, id)?,
        own_name: btf.name(ty.name_off)?,
        hash: hash(btf, id, true, 0)?,
        id,
    })
}

/// What `ty` stands for: the next type of a chain of pointers, arrays, modifiers and tags.
fn next(ty: &Type<'_>) -> Option<TypeId> {
    match ty.kind {
        Kind::Ptr | Kind::DeclTag => ty.type_id(),
        Kind::Array => ty.array().map(|array| array.elem),
        kind if kind.is_modifier() => ty.type_id(),
        _ => None,
    }
}

/// The kind at the end of the chain, as long as something on the way has a name.
fn rank(btf: &Btf<'_>, id: TypeId) -> Result<u32, DumpError> {
    let (mut at, mut named) = (id, false);
    for _ in 0..=MAX_DEPTH {
        let ty = btf.ty(at)?;
        named |= ty.name_off.0 != 0;
        let rank = match ty.kind {
            Kind::Enum | Kind::Enum64 => u32::from(named),
            Kind::Int | Kind::Float => 2,
            _ if !named => LAST,
            Kind::Struct | Kind::Union => 3,
            Kind::FuncProto => 4,
            _ => match next(&ty) {
                Some(id) => {
                    at = id;
                    continue;
                }
                None => LAST,
            },
        };
        return Ok(rank);
    }
    Err(DumpError::Depth(id))
}

/// The name at the end of the chain; of an anonymous enumeration that stands alone, its first value's.
fn sort_name<'d>(btf: &Btf<'d>, id: TypeId) -> Result<&'d [u8], DumpError> {
    let mut at = id;
    for step in 0..=MAX_DEPTH {
        let ty = btf.ty(at)?;
        if let Some(id) = next(&ty) {
            at = id;
            continue;
        }
        let alone = step == 0 && ty.name_off.0 == 0;
        let first = ty.values().next().filter(|_| alone);
        return Ok(btf.name(first.map_or(ty.name_off, |value| value.name_off))?);
    }
    Err(DumpError::Depth(id))
}

/// Adds to a hash as bpftool does.
fn mix(hash: u64, value: u64) -> u64 {
    hash.wrapping_mul(31).wrapping_add(value)
}

fn mix_name(hash: u64, btf: &Btf<'_>, off: crate::StrOff) -> Result<u64, DumpError> {
    if off.0 == 0 {
        return Ok(hash);
    }
    // The characters of the C tool are signed.
    let name = btf.name(off)?.iter().fold(0, |hash, &byte| mix(hash, byte as i8 as u64));
    Ok(mix(hash, name))
}

/// Tells types of the same name apart by what they hold.
fn hash(btf: &Btf<'_>, id: TypeId, members: bool, depth: u32) -> Result<u64, DumpError> {
    if depth > MAX_DEPTH {
        return Err(DumpError::Depth(id));
    }
    let ty = btf.ty(id)?;
    let mut sum = mix_name(0, btf, ty.name_off)?;
    for value in ty.values() {
        sum = mix_name(sum, btf, value.name_off)?;
    }
    if members {
        for member in ty.members() {
            sum = mix_name(sum, btf, member.name_off)?;
            sum = mix(sum, hash(btf, member.ty, false, depth + 1)?);
        }
    }
    if let Some(array) = ty.array() {
        sum = mix(sum, array.nelems.into());
    }
    match next(&ty) {
        Some(next) => Ok(mix(sum, hash(btf, next, members, depth + 1)?)),
        None => Ok(sum),
    }
}
