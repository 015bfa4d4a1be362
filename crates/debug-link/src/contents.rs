//! Single debug sections, read without making the image.
//!
//! Who wants to know what is in the debug info of a kernel need not have it written and read it back:
//! any part of a section is made where it is asked for, with its relocations applied.
//!
//! Cost: a search in the relocations of the section for each part, beside what the part itself takes.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::Error;
use crate::layout::DebugSection;
use crate::merge::Merged;
use crate::sections::DebugSections;

/// A debug section of the finished image.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'p, 'a> {
    pub(crate) sections: &'p DebugSections<'a>,
    pub(crate) debug: &'p DebugSection<'a>,
}

impl<'p, 'a> Contents<'p, 'a> {
    /// Size of the section in bytes.
    #[allow(clippy::len_without_is_empty, reason = "an empty section is left out of the image")]
    pub fn len(&self) -> usize {
        self.debug.size as usize
    }

    /// Puts the bytes `range` of the section into `out`, which has its length; not of merged strings,
    /// which are put together as a whole.
    ///
    /// Relocations have to be in the order of their offsets. If they are not, this is noticed at the
    /// latest when parts that make up the section have been read.
    ///
    /// # Errors
    /// A range outside of the section, and relocations that cannot be applied or are out of order.
    pub fn read(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), Error> {
        let outside = || Error::disagree("bytes outside of a debug section");
        if self.debug.group.is_some() || range.end > self.len() || range.len() != out.len() {
            return Err(outside());
        }
        let pieces = &self.debug.pieces;
        let (start, end) = (range.start as u64, range.end as u64);
        let first = pieces.partition_point(|piece| piece.offset <= start).saturating_sub(1);
        let mut done = 0;
        for piece in pieces[first..].iter().take_while(|piece| piece.offset < end) {
            let source = self.sections.source(piece, &[])?;
            let at = piece.offset as usize;
            let within = range.start.max(at)..range.end.min(at + source.bytes.len());
            // Before and between pieces is padding.
            if within.is_empty() {
                continue;
            }
            let here = within.start - range.start..within.end - range.start;
            out[done..here.start].fill(0);
            done = here.end;
            source.write_part(within.start - at..within.end - at, &mut out[here])?;
        }
        out[done..].fill(0);
        Ok(())
    }

    /// All bytes of the section, borrowed if they are as they stand in an input.
    ///
    /// # Errors
    /// As those of [`Contents::read`].
    pub fn all(&self) -> Result<Cow<'p, [u8]>, Error> {
        if let Some(group) = self.debug.group {
            return Ok(match &self.sections.merged[group as usize] {
                Merged::Strings(strings) => Cow::Borrowed(strings.text()),
                Merged::Entries(..) | Merged::Sharded(..) => Cow::Borrowed(&[]),
            });
        }
        if let ([only], false) = (&self.debug.pieces[..], self.debug.relocated) {
            return Ok(Cow::Borrowed(self.sections.source(only, &[])?.bytes));
        }
        let mut bytes = vec![0; self.len()];
        self.read(0..self.len(), &mut bytes)?;
        Ok(Cow::Owned(bytes))
    }
}
