//! Why an image cannot be finished here.

use thiserror::Error;

/// Why there is no plan, or why it cannot be written.
///
/// None of these but [`Error::Unreadable`] means that the kernel is bad: the caller falls back to an ordinary link
/// with debug info. After an error the output's bytes are of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// An input object that cannot be read.
    #[error("{input}: {fault}")]
    Input {
        /// Name of the input.
        input: String,
        /// What is wrong with it.
        fault: image::Error,
    },
    /// A file cannot be read, as its reader ([`crate::ReadAt`]) says.
    #[error("{}: {}", .0.file, .0.cause)]
    Unreadable(Unreadable),
    /// The image without debug info cannot be read.
    #[error("the image without debug info: {0}")]
    Image(#[from] image::Error),
    /// The linker's map cannot be read.
    #[error("line {line} of the link map: {cause}")]
    Map {
        /// Line, the first being 1.
        line: usize,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// Something whose rule is not followed here.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Inputs, map and image do not belong together, or the linker's rule is not the one known here.
    #[error("inputs, link map and image disagree: {0}")]
    Disagree(String),
    /// Contents that cannot be put into a hollow image; the linker can still do it, of the objects themselves.
    #[error(transparent)]
    Hollow(Box<Error>),
    /// A relocation that cannot be applied.
    #[error("{input}: {section}+{offset:#x}: {cause}")]
    Relocation {
        /// Name of the input.
        input: String,
        /// Section that is relocated.
        section: String,
        /// Offset of the field into the section of the input, in bytes.
        offset: u64,
        /// What is wrong with it.
        cause: String,
    },
}

/// Bytes of a file that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub file: String,
    /// Why not.
    pub cause: String,
}

impl Error {
    /// A fault of the input `name`.
    pub(crate) fn input(name: &str, fault: image::Error) -> Self {
        Error::Input { input: name.to_owned(), fault }
    }

    /// The same fault, met where contents are put into a hollow image.
    pub(crate) fn of_hollow(self) -> Self {
        match self {
            Error::Unreadable(_) | Error::Hollow(_) => self,
            other => Error::Hollow(Box::new(other)),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Error::Unsupported(what.into())
    }

    pub(crate) fn disagree(how: impl Into<String>) -> Self {
        Error::Disagree(how.into())
    }
}

/// A name for a message.
pub(crate) fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
