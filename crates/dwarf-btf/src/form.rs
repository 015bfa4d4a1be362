//! The forms of attributes: how their bytes are laid out, and how to pass over them.
//!
//! Source of facts: DWARF 5, sections 7.5.5 and 7.5.6; DWARF 4 for the older forms; GCC's dwarf2.def for
//! those of the supplementary file.

use gimli::constants as dw;

use crate::cursor::{Cursor, Fault, Read};

/// How the bytes of an attribute are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Form {
    /// An unsigned number of `arg` bytes.
    Uint,
    Uleb,
    Sleb,
    /// A number of `arg` bytes that refers to an entry of the same unit.
    UnitRef,
    UnitRefUleb,
    /// A number of `arg` bytes that refers into the section.
    SectionRef,
    /// An offset of `arg` bytes into a list section.
    ListOffset,
    /// An index into the offsets of `.debug_loclists`.
    ListIndex,
    Addr,
    /// An index into `.debug_addr`, of `arg` bytes or ULEB128 (0).
    AddrIndex,
    Strp,
    LineStrp,
    /// An index into `.debug_str_offsets`, of `arg` bytes or ULEB128 (0).
    StrIndex,
    InlineStr,
    Block1,
    Block2,
    Block4,
    BlockUleb,
    Exprloc,
    /// No bytes: the attribute is there.
    Present,
    /// No bytes: the value is the abbreviation's.
    Implicit,
    /// `arg` bytes that are not understood further.
    Opaque,
    /// A form of no known kind behind a number of its own (`DW_FORM_indirect`).
    Indirect,
}

/// What sizes depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub address: u8,
    pub offset: u8,
    pub version: u16,
}

/// Passes over one attribute.
pub(crate) fn skip_form(cursor: &mut Cursor<'_>, form: Form, size: u8) -> Read<()> {
    match form {
        Form::Uleb | Form::UnitRefUleb | Form::ListIndex => cursor.uleb().map(drop),
        Form::Sleb => cursor.sleb().map(drop),
        Form::InlineStr => cursor.cstr().map(drop),
        Form::Block1 => cursor.u8().and_then(|n| cursor.skip(usize::from(n))),
        Form::Block2 => cursor.u16().and_then(|n| cursor.skip(usize::from(n))),
        Form::Block4 => cursor.u32().and_then(|n| cursor.skip(n as usize)),
        Form::BlockUleb | Form::Exprloc => {
            let len = cursor.uleb()?;
            cursor.skip(usize::try_from(len).unwrap_or(usize::MAX))
        }
        Form::StrIndex | Form::AddrIndex if size == 0 => cursor.uleb().map(drop),
        Form::Indirect => {
            Err(Fault { offset: cursor.pos, cause: "DW_FORM_indirect is not supported" })
        }
        Form::Present | Form::Implicit => Ok(()),
        _ => cursor.skip(usize::from(size)),
    }
}

impl Form {
    /// Size in bytes where it does not depend on the bytes themselves.
    pub fn fixed_size(self, size: u8) -> Option<usize> {
        match self {
            Form::Uint
            | Form::UnitRef
            | Form::SectionRef
            | Form::ListOffset
            | Form::Addr
            | Form::Strp
            | Form::LineStrp
            | Form::Opaque => Some(usize::from(size)),
            Form::StrIndex | Form::AddrIndex if size != 0 => Some(usize::from(size)),
            Form::Present | Form::Implicit => Some(0),
            _ => None,
        }
    }
}

/// The layout of a form by its number, and its size in bytes where that is fixed.
pub(crate) fn classify(form: u64, sizes: Sizes, at: usize) -> Read<(Form, u8)> {
    let unknown = Fault { offset: at, cause: "an attribute of an unknown form" };
    let form = gimli::DwForm(u16::try_from(form).map_err(|_| unknown)?);
    Ok(match form {
        dw::DW_FORM_addr => (Form::Addr, sizes.address),
        dw::DW_FORM_addrx => (Form::AddrIndex, 0),
        dw::DW_FORM_addrx1 => (Form::AddrIndex, 1),
        dw::DW_FORM_addrx2 => (Form::AddrIndex, 2),
        dw::DW_FORM_addrx3 => (Form::AddrIndex, 3),
        dw::DW_FORM_addrx4 => (Form::AddrIndex, 4),
        dw::DW_FORM_block1 => (Form::Block1, 0),
        dw::DW_FORM_block2 => (Form::Block2, 0),
        dw::DW_FORM_block4 => (Form::Block4, 0),
        dw::DW_FORM_block => (Form::BlockUleb, 0),
        dw::DW_FORM_exprloc => (Form::Exprloc, 0),
        dw::DW_FORM_data1 | dw::DW_FORM_flag => (Form::Uint, 1),
        dw::DW_FORM_data2 => (Form::Uint, 2),
        dw::DW_FORM_data4 => (Form::Uint, 4),
        dw::DW_FORM_data8 => (Form::Uint, 8),
        dw::DW_FORM_data16 => (Form::Opaque, 16),
        // Only types are referred to so.
        dw::DW_FORM_ref_sig8 => {
            return Err(Fault { offset: at, cause: crate::sections::TYPE_UNITS });
        }
        dw::DW_FORM_udata => (Form::Uleb, 0),
        dw::DW_FORM_sdata => (Form::Sleb, 0),
        dw::DW_FORM_flag_present => (Form::Present, 0),
        dw::DW_FORM_implicit_const => (Form::Implicit, 0),
        dw::DW_FORM_string => (Form::InlineStr, 0),
        dw::DW_FORM_strp => (Form::Strp, sizes.offset),
        dw::DW_FORM_line_strp => (Form::LineStrp, sizes.offset),
        dw::DW_FORM_strx => (Form::StrIndex, 0),
        dw::DW_FORM_strx1 => (Form::StrIndex, 1),
        dw::DW_FORM_strx2 => (Form::StrIndex, 2),
        dw::DW_FORM_strx3 => (Form::StrIndex, 3),
        dw::DW_FORM_strx4 => (Form::StrIndex, 4),
        dw::DW_FORM_strp_sup | dw::DW_FORM_GNU_strp_alt | dw::DW_FORM_GNU_ref_alt => {
            (Form::Opaque, sizes.offset)
        }
        dw::DW_FORM_ref_sup4 => (Form::Opaque, 4),
        dw::DW_FORM_ref_sup8 => (Form::Opaque, 8),
        dw::DW_FORM_ref1 => (Form::UnitRef, 1),
        dw::DW_FORM_ref2 => (Form::UnitRef, 2),
        dw::DW_FORM_ref4 => (Form::UnitRef, 4),
        dw::DW_FORM_ref8 => (Form::UnitRef, 8),
        dw::DW_FORM_ref_udata => (Form::UnitRefUleb, 0),
        dw::DW_FORM_ref_addr if sizes.version < 3 => (Form::SectionRef, sizes.address),
        dw::DW_FORM_ref_addr => (Form::SectionRef, sizes.offset),
        dw::DW_FORM_sec_offset => (Form::ListOffset, sizes.offset),
        dw::DW_FORM_loclistx | dw::DW_FORM_rnglistx => (Form::ListIndex, 0),
        dw::DW_FORM_indirect => (Form::Indirect, 0),
        _ => return Err(unknown),
    })
}
