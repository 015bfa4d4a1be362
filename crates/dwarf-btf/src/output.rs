//! Writing a blob.

use image::Endianness;

use crate::cu::{kind, kind_of};
use crate::strings::StrId;

const HEADER_LEN: u32 = 24;
const MAGIC: u16 = 0xeb9f;

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
    pub fn new(count: usize, base: &[(StrId, u32)], base_len: u32) -> Self {
        let mut offsets = vec![u32::MAX; count];
        offsets[0] = 0;
        for &(id, offset) in base {
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

/// The blob of types whose names are numbers of strings.
pub(crate) fn write<'r>(
    records: impl Iterator<Item = &'r [u32]>,
    words: usize,
    strings: &StringTable,
    endian: Endianness,
) -> Vec<u8> {
    let big = endian == Endianness::Big;
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let type_len = words as u32 * 4;
    let string_len = strings.bytes.len() as u32;
    let len = HEADER_LEN as usize + words * 4 + strings.bytes.len();
    let mut out = Vec::with_capacity(len);
    out.extend(if big { MAGIC.to_be_bytes() } else { MAGIC.to_le_bytes() });
    // Version, flags.
    out.extend([1, 0]);
    for value in [HEADER_LEN, 0, type_len, type_len, string_len] {
        out.extend(word(value));
    }
    for record in records {
        let step = match kind_of(record[1]) {
            kind::STRUCT | kind::UNION | kind::ENUM64 => 3,
            kind::ENUM | kind::FUNC_PROTO => 2,
            _ => usize::MAX,
        };
        out.extend(word(strings.offset(record[0])));
        out.extend(word(record[1]));
        out.extend(word(record[2]));
        for item in record[3..].chunks(step.min(record.len())) {
            let named = step != usize::MAX;
            out.extend(word(if named { strings.offset(item[0]) } else { item[0] }));
            for &value in &item[1..] {
                out.extend(word(value));
            }
        }
    }
    out.extend_from_slice(&strings.bytes);
    out
}
