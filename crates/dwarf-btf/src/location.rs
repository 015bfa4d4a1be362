//! Which register a parameter is in when its function is entered.
//!
//! pahole leaves out a function whose parameters are not where the calling convention puts them, since
//! a tracer could not read them. It looks at the first place that the debug information gives for a
//! parameter, and at entry values anywhere.
//!
//! Source of facts: dwarf_loader.c of pahole 1.31 (`parameter__decode_location`,
//! `arch__set_register_params`); DWARF 5, sections 2.5, 2.6 and 7.7.3.

use gimli::constants as dw;
use image::consts;

use crate::abbrev::Slot;
use crate::cursor::Cursor;
use crate::form::Form;
use crate::unit::{Unit, Values};

/// How a machine passes parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registers {
    /// DWARF numbers of the parameters' registers; empty where the machine is not known.
    pub order: &'static [u8],
    /// How many parameters are passed in registers.
    pub count: usize,
    /// Whether a structure may take two registers.
    pub pairs: bool,
}

impl Registers {
    /// The convention of `e_machine`.
    pub fn of(machine: u16) -> Self {
        let (order, count): (&[u8], usize) = match machine {
            m if m == consts::EM_S390.0 => (&[2, 3, 4, 5, 6], 5),
            m if m == consts::EM_X86_64.0 => (&[5, 4, 1, 2, 8, 9], 6),
            m if m == consts::EM_SPARC.0 || m == consts::EM_SPARCV9.0 => (&[], 6),
            m if m == consts::EM_AARCH64.0 || m == consts::EM_ARM.0 => {
                (&[0, 1, 2, 3, 4, 5, 6, 7], 8)
            }
            m if [
                consts::EM_ARC.0,
                consts::EM_MIPS.0,
                consts::EM_PPC.0,
                consts::EM_PPC64.0,
                consts::EM_RISCV.0,
            ]
            .contains(&m) =>
            {
                (&[], 8)
            }
            _ => (&[], 0),
        };
        Registers { order, count, pairs: machine != consts::EM_S390.0 }
    }
}

/// One operation of an expression: what it is, and its block.
#[derive(Debug, Clone, Copy)]
struct Operation<'d> {
    atom: gimli::DwOp,
    block: &'d [u8],
}

