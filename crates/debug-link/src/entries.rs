//! Merging within the image: strings of any alignment and width, and constants of fixed size.
//!
//! Debug info refers to string literals and constants, whose sections the linker has merged. Their bytes
//! are in the image already; this finds where each went, by the linker's rule (GNU ld 2.40,
//! `bfd/merge.c`), and [`Entries::kept`] lets the caller hold the result against the image.
//!
//! Beyond what [`crate::strings`] says: a string keeps the alignment that its offset had in its
//! input; one that is seen again with a stricter alignment is kept there instead; a string is a
//! part of a longer one only where that does not break its alignment; padding between strings is
//! not kept. Constants are kept once each.
//!
//! Cost: sequential, a hash table of the distinct entries. Kernels have some megabytes of these.

use hashbrown::HashMap;

/// Where an entry is: index of its section, offset into what the section keeps.
type Position = (u32, u64);

/// An entry, first seen in its section.
#[derive(Debug, Clone, Copy)]
struct Entry {
    section: u32,
    /// Offset in its input section, in bytes.
    start: usize,
    /// Length without the terminator, in bytes.
    len: usize,
    /// Strictest alignment that it was seen with, in bytes; 0 for one that is not kept on its own.
    align: u64,
    /// Where it is; for a folded one, after all others have been placed.
    position: Position,
    /// The longer string that it is a part of.
    part_of: Option<u32>,
}

/// The merged entries of a number of input sections.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    sections: Vec<&'a [u8]>,
    entsize: usize,
    strings: bool,
    align: u64,
    entries: Vec<Entry>,
    by_text: HashMap<&'a [u8], u32>,
    /// What each section keeps, in bytes; `None` for one that has been subsumed by others.
    pub(crate) sizes: Vec<Option<u64>>,
}

impl<'a> Entries<'a> {
    /// Merges `sections`, in the linker's order. `entsize` and `align` are not 0.
    pub(crate) fn merge(
        sections: Vec<&'a [u8]>,
        entsize: usize,
        strings: bool,
        align: u64,
    ) -> Self {
        let mut merged = Entries {
            sizes: vec![None; sections.len()],
            sections,
            entsize,
            strings,
            align,
            entries: Vec::new(),
            by_text: HashMap::new(),
        };
        for section in 0..merged.sections.len() {
            if strings {
                merged.enter_strings(section);
            } else {
                for start in (0..merged.sections[section].len()).step_by(entsize) {
                    merged.enter(section, start, entsize, 1);
                }
            }
        }
        if strings {
            merged.fold();
        }
        merged.lay_out();
        merged
    }

    /// Enters the strings of one section.
    fn enter_strings(&mut self, section: usize) {
        let bytes = self.sections[section];
        // Of the padding behind strings, the first aligned NUL counts as an empty string.
        let mut empty_seen = false;
        let mut at = 0;
        while at < bytes.len() {
            let own = 1u64.checked_shl((at as u64).trailing_zeros()).unwrap_or(0);
            let align = if own == 0 || own > self.align { self.align } else { own };
            let len = self.text_len(&bytes[at..]);
            self.enter(section, at, len, align);
            at += len + self.entsize;
            while at < bytes.len() && self.text_len(&bytes[at..]) == 0 {
                if !empty_seen && (at as u64).is_multiple_of(self.align) {
                    empty_seen = true;
                    self.enter(section, at, 0, self.align);
                }
                at += self.entsize;
            }
        }
    }

    /// Length in bytes of the string at the start of `bytes`, without its terminator.
    fn text_len(&self, bytes: &[u8]) -> usize {
        if self.entsize == 1 {
            return memchr::memchr(0, bytes).unwrap_or(bytes.len());
        }
        let units = bytes.chunks_exact(self.entsize);
        units.take_while(|unit| unit.iter().any(|&byte| byte != 0)).count() * self.entsize
    }

    /// Enters one entry, or moves it where it was seen with a stricter alignment.
    fn enter(&mut self, section: usize, start: usize, len: usize, align: u64) {
        let text = &self.sections[section][start..start + len];
        let next = self.entries.len() as u32;
        if let Some(index) = self.by_text.get_mut(text) {
            let old = &mut self.entries[*index as usize];
            if old.align >= align {
                return;
            }
            old.align = 0;
            *index = next;
        } else {
            self.by_text.insert(text, next);
        }
        let (section, position) = (section as u32, (0, 0));
        self.entries.push(Entry { section, start, len, align, position, part_of: None });
    }

