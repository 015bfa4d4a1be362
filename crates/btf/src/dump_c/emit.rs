//! Definitions and forward declarations at the top of the file.

use super::{Dump, DumpError, Emitted};
use crate::{Kind, Type, TypeId};

/// Defined by the compiler itself, so defining it again is an error.
const BUILTIN: &[u8] = b"__builtin_va_list";

/// Integers that are known to some compilers only, and what they are.
const ALIASES: [(&[u8], &str); 4] = [
    (b"__Poly8_t", "unsigned char"),
    (b"__Poly16_t", "unsigned short"),
    (b"__Poly64_t", "unsigned long long"),
    (b"__Poly128_t", "unsigned __int128"),
];

impl Dump<'_> {
    /// Writes `id` if it stands for itself (`container` is 0), or declares what a definition of
    /// `container` needs of it.
    pub(super) fn emit(
        &mut self,
        id: TypeId,
        container: TypeId,
        depth: u32,
    ) -> Result<(), DumpError> {
        self.step(id, depth)?;
        let ty = self.ty(id)?;
        match self.state(id)?.emitted {
            Emitted::Yes => return Ok(()),
            Emitted::InWork => return self.declare_in_work(id, &ty, container),
            Emitted::No => {}
        }
        let top = container == TypeId::VOID;
        let target = ty.type_id().unwrap_or(TypeId::VOID);
        match ty.kind {
            Kind::Int => self.emit_alias(id, &ty)?,
            Kind::Enum | Kind::Enum64 if top => {
                self.enum_definition(id, &ty, 0)?;
                self.text(";\n\n");
            }
            Kind::Enum | Kind::Enum64 => {}
            Kind::Fwd => {
                self.fwd(id, &ty)?;
                self.text(";\n\n");
            }
            Kind::Typedef => {
                self.state(id)?.emitted = Emitted::InWork;
                self.emit(target, id, depth + 1)?;
                if !self.state(id)?.declared {
                    self.typedef(id, &ty, depth)?;
                }
            }
            Kind::Struct | Kind::Union => return self.emit_composite(id, &ty, container, depth),
            Kind::Array => {
                let elem = ty.array().map_or(TypeId::VOID, |array| array.elem);
                return self.emit(elem, container, depth + 1);
            }
            Kind::FuncProto => {
                self.emit(target, container, depth + 1)?;
                for param in ty.params() {
                    self.emit(param.ty, container, depth + 1)?;
                }
                return Ok(());
            }
            Kind::Ptr => return self.emit(target, container, depth + 1),
            kind if kind.is_modifier() => return self.emit(target, container, depth + 1),
            _ => return Ok(()),
        }
        self.state(id)?.emitted = Emitted::Yes;
        Ok(())
    }

    /// A structure: its definition at the top, else a forward declaration. An anonymous one is written
    /// where it is used, so only what its members need is written here.
    fn emit_composite(
        &mut self,
        id: TypeId,
        ty: &Type<'_>,
        container: TypeId,
        depth: u32,
    ) -> Result<(), DumpError> {
        let (top, named) = (container == TypeId::VOID, ty.name_off.0 != 0);
        self.state(id)?.emitted = Emitted::InWork;
        if top || !named {
            let around = if named { id } else { container };
            for member in ty.members() {
                self.emit(member.ty, around, depth + 1)?;
            }
        } else if !self.state(id)?.declared && id != container {
            self.forward(id, ty)?;
        }
        if top {
            self.composite_definition(id, ty, 0, depth)?;
            self.text(";\n\n");
        }
        self.state(id)?.emitted = if top { Emitted::Yes } else { Emitted::No };
        Ok(())
    }

    /// `id` is met again while what it needs is being written: a forward declaration, where C has one.
    fn declare_in_work(
        &mut self,
        id: TypeId,
        ty: &Type<'_>,
        container: TypeId,
    ) -> Result<(), DumpError> {
        if self.state(id)?.declared {
            return Ok(());
        }
        match ty.kind {
            // Inside its own definition a structure is known already.
            Kind::Struct | Kind::Union if id != container && ty.name_off.0 != 0 => {
                self.forward(id, ty)
            }
            Kind::Typedef => {
                self.typedef(id, ty, 0)?;
                self.state(id)?.declared = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn forward(&mut self, id: TypeId, ty: &Type<'_>) -> Result<(), DumpError> {
        self.composite_tag(id, ty)?;
        self.text(";\n\n");
        self.state(id)?.declared = true;
        Ok(())
    }

    fn typedef(&mut self, id: TypeId, ty: &Type<'_>, depth: u32) -> Result<(), DumpError> {
        if self.name(ty.name_off)? == BUILTIN {
            return Ok(());
        }
        let name = self.ident_name(id, ty)?;
        let target = ty.type_id().unwrap_or(TypeId::VOID);
        if target == TypeId::VOID && *name == *b"__gnuc_va_list" {
            // Old compilers say that this one is `void`.
            self.text("typedef __builtin_va_list __gnuc_va_list");
        } else {
            self.text("typedef ");
            self.declare(target, &name, 0, depth + 1)?;
        }
        self.text(";\n\n");
        Ok(())
    }

    fn emit_alias(&mut self, id: TypeId, ty: &Type<'_>) -> Result<(), DumpError> {
        let name = self.type_name(id, ty)?;
        if let Some((_, target)) = ALIASES.iter().find(|(alias, _)| **alias == *name) {
            self.text("typedef ");
            self.text(target);
            self.text(" ");
            self.bytes(&name);
            self.text(";\n\n");
        }
        Ok(())
    }
}