/// The operations of an expression; `None` if it cannot be read.
fn operations<'d>(
    bytes: &'d [u8],
    unit: &Unit<'d, '_>,
    out: &mut Vec<Operation<'d>>,
) -> Option<()> {
    out.clear();
    let mut cursor = Cursor::new(bytes, 0, unit.dwarf.big);
    let sizes = unit.header.sizes;
    while cursor.pos < bytes.len() {
        let atom = gimli::DwOp(cursor.u8().ok()?);
        let mut block = &[][..];
        match atom {
            dw::DW_OP_addr => {
                cursor.uint(sizes.address).ok()?;
            }
            dw::DW_OP_const1u
            | dw::DW_OP_const1s
            | dw::DW_OP_pick
            | dw::DW_OP_deref_size
            | dw::DW_OP_xderef_size => {
                cursor.uint(1).ok()?;
            }
            dw::DW_OP_const2u
            | dw::DW_OP_const2s
            | dw::DW_OP_skip
            | dw::DW_OP_bra
            | dw::DW_OP_call2 => {
                cursor.uint(2).ok()?;
            }
            dw::DW_OP_const4u
            | dw::DW_OP_const4s
            | dw::DW_OP_call4
            | dw::DW_OP_GNU_parameter_ref => {
                cursor.uint(4).ok()?;
            }
            dw::DW_OP_const8u | dw::DW_OP_const8s => {
                cursor.uint(8).ok()?;
            }
            dw::DW_OP_call_ref | dw::DW_OP_GNU_variable_value => {
                cursor.uint(sizes.offset).ok()?;
            }
            dw::DW_OP_constu
            | dw::DW_OP_plus_uconst
            | dw::DW_OP_regx
            | dw::DW_OP_piece
            | dw::DW_OP_addrx
            | dw::DW_OP_constx
            | dw::DW_OP_convert
            | dw::DW_OP_reinterpret
            | dw::DW_OP_GNU_convert
            | dw::DW_OP_GNU_reinterpret => {
                cursor.uleb().ok()?;
            }
            dw::DW_OP_consts | dw::DW_OP_fbreg => {
                cursor.sleb().ok()?;
            }
            dw::DW_OP_bregx => {
                cursor.uleb().ok()?;
                cursor.sleb().ok()?;
            }
            dw::DW_OP_bit_piece | dw::DW_OP_regval_type | dw::DW_OP_GNU_regval_type => {
                cursor.uleb().ok()?;
                cursor.uleb().ok()?;
            }
            dw::DW_OP_deref_type | dw::DW_OP_GNU_deref_type | dw::DW_OP_xderef_type => {
                cursor.uint(1).ok()?;
                cursor.uleb().ok()?;
            }
            dw::DW_OP_const_type | dw::DW_OP_GNU_const_type => {
                cursor.uleb().ok()?;
                let len = cursor.u8().ok()?;
                cursor.skip(usize::from(len)).ok()?;
            }
            dw::DW_OP_implicit_pointer | dw::DW_OP_GNU_implicit_pointer => {
                cursor.uint(sizes.offset).ok()?;
                cursor.sleb().ok()?;
            }
            dw::DW_OP_implicit_value | dw::DW_OP_entry_value | dw::DW_OP_GNU_entry_value => {
                let len = cursor.uleb().ok()?;
                block = cursor.bytes(usize::try_from(len).ok()?).ok()?;
            }
            op if (dw::DW_OP_breg0.0..=dw::DW_OP_breg31.0).contains(&op.0) => {
                cursor.sleb().ok()?;
            }
            _ => {}
        }
        out.push(Operation { atom, block });
    }
    Some(())
}

fn register(atom: gimli::DwOp) -> Option<u8> {
    atom.0.checked_sub(dw::DW_OP_reg0.0).filter(|&n| n < 32)
}

fn base_register(atom: gimli::DwOp) -> Option<u8> {
    atom.0.checked_sub(dw::DW_OP_breg0.0).filter(|&n| n < 32)
}

/// The register that the value of `DW_AT_location` puts the parameter in, by pahole's reading.
///
/// `size` is that of the parameter's type in bytes.
pub(crate) fn parameter_register<'d>(
    unit: &Unit<'d, '_>,
    values: &Values,
    registers: Registers,
    size: u64,
) -> Option<u8> {
    let mut found = None;
    let mut ops = Vec::new();
    let mut number = 0;
    each_expression(unit, values, &mut |bytes| {
        if operations(bytes, unit, &mut ops).is_none() {
            return false;
        }
        let first = number == 0;
        number += 1;
        if found.is_none() {
            found = expression_register(unit, &ops, first, registers, size);
        }
        found.is_none()
    });
    found
}

