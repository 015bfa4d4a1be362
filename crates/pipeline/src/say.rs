//! Lines for the user: steps on standard output, all else on standard error. A progress bar makes way for them.
//!
//! `println!` panics where nobody takes its text: on a full disk, or when the reader of a pipe has
//! gone.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::files::reason;
use crate::progress;

/// Whether steps are not to be told.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Tells no steps from now on. Remarks are told.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Prints a line on standard output.
///
/// # Errors
/// It cannot be written. The kernel's script ends then too.
pub fn line(line: impl Display) -> Result<()> {
    if QUIET.load(Ordering::Relaxed) {
        return Ok(());
    }
    let written = progress::aside(|| writeln!(io::stdout(), "{line}"));
    written.map_err(|error| Error::new(format!("standard output: {}", reason(&error))))
}

/// Prints a line on standard error. There is no way to say that this failed.
pub fn remark(line: impl Display) {
    let _ = progress::aside(|| writeln!(io::stderr(), "{line}"));
}

/// Passes on what a program has said on standard error.
pub fn passed_on(said: &[u8]) {
    if !said.is_empty() {
        remark(String::from_utf8_lossy(said.trim_ascii_end()));
    }
}
