//! What can be wrong with a kernel image that is to be sorted.

use thiserror::Error;

/// Why tables were not sorted.
///
/// The texts are the kernel tool's own where a user may know or search for them; the edge adds
/// `: PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A header, section or symbol that does not lie within the file.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// Neither `ET_EXEC` nor `ET_DYN`, or `e_ehsize` is not that of the class.
    #[error("unrecognized ET_EXEC/ET_DYN file")]
    FileType,
    /// A machine whose exception table has no known form.
    #[error("unrecognized e_machine {0}")]
    Machine(u16),
    /// No section `__ex_table`.
    #[error("no __ex_table in file")]
    NoExtable,
    /// No section `.symtab`.
    #[error("no .symtab in file")]
    NoSymtab,
    /// No section `.strtab`.
    #[error("no .strtab in file")]
    NoStrtab,
    /// No object symbol `main_extable_sort_needed` where the dialect looks for it.
    #[error("no main_extable_sort_needed symbol in file")]
    NoFlag,
    /// One of `.orc_unwind_ip` and `.orc_unwind` is missing.
    #[error("incomplete ORC unwind tables in file")]
    IncompleteOrc,
    /// The sizes of the two ORC tables do not give the same whole number of entries.
    #[error("inconsistent ORC unwind table entries in file")]
    InconsistentOrc,
    /// ORC is asked for, and the dialect does not say what an entry looks like.
    #[error("no layout of ORC entries: orc_types.h was not among the sorttable sources")]
    UnknownOrcEntry,
    /// No `.init.data`, or one of the mcount bounds is missing or 0.
    #[error("incomplete mcount's sort in file")]
    IncompleteMcount,
    /// The mcount bounds hold another number of addresses than there are words between them.
    #[error("failed to sort mcount 'Expected {expected} mcount elements but found {found}'")]
    McountCount {
        /// Words between the bounds, rounded down.
        expected: u64,
        /// Addresses found.
        found: u64,
    },
    /// More relocations within the mcount bounds than words.
    #[error("failed to sort mcount 'Too many relocations'")]
    McountRelocations,
    /// A relocation within the mcount bounds that is not a plain relative one.
    #[error("failed to sort mcount 'rela has type {found:x} but expected {expected:x}'")]
    McountRelocationType {
        /// Its whole `r_info`.
        found: u64,
        /// The `r_info` of a relative relocation of the machine.
        expected: u64,
    },
}
