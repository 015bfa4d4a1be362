//! How input sections are cut into pieces, and which piece an offset is in.
//!
//! A piece is a run of whole strings, some 64 KiB of them. Where one begins depends on the strings before it, so that
//! pieces which were there in the last link can be found again where others have grown.

use memchr::memchr;

/// Bytes of a piece, about.
pub(super) const PIECE: usize = 1 << 16;

/// A run of whole strings of an input section; only the last string of a section may have no NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    /// Index of the section.
    pub section: u32,
    /// Offsets into the section, in bytes.
    pub start: u32,
    pub end: u32,
}

impl Piece {
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Its bytes, of all sections.
    pub fn bytes<'a>(&self, sections: &[&'a [u8]]) -> &'a [u8] {
        &sections[self.section as usize][self.start as usize..self.end as usize]
    }
}

/// Length with the NUL of the string at the start of `bytes`; the last one of a section may have none.
pub(super) fn length(bytes: &[u8]) -> usize {
    memchr(0, bytes).unwrap_or(bytes.len()) + 1
}

/// Cuts what lies between two starts of strings, or the section's end, into pieces.
pub(super) fn cut(sections: &[&[u8]], whole: Piece, out: &mut Vec<Piece>) {
    let bytes = sections[whole.section as usize];
    let mut start = whole.start as usize;
    let end = whole.end as usize;
    while start < end {
        // The string that has the byte there ends the piece.
        let last = (start + PIECE - 1).min(end - 1);
        let next = (last + length(&bytes[last..])).min(end);
        out.push(Piece { start: start as u32, end: next as u32, ..whole });
        start = next;
    }
}

/// The pieces of all sections, by offset.
#[derive(Debug)]
pub(super) struct Places {
    /// Offset of each piece in its section, in bytes.
    starts: Vec<u32>,
    /// Index of the first piece of each section; one more.
    firsts: Vec<usize>,
    /// Index of the first block of each section.
    blocks: Vec<usize>,
    /// Of each [`PIECE`] bytes of a section the piece that has the first.
    piece_of: Vec<u32>,
}

impl Places {
    /// Of pieces that cover all sections, in order; there are less than 2^32 of them.
    pub fn new(sections: &[&[u8]], pieces: &[Piece]) -> Self {
        let starts = pieces.iter().map(|piece| piece.start).collect();
        let (mut firsts, mut blocks, mut piece_of) = (Vec::new(), Vec::new(), Vec::new());
        let mut piece = 0;
        for (section, bytes) in sections.iter().enumerate() {
            firsts.push(piece);
            blocks.push(piece_of.len());
            for block in (0..bytes.len()).step_by(PIECE) {
                while pieces[piece].end as usize <= block {
                    piece += 1;
                }
                piece_of.push(piece as u32);
            }
            while pieces.get(piece).is_some_and(|piece| piece.section as usize == section) {
                piece += 1;
            }
        }
        firsts.push(piece);
        Places { starts, firsts, blocks, piece_of }
    }

    /// The index of the piece that has a byte, and the piece's offset; the byte is one of the section.
    pub fn find(&self, section: usize, offset: usize) -> Option<(usize, usize)> {
        let block = self.blocks.get(section)? + offset / PIECE;
        let mut piece = *self.piece_of.get(block)? as usize;
        let end = *self.firsts.get(section + 1)?;
        while piece + 1 < end && self.starts[piece + 1] as usize <= offset {
            piece += 1;
        }
        Some((piece, self.starts[piece] as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_strings_and_cover_all() {
        let mut long = vec![b'x'; 5 * PIECE];
        for at in [7, PIECE - 1, PIECE + 9, 4 * PIECE + 3] {
            long[at] = 0;
        }
        let sections: [&[u8]; 4] = [&long, b"", b"no end", b"a\0b\0"];
        let mut pieces = Vec::new();
        for (section, bytes) in (0..).zip(&sections) {
            cut(&sections, Piece { section, start: 0, end: bytes.len() as u32 }, &mut pieces);
        }
        let of_first = pieces.iter().filter(|piece| piece.section == 0);
        let ends: Vec<usize> = of_first.map(|piece| piece.end as usize).collect();
        assert_eq!(ends, [PIECE, 4 * PIECE + 4, 5 * PIECE]);
        let places = Places::new(&sections, &pieces);
        for (section, bytes) in sections.iter().enumerate() {
            for offset in (0..bytes.len()).step_by(13).chain(bytes.len().checked_sub(1)) {
                let (piece, start) = places.find(section, offset).unwrap();
                let piece = pieces[piece];
                assert_eq!((piece.section as usize, piece.start as usize), (section, start));
                assert!((start..piece.end as usize).contains(&offset));
            }
        }
    }
}