fn expression_register(
    unit: &Unit<'_, '_>,
    ops: &[Operation<'_>],
    first: bool,
    registers: Registers,
    size: u64,
) -> Option<u8> {
    let stack_value = ops.last()?.atom == dw::DW_OP_stack_value;
    let ops = if ops.len() == 2 && stack_value { &ops[..1] } else { ops };
    if ops.len() != 1 {
        return compound_register(unit, ops, first, registers, size);
    }
    let op = ops[0];
    if let Some(register) = register(op.atom) {
        return first.then_some(register);
    }
    if let Some(register) = base_register(op.atom) {
        return (first && stack_value).then_some(register);
    }
    if matches!(op.atom, dw::DW_OP_entry_value | dw::DW_OP_GNU_entry_value) {
        let mut inner = Vec::new();
        operations(op.block, unit, &mut inner)?;
        return if let [only] = inner[..] { register(only.atom) } else { None };
    }
    None
}

fn compound_register(
    unit: &Unit<'_, '_>,
    ops: &[Operation<'_>],
    first: bool,
    registers: Registers,
    size: u64,
) -> Option<u8> {
    let head = ops[0].atom;
    let literal = (dw::DW_OP_lit0.0..=dw::DW_OP_lit31.0).contains(&head.0);
    if literal || matches!(head, dw::DW_OP_constu | dw::DW_OP_consts) {
        return None;
    }
    if size <= u64::from(unit.header.sizes.address) || !registers.pairs {
        if !first {
            return None;
        }
        let value = ops[1..].iter().any(|op| op.atom == dw::DW_OP_stack_value);
        return register(head).or(base_register(head).filter(|_| value));
    }
    ops.iter().find_map(|op| register(op.atom))
}

/// Hands each expression of a location to `each`, until it returns false.
fn each_expression<'d>(
    unit: &Unit<'d, '_>,
    values: &Values,
    each: &mut dyn FnMut(&'d [u8]) -> bool,
) -> Option<()> {
    if let Some((start, len)) = values.block(Slot::Location) {
        each(unit.dwarf.info.get(start..start.checked_add(len)?)?);
        return Some(());
    }
    let (form, value) = values.get(Slot::Location)?;
    let size = unit.header.sizes.offset;
    let at = match form {
        Form::ListOffset | Form::Uint => value,
        Form::ListIndex => {
            let index = value.checked_mul(u64::from(size))?.checked_add(unit.loclists_base)?;
            let index = usize::try_from(index).ok()?;
            let mut cursor = Cursor::new(unit.dwarf.loclists, index, unit.dwarf.big);
            unit.loclists_base.checked_add(cursor.uint(size).ok()?)?
        }
        _ => return None,
    };
    let at = usize::try_from(at).ok()?;
    if unit.header.sizes.version >= 5 { list(unit, at, each) } else { old_list(unit, at, each) }
}

fn list<'d>(unit: &Unit<'d, '_>, at: usize, each: &mut dyn FnMut(&'d [u8]) -> bool) -> Option<()> {
    let mut cursor = Cursor::new(unit.dwarf.loclists, at, unit.dwarf.big);
    let address = usize::from(unit.header.sizes.address);
    loop {
        match gimli::DwLle(cursor.u8().ok()?) {
            dw::DW_LLE_end_of_list => return Some(()),
            dw::DW_LLE_base_addressx => {
                cursor.uleb().ok()?;
                continue;
            }
            dw::DW_LLE_base_address => {
                cursor.skip(address).ok()?;
                continue;
            }
            dw::DW_LLE_startx_endx | dw::DW_LLE_startx_length | dw::DW_LLE_offset_pair => {
                cursor.uleb().ok()?;
                cursor.uleb().ok()?;
            }
            dw::DW_LLE_default_location => {}
            dw::DW_LLE_start_end => cursor.skip(2 * address).ok()?,
            dw::DW_LLE_start_length => {
                cursor.skip(address).ok()?;
                cursor.uleb().ok()?;
            }
            // A pair of view numbers, which GCC puts between entries.
            dw::DW_LLE_GNU_view_pair => {
                cursor.uleb().ok()?;
                cursor.uleb().ok()?;
                continue;
            }
            _ => return None,
        }
        let len = cursor.uleb().ok()?;
        let bytes = cursor.bytes(usize::try_from(len).ok()?).ok()?;
        if !each(bytes) {
            return Some(());
        }
    }
}

fn old_list<'d>(
    unit: &Unit<'d, '_>,
    at: usize,
    each: &mut dyn FnMut(&'d [u8]) -> bool,
) -> Option<()> {
    let mut cursor = Cursor::new(unit.dwarf.loc, at, unit.dwarf.big);
    let size = unit.header.sizes.address;
    let base = if size == 4 { u64::from(u32::MAX) } else { u64::MAX };
    loop {
        let (start, end) = (cursor.uint(size).ok()?, cursor.uint(size).ok()?);
        if (start, end) == (0, 0) {
            return Some(());
        }
        if start == base {
            continue;
        }
        let len = cursor.u16().ok()?;
        if !each(cursor.bytes(usize::from(len)).ok()?) {
            return Some(());
        }
    }
}
