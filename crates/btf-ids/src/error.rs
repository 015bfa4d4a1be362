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
}
