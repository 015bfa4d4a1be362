//! Merging of byte strings as the linker does it: `.debug_str`, `.debug_line_str`.
//!
//! The rule (GNU ld 2.40, `bfd/merge.c`): every string is kept once, where it first appears, and a
//! string that ends another one is left out and becomes a part of that. Of several longer strings
//! it is part of the first in the order of the reversed strings. An input section keeps the strings
//! that first appear in it; the sections follow each other.
//!
//! ld.lld's rule is that of [`crate::sharded`].
//!
//! How: the inputs are cut into pieces of 64 KiB ([`pieces`]), and all threads put the strings of their pieces
//! into one table ([`table`]). What is remembered of the last link spares most of that ([`recall`]).
//!
//! Cost: what remains are the merged bytes, two bits for each byte of input and four bytes for each
//! string there, with which [`Strings::find`] turns an offset of the input into one of the output. That
//! is asked for every reference to a string, and again for every one that is kept; it is three look-ups,
//! one behind the other, and waits for the cache most of the time ([`Strings::approach`]).

use std::ops::Range;

use rayon::prelude::*;

use crate::error::Error;
use crate::linker::Linker;

mod chunk;
mod file;
mod fold;
mod pieces;
mod recall;
mod table;
#[cfg(test)]
mod tests;

use chunk::Chunk;
use file::halves;
pub(crate) use file::{Known, ToRemember, known, parts};
use pieces::{Piece, Places, cut};

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

/// A distinct string of the input.
#[derive(Debug, Clone, Copy)]
struct Unique {
    seen: Seen,
    hash: u64,
    /// Length with the NUL, in bytes.
    len: u32,
    /// Where its offset in the output will be asked for.
    asked: u32,
}

/// A string of the output.
#[derive(Debug, Clone, Copy)]
struct Kept {
    seen: Seen,
    /// Length with the NUL, in bytes.
    len: u32,
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

/// What came of merging: the places of the pieces of all sections, their chunks in order, and the merged strings.
struct Merge {
    places: Places,
    chunks: Vec<Chunk>,
    text: Vec<u8>,
}

/// Merged strings of a number of input sections.
#[derive(Debug)]
pub(crate) struct Strings<'a> {
    sections: Vec<&'a [u8]>,
    places: Places,
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
    /// More or larger sections than can be named, or an output of 4 GiB.
    pub(crate) fn merge(sections: Vec<&'a [u8]>, linker: Linker) -> Result<Self, Error> {
        check(&sections)?;
        let (merged, _) = merge_all(&sections, linker, false)?;
        Ok(Self::of(sections, merged))
    }

    /// The same, with what is `known` of the last link, and what the next one may begin with, if that is something else.
    ///
    /// # Errors
    /// Those of [`Strings::merge`].
    pub(crate) fn resume(
        sections: Vec<&'a [u8]>,
        linker: Linker,
        known: Option<&Known<'_>>,
    ) -> Result<(Self, Option<ToRemember>), Error> {
        check(&sections)?;
        if let Some(known) = known
            && let Some(merged) = recall::merge(&sections, linker, known)?
        {
            return Ok((Self::of(sections, merged), None));
        }
        let (merged, to_remember) = merge_all(&sections, linker, true)?;
        Ok((Self::of(sections, merged), to_remember))
    }

    fn of(sections: Vec<&'a [u8]>, merged: Merge) -> Self {
        let Merge { places, chunks, text } = merged;
        let size = text.len() as u64;
        Strings { sections, places, chunks, text, size }
    }

    /// Where the byte at `offset` of the input section `section` is in the output.
    ///
    /// `None` behind the end of the section.
    pub(crate) fn find(&self, section: usize, offset: u64) -> Option<u64> {
        let offset = usize::try_from(offset).ok()?;
        if offset >= self.sections.get(section)?.len() {
            return None;
        }
        let (chunk, start) = self.places.find(section, offset)?;
        let moved = self.chunks[chunk].moved(offset - start)?;
        Some(u64::from((offset as u32).wrapping_add(moved)))
    }

    /// Reads what [`Strings::find`] will look up for references near this one, if none has been there.
    ///
    /// The references of a unit lead to all strings of the unit, in no order. To wait for memory at
    /// each of them takes twice as long as to read it all in order before.
    pub(crate) fn approach(&self, section: usize, offset: u64, near: &mut Near) {
        let found = self.places.find(section, usize::try_from(offset).unwrap_or(usize::MAX));
        let Some((index, _)) = found else { return };
        if !near.chunks.contains(&index) && near.left > 0 {
            self.read_ahead(index, near);
        }
    }

    #[cold]
    fn read_ahead(&self, index: usize, near: &mut Near) {
        let Some(chunk) = self.chunks.get(index) else { return };
        chunk.read();
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

fn check(sections: &[&[u8]]) -> Result<(), Error> {
    let too_large = |section: &&[u8]| section.len() >= u32::MAX as usize;
    if sections.len() > table::MAX_SECTIONS || sections.iter().any(too_large) {
        return Err(Error::unsupported("string sections of 4 GiB, or a million of them"));
    }
    Ok(())
}

/// Merges all strings; with what is to be remembered, if that is asked for and can be.
fn merge_all(
    sections: &[&[u8]],
    linker: Linker,
    remember: bool,
) -> Result<(Merge, Option<ToRemember>), Error> {
    let mut pieces = Vec::new();
    for (section, bytes) in (0..).zip(sections) {
        cut(sections, Piece { section, start: 0, end: bytes.len() as u32 }, &mut pieces);
    }
    let (table, mut chunks) = table::enter_all(sections, &pieces);
    let mut unique = table.strings(sections);
    unique.par_sort_unstable_by_key(|string| string.seen);
    let whole = sections.iter().all(|section| section.last().is_none_or(|&last| last == 0));
    let places = Places::new(sections, &pieces);
    let to_remember = (remember && whole)
        .then(|| to_remember(sections, (&pieces, &places), &chunks, &unique, table.len()))
        .flatten();
    let (kept, offsets) = fold::lay_out(sections, &mut unique, table.len(), linker)?;
    drop((table, unique));
    let moved = chunks.par_iter_mut().zip(&pieces);
    moved.for_each(|(chunk, piece)| chunk.move_to(&offsets, piece.start));
    let text = fold::put_together(sections, &kept);
    Ok((Merge { places, chunks, text }, to_remember))
}

/// What is to be remembered of chunks that have slots yet, of which there are `slots`.
fn to_remember(
    sections: &[&[u8]],
    (pieces, places): (&[Piece], &Places),
    chunks: &[Chunk],
    unique: &[Unique],
    slots: usize,
) -> Option<ToRemember> {
    let mut numbers = vec![0u32; slots];
    let mut strings = Vec::with_capacity(unique.len());
    for (number, string) in (0..).zip(unique) {
        numbers[string.asked as usize] = number;
        let (piece, start) = places.find(string.seen.section(), string.seen.offset())?;
        let offset = (string.seen.offset() - start) as u32;
        let [low, high] = halves(string.hash.into());
        strings.push([string.len, low, high, piece as u32, offset]);
    }
    let rows = chunks.par_iter().zip(pieces).map(|(chunk, piece)| {
        let numbers: Box<[u32]> = chunk.moves.iter().map(|&slot| numbers[slot as usize]).collect();
        (ToRemember::piece(piece.bytes(sections), chunk.hash, &numbers), numbers)
    });
    let (pieces, numbers) = rows.unzip();
    Some(ToRemember { strings, pieces, numbers })
}
