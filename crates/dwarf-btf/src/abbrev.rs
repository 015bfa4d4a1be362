//! Abbreviations, compiled.
//!
//! A kernel's `.debug_info` has tens of millions of entries, and of most of their attributes nothing
//! is needed. Each abbreviation is therefore turned once into two short programs: one that passes over
//! all attributes, one that reads those that its tag is read for. Runs of attributes of fixed size
//! become one addition; an entry whose attributes are all of fixed size is passed over with a single
//! addition.
//!
//! Source of facts: DWARF 5, sections 7.5.3 to 7.5.6; DWARF 4 for the older forms.

use gimli::constants as dw;

use crate::cursor::{Cursor, Fault, Read};
use crate::declarations::{self, Compiled, Declarations};
use crate::form::{Form, Sizes, classify, skip_form};
use crate::usual::Usual;

/// What an attribute of an entry is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Slot {
    Name,
    Type,
    ByteSize,
    Encoding,
    BitSize,
    BitOffset,
    DataBitOffset,
    MemberLocation,
    Declaration,
    External,
    AbstractOrigin,
    Specification,
    ConstValue,
    UpperBound,
    Count,
    Location,
    LowPc,
    Inline,
    Sibling,
    Language,
    Producer,
    StrOffsetsBase,
    AddrBase,
    LoclistsBase,
    Artificial,
    CallingConvention,
    GnuAnnotation,
    Alignment,
    DwoName,
}

pub(crate) const SLOTS: usize = Slot::DwoName as usize + 1;

/// GCC's attribute and tag for BTF annotations (GCC 16).
const DW_AT_GNU_ANNOTATION: u64 = 0x2139;
const DW_TAG_LLVM_ANNOTATION: u16 = 0x6000;
const DW_TAG_GNU_ANNOTATION: u16 = 0x6001;

/// One step over an entry's attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// Passes over this many bytes.
    Skip(u16),
    /// Passes over an attribute of variable size.
    SkipForm(Form, u8),
    /// Reads an attribute; `arg` is the size in bytes.
    Read(Slot, Form, u8),
    /// The attribute's value is this entry of the table's constants.
    Implicit(Slot, u16),
}

/// What an entry is to its function, apart from parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing in it matters.
    Passed,
    /// What it holds is as if it stood in the function itself.
    Block,
    /// It is treated as at the top of a unit.
    Entry,
}

/// A compiled abbreviation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abbrev {
    pub tag: u16,
    pub children: bool,
    /// Size in bytes of all attributes, `u16::MAX` where it is not fixed.
    fixed: u16,
    /// Where `DW_AT_sibling` of four bytes stands behind the entry's code, if all before it is fixed.
    sibling: u16,
    skip: (u32, u16),
    read: (u32, u16),
    /// Whether it has an attribute of that slot.
    pub has: u32,
    pub role: Role,
    /// Where the attributes that are read stand, if they are the usual ones.
    pub usual: Option<Usual>,
}

const NONE: u16 = u16::MAX;

/// The abbreviations of a unit.
#[derive(Debug, Default)]
pub(crate) struct Table {
    dense: Vec<Abbrev>,
    /// Programs, also of earlier tables.
    ops: Vec<Op>,
    constants: Vec<i64>,
    known: Declarations,
    /// What programs were made for.
    sizes: Option<Sizes>,
    pub ref_addr: bool,
}

/// An attribute of an abbreviation.
#[derive(Clone, Copy)]
pub(crate) struct Spec {
    pub slot: Option<Slot>,
    pub kind: Form,
    pub size: u8,
    /// Its length in bytes where it is fixed.
    pub len: Option<usize>,
    implicit: i64,
}

/// More attributes than this no entry has.
const MAX_ATTRIBUTES: usize = 64;
/// With more constants than this, programs are made anew: a number of 16 bits is to tell them apart.
const MANY_CONSTANTS: usize = 1 << 12;

