//! Whether a member lies within its structure and begins where its type may begin.

use super::resolve::Sizes;
use super::rule::MemberRule;
use crate::{Int, Kind, Member, Type};

/// Most bits that the kernel copies for one member.
const MAX_BITS: u32 = 128;

/// Checks a member whose type is resolved.
pub(super) fn check(
    composite: &Type<'_>,
    member: &Member,
    sizes: &Sizes<'_, '_>,
) -> Result<(), MemberRule> {
    let no_member = MemberRule::Type(member.ty);
    let direct = sizes.btf().get(member.ty).ok_or(no_member)?;
    // Qualifiers and typedefs are looked through; the type behind them must have a size.
    let (ty, size) = match direct.kind.is_modifier() {
        true => sizes.of(member.ty).ok_or(no_member)?,
        false => (direct, sizes.of(member.ty).map_or(direct.size_or_type, |(_, size)| size)),
    };
    let bits = member.bitfield_size;
    match ty.kind {
        Kind::Int => int(composite, member, &ty),
        Kind::Enum | Kind::Enum64 if composite.kflag => bitfield_enum(composite, member),
        Kind::Ptr | Kind::Array | Kind::Struct | Kind::Union | Kind::Float if bits != 0 => {
            Err(MemberRule::Bitfield(bits))
        }
        Kind::Ptr => bytes(composite, member, sizes.pointer_size()),
        Kind::Array | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => {
            bytes(composite, member, size)
        }
        Kind::Float => {
            let align = 8 * u64::from(sizes.pointer_size().min(size)).max(1);
            if !u64::from(member.bit_offset).is_multiple_of(align) {
                return Err(MemberRule::Unaligned);
            }
            within(composite, u64::from(member.bit_offset / 8) + u64::from(size))
        }
        _ => Err(no_member),
    }
}

fn within(composite: &Type<'_>, end: u64) -> Result<(), MemberRule> {
    let size = composite.size_or_type;
    if end > u64::from(size) { Err(MemberRule::Outside(size)) } else { Ok(()) }
}

/// A member of whole bytes.
fn bytes(composite: &Type<'_>, member: &Member, size: u32) -> Result<(), MemberRule> {
    if !member.bit_offset.is_multiple_of(8) {
        return Err(MemberRule::Unaligned);
    }
    within(composite, u64::from(member.bit_offset / 8) + u64::from(size))
}

/// `bits` from bit `at` on, as far as bytes must be copied for them.
fn copied(composite: &Type<'_>, at: u64, bits: u32) -> Result<(), MemberRule> {
    let copied = bits + (at % 8) as u32;
    if copied > MAX_BITS {
        return Err(MemberRule::Wide);
    }
    within(composite, at / 8 + u64::from(copied.div_ceil(8)))
}

fn int(composite: &Type<'_>, member: &Member, ty: &Type<'_>) -> Result<(), MemberRule> {
    let int = ty.int().unwrap_or(Int { encoding: 0, offset: 0, bits: 0 });
    let at = u64::from(member.bit_offset);
    if !composite.kflag {
        let at = at + u64::from(int.offset);
        return if at > u64::from(u32::MAX) {
            Err(MemberRule::Wide)
        } else {
            copied(composite, at, int.bits.into())
        };
    }
    if !is_plain(&int) {
        return Err(MemberRule::Integer);
    }
    match member.bitfield_size {
        0 if !at.is_multiple_of(8) => Err(MemberRule::Unaligned),
        0 => copied(composite, at, int.bits.into()),
        bits if bits > int.bits => Err(MemberRule::Bitfield(bits)),
        bits => copied(composite, at, bits.into()),
    }
}

/// In a structure with bitfields the kernel takes an enumeration for an `int`.
fn bitfield_enum(composite: &Type<'_>, member: &Member) -> Result<(), MemberRule> {
    let at = member.bit_offset;
    let bits = match member.bitfield_size {
        0 if !at.is_multiple_of(8) => return Err(MemberRule::Unaligned),
        0 => 32,
        bits if bits > 32 => return Err(MemberRule::Bitfield(bits)),
        bits => bits,
    };
    within(composite, (u64::from(at) + u64::from(bits)).div_ceil(8))
}

/// Whether an integer fills 1, 2, 4, 8 or 16 whole bytes.
pub(super) fn is_plain(int: &Int) -> bool {
    int.offset == 0 && matches!(int.bits, 8 | 16 | 32 | 64 | 128)
}
