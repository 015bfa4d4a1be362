//! Merging as ld.lld does it: by hash, without folding.
//!
//! The rule (ld.lld 19 with its default, `-O1`; `ELF/SyntheticSections.cpp`, `MergeNoTailSection`): each
//! distinct entry, a string with its terminator or a constant, is kept once. Five bits of the hash of its text
//! (XXH3, 64 bits, without the terminator) say in which of 32 shards; within a shard entries follow in the order
//! of their first appearance, and shards follow each other. Every entry starts at a multiple of the
//! section's alignment.
//!
//! This is for sections of the image; debug strings go by the same rule through [`crate::strings`],
//! which is parallel.
//!
//! Cost: sequential, a hash table of the distinct entries. Kernels have some megabytes of these.

use hashbrown::HashMap;
use twox_hash::XxHash3_64;

/// How many shards there are.
const SHARDS: usize = 32;

/// The shard of an entry by its text, without the terminator of a string.
fn shard(text: &[u8]) -> usize {
    shard_of(XxHash3_64::oneshot(text))
}

/// The shard of an entry by the XXH3 hash of its text.
pub(crate) fn shard_of(hash: u64) -> usize {
    // The linker keeps bits 1 to 31 of the hash, and takes the highest five of these.
    hash as u32 as usize >> (32 - SHARDS.ilog2())
}

/// The merged entries of a number of input sections.
#[derive(Debug)]
pub(crate) struct Sharded<'a> {
    sections: Vec<&'a [u8]>,
    entsize: usize,
    strings: bool,
    /// Each distinct entry with its terminator, and its shard and offset.
    entries: HashMap<&'a [u8], (usize, u64)>,
    /// Offset of each shard.
    starts: [u64; SHARDS],
    /// Size of all that is kept, in bytes.
    pub(crate) size: u64,
}

impl<'a> Sharded<'a> {
    /// Merges `sections`, in the linker's order; `None` if one does not end where an entry does. `entsize` and
    /// `align` are not 0.
    pub(crate) fn merge(
        sections: Vec<&'a [u8]>,
        entsize: usize,
        strings: bool,
        align: u64,
    ) -> Option<Self> {
        let starts = [0; SHARDS];
        let entries = HashMap::new();
        let mut merged = Sharded { sections, entsize, strings, entries, starts, size: 0 };
        let mut sizes = [0u64; SHARDS];
        for section in 0..merged.sections.len() {
            let mut rest = merged.sections[section];
            while !rest.is_empty() {
                let len = merged.text_len(rest);
                let (entry, behind) = rest.split_at_checked(len + merged.terminator())?;
                let size = &mut sizes[shard(&entry[..len])];
                merged.entries.entry(entry).or_insert_with(|| {
                    let at = size.next_multiple_of(align);
                    *size = at + entry.len() as u64;
                    (shard(&entry[..len]), at)
                });
                rest = behind;
            }
        }
        for (start, size) in merged.starts.iter_mut().zip(sizes) {
            if size > 0 {
                merged.size = merged.size.next_multiple_of(align);
            }
            *start = merged.size;
            merged.size += size;
        }
        Some(merged)
    }

    /// Size of what ends an entry, in bytes.
    fn terminator(&self) -> usize {
        if self.strings { self.entsize } else { 0 }
    }

    /// Length in bytes of the entry at the start of `bytes`, without its terminator.
    fn text_len(&self, bytes: &[u8]) -> usize {
        match (self.strings, self.entsize) {
            (false, entsize) => entsize,
            (true, 1) => memchr::memchr(0, bytes).unwrap_or(bytes.len()),
            (true, entsize) => {
                let units = bytes.chunks(entsize);
                units.take_while(|unit| unit.iter().any(|&byte| byte != 0)).count() * entsize
            }
        }
    }

    /// Where the byte at `offset` of the input section `section` is; `None` behind its end.
    pub(crate) fn find(&self, section: usize, offset: u64) -> Option<u64> {
        let bytes = self.sections.get(section)?;
        let offset = usize::try_from(offset).ok().filter(|&offset| offset < bytes.len())?;
        let mut start = offset / self.entsize * self.entsize;
        if self.strings {
            let is_end = |unit: &[u8]| unit.iter().all(|&byte| byte == 0);
            while start > 0 && !is_end(&bytes[start - self.entsize..start]) {
                start -= self.entsize;
            }
        }
        let end = start + self.text_len(&bytes[start..]) + self.terminator();
        let &(shard, at) = self.entries.get(bytes.get(start..end)?)?;
        Some(self.starts[shard] + at + (offset - start) as u64)
    }

    /// The kept entries, each with its offset, in no order.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        self.entries.iter().map(|(entry, &(shard, at))| (self.starts[shard] + at, *entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_by_their_shard_then_by_first_appearance() {
        let sections: Vec<&[u8]> = vec![b"abc\0bc\0abc\0", b"\0bc\0x\0"];
        let merged = Sharded::merge(sections, 1, true, 1).unwrap();
        assert_eq!(merged.size, 4 + 3 + 1 + 2);
        assert_eq!(merged.find(0, 7), merged.find(0, 0));
        assert_eq!(merged.find(1, 1), merged.find(0, 4));
        assert_eq!(merged.find(0, 5), merged.find(0, 4).map(|at| at + 1));
        assert_eq!(merged.find(1, 6), None);
        let mut kept: Vec<_> = merged.kept().collect();
        kept.sort_unstable();
        let order: Vec<usize> =
            kept.iter().map(|(_, text)| shard(&text[..text.len() - 1])).collect();
        assert!(order.is_sorted(), "{order:?}");
        let bytes: Vec<u8> = kept.iter().flat_map(|(_, text)| text.iter().copied()).collect();
        assert_eq!(bytes.len() as u64, merged.size);
    }

    #[test]
    fn entries_are_aligned_and_cut_off_ones_refused() {
        let merged = Sharded::merge(vec![b"abc\0\0\0\0\0de\0"], 1, true, 8).unwrap();
        assert!(merged.kept().all(|(at, _)| at % 8 == 0));
        assert_eq!(merged.find(0, 4), merged.find(0, 7));
        assert!(Sharded::merge(vec![b"abc"], 1, true, 1).is_none());
        assert!(Sharded::merge(vec![b"a\0b"], 2, true, 2).is_none());
        assert!(Sharded::merge(vec![b"abcde"], 4, false, 4).is_none());
        let constants = Sharded::merge(vec![b"aaaabbbb", b"bbbbcccc"], 4, false, 4).unwrap();
        assert_eq!((constants.size, constants.find(0, 6)), (12, constants.find(1, 2)));
    }
}
