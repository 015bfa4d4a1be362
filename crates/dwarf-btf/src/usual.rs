//! Entries as nearly all are.
//!
//! Nine of ten entries of C types are read for a name, a reference and a number at most, and all their attributes are
//! of fixed size. These are read with three loads and no branch: what is not there is masked out.

use gimli::constants as dw;

use crate::abbrev::{Slot, Spec};
use crate::cursor::{Cursor, Fault, Read};
use crate::form::Form;
use crate::strings::{Code, offset_code};

/// Where name, type and number stand behind an entry's code, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usual {
    /// Offset into `.debug_str`, of four bytes.
    name: u8,
    /// Reference of four bytes to an entry of the unit.
    ty: u8,
    number: u8,
    /// Size of all attributes.
    len: u8,
    /// The bits of each that count: none of what is not there.
    name_mask: u32,
    ty_mask: u32,
    number_mask: u32,
}

/// What an entry of the usual form says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UsualValues {
    pub name: Code,
    /// Offset of an entry; 0 where there is none.
    pub ty: u32,
    /// 0 where there is none.
    pub number: u32,
}

/// Longer entries are not usual, in bytes.
const LONGEST: usize = 31;
/// What an entry is read from: the last of its attributes is loaded with four bytes.
type Bytes = [u8; LONGEST + 1 + 4];

/// The one number that an entry of this tag is read for: a member's offset, a structure's size, an enumerator's value, an
/// array's last index.
fn number_of(tag: u16) -> Option<Slot> {
    match gimli::DwTag(tag) {
        dw::DW_TAG_member => Some(Slot::MemberLocation),
        dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
            Some(Slot::ByteSize)
        }
        dw::DW_TAG_enumerator => Some(Slot::ConstValue),
        dw::DW_TAG_subrange_type => Some(Slot::UpperBound),
        _ => None,
    }
}

impl Usual {
    /// Where the attributes of an abbreviation stand, if they are so.
    pub fn of(tag: u16, specs: &[Spec], wanted: u32) -> Option<Self> {
        let mut usual =
            Usual { name: 0, ty: 0, number: 0, len: 0, name_mask: 0, ty_mask: 0, number_mask: 0 };
        for spec in specs {
            let at = usual.len;
            match (spec.slot, spec.kind, spec.size) {
                (Some(Slot::Name), Form::Strp, 4) => {
                    (usual.name, usual.name_mask) = (at, u32::MAX);
                }
                (Some(Slot::Type), Form::UnitRef, 4) => {
                    (usual.ty, usual.ty_mask) = (at, u32::MAX);
                }
                (Some(slot), Form::Uint, size @ (1 | 2 | 4)) if number_of(tag) == Some(slot) => {
                    (usual.number, usual.number_mask) = (at, u32::MAX >> (32 - 8 * size));
                }
                (Some(slot), ..) if wanted & (1 << slot as u32) != 0 => return None,
                _ => {}
            }
            let end = usize::from(at) + spec.len?;
            usual.len = u8::try_from(end).ok().filter(|_| end <= LONGEST)?;
        }
        Some(usual)
    }

    /// Reads an entry of the unit that begins at `start`, whose code was read.
    #[inline(always)]
    pub fn read(self, cursor: &mut Cursor<'_>, start: u32) -> Read<UsualValues> {
        let bytes = cursor.data.get(cursor.pos..).and_then(|rest| rest.first_chunk());
        let Some(bytes) = bytes else { return self.read_last(cursor, start) };
        cursor.pos += usize::from(self.len);
        Ok(self.values(bytes, cursor.big, start))
    }

    /// One of the unit's last entries.
    #[cold]
    fn read_last(self, cursor: &mut Cursor<'_>, start: u32) -> Read<UsualValues> {
        let mut bytes: Bytes = [0; _];
        let entry = cursor.bytes(usize::from(self.len))?;
        let cut = Fault { offset: cursor.pos, cause: "an entry is cut off" };
        bytes.get_mut(..entry.len()).ok_or(cut)?.copy_from_slice(entry);
        Ok(self.values(&bytes, cursor.big, start))
    }

    #[inline(always)]
    fn values(self, bytes: &Bytes, big: bool, start: u32) -> UsualValues {
        let word = |at: u8| {
            let at = usize::from(at) & LONGEST;
            let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            if big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
        };
        let number = match word(self.number) {
            number if big => number.unbounded_shr(self.number_mask.leading_zeros()),
            number => number,
        };
        UsualValues {
            name: offset_code(word(self.name)) & self.name_mask,
            ty: start.wrapping_add(word(self.ty)) & self.ty_mask,
            number: number & self.number_mask,
        }
    }
}
