//! What the relocations of each machine do that stand in debug sections.
//!
//! Only those are here that compilers and assemblers use for DWARF: addresses, offsets, and
//! RISC-V's differences. Anything else is refused by name of its number. Source of facts: the psABI
//! of each machine.

use image::consts::{EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64};

/// What is done with the value, symbol plus addend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// It becomes the field.
    Store,
    /// It becomes the field, less the field's address.
    Relative,
    /// It is added to the field.
    Add,
    /// It is subtracted from the field.
    Subtract,
    /// Nothing is done.
    Nothing,
}

/// Which values fit the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// All; what is beyond is cut off.
    Any,
    /// Those that are the same after extension with zeros.
    Unsigned,
    /// Those that are the same after sign extension.
    Signed,
    /// Either of the two.
    Either,
}

/// What a relocation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct How {
    /// Size of the field in bytes: 1, 2, 4 or 8.
    pub(crate) size: u8,
    /// Bits of the field that are changed; all but for RISC-V's six-bit fields.
    pub(crate) mask: u8,
    pub(crate) act: Act,
    pub(crate) range: Range,
}

const fn how(size: u8, act: Act, range: Range) -> How {
    How { size, mask: 0xff, act, range }
}

/// What the relocation `r_type` of `machine` does; `None` if it is not known here.
pub(crate) fn of(machine: u16, r_type: u32) -> Option<How> {
    use Act::{Nothing, Relative, Store};
    use Range::{Any, Either, Signed, Unsigned};
    if r_type == 0 {
        return Some(how(1, Nothing, Any));
    }
    let known = match (machine, r_type) {
        (m, 1) if m == EM_X86_64.0 => how(8, Store, Any),
        // To a table of the linker's only where a symbol is in another file, or an indirect function.
        (m, 2 | 4) if m == EM_X86_64.0 => how(4, Relative, Signed),
        (m, 10) if m == EM_X86_64.0 => how(4, Store, Unsigned),
        (m, 11) if m == EM_X86_64.0 => how(4, Store, Signed),
        (m, 24) if m == EM_X86_64.0 => how(8, Relative, Any),
        (m, 1) if m == EM_386.0 => how(4, Store, Any),
        (m, 2) if m == EM_386.0 => how(4, Relative, Any),
        (m, 257) if m == EM_AARCH64.0 => how(8, Store, Any),
        (m, 258) if m == EM_AARCH64.0 => how(4, Store, Either),
        (m, 2) if m == EM_ARM.0 => how(4, Store, Any),
        (m, 38) if m == EM_PPC64.0 => how(8, Store, Any),
        (m, 1) if m == EM_PPC64.0 => how(4, Store, Either),
        (m, 22) if m == EM_S390.0 => how(8, Store, Any),
        (m, 4) if m == EM_S390.0 => how(4, Store, Either),
        (m, r) if m == EM_RISCV.0 => return riscv(r),
        _ => return None,
    };
    Some(known)
}

/// RISC-V writes differences of labels as pairs of relocations of one field.
fn riscv(r_type: u32) -> Option<How> {
    use Act::{Add, Store, Subtract};
    let whole = |size, act| how(size, act, Range::Any);
    Some(match r_type {
        1 => whole(4, Store),
        2 => whole(8, Store),
        33..=36 => whole(1 << (r_type - 33), Add),
        37..=40 => whole(1 << (r_type - 37), Subtract),
        52 => How { mask: 0x3f, ..whole(1, Subtract) },
        53 => How { mask: 0x3f, ..whole(1, Store) },
        54..=56 => whole(1 << (r_type - 54), Store),
        _ => return None,
    })
}
