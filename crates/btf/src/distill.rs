//! A base for split BTF that stays when the kernel is built again: `.BTF.base` of a module.
//!
//! A module's types go on from the kernel's by id, so they fit one build of one kernel only. A distilled
//! base holds just what they refer to, and of that just the name and size: integers, and structures, unions
//! and enumerations without their members. Whoever loads the module finds those in the kernel at hand by
//! name. What has no name (pointers, arrays, prototypes, anonymous structures) moves into the split BTF.
//!
//! The same bytes as libbpf's `btf__distill_base` (tools/lib/bpf/btf.c of Linux 7.3).
//!
//! Cost: linear in the types of both.

use crate::model::{Composite, Def, Enum};
use crate::{Btf, Builder, Cause, Error, HeaderForm, Kind, TypeId, WriteError};

/// Split BTF on a base of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distilled {
    /// The base, for `.BTF.base`.
    pub base: Vec<u8>,
    /// What goes on from it, for `.BTF`.
    pub split: Vec<u8>,
}

/// Why a base cannot be distilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DistillError {
    /// The blob has no base.
    #[error("this is not split BTF: there is no base to distil")]
    NoBase,
    /// A reference to something that is no type of a value, such as a function.
    #[error("type {0} ({1}) of the base cannot be referred to from split BTF")]
    Reference(TypeId, Kind),
    /// An enumeration that is not 1, 2, 4 or 8 bytes wide.
    #[error("type {0} of the base is an enumeration of {1} bytes")]
    EnumSize(TypeId, u32),
    /// The blob is malformed.
    #[error(transparent)]
    Btf(#[from] Error),
    /// The result does not fit into BTF.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Distils the base of `btf`; both blobs get the header `form`.
///
/// # Errors
/// No base, references that cannot be, malformed types.
pub fn distill(btf: &Btf<'_>, form: HeaderForm) -> Result<Distilled, DistillError> {
    if btf.base().is_none() {
        return Err(DistillError::NoBase);
    }
    let needed = needed(btf)?;
    let mut ids: Vec<Option<TypeId>> = vec![None; needed.len()];
    let mut base = Builder::new(btf.endian()).with_header(form);
    let mut moved = Vec::new();
    for (id, _) in old_base_ids(btf).zip(&needed).filter(|(_, needed)| **needed) {
        let def = read(btf, id)?;
        match outline(id, &def, is_named(btf, id)?)? {
            Some(outline) => ids[id.0 as usize] = Some(base.add(&outline)?),
            None => moved.push((id, def)),
        }
    }
    let base = base.finish()?;
    let new_base = Btf::parse(&base)?;
    let mut split = Builder::split(&new_base).with_header(form);
    // The split types come first, as they stood; what moved out of the base follows them.
    let first = split.next_id().0;
    let behind = first + btf.len() as u32;
    for ((id, _), new) in moved.iter().zip(behind..) {
        ids[id.0 as usize] = Some(TypeId(new));
    }
    let shift = btf.first_id().0 - first;
    let renumber = |id: &mut TypeId| match ids.get(id.0 as usize) {
        Some(new) => *id = new.unwrap_or(*id),
        None => id.0 -= shift,
    };
    for (id, _) in btf.types() {
        let mut def = read(btf, id)?;
        def.refs_mut(renumber);
        split.add(&def)?;
    }
    for (_, mut def) in moved {
        def.refs_mut(renumber);
        split.add(&def)?;
    }
    let split = split.finish()?;
    Ok(Distilled { base, split })
}

/// The ids of `void` and of the base.
fn old_base_ids(btf: &Btf<'_>) -> impl Iterator<Item = TypeId> + use<> {
    (0..btf.first_id().0).map(TypeId)
}

fn read<'d>(btf: &Btf<'d>, id: TypeId) -> Result<Def<'d>, DistillError> {
    let ty = btf.ty(id)?;
    let unknown = Cause::UnknownKind { id, kind: ty.kind.number() };
    Def::read(btf, &ty)?.ok_or(DistillError::Btf(Error::at(0, unknown)))
}

