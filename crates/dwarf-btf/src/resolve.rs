//! From a walk's entries to a unit's BTF records.
//!
//! References are offsets of entries. The offsets of types go into a bit set; the number of set bits
//! below an offset is the type's index, so a lookup costs two memory accesses into tables that fit into
//! the first-level cache.
//!
//! Source of facts: btf_encoder.c and dwarf_loader.c of pahole 1.24 and 1.31 (what becomes of which
//! type), btf.c of libbpf 1.1 and 1.7 (`btf__add_*`: what a record holds).

use crate::cu::{Cu, DeclTag, INDEX, LocalId, info, kind};
use crate::cursor::Read;
use crate::strings::{Code, StrId, Strings};
use crate::walk::{
    Dies, EXTRA, FLAG_KFLAG, FLAG_TAGGED, FLAG_UNION, FLAG_VARIADIC, OldBitfield, TypeDie,
};

/// What decides how a type is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub floats: bool,
    pub enum64: bool,
    /// The name that a base type of a size that BTF does not allow gets.
    pub fake_int: Code,
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
        for die in &dies.types {
            let at = (die.offset - self.base) as usize;
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

    /// Index in [`Dies::types`] of the type whose entry is at `offset`.
    #[inline]
    pub fn find(&self, offset: u32) -> Option<usize> {
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
            Some(index) => dies.types[index].id,
            None => 0,
        }
    }
}