impl Table {
    /// Reads the table at `at` of `.debug_abbrev`, into the memory of an earlier table. A kernel's codes
    /// count up from 1, which makes the table an array; a code out of order is refused above 2 to the
    /// 20th.
    pub fn reload(&mut self, section: &[u8], at: usize, sizes: Sizes, big: bool) -> Read<()> {
        self.dense.clear();
        self.ref_addr = false;
        if self.sizes != Some(sizes)
            || self.known.is_full()
            || self.constants.len() > MANY_CONSTANTS
        {
            self.sizes = Some(sizes);
            self.known.clear();
            self.ops.clear();
            self.constants.clear();
        }
        let mut cursor = Cursor::new(section, at, big);
        let mut specs = Vec::with_capacity(MAX_ATTRIBUTES);
        loop {
            let start = cursor.pos;
            let code = cursor.uleb()?;
            if code == 0 {
                return Ok(());
            }
            let mut behind = cursor;
            // One that is cut off is not known, and the fault is found when it is compiled.
            let bytes = declarations::pass(&mut behind, |_| ()).unwrap_or_default();
            let Compiled { abbrev, ref_addr } = match self.known.get(bytes) {
                Some(compiled) => {
                    cursor = behind;
                    compiled
                }
                None => {
                    let compiled = self.declaration(&mut cursor, sizes, &mut specs)?;
                    self.known.set(bytes, compiled);
                    compiled
                }
            };
            self.ref_addr |= ref_addr;
            let index = code as usize;
            if index > self.dense.len() + 1 && index > 1 << 20 {
                return Err(Fault { offset: start, cause: "an abbreviation code out of range" });
            }
            if self.dense.len() < index {
                self.dense.resize(index, Abbrev::UNUSED);
            }
            let slot = &mut self.dense[index - 1];
            if slot.tag == 0 {
                *slot = abbrev;
            }
        }
    }

    /// Gives up the memory that only another table would need.
    pub fn finish(&mut self) {
        self.known = Declarations::default();
    }

    /// The abbreviation of that code.
    #[inline]
    pub fn get(&self, code: u64, offset: usize) -> Read<&Abbrev> {
        match self.dense.get((code as usize).wrapping_sub(1)) {
            Some(abbrev) if abbrev.tag != 0 => Ok(abbrev),
            _ => Err(Fault { offset, cause: "an entry of an unknown abbreviation" }),
        }
    }

    fn declaration(
        &mut self,
        cursor: &mut Cursor<'_>,
        sizes: Sizes,
        specs: &mut Vec<Spec>,
    ) -> Read<Compiled> {
        let at = cursor.pos;
        let tag = cursor.uleb()?;
        let tag = u16::try_from(tag).ok().filter(|&t| t != 0);
        let tag = tag.ok_or(Fault { offset: at, cause: "a tag out of range" })?;
        let children = cursor.u8()? != 0;
        let wanted = wanted(tag);
        let mut abbrev = Abbrev { tag, children, ..Abbrev::UNUSED };
        let mut ref_addr = false;
        specs.clear();
        let mut fixed = Some(0usize);
        loop {
            let (name, form) = (cursor.uleb()?, cursor.uleb()?);
            let implicit =
                if form == u64::from(dw::DW_FORM_implicit_const.0) { cursor.sleb()? } else { 0 };
            if (name, form) == (0, 0) {
                break;
            }
            ref_addr |= form == u64::from(dw::DW_FORM_ref_addr.0);
            if specs.len() == MAX_ATTRIBUTES {
                return Err(Fault { offset: at, cause: "an abbreviation of over 64 attributes" });
            }
            let (kind, size) = classify(form, sizes, at)?;
            let slot = slot_of(name);
            let len = kind.fixed_size(size);
            if name == u64::from(dw::DW_AT_sibling.0) && (kind, size) == (Form::UnitRef, 4) {
                abbrev.sibling = fixed.and_then(|at| u16::try_from(at).ok()).unwrap_or(NONE);
            }
            if let Some(slot) = slot {
                abbrev.has |= 1 << slot as u32;
            }
            fixed = fixed.zip(len).map(|(a, b)| a + b);
            specs.push(Spec { slot, kind, size, len, implicit });
        }
        abbrev.fixed = fixed.and_then(|at| u16::try_from(at).ok()).unwrap_or(NONE);
        if wanted != 0 && abbrev.fixed != NONE {
            abbrev.usual = Usual::of(tag, specs, wanted);
        }
        abbrev.role = abbrev.role(specs);
        if abbrev.fixed == NONE {
            abbrev.skip = self.program(specs, 0, at)?;
        }
        if wanted != 0 {
            abbrev.read = self.program(specs, wanted, at)?;
        } else {
            abbrev.read = abbrev.skip;
        }
        Ok(Compiled { abbrev, ref_addr })
    }

