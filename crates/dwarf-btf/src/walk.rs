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

mod dies;
mod types;

use gimli::constants as dw;

use crate::abbrev::{Abbrev, Role, SLOTS, Slot};
use crate::cu::kind;
use crate::cursor::{Cursor, Fault, Read};
use crate::form::Form;
use crate::strings::{Code, Names, Strings};
use crate::unit::{Unit, Values};

pub(crate) use dies::{Dies, FuncDie, OldBitfield, TagDie, VarDie};

/// Deeper nesting of entries is refused; compilers stay below a hundred.
const MAX_DEPTH: u32 = 400;
/// What of the entries is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub decl_tags: bool,
    pub type_tags: bool,
    /// An array of several dimensions is one of arrays (pahole 1.32).
    pub nested_arrays: bool,
    /// A floating point number has a kind of its own, and a complex one is an error; or both are integers.
    pub floats: bool,
    /// An enumeration of 64 bits has a kind of its own; or only the low halves of its values are kept.
    pub enum64: bool,
    /// The name that a base type of a size that BTF does not allow gets.
    pub fake_int: Code,
    /// Members are put in the order of their offsets (Rust, pahole 1.25).
    pub sorted_members: bool,
}

/// One walk.
pub(crate) struct Walk<'a, 's, 'n> {
    pub unit: &'a Unit<'s, 'a>,
    pub strings: &'a Strings<'n>,
    pub names: &'a mut Names,
    pub dies: &'a mut Dies,
    pub wanted: Wanted,
    values: Values,
    /// Whether names in `.debug_str` are known by their offsets.
    by_code: bool,
    depth: u32,
}

