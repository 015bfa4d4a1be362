//! What can go wrong, and what the kernel's tool only mentions.

use std::fmt;

use thiserror::Error;

/// Why there are no tables.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A text that is no `scripts/kallsyms.c`, so that no dialect can be told from it.
    #[error("this is no scripts/kallsyms.c: it does not mention {missing}")]
    NotKallsyms {
        /// What every such file contains.
        missing: &'static str,
    },
    /// A line of the symbol list without address, type letter or name.
    #[error("line {line}: line format error")]
    LineFormat {
        /// The line, counted from 1.
        line: usize,
    },
    /// No symbol is left and [`crate::Dialect::empty_is_error`] is set.
    #[error("No valid symbol.")]
    NoValidSymbol,
    /// A name or a type letter with a zero byte, which no table can hold.
    #[error("symbol {index} of the list has a zero byte in its name or type")]
    ZeroByte {
        /// Index of the symbol in the list.
        index: usize,
    },
    /// An address that the table of offsets cannot express.
    #[error("kallsyms failure: {what} symbol value {addr:#x} out of range{mode}")]
    OutOfRange {
        /// `relative`, or `absolute` for a per-CPU symbol.
        what: &'static str,
        /// The address.
        addr: u64,
        /// The end of the message, ` in relative mode` where the dialect has a relative base.
        mode: &'static str,
    },
    /// The names together are longer than a marker can count.
    #[error("the names take {bytes} bytes, more than the 32-bit markers can count")]
    TooLarge {
        /// Size of all names and type letters, in bytes.
        bytes: u64,
    },
    /// A machine whose relocations are not known here.
    #[error(
        "no kallsyms object can be written for ELF machine {machine} with {bits}-bit addresses"
    )]
    UnknownMachine {
        /// `e_machine`.
        machine: u16,
        /// Width of an address.
        bits: u64,
    },
    /// The ELF file itself.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A table in a linked image that does not decode.
    #[error("{table}+{offset:#x}: {cause}")]
    Table {
        /// The table's label, for example `kallsyms_names`.
        table: &'static str,
        /// Offset into the table, in bytes.
        offset: u64,
        /// What is wrong, as a clause without a full stop.
        cause: &'static str,
    },
}

/// Something the kernel's tool says on standard error and then goes on; its text is the tool's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A symbol left out because of its length.
    NameTooLong {
        /// The name.
        name: Vec<u8>,
        /// [`crate::Dialect::name_limit`].
        limit: usize,
    },
    /// A line that broke off (only where [`crate::Dialect::reads_words`] is set).
    ReadError,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NameTooLong { name, limit } => {
                let (text, len) = (String::from_utf8_lossy(name), name.len());
                writeln!(f, "Symbol {text} too long for kallsyms ({len} >= {limit}).")?;
                f.write_str("Please increase KSYM_NAME_LEN both in kernel and kallsyms.c")
            }
            Warning::ReadError => f.write_str("Read error or end of file."),
        }
    }
}
