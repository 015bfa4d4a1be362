//! What is remembered of a tree's last link besides sizes: what its units have said of types.
//!
//! Reading debug information is most of the work of BTF, and most units are the same as in the link before. With what is
//! remembered, units are read that have changed, and the same bytes come out (`dwarf_btf::Reading::resume`). Units are known
//! by their contents, so it does not matter when and by whom the file was written. It can be removed at any time.
//!
//! The file holds for one build of this program. It is written beside its place and renamed, when the kernel is done:
//! links that run at once leave what one of them remembers, and a killed one leaves the old or none. A file that is
//! missing, cut off, foreign, damaged or of another build is no error; all units are read then. There is one for a tree,
//! 10 to 20 MB for a kernel of 3000 units, and none larger than [`LONGEST`] is written or read.

use std::env;
use std::fs::{self, Metadata};
use std::path::Path;

use dwarf_btf::Remembered;
use image::Elf;
use image::consts::{SHF_ALLOC, SHT_PROGBITS};
use twox_hash::XxHash3_128;

use crate::error::Result;
use crate::files;

/// Name of the file, in the object tree. Kernel trees ignore files that begin with a dot.
pub const TYPES: &str = ".vmlinker.types";

/// In bytes.
const LONGEST: u64 = 128 << 20;

/// What is remembered of units.
#[derive(Debug)]
pub struct KnownUnits {
    /// A hash of this program.
    program: u128,
    bytes: Vec<u8>,
}

impl KnownUnits {
    /// Nothing is known; `None` if this program cannot be told from others, so that nothing can be remembered.
    pub fn none() -> Option<Self> {
        Some(KnownUnits { program: program()?, bytes: Vec::new() })
    }

    /// What is remembered of the object tree `dir`, if anything is; `None` as for [`KnownUnits::none`].
    pub fn load(dir: &Path) -> Option<Self> {
        let path = dir.join(TYPES);
        // Nothing that would be waited for, or fill the memory.
        let ours = |meta: &Metadata| meta.is_file() && meta.len() <= LONGEST;
        let there = fs::metadata(&path).is_ok_and(|meta| ours(&meta));
        let bytes = if there { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        Some(KnownUnits { bytes, ..Self::none()? })
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// As the encoder takes it.
    pub fn remembered(&self) -> Remembered<'_> {
        Remembered { by: self.program, bytes: &self.bytes }
    }

    /// Remembers these bytes in the object tree `dir`.
    ///
    /// # Errors
    /// The tree cannot be written to.
    pub fn save(dir: &Path, bytes: &[u8]) -> Result<()> {
        // To rename over a file begins to write it to the disk at once.
        Self::forget(dir)?;
        files::write(&dir.join(TYPES), bytes)
    }

    /// Forgets what is remembered of the object tree `dir`.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget(dir: &Path) -> Result<()> {
        files::remove(&dir.join(TYPES))
    }
}

/// A hash of what is loaded of this program.
fn program() -> Option<u128> {
    let file = files::map(&env::current_exe().ok()?).ok()?;
    let elf = Elf::parse(&file).ok()?;
    let loaded = elf
        .sections()
        .iter()
        .filter(|section| section.flags & SHF_ALLOC.0 != 0 && section.sh_type == SHT_PROGBITS.0);
    let hash = |section| Some(XxHash3_128::oneshot(elf.bytes(section).ok()?).to_le_bytes());
    let hashes: Vec<[u8; 16]> = loaded.map(hash).collect::<Option<_>>()?;
    (!hashes.is_empty()).then(|| XxHash3_128::oneshot(hashes.as_flattened()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_is_known_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let known = || KnownUnits::load(dir.path()).unwrap().bytes;
        assert!(known().is_empty());
        KnownUnits::save(dir.path(), b"types").unwrap();
        KnownUnits::save(dir.path(), b"others").unwrap();
        assert_eq!(known(), b"others");
        KnownUnits::forget(dir.path()).unwrap();
        KnownUnits::forget(dir.path()).unwrap();
        assert!(known().is_empty());
        // A directory, and a file that is too long.
        fs::create_dir(dir.path().join(TYPES)).unwrap();
        assert!(known().is_empty());
        fs::remove_dir(dir.path().join(TYPES)).unwrap();
        fs::File::create(dir.path().join(TYPES)).unwrap().set_len(LONGEST + 1).unwrap();
        assert!(known().is_empty());
    }
}
