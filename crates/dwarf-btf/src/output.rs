//! Writing a blob.

use image::Endianness;
use rayon::prelude::*;

use crate::cu::name_positions;
use crate::digest::replace_references;
use crate::strings::StrId;

const HEADER_LEN: u32 = 24;
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;

/// The strings of a blob: its own in their order, and those of its base.
pub(crate) struct StringTable {
    bytes: Vec<u8>,
    /// Offset by number of the string; `u32::MAX` where it has none yet.
    offsets: Vec<u32>,
    start: u32,
}

impl StringTable {
    /// For strings numbered below `count`. `base` gives offsets in the base's strings, `base_len` being
    /// their length in bytes; without a base there is the empty string.
    pub fn new(count: usize, base: impl IntoIterator<Item = (StrId, u32)>, base_len: u32) -> Self {
        let mut offsets = vec![u32::MAX; count];
        offsets[0] = 0;
        for (id, offset) in base {
            offsets[id as usize] = offset;
        }
        let bytes = if base_len == 0 { vec![0] } else { Vec::new() };
        StringTable { bytes, offsets, start: base_len }
    }

    /// Adds a string if it is not there.
    pub fn add(&mut self, id: StrId, text: &[u8]) {
        if self.offsets[id as usize] == u32::MAX {
            self.offsets[id as usize] = self.start + self.bytes.len() as u32;
            self.bytes.extend_from_slice(text);
            self.bytes.push(0);
        }
    }

    fn offset(&self, id: StrId) -> u32 {
        self.offsets[id as usize]
    }
}

/// Types that one task writes.
const CHUNK: usize = 4096;

/// The blob of types whose names are numbers of strings; `number` turns what they refer to into the numbers that the
/// types have in the blob.
pub(crate) fn write(
    records: &[&[u32]],
    number: impl Fn(u32) -> u32 + Sync,
    strings: &StringTable,
    endian: Endianness,
) -> Vec<u8> {
    let big = endian == Endianness::Big;
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let size = |records: &[&[u32]]| records.iter().map(|record| record.len() * 4).sum::<usize>();
    let chunks: Vec<(&[&[u32]], usize)> =
        records.par_chunks(CHUNK).map(|chunk| (chunk, size(chunk))).collect();
    let type_len = chunks.iter().map(|&(_, size)| size).sum();
    let mut out = vec![0; HEADER_LEN as usize + type_len + strings.bytes.len()];
    let (header, rest) = out.split_at_mut(HEADER_LEN as usize);
    let (mut types, tail) = rest.split_at_mut(type_len);
    header[..2].copy_from_slice(&if big { MAGIC.to_be_bytes() } else { MAGIC.to_le_bytes() });
    // Flags are 0.
    header[2] = VERSION;
    let (type_len, string_len) = (type_len as u32, strings.bytes.len() as u32);
    let fields = [HEADER_LEN, 0, type_len, type_len, string_len];
    for (place, value) in header[4..].chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&word(value));
    }
    let mut parts = Vec::new();
    for (chunk, size) in chunks {
        let (part, rest) = types.split_at_mut(size);
        parts.push((chunk, part));
        types = rest;
    }
    let one = |copy: &mut Vec<u32>, (chunk, mut part): (&[&[u32]], &mut [u8])| {
        for record in chunk {
            copy.clear();
            copy.extend_from_slice(record);
            replace_references(copy, &number);
            name_positions(record).for_each(|at| copy[at] = strings.offset(record[at]));
            let (place, rest) = part.split_at_mut(copy.len() * 4);
            for (place, &value) in place.chunks_exact_mut(4).zip(&*copy) {
                place.copy_from_slice(&word(value));
            }
            part = rest;
        }
    };
    rayon::join(
        || parts.into_par_iter().for_each_init(Vec::new, one),
        || tail.copy_from_slice(&strings.bytes),
    );
    out
}
