//! References out of offsets into numbers.
//!
//! The walk leaves records that refer to entries by their offsets. The offsets of types go into a bit set; the
//! number of set bits below an offset is the type's index, so a lookup costs three memory accesses into tables
//! that fit into the first-level cache.

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
    bits: Vec<u64>,
    below: Vec<u32>,
}

impl Offsets {
    /// For the types of a unit that lies between `start` and `end`.
    pub fn build(&mut self, dies: &Dies, start: usize, end: usize) {
        self.base = start as u32;
        self.bits.clear();
        self.bits.resize((end - start) / 64 + 1, 0);
        for &offset in &dies.offsets {
            let at = (offset - self.base) as usize;
            self.bits[at / 64] |= 1 << (at % 64);
        }
        self.below.clear();
        let mut sum = 0;
        self.below.extend(self.bits.iter().map(|bits| {
            let below = sum;
            sum += bits.count_ones();
            below
        }));
    }

    /// Index in [`Dies::offsets`] of the type whose entry is at `offset`.
    #[inline]
    fn find(&self, offset: u32) -> Option<usize> {
        let at = offset.wrapping_sub(self.base) as usize;
        let (word, bit) = (at / 64, at % 64);
        let bits = *self.bits.get(word)?;
        if bits >> bit & 1 == 0 {
            return None;
        }
        Some((self.below[word] + (bits & ((1 << bit) - 1)).count_ones()) as usize)
    }

    /// Number of the type whose entry is at `offset`; `void` if there is none.
    #[inline]
    pub fn id(&self, dies: &Dies, offset: u32) -> LocalId {
        match self.find(offset) {
            Some(index) => dies.ids[index],
            None => 0,
        }
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
        let number = |word: &mut u32| *word = offsets.id(dies, *word);
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
        let known = cu.known(offsets.id(dies, offset));
        cu.words[word as usize] = known.map_or(0, |record| record[0]);
    }
    for &(start, offset) in &dies.wide {
        let base = cu.known(offsets.id(dies, offset));
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