    fn program(&mut self, specs: &[Spec], wanted: u32, at: usize) -> Read<(u32, u16)> {
        let start = self.ops.len();
        let mut pending = 0usize;
        // What stands behind the last attribute that is read is passed over all the same: the next
        // entry follows.
        for spec in specs {
            let slot = spec.slot.filter(|&slot| wanted & (1 << slot as u32) != 0);
            if let (None, Some(len)) = (slot, spec.len) {
                pending += len;
                continue;
            }
            self.flush(&mut pending);
            match slot {
                Some(slot) if spec.kind == Form::Implicit => {
                    let index = u16::try_from(self.constants.len());
                    let cause = "too many constants in an abbreviation table";
                    let index = index.map_err(|_| Fault { offset: at, cause })?;
                    self.constants.push(spec.implicit);
                    self.ops.push(Op::Implicit(slot, index));
                }
                Some(slot) => self.ops.push(Op::Read(slot, spec.kind, spec.size)),
                None => self.ops.push(Op::SkipForm(spec.kind, spec.size)),
            }
        }
        self.flush(&mut pending);
        Ok((start as u32, (self.ops.len() - start) as u16))
    }

    fn flush(&mut self, pending: &mut usize) {
        while *pending > 0 {
            let step = (*pending).min(usize::from(u16::MAX));
            self.ops.push(Op::Skip(step as u16));
            *pending -= step;
        }
    }

    /// Passes over an entry's attributes.
    #[inline]
    pub fn skip(&self, abbrev: &Abbrev, cursor: &mut Cursor<'_>) -> Read<()> {
        if abbrev.fixed != NONE {
            return cursor.skip(usize::from(abbrev.fixed));
        }
        self.skip_slowly(abbrev, cursor)
    }

    fn skip_slowly(&self, abbrev: &Abbrev, cursor: &mut Cursor<'_>) -> Read<()> {
        let (start, len) = abbrev.skip;
        for op in &self.ops[start as usize..][..usize::from(len)] {
            match *op {
                Op::Skip(n) => cursor.skip(usize::from(n))?,
                Op::SkipForm(form, size) => skip_form(cursor, form, size)?,
                Op::Read(..) | Op::Implicit(..) => {}
            }
        }
        Ok(())
    }

    /// `DW_AT_sibling` of the entry whose attributes begin at the cursor, as an offset into the unit,
    /// where it can be had without reading on.
    #[inline]
    pub fn sibling(&self, abbrev: &Abbrev, cursor: &Cursor<'_>) -> Option<u32> {
        if abbrev.sibling == NONE {
            return None;
        }
        let mut ahead = *cursor;
        ahead.skip(usize::from(abbrev.sibling)).ok()?;
        ahead.u32().ok()
    }

    /// The program that reads the attributes that the tag is read for.
    #[inline]
    pub fn program_of(&self, abbrev: &Abbrev) -> &[Op] {
        let (start, len) = abbrev.read;
        &self.ops[start as usize..][..usize::from(len)]
    }

    #[inline]
    pub fn constant(&self, index: u16) -> i64 {
        self.constants[usize::from(index)]
    }
}

impl Abbrev {
    const UNUSED: Abbrev = Abbrev {
        tag: 0,
        children: false,
        fixed: NONE,
        sibling: NONE,
        skip: (0, 0),
        read: (0, 0),
        has: 0,
        role: Role::Entry,
        usual: None,
    };

    pub fn has(&self, slot: Slot) -> bool {
        self.has & (1 << slot as u32) != 0
    }

    /// Whether it is a `btf_decl_tag` or `btf_type_tag`.
    pub fn is_annotation(&self) -> bool {
        matches!(self.tag, DW_TAG_LLVM_ANNOTATION | DW_TAG_GNU_ANNOTATION)
    }

    fn role(&self, specs: &[Spec]) -> Role {
        // A list of locations is not one fixed address.
        let listed = |spec: &Spec| {
            spec.slot == Some(Slot::Location)
                && matches!(spec.kind, Form::ListOffset | Form::ListIndex)
        };
        match gimli::DwTag(self.tag) {
            dw::DW_TAG_lexical_block | dw::DW_TAG_inlined_subroutine => Role::Block,
            dw::DW_TAG_variable if specs.iter().any(listed) => Role::Passed,
            dw::DW_TAG_variable if !self.has(Slot::Location) => Role::Passed,
            dw::DW_TAG_formal_parameter
            | dw::DW_TAG_unspecified_parameters
            | dw::DW_TAG_call_site
            | dw::DW_TAG_call_site_parameter
            | dw::DW_TAG_GNU_call_site
            | dw::DW_TAG_GNU_call_site_parameter
            | dw::DW_TAG_label
            | dw::DW_TAG_dwarf_procedure => Role::Passed,
            _ => Role::Entry,
        }
    }
}