/// Writes the unit's types.
pub(crate) fn types(
    dies: &Dies,
    offsets: &Offsets,
    rules: Rules,
    (strings, int): (&Strings<'_>, StrId),
    cu: &mut Cu,
) -> Read<()> {
    for &index in &dies.order {
        let die = match index & EXTRA {
            0 => &dies.types[index as usize],
            _ => &dies.extra[(index & !EXTRA) as usize],
        };
        cu.starts.push(cu.words.len() as u32);
        record(dies, die, offsets, rules, cu);
        if u32::from(die.kind) == kind::INT && cu.int == 0 && strings.of_code(die.name)? == int {
            cu.int = cu.starts.len() as u32;
        }
    }
    for old in &dies.old_bitfields {
        old_bitfield(dies, old, offsets, rules, cu);
    }
    for tag in &dies.type_tags {
        let ty = dies.types[tag.owner as usize].id;
        let value = strings.of_code(tag.value)?;
        cu.type_tags.push(DeclTag { value, ty, component: tag.component });
    }
    cu.type_tags.sort_by_key(|tag| tag.ty);
    Ok(())
}

fn record(dies: &Dies, die: &TypeDie, offsets: &Offsets, rules: Rules, cu: &mut Cu) {
    let words = &dies.words[die.words as usize..];
    let target = || match die.flags & FLAG_TAGGED {
        0 => offsets.id(dies, die.ty),
        _ => die.ty,
    };
    let name = named(dies, die, offsets);
    match u32::from(die.kind) {
        kind::INT => base(die, rules, cu),
        kind::ARRAY => {
            let element = target();
            cu.words.extend([0, info(kind::ARRAY, 0, false), 0, element, INDEX, die.size]);
            cu.has_array = true;
        }
        kind @ (kind::STRUCT | kind::UNION) => {
            let kflag = die.flags & FLAG_KFLAG != 0;
            cu.words.extend([name, info(kind, die.count, kflag), die.size]);
            for member in words[..die.count as usize * 3].chunks_exact(3) {
                cu.words.extend([member[0], offsets.id(dies, member[1]), member[2]]);
            }
        }
        kind::FWD => {
            let union = die.flags & FLAG_UNION != 0;
            cu.words.extend([name, info(kind::FWD, 0, union), 0]);
        }
        kind::ENUM => enumeration(dies, die, name, words, offsets, rules, cu),
        kind::FUNC_PROTO => {
            let variadic = u32::from(die.flags & FLAG_VARIADIC != 0);
            let ret = offsets.id(dies, die.ty);
            cu.words.extend([0, info(kind::FUNC_PROTO, die.count + variadic, false), ret]);
            for param in words[..die.count as usize * 2].chunks_exact(2) {
                cu.words.extend([param[0], offsets.id(dies, param[1])]);
            }
            if variadic != 0 {
                cu.words.extend([0, 0]);
            }
        }
        kind => cu.words.extend([name, info(kind, 0, false), target()]),
    }
}

/// The type's name, its own or that of what it completes.
fn named(dies: &Dies, die: &TypeDie, offsets: &Offsets) -> Code {
    if die.name != 0 || die.specification == 0 {
        return die.name;
    }
    offsets.find(die.specification).map_or(0, |index| dies.types[index].name)
}

/// A base type; its encoding is held where other types hold what they refer to.
fn base(die: &TypeDie, rules: Rules, cu: &mut Cu) {
    const SIGNED: u32 = 1;
    const BOOL: u32 = 4;
    let encoding = die.ty;
    // PARITY: bits are counted in 16 bits.
    let bytes = die.size.wrapping_mul(8) as u16;
    let bytes = u32::from(bytes).div_ceil(8);
    let (mut flags, mut float) = (0, false);
    match gimli::DwAte(encoding as u8) {
        gimli::DW_ATE_signed | gimli::DW_ATE_signed_char => flags = SIGNED,
        gimli::DW_ATE_boolean => flags = BOOL,
        gimli::DW_ATE_float => float = rules.floats,
        _ => {}
    }
    if float {
        cu.words.extend([die.name, info(kind::FLOAT, 0, false), bytes]);
        return;
    }
    let odd = !bytes.is_power_of_two() || bytes > 16;
    let (name, bytes) = if odd { (rules.fake_int, 4) } else { (die.name, bytes) };
    cu.words.extend([name, info(kind::INT, 0, false), bytes, flags << 24 | (bytes * 8)]);
}

fn enumeration(
    dies: &Dies,
    die: &TypeDie,
    name: Code,
    words: &[u32],
    offsets: &Offsets,
    rules: Rules,
    cu: &mut Cu,
) {
    let values = words[..die.count as usize * 3].chunks_exact(3);
    if die.size <= 4 || !rules.enum64 {
        let negative = values.clone().any(|value| (value[2] as i32) < 0);
        let kflag = negative && rules.enum64;
        cu.words.extend([name, info(kind::ENUM, die.count, kflag), die.size]);
        for value in values {
            cu.words.extend([value[0], value[1]]);
        }
        return;
    }
    let encoding = offsets.find(die.ty).map(|index| dies.types[index]);
    let signed = encoding.is_some_and(|ty| {
        u32::from(ty.kind) == kind::INT
            && matches!(gimli::DwAte(ty.ty as u8), gimli::DW_ATE_signed | gimli::DW_ATE_signed_char)
    });
    cu.words.extend([name, info(kind::ENUM64, die.count, signed), die.size]);
    for value in values {
        cu.words.extend([value[0], value[1], value[2]]);
    }
}

/// Puts a bitfield whose offset is counted from the high end of its storage unit at its place.
fn old_bitfield(dies: &Dies, old: &OldBitfield, offsets: &Offsets, rules: Rules, cu: &mut Cu) {
    // The record of the type that holds the member: members are written in the same order, so the
    // distance from the type's first word is the same.
    let owner = dies.types.iter().enumerate().find(|(_, die)| {
        let kind = u32::from(die.kind);
        let first = die.words;
        (kind == kind::STRUCT || kind == kind::UNION)
            && first <= old.word
            && old.word < first + die.count * 3
    });
    let Some((_, die)) = owner else { return };
    let at = cu.starts[die.id as usize - 1] + 3 + (old.word - die.words);
    let at = at as usize;
    let bit_size = cu.words[at + 2] >> 24;
    let mut byte_size = u64::from(old.byte_size);
    if byte_size == 0 {
        byte_size =
            cu.size_of(offsets.id(dies, dies.words[old.word as usize + 1]), rules.address_size);
    }
    if byte_size == 0 {
        return;
    }
    let storage = byte_size as i64 * 8;
    // PARITY: the offset within the storage unit is held in 8 bits.
    let mut offset = old.bit_offset;
    if !rules.big {
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
