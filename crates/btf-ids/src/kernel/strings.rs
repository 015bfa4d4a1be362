//! The strings that the types use, each once, in the order of their first use.

use std::collections::HashMap;

use btf::Btf;
use btf_dedup::name_positions;

use super::draft::{self, Draft};
use crate::Error;

/// A name that was not looked up yet.
const UNSEEN: u32 = u32::MAX;
/// The largest offset of a string that libbpf makes.
const MAX_OFFSET: usize = 0x7fff_ffff;
/// How many bytes of names are looked up for each byte of strings, and how many beyond: names may be the
/// ends of others, so that few strings could hold names without end.
const LOOKED_UP: (usize, usize) = (8, 64 << 20);

/// Changes the names of all types into offsets in the base's strings or in those that it returns.
///
/// PARITY: a name in the base's strings keeps its offset; every other one is looked for in the base
/// first (`strs_dedup_remap_str_off`; `modules_get_the_bytes_that_the_peer_writes`).
pub(crate) fn dedup(draft: &mut Draft<'_>) -> Result<Vec<u8>, Error> {
    let Draft { blob, types, added, .. } = draft;
    let first = blob.first_string().0;
    let own = blob.string_section().len();
    let mut seen = vec![UNSEEN; own + added.len()];
    let mut table = Table::new(blob);
    for index in 0..types.starts.len() {
        let start = types.starts[index] as usize;
        let end = types.starts.get(index + 1).map_or(types.words.len(), |&end| end as usize);
        for position in name_positions(&types.words[start..end]) {
            let number = &mut types.words[start + position];
            if *number == 0 || *number < first {
                continue;
            }
            let string = || draft::name(blob, added, *number);
            let Some(slot) = seen.get_mut((*number - first) as usize) else {
                return Err(string().err().unwrap_or(Error::TooLarge));
            };
            if *slot == UNSEEN {
                *slot = table.place(string()?)?;
            }
            *number = *slot;
        }
    }
    Ok(table.bytes)
}

struct Table<'s> {
    base: HashMap<&'s [u8], u32>,
    own: HashMap<&'s [u8], u32>,
    bytes: Vec<u8>,
    /// Offset of the first own string.
    first: u32,
    /// Bytes of names that may still be looked up.
    left: usize,
}

impl<'s> Table<'s> {
    fn new(blob: &Btf<'s>) -> Self {
        let mut table = Table {
            base: HashMap::new(),
            own: HashMap::new(),
            bytes: Vec::with_capacity(blob.string_section().len()),
            first: blob.first_string().0,
            left: blob.string_section().len().saturating_mul(LOOKED_UP.0) + LOOKED_UP.1,
        };
        match blob.base() {
            Some(base) => table.index(base),
            None => {
                table.own.insert(b"", 0);
                table.bytes.push(0);
            }
        }
        table
    }

    /// Notes the first place of each string of the base.
    fn index(&mut self, base: &Btf<'s>) {
        let mut bases: Vec<&Btf<'s>> = std::iter::successors(Some(base), |b| b.base()).collect();
        bases.reverse();
        for base in bases {
            let mut at = base.first_string().0;
            for string in base.string_section().split_inclusive(|&byte| byte == 0) {
                let name = string.strip_suffix(&[0]).unwrap_or(string);
                self.base.entry(name).or_insert(at);
                at = at.saturating_add(string.len() as u32);
            }
        }
    }

    fn place(&mut self, string: &'s [u8]) -> Result<u32, Error> {
        self.left = self.left.checked_sub(string.len()).ok_or(Error::TooLarge)?;
        if let Some(&offset) = self.base.get(string).or_else(|| self.own.get(string)) {
            return Ok(offset);
        }
        let offset = self.first as usize + self.bytes.len();
        if offset > MAX_OFFSET {
            return Err(Error::TooLarge);
        }
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.own.insert(string, offset as u32);
        Ok(offset as u32)
    }
}
