//! What is to be encoded, and whose behaviour is kept.

use crate::base::Base;
use crate::source::Unreadable;

/// The pahole whose bytes are made.
///
/// A kernel tree says which it expects in `CONFIG_PAHOLE_VERSION` (124, 132); pahole itself prints it
/// for `--version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PaholeVersion {
    /// 1.24 run sequentially, with libbpf 1.1.
    V1_24,
    /// 1.32 with libbpf 1.7.
    #[default]
    V1_32,
}

impl PaholeVersion {
    /// As `pahole --numeric_version` prints it and `CONFIG_PAHOLE_VERSION` has it: 124, 132.
    pub fn number(self) -> u32 {
        match self {
            PaholeVersion::V1_24 => 124,
            PaholeVersion::V1_32 => 132,
        }
    }
}

impl std::fmt::Display for PaholeVersion {
    /// `1.24`, `1.32`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.number() / 100, self.number() % 100)
    }
}

/// A source language whose units can be left out, as `DW_LANG_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(pub u16);

impl Language {
    /// The language of that name, as pahole names languages (`rust`, `asm`, `c`, `c89`, `c99`, `c11`, `c++`).
    pub fn by_name(name: &str) -> Option<Self> {
        Some(Language(match name {
            "c89" => 0x01,
            "c" => 0x02,
            "c++" => 0x04,
            "c99" => 0x0c,
            "go" => 0x16,
            "c++11" => 0x1a,
            "rust" => 0x1c,
            "c11" => 0x1d,
            "c++14" => 0x21,
            "asm" => 0x8001,
            _ => return None,
        }))
    }
}

/// Fills a slice with the bytes of a file from an offset on; called by several threads at a time.
pub type ReadAt<'b> = dyn Fn(u64, &mut [u8]) -> Result<(), Unreadable> + Sync + 'b;

/// What is to be encoded.
#[derive(Clone)]
pub struct Options<'b> {
    /// Whose bytes.
    pub pahole: PaholeVersion,
    /// Floats as FLOAT (`--btf_gen_floats`, feature `float`).
    pub floats: bool,
    /// Per-CPU variables (not `--skip_encoding_btf_vars`, feature `var`).
    pub vars: bool,
    /// `btf_decl_tag` attributes (not `--skip_encoding_btf_decl_tag`, feature `decl_tag`).
    pub decl_tags: bool,
    /// `btf_type_tag` attributes (not `--skip_encoding_btf_type_tag`, feature `type_tag`).
    pub type_tags: bool,
    /// Enumerations of 8 bytes as ENUM64 (not `--skip_encoding_btf_enum64`, feature `enum64`).
    pub enum64: bool,
    /// Functions whose prototypes differ between units are left out
    /// (`--skip_encoding_btf_inconsistent_proto`, feature `consistent_func`).
    pub consistent_functions: bool,
    /// `bpf_kfunc` tags from `.BTF_ids` (feature `decl_tag_kfuncs`).
    pub kfunc_tags: bool,
    /// Arena attributes of kfuncs as type tags (feature `attributes`).
    pub attributes: bool,
    /// Units in these languages are left out (`--lang_exclude`).
    pub lang_exclude: Vec<Language>,
    /// What this one is split on (`--btf_base`).
    pub base: Option<&'b Base<'b>>,
    /// Say of every function why it is left out or what was written, in [`crate::Report`].
    pub explain: bool,
    /// Always deduplicate as libbpf does, type by type: slower, for comparison.
    pub exact_dedup: bool,
    /// Bits of the hashes that types are recognised by, 64; tests take less, so that hashes collide.
    pub hash_bits: u32,
    /// Reads the image's file. With it `.debug_info` is read some units at a time, into memory that stays in the
    /// processor's cache, and the pages of a map of the file are not touched.
    pub read_at: Option<&'b ReadAt<'b>>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("pahole", &self.pahole).finish_non_exhaustive()
    }
}

impl Default for Options<'_> {
    /// What kernels ask for.
    fn default() -> Self {
        Options {
            pahole: PaholeVersion::default(),
            floats: true,
            vars: true,
            decl_tags: true,
            type_tags: true,
            enum64: true,
            consistent_functions: true,
            kfunc_tags: true,
            attributes: false,
            lang_exclude: vec![Language(0x1c)],
            base: None,
            explain: false,
            exact_dedup: false,
            hash_bits: 64,
            read_at: None,
        }
    }
}

/// How the two paholes differ, each difference a rule of its own, with what was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub floats: bool,
    pub vars: bool,
    pub decl_tags: bool,
    pub type_tags: bool,
    pub enum64: bool,
    pub consistent_functions: bool,
    pub kfunc_tags: bool,
    pub attributes: bool,
    /// Functions are written at the end, by name, after those of one name were compared (1.25).
    pub save_functions: bool,
    /// What follows a `.` in a symbol's name is cut off (1.25).
    pub cut_suffixes: bool,
    /// Locations of parameters are looked at (1.25).
    pub check_locations: bool,
    /// A per-CPU variable's name and size are its symbol's (until 1.26).
    pub percpu_by_symbol: bool,
    /// An array of several dimensions is one of arrays (1.32).
    pub nested_arrays: bool,
    /// Members of Rust's structures are written in the order of their offsets (1.25).
    pub sorted_rust: bool,
    pub dedup: btf_dedup::Options,
    /// Note what decides on functions.
    pub explain: bool,
    pub excluded: Vec<u16>,
}

impl Rules {
    pub fn new(options: &Options<'_>) -> Self {
        let newer = options.pahole == PaholeVersion::V1_32;
        Rules {
            floats: options.floats,
            vars: options.vars,
            decl_tags: options.decl_tags,
            type_tags: options.type_tags,
            enum64: options.enum64,
            consistent_functions: options.consistent_functions,
            kfunc_tags: options.kfunc_tags && newer,
            attributes: options.attributes && newer,
            save_functions: newer,
            cut_suffixes: newer,
            check_locations: newer,
            percpu_by_symbol: !newer,
            nested_arrays: newer,
            sorted_rust: newer,
            dedup: if newer {
                btf_dedup::Options::libbpf_1_7()
            } else {
                btf_dedup::Options::libbpf_1_1()
            },
            explain: options.explain,
            excluded: options.lang_exclude.iter().map(|language| language.0).collect(),
        }
    }
}
