//! What is remembered of a tree's last link besides sizes and types: of which distinct strings its debug strings were.
//!
//! To merge ten million strings is most of what is done beside the linker, and nearly all of them are those of the link
//! before. With what is remembered only those are looked up that are new, and the same bytes come out
//! (`debug_link::Prepared::resume`). Runs of strings are known by their contents, so it does not matter when and by whom the
//! file was written; it can be removed at any time.
//!
//! It is written in a first link, and when more than a sixteenth has changed since: beside its place while the linker
//! works, and renamed when the kernel is done and its inputs have not changed meanwhile. A file that is missing, cut off, foreign or damaged is no error; all strings are merged anew then.
//! There is one for a tree, four bytes for each string (50 MB for the defconfig of 6.12), and none larger than [`LONGEST`]
//! is written or read.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use crate::error::Result;
use crate::files::{self, Unfinished};

/// Name of the file, in the object tree. Kernel trees ignore files that begin with a dot.
pub const STRINGS: &str = ".vmlinker.strings";

/// In bytes.
const LONGEST: u64 = 512 << 20;

/// What is remembered of strings; of a link that will remember some, even if it knows none.
#[derive(Debug, Default)]
pub struct KnownStrings(Option<Mmap>);

impl KnownStrings {
    /// What is remembered in the object tree `dir`, if anything is.
    pub fn load(dir: &Path) -> Self {
        let path = dir.join(STRINGS);
        let there = files::is_short(&path, LONGEST);
        KnownStrings(there.then(|| files::map(&path).ok()).flatten())
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// As strings are merged with it.
    pub fn remembered(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// What the next link is to know, on its way into the file.
#[derive(Debug)]
pub struct NewStrings {
    path: PathBuf,
    /// Nothing if it is too much.
    written: OnceLock<Result<Option<Unfinished>>>,
}

impl NewStrings {
    /// For the object tree `dir`.
    pub fn of(dir: &Path) -> Self {
        NewStrings { path: dir.join(STRINGS), written: OnceLock::new() }
    }

    /// Whether there was something to be written, and it is, or cannot be.
    pub fn is_written(&self) -> bool {
        self.written.get().is_some()
    }

    /// Writes what these parts are, one behind the other, beside the file; once.
    pub fn write(&self, parts: &[Cow<'_, [u8]>]) {
        self.written.get_or_init(|| {
            let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
            if parts.iter().map(|part| part.len() as u64).sum::<u64>() > LONGEST {
                return Ok(None);
            }
            let written = Unfinished::write(&self.path, &parts);
            written.map(Some).map_err(|error| files::fault(&self.path, &error))
        });
    }

    /// Makes what was written the file, if anything was.
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
    use crate::remembered;

    #[test]
    fn what_was_remembered_is_known_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let known = || KnownStrings::load(dir.path());
        assert!(known().is_empty());
        let written = |parts: &[&'static [u8]]| {
            let new = NewStrings::of(dir.path());
            new.write(&parts.iter().copied().map(Cow::Borrowed).collect::<Vec<_>>());
            new
        };
        written(&[b"strings"]).finish().unwrap();
        written(&[b"some ", b"others"]).finish().unwrap();
        assert_eq!(known().remembered(), b"some others");
        // Of a link that fails, or has nothing new.
        drop(written(&[b"more"]));
        NewStrings::of(dir.path()).finish().unwrap();
        assert_eq!(known().remembered(), b"some others");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        remembered::forget(dir.path()).unwrap();
        remembered::forget(dir.path()).unwrap();
        assert!(known().is_empty());
        // A directory, and a file that is too long.
        fs::create_dir(dir.path().join(STRINGS)).unwrap();
        assert!(known().is_empty());
        fs::remove_dir(dir.path().join(STRINGS)).unwrap();
        fs::File::create(dir.path().join(STRINGS)).unwrap().set_len(LONGEST + 1).unwrap();
        assert!(known().is_empty());
    }
}
