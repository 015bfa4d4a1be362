//! Merging of byte strings as the linker does it: `.debug_str`, `.debug_line_str`.
//!
//! The rule (GNU ld 2.40, `bfd/merge.c`): every string is kept once, where it first appears, and a
//! string that ends another one is left out and becomes a part of that. Of several longer strings
//! it is part of the first in the order of the reversed strings. An input section keeps the strings
//! that first appear in it; the sections follow each other.
//!
//! ld.lld's rule is that of [`crate::sharded`].
//!
//! How: the inputs are cut into chunks of 64 KiB, and all threads put the strings of their chunks
//! into one table. A slot of the table is an atomic word with the place where a string was seen
//! first, and threads only ever lower it; so the result is the same however they run. The table is
//! at most half full. A chunk that finds it fuller is done again in a larger one. Suffixes are
//! found by sorting the strings from their ends, with the last 16 bytes as key.
//!
//! Cost: what remains are the merged bytes, two bits for each byte of input and four bytes for each
//! string there, with which [`Strings::find`] turns an offset of the input into one of the output. That
//! is asked for every reference to a string, and again for every one that is kept; it is three look-ups,
//! one behind the other, and waits for the cache most of the time ([`Strings::approach`]).

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rayon::prelude::*;
use twox_hash::XxHash3_64;

use crate::error::Error;
use crate::linker::Linker;
use crate::sharded::shard;

/// Bytes of a chunk.
const CHUNK: usize = 1 << 16;
/// An empty slot.
const EMPTY: u64 = u64::MAX;
/// A slot: section in the high 20 bits, offset in 32 bits, a part of the hash in the low 12 bits.
const TAG: u64 = (1 << 12) - 1;
const MAX_SECTIONS: usize = (1 << 20) - 1;

/// Where a string stands: its section and the offset into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seen(u64);

impl Seen {
    fn new(section: usize, offset: usize) -> Self {
        Seen(((section as u64) << 32) | offset as u64)
    }

    fn section(self) -> usize {
        (self.0 >> 32) as usize
    }

    fn offset(self) -> usize {
        self.0 as u32 as usize
    }
}

/// A string of the output.
#[derive(Debug, Clone, Copy)]
struct Kept {
    seen: Seen,
    /// Length with the NUL, in bytes.
    len: u32,
}

/// Which of 32 bytes of input are the first of a string, and how many strings of the chunk start
/// before them.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    starts: u32,
    rank: u32,
}

/// Bytes of input for each [`Word`].
const BYTES: usize = u32::BITS as usize;

/// The strings that start in a chunk of an input section.
#[derive(Debug, Default)]
struct Chunk {
    words: Box<[Word]>,
    /// For each string its offset in the output less that in its section; its slot in the table until
    /// that is known.
    moves: Box<[u32]>,
}

/// Where references have led to that are looked up one behind the other.
#[derive(Debug, Clone)]
pub(crate) struct Near {
    /// The chunks, by index.
    chunks: Range<usize>,
    /// How many more are read ahead: references that lead everywhere gain nothing by it.
    left: u8,
}

impl Default for Near {
    fn default() -> Self {
        Near { chunks: 0..0, left: 16 }
    }
}

/// Merged strings of a number of input sections.
#[derive(Debug)]
pub(crate) struct Strings<'a> {
    sections: Vec<&'a [u8]>,
    /// Index of the first chunk of each section.
    first_chunk: Vec<usize>,
    chunks: Vec<Chunk>,
    /// The merged strings, one behind the other.
    text: Vec<u8>,
    /// Size of the output, in bytes.
    pub(crate) size: u64,
}

