//! What is wrong with a BTF blob, and where.

use std::fmt;

use crate::{Kind, TypeId};

/// A fault in a BTF blob: where, and what.
///
/// It prints as `0xOFFSET: CAUSE`; the edge puts the file and the section before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Offset in bytes from the start of the blob (of the section `.BTF`).
    pub offset: u64,
    /// What is wrong there.
    pub cause: Cause,
}

impl Error {
    pub(crate) fn at(offset: usize, cause: Cause) -> Self {
        Error { offset: offset as u64, cause }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}: {}", self.offset, self.cause)
    }
}

impl std::error::Error for Error {}

/// The parts of a blob that its header delimits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `type_off`, `type_len`.
    Types,
    /// `str_off`, `str_len`.
    Strings,
    /// `layout_off`, `layout_len`: the optional sizes of each kind (Linux 7.1).
    Layout,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Types => "type section",
            Part::Strings => "string section",
            Part::Layout => "layout section",
        })
    }
}

/// Why a blob cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Fewer bytes than a header has.
    #[error("the blob has {len} bytes, less than a BTF header of {need}")]
    NoHeader {
        /// Length of the blob in bytes.
        len: usize,
        /// Bytes that a header needs.
        need: usize,
    },
    /// The first two bytes are not `BTF_MAGIC` in either byte order.
    #[error("magic {0:#06x} is not BTF's 0xeb9f in either byte order")]
    Magic(u16),
    /// Another version than 1.
    #[error("BTF version {0} is not supported, only 1")]
    Version(u8),
    /// `hdr_len` is shorter than the fields it must hold, or longer than the blob.
    #[error("header length {hdr_len} is not within 24 and the blob's {len} bytes")]
    HeaderLen {
        /// The header's own length field, in bytes.
        hdr_len: u32,
        /// Length of the blob in bytes.
        len: usize,
    },
    /// A part lies outside the blob.
    #[error("the {part}, {len:#x} bytes at {start:#x}, ends behind the blob's {blob:#x} bytes")]
    Outside {
        /// Which part.
        part: Part,
        /// Where it begins, in bytes from the start of the blob.
        start: u64,
        /// Its length in bytes.
        len: u32,
        /// Length of the blob in bytes.
        blob: usize,
    },
    /// A part does not begin on a multiple of 4 bytes behind the header.
    #[error("the {0} does not begin on a multiple of 4 bytes")]
    Unaligned(Part),
    /// Two parts share bytes, or do not stand in the order types, layout, strings.
    #[error("the {0} begins before the {1} ends")]
    Overlap(Part, Part),
    /// A string section without bytes, though there is no base that has the strings.
    #[error("the string section is empty")]
    NoStrings,
    /// The first string is not the empty one: the blob is split BTF.
    #[error("the first string is not empty: this is split BTF, which needs its base")]
    FirstString,
    /// The last byte of the string section is not NUL.
    #[error("the string section does not end with NUL")]
    LastString,
    /// Split BTF and its base differ in their byte order.
    #[error("the byte order is not that of the base")]
    BaseEndian,
    /// A type's record ends behind the type section.
    #[error("type {id} ({kind}, vlen {vlen}) needs {need} bytes, the type section has {left} left")]
    TypeEnd {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// Its `vlen`, in entries.
        vlen: u32,
        /// Bytes that the record needs.
        need: u64,
        /// Bytes left in the type section.
        left: usize,
    },
    /// A kind that is neither known nor described in the layout section.
    #[error("type {id} has kind {kind}, which is not known")]
    UnknownKind {
        /// The type.
        id: TypeId,
        /// Number of the kind.
        kind: u8,
    },
    /// More types than a `u32` numbers, the base's included.
    #[error("too many types")]
    TooManyTypes,
    /// A name offset outside the string section.
    #[error("string offset {off:#x} is outside the strings, which end at {end:#x}")]
    StringOffset {
        /// The offset, as the type holds it.
        off: u32,
        /// First offset behind the strings, the base's included.
        end: u64,
    },
    /// A reference to a type that does not exist.
    #[error("type {id} does not exist, the last one is {last}")]
    NoType {
        /// The missing type.
        id: TypeId,
        /// The last type, the base's included.
        last: TypeId,
    },
}
