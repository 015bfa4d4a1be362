//! The entries of types, made into BTF records as they end.
//!
//! Source of facts: btf_encoder.c and dwarf_loader.c of pahole 1.24 and 1.31 (what becomes of which type), btf.c
//! of libbpf 1.1 and 1.7 (`btf__add_*`: what a record holds).

use gimli::constants as dw;

use super::Walk;
use super::dies::{OPEN, OldBitfield, Target};
use crate::abbrev::{Abbrev, Slot};
use crate::cu::{INDEX, info, kind};
use crate::cursor::{Cursor, Fault, Read};
use crate::strings::Code;
use crate::usual::Usual;

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
        let index = self.push(offset);
        self.number(index);
        self.dies.words.extend_from_slice(&[0, info(kind, 0, false), ty]);
        if abbrev.children { self.pass_children(cursor) } else { Ok(()) }
    }

    pub(super) fn pointer(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let ty = self.reference(abbrev, cursor)?;
        let index = self.push(offset);
        let mut target = Target::Entry(ty);
        if abbrev.children {
            target = self.pointer_tags(target, cursor)?;
        }
        self.number(index);
        self.refer(0, kind::PTR, target);
        Ok(())
    }

    /// The type tags of a pointer: each is a type of its own, numbered before the pointer. The last
    /// tag comes first behind the pointer, the first tag refers to what is pointed to. Returns what the
    /// pointer refers to.
    fn pointer_tags(&mut self, pointee: Target, cursor: &mut Cursor<'s>) -> Read<Target> {
        let mut target = pointee;
        while let Some((_, abbrev)) = self.next(cursor)? {
            let Some(value) = self.annotation(abbrev, cursor, b"btf_type_tag")? else { continue };
            if self.wanted.type_tags {
                let id = self.begin();
                self.refer(value, kind::TYPE_TAG, target);
                target = Target::Number(id);
            }
        }
        Ok(target)
    }

    /// Writes the record of a type that says nothing but a name and what it refers to.
    fn refer(&mut self, name: Code, kind: u32, target: Target) {
        let target = self.target(target, 2);
        self.dies.words.extend_from_slice(&[name, info(kind, 0, false), target]);
    }

    /// The word that refers to a type, so many words behind the beginning of the next record.
    fn target(&mut self, target: Target, behind: u32) -> u32 {
        match target {
            Target::Entry(offset) => offset,
            Target::Number(id) => {
                self.dies.numbered.push((self.dies.words.len() as u32 + behind, id));
                0
            }
        }
    }

    /// The next record's name, its own or that of the entry that it completes.
    fn name_or(&mut self, name: Code, specification: u32) -> Code {
        if name == 0 && specification != 0 {
            self.dies.completed.push((self.dies.words.len() as u32, specification));
        }
        name
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
        let index = self.push(offset);
        self.number(index);
        self.base_record(name, size, number)?;
        if abbrev.children { self.pass_children(cursor) } else { Ok(()) }
    }

    fn base_record(&mut self, name: Code, size: u32, encoding: gimli::DwAte) -> Read<()> {
        const SIGNED: u32 = 1;
        const BOOL: u32 = 4;
        // PARITY: bits are counted in 16 bits.
        let bits = size.wrapping_mul(8) as u16;
        let bytes = u32::from(bits).div_ceil(8);
        let flags = match encoding {
            gimli::DW_ATE_signed | gimli::DW_ATE_signed_char => SIGNED,
            gimli::DW_ATE_boolean => BOOL,
            gimli::DW_ATE_float if self.wanted.floats => {
                self.dies.words.extend_from_slice(&[name, info(kind::FLOAT, 0, false), bytes]);
                return Ok(());
            }
            _ => 0,
        };
        let odd = !bytes.is_power_of_two() || bytes > 16;
        if odd {
            // A name that is not there is an error, though it is not used.
            self.strings.of_code(name)?;
        }
        let (name, bytes) = if odd { (self.wanted.fake_int, 4) } else { (name, bytes) };
        let words = [name, info(kind::INT, 0, false), bytes, flags << 24 | (bytes * 8)];
        self.dies.words.extend_from_slice(&words);
        Ok(())
    }

    pub(super) fn typedef(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let (name, ty, specification) = self.named_reference(abbrev, cursor)?;
        let index = self.push(offset);
        if abbrev.children {
            self.child_tags(cursor, index, -1)?;
        }
        self.number(index);
        let name = self.name_or(name, specification);
        self.refer(name, kind::TYPEDEF, Target::Entry(ty));
        Ok(())
    }

    pub(super) fn array(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let ty = self.reference(abbrev, cursor)?;
        let index = self.push(offset);
        let (mut element, mut size) = (Target::Entry(ty), 1);
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
                extents[dimensions] = self.extent(abbrev, cursor)?;
                dimensions += 1;
                if abbrev.children {
                    self.pass_children(cursor)?;
                }
            }
            (element, size) = self.dimensions(element, &extents[..dimensions]);
        }
        self.number(index);
        self.array_record(element, size);
        Ok(())
    }

    /// An array of several dimensions is one of arrays, the last dimension being the innermost; the
    /// inner ones are types of their own, numbered before the outer. Or it is flattened into one.
    /// Returns what the outermost has, and how often.
    fn dimensions(&mut self, element: Target, extents: &[u32]) -> (Target, u32) {
        let (Some((&outermost, inner)), true) = (extents.split_first(), self.wanted.nested_arrays)
        else {
            return (element, extents.iter().fold(1u32, |product, &n| product.wrapping_mul(n)));
        };
        let mut element = element;
        for &size in inner.iter().rev() {
            let id = self.begin();
            self.array_record(element, size);
            element = Target::Number(id);
        }
        (element, outermost)
    }

    fn array_record(&mut self, element: Target, size: u32) {
        let element = self.target(element, 3);
        let words = [0, info(kind::ARRAY, 0, false), 0, element, INDEX, size];
        self.dies.words.extend_from_slice(&words);
    }

    /// Elements of one dimension; 0 where the bound is no constant.
    fn extent(&mut self, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<u32> {
        if let Some(usual) = abbrev.usual.filter(|_| abbrev.has(Slot::UpperBound)) {
            return Ok(usual.read(cursor, self.start())?.number.wrapping_add(1));
        }
        self.read(abbrev, cursor)?;
        if self.values.has(Slot::UpperBound) {
            let bound = self.values.constant(Slot::UpperBound);
            return Ok(bound.map_or(0, |bound| bound.wrapping_add(1) as u32));
        }
        Ok(self.values.constant(Slot::Count).unwrap_or(0) as u32)
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
        let index = self.push(offset);
        let base = self.dies.members.len();
        if abbrev.children {
            while let Some((_, abbrev)) = self.next(cursor)? {
                if gimli::DwTag(abbrev.tag) != dw::DW_TAG_enumerator {
                    self.pass(abbrev, cursor)?;
                    continue;
                }
                let (name, value) = self.enumerator(abbrev, cursor)?;
                self.dies.members.extend_from_slice(&[name, value as u32, (value >> 32) as u32]);
                if abbrev.children {
                    self.pass_children(cursor)?;
                }
            }
        }
        let count = self.collected(offset, base, 3)?;
        self.number(index);
        let name = self.name_or(name, specification);
        if size > 4 && self.wanted.enum64 {
            self.dies.wide.push((self.dies.words.len() as u32, ty));
            self.dies.words.extend_from_slice(&[name, info(kind::ENUM64, count, false), size]);
            self.move_members(base);
            return Ok(());
        }
        let (values, _) = self.dies.members[base..].as_chunks::<3>();
        let negative = values.iter().any(|value| (value[2] as i32) < 0);
        let kflag = negative && self.wanted.enum64;
        self.dies.words.extend_from_slice(&[name, info(kind::ENUM, count, kflag), size]);
        self.dies.words.extend(values.iter().flat_map(|value| [value[0], value[1]]));
        self.dies.members.truncate(base);
        Ok(())
    }

    /// Name and value of an enumerator.
    #[inline]
    fn enumerator(&mut self, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<(Code, u64)> {
        if let Some(usual) = abbrev.usual.filter(|_| self.by_code) {
            let values = usual.read(cursor, self.start())?;
            return Ok((values.name, u64::from(values.number)));
        }
        self.read(abbrev, cursor)?;
        Ok((self.code(Slot::Name)?, self.values.number(Slot::ConstValue)))
    }

    pub(super) fn subroutine(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let ty = self.reference(abbrev, cursor)?;
        let index = self.push(offset);
        let base = self.dies.members.len();
        let mut variadic = false;
        if abbrev.children {
            self.enter(offset)?;
            while let Some((offset, abbrev)) = self.next(cursor)? {
                match gimli::DwTag(abbrev.tag) {
                    dw::DW_TAG_formal_parameter => {
                        let (name, ty, _) = self.named_reference(abbrev, cursor)?;
                        self.dies.members.extend_from_slice(&[name, ty]);
                        if abbrev.children {
                            self.pass_children(cursor)?;
                        }
                    }
                    dw::DW_TAG_unspecified_parameters => {
                        variadic = true;
                        self.pass(abbrev, cursor)?;
                    }
                    dw::DW_TAG_subrange_type => self.pass(abbrev, cursor)?,
                    _ => self.entry(offset, abbrev, cursor)?,
                }
            }
            self.depth -= 1;
        }
        let count = self.collected(offset, base, 2)? + u32::from(variadic);
        self.number(index);
        self.dies.words.extend_from_slice(&[0, info(kind::FUNC_PROTO, count, false), ty]);
        self.move_members(base);
        if variadic {
            self.dies.words.extend_from_slice(&[0, 0]);
        }
        Ok(())
    }

    /// How many items of `step` words were collected since `base` for the type whose entry is at `offset`.
    fn collected(&self, offset: u32, base: usize, step: usize) -> Read<u32> {
        let count = ((self.dies.members.len() - base) / step) as u32;
        countable(offset, count)?;
        Ok(count)
    }

    /// Moves what was collected since `base` behind the words of the record that was begun.
    fn move_members(&mut self, base: usize) {
        self.dies.words.extend_from_slice(&self.dies.members[base..]);
        self.dies.members.truncate(base);
    }

    pub(super) fn composite(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let Head { name, size, declaration, specification } = self.head(abbrev, cursor)?;
        let union = gimli::DwTag(abbrev.tag) == dw::DW_TAG_union_type;
        let index = self.push(offset);
        let base = self.dies.members.len();
        let bitfields = self.dies.old_bitfields.len();
        let mut kflag = false;
        if abbrev.children {
            self.enter(offset)?;
            kflag = self.members(index, union, cursor)?;
            if self.wanted.sorted_members {
                self.sort_members(base);
            }
            self.depth -= 1;
        }
        let count = self.collected(offset, base, 3)?;
        self.number(index);
        let name = self.name_or(name, specification);
        if declaration {
            self.dies.words.extend_from_slice(&[name, info(kind::FWD, 0, union), 0]);
            self.dies.members.truncate(base);
            self.dies.old_bitfields.retain(|old| old.word < OPEN | base as u32);
            return Ok(());
        }
        let kind = if union { kind::UNION } else { kind::STRUCT };
        self.dies.words.extend_from_slice(&[name, info(kind, count, kflag), size]);
        let shift = self.dies.words.len() as u32;
        for old in &mut self.dies.old_bitfields[bitfields..] {
            if old.word & OPEN != 0 {
                old.word = (old.word & !OPEN) - base as u32 + shift;
            }
        }
        self.move_members(base);
        Ok(())
    }

    /// The attributes of a structure.
    #[inline]
    fn head(&mut self, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<Head> {
        if let Some(usual) = abbrev.usual.filter(|_| self.by_code) {
            let values = usual.read(cursor, self.start())?;
            let (name, size) = (values.name, values.number);
            return Ok(Head { name, size, declaration: false, specification: 0 });
        }
        self.read(abbrev, cursor)?;
        Ok(Head {
            name: self.code(Slot::Name)?,
            size: self.values.number(Slot::ByteSize) as u32,
            declaration: self.values.number(Slot::Declaration) != 0,
            specification: self.values.reference(Slot::Specification),
        })
    }

    /// Puts a structure's members, collected since `base`, in the order of their offsets in bytes.
    fn sort_members(&mut self, base: usize) {
        let (members, _) = self.dies.members[base..].as_chunks_mut::<3>();
        // PARITY: pahole exchanges neighbours, which keeps the order of those at one place too.
        members.sort_by_key(|member| member[2] / 8);
    }

    /// Collects the members. Returns whether one of them is a bitfield, so that offsets are counted with
    /// their sizes beside them.
    fn members(&mut self, index: usize, union: bool, cursor: &mut Cursor<'s>) -> Read<bool> {
        let (mut component, mut kflag) = (0, false);
        while let Some((offset, abbrev)) = self.next(cursor)? {
            match gimli::DwTag(abbrev.tag) {
                dw::DW_TAG_member => {
                    match abbrev.usual.filter(|_| self.by_code) {
                        Some(usual) => self.usual_member(union, usual, offset, cursor)?,
                        None => {
                            self.read(abbrev, cursor)?;
                            kflag |= self.member(union, offset)?;
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
        Ok(kflag)
    }

    /// Collects a member. Returns whether it is a bitfield.
    #[inline]
    fn member(&mut self, union: bool, offset: u32) -> Read<bool> {
        let name = self.code(Slot::Name)?;
        let ty = self.values.reference(Slot::Type);
        let bit_size = self.values.number(Slot::BitSize) as u8;
        let bits = if self.values.has(Slot::DataBitOffset) {
            self.values.constant(Slot::DataBitOffset).unwrap_or(0) as u32
        } else {
            let byte_offset = self.member_location()?;
            if bit_size != 0 {
                self.dies.old_bitfields.push(OldBitfield {
                    word: self.dies.members.len() as u32 | OPEN,
                    byte_offset,
                    bit_offset: self.values.number(Slot::BitOffset) as u8 as i8,
                    byte_size: self.values.number(Slot::ByteSize) as u32,
                });
            }
            byte_offset.wrapping_mul(8)
        };
        if union && bits != 0 && bit_size == 0 {
            return Err(off_union(offset));
        }
        self.dies.members.extend_from_slice(&[name, ty, bits | u32::from(bit_size) << 24]);
        Ok(bit_size != 0 || bits & 7 != 0)
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
        let values = usual.read(cursor, self.start())?;
        let bits = values.number.wrapping_mul(8);
        if union && bits != 0 {
            return Err(off_union(offset));
        }
        self.dies.members.extend_from_slice(&[values.name, values.ty, bits]);
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

/// What the attributes of a structure say.
struct Head {
    name: Code,
    /// In bytes.
    size: u32,
    declaration: bool,
    specification: u32,
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
