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
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dwarf_btf::Remembered;
use image::Elf;
use image::consts::{SHF_ALLOC, SHT_PROGBITS};
use twox_hash::XxHash3_128;

use crate::error::Result;
use crate::{files, reuse};

/// Name of the file, in the object tree. Kernel trees ignore files that begin with a dot.
pub const TYPES: &str = ".vmlinker.types";

/// In bytes.
pub const LONGEST: u64 = 128 << 20;

/// What is remembered of units. It is read when it is first asked for, which is beside the linker.
#[derive(Debug)]
pub struct KnownUnits {
    /// The file, if there is to be one.
    file: Option<PathBuf>,
    read: OnceLock<Option<Read>>,
}

#[derive(Debug)]
struct Read {
    /// A hash of this program.
    program: u128,
    bytes: Vec<u8>,
}

impl KnownUnits {
    /// Nothing is known.
    pub fn none() -> Self {
        KnownUnits { file: None, read: OnceLock::new() }
    }

    /// What is remembered of the object tree `dir`, if anything is.
    pub fn of(dir: &Path) -> Self {
        KnownUnits { file: Some(dir.join(TYPES)), read: OnceLock::new() }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.remembered().is_none_or(|known| known.bytes.is_empty())
    }

    /// As the encoder takes it; `None` if this program cannot be told from others, so that nothing can be remembered.
    pub fn remembered(&self) -> Option<Remembered<'_>> {
        let read = || Some(Read { program: program()?, bytes: self.read() });
        let known = self.read.get_or_init(read).as_ref()?;
        Some(Remembered { by: known.program, bytes: &known.bytes })
    }

    fn read(&self) -> Vec<u8> {
        let bytes = self.file.as_ref().and_then(|path| files::read_short(path, LONGEST));
        bytes.unwrap_or_default()
    }

    /// Remembers these bytes in the object tree `dir`; without any, what was remembered is forgotten: what this link could
    /// make nothing of is no use to the next.
    ///
    /// # Errors
    /// The tree cannot be written to.
    pub fn save(dir: &Path, bytes: Option<&[u8]>) -> Result<()> {
        let path = dir.join(TYPES);
        bytes.map_or_else(|| files::remove(&path), |bytes| reuse::write(&path, bytes))
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
    use std::fs;

    use super::*;

    #[test]
    fn what_was_remembered_is_known_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let known = || KnownUnits::of(dir.path()).remembered().unwrap().bytes.to_vec();
        assert!(known().is_empty());
        KnownUnits::save(dir.path(), Some(b"types")).unwrap();
        KnownUnits::save(dir.path(), Some(b"others")).unwrap();
        assert_eq!(known(), b"others");
        KnownUnits::save(dir.path(), None).unwrap();
        KnownUnits::save(dir.path(), None).unwrap();
        assert!(known().is_empty());
        // A directory, and a file that is too long.
        fs::create_dir(dir.path().join(TYPES)).unwrap();
        assert!(known().is_empty());
        fs::remove_dir(dir.path().join(TYPES)).unwrap();
        fs::File::create(dir.path().join(TYPES)).unwrap().set_len(LONGEST + 1).unwrap();
        assert!(known().is_empty());
    }
}
