//! Declarators: a chain of types around a name, as C writes it.
//!
//! BTF goes from the outside in: an array of pointers to `const int` is ARRAY, PTR, CONST, INT. C
//! begins with the innermost (`const int *name[10]`). So a chain is collected down to its end and written
//! from there.

use super::{Dump, DumpError, MAX_DEPTH};
use crate::{Kind, Type, TypeId};

impl<'d> Dump<'d> {
    /// Writes a declaration of `name` as a thing of type `id`, without a semicolon.
    pub(super) fn declare(
        &mut self,
        id: TypeId,
        name: &[u8],
        level: usize,
        depth: u32,
    ) -> Result<(), DumpError> {
        self.step(id, depth)?;
        let mut chain = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            if chain.len() > MAX_DEPTH as usize {
                return Err(DumpError::Depth(id));
            }
            let ty = self.ty(id)?;
            next = match ty.kind {
                Kind::Typedef => None,
                Kind::Ptr | Kind::FuncProto => ty.type_id(),
                Kind::Array => ty.array().map(|array| array.elem),
                kind if kind.is_modifier() => ty.type_id(),
                _ => None,
            };
            chain.push((id, ty));
        }
        self.chain(&mut chain, name, level, depth)
    }

    /// Writes a chain from its end, and the name in the middle of it.
    fn chain(
        &mut self,
        chain: &mut Vec<(TypeId, Type<'d>)>,
        name: &[u8],
        level: usize,
        depth: u32,
    ) -> Result<(), DumpError> {
        self.step(TypeId::VOID, depth)?;
        // A chain that is only pointers belongs into parentheses, where no space comes first.
        let mut after_ptr = true;
        while let Some((id, ty)) = chain.pop() {
            match ty.kind {
                Kind::Ptr => self.text(if after_ptr { "*" } else { " *" }),
                Kind::Volatile => self.text(" volatile"),
                Kind::Const => self.text(" const"),
                Kind::Restrict => self.text(" restrict"),
                Kind::Array => {
                    let nelems = ty.array().map_or(0, |array| array.nelems);
                    return self.array(nelems, chain, (name, after_ptr), level, depth);
                }
                Kind::FuncProto => {
                    return self.function(&ty, chain, (name, after_ptr), level, depth);
                }
                Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag | Kind::Other(_) => {
                    return Ok(());
                }
                _ => {
                    self.qualifiers(chain);
                    self.base(id, &ty, level, depth)?;
                }
            }
            after_ptr = ty.kind == Kind::Ptr;
        }
        self.declared_name(name, after_ptr);
        Ok(())
    }

    /// The type at the end of a chain, or a type tag.
    fn base(
        &mut self,
        id: TypeId,
        ty: &Type<'d>,
        level: usize,
        depth: u32,
    ) -> Result<(), DumpError> {
        let anonymous = ty.name_off.0 == 0;
        match ty.kind {
            Kind::Void => self.text("void"),
            Kind::Struct | Kind::Union if anonymous => {
                self.composite_definition(id, ty, level, depth + 1)?;
            }
            Kind::Struct | Kind::Union => self.composite_tag(id, ty)?,
            Kind::Enum | Kind::Enum64 if anonymous => self.enum_definition(id, ty, level)?,
            Kind::Enum | Kind::Enum64 => {
                self.text("enum ");
                let name = self.type_name(id, ty)?;
                self.bytes(&name);
            }
            Kind::Fwd => self.fwd(id, ty)?,
            Kind::Typedef => {
                let name = self.ident_name(id, ty)?;
                self.bytes(&name);
            }
            Kind::TypeTag => {
                let name = self.name(ty.name_off)?;
                self.text(if ty.kflag {
                    " __attribute__(("
                } else {
                    " __attribute__((btf_type_tag(\""
                });
                self.bytes(name);
                self.text(if ty.kflag { "))" } else { "\")))" });
            }
            _ => {
                let name = self.name(ty.name_off)?;
                self.bytes(name);
            }
        }
        Ok(())
    }

    /// The qualifiers of the type that comes next stand before it.
    fn qualifiers(&mut self, chain: &mut Vec<(TypeId, Type<'d>)>) {
        while let Some((_, ty)) = chain.last() {
            match ty.kind {
                Kind::Volatile => self.text("volatile "),
                Kind::Const => self.text("const "),
                Kind::Restrict => self.text("restrict "),
                _ => return,
            }
            chain.pop();
        }
    }

    fn array(
        &mut self,
        nelems: u32,
        chain: &mut Vec<(TypeId, Type<'d>)>,
        (name, after_ptr): (&[u8], bool),
        level: usize,
        depth: u32,
    ) -> Result<(), DumpError> {
        drop_qualifiers(chain);
        match chain.last().map(|(_, ty)| ty.kind) {
            None => self.declared_name(name, after_ptr),
            Some(outer) => {
                if !name.is_empty() && !after_ptr {
                    self.text(" ");
                }
                let nested = outer == Kind::Array;
                self.text(if nested { "" } else { "(" });
                self.chain(chain, name, level, depth + 1)?;
                self.text(if nested { "" } else { ")" });
            }
        }
        self.text(&format!("[{nelems}]"));
        Ok(())
    }

    fn function(
        &mut self,
        proto: &Type<'d>,
        chain: &mut Vec<(TypeId, Type<'d>)>,
        (name, after_ptr): (&[u8], bool),
        level: usize,
        depth: u32,
    ) -> Result<(), DumpError> {
        drop_qualifiers(chain);
        if chain.is_empty() {
            self.declared_name(name, after_ptr);
        } else {
            self.text(" (");
            self.chain(chain, name, level, depth + 1)?;
            self.text(")");
        }
        self.text("(");
        let count = proto.params().len();
        for (index, param) in proto.params().enumerate() {
            if index > 0 {
                self.text(", ");
            }
            if param.ty == TypeId::VOID && index + 1 == count {
                self.text(if count == 1 { "void" } else { "..." });
            } else {
                let name = self.name(param.name_off)?;
                self.declare(param.ty, name, level, depth + 1)?;
            }
        }
        self.text(if count == 0 { "void)" } else { ")" });
        Ok(())
    }

    fn declared_name(&mut self, name: &[u8], after_ptr: bool) {
        if !name.is_empty() && !after_ptr {
            self.text(" ");
        }
        self.bytes(name);
    }

    /// `struct NAME` or `union NAME`.
    pub(super) fn composite_tag(&mut self, id: TypeId, ty: &Type<'_>) -> Result<(), DumpError> {
        self.text(if ty.kind == Kind::Struct { "struct" } else { "union" });
        if ty.name_off.0 != 0 {
            let name = self.type_name(id, ty)?;
            self.text(" ");
            self.bytes(&name);
        }
        Ok(())
    }

    pub(super) fn fwd(&mut self, id: TypeId, ty: &Type<'_>) -> Result<(), DumpError> {
        self.text(if ty.kflag { "union " } else { "struct " });
        let name = self.type_name(id, ty)?;
        self.bytes(&name);
        Ok(())
    }

    /// A structure or union with its members.
    pub(super) fn composite_definition(
        &mut self,
        id: TypeId,
        ty: &Type<'_>,
        level: usize,
        depth: u32,
    ) -> Result<(), DumpError> {
        self.step(id, depth)?;
        let is_struct = ty.kind == Kind::Struct;
        let align = self.align_of(id, depth)?;
        let packed = is_struct && self.is_packed(ty, depth)?;
        self.composite_tag(id, ty)?;
        self.text(" {");
        let (mut at, mut after_bitfield) = (0i64, false);
        for member in ty.members() {
            let bits = i64::from(member.bitfield_size);
            let offset = i64::from(member.bit_offset);
            let member_align = if packed { 1 } else { self.align_of(member.ty, depth)? };
            self.pad((at, offset), member_align, after_bitfield && bits != 0, level + 1)?;
            self.line(level + 1);
            let name = self.name(member.name_off)?;
            self.declare(member.ty, name, level + 1, depth + 1)?;
            if bits != 0 {
                self.text(&format!(": {bits}"));
                at = offset + bits;
            } else {
                at = offset + i64::from(self.size_of(member.ty)?) * 8;
            }
            after_bitfield = bits != 0;
            self.text(";");
        }
        if is_struct {
            self.pad((at, i64::from(ty.size_or_type) * 8), align, false, level + 1)?;
        }
        if ty.vlen != 0 || ty.size_or_type != 0 {
            self.line(level);
        }
        self.text("}");
        if packed {
            self.text(" __attribute__((packed))");
        }
        Ok(())
    }

    /// An enumeration with its values; only its name where it has none.
    pub(super) fn enum_definition(
        &mut self,
        id: TypeId,
        ty: &Type<'d>,
        level: usize,
    ) -> Result<(), DumpError> {
        self.text("enum");
        if ty.name_off.0 != 0 {
            let name = self.type_name(id, ty)?;
            self.text(" ");
            self.bytes(&name);
        }
        if ty.vlen == 0 {
            return Ok(());
        }
        let wide = ty.kind == Kind::Enum64;
        let suffix = match (wide, ty.kflag) {
            (false, _) => "",
            (true, true) => "LL",
            (true, false) => "ULL",
        };
        self.text(" {");
        for value in ty.values() {
            self.step(id, 0)?;
            self.line(level + 1);
            let name = self.name(value.name_off)?;
            self.enumerator(name);
            self.text(&format!(" = {}{suffix},", ty.enum_number(value)));
        }
        self.line(level);
        self.text("}");
        // An enumeration is as wide as an `int`, or as its values need; other widths have to be said.
        let needs_wide = wide && ty.values().any(|value| value.value >> 32 != 0);
        match ty.size_or_type {
            1 => self.text(" __attribute__((mode(byte)))"),
            8 if self.pointer_size == 8 && !needs_wide => self.text(" __attribute__((mode(word)))"),
            _ => {}
        }
        Ok(())
    }
}

/// Qualifiers of an array or a function have no place in C; compilers put them into DWARF by mistake.
fn drop_qualifiers(chain: &mut Vec<(TypeId, Type<'_>)>) {
    let qualifier =
        |kind| matches!(kind, Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag);
    while chain.last().is_some_and(|(_, ty)| qualifier(ty.kind)) {
        chain.pop();
    }
}
