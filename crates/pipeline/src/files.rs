//! Reading and writing files, with errors that name them.
//!
//! Inputs are mapped, so a kernel of 500 MB costs only the pages that are looked at; what is large and read once is
//! copied piece by piece instead ([`Reader`]). Outputs are
//! written beside their place and renamed, so a half-written file is never taken for a result.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use debug_link::ReadAt;
use dwarf_btf::Unreadable;
use image::Patch;
use memmap2::{Mmap, MmapMut, MmapOptions, UncheckedAdvice};

use crate::error::{Error, Result};
use crate::faults::{CUT_OFF, Doomed};

/// The text of a file; what is not UTF-8 is replaced.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| fault(path, &error))
}

/// Whether there is a file of at most `longest` bytes: nothing that would be waited for, or fill the memory.
pub fn is_short(path: &Path, longest: u64) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= longest)
}

/// The bytes of such a file, if it can be read.
pub fn read_short(path: &Path, longest: u64) -> Option<Vec<u8>> {
    is_short(path, longest).then(|| fs::read(path).ok()).flatten()
}

/// Maps a file for reading.
pub fn map(path: &Path) -> Result<Mmap> {
    let mapped = File::open(path).and_then(|file| map_open(&file));
    mapped.map_err(|error| fault(path, &error))
}

/// Maps an open file for reading.
///
/// The file must keep its length while it is mapped: another process that truncates it ends this one
/// with SIGBUS. A build step owns its inputs, so nobody does.
///
/// # Errors
/// Those of mmap(2).
pub fn map_open(file: &File) -> io::Result<Mmap> {
    // SAFETY: see above; the map is never written to.
    unsafe { Mmap::map(file) }
}

/// What [`dwarf_btf::Options::read_at`] takes: a file's bytes by their offset.
pub fn reader_at(
    file: &File,
) -> impl Fn(u64, &mut [u8]) -> std::result::Result<(), Unreadable> + Sync {
    |at, out| file.read_exact_at(out, at).map_err(|_| Unreadable)
}

/// A file whose bytes are read by their offset.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
}

impl ReadAt for Reader {
    fn read_at(&self, at: u64, out: &mut [u8]) -> std::result::Result<(), debug_link::Unreadable> {
        self.file.read_exact_at(out, at).map_err(|error| debug_link::Unreadable {
            file: self.path.display().to_string(),
            cause: match error.kind() {
                io::ErrorKind::UnexpectedEof => CUT_OFF.to_owned(),
                _ => reason(&error),
            },
        })
    }
}

/// Maps a file for reading; with a reader of the same file, if it has `least` bytes or more.
pub fn map_large(path: &Path, least: usize) -> Result<(Mmap, Option<Reader>)> {
    let opened = File::open(path).and_then(|file| Ok((map_open(&file)?, file)));
    let (map, file) = opened.map_err(|error| fault(path, &error))?;
    let reader = (map.len() >= least).then(|| Reader { path: path.to_owned(), file });
    Ok((map, reader))
}

/// Maps a file for reading and for changes that nobody else sees: pages are copied where they are changed.
pub fn map_private(path: &Path) -> Result<MmapMut> {
    // SAFETY: as for `map_open`: what is changed is the map's own.
    let mapped = File::open(path).and_then(|file| unsafe { MmapOptions::new().map_copy(&file) });
    mapped.map_err(|error| fault(path, &error))
}

/// Gives the pages of a mapped file back; what is looked at again comes from the page cache.
pub fn forget(map: &Mmap) {
    // SAFETY: the map is of a file and is not written to, so the pages read the same again.
    let advised = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
    // Advice that is not taken costs memory and nothing else.
    let _ = advised;
}

/// Writes a file: beside its place, then renamed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_beside(path, &[bytes], None).map_err(|error| fault(path, &error))
}

/// Writes a program, as a linker does: beside its place, then renamed.
pub fn write_program(path: &Path, parts: &[&[u8]]) -> Result<()> {
    let written = Unfinished::create(path, parts, 0o777).and_then(Unfinished::finish);
    written.map_err(|error| Error::file(path, reason(&error)))
}

