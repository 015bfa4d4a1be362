//! What a type says, as named values: the one list that the raw dump and the JSON dump are made of.
//!
//! The names, their order and the words for encodings and linkages are those of
//! `bpftool btf dump file FILE format raw` (tools/bpf/bpftool/btf.c of Linux 7.3), which people and
//! scripts read.

use crate::{Btf, EnumValue, Int, Kind, StrOff, Type, TypeId};

/// A value of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'data> {
    /// A number.
    Number(i128),
    /// A value of an `ENUM64`, `true` where it is signed.
    Wide(i128, bool),
    /// A word of the tool's own.
    Word(&'static str),
    /// A name out of the blob.
    Name(&'data [u8]),
}

/// Its fields in their order.
pub(crate) type Fields<'data> = Vec<(&'static str, Value<'data>)>;

/// A type as named values.
pub(crate) struct Described<'data> {
    /// What the type itself says.
    pub fields: Fields<'data>,
    /// Its entries (members, values, parameters, variables) and what they are called together; none for a
    /// kind that has no entries.
    pub entries: Option<(&'static str, Vec<Fields<'data>>)>,
}

/// The name at `off` as the kernel's tools print it.
pub(crate) fn shown_name<'data>(btf: &Btf<'data>, off: StrOff) -> &'data [u8] {
    match off {
        StrOff(0) => b"(anon)",
        off => btf.name(off).unwrap_or(b"(invalid)"),
    }
}

/// What `ty` says besides its id, kind and name.
pub(crate) fn describe<'data>(btf: &Btf<'data>, ty: &Type<'data>) -> Described<'data> {
    let size = ("size", number(ty.size_or_type));
    let vlen = ("vlen", number(ty.vlen));
    let type_id = ("type_id", number(ty.size_or_type));
    let name = |off| ("name", Value::Name(shown_name(btf, off)));
    let (fields, entries) = match ty.kind {
        Kind::Int => (int_fields(ty), None),
        Kind::Array => (array_fields(ty), None),
        Kind::Struct | Kind::Union => {
            let member = |m: crate::Member| {
                let mut fields = vec![
                    name(m.name_off),
                    id("type_id", m.ty),
                    ("bits_offset", number(m.bit_offset)),
                ];
                if m.bitfield_size != 0 {
                    fields.push(("bitfield_size", number(m.bitfield_size.into())));
                }
                fields
            };
            (vec![size, vlen], Some(("members", ty.members().map(member).collect())))
        }
        Kind::Enum | Kind::Enum64 => {
            let encoding = ("encoding", Value::Word(if ty.kflag { "SIGNED" } else { "UNSIGNED" }));
            let value = |v: EnumValue| vec![name(v.name_off), ("val", enum_value(ty, v))];
            (vec![encoding, size, vlen], Some(("values", ty.values().map(value).collect())))
        }
        Kind::Fwd => {
            let kind = if ty.kflag { "union" } else { "struct" };
            (vec![("fwd_kind", Value::Word(kind))], None)
        }
        Kind::Func | Kind::Var => {
            let linkage = linkage_word(ty.linkage().unwrap_or(u32::MAX));
            (vec![type_id, ("linkage", Value::Word(linkage))], None)
        }
        Kind::FuncProto => {
            let param = |p: crate::Param| vec![name(p.name_off), id("type_id", p.ty)];
            let fields = vec![("ret_type_id", number(ty.size_or_type)), vlen];
            (fields, Some(("params", ty.params().map(param).collect())))
        }
        Kind::Datasec => {
            let var = |v: crate::VarSecinfo| {
                vec![id("type_id", v.ty), ("offset", number(v.offset)), ("size", number(v.size))]
            };
            (vec![size, vlen], Some(("vars", ty.var_secinfos().map(var).collect())))
        }
        Kind::Float => (vec![size], None),
        Kind::DeclTag => {
            let component = Value::Number(ty.component_idx().unwrap_or(-1).into());
            (vec![type_id, ("component_idx", component)], None)
        }
        kind if kind.has_type() => (vec![type_id], None),
        _ => (vec![], None),
    };
    Described { fields, entries }
}

fn number(value: u32) -> Value<'static> {
    Value::Number(value.into())
}

fn id(name: &'static str, id: TypeId) -> (&'static str, Value<'static>) {
    (name, number(id.0))
}

fn int_fields(ty: &Type<'_>) -> Fields<'static> {
    let int = ty.int().unwrap_or(Int { encoding: 0, offset: 0, bits: 0 });
    let encoding = match int.encoding {
        0 => "(none)",
        Int::SIGNED => "SIGNED",
        Int::CHAR => "CHAR",
        Int::BOOL => "BOOL",
        _ => "UNKN",
    };
    vec![
        ("size", number(ty.size_or_type)),
        ("bits_offset", number(int.offset.into())),
        ("nr_bits", number(int.bits.into())),
        ("encoding", Value::Word(encoding)),
    ]
}

fn array_fields(ty: &Type<'_>) -> Fields<'static> {
    let Some(array) = ty.array() else { return vec![] };
    vec![
        id("type_id", array.elem),
        id("index_type_id", array.index),
        ("nr_elems", number(array.nelems)),
    ]
}

fn enum_value(ty: &Type<'_>, value: EnumValue) -> Value<'static> {
    let number = ty.enum_number(value);
    if ty.kind == Kind::Enum64 { Value::Wide(number, ty.kflag) } else { Value::Number(number) }
}

/// `static`, `global` or `extern`: the numbers of `VAR` and `FUNC` are the same.
pub(crate) fn linkage_word(linkage: u32) -> &'static str {
    match linkage {
        0 => "static",
        1 => "global",
        2 => "extern",
        _ => "(unknown)",
    }
}