    fn text(&self, entry: &Entry) -> &'a [u8] {
        &self.sections[entry.section as usize][entry.start..entry.start + entry.len]
    }

    /// Makes strings parts of longer ones.
    fn fold(&mut self) {
        let kept = |&index: &u32| self.entries[index as usize].align != 0;
        let mut order: Vec<u32> = (0..self.entries.len() as u32).filter(kept).collect();
        let aligns = || order.iter().map(|&index| self.entries[index as usize].align);
        let first = aligns().next().unwrap_or(1);
        // Where all have one alignment, only strings with the same rest can be parts of each other.
        let by_rest = first > self.entsize as u64 && aligns().all(|align| align == first);
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (&self.entries[a as usize], &self.entries[b as usize]);
            let rest = |entry: &Entry| if by_rest { entry.len as u64 % first } else { 0 };
            let reversed = self.text(a).iter().rev().cmp(self.text(b).iter().rev());
            rest(a).cmp(&rest(b)).then(reversed)
        });
        let mut holder: Option<u32> = None;
        for index in order.into_iter().rev() {
            let entry = self.entries[index as usize];
            let held = holder.filter(|&holder| {
                let longer = &self.entries[holder as usize];
                let (text, part) = (self.text(longer), self.text(&entry));
                longer.align >= entry.align
                    && text.ends_with(part)
                    && ((longer.len - entry.len) as u64).is_multiple_of(entry.align)
            });
            match held {
                Some(_) => {
                    self.entries[index as usize].part_of = held;
                    self.entries[index as usize].align = 0;
                }
                None => holder = Some(index),
            }
        }
    }

    /// Gives every kept entry its place, then those that are parts of others.
    fn lay_out(&mut self) {
        let terminator = if self.strings { self.entsize as u64 } else { 0 };
        let mut last = None;
        for entry in self.entries.iter_mut().filter(|entry| entry.align != 0) {
            let size = self.sizes[entry.section as usize].get_or_insert(0);
            let at = size.next_multiple_of(entry.align);
            entry.position = (entry.section, at);
            *size = at + entry.len as u64 + terminator;
            last = Some(entry.section as usize);
        }
        // PARITY: debug_link.rs, vmlinux_a_of_6_1. If the inputs were padded, so is the end of the output.
        let padded =
            self.sections.iter().all(|section| (section.len() as u64).is_multiple_of(self.align));
        if let Some(size) = last.and_then(|last| self.sizes[last].as_mut()).filter(|_| padded) {
            *size = size.next_multiple_of(self.align);
        }
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            if let Some(holder) = entry.part_of {
                let longer = &self.entries[holder as usize];
                let (section, at) = longer.position;
                self.entries[index].position = (section, at + (longer.len - entry.len) as u64);
            }
        }
    }

    /// Where the byte at `offset` of the input section `section` is: a section and the offset into
    /// what it keeps.
    ///
    /// `None` behind the end of the section, or in padding that was not kept.
    pub(crate) fn find(&self, section: usize, offset: u64) -> Option<Position> {
        let bytes = self.sections.get(section)?;
        let offset = usize::try_from(offset).ok().filter(|&offset| offset < bytes.len())?;
        let mut start = offset / self.entsize * self.entsize;
        let len = if self.strings {
            let is_end = |unit: &[u8]| unit.iter().all(|&byte| byte == 0);
            while start > 0 && !is_end(&bytes[start - self.entsize..start]) {
                start -= self.entsize;
            }
            self.text_len(&bytes[start..])
        } else {
            self.entsize
        };
        let index = *self.by_text.get(&bytes[start..start + len])?;
        let (section, at) = self.entries[index as usize].position;
        Some((section, at + (offset - start) as u64))
    }

    /// The kept entries with their places.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (Position, &'a [u8])> {
        let kept = self.entries.iter().filter(|entry| entry.align != 0);
        kept.map(|entry| (entry.position, self.text(entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stricter_alignment_moves_a_string_and_padding_is_dropped() {
        // As in .rodata.str1.8: each string at a multiple of 8.
        let sections: Vec<&[u8]> = vec![b"abc\0\0\0\0\0def\0\0\0\0\0", b"abc\0\0\0\0\0xyzabc\0\0"];
        let merged = Entries::merge(sections, 1, true, 8);
        assert_eq!(merged.sizes, [Some(12), Some(8)]);
        assert_eq!(merged.find(1, 0), Some((0, 0)));
        assert_eq!(merged.find(0, 9), Some((0, 9)));
        assert_eq!(merged.find(1, 8), Some((1, 0)));
        // The first padding NUL at a multiple of 8 would count, but there is none.
        assert_eq!(merged.find(0, 4), None);
    }

    #[test]
    fn a_string_is_a_part_of_another_where_its_alignment_allows() {
        let merged = Entries::merge(vec![b"bc\0abc\0" as &[u8]], 1, true, 1);
        let kept: Vec<_> = merged.kept().collect();
        assert_eq!(kept, [((0, 0), &b"abc"[..])]);
        assert_eq!(merged.find(0, 0), Some((0, 1)));
        assert_eq!(merged.find(0, 6), Some((0, 3)));
        assert_eq!(merged.find(0, 7), None);
    }

    #[test]
    fn wide_strings_and_constants_are_merged_by_their_units() {
        let wide: Vec<&[u8]> = vec![b"a\0b\0\0\0", b"b\0\0\0"];
        let merged = Entries::merge(wide, 2, true, 2);
        assert_eq!(merged.sizes, [Some(6), None]);
        assert_eq!(merged.find(1, 1), Some((0, 3)));
        let constants: Vec<&[u8]> = vec![b"aaaabbbb", b"bbbbcccc"];
        let merged = Entries::merge(constants, 4, false, 4);
        assert_eq!(merged.sizes, [Some(8), Some(4)]);
        assert_eq!(merged.find(1, 2), Some((0, 6)));
        assert_eq!(merged.find(1, 4), Some((1, 0)));
    }
}