impl<'a> Strings<'a> {
    /// Merges the strings of `sections`, in the linker's order.
    ///
    /// # Errors
    /// More or larger sections than a slot can name, or an output of 4 GiB.
    pub(crate) fn merge(sections: Vec<&'a [u8]>, linker: Linker) -> Result<Self, Error> {
        if sections.len() > MAX_SECTIONS || sections.iter().any(|s| s.len() >= u32::MAX as usize) {
            return Err(Error::unsupported("string sections of 4 GiB, or a million of them"));
        }
        let mut first_chunk = Vec::with_capacity(sections.len());
        let mut ranges = Vec::new();
        for (index, section) in sections.iter().enumerate() {
            first_chunk.push(ranges.len());
            ranges.extend((0..section.len()).step_by(CHUNK).map(|start| (index, start)));
        }
        let (table, mut chunks) = enter_all(&sections, &ranges);
        let (kept, offsets) = lay_out(&sections, &table, linker)?;
        drop(table);
        chunks.par_iter_mut().zip(&ranges).for_each(|(chunk, &(_, start))| {
            chunk.move_to(&offsets, start);
        });
        let text = put_together(&sections, &kept);
        let size = text.len() as u64;
        Ok(Strings { sections, first_chunk, chunks, text, size })
    }

    /// Where the byte at `offset` of the input section `section` is in the output.
    ///
    /// `None` behind the end of the section.
    pub(crate) fn find(&self, section: usize, offset: u64) -> Option<u64> {
        let offset = usize::try_from(offset).ok()?;
        if offset >= self.sections.get(section)?.len() {
            return None;
        }
        let first = self.first_chunk[section];
        let mut chunk = &self.chunks[first + offset / CHUNK];
        let word = chunk.words[offset % CHUNK / BYTES];
        let here = word.starts & (u32::MAX >> (BYTES - 1 - offset % BYTES));
        // How many strings of the chunk start here or before.
        let mut count = (word.rank + here.count_ones()) as usize;
        let mut before = offset / CHUNK;
        while count == 0 {
            // The string began in an earlier chunk.
            before = before.checked_sub(1)?;
            chunk = &self.chunks[first + before];
            count = chunk.moves.len();
        }
        Some(u64::from((offset as u32).wrapping_add(chunk.moves[count - 1])))
    }

    /// Reads what [`Strings::find`] will look up for references near this one, if none has been there.
    ///
    /// The references of a unit lead to all strings of the unit, in no order. To wait for memory at
    /// each of them takes twice as long as to read it all in order before.
    pub(crate) fn approach(&self, section: usize, offset: u64, near: &mut Near) {
        let first = self.first_chunk.get(section).copied().unwrap_or(usize::MAX);
        let index = first.saturating_add(offset as usize / CHUNK);
        if !near.chunks.contains(&index) && near.left > 0 {
            self.read_ahead(index, near);
        }
    }

    #[cold]
    fn read_ahead(&self, index: usize, near: &mut Near) {
        let Some(chunk) = self.chunks.get(index) else { return };
        // One number of each line of the cache.
        let words = chunk.words.iter().step_by(8).fold(0, |sum, word| sum ^ word.rank);
        let moves = chunk.moves.iter().step_by(16).fold(0, |sum, by| sum ^ by);
        std::hint::black_box((words, moves));
        near.left -= 1;
        near.chunks = match &near.chunks {
            known if index == known.end => known.start..index + 1,
            known if index + 1 == known.start => index..known.end,
            _ => index..index + 1,
        };
    }

    /// The merged strings, each with its NUL: the contents of the output section.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }
}

/// Folds suffixes, says what is kept, and the offset of every string, by the slots of the table.
fn lay_out(
    sections: &[&[u8]],
    table: &Table,
    linker: Linker,
) -> Result<(Vec<Kept>, Vec<u32>), Error> {
    let mut unique = table.strings(sections);
    unique.par_sort_unstable_by_key(|string| string.seen);
    let suffix_of = match linker {
        Linker::Gnu => fold(sections, &unique),
        Linker::Lld => {
            unique.par_sort_by_cached_key(|string| shard(text_at(sections, string.seen)));
            (0..unique.len() as u32).collect()
        }
    };
    let (mut kept, mut size) = (Vec::new(), 0u64);
    let mut ends = vec![0; unique.len()];
    for (index, &Unique { seen, len, .. }) in unique.iter().enumerate() {
        if suffix_of[index] as usize == index {
            kept.push(Kept { seen, len });
            size += u64::from(len);
            ends[index] = size;
        }
    }
    if size > u64::from(u32::MAX) {
        return Err(Error::unsupported("4 GiB of merged strings"));
    }
    let mut offsets = vec![0; table.slots.len()];
    for (string, &holder) in unique.iter().zip(&suffix_of) {
        offsets[string.slot as usize] = ends[holder as usize] as u32 - string.len;
    }
    Ok((kept, offsets))
}

