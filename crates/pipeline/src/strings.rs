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

use std::path::Path;

use memmap2::Mmap;

use crate::files;

/// Name of the file, in the object tree. Kernel trees ignore files that begin with a dot.
pub const STRINGS: &str = ".vmlinker.strings";

/// In bytes.
pub const LONGEST: u64 = 512 << 20;

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::remembered::{self, NewFile};

    #[test]
    fn what_was_remembered_is_known_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let known = || KnownStrings::load(dir.path());
        assert!(known().is_empty());
        let save = |parts: &[&[u8]]| {
            let new = NewFile::of(dir.path(), STRINGS, LONGEST);
            new.write(parts);
            new.finish().unwrap();
        };
        save(&[b"strings"]);
        save(&[b"some ", b"others"]);
        assert_eq!(known().remembered(), b"some others");
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