fn slot_of(name: u64) -> Option<Slot> {
    if name == DW_AT_GNU_ANNOTATION {
        return Some(Slot::GnuAnnotation);
    }
    Some(match gimli::DwAt(u16::try_from(name).ok()?) {
        dw::DW_AT_name => Slot::Name,
        dw::DW_AT_type | dw::DW_AT_import => Slot::Type,
        dw::DW_AT_byte_size => Slot::ByteSize,
        dw::DW_AT_encoding => Slot::Encoding,
        dw::DW_AT_bit_size => Slot::BitSize,
        dw::DW_AT_bit_offset => Slot::BitOffset,
        dw::DW_AT_data_bit_offset => Slot::DataBitOffset,
        dw::DW_AT_data_member_location => Slot::MemberLocation,
        dw::DW_AT_declaration => Slot::Declaration,
        dw::DW_AT_external => Slot::External,
        dw::DW_AT_abstract_origin => Slot::AbstractOrigin,
        dw::DW_AT_specification => Slot::Specification,
        dw::DW_AT_const_value => Slot::ConstValue,
        dw::DW_AT_upper_bound => Slot::UpperBound,
        dw::DW_AT_count => Slot::Count,
        dw::DW_AT_location => Slot::Location,
        dw::DW_AT_low_pc => Slot::LowPc,
        dw::DW_AT_inline => Slot::Inline,
        dw::DW_AT_sibling => Slot::Sibling,
        dw::DW_AT_language => Slot::Language,
        dw::DW_AT_producer => Slot::Producer,
        dw::DW_AT_str_offsets_base => Slot::StrOffsetsBase,
        dw::DW_AT_addr_base => Slot::AddrBase,
        dw::DW_AT_loclists_base => Slot::LoclistsBase,
        dw::DW_AT_artificial => Slot::Artificial,
        dw::DW_AT_calling_convention => Slot::CallingConvention,
        dw::DW_AT_alignment => Slot::Alignment,
        dw::DW_AT_dwo_name | dw::DW_AT_GNU_dwo_name => Slot::DwoName,
        _ => return None,
    })
}

/// The attributes that an entry of this tag is read for, a bit per slot.
fn wanted(tag: u16) -> u32 {
    use Slot::*;
    let slots: &[Slot] = match gimli::DwTag(tag) {
        dw::DW_TAG_compile_unit
        | dw::DW_TAG_partial_unit
        | dw::DW_TAG_skeleton_unit
        | dw::DW_TAG_type_unit => {
            &[Name, Language, Producer, LowPc, StrOffsetsBase, AddrBase, LoclistsBase, DwoName]
        }
        dw::DW_TAG_member | dw::DW_TAG_inheritance => &[
            Name,
            Type,
            ByteSize,
            BitSize,
            BitOffset,
            DataBitOffset,
            MemberLocation,
            GnuAnnotation,
        ],
        dw::DW_TAG_subprogram => &[
            Name,
            Type,
            Declaration,
            External,
            AbstractOrigin,
            Specification,
            LowPc,
            Inline,
            CallingConvention,
            GnuAnnotation,
        ],
        dw::DW_TAG_formal_parameter => {
            &[Name, Type, AbstractOrigin, Location, ConstValue, GnuAnnotation]
        }
        dw::DW_TAG_variable => &[
            Name,
            Type,
            Declaration,
            External,
            AbstractOrigin,
            Specification,
            Location,
            Artificial,
        ],
        dw::DW_TAG_base_type => &[Name, ByteSize, Encoding],
        dw::DW_TAG_enumerator => &[Name, ConstValue],
        dw::DW_TAG_subrange_type => &[UpperBound, Count],
        dw::DW_TAG_pointer_type => &[Type, GnuAnnotation],
        dw::DW_TAG_const_type
        | dw::DW_TAG_volatile_type
        | dw::DW_TAG_restrict_type
        | dw::DW_TAG_array_type
        | dw::DW_TAG_subroutine_type => &[Type],
        dw::DW_TAG_typedef => &[Name, Type, Specification, GnuAnnotation],
        dw::DW_TAG_structure_type | dw::DW_TAG_class_type => {
            &[Name, Type, ByteSize, Declaration, Specification, GnuAnnotation, Alignment]
        }
        dw::DW_TAG_interface_type | dw::DW_TAG_union_type | dw::DW_TAG_enumeration_type => {
            &[Name, Type, ByteSize, Declaration, Specification, GnuAnnotation]
        }
        _ if tag == DW_TAG_LLVM_ANNOTATION || tag == DW_TAG_GNU_ANNOTATION => {
            &[Name, ConstValue, GnuAnnotation]
        }
        _ => &[],
    };
    slots.iter().fold(0, |mask, &slot| mask | 1 << slot as u32)
}
