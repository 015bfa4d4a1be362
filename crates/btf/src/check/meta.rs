//! Each type by itself.

use super::rule::{MemberRule, Rule, SectionRule};
use super::{CheckOptions, MAX_NAME_OFFSET, MAX_TYPE, names};
use crate::view::word;
use crate::{Btf, Int, Kind, StrOff, Type, TypeId};

/// Bits of `info` that meant something before all did.
const INFO_MASK: u32 = 0x9f00_ffff;
/// Bits of the word behind an `INT` that mean something.
const INT_MASK: u32 = 0x0fff_ffff;

/// Checks a type without looking at what it refers to.
pub(super) fn check(btf: &Btf<'_>, ty: &Type<'_>, options: &CheckOptions) -> Result<(), Rule> {
    if !options.wide_info && ty.info & !INFO_MASK != 0 {
        return Err(Rule::Info(ty.info));
    }
    let name = name(btf, ty.name_off)?;
    check_name(ty, name, options)?;
    check_flags(ty, options)?;
    match ty.kind {
        Kind::Void | Kind::Other(_) => return Err(Rule::UnknownKind(ty.kind.number())),
        Kind::Int => check_int(ty)?,
        Kind::Array => {
            let array = ty.array();
            reference(array.map_or(TypeId::VOID, |array| array.elem), false)?;
            reference(array.map_or(TypeId::VOID, |array| array.index), false)?;
            zero_third(ty)?;
        }
        Kind::Fwd => zero_third(ty)?,
        Kind::Struct | Kind::Union => check_members(btf, ty)?,
        Kind::Enum | Kind::Enum64 => check_values(btf, ty)?,
        Kind::Ptr | Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict => {
            reference(TypeId(ty.size_or_type), true)?;
        }
        Kind::TypeTag => reference(TypeId(ty.size_or_type), true)?,
        // 2, extern, is only known to libbpf.
        Kind::Func if ty.vlen > 1 => return Err(Rule::Linkage(ty.vlen)),
        Kind::Func | Kind::FuncProto => {}
        Kind::Var => {
            reference(TypeId(ty.size_or_type), false)?;
            let linkage = ty.linkage().unwrap_or(u32::MAX);
            if linkage > 1 {
                return Err(Rule::Linkage(linkage));
            }
        }
        Kind::Datasec => check_section(ty)?,
        Kind::Float if !matches!(ty.size_or_type, 2 | 4 | 8 | 12 | 16) => {
            return Err(Rule::Size(ty.kind, ty.size_or_type));
        }
        Kind::Float => {}
        Kind::DeclTag => match ty.component_idx() {
            Some(index) if index >= -1 => {}
            index => return Err(Rule::Component(index.unwrap_or(i32::MIN))),
        },
    }
    Ok(())
}

/// The name at `off`, which the kernel must be able to reach.
fn name<'d>(btf: &Btf<'d>, off: StrOff) -> Result<&'d [u8], Rule> {
    let name = btf.name(off).ok().filter(|_| off.0 <= MAX_NAME_OFFSET);
    name.ok_or(Rule::NameOffset(off.0))
}

fn check_name(ty: &Type<'_>, name: &[u8], options: &CheckOptions) -> Result<(), Rule> {
    let anonymous = ty.name_off.0 == 0;
    let shown = || Rule::Name(String::from_utf8_lossy(name).into_owned());
    match ty.kind {
        Kind::Ptr
        | Kind::Volatile
        | Kind::Const
        | Kind::Restrict
        | Kind::Array
        | Kind::FuncProto => {
            if anonymous {
                Ok(())
            } else {
                Err(Rule::HasName(ty.kind))
            }
        }
        Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 if anonymous => Ok(()),
        Kind::Int | Kind::Float | Kind::Void | Kind::Other(_) => Ok(()),
        Kind::TypeTag | Kind::DeclTag => {
            if name.is_empty() {
                Err(Rule::NoName(ty.kind))
            } else {
                Ok(())
            }
        }
        _ if anonymous => Err(Rule::NoName(ty.kind)),
        Kind::Datasec if options.printable_sections => {
            if names::printable(name) {
                Ok(())
            } else {
                Err(shown())
            }
        }
        _ => {
            if names::identifier(name) {
                Ok(())
            } else {
                Err(shown())
            }
        }
    }
}

