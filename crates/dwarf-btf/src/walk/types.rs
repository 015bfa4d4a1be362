//! The entries of types.

use gimli::constants as dw;

use super::dies::{
    EMPTY, EXTRA, FLAG_KFLAG, FLAG_TAGGED, FLAG_UNION, FLAG_VARIADIC, OldBitfield, TypeDie,
};
use super::{Walk, offset_code};
use crate::abbrev::{Abbrev, Slot, Usual};
use crate::cu::kind;
use crate::cursor::{Cursor, Fault, Read};

/// More dimensions of an array are not looked at.
const MAX_DIMENSIONS: usize = 64;

impl<'s> Walk<'_, 's, '_> {
    pub(super) fn modifier(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
        kind: u32,
    ) -> Read<()> {
        let ty = self.reference(abbrev, cursor)?;
        let index = self.push(TypeDie { offset, ty, kind: kind as u8, ..EMPTY });
        self.number(index);
        if abbrev.children { self.pass_children(cursor) } else { Ok(()) }
    }

    pub(super) fn pointer(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let ty = self.reference(abbrev, cursor)?;
        let index = self.push(TypeDie { offset, ty, kind: kind::PTR as u8, ..EMPTY });
        if abbrev.children {
            self.pointer_tags(index, cursor)?;
        }
        self.number(index);
        Ok(())
    }

    /// The type tags of a pointer: each is a type of its own, numbered before the pointer. The last
    /// tag comes first behind the pointer, the first tag refers to what is pointed to.
    fn pointer_tags(&mut self, index: usize, cursor: &mut Cursor<'s>) -> Read<()> {
        let mut below: Option<u32> = None;
        let pointee = self.dies.types[index].ty;
        while let Some((_, abbrev)) = self.next(cursor)? {
            let Some(value) = self.annotation(abbrev, cursor, b"btf_type_tag")? else { continue };
            if !self.wanted.type_tags {
                continue;
            }
            let (ty, flags) = below.map_or((pointee, 0), |id| (id, FLAG_TAGGED));
            let kind = kind::TYPE_TAG as u8;
            below = Some(self.extra(TypeDie { name: value, ty, flags, kind, ..EMPTY }));
        }
        if let Some(id) = below {
            let pointer = &mut self.dies.types[index];
            pointer.ty = id;
            pointer.flags |= FLAG_TAGGED;
        }
        Ok(())
    }

    pub(super) fn base(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        self.read(abbrev, cursor)?;
        let name = self.code(Slot::Name)?;
        let size = self.values.number(Slot::ByteSize) as u32;
        let encoding = self.values.number(Slot::Encoding) as u32;
        let number = gimli::DwAte(encoding as u8);
        if self.wanted.floats
            && matches!(number, gimli::DW_ATE_complex_float | gimli::DW_ATE_imaginary_float)
        {
            let cause = "BTF has no kind for complex numbers (DW_ATE_complex_float)";
            return Err(Fault { offset: offset as usize, cause });
        }
        let kind = kind::INT as u8;
        let index = self.push(TypeDie { offset, name, size, ty: encoding, kind, ..EMPTY });
        self.number(index);
        if abbrev.children { self.pass_children(cursor) } else { Ok(()) }
    }

    pub(super) fn typedef(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let (name, ty, specification) = self.named_reference(abbrev, cursor)?;
        let kind = kind::TYPEDEF as u8;
        let index = self.push(TypeDie { offset, name, ty, kind, specification, ..EMPTY });
        if abbrev.children {
            self.child_tags(cursor, index, -1)?;
        }
        self.number(index);
        Ok(())
    }

    pub(super) fn array(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let ty = self.reference(abbrev, cursor)?;
        let index = self.push(TypeDie { offset, ty, size: 1, kind: kind::ARRAY as u8, ..EMPTY });
        if abbrev.children {
            let mut extents = [0; MAX_DIMENSIONS];
            let mut dimensions = 0;
            while let Some((_, abbrev)) = self.next(cursor)? {
                if gimli::DwTag(abbrev.tag) != dw::DW_TAG_subrange_type
                    || dimensions == MAX_DIMENSIONS
                {
                    self.pass(abbrev, cursor)?;
                    continue;
                }
                self.read(abbrev, cursor)?;
                extents[dimensions] = self.extent();
                dimensions += 1;
                if abbrev.children {
                    self.pass_children(cursor)?;
                }
            }
            self.dimensions(index, &extents[..dimensions]);
        }
        self.number(index);
        Ok(())
    }

    /// An array of several dimensions is one of arrays, the last dimension being the innermost; the
    /// inner ones are types of their own, numbered before the outer. Or it is flattened into one.
    fn dimensions(&mut self, index: usize, extents: &[u32]) {
        let (Some((&outermost, inner)), true) = (extents.split_first(), self.wanted.nested_arrays)
        else {
            let product = extents.iter().fold(1u32, |product, &n| product.wrapping_mul(n));
            self.dies.types[index].size = product;
            return;
        };
        let (mut ty, mut flags) = (self.dies.types[index].ty, 0);
        for &size in inner.iter().rev() {
            let kind = kind::ARRAY as u8;
            ty = self.extra(TypeDie { ty, size, kind, flags, ..EMPTY });
            flags = FLAG_TAGGED;
        }
        let array = &mut self.dies.types[index];
        (array.ty, array.size) = (ty, outermost);
        array.flags |= flags;
    }

