//! What a blob spends its bytes on.

use std::collections::BTreeMap;

use crate::{Btf, Kind, TypeId};

/// Types of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindStat {
    /// How many.
    pub types: u64,
    /// Bytes of their records in the type section.
    pub bytes: u64,
    /// Their members, values, parameters or variables.
    pub entries: u64,
}

/// The sizes of a blob; all in bytes, without the base's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The whole blob.
    pub total: u64,
    /// The type section.
    pub types: u64,
    /// The string section.
    pub strings: u64,
    /// The layout section.
    pub layout: u64,
    /// Strings in the string section, the empty one included.
    pub string_count: u64,
    /// By kind, in the order of the kinds' numbers; kinds without types are left out.
    pub kinds: Vec<(Kind, KindStat)>,
    /// The types with the largest records, the largest first, then by id.
    pub largest: Vec<(TypeId, u64)>,
}

/// Counts a blob; `largest` is how many of the largest types are wanted.
pub fn stat(btf: &Btf<'_>, largest: usize) -> Stat {
    let mut kinds: BTreeMap<u8, (Kind, KindStat)> = BTreeMap::new();
    let mut sizes: Vec<(TypeId, u64)> = Vec::new();
    for (id, ty) in btf.types() {
        let bytes = ty.record_len() as u64;
        let (_, stat) = kinds.entry(ty.kind.number()).or_insert((ty.kind, KindStat::default()));
        stat.types += 1;
        stat.bytes += bytes;
        let has_entries = ty.kind.layout().is_some_and(|layout| layout.elem_size > 0);
        stat.entries += if has_entries { ty.vlen.into() } else { 0 };
        if largest > 0 {
            sizes.push((id, bytes));
        }
    }
    sizes.sort_by_key(|&(id, bytes)| (std::cmp::Reverse(bytes), id));
    sizes.truncate(largest);
    Stat {
        total: btf.data().len() as u64,
        types: btf.type_section().len() as u64,
        strings: btf.string_section().len() as u64,
        layout: btf.header().layout_len.into(),
        string_count: btf.string_section().iter().filter(|&&byte| byte == 0).count() as u64,
        kinds: kinds.into_values().collect(),
        largest: sizes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endianness;
    use crate::testing::every_kind;

    #[test]
    fn kinds_and_their_bytes_add_up() {
        let blob = every_kind(Endianness::Big).finish();
        let btf = Btf::parse(&blob).unwrap();
        let stat = stat(&btf, 3);
        let (types, bytes) = stat
            .kinds
            .iter()
            .fold((0, 0), |(types, bytes), (_, kind)| (types + kind.types, bytes + kind.bytes));
        assert_eq!((types, bytes), (btf.len() as u64, stat.types));
        assert_eq!(stat.total, 24 + stat.types + stat.strings);
        let structs = KindStat { types: 2, bytes: 12 + 24 + 12 + 12, entries: 3 };
        assert_eq!(stat.kinds[3], (Kind::Struct, structs));
        let ids: Vec<u32> = stat.largest.iter().map(|(id, _)| id.0).collect();
        assert_eq!(ids, [5, 6, 13]);
    }
}
