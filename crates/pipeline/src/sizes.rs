//! What is remembered of a tree's last link: the sizes of what was linked in, and who put contents in.
//!
//! A kernel's kallsyms tables and types have to be linked in before they are known, but mostly they are as large as
//! last time. With these numbers the lean schedule links the kernel once. And a kernel that could not be laid out without
//! contents is not likely to be so the next time; to try it again would cost two links, and no try more than `--cold`.
//!
//! They are a prediction and nothing else. Whatever stands in the file, what is made is compared with what was linked
//! in, and a wrong number costs one link more. So a file that is missing, cut off, of another form, of another
//! version or of another output is no error but a cold start; it is written beside its place and renamed, so
//! links that run at once leave one of their predictions, and a killed one leaves the old. Nothing larger than
//! [`LIMIT`] is believed, for it would be written to the disk.

use std::path::Path;

use image::Elf;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::files;
use crate::plan::{Needs, Start};

/// Name of the file, in the object tree. Kernel trees ignore files that begin with a dot.
pub const SIZES: &str = ".vmlinker.sizes";

/// Form of the file; a change of the form or of what the numbers mean gets the next number.
const FORMAT: u32 = 2;

/// What no kernel's tables or types come near, in bytes.
const LIMIT: u64 = 1 << 28;

/// No file of ours is longer than this, in bytes.
const LONGEST: u64 = 4095;

/// The sizes of what is linked into a kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Those of the kallsyms tables, if it has any.
    pub kallsyms: Option<kallsyms::Sizes>,
    /// That of `.BTF` in bytes, if it has one.
    pub btf: Option<u64>,
    /// Whether the linker had to put contents in, because they cannot be put in after it.
    pub filled_by_linker: bool,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    format: u32,
    vmlinker: String,
    output: String,
    kallsyms: Option<Kallsyms>,
    btf: Option<u64>,
    filled_by_linker: bool,
}

/// [`kallsyms::Sizes`].
#[derive(Debug, Serialize, Deserialize)]
struct Kallsyms {
    symbols: u32,
    names: u32,
    tokens: u32,
}

impl Sizes {
    /// The sizes in objects that a kernel was linked with; objects of other makers may not tell.
    pub fn of_objects(kallsyms: Option<&Path>, btf: Option<&Path>) -> Self {
        let kallsyms =
            kallsyms.and_then(|path| kallsyms::Sizes::of_object(&files::map(path).ok()?).ok());
        let btf = btf.and_then(|path| {
            let object = files::map(path).ok()?;
            Some(Elf::parse(&object).ok()?.section(".BTF")?.1.size)
        });
        Sizes { kallsyms, btf, filled_by_linker: false }
    }

    /// What is remembered of the object tree `dir`, where its link makes `output`.
    pub fn load(dir: &Path, output: &str) -> Option<Self> {
        let text = files::read_short(&dir.join(SIZES), LONGEST)?;
        let known: Remembered = serde_json::from_slice(&text).ok()?;
        let ours = known.format == FORMAT && known.vmlinker == env!("CARGO_PKG_VERSION");
        let kallsyms = known.kallsyms.map(|Kallsyms { symbols, names, tokens }| kallsyms::Sizes {
            symbols,
            names,
            tokens,
        });
        let Remembered { btf, filled_by_linker, .. } = known;
        let sizes = Sizes { kallsyms, btf, filled_by_linker };
        (ours && known.output == output && sizes.bytes() < LIMIT).then_some(sizes)
    }

    /// Remembers these sizes in the object tree `dir`, whose link makes `output`.
    ///
    /// # Errors
    /// The tree cannot be written to.
    pub fn save(&self, dir: &Path, output: &str) -> Result<()> {
        let kallsyms = self.kallsyms.map(|kallsyms::Sizes { symbols, names, tokens }| Kallsyms {
            symbols,
            names,
            tokens,
        });
        let known = Remembered {
            format: FORMAT,
            vmlinker: env!("CARGO_PKG_VERSION").to_string(),
            output: output.to_string(),
            kallsyms,
            btf: self.btf,
            filled_by_linker: self.filled_by_linker,
        };
        let text = serde_json::to_string(&known).map_err(crate::Error::new)?;
        files::write(&dir.join(SIZES), format!("{text}\n").as_bytes())
    }

