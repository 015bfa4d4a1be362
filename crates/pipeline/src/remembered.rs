//! What is remembered of a tree's last link, all of it: the files, each of which has a module of its own.

use std::path::Path;

use crate::error::Result;
use crate::files;
use crate::known::TYPES;
use crate::sizes::SIZES;
use crate::strings::STRINGS;
use crate::version::LINKER;

/// The names of the files, in the object tree.
pub const FILES: [&str; 4] = [SIZES, TYPES, STRINGS, LINKER];

/// Forgets what is remembered of the object tree `dir`.
///
/// # Errors
/// A file cannot be removed.
pub fn forget(dir: &Path) -> Result<()> {
    FILES.iter().try_for_each(|name| files::remove(&dir.join(name)))
}