/// The kept strings one behind the other.
fn put_together(sections: &[&[u8]], kept: &[Kept]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = kept
        .par_chunks(1 << 13)
        .map(|kept| {
            let mut part = Vec::with_capacity(kept.iter().map(|kept| kept.len as usize).sum());
            for &Kept { seen, len } in kept {
                let start = seen.offset();
                let text = &sections[seen.section()][start..start + len as usize - 1];
                part.extend_from_slice(text);
                part.push(0);
            }
            part
        })
        .collect();
    parts.concat()
}

impl Chunk {
    /// Turns slots into moves, for a chunk that begins at `start` of its section.
    fn move_to(&mut self, offsets: &[u32], start: usize) {
        let mut strings = self.moves.iter_mut();
        for (index, word) in self.words.iter().enumerate() {
            let mut left = word.starts;
            for slot in strings.by_ref().take(word.starts.count_ones() as usize) {
                let offset = (start + index * BYTES) as u32 + left.trailing_zeros();
                *slot = offsets[*slot as usize].wrapping_sub(offset);
                left &= left - 1;
            }
        }
    }
}

/// A distinct string of the input.
#[derive(Debug, Clone, Copy)]
struct Unique {
    seen: Seen,
    /// Length with the NUL, in bytes.
    len: u32,
    slot: u32,
}

/// For each string the one that it is a suffix of, itself if none.
fn fold(sections: &[&[u8]], unique: &[Unique]) -> Vec<u32> {
    let text = |index: u32| -> &[u8] {
        let string = &unique[index as usize];
        let start = string.seen.offset();
        &sections[string.seen.section()][start..start + string.len as usize - 1]
    };
    let mut order: Vec<(u64, u64, u32)> = (0..unique.len() as u32)
        .into_par_iter()
        .map(|index| {
            let text = text(index);
            (ending(text), ending(&text[..text.len().saturating_sub(8)]), index)
        })
        .collect();
    order.par_sort_unstable_by(|a, b| {
        (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| {
            let (a, b) = (text(a.2), text(b.2));
            let (a, b) = (&a[..a.len().saturating_sub(16)], &b[..b.len().saturating_sub(16)]);
            a.iter().rev().cmp(b.iter().rev())
        })
    });
    let mut suffix_of: Vec<u32> = (0..unique.len() as u32).collect();
    let mut holder: Option<u32> = None;
    for &(_, _, index) in order.iter().rev() {
        match holder {
            Some(holder) if text(holder).ends_with(text(index)) => {
                suffix_of[index as usize] = holder
            }
            _ => holder = Some(index),
        }
    }
    suffix_of
}

/// The last eight bytes of a string as a number, the last byte first; short strings end in zeros.
fn ending(text: &[u8]) -> u64 {
    match text.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => {
            text.iter()
                .rev()
                .fold((0u64, 56u32), |(key, shift), &byte| {
                    (key | u64::from(byte) << shift, shift.saturating_sub(8))
                })
                .0
        }
    }
}

/// Puts the strings of all chunks, each a section and the offset of its first byte, into a table.
fn enter_all(sections: &[&[u8]], ranges: &[(usize, usize)]) -> (Table, Vec<Chunk>) {
    let bytes: usize = sections.iter().map(|section| section.len()).sum();
    let mut table = Table::new((bytes / 256).next_power_of_two().max(1 << 10));
    let mut chunks: Vec<Option<Chunk>> = ranges.iter().map(|_| None).collect();
    loop {
        chunks.par_iter_mut().zip(ranges).filter(|(chunk, _)| chunk.is_none()).for_each(
            |(chunk, &(section, start))| *chunk = enter_chunk(&table, sections, section, start),
        );
        if chunks.iter().all(Option::is_some) {
            return (table, chunks.into_iter().flatten().collect());
        }
        let (larger, new_slots) = table.grown(sections);
        chunks.par_iter_mut().flatten().for_each(|chunk| {
            for slot in &mut chunk.moves {
                *slot = new_slots[*slot as usize];
            }
        });
        table = larger;
    }
}

