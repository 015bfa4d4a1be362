//! Merging of strings most of which were there in the last link.
//!
//! Why: of ten million strings of a kernel few are others than in the link before, and to hash, look up and compare each of
//! them takes longer than all else that is read of the kernel's objects.
//!
//! How: the pieces of the last link are looked for in the order in which they were, each by the hash of its first bytes
//! where the one before has ended, or further on where something has changed; then all threads compare the hashes of
//! whole pieces. What a known piece is made of is remembered. What is between them is entered into a table, as all
//! is in a first link.
//! A distinct string is first where it was, or in what has changed, or if its first piece is gone, in the
//! first known one that has it.
//!
//! Cost: the bytes of the sections once, to hash them, and for each string one look-up in a table of two megabytes.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use twox_hash::XxHash3_128;

use super::chunk::{BYTES, Chunk, Word};
use super::file::{HEAD, Known, KnownPiece, KnownString, PieceRow, head};
use super::fold::{lay_out, put_together};
use super::pieces::{Piece, Places, cut, length};
use super::table::{Table, enter_all};
use super::{Merge, Seen, Unique};
use crate::error::Error;
use crate::linker::Linker;

/// If more than one of so many bytes is new, all is merged anew, and remembered.
const FEW: usize = 16;
/// But not for so many bytes, which take no time.
const LITTLE: usize = 1 << 20;

/// A piece of the last link, where it is now.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Its number in the last link.
    known: u32,
    piece: Piece,
}

/// Merges the strings of `sections`; `None` if too little of them is known, or what is remembered cannot be true.
pub(super) fn merge(
    sections: &[&[u8]],
    linker: Linker,
    known: &Known<'_>,
) -> Result<Option<Merge>, Error> {
    let Some(recall) = Recall::new(sections, known) else { return Ok(None) };
    let fresh = recall.between();
    let bytes: usize = sections.iter().map(|section| section.len()).sum();
    if fresh.iter().map(Piece::len).sum::<usize>() > (bytes / FEW).max(LITTLE) {
        return Ok(None);
    }
    let (table, mut fresh_chunks) = enter_all(sections, &fresh);
    let Some((mut unique, same)) = recall.unique(&table) else { return Ok(None) };
    let asked = known.strings.len() + table.len();
    let (kept, mut offsets) = lay_out(sections, &mut unique, asked, linker)?;
    let (by_number, by_slot) = offsets.split_at_mut(known.strings.len());
    for (slot, number) in same {
        by_slot[slot as usize] = by_number[number as usize];
    }
    let moved = fresh_chunks.par_iter_mut().zip(&fresh);
    moved.for_each(|(chunk, piece)| chunk.move_to(by_slot, piece.start));
    let Some(known_chunks) = recall.chunks(by_number) else { return Ok(None) };
    let all = fresh.into_iter().zip(fresh_chunks);
    let mut all: Vec<(Piece, Chunk)> =
        all.chain(recall.found.iter().map(|found| found.piece).zip(known_chunks)).collect();
    all.sort_unstable_by_key(|&(piece, _)| piece);
    let (pieces, chunks): (Vec<Piece>, Vec<Chunk>) = all.into_iter().unzip();
    let places = Places::new(sections, &pieces);
    Ok(Some(Merge { places, chunks, text: put_together(sections, &kept) }))
}

/// A string that is new and known: its slot and its number.
type Same = (u32, u32);

/// What is known of some sections.
struct Recall<'r, 'a> {
    sections: &'r [&'a [u8]],
    known: &'r Known<'r>,
    /// For each piece of the last link the first of its strings' numbers.
    first_number: Vec<usize>,
    /// The pieces that are there, in order, now and in the last link.
    found: Vec<Found>,
}

