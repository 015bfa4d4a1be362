//! What one compile unit says, before anything is deduplicated.
//!
//! [`Cu`] is the meeting point of the crate: the walk fills it, and both ways of deduplicating read it.
//! Types are BTF records of 32-bit words whose names are string numbers and whose references are
//! numbers within the unit, in the order in which pahole would number them.

use crate::strings::StrId;

/// Number of a type within its unit; 0 is `void`.
pub(crate) type LocalId = u32;

/// Stands for the type of array indices, which is the same for all units.
pub(crate) const INDEX: LocalId = u32::MAX;

pub(crate) use btf_dedup::kind;

/// The `info` word of a type.
#[inline]
pub(crate) fn info(kind: u32, vlen: u32, kflag: bool) -> u32 {
    u32::from(kflag) << 31 | kind << 24 | vlen & 0xffff
}

#[inline]
pub(crate) fn kind_of(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Positions in a record that hold names, in their order.
#[inline]
pub(crate) fn name_positions(record: &[u32]) -> impl Iterator<Item = usize> + use<> {
    let (step, end) = match kind_of(record[1]) {
        kind::STRUCT | kind::UNION | kind::ENUM64 => (3, record.len()),
        kind::ENUM | kind::FUNC_PROTO => (2, record.len()),
        _ => (1, 0),
    };
    std::iter::once(0).chain((3..end).step_by(step))
}

/// A function that pahole would consider.
#[derive(Debug, Clone)]
pub(crate) struct Func {
    pub name: StrId,
    pub ret: LocalId,
    /// Its parameters in [`Cu::params`].
    pub params: (u32, u32),
    pub variadic: bool,
    /// As the debug information has it; provisional before there is an image, and 0 if there is none.
    pub low_pc: u64,
    /// Where that stands, counted from the beginning of the unit, if it is to be read again; 0 if it is not.
    pub low_pc_at: u32,
    /// What the locations of its parameters say (pahole 1.25 and later).
    pub facts: FuncFacts,
    /// Its `btf_decl_tag`s in [`Cu::func_tags`].
    pub tags: (u32, u32),
}

/// What keeps a function out, as found in one unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FuncFacts {
    pub unexpected_reg: bool,
    pub optimized_parms: bool,
    pub reordered_parm: bool,
    pub uncertain_parm_loc: bool,
    pub signature_changed: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Param {
    pub name: StrId,
    pub ty: LocalId,
    /// Has no location, or its value was optimised away (left out where parameters were reordered).
    pub dropped: bool,
}

/// What may be a per-CPU variable: the image says whether it is.
#[derive(Debug, Clone)]
pub(crate) struct Var {
    pub name: StrId,
    /// The name of its own entry, which need not be the one that is written.
    pub own_name: StrId,
    pub ty: LocalId,
    pub external: bool,
    /// As the debug information has it; provisional before there is an image.
    pub address: u64,
    /// Where that stands, counted from the beginning of the unit, if it is to be read again; 0 if it cannot be.
    pub address_at: u32,
    /// What is added to what stands there.
    pub displacement: u64,
    /// Size of its type in bytes.
    pub size: u32,
    /// Its `btf_decl_tag`s in [`Cu::var_tags`].
    pub tags: (u32, u32),
}

/// A `btf_decl_tag`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeclTag {
    pub value: StrId,
    /// The type that is tagged; unused for functions and variables.
    pub ty: LocalId,
    /// Member or parameter, counted from 0; -1 for the whole.
    pub component: i32,
}

/// A parameter that is not in the register where it should be; DWARF's numbers of registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Misplaced {
    /// The function, an index into [`Cu::funcs`], and the parameter, counted from 0.
    pub func: u32,
    pub param: u32,
    pub expected: u8,
    pub found: u8,
}

/// The types, functions and variables of a unit.
#[derive(Debug, Default)]
pub(crate) struct Cu {
    /// The unit's name, if functions are to be explained.
    pub name: StrId,
    /// A function's parameters are those of a function of another name, which may not be one of the image's.
    pub foreign: bool,
    /// What was found, if functions are to be explained.
    pub misplaced: Vec<Misplaced>,
    /// Functions that are not considered since the image has no symbol for them, if functions are to be
    /// explained.
    pub no_symbol: Vec<StrId>,
    /// BTF records one behind the other, the first being number 1.
    pub words: Vec<u32>,
    /// Where each record begins in `words`.
    pub starts: Vec<u32>,
    /// The unit's own `int`, 0 if it has none.
    pub int: LocalId,
    pub has_array: bool,
    pub type_tags: Vec<DeclTag>,
    pub funcs: Vec<Func>,
    pub params: Vec<Param>,
    pub func_tags: Vec<DeclTag>,
    pub vars: Vec<Var>,
    pub var_tags: Vec<DeclTag>,
}

impl Cu {
    pub fn clear(&mut self) {
        self.name = 0;
        self.foreign = false;
        self.misplaced.clear();
        self.no_symbol.clear();
        self.words.clear();
        self.starts.clear();
        self.int = 0;
        self.has_array = false;
        self.type_tags.clear();
        self.funcs.clear();
        self.params.clear();
        self.func_tags.clear();
        self.vars.clear();
        self.var_tags.clear();
    }

    pub fn params_of(&self, func: &Func) -> &[Param] {
        &self.params[func.params.0 as usize..func.params.1 as usize]
    }

    pub fn tags_of(&self, func: &Func) -> &[DeclTag] {
        &self.func_tags[func.tags.0 as usize..func.tags.1 as usize]
    }

    pub fn tags_of_var(&self, var: &Var) -> &[DeclTag] {
        &self.var_tags[var.tags.0 as usize..var.tags.1 as usize]
    }

    /// The record of a type.
    #[inline]
    pub fn record(&self, id: LocalId) -> &[u32] {
        let index = id as usize - 1;
        let start = self.starts[index] as usize;
        let end = self.starts.get(index + 1).map_or(self.words.len(), |&end| end as usize);
        &self.words[start..end]
    }

    /// The record of a type; `None` for `void`.
    pub fn known(&self, id: LocalId) -> Option<&[u32]> {
        (id != 0).then(|| self.record(id))
    }

    /// Size of a type in bytes as pahole computes it; 0 for what has none.
    pub fn size_of(&self, id: LocalId, address_size: u8) -> u64 {
        let mut factor = 1u64;
        let mut id = id;
        // Chains of typedefs and arrays are short; one that does not end refers to itself.
        for _ in 0..256 {
            if id == 0 || id == INDEX {
                return 0;
            }
            let record = self.record(id);
            match kind_of(record[1]) {
                kind::PTR => return factor.wrapping_mul(u64::from(address_size)),
                // PARITY: an empty class of one byte counts as none (tag__size).
                kind::STRUCT | kind::UNION if record[2] == 1 && record[1] & 0xffff == 0 => {
                    return 0;
                }
                kind::INT => return factor.wrapping_mul(u64::from(record[3] & 0xff).div_ceil(8)),
                kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                    return factor.wrapping_mul(u64::from(record[2]));
                }
                kind::ARRAY => {
                    factor = factor.wrapping_mul(u64::from(record[5]));
                    id = record[3];
                }
                kind::FUNC_PROTO | kind::FWD => return 0,
                _ => id = record[2],
            }
        }
        0
    }
}
