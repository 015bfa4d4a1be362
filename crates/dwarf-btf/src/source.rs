//! Debug sections that stand elsewhere than in the image.
//!
//! A kernel can be linked without debug information while its objects have it. Then the image gives the
//! symbols, and someone who knows where the linker would put things gives the debug sections, with
//! relocations applied. `.debug_info`, by far the largest, is asked for some units at a time, so it need
//! never be whole in memory.

use std::borrow::Cow;
use std::ops::Range;

use crate::cursor::{Fault, Read};
use crate::options::ReadAt;

/// Debug sections as a linker would have put them into the image, in the image's byte order.
pub trait DebugSource: Sync {
    /// Size of `.debug_info` in bytes; 0 if there is none.
    fn info_len(&self) -> usize;

    /// Puts the bytes `range` of `.debug_info` into `out`, which has its length. Called by several threads
    /// at a time; every byte is asked for at least once, and most just once.
    ///
    /// # Errors
    /// The bytes cannot be had.
    fn info(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), Unreadable>;

    /// A hash of what a unit at `range` of `.debug_info` says: equal hashes, equal bytes, but for addresses in the
    /// kernel and offsets into other debug sections, and equal strings where it refers to strings; with `lists` equal
    /// location lists too. The section that an address is in is part of it. `None` if there is no such hash; then the
    /// unit is always read.
    fn unit_key(&self, range: Range<usize>, lists: bool) -> Option<u128> {
        let _ = (range, lists);
        None
    }

    /// All bytes of another section, such as `.debug_abbrev`; none if there is no such section. Asked for
    /// are only sections that are read.
    ///
    /// # Errors
    /// The bytes cannot be had.
    fn section(&self, name: &str) -> Result<Cow<'_, [u8]>, Unreadable>;
}

/// Bytes of a section cannot be had; the source knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// The cause of a fault.
pub(crate) const UNREADABLE: &str = "the bytes cannot be had";

/// `.debug_info`.
#[derive(Clone, Copy)]
pub(crate) enum Info<'s> {
    /// All of it.
    Whole(&'s [u8]),
    /// Some of it at a time, out of the image's file.
    InFile(FilePart<'s>),
    /// Some of it at a time.
    Parts(&'s dyn DebugSource),
}

/// A part of the image's file.
#[derive(Clone, Copy)]
pub(crate) struct FilePart<'s> {
    /// Offset in the file, in bytes.
    pub start: u64,
    pub len: usize,
    pub read: &'s ReadAt<'s>,
}

/// A part of `.debug_info` that is in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'w> {
    pub bytes: &'w [u8],
    /// Where it begins in the section, in bytes.
    pub start: usize,
}

impl<'s> Info<'s> {
    /// Size of the section in bytes.
    pub fn len(self) -> usize {
        match self {
            Info::Whole(bytes) => bytes.len(),
            Info::InFile(part) => part.len,
            Info::Parts(source) => source.info_len(),
        }
    }

    /// The bytes of `range`, which lies within the section, with `buffer` for them if they have to be made.
    pub fn window<'w>(self, range: Range<usize>, buffer: &'w mut Vec<u8>) -> Read<Window<'w>>
    where
        's: 'w,
    {
        let start = range.start;
        if let Info::Whole(bytes) = self {
            return Ok(Window { bytes, start: 0 });
        }
        buffer.resize(range.len(), 0);
        let made = match self {
            Info::Whole(_) => Ok(()),
            Info::InFile(part) => (part.read)(part.start + start as u64, buffer),
            Info::Parts(source) => source.info(range, buffer),
        };
        made.map_err(|Unreadable| Fault { offset: start, cause: UNREADABLE })?;
        Ok(Window { bytes: buffer, start })
    }
}

impl Window<'_> {
    /// A fault as it is for the whole section: what lies in the window is counted from its beginning.
    pub fn fault(self, fault: Fault) -> Fault {
        match fault.offset <= self.bytes.len() {
            true => Fault { offset: fault.offset + self.start, ..fault },
            false => fault,
        }
    }
}
