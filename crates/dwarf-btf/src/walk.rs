//! The walk over a unit's entries.
//!
//! Entries are met in their order in the section. A type is recorded when its entry is met and numbered
//! when its entry ends, so a type that is nested in another has the smaller number; this is the order in
//! which pahole fills its table of types. References are offsets until the unit has ended; then
//! [`crate::resolve`] turns them into numbers.
//!
//! Function bodies are walked too, because a type may be defined in one; but of what is in them only
//! types, static variables and nested functions are read, the rest is passed over by compiled skip
//! programs (see [`crate::abbrev`]).
//!
//! Source of facts: dwarf_loader.c of pahole 1.24 and 1.31, for which entries are looked at in which
//! place; DWARF 5, chapters 3 to 5.

use gimli::constants as dw;

use crate::abbrev::{
    Abbrev, DW_TAG_GNU_ANNOTATION, DW_TAG_LLVM_ANNOTATION, Form, SLOTS, Slot, UsualMember,
};
use crate::cu::kind;
use crate::cursor::{Cursor, Fault, Read};
use crate::strings::{Code, NUMBERED, Names, Strings};
use crate::unit::{Unit, Values};

/// Deeper nesting of entries is refused; compilers stay below a hundred.
const MAX_DEPTH: u32 = 400;
/// More dimensions of an array are not looked at.
const MAX_DIMENSIONS: usize = 64;

/// A type as its entry says it, references being offsets into `.debug_info`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TypeDie {
    pub offset: u32,
    pub name: Code,
    /// Size in bytes; for an array the number of elements.
    pub size: u32,
    /// The type referred to; 0 for `void`.
    pub ty: u32,
    /// First of its words in [`Dies::words`].
    pub words: u32,
    /// Members, enumerators or parameters.
    pub count: u32,
    /// Number within the unit; 0 for what has no place in BTF (`DW_TAG_unspecified_type`).
    pub id: u32,
    /// `DW_AT_specification`, where the name may be.
    pub specification: u32,
    pub kind: u8,
    /// A union's FWD, a bool or the like: see the kinds in [`crate::resolve`].
    pub flags: u8,
}

pub(crate) const FLAG_UNION: u8 = 1;
pub(crate) const FLAG_VARIADIC: u8 = 1;
pub(crate) const FLAG_TAGGED: u8 = 2;
pub(crate) const FLAG_KFLAG: u8 = 4;

/// A bitfield in the manner of DWARF 2 and 3, whose place depends on the size of its type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OldBitfield {
    /// Where the member's words are.
    pub word: u32,
    pub byte_offset: u32,
    pub bit_offset: i8,
    pub byte_size: u32,
}

/// A function as its entry says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FuncDie {
    pub offset: u32,
    pub name: Code,
    pub ty: u32,
    pub origin: u32,
    pub specification: u32,
    pub low_pc: u64,
    /// Its parameters in [`Dies::params`].
    pub params: (u32, u32),
    pub has_origin: bool,
    pub declaration: bool,
    pub external: bool,
    pub variadic: bool,
    pub inlined: bool,
    pub nocall: bool,
}

/// A variable at a fixed address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VarDie {
    pub offset: u32,
    pub address: u64,
    /// Declared at the top of its unit, not in a function.
    pub top: bool,
}

/// A `btf_decl_tag` on the type or function of that index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TagDie {
    pub owner: u32,
    pub value: Code,
    pub component: i32,
}

