//! The form of what is saved: a header, and lists of numbers one behind the other.
//!
//! The file is read by the machine that wrote it, so numbers are as they are in memory. What is not exactly what this
//! build of the program writes is no fault, it is nothing: [`open`] says no more than that. The checksum is looked at
//! before anything else, and whoever reads the lists checks every number that is used as an index.

use bytemuck::Pod;
use twox_hash::XxHash3_128;

/// First bytes of a file, as a number, so that another byte order is another file.
const MAGIC: u64 = u64::from_le_bytes(*b"vmltypes");
/// A change of the form gets the next number.
const FORMAT: u64 = 1;
/// Bytes of the header: the magic, the form, two numbers of the tie, two of the checksum.
const HEADER: usize = 48;
/// Where the checksum stands.
const SUM: usize = 32;
/// Nothing larger is written or believed, in bytes.
pub(crate) const LIMIT: usize = 128 << 20;

/// A hash of 128 bits.
pub(crate) fn hash(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// Two halves, the lower first.
pub(crate) fn halves(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(len: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + len);
        bytes.resize(HEADER, 0);
        Writer { bytes }
    }

    /// Adds a list; returns where it begins, in bytes.
    pub fn list<T: Pod>(&mut self, list: &[T]) -> usize {
        self.bytes.extend((list.len() as u64).to_ne_bytes());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytemuck::cast_slice(list));
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        at
    }

    /// The file but for its checksum, which holds for what goes by the same `tie` only.
    pub fn finish(mut self, tie: u128) -> Option<Vec<u8>> {
        if self.bytes.len() > LIMIT {
            return None;
        }
        let header: Vec<u64> = [&[MAGIC, FORMAT], &halves(tie)[..]].concat();
        self.bytes[..SUM].copy_from_slice(bytemuck::cast_slice(&header));
        Some(self.bytes)
    }
}

/// Puts in the checksum of a file's contents.
pub(crate) fn seal(file: &mut [u8]) {
    let sum = halves(hash(&file[HEADER..]));
    file[SUM..HEADER].copy_from_slice(bytemuck::cast_slice(&sum));
}

/// The lists of a file, in their order.
#[derive(Debug)]
pub(crate) struct Lists<'f> {
    words: &'f [u64],
}

/// The lists, if this is a file with that tie that is whole. `bytes` begin at a multiple of 8 in memory.
pub(crate) fn open(bytes: &[u8], tie: u128) -> Option<Lists<'_>> {
    let words: &[u64] = bytemuck::try_cast_slice(bytes).ok()?;
    let (header, words) = words.split_first_chunk::<{ HEADER / 8 }>()?;
    let [low, high] = halves(tie);
    if bytes.len() > LIMIT || header[..4] != [MAGIC, FORMAT, low, high] {
        return None;
    }
    (header[4..] == halves(hash(&bytes[HEADER..]))).then_some(Lists { words })
}

impl<'f> Lists<'f> {
    /// The next list; `None` if there is none.
    pub fn list<T: Pod>(&mut self) -> Option<&'f [T]> {
        let (&len, rest) = self.words.split_first()?;
        let bytes = usize::try_from(len).ok()?.checked_mul(size_of::<T>())?;
        let (list, rest) = rest.split_at_checked(bytes.div_ceil(8))?;
        self.words = rest;
        let list: &[u8] = bytemuck::cast_slice(list);
        bytemuck::try_cast_slice(&list[..bytes]).ok()
    }

    /// Whether all lists have been taken.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_and_nothing_else_does() {
        let mut writer = Writer::with_capacity(0);
        assert_eq!(writer.list(&[1u32, 2, 3]), HEADER + 8);
        writer.list(&[4u64]);
        writer.list::<u8>(b"names");
        writer.list::<u32>(&[]);
        let mut file = writer.finish(77).unwrap();
        assert!(open(&file, 77).is_none());
        seal(&mut file);
        let mut lists = open(&file, 77).unwrap();
        assert_eq!(lists.list::<u32>().unwrap(), [1, 2, 3]);
        assert_eq!(lists.list::<u64>().unwrap(), [4]);
        assert_eq!(lists.list::<u8>().unwrap(), b"names");
        assert!(lists.list::<u32>().unwrap().is_empty() && lists.is_empty());
        assert!(lists.list::<u32>().is_none());
        assert!(open(&file, 78).is_none());
        for end in 0..file.len() {
            assert!(open(&file[..end], 77).is_none());
        }
        for at in 0..file.len() {
            let mut other = file.clone();
            other[at] ^= 0x10;
            assert!(open(&other, 77).is_none(), "{at}");
        }
    }
}
