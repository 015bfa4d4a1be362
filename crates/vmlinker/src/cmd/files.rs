//! Files that the commands read and write: read as a map, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use memmap2::Mmap;

/// Maps a file for reading.
pub fn map(path: &Path) -> io::Result<Mmap> {
    pipeline::map_open(&File::open(path)?)
}

/// Writes `parts` one behind the other to `path`: beside it, then renamed. What was there keeps its
/// permissions; after a failure it is there as it was.
///
/// A link is followed; what is no regular file (`/dev/stdout`) is written to.
pub fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let place = match fs::canonicalize(path) {
        Ok(place) => place,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    match fs::metadata(&place) {
        Ok(known) if !known.is_file() => {
            let mut file = File::options().write(true).open(&place)?;
            parts.iter().try_for_each(|part| file.write_all(part))
        }
        known => {
            let permissions = known.ok().map(|known| known.permissions());
            pipeline::write_beside(&place, parts, permissions)
        }
    }
}
