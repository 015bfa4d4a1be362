//! What went wrong at the edge: in which step, with which file, and why.

use std::fmt;
use std::path::{Path, PathBuf};

/// A failed link or command.
///
/// It prints as one line, outermost first: `STEP: PATH: CAUSE`. `advice` holds further lines: the
/// kernel's own messages to the letter, and what to do next.
#[derive(Debug)]
pub struct Error {
    /// The step, as Kbuild names it (`LD vmlinux`), or what was being done.
    pub step: Option<String>,
    /// The file concerned.
    pub path: Option<PathBuf>,
    /// The cause; with the position inside the file where there is one.
    pub cause: String,
    /// Lines to print after the first.
    pub advice: Vec<String>,
    /// Exit status for the process.
    pub status: u8,
    /// Whether the temporary files are evidence and must be kept.
    pub keep_files: bool,
}

/// Result of whatever the edge does.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A fault without a file.
    pub fn new(cause: impl fmt::Display) -> Self {
        Error {
            step: None,
            path: None,
            cause: cause.to_string(),
            advice: Vec::new(),
            status: 1,
            keep_files: false,
        }
    }

    /// A fault of `path`.
    pub fn file(path: impl AsRef<Path>, cause: impl fmt::Display) -> Self {
        Error { path: Some(path.as_ref().to_path_buf()), ..Error::new(cause) }
    }

    /// This fault, in the step named `step`, unless a step is named already.
    pub fn in_step(mut self, step: impl Into<String>) -> Self {
        self.step.get_or_insert_with(|| step.into());
        self
    }

    /// This fault with another line after it.
    pub fn advise(mut self, line: impl Into<String>) -> Self {
        self.advice.push(line.into());
        self
    }

    /// This fault with another exit status.
    pub fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = &self.step {
            write!(f, "{step}: ")?;
        }
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Error {}