    /// Adds a type that has no entry of its own, and gives it its number.
    fn extra(&mut self, die: TypeDie) -> u32 {
        self.dies.order.push(self.dies.extra.len() as u32 | EXTRA);
        let id = self.dies.order.len() as u32;
        self.dies.extra.push(TypeDie { id, ..die });
        id
    }

    /// Elements of one dimension; 0 where the bound is no constant.
    fn extent(&self) -> u32 {
        if self.values.has(Slot::UpperBound) {
            let bound = self.values.constant(Slot::UpperBound);
            return bound.map_or(0, |bound| bound.wrapping_add(1) as u32);
        }
        self.values.constant(Slot::Count).unwrap_or(0) as u32
    }

    pub(super) fn enumeration(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        self.read(abbrev, cursor)?;
        let name = self.code(Slot::Name)?;
        let specification = self.values.reference(Slot::Specification);
        let ty = self.values.reference(Slot::Type);
        // PARITY: an enumeration without a size is an int; sizes are held as bits in 32 bits.
        let size = match self.values.number(Slot::ByteSize) as u32 {
            0 => 4,
            size => size.wrapping_mul(8).div_ceil(8),
        };
        let words = self.dies.words.len() as u32;
        let kind = kind::ENUM as u8;
        let index =
            self.push(TypeDie { offset, name, ty, size, kind, words, specification, ..EMPTY });
        let mut count = 0;
        if abbrev.children {
            while let Some((_, abbrev)) = self.next(cursor)? {
                if gimli::DwTag(abbrev.tag) != dw::DW_TAG_enumerator {
                    self.pass(abbrev, cursor)?;
                    continue;
                }
                self.read(abbrev, cursor)?;
                let name = self.code(Slot::Name)?;
                let value = self.values.number(Slot::ConstValue);
                self.dies.words.extend([name, value as u32, (value >> 32) as u32]);
                count += 1;
                if abbrev.children {
                    self.pass_children(cursor)?;
                }
            }
        }
        self.dies.types[index].count = count;
        countable(offset, count)?;
        self.number(index);
        Ok(())
    }

    pub(super) fn subroutine(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let ty = self.reference(abbrev, cursor)?;
        let index = self.push(TypeDie { offset, ty, kind: kind::FUNC_PROTO as u8, ..EMPTY });
        let base = self.dies.members.len();
        if abbrev.children {
            self.enter(offset)?;
            while let Some((offset, abbrev)) = self.next(cursor)? {
                match gimli::DwTag(abbrev.tag) {
                    dw::DW_TAG_formal_parameter => {
                        let (name, ty, _) = self.named_reference(abbrev, cursor)?;
                        self.dies.members.extend([name, ty]);
                        if abbrev.children {
                            self.pass_children(cursor)?;
                        }
                    }
                    dw::DW_TAG_unspecified_parameters => {
                        self.dies.types[index].flags |= FLAG_VARIADIC;
                        self.pass(abbrev, cursor)?;
                    }
                    dw::DW_TAG_subrange_type => self.pass(abbrev, cursor)?,
                    _ => self.entry(offset, abbrev, cursor)?,
                }
            }
            self.depth -= 1;
        }
        self.settle(index, base, 2)?;
        self.number(index);
        Ok(())
    }

    /// Moves what was collected for a type since `base` behind the words of the types that have ended.
    fn settle(&mut self, index: usize, base: usize, step: usize) -> Read<()> {
        let die = &mut self.dies.types[index];
        die.words = self.dies.words.len() as u32;
        die.count = ((self.dies.members.len() - base) / step) as u32;
        self.dies.words.extend_from_slice(&self.dies.members[base..]);
        self.dies.members.truncate(base);
        countable(die.offset, die.count)
    }

    pub(super) fn composite(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        self.read(abbrev, cursor)?;
        let name = self.code(Slot::Name)?;
        let size = self.values.number(Slot::ByteSize) as u32;
        let declaration = self.values.number(Slot::Declaration) != 0;
        let specification = self.values.reference(Slot::Specification);
        let union = gimli::DwTag(abbrev.tag) == dw::DW_TAG_union_type;
        let kind = match (declaration, union) {
            (true, _) => kind::FWD,
            (false, true) => kind::UNION,
            (false, false) => kind::STRUCT,
        } as u8;
        let flags = if union { FLAG_UNION } else { 0 };
        let index = self.push(TypeDie { offset, name, size, kind, flags, specification, ..EMPTY });
        if abbrev.children {
            self.enter(offset)?;
            let base = self.dies.members.len();
            let bitfields = self.dies.old_bitfields.len();
            self.members(index, union, cursor)?;
            if self.wanted.sorted_members {
                self.sort_members(base);
            }
            let shift = self.dies.words.len() as u32;
            for old in &mut self.dies.old_bitfields[bitfields..] {
                if old.word & EXTRA != 0 {
                    old.word = (old.word & !EXTRA) - base as u32 + shift;
                }
            }
            self.settle(index, base, 3)?;
            self.depth -= 1;
        }
        self.number(index);
        Ok(())
    }