/// Puts the strings that start in one chunk into the table; `None` if that is too full.
fn enter_chunk(table: &Table, sections: &[&[u8]], section: usize, start: usize) -> Option<Chunk> {
    let bytes = sections[section];
    let end = bytes.len().min(start + CHUNK);
    let mut words = vec![Word::default(); (end - start).div_ceil(BYTES)];
    let mut slots = Vec::with_capacity((end - start) / 16);
    // A string belongs to the chunk that its first byte is in.
    let mut at = match start {
        0 => 0,
        _ => start - 1 + length(&bytes[start - 1..]),
    };
    while at < end {
        let len = length(&bytes[at..]);
        let text = &bytes[at..at + len - 1];
        words[(at - start) / BYTES].starts |= 1 << ((at - start) % BYTES);
        slots.push(table.enter(sections, text, Seen::new(section, at))?);
        at += len;
    }
    let mut rank = 0;
    for word in &mut words {
        word.rank = rank;
        rank += word.starts.count_ones();
    }
    Some(Chunk { words: words.into(), moves: slots.into() })
}

/// Length with the NUL of the string at the start of `bytes`; the last one of a section may have none.
fn length(bytes: &[u8]) -> usize {
    memchr::memchr(0, bytes).unwrap_or(bytes.len()) + 1
}

/// The distinct strings, by their hash.
struct Table {
    slots: Vec<AtomicU64>,
    used: AtomicUsize,
}

impl Table {
    /// A table of `size` slots, a power of two.
    fn new(size: usize) -> Self {
        let slots = (0..size).into_par_iter().map(|_| AtomicU64::new(EMPTY)).collect();
        Table { slots, used: AtomicUsize::new(0) }
    }

    /// The slot of a string, which was seen at `seen`; `None` if the table is half full.
    fn enter(&self, sections: &[&[u8]], text: &[u8], seen: Seen) -> Option<u32> {
        let hash = XxHash3_64::oneshot(text);
        let tag = hash >> 52;
        let word = (seen.0 << 12) | tag;
        let mut slot = hash as usize & (self.slots.len() - 1);
        loop {
            let mut held = self.slots[slot].load(Ordering::Relaxed);
            if held == EMPTY {
                if self.used.load(Ordering::Relaxed) >= self.slots.len() / 2 {
                    return None;
                }
                let relaxed = Ordering::Relaxed;
                match self.slots[slot].compare_exchange(EMPTY, word, relaxed, relaxed) {
                    Ok(_) => {
                        self.used.fetch_add(1, relaxed);
                        return Some(slot as u32);
                    }
                    Err(other) => held = other,
                }
            }
            if held & TAG == tag && is_at(sections, Seen(held >> 12), text) {
                if word < held {
                    self.slots[slot].fetch_min(word, Ordering::Relaxed);
                }
                return Some(slot as u32);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// A table of four times the size with the same strings, and for each old slot the new one.
    fn grown(&self, sections: &[&[u8]]) -> (Table, Vec<u32>) {
        let larger = Table::new(self.slots.len() * 4);
        let new_slots = self.slots.iter().map(|slot| {
            let held = slot.load(Ordering::Relaxed);
            if held == EMPTY {
                return 0;
            }
            let seen = Seen(held >> 12);
            larger.enter(sections, text_at(sections, seen), seen).unwrap_or(0)
        });
        let new_slots = new_slots.collect();
        (larger, new_slots)
    }

    /// All strings of the table.
    fn strings(&self, sections: &[&[u8]]) -> Vec<Unique> {
        let occupied = self.slots.par_iter().enumerate().filter_map(|(slot, held)| {
            let held = held.load(Ordering::Relaxed);
            (held != EMPTY).then(|| {
                let seen = Seen(held >> 12);
                let len = text_at(sections, seen).len() as u32 + 1;
                Unique { seen, len, slot: slot as u32 }
            })
        });
        occupied.collect()
    }
}

fn text_at<'a>(sections: &[&'a [u8]], seen: Seen) -> &'a [u8] {
    let bytes = &sections[seen.section()][seen.offset()..];
    &bytes[..length(bytes) - 1]
}

