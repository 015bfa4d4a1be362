//! What a walk keeps of a unit's entries.

use crate::strings::Code;

/// What a record refers to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// The type whose entry is at this offset; `void` for 0.
    Entry(u32),
    /// A type that has no entry, by its number.
    Number(u32),
}

/// A bitfield in the manner of DWARF 2 and 3, whose place depends on the size of its type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OldBitfield {
    /// Where the member's words are: in [`Dies::words`], or, with [`OPEN`] set, in [`Dies::members`].
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
    /// Offsets of the entries of types, in their order.
    pub offsets: Vec<u32>,
    /// Their numbers within the unit; 0 for what has no place in BTF (`DW_TAG_unspecified_type`).
    pub ids: Vec<u32>,
    /// BTF records in the order of numbers. What they refer to are offsets of entries, 0 being `void`.
    pub words: Vec<u32>,
    /// Where each record begins in `words`.
    pub starts: Vec<u32>,
    /// Words that refer to a type that has no entry, in their order, and its number.
    pub numbered: Vec<(u32, u32)>,
    /// Words that get the name of the entry at that offset (`DW_AT_specification`).
    pub completed: Vec<(u32, u32)>,
    /// Enumerations of 64 bits: where the record begins, and the offset of the type that says if they have a sign.
    pub wide: Vec<(u32, u32)>,
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
    /// Members (name, type, bits), enumerators (name, low, high) and parameters (name, type) of the types that
    /// have not ended yet.
    pub(super) members: Vec<u32>,
}

/// Marks a place in [`Dies::members`].
pub(super) const OPEN: u32 = 1 << 31;

impl Dies {
    pub fn clear(&mut self) {
        let Dies {
            offsets,
            ids,
            words,
            starts,
            numbered,
            completed,
            wide,
            old_bitfields,
            funcs,
            func_order,
            params,
            vars,
            type_tags,
            func_tags,
            members,
        } = self;
        offsets.clear();
        ids.clear();
        words.clear();
        starts.clear();
        numbered.clear();
        completed.clear();
        wide.clear();
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