    /// What a link with `needs` is to do that knows this.
    pub fn needed(known: Option<&Self>, needs: Needs) -> Needs {
        let refused = known.is_some_and(|known| known.filled_by_linker);
        Needs { hollow: needs.hollow && !refused, ..needs }
    }

    /// How a link with `needs` can start that knows these sizes.
    pub fn start(known: Option<&Self>, needs: &Needs) -> Start {
        let enough = known.is_some_and(|known| {
            (known.kallsyms.is_some() || !needs.kallsyms) && (known.btf.is_some() || !needs.btf)
        });
        if enough { Start::Warm } else { Start::Cold }
    }

    /// About how large the objects are.
    fn bytes(&self) -> u64 {
        let tables = self.kallsyms.map_or(0, |sizes| {
            // An offset, a sequence number and (7.0 and later) a relocation for each symbol.
            u64::from(sizes.symbols) * 32 + u64::from(sizes.names) + u64::from(sizes.tokens)
        });
        tables.saturating_add(self.btf.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::remembered;

    const KNOWN: Sizes = Sizes {
        kallsyms: Some(kallsyms::Sizes { symbols: 46_875, names: 600_000, tokens: 900 }),
        btf: Some(2_432_507),
        filled_by_linker: true,
    };

    #[test]
    fn what_was_remembered_is_known_for_the_same_output() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Sizes::load(dir.path(), "vmlinux"), None);
        KNOWN.save(dir.path(), "vmlinux").unwrap();
        assert_eq!(Sizes::load(dir.path(), "vmlinux"), Some(KNOWN));
        assert_eq!(Sizes::load(dir.path(), "vmlinux.unstripped"), None);
        remembered::forget(dir.path()).unwrap();
        remembered::forget(dir.path()).unwrap();
        assert_eq!(Sizes::load(dir.path(), "vmlinux"), None);
    }

    #[test]
    fn no_file_that_is_cut_off_foreign_or_too_large_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(SIZES);
        KNOWN.save(dir.path(), "vmlinux").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let json = text.trim_end();
        for end in 0..json.len() {
            fs::write(&file, &json[..end]).unwrap();
            assert_eq!(Sizes::load(dir.path(), "vmlinux"), None, "{}", &json[..end]);
        }
        let version = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
        let others = [
            ("\"format\":2", "\"format\":1"),
            (&version, "\"0.0.0\""),
            ("46875", "4687500000"),
            ("600000", "4294967295"),
            ("2432507", "18446744073709551615"),
            ("2432507", "-1"),
            ("\"btf\"", "\"size\""),
        ];
        for (old, new) in others {
            fs::write(&file, text.replace(old, new)).unwrap();
            let known = Sizes::load(dir.path(), "vmlinux");
            assert!(known.is_none_or(|known| known.btf.is_none()), "{new}");
        }
        for foreign in [vec![0xff; 1000], format!("{json}{}", " ".repeat(5000)).into_bytes()] {
            fs::write(&file, foreign).unwrap();
            assert_eq!(Sizes::load(dir.path(), "vmlinux"), None);
        }
    }

    #[test]
    fn a_start_is_warm_if_all_that_is_needed_is_known() {
        let needs =
            |names: &[&str]| Needs::of_config(&crate::Config::from_names(names.iter().copied()));
        let both = needs(&["KALLSYMS", "DEBUG_INFO_BTF"]);
        assert_eq!(Sizes::start(Some(&KNOWN), &both), Start::Warm);
        assert_eq!(Sizes::start(None, &both), Start::Cold);
        let one_object = Needs { hollow: true, ..both.clone() };
        assert!(!Sizes::needed(Some(&KNOWN), one_object.clone()).hollow);
        assert_eq!(Sizes::needed(None, one_object.clone()), one_object);
        let tables = Sizes { btf: None, ..KNOWN };
        assert_eq!(Sizes::start(Some(&tables), &both), Start::Cold);
        assert_eq!(Sizes::start(Some(&tables), &needs(&["KALLSYMS"])), Start::Warm);
    }
}
