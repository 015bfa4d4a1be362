//! What ends a run.

use thiserror::Error;

/// A fault that ends the run before anything is written; the peer exits with 255.
///
/// Where the peer has a line for it, that line is the text, to the letter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The image cannot be read.
    #[error("{0}")]
    Image(#[from] image::Error),
    /// The BTF is malformed.
    #[error("{0}")]
    Btf(#[from] btf::Error),
    /// The name of a type that could be wanted lies outside the strings.
    #[error("FAILED: malformed BTF, can't resolve name for ID {0}")]
    TypeName(btf::TypeId),
    /// There are ids to resolve and no types.
    #[error("the file has .BTF_ids but no .BTF section")]
    NoBtf,
    /// `--patch_btfids` on a file that has no `.BTF_ids`.
    #[error("the file has no .BTF_ids section")]
    NoIds,
    /// `--patch_btfids` with a file of another size than the section. Both in bytes.
    #[error("size mismatch - .BTF_ids section is {section} bytes, the file is {file} bytes")]
    SizeMismatch {
        /// Size of the section.
        section: usize,
        /// Size of the file that was to fill it.
        file: usize,
    },
    /// A symbol without a name or without the `__N` that makes it unique. The text is the symbol
    /// behind `__BTF_ID__`.
    #[error("FAILED to parse symbol name: {0}")]
    SymbolName(String),
    /// A set without a name. The text is the symbol behind `__BTF_ID__`.
    #[error("FAILED to parse set name: {0}")]
    SetName(String),
    /// Neither a kind of type nor a set. The text is the symbol behind `__BTF_ID__`.
    #[error("FAILED unsupported prefix {0}")]
    Prefix(String),
    /// Two sets of one name. The peer says nothing and exits with 255.
    #[error("FAILED two sets are named '{0}'")]
    SetTwice(String),
    /// A symbol's value lies outside the section.
    #[error("FAILED patching index {offset} out of bounds {size}")]
    OutOfBounds {
        /// Offset of the symbol into `.BTF_ids`, in bytes.
        offset: u64,
        /// Size of `.BTF_ids` in bytes.
        size: usize,
    },
    /// A set's members do not lie within the section. The peer writes outside its buffer.
    #[error(
        "FAILED set '{name}' at .BTF_ids+{offset:#x} has {count} members, more than the section's \
         {size} bytes hold"
    )]
    SetBounds {
        /// The set.
        name: String,
        /// Offset of its count into `.BTF_ids`, in bytes.
        offset: u64,
        /// Its count as the section has it after patching, in members.
        count: u32,
        /// Size of `.BTF_ids` in bytes.
        size: usize,
    },
    /// References to types that do not exist, unknown kinds, qualifiers that never end.
    #[error("{0}")]
    Types(btf_dedup::Error),
    /// A function whose type is no prototype.
    #[error("type {func} is a function, but its type {target} is no prototype")]
    NoPrototype {
        /// Id of the function.
        func: u32,
        /// What it refers to.
        target: u32,
    },
    /// A header with fields that are not known, which cannot be kept right. Its length in bytes.
    #[error("the header has {0} bytes, and not only zeros behind what is known of it")]
    HeaderExtra(u32),
    /// Types that cannot be merged.
    #[error("FAILED to dedup BTF: {0}")]
    Dedup(btf_dedup::Error),
    /// A base of its own cannot be made.
    #[error("FAILED to distill base BTF: {0}")]
    Distill(#[from] btf::DistillError),
    /// More than BTF has room for, or than kfuncs may add.
    #[error("the types or their names are too large, or kfuncs add more than 64 MiB to them")]
    TooLarge,
    /// A kfunc is in two sets with different flags. The peer prints another line, which says no more.
    #[error(
        "ERROR: resolve_btfids: kfunc {name} has inconsistent flags across BTF ID sets: {first:#x} != \
         {other:#x}"
    )]
    KfuncFlags {
        /// The kfunc.
        name: String,
        /// Its flags in the set that was met first.
        first: u32,
        /// Its flags in the other one.
        other: u32,
    },
    /// The name of a kfunc with implicit arguments leaves no room for `_impl`.
    #[error("ERROR: function name is too long: {0}_impl")]
    ImplName(String),
    /// A function that libbpf does not add: its linkage is not known.
    #[error("ERROR: resolve_btfids: failed to add func {0} to BTF")]
    AddFunction(String),
    /// A tag that libbpf does not add: it is empty, or for a component below -1.
    #[error("ERROR: resolve_btfids: failed to add decl tag {tag} for {func}")]
    AddTag {
        /// What the tag says.
        tag: String,
        /// The function that was to get it.
        func: String,
    },
    /// An argument or result is flagged as pointer into an arena, and is no pointer.
    #[error("ERROR: resolve_btfids: kfunc {0}: arena type is not a pointer")]
    ArenaType(String),
}

impl Error {
    /// Whether the types themselves are at fault, so that their file is worth naming.
    pub fn is_in_types(&self) -> bool {
        let types = matches!(self, Error::Btf(_) | Error::NoBtf | Error::Types(_));
        types || matches!(self, Error::NoPrototype { .. } | Error::HeaderExtra(_))
    }
}
