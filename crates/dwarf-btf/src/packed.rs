//! Whether a structure is packed, as pahole infers it.
//!
//! A structure that is passed on the stack lies there by its alignment. Debug information does not say
//! whether a structure is packed, so pahole takes it to be if it has no holes and a member that is not at
//! a multiple of its own size, or a size that is no multiple of its widest member. A function that takes
//! such a structure behind the register parameters is left out, since a tracer could look for it at the
//! wrong place.
//!
//! Cost: only structures that are passed by value behind the registers are looked at, a few in a kernel.
//!
//! Source of facts: dwarves.c of pahole 1.31 (`class__infer_packed_attributes`, `class__find_holes`,
//! `tag__natural_alignment`), btf_encoder.c (`ftype__has_uncertain_arg_loc`).

use hashbrown::HashMap;

use crate::cu::{Cu, LocalId, kind, kind_of};
use crate::hash::FixedState;

/// More levels of structures and arrays in one another are not looked at.
const MAX_DEPTH: u32 = 64;

/// What is known of a unit's structures.
///
/// PARITY: looking at one structure may settle another one that is embedded in it, so answers depend on
/// the order of the questions.
pub(crate) struct Packing<'c> {
    cu: &'c Cu,
    address_size: u8,
    packed: HashMap<LocalId, bool, FixedState>,
}

/// A member of a structure.
#[derive(Clone, Copy)]
struct Member {
    ty: LocalId,
    /// Offset in bits.
    bits: u32,
    /// Width of a bitfield in bits, 0 for a whole member.
    width: u32,
    /// Size in bytes; of a bitfield, of its type.
    size: u32,
}

impl Member {
    /// Offset in bytes; of a bitfield, that of the unit of its type's size that it begins in.
    fn byte(self) -> u32 {
        match self.size.wrapping_mul(8) {
            unit if self.width != 0 && unit != 0 => self.bits / unit * unit / 8,
            _ => self.bits / 8,
        }
    }
}

impl<'c> Packing<'c> {
    pub fn new(cu: &'c Cu, address_size: u8) -> Self {
        Packing { cu, address_size, packed: HashMap::with_hasher(FixedState) }
    }

    /// Whether a type is a structure with a name that is packed. `alignment` gives the `DW_AT_alignment` of
    /// a structure, 0 where it has none.
    pub fn is_packed(&mut self, id: LocalId, alignment: impl FnOnce() -> u64) -> bool {
        let Some(record) = self.structure(id) else { return false };
        if record[0] == 0 {
            return false;
        }
        if let Some(&known) = self.packed.get(&id) {
            return known;
        }
        let members = self.members(id);
        let packed = if has_holes(&members, record[2]) {
            self.settle_embedded(&members);
            false
        } else {
            self.by_members(&members, record[2], alignment)
        };
        self.packed.insert(id, packed);
        packed
    }

    fn by_members(&self, members: &[Member], size: u32, alignment: impl FnOnce() -> u64) -> bool {
        let mut widest = 1;
        for member in members {
            let natural = self.natural(self.plain(member.ty), 0);
            if natural == 1 {
                continue;
            }
            widest = natural.max(widest);
            if !member.byte().is_multiple_of(natural) {
                return true;
            }
        }
        widest != 1 && (alignment() == 1 || !size.is_multiple_of(widest))
    }

    /// In a structure with holes, an embedded one that is not aligned is packed.
    fn settle_embedded(&mut self, members: &[Member]) {
        for member in members {
            let id = self.plain(member.ty);
            if self.structure(id).is_some() && !member.byte().is_multiple_of(self.natural(id, 0)) {
                self.packed.insert(id, true);
            }
        }
    }

    fn structure(&self, id: LocalId) -> Option<&'c [u32]> {
        let record = self.record(id)?;
        (kind_of(record[1]) == kind::STRUCT).then_some(record)
    }

    fn record(&self, id: LocalId) -> Option<&'c [u32]> {
        (id != 0 && id as usize <= self.cu.starts.len()).then(|| self.cu.record(id))
    }

    fn members(&self, id: LocalId) -> Vec<Member> {
        let Some(record) = self.record(id) else { return Vec::new() };
        let bitfields = record[1] >> 31 != 0;
        let member = |words: &[u32]| {
            let (bits, width) = match bitfields {
                true => (words[2] & 0xff_ffff, words[2] >> 24),
                false => (words[2], 0),
            };
            let size = self.cu.size_of(words[1], self.address_size) as u32;
            Member { ty: words[1], bits, width, size }
        };
        record[3..].chunks_exact(3).map(member).collect()
    }

    /// The type below typedefs and qualifiers.
    fn plain(&self, id: LocalId) -> LocalId {
        let mut id = id;
        for _ in 0..256 {
            match self.record(id) {
                Some(record)
                    if matches!(
                        kind_of(record[1]),
                        kind::TYPEDEF | kind::CONST | kind::VOLATILE | kind::RESTRICT
                    ) =>
                {
                    id = record[2];
                }
                _ => break,
            }
        }
        id
    }

    /// What a type is aligned to by itself: the widest scalar in it, in bytes.
    fn natural(&self, id: LocalId, depth: u32) -> u32 {
        let Some(record) = self.record(id).filter(|_| depth < MAX_DEPTH) else { return 1 };
        let natural = match kind_of(record[1]) {
            kind::PTR => u32::from(self.address_size),
            kind::INT => (record[3] & 0xff) / 8,
            kind::FLOAT | kind::ENUM | kind::ENUM64 => record[2],
            kind::ARRAY => self.natural(self.plain(record[3]), depth + 1),
            kind::STRUCT | kind::UNION => {
                let members = record[3..].chunks_exact(3);
                let each = members.map(|m| self.natural(self.plain(m[1]), depth + 1));
                each.max().unwrap_or(1) & 0xffff
            }
            _ => 1,
        };
        natural.max(1)
    }
}

/// Whether bytes lie between the members or behind them, by pahole's count.
fn has_holes(members: &[Member], size: u32) -> bool {
    let mut end_of_unit = size.wrapping_mul(8);
    let (mut unit, mut last, mut in_bitfield) = (0u32, 0u32, false);
    let mut holes = false;
    for member in members {
        let start = member.bits;
        if in_bitfield {
            last = start.min(end_of_unit);
        }
        let bytes = if member.width == 0 {
            (start / 8).wrapping_sub(last / 8) as i32
        } else {
            let aligned = member.byte().wrapping_mul(8);
            match last < aligned && aligned <= start {
                true => member.byte().wrapping_sub(last / 8) as i32,
                false => 0,
            }
        };
        holes |= bytes > 0;
        let whole = member.size.wrapping_mul(8);
        last = start.wrapping_add(if member.width == 0 { whole } else { member.width });
        in_bitfield = member.width != 0;
        if !in_bitfield {
            (unit, end_of_unit) = (0, last);
        } else if last > end_of_unit || whole > unit {
            unit = whole;
            end_of_unit = member.byte().wrapping_mul(8).wrapping_add(unit);
            if last > end_of_unit {
                end_of_unit = end_of_unit.wrapping_add(unit);
            }
        }
    }
    if in_bitfield {
        last = size.wrapping_mul(8).min(end_of_unit);
    }
    holes || size != last / 8
}
