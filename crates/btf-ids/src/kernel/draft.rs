//! BTF while it is rewritten: its types as records of words, its names as numbers.
//!
//! The number of a name is the offset of the string in the blob or its base; strings that the blob lacks
//! are numbered from its end on, one number each.

use btf::{Btf, Cause, StrOff};
use btf_dedup::{Types, kind};
use image::Endian;

use crate::Error;

/// The most that rewriting may add, types and strings together: 64 MiB. A kernel adds some kilobytes.
/// Functions without number that share one endless prototype would each get a copy of it.
const MOST_ADDED: usize = 64 << 20;

/// What is known of a blob's types while they change.
#[derive(Debug)]
pub(crate) struct Draft<'d> {
    /// Where the strings are.
    pub blob: &'d Btf<'d>,
    /// All types of the base and of its own base.
    pub base: Types,
    /// The blob's own types, then what was added.
    pub types: Types,
    /// Strings that were added.
    pub added: Vec<Vec<u8>>,
    /// Bytes that may still be added.
    room: usize,
}

impl<'d> Draft<'d> {
    /// The types of `blob`.
    ///
    /// Refuses what libbpf refuses to load or to change: references to types that do not exist, functions
    /// whose type is no prototype, kinds that are not known, and a header with more than is known.
    pub fn read(blob: &'d Btf<'d>) -> Result<Self, Error> {
        let header_len = blob.header().hdr_len as usize;
        let known = btf::HEADER_LEN_LAYOUT as usize;
        let extra = blob.data().get(known..header_len).unwrap_or(&[]);
        if extra.iter().any(|&byte| byte != 0) {
            return Err(Error::HeaderExtra(blob.header().hdr_len));
        }
        let mut bases: Vec<&Btf<'_>> = std::iter::successors(blob.base(), |b| b.base()).collect();
        bases.reverse();
        let mut base = Types::default();
        bases.into_iter().for_each(|btf| append(&mut base, btf));
        base.check(&Types::default()).map_err(Error::Types)?;
        let mut types = Types::default();
        append(&mut types, blob);
        types.check(&base).map_err(Error::Types)?;
        let draft = Draft { blob, base, types, added: Vec::new(), room: MOST_ADDED };
        draft.check_functions()?;
        Ok(draft)
    }

    fn check_functions(&self) -> Result<(), Error> {
        for id in self.first_id()..self.next_id() {
            let record = self.record(id);
            if kind_of(record) == kind::FUNC && kind_of(self.record(record[2])) != kind::FUNC_PROTO
            {
                return Err(Error::NoPrototype { func: id, target: record[2] });
            }
        }
        Ok(())
    }

    /// Id of the first type of the blob's own.
    pub fn first_id(&self) -> u32 {
        self.base.len() as u32 + 1
    }

    /// Id of the type that is added next.
    pub fn next_id(&self) -> u32 {
        (self.base.len() + self.types.len()) as u32 + 1
    }

    /// The record of a type, the base's included; no words for `void`.
    pub fn record(&self, id: u32) -> &[u32] {
        let Some(index) = (id as usize).checked_sub(1) else { return &[] };
        match index.checked_sub(self.base.len()) {
            None => self.base.record(index),
            Some(index) => self.types.record(index),
        }
    }

    /// Changes the third word of a type of the blob's own: what it refers to.
    pub fn set_target(&mut self, id: u32, target: u32) {
        let start = self.types.starts[(id - self.first_id()) as usize] as usize;
        self.types.words[start + 2] = target;
    }

    /// Adds a type and gives its id.
    pub fn push(&mut self, record: &[u32]) -> Result<u32, Error> {
        let id = self.next_id();
        self.take(4 * record.len())?;
        self.types.push(record);
        Ok(id)
    }

    /// Takes some of the room that is left.
    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.room = self.room.checked_sub(bytes).ok_or(Error::TooLarge)?;
        Ok(())
    }

    /// Number of the first added string.
    fn first_added(&self) -> u32 {
        self.blob.first_string().0.saturating_add(self.blob.string_section().len() as u32)
    }

    /// The number of a string that is added; 0 for the empty one.
    pub fn add_string(&mut self, string: &[u8]) -> Result<u32, Error> {
        if string.is_empty() {
            return Ok(0);
        }
        self.take(string.len() + size_of::<Vec<u8>>())?;
        let number = self.first_added().checked_add(self.added.len() as u32);
        self.added.push(string.to_vec());
        number.ok_or(Error::TooLarge)
    }

    /// The string of that number.
    pub fn name(&self, number: u32) -> Result<&[u8], Error> {
        name(self.blob, &self.added, number)
    }
}

/// The string of that number: one of the blob or one of `added`.
pub(crate) fn name<'s>(
    blob: &Btf<'s>,
    added: &'s [Vec<u8>],
    number: u32,
) -> Result<&'s [u8], Error> {
    let end = u64::from(blob.first_string().0) + blob.string_section().len() as u64;
    let index = u64::from(number).checked_sub(end);
    match index.and_then(|index| added.get(index as usize)) {
        Some(string) => Ok(string),
        None if index.is_some() => {
            let cause = Cause::StringOffset { off: number, end };
            Err(Error::Btf(btf::Error { offset: 0, cause }))
        }
        None => Ok(blob.name(StrOff(number))?),
    }
}

/// Adds the records of `btf`, whose extents its reader has checked.
fn append(types: &mut Types, btf: &Btf<'_>) {
    let endian = btf.endian();
    let mut start = types.words.len() as u32;
    let words = btf.type_section().as_chunks::<4>().0;
    types.words.extend(words.iter().map(|&word| endian.read_u32(word)));
    types.starts.extend(btf.types().map(|(_, ty)| {
        let this = start;
        start = start.saturating_add((ty.record_len() / 4) as u32);
        this
    }));
}

/// Kind of a record; 0 for `void`.
pub(crate) fn kind_of(record: &[u32]) -> u32 {
    record.get(1).map_or(0, |info| info >> 24 & 0x7f)
}

/// `vlen` of a record: its entries, or the linkage of a function.
pub(crate) fn vlen(record: &[u32]) -> u32 {
    record.get(1).map_or(0, |info| info & 0xff_ffff)
}

/// `kind_flag` of a record.
pub(crate) fn kflag(record: &[u32]) -> bool {
    record.get(1).is_some_and(|info| info >> 31 != 0)
}

/// The second word of a record.
pub(crate) fn info(kind: u32, vlen: u32, kflag: bool) -> u32 {
    u32::from(kflag) << 31 | kind << 24 | vlen
}
