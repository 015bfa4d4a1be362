//! Sizes, alignments, and the padding that makes a C compiler lay out a structure as BTF says.

use super::{Dump, DumpError, MAX_DEPTH};
use crate::{Btf, Kind, Type, TypeId};

/// How deep the size of a type is looked for.
const MAX_RESOLVE: usize = 32;

/// The names that compilers give to `long`.
const LONG: [&[u8]; 11] = [
    b"long",
    b"long int",
    b"int long",
    b"unsigned long",
    b"long unsigned",
    b"unsigned long int",
    b"unsigned int long",
    b"long unsigned int",
    b"long int unsigned",
    b"int unsigned long",
    b"int long unsigned",
];

/// Size of a pointer in bytes as far as a blob tells it: that of a `long`, the base's first; 8 where there
/// is none. The class of the ELF file, where there is one, is a better source.
pub fn pointer_size(btf: &Btf<'_>) -> u32 {
    let base = btf.base();
    let types = base.iter().flat_map(|base| base.types()).chain(btf.types());
    let long = types.filter(|(_, ty)| ty.kind == Kind::Int).find_map(|(_, ty)| {
        let size = ty.size().filter(|size| matches!(size, 4 | 8))?;
        let name = btf.name(ty.name_off).ok()?;
        LONG.contains(&name).then_some(size)
    });
    long.unwrap_or(8)
}

/// `value` rounded up to a multiple of `to`, which is not 0.
fn round_up(value: i64, to: i64) -> i64 {
    (value + to - 1) / to * to
}

impl Dump<'_> {
    /// Alignment of a type in bytes, 1 for a packed structure; 0 where it has none.
    pub(super) fn align_of(&mut self, id: TypeId, depth: u32) -> Result<u32, DumpError> {
        let index = id.0 as usize;
        if let Some(Some(align)) = self.aligns.get(index) {
            return Ok(*align);
        }
        if depth > MAX_DEPTH {
            return Err(DumpError::Depth(id));
        }
        let ty = self.ty(id)?;
        let align = match ty.kind {
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => {
                ty.size_or_type.min(self.pointer_size)
            }
            Kind::Ptr => self.pointer_size,
            Kind::Array => match ty.array() {
                Some(array) => self.align_of(array.elem, depth + 1)?,
                None => 0,
            },
            Kind::Struct | Kind::Union => self.composite_align(&ty, depth)?,
            kind if kind.is_modifier() => self.align_of(TypeId(ty.size_or_type), depth + 1)?,
            _ => 0,
        };
        if let Some(slot) = self.aligns.get_mut(index) {
            *slot = Some(align);
        }
        Ok(align)
    }

    fn composite_align(&mut self, ty: &Type<'_>, depth: u32) -> Result<u32, DumpError> {
        let mut max = 1;
        for member in ty.members() {
            let align = self.align_of(member.ty, depth + 1)?;
            if align == 0 {
                return Ok(0);
            }
            max = max.max(align);
            let aligned = u64::from(member.bit_offset).is_multiple_of(8 * u64::from(align));
            if member.bitfield_size == 0 && !aligned {
                return Ok(1);
            }
        }
        Ok(if ty.size_or_type.is_multiple_of(max) { max } else { 1 })
    }

    /// Whether no compiler would lay the structure out like this unless it is packed.
    pub(super) fn is_packed(&mut self, ty: &Type<'_>, depth: u32) -> Result<bool, DumpError> {
        let mut max = 1;
        for member in ty.members() {
            let align = self.align_of(member.ty, depth + 1)?;
            let unit = 8 * u64::from(align);
            let whole = member.bitfield_size == 0 && unit != 0;
            if whole && !u64::from(member.bit_offset).is_multiple_of(unit) {
                return Ok(true);
            }
            max = max.max(align);
        }
        Ok(!ty.size_or_type.is_multiple_of(max))
    }

    /// Size of a type in bytes; 0 where it has none, or more than 32 bits hold.
    pub(super) fn size_of(&self, id: TypeId) -> Result<u32, DumpError> {
        let (mut id, mut count) = (id, 1u32);
        for _ in 0..MAX_RESOLVE {
            let ty = self.ty(id)?;
            match ty.kind {
                Kind::Ptr => return Ok(self.pointer_size.checked_mul(count).unwrap_or(0)),
                Kind::Array => {
                    let Some(array) = ty.array() else { return Ok(0) };
                    let Some(product) = count.checked_mul(array.nelems) else { return Ok(0) };
                    (id, count) = (array.elem, product);
                }
                kind if kind.has_size() => {
                    return Ok(ty.size_or_type.checked_mul(count).unwrap_or(0));
                }
                kind if kind.is_modifier() => id = TypeId(ty.size_or_type),
                _ => return Ok(0),
            }
        }
        Ok(0)
    }

    /// Fills the gap from bit `at` to bit `to`, where a member of alignment `align` (bytes) comes next.
    ///
    /// First a step to the boundary of the widest unit that fits, where the compiler does not take it by
    /// itself; then whole units; then the rest in the narrowest unit that holds it.
    pub(super) fn pad(
        &mut self,
        gap: (i64, i64),
        align: u32,
        in_bitfield: bool,
        level: usize,
    ) -> Result<(), DumpError> {
        let (mut at, to) = gap;
        if at >= to {
            return Ok(());
        }
        let units = [
            ("long", i64::from(self.pointer_size.max(1)) * 8),
            ("int", 32),
            ("short", 16),
            ("char", 8),
        ];
        let fits = |&&(_, bits): &&(&str, i64)| round_up(at, bits) <= to;
        let &(name, bits) = units.iter().find(fits).unwrap_or(&units[3]);
        let boundary = round_up(at, bits);
        if boundary > at && boundary <= to {
            let natural = round_up(at, i64::from(align.max(1)) * 8);
            let needed = in_bitfield
                || (boundary == to && natural != boundary)
                || (boundary != to && to - boundary <= boundary - at);
            if needed {
                self.padding(name, if in_bitfield { boundary - at } else { 0 }, level)?;
            }
            at = boundary;
        }
        while to - at >= bits {
            self.padding(name, bits, level)?;
            at += bits;
        }
        if at < to {
            let rest = to - at;
            let narrow = units.iter().rev().find(|(_, bits)| *bits >= rest);
            self.padding(narrow.unwrap_or(&units[0]).0, rest, level)?;
        }
        Ok(())
    }

    fn padding(&mut self, unit: &str, bits: i64, level: usize) -> Result<(), DumpError> {
        self.step(TypeId::VOID, 0)?;
        self.line(level);
        self.text(&format!("{unit}: {bits};"));
        Ok(())
    }
}