/// The entries of a unit that matter.
#[derive(Debug, Default)]
pub(crate) struct Dies {
    /// Types in the order of their offsets.
    pub types: Vec<TypeDie>,
    /// Type tags of pointers, which have no entry that could be referred to.
    pub extra: Vec<TypeDie>,
    /// By number: an index into `types`, or into `extra` with [`EXTRA`] set.
    pub order: Vec<u32>,
    /// Members (name, type, bits), enumerators (name, low, high), parameters (name, type).
    pub words: Vec<u32>,
    pub old_bitfields: Vec<OldBitfield>,
    pub funcs: Vec<FuncDie>,
    /// By pahole's order of functions: an index into `funcs`.
    pub func_order: Vec<u32>,
    /// Offsets of the entries of the functions' parameters.
    pub params: Vec<u32>,
    /// Offsets of variables that stand at a fixed address.
    pub vars: Vec<VarDie>,
    pub type_tags: Vec<TagDie>,
    pub func_tags: Vec<TagDie>,
    members: Vec<u32>,
}

/// Marks an index into [`Dies::extra`].
pub(crate) const EXTRA: u32 = 1 << 31;

impl Dies {
    pub fn clear(&mut self) {
        let Dies {
            types,
            extra,
            order,
            words,
            old_bitfields,
            funcs,
            func_order,
            params,
            vars,
            type_tags,
            func_tags,
            members,
        } = self;
        types.clear();
        extra.clear();
        order.clear();
        words.clear();
        old_bitfields.clear();
        funcs.clear();
        func_order.clear();
        params.clear();
        vars.clear();
        type_tags.clear();
        func_tags.clear();
        members.clear();
    }
}

/// What of the entries is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub decl_tags: bool,
    pub type_tags: bool,
    /// An array of several dimensions is one of arrays (pahole 1.32).
    pub nested_arrays: bool,
}

/// One walk.
pub(crate) struct Walk<'a, 's> {
    pub unit: &'a Unit<'s, 'a>,
    pub strings: &'a Strings<'s>,
    pub names: &'a mut Names,
    pub dies: &'a mut Dies,
    pub wanted: Wanted,
    values: Values,
    /// Whether names in `.debug_str` are known by their offsets.
    by_code: bool,
    depth: u32,
}

/// Where a function's children go: the function, and whether they are those of an inlined copy.
#[derive(Clone, Copy)]
struct Body {
    func: Option<usize>,
    inlined: bool,
}

impl<'a, 's> Walk<'a, 's> {
    pub fn new(
        unit: &'a Unit<'s, 'a>,
        strings: &'a Strings<'s>,
        names: &'a mut Names,
        dies: &'a mut Dies,
        wanted: Wanted,
    ) -> Self {
        let by_code = strings.by_code.load(std::sync::atomic::Ordering::Relaxed);
        Walk { unit, strings, names, dies, wanted, values: Values::default(), by_code, depth: 0 }
    }

    /// Walks the children of a unit's first entry; the cursor stands behind its attributes.
    pub fn unit_children(&mut self, cursor: &mut Cursor<'s>) -> Read<()> {
        while let Some((offset, abbrev)) = self.next(cursor)? {
            self.entry(offset, abbrev, cursor)?;
        }
        Ok(())
    }

    /// The next entry among siblings; `None` at their end.
    #[inline]
    fn next(&self, cursor: &mut Cursor<'s>) -> Read<Option<(u32, Abbrev)>> {
        let offset = cursor.pos;
        if offset >= cursor.data.len() {
            return Ok(None);
        }
        match cursor.uleb()? {
            0 => Ok(None),
            code => Ok(Some((offset as u32, self.unit.table.get(code, offset)?))),
        }
    }