impl<'r, 'a> Recall<'r, 'a> {
    fn new(sections: &'r [&'a [u8]], known: &'r Known<'r>) -> Option<Self> {
        let mut first_number = Vec::with_capacity(known.pieces.len());
        let mut numbers = 0usize;
        for row in known.pieces {
            first_number.push(numbers);
            numbers = numbers.checked_add(KnownPiece::of(row).strings)?;
        }
        let mut recall = Recall { sections, known, first_number, found: Vec::new() };
        let found = recall.look_for()?;
        let is_there: Vec<bool> = found.par_iter().map(|found| recall.is_there(found)).collect();
        let found = found.into_iter().zip(is_there).filter(|&(_, is_there)| is_there);
        recall.found = found.map(|(found, _)| found).collect();
        Some(recall)
    }

    /// Where pieces of the last link may be, by their first bytes; `None` if there are few.
    fn look_for(&self) -> Option<Vec<Found>> {
        let rows = self.known.pieces;
        let mut by_head: Vec<(u64, u32)> =
            rows.iter().zip(0..).map(|(row, index)| (KnownPiece::of(row).head, index)).collect();
        by_head.sort_unstable();
        let bytes: usize = self.sections.iter().map(|section| section.len()).sum();
        let mut steps = (bytes / FEW).max(LITTLE);
        let (mut found, mut next) = (Vec::new(), 0);
        for (section, bytes) in (0..).zip(self.sections) {
            let mut at = 0;
            while at < bytes.len() {
                let rest = &bytes[at..];
                let as_before = Some(next).filter(|&next| begins(rest, rows.get(next as usize)));
                let Some(index) = as_before.or_else(|| find(&by_head, rest, next)) else {
                    let step = length(rest);
                    steps = steps.checked_sub(step.min(rest.len()))?;
                    at += step;
                    continue;
                };
                let len = KnownPiece::of(&rows[index as usize]).len;
                if len == 0 {
                    return None;
                }
                if len <= rest.len() {
                    let piece = Piece { section, start: at as u32, end: (at + len) as u32 };
                    found.push(Found { known: index, piece });
                }
                at += len;
                next = index + 1;
            }
        }
        Some(found)
    }

    fn numbers(&self, found: &Found) -> Option<&'r [u32]> {
        let index = found.known as usize;
        let first = self.first_number[index];
        let count = KnownPiece::of(&self.known.pieces[index]).strings;
        self.known.numbers.get(first..first + count)
    }

    /// Whether the bytes are those of the piece, which is made of whole strings, and what it is made of is known.
    fn is_there(&self, found: &Found) -> bool {
        let Piece { section, start, end } = found.piece;
        let section = self.sections[section as usize];
        let known = KnownPiece::of(&self.known.pieces[found.known as usize]);
        (start == 0 || section[start as usize - 1] == 0)
            && section[end as usize - 1] == 0
            && XxHash3_128::oneshot(found.piece.bytes(self.sections)) == known.hash
            && self.numbers(found).is_some_and(|numbers| known.has(numbers))
    }

    /// What is not known, in pieces.
    fn between(&self) -> Vec<Piece> {
        let mut fresh = Vec::new();
        let mut found = self.found.iter().peekable();
        for (section, bytes) in (0..).zip(self.sections) {
            let mut start = 0;
            while let Some(next) = found.next_if(|found| found.piece.section == section) {
                cut(self.sections, Piece { section, start, end: next.piece.start }, &mut fresh);
                start = next.piece.end;
            }
            cut(self.sections, Piece { section, start, end: bytes.len() as u32 }, &mut fresh);
        }
        fresh
    }

    /// All distinct strings in the order of their first appearance, with those that are new, which are in `table`; and
    /// the slots of the others there, with their numbers. A number is asked for at its own place, slots behind all numbers.
    fn unique(&self, table: &Table) -> Option<(Vec<Unique>, Vec<Same>)> {
        let first = self.first_places()?;
        let rows = self.known.strings;
        let known = (0..rows.len()).into_par_iter().filter_map(|number| {
            let KnownString { len, hash, .. } = KnownString::of(&rows[number]);
            let seen = first[number]?;
            let same = table.find(self.sections, hash, seen);
            let seen = same.map_or(seen, |(_, here)| here.min(seen));
            Some((Unique { seen, hash, len, asked: number as u32 }, same.map(|(slot, _)| slot)))
        });
        let known: Vec<(Unique, Option<u32>)> = known.collect();
        let mut is_known = vec![false; table.len()];
        let mut same = Vec::new();
        for &(string, slot) in &known {
            if let Some(slot) = slot {
                is_known[slot as usize] = true;
                same.push((slot, string.asked));
            }
        }
        let mut unique: Vec<Unique> = known.into_iter().map(|(string, _)| string).collect();
        let new = table.strings(self.sections).into_iter();
        let new = new.filter(|string| !is_known[string.asked as usize]);
        let behind = u32::try_from(rows.len()).ok()?;
        unique.extend(new.map(|string| Unique { asked: string.asked + behind, ..string }));
        unique.par_sort_unstable_by_key(|string| string.seen);
        Some((unique, same))
    }

    /// Where each distinct string is first in what is known, if it is there; `None` if that cannot be true.
    fn first_places(&self) -> Option<Vec<Option<Seen>>> {
        let mut places: Vec<Option<Piece>> = vec![None; self.known.pieces.len()];
        for found in &self.found {
            places[found.known as usize] = Some(found.piece);
        }
        let mut first = vec![None; self.known.strings.len()];
        // Those whose first piece is gone.
        let mut lost = vec![0u64; self.known.strings.len().div_ceil(64)];
        for (number, row) in self.known.strings.iter().enumerate() {
            let string = KnownString::of(row);
            match *places.get(string.piece)? {
                Some(piece) => first[number] = Some(place(&piece, string.offset, string.len)?),
                None => lost[number / 64] |= 1 << (number % 64),
            }
        }
        self.find_lost(&lost, &mut first)?;
        Some(first)
    }

    /// Looks for the first place of strings in pieces that are known.
    fn find_lost(&self, lost: &[u64], first: &mut [Option<Seen>]) -> Option<()> {
        if lost.iter().all(|&word| word == 0) {
            return Some(());
        }
        // For each the index of the piece, and how many strings are before it there.
        let least: Vec<AtomicU64> = first.iter().map(|_| AtomicU64::new(u64::MAX)).collect();
        let is_lost = |number: u32| {
            let word = lost.get(number as usize / 64).copied().unwrap_or_default();
            word >> (number % 64) & 1 == 1
        };
        self.found.par_iter().enumerate().for_each(|(index, found)| {
            let numbers = self.numbers(found).unwrap_or_default();
            for (before, &number) in numbers.iter().enumerate().filter(|&(_, &n)| is_lost(n)) {
                let place = (index as u64) << 32 | before as u64;
                least[number as usize].fetch_min(place, Ordering::Relaxed);
            }
        });
        let mut places: Vec<(u64, usize)> =
            least.into_iter().map(AtomicU64::into_inner).zip(0..).collect();
        places.retain(|&(place, _)| place != u64::MAX);
        places.sort_unstable();
        let (mut index, mut before, mut offset) = (u64::MAX, 0, 0u32);
        for (place, number) in places {
            if place >> 32 != index {
                (index, before, offset) = (place >> 32, 0, 0);
            }
            let found = &self.found[index as usize];
            for &number in &self.numbers(found)?[before..place as u32 as usize] {
                offset = offset.checked_add(self.known.strings.get(number as usize)?[0])?;
            }
            before = place as u32 as usize;
            let len = self.known.strings[number][0];
            first[number] = Some(self::place(&found.piece, offset, len)?);
        }
        Some(())
    }

    /// The chunks of all known pieces, by the offset in the output of each distinct string; `None` if what is
    /// remembered cannot be true.
    fn chunks(&self, offsets: &[u32]) -> Option<Vec<Chunk>> {
        let lens = self.known.strings.iter().map(|row| row[0]);
        // Both are asked for at once.
        let strings: Vec<(u32, u32)> = offsets.iter().copied().zip(lens).collect();
        let chunk = |found: &Found| chunk(&found.piece, self.numbers(found)?, &strings);
        self.found.par_iter().map(chunk).collect()
    }
}

