//! What can go wrong.

use crate::cursor::Fault;

/// Why no BTF could be made of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file has no `.debug_info`.
    #[error(".debug_info: the file has no debug information")]
    NoDwarf,
    /// The file is no sound ELF image.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A fault in a debug section.
    #[error("{section}+{offset:#x}: {}{cause}", unit_of(*unit))]
    Dwarf {
        /// Name of the section.
        section: &'static str,
        /// Offset into it in bytes.
        offset: u64,
        /// Offset of the unit in `.debug_info`, if the fault lies in one.
        unit: Option<u64>,
        /// What is wrong.
        cause: String,
    },
    /// Deduplication failed.
    #[error(transparent)]
    Dedup(#[from] btf_dedup::Error),
}

fn unit_of(unit: Option<u64>) -> String {
    unit.map_or(String::new(), |unit| format!("unit {unit:#x}: "))
}

impl Error {
    pub(crate) fn new(section: &'static str, offset: u64, cause: impl Into<String>) -> Self {
        Error::Dwarf { section, offset, unit: None, cause: cause.into() }
    }

    pub(crate) fn in_unit(unit: usize, fault: Fault) -> Self {
        Error::of_unit(".debug_info", unit, fault)
    }

    /// A fault in another section that a unit has a part of.
    pub(crate) fn of_unit(section: &'static str, unit: usize, fault: Fault) -> Self {
        Error::Dwarf {
            section,
            offset: fault.offset as u64,
            unit: Some(unit as u64),
            cause: fault.cause.to_string(),
        }
    }
}