impl<'a, 's, 'n> Walk<'a, 's, 'n> {
    pub fn new(
        unit: &'a Unit<'s, 'a>,
        strings: &'a Strings<'n>,
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
    fn next(&self, cursor: &mut Cursor<'s>) -> Read<Option<(u32, &'a Abbrev)>> {
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
    fn pass(&mut self, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
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

    fn read(&mut self, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.unit.read(abbrev, cursor, &mut self.values)
    }

    /// What an entry refers to, where nothing else is asked of it.
    #[inline]
    fn reference(&mut self, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<u32> {
        match abbrev.usual {
            Some(usual) => Ok(usual.read(cursor, self.start())?.ty),
            None => {
                self.read(abbrev, cursor)?;
                Ok(self.values.reference(Slot::Type))
            }
        }
    }

    /// An entry's name, what it refers to and what it completes.
    #[inline]
    fn named_reference(
        &mut self,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
    ) -> Read<(Code, u32, u32)> {
        if let Some(usual) = abbrev.usual.filter(|_| self.by_code) {
            let values = usual.read(cursor, self.start())?;
            return Ok((values.name, values.ty, 0));
        }
        self.read(abbrev, cursor)?;
        let ty = self.values.reference(Slot::Type);
        Ok((self.code(Slot::Name)?, ty, self.values.reference(Slot::Specification)))
    }

    /// Where the unit begins.
    #[inline(always)]
    fn start(&self) -> u32 {
        self.unit.header.start as u32
    }

    #[inline]
    fn code(&mut self, slot: Slot) -> Read<Code> {
        self.names.code(self.strings, self.unit, &self.values, slot)
    }

    /// Notes the entry of a type, which has no number yet. Returns its index.
    fn push(&mut self, offset: u32) -> usize {
        self.dies.offsets.push(offset);
        self.dies.ids.push(0);
        self.dies.ids.len() - 1
    }

    /// Begins the record of a type that has ended. Returns the type's number.
    fn begin(&mut self) -> u32 {
        self.dies.starts.push(self.dies.words.len() as u32);
        self.dies.starts.len() as u32
    }

    /// Begins the record of the type of that index.
    fn number(&mut self, index: usize) {
        self.dies.ids[index] = self.begin();
    }

    /// An entry at the top, in a namespace, or anywhere where it is treated as there.
    fn entry(&mut self, offset: u32, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        match gimli::DwTag(abbrev.tag) {
            dw::DW_TAG_pointer_type => self.pointer(offset, abbrev, cursor),
            dw::DW_TAG_const_type => self.modifier(offset, abbrev, cursor, kind::CONST),
            dw::DW_TAG_volatile_type => self.modifier(offset, abbrev, cursor, kind::VOLATILE),
            dw::DW_TAG_restrict_type => self.modifier(offset, abbrev, cursor, kind::RESTRICT),
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
                self.composite(offset, abbrev, cursor)
            }
            dw::DW_TAG_typedef => self.typedef(offset, abbrev, cursor),
            dw::DW_TAG_array_type => self.array(offset, abbrev, cursor),
            dw::DW_TAG_subroutine_type => self.subroutine(offset, abbrev, cursor),
            dw::DW_TAG_base_type => self.base(offset, abbrev, cursor),
            dw::DW_TAG_enumeration_type => self.enumeration(offset, abbrev, cursor),
            dw::DW_TAG_unspecified_type => {
                self.push(offset);
                self.pass(abbrev, cursor)
            }
            dw::DW_TAG_subprogram => self.subprogram(offset, abbrev, cursor),
            dw::DW_TAG_variable => self.variable(offset, abbrev, cursor),
            dw::DW_TAG_namespace => self.namespace(offset, abbrev, cursor),
            _ => match self.refused(abbrev.tag) {
                Some(cause) => Err(Fault { offset: offset as usize, cause }),
                None => self.pass(abbrev, cursor),
            },
        }
    }

    /// Why a type of this tag cannot be encoded; pahole gives up on the whole file too.
    #[cold]
    fn refused(&self, tag: u16) -> Option<&'static str> {
        Some(match gimli::DwTag(tag) {
            // PARITY: pahole 1.24 does not know it, and lets what refers to it be `void`, but for members,
            // which get the last type of the unit before.
            dw::DW_TAG_atomic_type => "BTF has no kind for _Atomic (DW_TAG_atomic_type)",
            dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                "BTF has no kind for references (DW_TAG_reference_type)"
            }
            dw::DW_TAG_ptr_to_member_type => {
                "BTF has no kind for pointers to members (DW_TAG_ptr_to_member_type)"
            }
            dw::DW_TAG_string_type => "BTF has no kind for strings (DW_TAG_string_type)",
            dw::DW_TAG_interface_type => "BTF has no kind for interfaces (DW_TAG_interface_type)",
            _ => return None,
        })
    }

    fn namespace(&mut self, offset: u32, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        self.unit.table.skip(abbrev, cursor)?;
        if abbrev.children {
            self.enter(offset)?;
            self.unit_children(cursor)?;
            self.depth -= 1;
        }
        Ok(())
    }

    /// The value of an annotation of that name; any other entry is passed over.
    fn annotation(
        &mut self,
        abbrev: &Abbrev,
        cursor: &mut Cursor<'s>,
        name: &[u8],
    ) -> Read<Option<Code>> {
        if !abbrev.is_annotation() {
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

    /// The `btf_decl_tag`s among the children of a member or typedef.
    fn child_tags(&mut self, cursor: &mut Cursor<'s>, owner: usize, component: i32) -> Read<()> {
        while let Some((_, abbrev)) = self.next(cursor)? {
            if let Some(value) = self.annotation(abbrev, cursor, b"btf_decl_tag")? {
                self.type_tag(owner, value, component);
            }
        }
        Ok(())
    }

    /// Notes the tag of the type of that index.
    fn type_tag(&mut self, owner: usize, value: Code, component: i32) {
        if self.wanted.decl_tags {
            self.dies.type_tags.push(TagDie { owner: owner as u32, value, component });
        }
    }

    /// Notes the tag of the function of that index.
    fn func_tag(&mut self, owner: usize, value: Code, component: i32) {
        if self.wanted.decl_tags {
            self.dies.func_tags.push(TagDie { owner: owner as u32, value, component });
        }
    }

    fn subprogram(&mut self, offset: u32, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
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
            self.body(offset, index, cursor)?;
        }
        self.dies.func_order.push(index as u32);
        Ok(())
    }

    /// The children of a function.
    fn body(&mut self, offset: u32, func: usize, cursor: &mut Cursor<'s>) -> Read<()> {
        self.enter(offset)?;
        let mut component = 0;
        while let Some((offset, abbrev)) = self.next(cursor)? {
            match gimli::DwTag(abbrev.tag) {
                dw::DW_TAG_formal_parameter => {
                    self.parameter(offset, abbrev, func, component, cursor)?;
                    component += 1;
                }
                dw::DW_TAG_unspecified_parameters => {
                    self.dies.funcs[func].variadic = true;
                    self.pass(abbrev, cursor)?;
                }
                _ if abbrev.is_annotation() => {
                    if let Some(value) = self.annotation(abbrev, cursor, b"btf_decl_tag")? {
                        self.func_tag(func, value, -1);
                    }
                }
                _ => self.statement(offset, abbrev, cursor)?,
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// An entry of a function that is none of its parameters. Blocks and inlined copies are gone through
    /// to their ends in one loop: of what is in them types, static variables and functions matter.
    fn statement(&mut self, offset: u32, abbrev: &'a Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
        let (mut offset, mut abbrev) = (offset, abbrev);
        let mut open = 0u32;
        loop {
            match abbrev.role {
                Role::Passed => self.pass(abbrev, cursor)?,
                Role::Block => {
                    self.unit.table.skip(abbrev, cursor)?;
                    if abbrev.children {
                        open += 1;
                        self.enter(offset)?;
                    }
                }
                Role::Entry => self.entry(offset, abbrev, cursor)?,
            }
            while open > 0 {
                match self.next(cursor)? {
                    Some(next) => {
                        (offset, abbrev) = next;
                        break;
                    }
                    None => {
                        open -= 1;
                        self.depth -= 1;
                    }
                }
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn parameter(
        &mut self,
        offset: u32,
        abbrev: &Abbrev,
        func: usize,
        component: i32,
        cursor: &mut Cursor<'s>,
    ) -> Read<()> {
        self.unit.table.skip(abbrev, cursor)?;
        // A nested function's parameters come between: then the list is continued behind them.
        let (first, end) = self.dies.funcs[func].params;
        let now = self.dies.params.len() as u32;
        if end != now {
            self.dies.params.extend_from_within(first as usize..end as usize);
            self.dies.funcs[func].params.0 = now;
        }
        self.dies.params.push(offset);
        self.dies.funcs[func].params.1 = self.dies.params.len() as u32;
        let (first, end) = self.dies.funcs[func].params;
        types::countable(offset, end - first)?;
        if abbrev.children {
            while let Some((_, abbrev)) = self.next(cursor)? {
                if let Some(value) = self.annotation(abbrev, cursor, b"btf_decl_tag")? {
                    self.func_tag(func, value, component);
                }
            }
        }
        Ok(())
    }

    /// Only variables at a fixed address are kept; the rest of them is read when one is looked at.
    fn variable(&mut self, offset: u32, abbrev: &Abbrev, cursor: &mut Cursor<'s>) -> Read<()> {
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

const _: () = assert!(SLOTS <= 32);
