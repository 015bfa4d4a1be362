//! References out of offsets into numbers.
//!
//! The walk leaves records that refer to entries by their offsets. Entries of types are rarely shorter than four
//! bytes, so a table with a place for every four bytes of the unit holds nearly all of their numbers, each with
//! the low bits of its offset: a lookup is one access, with no search. The table is as long as the unit's types and
//! stays in the second-level cache.

use crate::cu::{Cu, DeclTag, LocalId, kind, kind_of};
use crate::cursor::Read;
use crate::strings::{StrId, Strings};
use crate::walk::{Dies, OldBitfield};

/// What the places of bitfields depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Size of an address in bytes.
    pub address_size: u8,
    pub big: bool,
}

/// Finds types by their offsets.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    base: u32,
    /// By offset from `base` in groups of `1 << GROUP_BITS` bytes: the number of the first type whose entry begins there,
    /// above the low bits of its offset; 0 where none does.
    groups: Vec<u32>,
    /// Offset from `base` and number of the other types of such groups, by offset.
    others: Vec<(u32, LocalId)>,
}

const GROUP_BITS: u32 = 2;
const IN_GROUP: u32 = (1 << GROUP_BITS) - 1;

impl Offsets {
    /// For the types of a unit that begins at `start`.
    pub fn build(&mut self, dies: &Dies, start: usize) {
        self.base = start as u32;
        let last = dies.offsets.last().map_or(0, |&last| last - self.base);
        self.groups.clear();
        self.groups.resize((last >> GROUP_BITS) as usize + 1, 0);
        self.others.clear();
        // Entries are listed by their offsets.
        for (&offset, &id) in dies.offsets.iter().zip(&dies.ids) {
            let at = offset - self.base;
            match &mut self.groups[(at >> GROUP_BITS) as usize] {
                _ if id == 0 => {}
                // A number that does not fit is looked up as one of several are.
                group if *group == 0 && id <= u32::MAX >> GROUP_BITS => {
                    *group = id << GROUP_BITS | at & IN_GROUP;
                }
                _ => self.others.push((at, id)),
            }
        }
    }

    /// Number of the type whose entry is at `offset`; `void` if there is none.
    #[inline]
    pub fn id(&self, offset: u32) -> LocalId {
        let at = offset.wrapping_sub(self.base);
        match self.groups.get((at >> GROUP_BITS) as usize) {
            None => 0,
            Some(group) if group & IN_GROUP == at & IN_GROUP => group >> GROUP_BITS,
            Some(_) => self.other(at),
        }
    }

    #[cold]
    fn other(&self, at: u32) -> LocalId {
        let found = self.others.binary_search_by_key(&at, |&(offset, _)| offset);
        found.map_or(0, |index| self.others[index].1)
    }
}

/// Moves the walk's records into the unit, with the numbers of types where offsets stood.
pub(crate) fn types(
    dies: &mut Dies,
    offsets: &Offsets,
    layout: Layout,
    (strings, int): (&Strings<'_>, StrId),
    cu: &mut Cu,
) -> Read<()> {
    std::mem::swap(&mut cu.words, &mut dies.words);
    std::mem::swap(&mut cu.starts, &mut dies.starts);
    let ends = cu.starts.iter().skip(1).map(|&end| end as usize).chain([cu.words.len()]);
    for ((id, &start), end) in (1..).zip(&cu.starts).zip(ends) {
        let record = &mut cu.words[start as usize..end];
        let number = |word: &mut u32| *word = offsets.id(*word);
        match kind_of(record[1]) {
            kind::STRUCT | kind::UNION => {
                record[3..].chunks_exact_mut(3).for_each(|member| number(&mut member[1]));
            }
            kind::FUNC_PROTO => {
                number(&mut record[2]);
                record[3..].chunks_exact_mut(2).for_each(|param| number(&mut param[1]));
            }
            kind::ARRAY => {
                number(&mut record[3]);
                cu.has_array = true;
            }
            kind::INT if cu.int == 0 && strings.of_code(record[0])? == int => cu.int = id,
            kind::INT | kind::FLOAT | kind::ENUM | kind::ENUM64 | kind::FWD => {}
            _ => number(&mut record[2]),
        }
    }
    for &(word, id) in &dies.numbered {
        cu.words[word as usize] = id;
    }
    for &(word, offset) in &dies.completed {
        let known = cu.known(offsets.id(offset));
        cu.words[word as usize] = known.map_or(0, |record| record[0]);
    }
    for &(start, offset) in &dies.wide {
        let base = cu.known(offsets.id(offset));
        let signed =
            base.is_some_and(|base| kind_of(base[1]) == kind::INT && base[3] >> 24 & 1 != 0);
        cu.words[start as usize + 1] |= u32::from(signed) << 31;
    }
    for old in &dies.old_bitfields {
        old_bitfield(old, layout, cu);
    }
    for tag in &dies.type_tags {
        let ty = dies.ids[tag.owner as usize];
        let value = strings.of_code(tag.value)?;
        cu.type_tags.push(DeclTag { value, ty, component: tag.component });
    }
    cu.type_tags.sort_by_key(|tag| tag.ty);
    Ok(())
}

/// Puts a bitfield whose offset is counted from the high end of its storage unit at its place.
fn old_bitfield(old: &OldBitfield, layout: Layout, cu: &mut Cu) {
    let at = old.word as usize;
    let bit_size = cu.words[at + 2] >> 24;
    let mut byte_size = u64::from(old.byte_size);
    if byte_size == 0 {
        byte_size = cu.size_of(cu.words[at + 1], layout.address_size);
    }
    if byte_size == 0 {
        return;
    }
    let storage = byte_size as i64 * 8;
    // PARITY: the offset within the storage unit is held in 8 bits.
    let mut offset = old.bit_offset;
    if !layout.big {
        offset = (storage - i64::from(offset) - i64::from(bit_size)) as i8;
    }
    let mut byte_offset = i64::from(old.byte_offset);
    let mut bits = byte_offset * 8 + i64::from(offset);
    if offset < 0 {
        offset = (i64::from(offset) + storage) as i8;
        byte_offset -= byte_size as i64;
        bits = byte_offset * 8 + i64::from(offset);
    }
    cu.words[at + 2] = bits as u32 & 0xff_ffff | bit_size << 24;
}
