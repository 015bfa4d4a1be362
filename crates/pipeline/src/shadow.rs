//! A second view of an object tree, in which a link can write without touching the tree.
//!
//! The kernel's script, like vmlinker, reads and writes files of the object tree by relative names. A
//! shadow is a directory that holds a symbolic link to every top-level entry of the tree but those that
//! a link makes; a link run there finds all its inputs and leaves the tree's own files alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::faults::Doomed;
use crate::files;
use crate::plan::DEBUG_FILE;
use crate::record::absolute;

/// Files that a link makes, by their names' beginnings.
const MADE_PREFIXES: [&str; 3] = [".tmp_vmlinux", ".btf.", ".vmlinker"];

/// Files that a link makes, by their whole names.
const MADE: [&str; 7] = [
    "vmlinux",
    DEBUG_FILE,
    "vmlinux.unstripped",
    "System.map",
    "vmlinux.map",
    ".vmlinux.d",
    ".vmlinux.unstripped.d",
];

/// A shadow of an object tree; removed when dropped, unless it is kept.
#[derive(Debug)]
pub struct Shadow {
    dir: PathBuf,
    kept: bool,
    _doomed: Doomed,
}

impl Shadow {
    /// Makes a shadow of `tree` beside `output`, so that what is made there can be renamed to it.
    ///
    /// # Errors
    /// The directory of `output` cannot be written to.
    pub fn new(tree: &Path, output: &Path) -> Result<Self> {
        let tree = absolute(tree)?;
        let parent = match output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = output.file_name().ok_or_else(|| Error::file(output, "not a file's name"))?;
        let name = format!(".{}.vmlinker.{}", name.to_string_lossy(), std::process::id());
        let dir = absolute(parent)?.join(name);
        let in_dir = |error: std::io::Error| files::fault(&dir, &error);
        fs::create_dir(&dir).map_err(in_dir)?;
        let shadow = Shadow { dir: dir.clone(), kept: false, _doomed: Doomed::new(dir.clone()) };
        let entries = fs::read_dir(&tree).map_err(|error| Error::file(&tree, error.kind()))?;
        for entry in entries {
            let entry = entry.map_err(in_dir)?;
            if !is_made(&entry.file_name().to_string_lossy()) {
                symlink(entry.path(), dir.join(entry.file_name())).map_err(in_dir)?;
            }
        }
        Ok(shadow)
    }

    /// Where the shadow is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Leaves the shadow where it is.
    pub fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.dir.clone()
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        if !self.kept {
            // Only links and temporary files are in it; if some stay, nothing is lost by them.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn is_made(name: &str) -> bool {
    MADE.contains(&name) || MADE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_seen_and_what_a_link_makes_is_not() {
        let tree = tempfile::tempdir().unwrap();
        let names = ["vmlinux.o", ".vmlinux.export.o", "vmlinux", ".tmp_vmlinux1", "System.map"];
        for name in names {
            fs::write(tree.path().join(name), name).unwrap();
        }
        let out = tempfile::tempdir().unwrap();
        let shadow = Shadow::new(tree.path(), &out.path().join("a")).unwrap();
        let dir = shadow.dir().to_path_buf();
        let seen: Vec<bool> = names.iter().map(|name| dir.join(name).exists()).collect();
        assert_eq!(seen, [true, true, false, false, false]);
        fs::write(dir.join("vmlinux"), "new").unwrap();
        drop(shadow);
        assert!(!dir.exists());
        assert_eq!(fs::read_to_string(tree.path().join("vmlinux")).unwrap(), "vmlinux");
        assert_eq!(fs::read_to_string(tree.path().join("vmlinux.o")).unwrap(), "vmlinux.o");
    }
}
