//! The record of a link: what is needed to run it again without make.
//!
//! Every run as a drop-in writes one into the object tree before its first step, so a link that fails
//! can be run again too. Benchmarks, bisection and bug reports start from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::error::{Error, Result};
use crate::files;
use crate::version::version;

/// Name of the record, in the object tree. Kernel trees ignore files that begin with a dot.
pub const RECORD: &str = ".vmlinker.json";

/// Form of the record; a change that older releases cannot read gets the next number.
const FORMAT: u32 = 1;

/// What to do about a record that cannot be read.
const ANEW: &str = "remove it; the next link by make writes another";

/// Variables that name the tools whose versions are recorded, beside the linker.
const TOOLS: [&str; 4] = ["CC", "NM", "OBJCOPY", "PAHOLE"];

/// A link that was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// Version of vmlinker that wrote the record.
    pub vmlinker: String,
    /// The call.
    pub call: Call,
    /// The first line that each tool prints of its version, by the tool's variable.
    pub tools: BTreeMap<String, String>,
}

impl Record {
    /// The record of `call`, with the versions of its tools.
    pub fn new(call: &Call) -> Self {
        let mut named: Vec<(&str, &str)> = vec![("LD", &call.ld)];
        named.extend(TOOLS.map(|tool| (tool, call.var(tool))));
        let tools = std::thread::scope(|scope| {
            let asked: Vec<_> = named
                .into_iter()
                .map(|(name, tool)| (name, scope.spawn(move || version(tool))))
                .collect();
            let answered = asked.into_iter().filter_map(|(name, answer)| {
                Some((name.to_string(), answer.join().ok().flatten()?))
            });
            answered.collect()
        });
        let vmlinker = env!("CARGO_PKG_VERSION").to_string();
        Record { format: FORMAT, vmlinker, call: call.clone(), tools }
    }

    /// Writes the record into the object tree.
    ///
    /// # Errors
    /// The tree cannot be written to.
    pub fn save(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(Error::new)?;
        let written = files::write(&self.call.dir.join(RECORD), text.as_bytes());
        written.map_err(|error| error.in_step(format!("RECORD {RECORD}")))
    }

    /// Reads the record of the object tree `dir`. The tree may have been moved since.
    ///
    /// # Errors
    /// No record, or one that this release cannot read.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(RECORD);
        if !path.exists() {
            return Err(Error::file(&path, "no link has been recorded in this tree")
                .advise("link it once with vmlinker (vmlinker install SRCTREE; make) or see: vmlinker record --help"));
        }
        let text = files::read_text(&path)?;
        let mut record: Record = serde_json::from_str(&text).map_err(|error| {
            Error::file(&path, format!("not a record of a link: {error}")).advise(ANEW)
        })?;
        if record.format != FORMAT {
            let cause =
                format!("form {} of the record; this release reads {FORMAT}", record.format);
            return Err(Error::file(&path, cause).advise(ANEW));
        }
        record.call.dir = absolute(dir)?;
        // How much to say is a matter of now, not of then.
        record.call.env.remove("KBUILD_VERBOSE");
        record
            .call
            .env
            .extend(std::env::var("KBUILD_VERBOSE").map(|v| ("KBUILD_VERBOSE".into(), v)));
        Ok(record)
    }
}

/// `dir` with all links resolved.
pub fn absolute(dir: &Path) -> Result<PathBuf> {
    dir.canonicalize().map_err(|error| Error::file(dir, error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(dir: &Path) -> Call {
        let arguments = ["sh", "-m elf", ""].map(str::to_string);
        Call::new("scripts/x.sh", &arguments, dir, |_| Some("true".to_string())).unwrap()
    }

    #[test]
    fn a_record_reads_back_also_in_a_tree_that_was_moved() {
        let dir = tempfile::tempdir().unwrap();
        Record::new(&call(dir.path())).save().unwrap();
        let moved = tempfile::tempdir().unwrap();
        std::fs::rename(dir.path().join(RECORD), moved.path().join(RECORD)).unwrap();
        let record = Record::load(moved.path()).unwrap();
        assert_eq!(record.call.dir, moved.path().canonicalize().unwrap());
        assert_eq!(record.call.ldflags, "-m elf");
    }

    #[test]
    fn a_missing_a_foreign_and_a_newer_record_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let cause = || Record::load(dir.path()).unwrap_err().cause;
        assert_eq!(cause(), "no link has been recorded in this tree");
        std::fs::write(dir.path().join(RECORD), "{}").unwrap();
        assert!(cause().starts_with("not a record of a link: "));
        Record { format: 9, ..Record::new(&call(dir.path())) }.save().unwrap();
        assert_eq!(cause(), "form 9 of the record; this release reads 1");
    }
}