/// `vlen` and `kflag` where they mean nothing.
fn check_flags(ty: &Type<'_>, options: &CheckOptions) -> Result<(), Rule> {
    let entries = ty.kind.layout().is_some_and(|layout| layout.elem_size > 0);
    if !entries && ty.kind != Kind::Func && ty.vlen != 0 {
        return Err(Rule::Vlen(ty.vlen));
    }
    let allowed = match ty.kind {
        Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd => true,
        Kind::DeclTag | Kind::TypeTag => options.attributes,
        _ => false,
    };
    if ty.kflag && !allowed { Err(Rule::Kflag(ty.kind)) } else { Ok(()) }
}

fn zero_third(ty: &Type<'_>) -> Result<(), Rule> {
    if ty.size_or_type == 0 { Ok(()) } else { Err(Rule::Third(ty.size_or_type)) }
}

/// A reference as such; whether the type exists is a question for later.
fn reference(id: TypeId, may_be_void: bool) -> Result<(), Rule> {
    let void = id == TypeId::VOID && !may_be_void;
    if void || id > TypeId(MAX_TYPE) { Err(Rule::Reference(id)) } else { Ok(()) }
}

fn check_int(ty: &Type<'_>) -> Result<(), Rule> {
    let data = word(ty.rest(), 0, ty.endian);
    if data & !INT_MASK != 0 {
        return Err(Rule::IntData(data));
    }
    let int = ty.int().unwrap_or(Int { encoding: 0, offset: 0, bits: 0 });
    let bits = u32::from(int.bits) + u32::from(int.offset);
    if bits > 128 || bits.div_ceil(8) > ty.size_or_type {
        return Err(Rule::IntBits(bits, ty.size_or_type));
    }
    match int.encoding {
        0 | Int::SIGNED | Int::CHAR | Int::BOOL => Ok(()),
        encoding => Err(Rule::IntEncoding(encoding)),
    }
}

fn check_members(btf: &Btf<'_>, ty: &Type<'_>) -> Result<(), Rule> {
    let mut last = 0;
    for (index, member) in (0..).zip(ty.members()) {
        let fault = |rule| Rule::Member(index, rule);
        let name = name(btf, member.name_off).map_err(|_| fault(MemberRule::Name))?;
        if member.name_off.0 != 0 && !names::identifier(name) {
            return Err(fault(MemberRule::Name));
        }
        reference(member.ty, false).map_err(|_| fault(MemberRule::Type(member.ty)))?;
        if ty.kind == Kind::Union && member.bit_offset != 0 {
            return Err(fault(MemberRule::Union));
        }
        if member.bit_offset < last {
            return Err(fault(MemberRule::Order));
        }
        if member.bit_offset.div_ceil(8) > ty.size_or_type {
            return Err(fault(MemberRule::Outside(ty.size_or_type)));
        }
        last = member.bit_offset;
    }
    Ok(())
}

fn check_values(btf: &Btf<'_>, ty: &Type<'_>) -> Result<(), Rule> {
    if !matches!(ty.size_or_type, 1 | 2 | 4 | 8) {
        return Err(Rule::Size(ty.kind, ty.size_or_type));
    }
    for (index, value) in (0..).zip(ty.values()) {
        if !name(btf, value.name_off).is_ok_and(names::identifier) {
            return Err(Rule::Value(index));
        }
    }
    Ok(())
}

fn check_section(ty: &Type<'_>) -> Result<(), Rule> {
    let size = ty.size_or_type;
    if size == 0 {
        return Err(Rule::Size(ty.kind, size));
    }
    let mut last_end = 0;
    for (index, var) in (0..).zip(ty.var_secinfos()) {
        let fault = |rule| Rule::Section(index, rule);
        reference(var.ty, false).map_err(|_| fault(SectionRule::Type(var.ty)))?;
        if u64::from(var.offset) < last_end || var.offset >= size {
            return Err(fault(SectionRule::Offset(var.offset)));
        }
        last_end = u64::from(var.offset) + u64::from(var.size);
        if var.size == 0 || last_end > u64::from(size) {
            return Err(fault(SectionRule::Size(var.size)));
        }
    }
    Ok(())
}