/// Which types of the base are needed: those that the split types refer to, and what these need. Of a
/// structure with a name, nothing is.
fn needed(btf: &Btf<'_>) -> Result<Vec<bool>, DistillError> {
    let mut needed = vec![false; btf.first_id().0 as usize];
    let mut open: Vec<TypeId> = btf.types().map(|(id, _)| id).collect();
    while let Some(id) = open.pop() {
        for target in read(btf, id)?.refs() {
            // What does not exist is an error, also where nothing is done with it.
            let ty = btf.ty(target)?;
            let Some(slot) = needed.get_mut(target.0 as usize) else { continue };
            if target == TypeId::VOID || *slot {
                continue;
            }
            *slot = true;
            match ty.kind {
                Kind::Struct | Kind::Union if is_named(btf, target)? => {}
                Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag => {
                    return Err(DistillError::Reference(target, ty.kind));
                }
                _ => open.push(target),
            }
        }
    }
    Ok(needed)
}

/// Whether a type has a name, if only an empty one that is not the first string.
fn is_named(btf: &Btf<'_>, id: TypeId) -> Result<bool, Error> {
    Ok(btf.ty(id)?.name_off.0 != 0)
}

/// What the distilled base has of a type; none where the type moves into the split BTF.
fn outline<'d>(id: TypeId, def: &Def<'d>, named: bool) -> Result<Option<Def<'d>>, DistillError> {
    Ok(match def {
        Def::Int(..) | Def::Float(..) | Def::Fwd(..) => Some(def.clone()),
        Def::Composite(composite) if named => {
            let Composite { is_union, name, size, .. } = *composite;
            let (kflag, members) = (false, Vec::new());
            Some(Def::Composite(Composite { is_union, name, size, kflag, members }))
        }
        Def::Enum(values) if named => {
            let (name, size) = (values.name, values.size);
            if !matches!(size, 1 | 2 | 4 | 8) {
                return Err(DistillError::EnumSize(id, size));
            }
            let (wide, signed, values) = (false, false, Vec::new());
            Some(Def::Enum(Enum { wide, name, size, signed, values }))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endianness;
    use crate::testing::every_kind;

    #[test]
    fn the_base_keeps_names_and_sizes_and_the_rest_moves() {
        for endian in [Endianness::Little, Endianness::Big] {
            let base_blob = every_kind(endian).finish();
            let base = Btf::parse(&base_blob).unwrap();
            let mut builder = Builder::split(&base);
            // A pointer to `struct list`, a function of it, and a typedef of the module's own.
            let ptr = builder.add(&Def::Ptr(TypeId(11))).unwrap();
            builder.add(&Def::FuncProto(TypeId(3), vec![(b"mine", ptr)])).unwrap();
            builder.add(&Def::Typedef(b"own", TypeId(7))).unwrap();
            let blob = builder.finish().unwrap();
            let split = Btf::parse_split(&blob, &base).unwrap();
            let distilled = distill(&split, HeaderForm::Short).unwrap();
            let base = Btf::parse(&distilled.base).unwrap();
            let split = Btf::parse_split(&distilled.split, &base).unwrap();
            let kinds = |btf: &Btf<'_>| btf.types().map(|(_, ty)| ty.kind).collect::<Vec<_>>();
            assert_eq!(kinds(&base), [Kind::Int, Kind::Struct, Kind::Enum]);
            assert!(base.types().all(|(_, ty)| ty.vlen == 0));
            // 4 to 6 are the module's; 7: ptr to list, 8: volatile int, 9: const of it.
            use Kind::*;
            assert_eq!(kinds(&split), [Ptr, FuncProto, Typedef, Ptr, Volatile, Const]);
            let target = |id| split.ty(TypeId(id)).unwrap().size_or_type;
            assert_eq!([4, 5, 6, 7, 8, 9].map(target), [9, 7, 3, 2, 1, 8]);
        }
    }

    #[test]
    fn what_cannot_be_distilled_is_refused() {
        let blob = every_kind(Endianness::Little).finish();
        let base = Btf::parse(&blob).unwrap();
        assert_eq!(distill(&base, HeaderForm::Short), Err(DistillError::NoBase));
        let of = |target| {
            let mut builder = Builder::split(&base);
            builder.add(&Def::Ptr(TypeId(target))).unwrap();
            let blob = builder.finish().unwrap();
            distill(&Btf::parse_split(&blob, &base).unwrap(), HeaderForm::Short)
        };
        assert_eq!(of(14), Err(DistillError::Reference(TypeId(14), Kind::Func)));
        assert!(matches!(of(99), Err(DistillError::Btf(_))));
        assert!(of(0).is_ok());
    }
}