    /// Puts a structure's members, collected since `base`, in the order of their offsets in bytes.
    fn sort_members(&mut self, base: usize) {
        let (members, _) = self.dies.members[base..].as_chunks_mut::<3>();
        // PARITY: pahole exchanges neighbours, which keeps the order of those at one place too.
        members.sort_by_key(|member| member[2] / 8);
    }

    fn members(&mut self, index: usize, union: bool, cursor: &mut Cursor<'s>) -> Read<()> {
        let mut component = 0;
        while let Some((offset, abbrev)) = self.next(cursor)? {
            match gimli::DwTag(abbrev.tag) {
                dw::DW_TAG_member => {
                    match abbrev.usual.filter(|_| self.by_code) {
                        Some(usual) => self.usual_member(union, usual, offset, cursor)?,
                        None => {
                            self.read(abbrev, cursor)?;
                            self.member(index, union, offset)?;
                        }
                    }
                    if abbrev.children {
                        self.child_tags(cursor, index, component)?;
                    }
                    component += 1;
                }
                dw::DW_TAG_inheritance => {
                    self.pass(abbrev, cursor)?;
                    component += 1;
                }
                dw::DW_TAG_subrange_type
                | dw::DW_TAG_variant_part
                | dw::DW_TAG_template_type_parameter
                | dw::DW_TAG_template_value_parameter => self.pass(abbrev, cursor)?,
                _ if abbrev.is_annotation() => {
                    if let Some(value) = self.annotation(abbrev, cursor, b"btf_decl_tag")? {
                        self.type_tag(index, value, -1);
                    }
                }
                _ => self.entry(offset, abbrev, cursor)?,
            }
        }
        Ok(())
    }

    #[inline]
    fn member(&mut self, index: usize, union: bool, offset: u32) -> Read<()> {
        let name = self.code(Slot::Name)?;
        let ty = self.values.reference(Slot::Type);
        let bit_size = self.values.number(Slot::BitSize) as u8;
        let bits = if self.values.has(Slot::DataBitOffset) {
            self.values.constant(Slot::DataBitOffset).unwrap_or(0) as u32
        } else {
            let byte_offset = self.member_location()?;
            if bit_size != 0 {
                self.dies.old_bitfields.push(OldBitfield {
                    word: self.dies.members.len() as u32 | EXTRA,
                    byte_offset,
                    bit_offset: self.values.number(Slot::BitOffset) as u8 as i8,
                    byte_size: self.values.number(Slot::ByteSize) as u32,
                });
            }
            byte_offset.wrapping_mul(8)
        };
        if bit_size != 0 || bits & 7 != 0 {
            self.dies.types[index].flags |= FLAG_KFLAG;
        }
        if union && bits != 0 && bit_size == 0 {
            return Err(off_union(offset));
        }
        self.dies.members.extend([name, ty, bits | u32::from(bit_size) << 24]);
        Ok(())
    }

    /// A member as most are.
    #[inline]
    fn usual_member(
        &mut self,
        union: bool,
        usual: Usual,
        offset: u32,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let values = usual.read(cursor)?;
        let (name, ty) = (offset_code(values.name), self.unit_offset(values.ty));
        let bits = values.location.wrapping_mul(8);
        if union && bits != 0 {
            return Err(off_union(offset));
        }
        self.dies.members.extend_from_slice(&[name, ty, bits]);
        Ok(())
    }

    /// Offset of a member in bytes, as a number or as the one operation of an expression.
    fn member_location(&mut self) -> Read<u32> {
        if let Some(value) = self.values.constant(Slot::MemberLocation) {
            return Ok(value as u32);
        }
        let Some((start, len)) = self.values.block(Slot::MemberLocation) else { return Ok(0) };
        let mut cursor = self.unit.cursor(start);
        if len == 0 {
            return Ok(0);
        }
        let op = gimli::DwOp(cursor.u8()?);
        if matches!(op, dw::DW_OP_plus_uconst | dw::DW_OP_constu) {
            return Ok(cursor.uleb()? as u32);
        }
        Ok(u32::MAX)
    }
}

/// BTF counts what a type has in 16 bits; pahole lets the count wrap, which leaves a blob that nobody reads.
pub(super) fn countable(offset: u32, count: u32) -> Read<()> {
    // One is left for an ellipsis.
    if count >= u32::from(u16::MAX) {
        let cause = "a type of over 65534 members, enumerators or parameters";
        return Err(Fault { offset: offset as usize, cause });
    }
    Ok(())
}

#[cold]
fn off_union(offset: u32) -> Fault {
    let cause = "a member of a union that is not at its beginning";
    Fault { offset: offset as usize, cause }
}