/// Writes `parts` one behind the other beside `path`, then renames what it wrote; after a failure nothing of it is left.
/// Without `permissions` they are a new file's.
///
/// # Errors
/// The directory of `path` cannot be written to, or `path` is a directory.
pub fn write_beside(
    path: &Path,
    parts: &[&[u8]],
    permissions: Option<Permissions>,
) -> io::Result<()> {
    let written = Unfinished::write(path, parts)?;
    permissions.map_or(Ok(()), |to| fs::set_permissions(&written.beside, to))?;
    written.finish()
}

/// A file that is written, but does not have its name yet. Nothing of it is left if it never gets it.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    beside: PathBuf,
    _doomed: Doomed,
}

impl Unfinished {
    /// Writes `parts` one behind the other beside `path`.
    ///
    /// # Errors
    /// The directory of `path` cannot be written to.
    pub fn write(path: &Path, parts: &[&[u8]]) -> io::Result<Self> {
        Self::create(path, parts, 0o666)
    }

    fn create(path: &Path, parts: &[&[u8]], mode: u32) -> io::Result<Self> {
        let beside = beside(path);
        let doomed = Doomed::new(beside.clone());
        let unfinished = Unfinished { path: path.to_owned(), beside, _doomed: doomed };
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(mode);
        let mut file = options.open(&unfinished.beside)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        Ok(unfinished)
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// `path` is a directory, or what was written has been removed.
    pub fn finish(self) -> io::Result<()> {
        fs::rename(&self.beside, &self.path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // There is nothing of that name if it has got its own.
        let _ = fs::remove_file(&self.beside);
    }
}

/// A hidden name next to `path`, this process's own.
pub fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".tmp_{name}.{}", std::process::id()))
}

/// Creates a file for a child process to write to.
pub fn create(path: &Path) -> Result<File> {
    File::create(path).map_err(|error| fault(path, &error))
}

/// Applies patches to a file in place.
pub fn patch(path: &Path, patches: &[Patch]) -> Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path);
    let file = file.map_err(|error| fault(path, &error))?;
    for patch in patches {
        let written = file.write_all_at(&patch.bytes, patch.offset);
        written.map_err(|error| fault(path, &error))?;
    }
    Ok(())
}

/// Removes a file if it is there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let cause = format!("cannot be removed: {}", reason(&error));
            Err(Error { cause, ..fault(path, &error) })
        }
        _ => Ok(()),
    }
}

/// Moves a file to its place; across file systems it is copied beside its place first.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let moved = fs::rename(from, to).or_else(|error| match error.kind() {
        io::ErrorKind::CrossesDevices => {
            let beside = beside(to);
            fs::copy(from, &beside)?;
            fs::rename(&beside, to)?;
            fs::remove_file(from)
        }
        _ => Err(error),
    });
    moved.map_err(|error| fault(to, &error))
}

/// A fault of `path`, with what to do about it where that can be said.
pub fn fault(path: &Path, error: &io::Error) -> Error {
    let fault = Error::file(path, reason(error));
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            fault.advise("whose is it? 'vmlinker doctor -C BUILD' looks at a tree's rights")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            fault.advise("make room, or link to another disk: vmlinker relink --output FILE")
        }
        _ => fault,
    }
}

/// The system's words for an error, without the number that Rust appends.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("taken");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("inside"), "x").unwrap();
        assert!(write(&target, b"bytes").is_err());
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["taken"]);
    }

    #[test]
    fn a_large_file_is_read_and_one_that_was_cut_off_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmlinux.o");
        fs::write(&path, b"0123456789").unwrap();
        assert!(map_large(&path, 11).unwrap().1.is_none());
        let (_map, reader) = map_large(&path, 10).unwrap();
        let reader = reader.unwrap();
        let mut out = [0; 4];
        reader.read_at(6, &mut out).unwrap();
        assert_eq!(&out, b"6789");
        File::options().write(true).open(&path).unwrap().set_len(8).unwrap();
        let error = debug_link::Error::Unreadable(reader.read_at(6, &mut out).unwrap_err());
        let expected = format!("{}: it was cut off while it was read", path.display());
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn rights_and_room_come_with_advice() {
        let advice = |kind: io::ErrorKind| fault(Path::new("x"), &kind.into()).advice.concat();
        assert!(advice(io::ErrorKind::PermissionDenied).contains("doctor"));
        assert!(advice(io::ErrorKind::StorageFull).contains("make room"));
        assert_eq!(advice(io::ErrorKind::NotFound), "");
    }

    #[test]
    fn a_missing_file_is_named_with_the_systems_words() {
        let error = read(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "/no/such/file: No such file or directory");
    }
}
