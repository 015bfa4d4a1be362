//! The kernel of the link before, whose file the new one is written into ([`reuse`]).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::{files, reuse};

/// Name of the old kernel's file until the new one is written.
pub const OLD: &str = ".tmp_vmlinux.old";

/// The file; removed when dropped.
#[derive(Debug)]
pub(super) struct OldKernel {
    file: File,
    path: PathBuf,
}

impl OldKernel {
    /// Takes the kernel `image` away. The file is called `path` then, if it can be written into.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn take(image: &Path, path: PathBuf) -> Result<Option<Self>> {
        Ok(reuse::take(image, &path)?.map(|file| OldKernel { file, path }))
    }

    /// The file as a new one called `path`, of `len` bytes; what they are is left open.
    pub(super) fn become_new(self, path: &Path, len: u64) -> io::Result<File> {
        // An image can be run, as far as the linker knows.
        let like =
            File::options().write(true).create(true).truncate(true).mode(0o777).open(path)?;
        self.file.set_permissions(like.metadata()?.permissions())?;
        self.file.set_len(len)?;
        fs::rename(&self.path, path)?;
        self.file.try_clone()
    }
}

impl Drop for OldKernel {
    fn drop(&mut self) {
        // If it has become the new kernel, there is no file of this name.
        let _ = files::remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn kernel(dir: &Path) -> (PathBuf, PathBuf) {
        let image = dir.join("vmlinux");
        File::create(&image).unwrap().write_all(b"the kernel before").unwrap();
        (image, dir.join(OLD))
    }

    #[test]
    fn the_file_is_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let (image, path) = kernel(dir.path());
        let inode = fs::metadata(&image).unwrap().ino();
        let old = OldKernel::take(&image, path.clone()).unwrap().unwrap();
        assert!(!image.exists() && path.exists());
        let new = dir.path().join("new");
        old.become_new(&new, 10).unwrap();
        let found = fs::metadata(&new).unwrap();
        assert_eq!((found.ino(), found.len(), path.exists()), (inode, 10, false));
    }

    #[test]
    fn what_is_not_used_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (image, path) = kernel(dir.path());
        drop(OldKernel::take(&image, path.clone()).unwrap().unwrap());
        assert!(!image.exists() && !path.exists());
        assert!(OldKernel::take(&image, path).unwrap().is_none());
    }

    #[test]
    fn what_somebody_else_can_see_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (image, path) = kernel(dir.path());
        let kept = dir.path().join("kept");
        fs::hard_link(&image, &kept).unwrap();
        assert!(OldKernel::take(&image, path.clone()).unwrap().is_none());
        assert!(!image.exists() && !path.exists());
        assert_eq!(fs::read(&kept).unwrap(), b"the kernel before");

        let open = File::open(&kept).unwrap();
        assert!(OldKernel::take(&kept, path.clone()).unwrap().is_none());
        assert_eq!(io::read_to_string(open).unwrap(), "the kernel before");

        let (image, path) = kernel(dir.path());
        let mapped = files::map(&image).unwrap();
        assert!(OldKernel::take(&image, path.clone()).unwrap().is_none());
        assert!(!image.exists() && !path.exists());
        assert_eq!(&mapped[..], b"the kernel before");

        std::os::unix::fs::symlink("elsewhere", &image).unwrap();
        assert!(OldKernel::take(&image, path).unwrap().is_none());
        assert!(fs::symlink_metadata(&image).is_err());
    }
}
