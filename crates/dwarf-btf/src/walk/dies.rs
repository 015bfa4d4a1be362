//! What a walk keeps of a unit's entries.

use crate::strings::Code;

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
    /// Words of the types that have not ended yet.
    pub(super) members: Vec<u32>,
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

/// A type of which nothing is known.
pub(super) const EMPTY: TypeDie = TypeDie {
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
