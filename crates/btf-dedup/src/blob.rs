//! BTF blobs in, one set of types and strings out.

use hashbrown::HashMap;

use crate::Error;
use crate::records::{Types, name_positions, record_len, reference_positions};

/// Blobs put together, not deduplicated yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged<'b> {
    /// All types in the order of the blobs; a name is an index into `strings`.
    pub types: Types,
    /// The strings in the order of their first use, the empty one first.
    pub strings: Vec<&'b [u8]>,
}

const MAGIC: u16 = 0xeb9f;

/// Reads blobs of either byte order, none of them split, and puts them one behind the other.
///
/// # Errors
/// A blob that is cut off, of an unknown kind of type, or with a name outside its strings.
pub fn merge<'b>(blobs: &[&'b [u8]]) -> Result<Merged<'b>, Error> {
    let mut merged = Merged { types: Types::default(), strings: vec![b""] };
    let mut known: HashMap<&[u8], u32> = HashMap::new();
    known.insert(b"", 0);
    for blob in blobs {
        add(&mut merged, &mut known, blob)?;
    }
    Ok(merged)
}

/// The string section of a blob.
///
/// # Errors
/// A blob without a sound header.
pub fn strings(blob: &[u8]) -> Result<&[u8], Error> {
    Header::read(blob)?.section(blob, STRINGS)
}

/// The types of a blob of either byte order, names being offsets of its strings.
///
/// # Errors
/// A blob that is cut off, of an unknown kind of type, or with a name outside its strings or strings that do not end.
pub fn types(blob: &[u8]) -> Result<Types, Error> {
    let bad = |offset, cause| Error::Blob { offset, cause };
    let header = Header::read(blob)?;
    let strings = header.section(blob, STRINGS)?;
    if strings.last().is_some_and(|&last| last != 0) {
        return Err(bad(STRINGS, "the strings do not end in 0"));
    }
    let words = header.words(header.section(blob, TYPES)?);
    let outside = |name: u32| name as usize >= strings.len().max(1);
    let mut starts = Vec::new();
    for found in records(&words) {
        let (at, record) = found?;
        if name_positions(record).any(|position| outside(record[position])) {
            return Err(bad(at * 4, OUTSIDE));
        }
        starts.push(at as u32);
    }
    Ok(Types { words, starts })
}

/// The records of a section of types, each with where it begins, in words; ends behind one that is no record.
fn records(words: &[u32]) -> impl Iterator<Item = Result<(usize, &[u32]), Error>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = words.get(at..).filter(|rest| !rest.is_empty())?;
        let Some(record) = record_len(rest).and_then(|len| rest.get(..len)) else {
            let error = Error::Blob { offset: at * 4, cause: CUT_OFF };
            at = words.len();
            return Some(Err(error));
        };
        let start = at;
        at += record.len();
        Some(Ok((start, record)))
    })
}

const CUT_OFF: &str = "a type that is cut off or of an unknown kind";
const OUTSIDE: &str = "a name outside the strings";

/// Where a section's offset and length stand in the header.
const TYPES: usize = 8;
const STRINGS: usize = 16;

/// What a blob's header says of its byte order.
struct Header {
    big: bool,
}

impl Header {
    fn read(blob: &[u8]) -> Result<Self, Error> {
        let bad = |cause| Error::Blob { offset: 0, cause };
        let magic = blob.first_chunk::<2>().ok_or(bad("too short for a header"))?;
        match (u16::from_le_bytes(*magic), u16::from_be_bytes(*magic)) {
            (MAGIC, _) => Ok(Header { big: false }),
            (_, MAGIC) => Ok(Header { big: true }),
            _ => Err(bad("no BTF magic")),
        }
    }

    fn word(&self, blob: &[u8], at: usize) -> Result<u32, Error> {
        let bytes = blob.get(at..).and_then(|rest| rest.first_chunk::<4>());
        let bytes = bytes.ok_or(Error::Blob { offset: at, cause: "the blob ends here" })?;
        Ok(if self.big { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) })
    }

    fn words(&self, section: &[u8]) -> Vec<u32> {
        let words = section.as_chunks::<4>().0.iter();
        match self.big {
            true => words.map(|&bytes| u32::from_be_bytes(bytes)).collect(),
            false => words.map(|&bytes| u32::from_le_bytes(bytes)).collect(),
        }
    }

    fn section<'b>(&self, blob: &'b [u8], at: usize) -> Result<&'b [u8], Error> {
        let header = self.word(blob, 4)? as usize;
        let start = header.checked_add(self.word(blob, at)? as usize);
        let len = self.word(blob, at + 4)? as usize;
        let end = start.and_then(|start| start.checked_add(len));
        let found = start.zip(end).and_then(|(start, end)| blob.get(start..end));
        found.ok_or(Error::Blob { offset: at, cause: "a section lies outside the blob" })
    }
}

/// A string that no type has named yet.
const UNKNOWN: u32 = u32::MAX;

fn add<'b>(
    merged: &mut Merged<'b>,
    known: &mut HashMap<&'b [u8], u32>,
    blob: &'b [u8],
) -> Result<(), Error> {
    let bad = |offset, cause| Error::Blob { offset, cause };
    let header = Header::read(blob)?;
    let (types, strings) = (header.section(blob, TYPES)?, header.section(blob, STRINGS)?);
    let words = header.words(types);
    let before = merged.types.len() as u32;
    // By offset of a string: its number. Most names are met many times.
    let mut numbers = vec![UNKNOWN; strings.len()];
    for found in records(&words) {
        let (at, record) = found?;
        merged.types.push(record);
        let start = merged.types.words.len() - record.len();
        let record = &mut merged.types.words[start..];
        for position in name_positions(record) {
            let offset = record[position] as usize;
            let number = numbers.get_mut(offset).ok_or(bad(at * 4, OUTSIDE))?;
            if *number == UNKNOWN {
                let name = strings[offset..].split(|&b| b == 0).next().unwrap_or_default();
                *number = *known.entry(name).or_insert_with(|| {
                    merged.strings.push(name);
                    merged.strings.len() as u32 - 1
                });
            }
            record[position] = *number;
        }
        for position in reference_positions(record) {
            if record[position] != 0 {
                record[position] = record[position].saturating_add(before);
            }
        }
    }
    Ok(())
}