    fn enter(&mut self, offset: u32) -> Read<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault { offset: offset as usize, cause: "entries are nested too deeply" });
        }
        Ok(())
    }

    /// Passes over an entry whose code was read, with its children.
    fn pass(&mut self, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        if abbrev.children
            && let Some(sibling) = self.unit.table.sibling(abbrev, cursor)
        {
            let target = self.unit.header.start + sibling as usize;
            if target > cursor.pos && target <= cursor.data.len() {
                cursor.pos = target;
                return Ok(());
            }
        }
        self.unit.table.skip(abbrev, cursor)?;
        if abbrev.children { self.pass_children(cursor) } else { Ok(()) }
    }

    fn pass_children(&mut self, cursor: &mut Cursor<'s>) -> Read<()> {
        let mut open = 1u32;
        while open > 0 {
            match self.next(cursor)? {
                None if cursor.pos >= cursor.data.len() => return Ok(()),
                None => open -= 1,
                Some((_, abbrev)) => {
                    self.unit.table.skip(abbrev, cursor)?;
                    open += u32::from(abbrev.children);
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.unit.read(abbrev, cursor, &mut self.values)
    }

    #[inline]
    fn code(&mut self, slot: Slot) -> Read<Code> {
        self.names.code(self.strings, self.unit, &self.values, slot)
    }

    fn push(&mut self, die: TypeDie) -> usize {
        self.dies.types.push(die);
        self.dies.types.len() - 1
    }

    /// Gives a type its number.
    fn number(&mut self, index: usize) {
        self.dies.order.push(index as u32);
        self.dies.types[index].id = self.dies.order.len() as u32;
    }

    /// An entry at the top, in a namespace, or anywhere where it is treated as there.
    fn entry(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        match gimli::DwTag(abbrev.tag) {
            dw::DW_TAG_pointer_type => self.pointer(offset, abbrev, cursor),
            dw::DW_TAG_const_type => self.modifier(offset, abbrev, cursor, kind::CONST),
            dw::DW_TAG_volatile_type => self.modifier(offset, abbrev, cursor, kind::VOLATILE),
            dw::DW_TAG_restrict_type => self.modifier(offset, abbrev, cursor, kind::RESTRICT),
            dw::DW_TAG_structure_type
            | dw::DW_TAG_class_type
            | dw::DW_TAG_interface_type
            | dw::DW_TAG_union_type => self.composite(offset, abbrev, cursor),
            dw::DW_TAG_typedef => self.typedef(offset, abbrev, cursor),
            dw::DW_TAG_array_type => self.array(offset, abbrev, cursor),
            dw::DW_TAG_subroutine_type => self.subroutine(offset, abbrev, cursor),
            dw::DW_TAG_base_type => self.base(offset, abbrev, cursor),
            dw::DW_TAG_enumeration_type => self.enumeration(offset, abbrev, cursor),
            dw::DW_TAG_unspecified_type => {
                self.push(TypeDie { offset, ..EMPTY });
                self.pass(abbrev, cursor)
            }
            dw::DW_TAG_subprogram => self.subprogram(offset, abbrev, cursor),
            dw::DW_TAG_variable => self.variable(offset, abbrev, cursor),
            dw::DW_TAG_namespace => self.namespace(offset, abbrev, cursor),
            _ => self.pass(abbrev, cursor),
        }
    }

    fn namespace(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.unit.table.skip(abbrev, cursor)?;
        if abbrev.children {
            self.enter(offset)?;
            self.unit_children(cursor)?;
            self.depth -= 1;
        }
        Ok(())
    }

    fn modifier(
        &mut self,
        offset: u32,
        abbrev: Abbrev,
        cursor: &mut Cursor<'s>,
        kind: u32,
    ) -> Read<()> {
        self.read(abbrev, cursor)?;
        let ty = self.values.reference(Slot::Type);
        let index = self.push(TypeDie { offset, ty, kind: kind as u8, ..EMPTY });
        self.number(index);
        if abbrev.children { self.pass_children(cursor) } else { Ok(()) }
    }

    fn pointer(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.read(abbrev, cursor)?;
        let ty = self.values.reference(Slot::Type);
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

    /// The value of an annotation of that name; any other entry is passed over.
    fn annotation(
        &mut self,
        abbrev: Abbrev,
        cursor: &mut Cursor<'s>,
        name: &[u8],
    ) -> Read<Option<Code>> {
        if abbrev.tag != DW_TAG_LLVM_ANNOTATION && abbrev.tag != DW_TAG_GNU_ANNOTATION {
            self.pass(abbrev, cursor)?;
            return Ok(None);
        }
        self.read(abbrev, cursor)?;
        let wanted = self.strings_equal(Slot::Name, name)?;
        let value = if wanted { Some(self.code(Slot::ConstValue)?) } else { None };
        if abbrev.children {
            self.pass_children(cursor)?;
        }
        Ok(value)
    }

    fn strings_equal(&mut self, slot: Slot, expected: &[u8]) -> Read<bool> {
        let at = match self.values.get(slot) {
            Some((Form::Strp, offset)) => {
                Cursor::new(self.unit.dwarf.strings, offset as usize, false).cstr()?
            }
            Some((Form::InlineStr, offset)) => self.unit.cursor(offset as usize).cstr()?,
            _ => {
                let name = self.names.name(self.strings, self.unit, &self.values, slot)?;
                return Ok(name == self.strings.find(expected));
            }
        };
        Ok(at == expected)
    }

    /// The `btf_decl_tag`s among the children of a member, parameter, typedef or variable.
    fn child_tags(&mut self, cursor: &mut Cursor<'s>, owner: Owner, component: i32) -> Read<()> {
        while let Some((_, abbrev)) = self.next(cursor)? {
            if let Some(value) = self.annotation(abbrev, cursor, b"btf_decl_tag")? {
                self.tag(owner, value, component);
            }
        }
        Ok(())
    }

    fn tag(&mut self, owner: Owner, value: Code, component: i32) {
        if !self.wanted.decl_tags {
            return;
        }
        match owner {
            Owner::Type(index) => {
                self.dies.type_tags.push(TagDie { owner: index as u32, value, component });
            }
            Owner::Func(Some(index)) => {
                self.dies.func_tags.push(TagDie { owner: index as u32, value, component });
            }
            Owner::Func(None) => {}
        }
    }

    fn base(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.read(abbrev, cursor)?;
        let name = self.code(Slot::Name)?;
        let size = self.values.number(Slot::ByteSize) as u32;
        let encoding = self.values.number(Slot::Encoding) as u32;
        let kind = kind::INT as u8;
        let index = self.push(TypeDie { offset, name, size, ty: encoding, kind, ..EMPTY });
        self.number(index);
        if abbrev.children { self.pass_children(cursor) } else { Ok(()) }
    }

    fn typedef(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.read(abbrev, cursor)?;
        let (name, ty) = (self.code(Slot::Name)?, self.values.reference(Slot::Type));
        let specification = self.values.reference(Slot::Specification);
        let kind = kind::TYPEDEF as u8;
        let index = self.push(TypeDie { offset, name, ty, kind, specification, ..EMPTY });
        if abbrev.children {
            self.child_tags(cursor, Owner::Type(index), -1)?;
        }
        self.number(index);
        Ok(())
    }

    fn array(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.read(abbrev, cursor)?;
        let ty = self.values.reference(Slot::Type);
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

    fn enumeration(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
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
        self.number(index);
        Ok(())
    }

    fn subroutine(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.read(abbrev, cursor)?;
        let ty = self.values.reference(Slot::Type);
        let index = self.push(TypeDie { offset, ty, kind: kind::FUNC_PROTO as u8, ..EMPTY });
        let base = self.dies.members.len();
        if abbrev.children {
            self.enter(offset)?;
            while let Some((offset, abbrev)) = self.next(cursor)? {
                match gimli::DwTag(abbrev.tag) {
                    dw::DW_TAG_formal_parameter => {
                        self.read(abbrev, cursor)?;
                        let name = self.code(Slot::Name)?;
                        let ty = self.values.reference(Slot::Type);
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
        self.settle(index, base, 2);
        self.number(index);
        Ok(())
    }

    /// Moves what was collected for a type since `base` behind the words of the types that have ended.
    fn settle(&mut self, index: usize, base: usize, step: usize) {
        let die = &mut self.dies.types[index];
        die.words = self.dies.words.len() as u32;
        die.count = ((self.dies.members.len() - base) / step) as u32;
        self.dies.words.extend_from_slice(&self.dies.members[base..]);
        self.dies.members.truncate(base);
    }

    fn composite(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
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
            let shift = self.dies.words.len() as u32;
            for old in &mut self.dies.old_bitfields[bitfields..] {
                if old.word & EXTRA != 0 {
                    old.word = (old.word & !EXTRA) - base as u32 + shift;
                }
            }
            self.settle(index, base, 3);
            self.depth -= 1;
        }
        self.number(index);
        Ok(())
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
                        self.child_tags(cursor, Owner::Type(index), component)?;
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
                _ if abbrev.tag == DW_TAG_LLVM_ANNOTATION
                    || abbrev.tag == DW_TAG_GNU_ANNOTATION =>
                {
                    if let Some(value) = self.annotation(abbrev, cursor, b"btf_decl_tag")? {
                        self.tag(Owner::Type(index), value, -1);
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

    /// A member as most are, read from known places.
    #[inline]
    fn usual_member(
        &mut self,
        union: bool,
        usual: UsualMember,
        offset: u32,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        let (big, start) = (cursor.big, cursor.pos);
        let bytes = cursor.bytes(usize::from(usual.len))?;
        let word = |at: u16| {
            let bytes = bytes.get(usize::from(at)..).and_then(|rest| rest.first_chunk::<4>());
            let bytes = *bytes.ok_or(Fault { offset: start, cause: "a member is cut off" })?;
            Ok(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
        };
        let name =
            usual.name.map_or(Ok(0), |at| word(at).map(|at| at.wrapping_add(1) & !NUMBERED))?;
        let ty = (self.unit.header.start as u32).wrapping_add(word(usual.ty)?);
        let bytes = match usual.location {
            Some((at, size)) => Cursor::new(bytes, usize::from(at), big).uint(size)? as u32,
            None => 0,
        };
        let bits = bytes.wrapping_mul(8);
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

    fn subprogram(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.read(abbrev, cursor)?;
        let name = self.code(Slot::Name)?;
        let low_pc = match self.values.get(Slot::LowPc) {
            Some((Form::AddrIndex, index)) => self.unit.address(index).unwrap_or(0),
            _ => self.values.number(Slot::LowPc),
        };
        let index = self.dies.funcs.len();
        let first = self.dies.params.len() as u32;
        self.dies.funcs.push(FuncDie {
            offset,
            name,
            low_pc,
            ty: self.values.reference(Slot::Type),
            origin: self.values.reference(Slot::AbstractOrigin),
            specification: self.values.reference(Slot::Specification),
            params: (first, first),
            has_origin: self.values.has(Slot::AbstractOrigin),
            declaration: self.values.has(Slot::Declaration),
            external: self.values.has(Slot::External),
            variadic: false,
            inlined: self.values.number(Slot::Inline) != 0,
            nocall: self.values.number(Slot::CallingConvention) == u64::from(dw::DW_CC_nocall.0),
        });
        if abbrev.children {
            self.body(offset, Body { func: Some(index), inlined: false }, cursor)?;
        }
        self.dies.func_order.push(index as u32);
        Ok(())
    }

    /// The children of a function, of a block in one, or of an inlined copy of one.
    fn body(&mut self, offset: u32, body: Body, cursor: &mut Cursor<'s>) -> Read<()> {
        self.enter(offset)?;
        let mut component = 0;
        while let Some((offset, abbrev)) = self.next(cursor)? {
            match gimli::DwTag(abbrev.tag) {
                dw::DW_TAG_variable => self.variable(offset, abbrev, cursor)?,
                dw::DW_TAG_formal_parameter => {
                    self.parameter(offset, abbrev, body, component, cursor)?;
                    component += 1;
                }
                dw::DW_TAG_lexical_block => {
                    self.unit.table.skip(abbrev, cursor)?;
                    if abbrev.children {
                        self.body(offset, Body { func: None, inlined: false }, cursor)?;
                    }
                }
                dw::DW_TAG_inlined_subroutine => {
                    self.unit.table.skip(abbrev, cursor)?;
                    if abbrev.children {
                        self.body(offset, Body { func: None, inlined: true }, cursor)?;
                    }
                }
                dw::DW_TAG_unspecified_parameters => {
                    if let (Some(index), false) = (body.func, body.inlined) {
                        self.dies.funcs[index].variadic = true;
                    }
                    self.pass(abbrev, cursor)?;
                }
                dw::DW_TAG_call_site
                | dw::DW_TAG_call_site_parameter
                | dw::DW_TAG_GNU_call_site
                | dw::DW_TAG_GNU_call_site_parameter
                | dw::DW_TAG_label
                | dw::DW_TAG_dwarf_procedure => self.pass(abbrev, cursor)?,
                _ if abbrev.tag == DW_TAG_LLVM_ANNOTATION
                    || abbrev.tag == DW_TAG_GNU_ANNOTATION =>
                {
                    if let Some(value) = self.annotation(abbrev, cursor, b"btf_decl_tag")? {
                        self.tag(Owner::Func(body.func), value, -1);
                    }
                }
                _ => self.entry(offset, abbrev, cursor)?,
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn parameter(
        &mut self,
        offset: u32,
        abbrev: Abbrev,
        body: Body,
        component: i32,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        self.unit.table.skip(abbrev, cursor)?;
        if let Some(index) = body.func {
            // A nested function's parameters come between: then the list is continued behind them.
            let (first, end) = self.dies.funcs[index].params;
            let now = self.dies.params.len() as u32;
            if end != now {
                self.dies.params.extend_from_within(first as usize..end as usize);
                self.dies.funcs[index].params.0 = now;
            }
            self.dies.params.push(offset);
            self.dies.funcs[index].params.1 = self.dies.params.len() as u32;
            if abbrev.children {
                return self.child_tags(cursor, Owner::Func(body.func), component);
            }
        } else if abbrev.children {
            return self.pass_children(cursor);
        }
        Ok(())
    }

    /// Only variables at a fixed address are kept; the rest of them is read when one is looked at.
    fn variable(&mut self, offset: u32, abbrev: Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        if !abbrev.has(Slot::Location) {
            return self.pass(abbrev, cursor);
        }
        self.read(abbrev, cursor)?;
        if let Some((start, len)) = self.values.block(Slot::Location)
            && let Some(address) = self.static_address(start, len)
        {
            let top = self.depth == 0;
            self.dies.vars.push(VarDie { offset, address, top });
        }
        if abbrev.children { self.pass_children(cursor) } else { Ok(()) }
    }

    fn static_address(&self, start: usize, len: usize) -> Option<u64> {
        let end = start.checked_add(len)?;
        let mut cursor = Cursor::new(self.unit.dwarf.info.get(..end)?, start, self.unit.dwarf.big);
        let size = self.unit.header.sizes.address;
        let address = match gimli::DwOp(cursor.u8().ok()?) {
            dw::DW_OP_addr => cursor.uint(size).ok()?,
            dw::DW_OP_addrx => self.unit.address(cursor.uleb().ok()?)?,
            _ => return None,
        };
        match cursor.u8() {
            Ok(op) if gimli::DwOp(op) == dw::DW_OP_plus_uconst => {
                Some(address.wrapping_add(cursor.uleb().ok()?))
            }
            _ => Some(address),
        }
    }
}

#[cold]
fn off_union(offset: u32) -> Fault {
    let cause = "a member of a union that is not at its beginning";
    Fault { offset: offset as usize, cause }
}

#[derive(Clone, Copy)]
enum Owner {
    Type(usize),
    Func(Option<usize>),
}

const EMPTY: TypeDie = TypeDie {
    offset: 0,
    name: 0,
    size: 0,
    ty: 0,
    words: 0,
    count: 0,
    id: 0,
    specification: 0,
    kind: 0,
    flags: 0,
};

const _: () = assert!(SLOTS <= 32);