/// Whether the string at `seen` is `text`.
fn is_at(sections: &[&[u8]], seen: Seen, text: &[u8]) -> bool {
    let bytes = &sections[seen.section()][seen.offset()..];
    bytes.get(..text.len()) == Some(text) && bytes.get(text.len()).is_none_or(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    /// The merged bytes, and the offset of every byte of the input, by the rule as it is written down.
    fn naive(sections: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u64>>) {
        let (mut unique, mut seen): (Vec<&[u8]>, HashSet<&[u8]>) = Default::default();
        for section in sections {
            for text in section.split_inclusive(|&b| b == 0) {
                let text = text.strip_suffix(&[0]).unwrap_or(text);
                if seen.insert(text) {
                    unique.push(text);
                }
            }
        }
        let mut sorted = unique.clone();
        sorted.sort_by(|a, b| a.iter().rev().cmp(b.iter().rev()));
        let mut holders: HashMap<&[u8], &[u8]> = HashMap::new();
        let mut holder: Option<&[u8]> = None;
        for text in sorted.into_iter().rev() {
            if !holder.is_some_and(|holder| holder.ends_with(text)) {
                holder = Some(text);
            }
            holders.insert(text, holder.unwrap());
        }
        let mut bytes = Vec::new();
        let mut starts = HashMap::new();
        for &text in unique.iter().filter(|text| holders[*text] == **text) {
            starts.insert(text, bytes.len() as u64);
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
        let offsets = sections.iter().map(|section| {
            let mut offsets = Vec::new();
            for whole in section.split_inclusive(|&b| b == 0) {
                let text = whole.strip_suffix(&[0]).unwrap_or(whole);
                let start = starts[holders[text]] + (holders[text].len() - text.len()) as u64;
                offsets.extend((0..whole.len() as u64).map(|at| start + at));
            }
            offsets
        });
        (bytes, offsets.collect())
    }

    fn merged(sections: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u64>>) {
        let strings = Strings::merge(sections.to_vec(), Linker::Gnu).unwrap();
        let bytes = strings.text().to_vec();
        let offsets = sections.iter().enumerate().map(|(index, section)| {
            let found = (0..section.len()).map(|at| strings.find(index, at as u64).unwrap());
            found.collect()
        });
        let offsets = offsets.collect();
        assert_eq!(strings.find(0, sections[0].len() as u64), None);
        (bytes, offsets)
    }

    #[test]
    fn strings_are_kept_where_they_first_appear_and_suffixes_fold() {
        let sections: [&[u8]; 3] = [b"int\0unsigned int\0x\0", b"\0\0int\0ax\0bx\0", b"end"];
        let (bytes, offsets) = merged(&sections);
        assert_eq!(bytes, b"unsigned int\0ax\0bx\0end\0");
        assert_eq!(offsets[0][0], 9);
        assert_eq!((bytes.clone(), offsets), naive(&sections));
    }

    #[test]
    fn long_common_endings_are_told_apart() {
        let sections: [&[u8]; 2] = [
            b"one_very_long_name_operations\0two_very_long_name_operations\0name_operations\0",
            b"long_name_operations\0aone_very_long_name_operations\0operations\0s\0",
        ];
        assert_eq!(merged(&sections), naive(&sections));
    }

    #[test]
    fn many_strings_across_chunks_and_growing_tables_come_out_as_by_the_rule() {
        let mut seed = 1u64;
        let mut random = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize
        };
        let words: Vec<String> = (0..3000).map(|n| format!("{:x}_{}", n * 7919, n % 17)).collect();
        let mut section = || {
            let mut bytes = Vec::new();
            for _ in 0..9000 {
                let word = &words[random() % words.len()];
                bytes.extend_from_slice(&word.as_bytes()[random() % word.len()..]);
                bytes.push(0);
            }
            bytes
        };
        let (a, b) = (section(), section());
        assert!(a.len() > CHUNK / 2);
        let sections: [&[u8]; 3] = [&a, b"", &b];
        assert_eq!(merged(&sections), naive(&sections));
    }

    #[test]
    fn an_offset_far_into_a_long_string_is_found() {
        let mut long = vec![b'x'; 3 * CHUNK];
        long[10] = 0;
        assert_eq!(merged(&[&long]), naive(&[&long]));
    }
}
