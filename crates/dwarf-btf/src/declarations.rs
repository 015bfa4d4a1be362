//! Declarations of abbreviations that were compiled before.
//!
//! Every unit of a kernel has a table of abbreviations of its own, but a compiler writes the same declarations again
//! and again: half a million of them are some thousand different ones. A declaration is therefore known by its bytes,
//! and compiled when it is met for the first time.
//!
//! Cost: one pass over the bytes of a declaration and one probe of a table. Memory: a hundred bytes for each that is
//! different, a thread.

use hashbrown::HashTable;

use crate::abbrev::Abbrev;
use crate::cursor::{Cursor, Read};
use crate::hash::bytes;

/// What the bytes of a declaration were compiled to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compiled {
    pub abbrev: Abbrev,
    /// Whether it has a reference into any unit.
    pub ref_addr: bool,
}

#[derive(Debug)]
struct Known {
    /// Its bytes in [`Declarations::bytes`].
    start: u32,
    len: u32,
    compiled: Compiled,
}

/// The declarations that are known, all for units of the same sizes.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    table: HashTable<Known>,
    bytes: Vec<u8>,
}

impl Declarations {
    /// Whether there are so many that it is better to begin again.
    pub fn is_full(&self) -> bool {
        self.bytes.len() > 1 << 20
    }

    pub fn clear(&mut self) {
        self.table.clear();
        self.bytes.clear();
    }

    /// What the declaration of these bytes was compiled to.
    pub fn get(&self, declaration: &[u8]) -> Option<Compiled> {
        let equal = |known: &Known| of(&self.bytes, known) == declaration;
        Some(self.table.find(bytes(declaration), equal)?.compiled)
    }

    /// Notes what a declaration that is not known was compiled to.
    pub fn set(&mut self, declaration: &[u8], compiled: Compiled) {
        let (start, len) = (self.bytes.len() as u32, declaration.len() as u32);
        self.bytes.extend_from_slice(declaration);
        let known = Known { start, len, compiled };
        let again = |known: &Known| bytes(of(&self.bytes, known));
        self.table.insert_unique(bytes(declaration), known, again);
    }
}

fn of<'b>(bytes: &'b [u8], known: &Known) -> &'b [u8] {
    &bytes[known.start as usize..][..known.len as usize]
}

/// Passes over a declaration, whose code was read. Tells its forms, and returns its bytes.
pub(crate) fn pass<'d>(cursor: &mut Cursor<'d>, mut form_of: impl FnMut(u64)) -> Read<&'d [u8]> {
    const IMPLICIT: u64 = gimli::DW_FORM_implicit_const.0 as u64;
    let start = cursor.pos;
    // The tag, and whether there are children.
    cursor.uleb()?;
    cursor.u8()?;
    loop {
        let (name, form) = (cursor.uleb()?, cursor.uleb()?);
        form_of(form);
        if form == IMPLICIT {
            cursor.sleb()?;
        }
        if (name, form) == (0, 0) {
            return Ok(&cursor.data[start..cursor.pos]);
        }
    }
}
