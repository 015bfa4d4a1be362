//! What is remembered of a tree's last link, all of it: the files, each of which has a module of its own.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::Result;
use crate::files::{self, Unfinished};
use crate::known::{self, TYPES};
use crate::sizes::SIZES;
use crate::strings::{self, STRINGS};
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

/// The large files that the next link is to begin with.
#[derive(Debug)]
pub struct NewFiles {
    pub types: NewFile,
    pub strings: NewFile,
}

impl NewFiles {
    /// For the object tree `dir`.
    pub fn of(dir: &Path) -> Self {
        let types = NewFile::of(dir, TYPES, known::LONGEST);
        NewFiles { types, strings: NewFile::of(dir, STRINGS, strings::LONGEST) }
    }
}

/// A file that is written when there is time, and gets its name when the kernel is done.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    /// In bytes.
    longest: u64,
    /// Nothing if it is too long.
    written: OnceLock<Result<Option<Unfinished>>>,
}

impl NewFile {
    /// The file `name` of the object tree `dir`, which is not written if it would be longer than that, in bytes.
    pub fn of(dir: &Path, name: &str, longest: u64) -> Self {
        NewFile { path: dir.join(name), longest, written: OnceLock::new() }
    }

    /// Whether it is written, or cannot be.
    pub fn is_written(&self) -> bool {
        self.written.get().is_some()
    }

    /// Writes these parts, one behind the other, beside its place; once.
    pub fn write(&self, parts: &[&[u8]]) {
        self.written.get_or_init(|| {
            if parts.iter().map(|part| part.len() as u64).sum::<u64>() > self.longest {
                return Ok(None);
            }
            let written = Unfinished::write(&self.path, parts);
            written.map(Some).map_err(|error| files::fault(&self.path, &error))
        });
    }

    /// Puts what was written in its place, if anything was.
    ///
    /// # Errors
    /// The tree cannot be written to.
    pub fn finish(self) -> Result<()> {
        let Some(new) = self.written.into_inner().transpose()?.flatten() else { return Ok(()) };
        // To rename over a file begins to write it to the disk at once.
        files::remove(&self.path)?;
        new.finish().map_err(|error| files::fault(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_finished_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let new = || NewFile::of(dir.path(), TYPES, 8);
        let there = || fs::read(dir.path().join(TYPES)).ok();
        let file = new();
        file.write(&[b"some ", b"old"]);
        assert!(file.is_written() && there().is_none());
        file.write(&[b"again"]);
        file.finish().unwrap();
        assert_eq!(there().unwrap(), b"some old");
        // Of a link that fails, has nothing new, or too much.
        new().write(&[b"new"]);
        new().finish().unwrap();
        let long = new();
        long.write(&[b"too ", b"long!"]);
        assert!(long.is_written());
        long.finish().unwrap();
        assert_eq!(there().unwrap(), b"some old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::remove_dir_all(dir.path()).unwrap();
        let nowhere = new();
        nowhere.write(&[b"new"]);
        assert!(nowhere.finish().unwrap_err().to_string().contains(TYPES));
    }
}
