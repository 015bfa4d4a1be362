//! What is wrong with an image, and where.

use std::fmt;

/// A fault in an ELF file: which section, at which offset into it (bytes), and the cause.
///
/// It prints as `SECTION+0xOFFSET: CAUSE`; the edge puts the file's path before it. Where no section
/// is concerned the offset counts from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Name of the section, if the fault lies in one.
    pub section: Option<String>,
    /// Offset in bytes into the section, or into the file where there is no section.
    pub offset: Option<u64>,
    /// What is wrong, as a clause without a full stop.
    pub cause: String,
}

impl Error {
    /// A fault of the file as a whole.
    pub fn file(cause: impl Into<String>) -> Self {
        Error { section: None, offset: None, cause: cause.into() }
    }

    /// A fault at `offset` bytes into the file.
    pub fn at(offset: u64, cause: impl Into<String>) -> Self {
        Error { section: None, offset: Some(offset), cause: cause.into() }
    }

    /// A fault of a section as a whole.
    pub fn section(name: &[u8], cause: impl Into<String>) -> Self {
        Error { section: Some(lossy(name)), offset: None, cause: cause.into() }
    }

    /// A fault at `offset` bytes into the section `name`.
    pub fn section_at(name: &[u8], offset: u64, cause: impl Into<String>) -> Self {
        Error { section: Some(lossy(name)), offset: Some(offset), cause: cause.into() }
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.section, self.offset) {
            (Some(section), Some(offset)) => write!(f, "{section}+{offset:#x}: ")?,
            (Some(section), None) => write!(f, "{section}: ")?,
            (None, Some(offset)) => write!(f, "{offset:#x}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Error {}
