//! The distinct strings of some pieces, found by all threads.
//!
//! A slot of the table is an atomic word with the place where a string was seen first, and threads only ever lower
//! it; so the result is the same however they run. The table is at most half full. A piece that finds it fuller is done
//! again in a larger one.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rayon::prelude::*;
use twox_hash::{XxHash3_64, XxHash3_128};

use super::chunk::{BYTES, Chunk, Word};
use super::pieces::{Piece, length};
use super::{Seen, Unique};

/// An empty slot.
const EMPTY: u64 = u64::MAX;
/// A slot: section in the high 20 bits, offset in 32 bits, a part of the hash in the low 12 bits.
const TAG: u64 = (1 << 12) - 1;
/// More sections than this cannot be named.
pub(super) const MAX_SECTIONS: usize = (1 << 20) - 1;

/// Puts the strings of all pieces into a table. The chunks have slots of it where their moves will be.
pub(super) fn enter_all(sections: &[&[u8]], pieces: &[Piece]) -> (Table, Vec<Chunk>) {
    let bytes: usize = pieces.iter().map(Piece::len).sum();
    let mut table = Table::new((bytes / 256).next_power_of_two().max(1 << 10));
    let mut chunks: Vec<Option<Chunk>> = pieces.iter().map(|_| None).collect();
    loop {
        let left = chunks.par_iter_mut().zip(pieces).filter(|(chunk, _)| chunk.is_none());
        left.for_each(|(chunk, piece)| *chunk = enter(&table, sections, piece));
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

/// Puts the strings of a piece into the table; `None` if that is too full.
fn enter(table: &Table, sections: &[&[u8]], piece: &Piece) -> Option<Chunk> {
    let bytes = piece.bytes(sections);
    let mut words = vec![Word::default(); bytes.len().div_ceil(BYTES)];
    let mut slots = Vec::with_capacity(bytes.len() / 16);
    let mut at = 0;
    while at < bytes.len() {
        let len = length(&bytes[at..]);
        let text = &bytes[at..at + len - 1];
        let seen = Seen::new(piece.section as usize, piece.start as usize + at);
        words[at / BYTES].starts |= 1 << (at % BYTES);
        slots.push(table.enter(sections, text, seen)?);
        at += len;
    }
    Some(Chunk::new(words, slots, XxHash3_128::oneshot(bytes)))
}

/// The distinct strings, by their hash.
pub(super) struct Table {
    slots: Vec<AtomicU64>,
    used: AtomicUsize,
}

impl Table {
    /// A table of `size` slots, a power of two.
    fn new(size: usize) -> Self {
        let slots = (0..size).into_par_iter().map(|_| AtomicU64::new(EMPTY)).collect();
        Table { slots, used: AtomicUsize::new(0) }
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.slots.len()
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

    /// The slot of a string by its hash and its first place elsewhere, and where it was seen here first.
    pub fn find(&self, sections: &[&[u8]], hash: u64, seen: Seen) -> Option<(u32, Seen)> {
        let tag = hash >> 52;
        let mut slot = hash as usize & (self.slots.len() - 1);
        loop {
            let held = self.slots[slot].load(Ordering::Relaxed);
            if held == EMPTY {
                return None;
            }
            let here = Seen(held >> 12);
            if held & TAG == tag && is_at(sections, here, text_at(sections, seen)) {
                return Some((slot as u32, here));
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

    /// All strings of the table, in no order; where each will be asked for is its slot.
    pub fn strings(&self, sections: &[&[u8]]) -> Vec<Unique> {
        let occupied = self.slots.par_iter().enumerate().filter_map(|(slot, held)| {
            let held = held.load(Ordering::Relaxed);
            (held != EMPTY).then(|| {
                let seen = Seen(held >> 12);
                let text = text_at(sections, seen);
                let hash = XxHash3_64::oneshot(text);
                Unique { seen, hash, len: text.len() as u32 + 1, asked: slot as u32 }
            })
        });
        occupied.collect()
    }
}

/// The string at `seen`, without its NUL.
pub(super) fn text_at<'a>(sections: &[&'a [u8]], seen: Seen) -> &'a [u8] {
    let bytes = &sections[seen.section()][seen.offset()..];
    &bytes[..length(bytes) - 1]
}

/// Whether the string at `seen` is `text`.
fn is_at(sections: &[&[u8]], seen: Seen, text: &[u8]) -> bool {
    let bytes = &sections[seen.section()][seen.offset()..];
    bytes.get(..text.len()) == Some(text) && bytes.get(text.len()).is_none_or(|&byte| byte == 0)
}