/// Whether `bytes` begin as a piece does.
fn begins(bytes: &[u8], row: Option<&PieceRow>) -> bool {
    row.map(KnownPiece::of).is_some_and(|piece| {
        let bytes = &bytes[..bytes.len().min(piece.len)];
        head(bytes) == piece.head
    })
}

/// The first piece from `next` on that begins as `bytes` do.
fn find(by_head: &[(u64, u32)], bytes: &[u8], next: u32) -> Option<u32> {
    let head = head(bytes.get(..HEAD)?);
    let at = by_head.partition_point(|&known| known < (head, next));
    by_head.get(at).filter(|known| known.0 == head).map(|&(_, index)| index)
}

/// Where a string is that is `len` bytes long, at an offset into a piece.
fn place(piece: &Piece, offset: u32, len: u32) -> Option<Seen> {
    let end = offset.checked_add(len)?;
    let fits = len > 0 && end as usize <= piece.len();
    fits.then(|| Seen::new(piece.section as usize, (piece.start + offset) as usize))
}

/// The chunk of a piece, by its strings' numbers, and the offset in the output and length of each.
fn chunk(piece: &Piece, numbers: &[u32], strings: &[(u32, u32)]) -> Option<Chunk> {
    let mut words = vec![Word::default(); piece.len().div_ceil(BYTES)];
    let mut moves = Vec::with_capacity(numbers.len());
    let mut at = 0u32;
    for &number in numbers {
        let &(offset, len) = strings.get(number as usize)?;
        words.get_mut(at as usize / BYTES)?.starts |= 1 << (at as usize % BYTES);
        moves.push(offset.wrapping_sub(piece.start + at));
        at = at.checked_add(len)?;
    }
    (at as usize == piece.len()).then(|| Chunk::new(words, moves, 0))
}
