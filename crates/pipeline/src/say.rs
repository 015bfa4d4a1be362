//! Lines for the user: steps on standard output, all else on standard error.
//!
//! `println!` panics where nobody takes its text: on a full disk, or when the reader of a pipe has
//! gone.

use std::fmt::Display;
use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::files::reason;

/// Prints a line on standard output.
///
/// # Errors
/// It cannot be written. The kernel's script ends then too.
pub fn line(line: impl Display) -> Result<()> {
    let written = writeln!(io::stdout(), "{line}");
    written.map_err(|error| Error::new(format!("standard output: {}", reason(&error))))
}

/// Prints a line on standard error. There is no way to say that this failed.
pub fn remark(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
