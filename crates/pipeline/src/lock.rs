//! One link at a time in an object tree.
//!
//! A link's temporary files have the names that the kernel's script gives them, so two links in one tree would write
//! into each other's. The second is refused before it has touched anything. The lock is on the directory
//! itself: it needs no file, and ends with the process, however that ends.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files;

/// The right to link in an object tree, until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Takes it for the object tree `dir`.
    ///
    /// # Errors
    /// Another link has it, or there is no such directory.
    pub fn take(dir: &Path) -> Result<Self> {
        let file = File::open(dir).map_err(|error| Error::file(dir, files::reason(&error)))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(Error::file(dir, "another link works in this tree now")
                .advise(
                    "wait for its end, or link into another file: vmlinker relink --output FILE",
                )),
            // Some network file systems have no locks for directories.
            _ => Ok(Lock(file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_link_is_refused_until_the_first_ends() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        let error = Lock::take(dir.path()).unwrap_err();
        assert_eq!(error.cause, "another link works in this tree now");
        drop(first);
        Lock::take(dir.path()).unwrap();
    }
}
