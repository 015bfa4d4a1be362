//! Types as records of words.

use crate::Error;

/// BTF kinds, as `enum` values of include/uapi/linux/btf.h.
#[allow(missing_docs)]
pub mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// Types one behind the other: the words of `struct btf_type` and of what its kind adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Types {
    /// The records.
    pub words: Vec<u32>,
    /// Where each record begins in `words`, in words.
    pub starts: Vec<u32>,
}

/// The name of a record, a number that stands for it.
pub(crate) fn name(record: &[u32]) -> u32 {
    record[0]
}

pub(crate) fn kind_of(record: &[u32]) -> u32 {
    record[1] >> 24 & 0x7f
}

pub(crate) fn vlen(record: &[u32]) -> usize {
    (record[1] & 0xff_ffff) as usize
}

pub(crate) fn kflag(record: &[u32]) -> bool {
    record[1] >> 31 != 0
}

pub(crate) fn is_composite(kind: u32) -> bool {
    kind == kind::STRUCT || kind == kind::UNION
}

pub(crate) fn is_enum(kind: u32) -> bool {
    kind == kind::ENUM || kind == kind::ENUM64
}

impl Types {
    /// How many types there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Adds a record.
    pub fn push(&mut self, record: &[u32]) {
        self.starts.push(self.words.len() as u32);
        self.words.extend_from_slice(record);
    }

    /// The record of that index, counted from 0.
    pub fn record(&self, index: usize) -> &[u32] {
        let (start, end) = self.range(index);
        &self.words[start..end]
    }

    pub(crate) fn range(&self, index: usize) -> (usize, usize) {
        let start = self.starts[index] as usize;
        let end = self.starts.get(index + 1).map_or(self.words.len(), |&end| end as usize);
        (start, end)
    }

    /// Every record has the words of its kind, and refers to types that exist, those of `base` included.
    ///
    /// # Errors
    /// The first record of which that is not so.
    pub fn check(&self, base: &Types) -> Result<(), Error> {
        let count = (base.len() + self.len()) as u32 + 1;
        for index in 0..self.len() {
            let id = (base.len() + index) as u32 + 1;
            let record = self.record(index);
            let kind = if record.len() < 3 { 0 } else { kind_of(record) };
            if record_len(record).is_none_or(|len| len != record.len()) {
                return Err(Error::Kind { id, kind });
            }
            let mut bad = None;
            each_reference(record, &mut |target| {
                if target >= count {
                    bad = bad.or(Some(target));
                }
            });
            if let Some(target) = bad {
                return Err(Error::Dangling { id, target });
            }
        }
        Ok(())
    }
}

/// Length of the record that begins there, in words; `None` for a kind that is not known.
pub(crate) fn record_len(record: &[u32]) -> Option<usize> {
    let info = *record.get(1)?;
    let (kind, vlen) = (info >> 24 & 0x7f, (info & 0xff_ffff) as usize);
    let extra = match kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 1,
        kind::ARRAY => 3,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 3 * vlen,
        kind::ENUM | kind::FUNC_PROTO => 2 * vlen,
        kind::PTR..=kind::TYPE_TAG => 0,
        _ => return None,
    };
    Some(3 + extra)
}

/// Positions in a record that hold numbers of types, in their order.
pub fn reference_positions(record: &[u32]) -> impl Iterator<Item = usize> + use<> {
    let vlen = vlen(record);
    // What the third word is, then the first position behind it, the distance, and how many.
    let (third, first, step, count) = match kind_of(record) {
        kind::PTR
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC
        | kind::VAR
        | kind::DECL_TAG
        | kind::TYPE_TAG => (true, 0, 1, 0),
        kind::ARRAY => (false, 3, 1, 2),
        kind::STRUCT | kind::UNION => (false, 4, 3, vlen),
        kind::FUNC_PROTO => (true, 4, 2, vlen),
        kind::DATASEC => (false, 3, 3, vlen),
        _ => (false, 0, 1, 0),
    };
    third.then_some(2).into_iter().chain((0..count).map(move |index| first + index * step))
}

pub(crate) fn each_reference(record: &[u32], each: &mut dyn FnMut(u32)) {
    for position in reference_positions(record) {
        each(record[position]);
    }
}

/// Positions in a record that hold names, in libbpf's order.
pub fn name_positions(record: &[u32]) -> impl Iterator<Item = usize> + use<> {
    let vlen = vlen(record);
    let (step, count) = match kind_of(record) {
        kind::STRUCT | kind::UNION | kind::ENUM64 => (3, vlen),
        kind::ENUM | kind::FUNC_PROTO => (2, vlen),
        _ => (1, 0),
    };
    std::iter::once(0).chain((0..count).map(move |index| 3 + index * step))
}
