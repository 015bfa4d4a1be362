//! The kinds of types, and what each has behind its `struct btf_type`.

use std::fmt;

/// `BTF_KIND_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `BTF_KIND_UNKN`: only type 0, which is `void`.
    Void,
    /// An integer, a `char` or a `bool`.
    Int,
    /// A pointer.
    Ptr,
    /// An array.
    Array,
    /// A structure.
    Struct,
    /// A union.
    Union,
    /// An enumeration of 32-bit values (or narrower).
    Enum,
    /// A forward declaration of a structure, or of a union with `kflag`.
    Fwd,
    /// A typedef.
    Typedef,
    /// `volatile`.
    Volatile,
    /// `const`.
    Const,
    /// `restrict`.
    Restrict,
    /// A function; its `vlen` is the linkage.
    Func,
    /// The signature of a function.
    FuncProto,
    /// A variable.
    Var,
    /// A section of variables.
    Datasec,
    /// A floating-point number.
    Float,
    /// `btf_decl_tag`; with `kflag` any other attribute of a declaration.
    DeclTag,
    /// `btf_type_tag`; with `kflag` any other attribute of a type.
    TypeTag,
    /// An enumeration of 64-bit values.
    Enum64,
    /// A kind that the blob's layout section gives the size of, and nothing else is known of.
    Other(u8),
}

/// The kinds that are known, at the index that is their number.
const KNOWN: [Kind; 20] = [
    Kind::Void,
    Kind::Int,
    Kind::Ptr,
    Kind::Array,
    Kind::Struct,
    Kind::Union,
    Kind::Enum,
    Kind::Fwd,
    Kind::Typedef,
    Kind::Volatile,
    Kind::Const,
    Kind::Restrict,
    Kind::Func,
    Kind::FuncProto,
    Kind::Var,
    Kind::Datasec,
    Kind::Float,
    Kind::DeclTag,
    Kind::TypeTag,
    Kind::Enum64,
];

/// Sizes of what follows a `struct btf_type`, in bytes: once, and for each of its `vlen` entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// `info_sz`: bytes that follow once.
    pub info_size: u8,
    /// `elem_sz`: bytes of each entry.
    pub elem_size: u8,
}

impl Kind {
    /// All known kinds in the order of their numbers, `void` first.
    pub fn all() -> &'static [Kind] {
        &KNOWN
    }

    /// The kind of that number (7 bits).
    pub fn from_number(number: u8) -> Kind {
        KNOWN.get(usize::from(number)).copied().unwrap_or(Kind::Other(number))
    }

    /// Its number in a blob.
    pub fn number(self) -> u8 {
        match self {
            Kind::Other(number) => number,
            known => KNOWN.iter().position(|&kind| kind == known).unwrap_or(0) as u8,
        }
    }

    /// What follows the type; none for a kind that is not known.
    pub fn layout(self) -> Option<Layout> {
        let (info_size, elem_size) = match self {
            Kind::Int | Kind::Var | Kind::DeclTag => (4, 0),
            Kind::Array => (12, 0),
            Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => (0, 12),
            Kind::Enum | Kind::FuncProto => (0, 8),
            Kind::Other(_) => return None,
            _ => (0, 0),
        };
        Some(Layout { info_size, elem_size })
    }

    /// Whether the third word of the type is another type's id.
    pub fn has_type(self) -> bool {
        use Kind::*;
        match self {
            Ptr | Typedef | Volatile | Const | Restrict | Func | FuncProto => true,
            Var | DeclTag | TypeTag => true,
            Void | Int | Array | Struct | Union | Enum | Fwd | Datasec | Float | Enum64 => false,
            Other(_) => false,
        }
    }

    /// Whether the third word of the type is a size in bytes.
    pub fn has_size(self) -> bool {
        use Kind::*;
        matches!(self, Int | Struct | Union | Enum | Datasec | Float | Enum64)
    }

    /// Whether it stands for another type with something added, and nothing else: a typedef or a
    /// qualifier.
    pub fn is_modifier(self) -> bool {
        use Kind::*;
        matches!(self, Typedef | Volatile | Const | Restrict | TypeTag)
    }

    /// Its name as the kernel's tools print it, for example `FUNC_PROTO`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Void => "UNKNOWN",
            Kind::Int => "INT",
            Kind::Ptr => "PTR",
            Kind::Array => "ARRAY",
            Kind::Struct => "STRUCT",
            Kind::Union => "UNION",
            Kind::Enum => "ENUM",
            Kind::Fwd => "FWD",
            Kind::Typedef => "TYPEDEF",
            Kind::Volatile => "VOLATILE",
            Kind::Const => "CONST",
            Kind::Restrict => "RESTRICT",
            Kind::Func => "FUNC",
            Kind::FuncProto => "FUNC_PROTO",
            Kind::Var => "VAR",
            Kind::Datasec => "DATASEC",
            Kind::Float => "FLOAT",
            Kind::DeclTag => "DECL_TAG",
            Kind::TypeTag => "TYPE_TAG",
            Kind::Enum64 => "ENUM64",
            Kind::Other(_) => "UNKNOWN",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Other(number) => write!(f, "kind {number}"),
            known => f.write_str(known.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_kind_are_each_others() {
        for number in 0..=0x7f {
            assert_eq!(Kind::from_number(number).number(), number);
        }
        assert_eq!(Kind::from_number(19), Kind::Enum64);
        assert_eq!(Kind::from_number(20), Kind::Other(20));
        assert_eq!(Kind::FuncProto.number(), 13);
    }

    #[test]
    fn the_third_word_is_never_both_a_size_and_a_type() {
        for kind in Kind::all() {
            assert!(!(kind.has_size() && kind.has_type()), "{kind}");
        }
    }
}
