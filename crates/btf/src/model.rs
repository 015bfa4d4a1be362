//! A type by itself: what it says with its names in place of offsets.
//!
//! A [`Def`] is what a [`Builder`](crate::Builder) takes and what the tools of this crate work with where
//! they need a type as a whole. It borrows the names and owns its lists.

use crate::{Array, Btf, Error, Int, Kind, Type, TypeId, VarSecinfo};

/// A type, its names included; the references are ids of the blob that it is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Def<'a> {
    /// `INT`: name, size in bytes, encoding.
    Int(&'a [u8], u32, Int),
    /// `PTR`.
    Ptr(TypeId),
    /// `ARRAY`.
    Array(Array),
    /// `STRUCT` or `UNION`.
    Composite(Composite<'a>),
    /// `ENUM` or `ENUM64`.
    Enum(Enum<'a>),
    /// `FWD`: name, whether it is a union.
    Fwd(&'a [u8], bool),
    /// `TYPEDEF`: name and type.
    Typedef(&'a [u8], TypeId),
    /// `VOLATILE`.
    Volatile(TypeId),
    /// `CONST`.
    Const(TypeId),
    /// `RESTRICT`.
    Restrict(TypeId),
    /// `FUNC`: name, prototype, linkage.
    Func(&'a [u8], TypeId, u32),
    /// `FUNC_PROTO`: type of the result, parameters with their names.
    FuncProto(TypeId, Vec<(&'a [u8], TypeId)>),
    /// `VAR`: name, type, linkage.
    Var(&'a [u8], TypeId, u32),
    /// `DATASEC`: name, size in bytes, variables.
    Datasec(&'a [u8], u32, Vec<VarSecinfo>),
    /// `FLOAT`: name, size in bytes.
    Float(&'a [u8], u32),
    /// `DECL_TAG`.
    DeclTag(DeclTag<'a>),
    /// `TYPE_TAG`: value, type, whether it is any attribute (`kflag`) instead of a `btf_type_tag`.
    TypeTag(&'a [u8], TypeId, bool),
}

/// A structure or union.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Composite<'a> {
    /// Whether it is a union.
    pub is_union: bool,
    /// Name, empty where it has none.
    pub name: &'a [u8],
    /// Size in bytes.
    pub size: u32,
    /// Whether the members' offsets have room for the width of a bitfield.
    pub kflag: bool,
    /// The members in their order.
    pub members: Vec<NamedMember<'a>>,
}

/// A member of a structure or union.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamedMember<'a> {
    /// Name, empty where it has none.
    pub name: &'a [u8],
    /// Type.
    pub ty: TypeId,
    /// Offset in bits.
    pub bit_offset: u32,
    /// Width of a bitfield in bits, else 0.
    pub bitfield_size: u8,
}

/// An enumeration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Enum<'a> {
    /// Whether it is an `ENUM64`.
    pub wide: bool,
    /// Name, empty where it has none.
    pub name: &'a [u8],
    /// Size in bytes.
    pub size: u32,
    /// Whether its values are signed.
    pub signed: bool,
    /// The values in their order, as [`EnumValue`](crate::EnumValue) has them.
    pub values: Vec<(&'a [u8], i64)>,
}

/// A tag of a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeclTag<'a> {
    /// What the tag says.
    pub value: &'a [u8],
    /// What it is put on.
    pub ty: TypeId,
    /// The member or parameter, -1 for the whole.
    pub component_idx: i32,
    /// Whether it is any attribute (`kflag`) instead of a `btf_decl_tag`.
    pub attribute: bool,
}

impl<'d> Def<'d> {
    /// The type as a whole; none for `void` and for kinds that are not known.
    ///
    /// # Errors
    /// A name outside the strings.
    pub fn read(btf: &Btf<'d>, ty: &Type<'d>) -> Result<Option<Def<'d>>, Error> {
        let name = btf.name(ty.name_off)?;
        let target = TypeId(ty.size_or_type);
        let size = ty.size_or_type;
        // The views of the kind in hand are never empty where they are taken apart here.
        let def = match ty.kind {
            Kind::Void | Kind::Other(_) => return Ok(None),
            Kind::Int => return Ok(ty.int().map(|int| Def::Int(name, size, int))),
            Kind::Array => return Ok(ty.array().map(Def::Array)),
            Kind::Ptr => Def::Ptr(target),
            Kind::Struct | Kind::Union => Def::Composite(Composite {
                is_union: ty.kind == Kind::Union,
                name,
                size,
                kflag: ty.kflag,
                members: members(btf, ty)?,
            }),
            Kind::Enum | Kind::Enum64 => {
                let named = ty.values().map(|value| Ok((btf.name(value.name_off)?, value.value)));
                Def::Enum(Enum {
                    wide: ty.kind == Kind::Enum64,
                    name,
                    size,
                    signed: ty.kflag,
                    values: named.collect::<Result<_, Error>>()?,
                })
            }
            Kind::Fwd => Def::Fwd(name, ty.kflag),
            Kind::Typedef => Def::Typedef(name, target),
            Kind::Volatile => Def::Volatile(target),
            Kind::Const => Def::Const(target),
            Kind::Restrict => Def::Restrict(target),
            Kind::Func => Def::Func(name, target, ty.vlen),
            Kind::FuncProto => {
                let params = ty.params().map(|param| Ok((btf.name(param.name_off)?, param.ty)));
                Def::FuncProto(target, params.collect::<Result<_, Error>>()?)
            }
            Kind::Var => return Ok(ty.linkage().map(|linkage| Def::Var(name, target, linkage))),
            Kind::Datasec => Def::Datasec(name, size, ty.var_secinfos().collect()),
            Kind::Float => Def::Float(name, size),
            Kind::DeclTag => {
                return Ok(ty.component_idx().map(|component_idx| {
                    let attribute = ty.kflag;
                    Def::DeclTag(DeclTag { value: name, ty: target, component_idx, attribute })
                }));
            }
            Kind::TypeTag => Def::TypeTag(name, target, ty.kflag),
        };
        Ok(Some(def))
    }

    /// The types that it refers to, in their order; a function's result comes first, an array's index
    /// last.
    pub fn refs(&self) -> Vec<TypeId> {
        match self {
            Def::Int(..) | Def::Enum(_) | Def::Fwd(..) | Def::Float(..) => vec![],
            Def::Ptr(ty) | Def::Volatile(ty) | Def::Const(ty) | Def::Restrict(ty) => vec![*ty],
            Def::Typedef(_, ty) | Def::Func(_, ty, _) | Def::Var(_, ty, _) => vec![*ty],
            Def::TypeTag(_, ty, _) => vec![*ty],
            Def::DeclTag(tag) => vec![tag.ty],
            Def::Array(array) => vec![array.elem, array.index],
            Def::Composite(composite) => composite.members.iter().map(|m| m.ty).collect(),
            Def::FuncProto(result, params) => {
                std::iter::once(*result).chain(params.iter().map(|(_, ty)| *ty)).collect()
            }
            Def::Datasec(_, _, vars) => vars.iter().map(|var| var.ty).collect(),
        }
    }

    /// Changes the types that it refers to, in the order of [`Def::refs`].
    pub fn refs_mut(&mut self, mut change: impl FnMut(&mut TypeId)) {
        match self {
            Def::Int(..) | Def::Enum(_) | Def::Fwd(..) | Def::Float(..) => {}
            Def::Ptr(ty) | Def::Volatile(ty) | Def::Const(ty) | Def::Restrict(ty) => change(ty),
            Def::Typedef(_, ty) | Def::Func(_, ty, _) | Def::Var(_, ty, _) => change(ty),
            Def::TypeTag(_, ty, _) => change(ty),
            Def::DeclTag(tag) => change(&mut tag.ty),
            Def::Array(array) => {
                change(&mut array.elem);
                change(&mut array.index);
            }
            Def::Composite(composite) => {
                composite.members.iter_mut().for_each(|member| change(&mut member.ty));
            }
            Def::FuncProto(result, params) => {
                change(result);
                params.iter_mut().for_each(|(_, ty)| change(ty));
            }
            Def::Datasec(_, _, vars) => vars.iter_mut().for_each(|var| change(&mut var.ty)),
        }
    }
}

fn members<'d>(btf: &Btf<'d>, ty: &Type<'d>) -> Result<Vec<NamedMember<'d>>, Error> {
    let named = ty.members().map(|member| {
        Ok(NamedMember {
            name: btf.name(member.name_off)?,
            ty: member.ty,
            bit_offset: member.bit_offset,
            bitfield_size: member.bitfield_size,
        })
    });
    named.collect()
}
