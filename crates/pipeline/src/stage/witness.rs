//! Whether the inputs of a link are at its end what they were at its beginning.
//!
//! They are read by the linker several times and by native steps beside it. If another make exchanges one meanwhile, a
//! kernel could come out of which one part is of the old file and another of the new.
//!
//! Cost: two stat(2) for each object, some ms for an archive of thousands.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;

use super::{Stage, link};

/// The inputs as they were.
#[derive(Debug)]
pub(super) struct Witness(Vec<(PathBuf, State)>);

/// What tells a file from another that takes its name, or from itself after a change: device, inode, size in bytes, and
/// the time of the last change in seconds and nanoseconds.
type State = (u64, u64, u64, i64, i64);

impl Witness {
    /// Compares with what the files are now.
    ///
    /// # Errors
    /// One is another.
    pub(super) fn check(&self) -> Result<()> {
        let other = self.0.iter().find(|(path, old)| state(path).ok() != Some(*old));
        match other {
            None => Ok(()),
            Some((path, _)) => Err(Error::file(path, "it was changed while the kernel was linked")
                .advise("does another make work in this tree?")),
        }
    }
}

impl Stage<'_> {
    /// What the objects of the link and its script are now.
    pub(super) fn witness(&self) -> Result<Witness> {
        let (call, tree) = (self.call, self.tree);
        let (objects, libs) = link::kernel_objects(call, &tree.config, &tree.features);
        let arch = link::arch_object(call, &tree.config, &tree.features);
        let script = link::script(call);
        let mut paths = Vec::new();
        for name in objects.iter().chain(&libs).copied().chain(arch.as_deref()) {
            paths.push(self.path(name));
            paths.extend(self.thin_members(name)?);
        }
        paths.push(self.path(&script));
        // What is missing or cannot be read is told by who needs it.
        let seen = paths.into_iter().filter_map(|path| Some((path.clone(), state(&path).ok()?)));
        Ok(Witness(seen.collect()))
    }

    /// The files behind a thin archive.
    fn thin_members(&self, name: &str) -> Result<Vec<PathBuf>> {
        let map = files::map(&self.path(name))?;
        // An archive that cannot be read is told by who needs it, too.
        let members = image::members(&map).ok().flatten().unwrap_or_default();
        let thin = members.into_iter().filter(|member| member.range.is_none());
        let beside = Path::new(name).parent().unwrap_or(Path::new(""));
        Ok(thin.map(|member| self.path(&beside.join(member.name).to_string_lossy())).collect())
    }
}

fn state(path: &Path) -> std::io::Result<State> {
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}
