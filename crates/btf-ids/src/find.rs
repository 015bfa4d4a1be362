//! Which id each wanted name has: one pass over the types.

use std::collections::HashMap;

use btf::{Btf, Kind, Type, TypeId};

use crate::collect::{Target, Wanted};
use crate::warning::{Log, Namesake, Warning};
use crate::{Error, collect};

impl Target {
    fn of(kind: Kind) -> Option<Target> {
        match kind {
            Kind::Struct => Some(Target::Struct),
            Kind::Union => Some(Target::Union),
            Kind::Typedef => Some(Target::Typedef),
            Kind::Func => Some(Target::Func),
            _ => None,
        }
    }
}

/// All types by their ids, the base's first.
fn all<'a, 'data>(
    types: &'a Btf<'data>,
) -> impl Iterator<Item = (TypeId, Type<'data>)> + use<'a, 'data> {
    types.base().into_iter().flat_map(|base| base.types()).chain(types.types())
}

/// Gives every wanted name the lowest id of its kind and name.
///
/// PARITY: a kind is no longer looked at once as many names were found as it has symbols, so that a
/// second type of a wanted name is told of only while one is missing, or while symbols share a name
/// (`a_second_type_is_told_of_only_while_a_name_is_missing`).
pub(crate) fn find(wanted: &mut Wanted<'_>, types: &Btf<'_>, log: &mut Log) -> Result<(), Error> {
    let mut missing = Target::ALL.map(|target| wanted.group(target).symbols);
    for (id, ty) in all(types) {
        let Some(target) = Target::of(ty.kind).filter(|&t| missing[t as usize] > 0) else {
            continue;
        };
        let name = types.name(ty.name_off).map_err(|_| Error::TypeName(id))?;
        let group = wanted.group_mut(target);
        let Some(&index) = group.by_name.get(name) else { continue };
        let entry = &mut group.entries[index];
        match entry.id {
            0 => {
                entry.id = id.0;
                missing[target as usize] -= 1;
            }
            first => log.warn(Warning::MultipleIds {
                name: collect::lossy(name),
                first: TypeId(first),
                other: id,
            }),
        }
    }
    Ok(())
}

/// By name: the first type of each kind that has it.
pub(crate) type Namesakes<'n> = HashMap<&'n [u8], Vec<Namesake>>;

/// The namesakes of every name that [`find`] did not find.
///
/// Costs another pass over the types if there is such a name.
pub(crate) fn namesakes<'n>(wanted: &Wanted<'n>, types: &Btf<'_>) -> Namesakes<'n> {
    let entries = Target::ALL.into_iter().flat_map(|target| &wanted.group(target).entries);
    let unresolved = entries.filter(|entry| entry.id == 0);
    let mut found: Namesakes<'_> = unresolved.map(|entry| (entry.name, Vec::new())).collect();
    if found.is_empty() {
        return found;
    }
    for (id, ty) in all(types) {
        let Ok(name) = types.name(ty.name_off) else { continue };
        let Some(list) = found.get_mut(name) else { continue };
        if list.iter().all(|namesake| namesake.kind != ty.kind) {
            list.push(Namesake { kind: ty.kind, id });
        }
    }
    found
}
