//! Files of the link before, which new ones are written into.
//!
//! Why: the pages and blocks of such a file are there already. To give them up and to get them again costs the system
//! more than filling them; on a virtual machine, that hands free pages back to its host, several times as much as all else
//! that is done to write a kernel. And a file system may begin to write a new file to the disk at once when it takes the
//! name of another (ext4's `auto_da_alloc`), and whoever renamed it waits for that.
//!
//! The file loses its name first, as if it were removed, so that nobody takes it for what it is to be. It is written into
//! only if nobody can see that: it has no other name, and no process has it open or mapped, which the system tells
//! through a lease (fcntl(2), F_SETLEASE). Otherwise it is removed, and a new file is made.

use std::fs::{self, File, Metadata};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::error::Result;
use crate::faults::Doomed;
use crate::files;

/// Takes the file `from` away. If it can be written into, it is called `to` then, and open.
///
/// # Errors
/// It cannot be removed.
pub fn take(from: &Path, to: &Path) -> Result<Option<File>> {
    // One that was left by a link that was killed.
    files::remove(to)?;
    let ours = |found: &Metadata| {
        let user = rustix::process::geteuid().as_raw();
        found.is_file() && found.nlink() == 1 && found.uid() == user
    };
    if !fs::symlink_metadata(from).is_ok_and(|found| ours(&found)) {
        return files::remove(from).map(|()| None);
    }
    files::rename(from, to)?;
    let opened = File::options().read(true).write(true).open(to);
    let file = opened.ok().filter(|file| file.metadata().is_ok_and(|found| ours(&found)));
    match file {
        Some(file) if is_only_ours(&file) => Ok(Some(file)),
        // Taken apart by the system when whoever has it open is done.
        _ => files::remove(to).map(|()| None),
    }
}

/// Writes a file that is made anew by each link: into the one of the link before, which has no name meanwhile.
///
/// # Errors
/// As [`files::write`]; what was there is gone then, too.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = files::beside(path);
    let _doomed = Doomed::new(beside.clone());
    // What is no file is left for the new one to complain of.
    let old = if path.is_dir() { None } else { take(path, &beside)? };
    let Some(file) = old else { return files::write(path, bytes) };
    let written = file.write_all_at(bytes, 0).and_then(|()| file.set_len(bytes.len() as u64));
    let written = written.and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        files::fault(path, &error)
    })
}

/// Whether no other process, and nothing else in this one, has the file open or mapped.
fn is_only_ours(file: &File) -> bool {
    let lease = |kind: libc::c_int| {
        // SAFETY: the descriptor is open, and the call takes no pointer.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) }
    };
    // It is given back at once: nobody can open a file by a name that it had.
    lease(libc::F_WRLCK) == 0 && lease(libc::F_UNLCK) == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_file_of_the_link_before_is_written_into() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("System.map");
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        write(&path, b"the first").unwrap();
        let first = inode(&path);
        for text in ["shorter", "a longer one than that", ""] {
            write(&path, text.as_bytes()).unwrap();
            assert_eq!((fs::read_to_string(&path).unwrap().as_str(), inode(&path)), (text, first));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_somebody_else_can_see_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [path, kept] = ["System.map", "kept"].map(|name| dir.path().join(name));
        write(&path, b"old").unwrap();
        let mapped = files::map(&path).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!((&mapped[..], fs::read(&path).unwrap()), (&b"old"[..], b"new".to_vec()));

        fs::hard_link(&path, &kept).unwrap();
        write(&path, b"newer").unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"new");

        fs::remove_file(&path).unwrap();
        symlink(&kept, &path).unwrap();
        write(&path, b"newest").unwrap();
        let read = |path: &Path| fs::read(path).unwrap();
        assert_eq!((read(&kept), read(&path)), (b"new".to_vec(), b"newest".to_vec()));
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(write(&taken, b"bytes").unwrap_err().to_string().contains("taken"));
        assert!(taken.is_dir());
        assert!(write(&dir.path().join("no/file"), b"").is_err());
    }
}
