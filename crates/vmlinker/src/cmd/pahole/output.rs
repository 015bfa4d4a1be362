//! Files that are whole or not there.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
    let known = match fs::metadata(&place) {
        Ok(known) if !known.is_file() => {
            return write(&mut File::options().write(true).open(&place)?, parts);
        }
        known => known.ok().map(|known| known.permissions()),
    };
    let beside = beside(&place);
    let result = create(&beside, known, parts).and_then(|()| fs::rename(&beside, &place));
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result
}

fn create(path: &Path, permissions: Option<Permissions>, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = File::create(path)?;
    write(&mut file, parts)?;
    permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions))
}

fn write(file: &mut File, parts: &[&[u8]]) -> io::Result<()> {
    parts.iter().try_for_each(|part| file.write_all(part))
}

/// A hidden name next to `path`, this process's own.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".tmp_{name}.{}", std::process::id()))
}
