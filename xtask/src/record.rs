//! The record of a kernel's link call, without touching the source tree.
//!
//! Kbuild finds `scripts/link-vmlinux.sh` through VPATH: first in the object tree, then in the source tree. So a
//! script of that name in the object tree is called with the arguments and the environment of the real one.
//! It writes the record and fails; make then leaves every file as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use pipeline::{Call, RECORD, Record};

use crate::kernel::Kernel;
use crate::process;
use crate::progress;

/// Where Kbuild looks first, inside the object tree.
const SCRIPT: &str = "scripts/link-vmlinux.sh";

/// Records the link call of a built kernel, unless that was done before.
pub fn record(kernel: &Kernel) -> Result<()> {
    let record = kernel.directory().join(RECORD);
    if record.exists() && !kernel.own() {
        return Ok(());
    }
    if record.exists() {
        fs::remove_file(&record).with_context(|| record.display().to_string())?;
    }
    let stub = Stub::place(kernel.directory())?;
    // It fails, because the stub does: the record tells whether it came that far.
    let result = process::logged(&mut kernel.make_kernel()?, &kernel.log(), |_| ());
    drop(stub);
    match result {
        _ if record.exists() => {
            progress::say(&format!("recorded the link call in {}", record.display()));
            Ok(())
        }
        Err(error) => Err(error.context("make did not come to the link")),
        Ok(()) => bail!("make linked nothing, so there is no call to record"),
    }
}

/// Writes the record: what the stub runs, in the object tree and with Kbuild's arguments and environment.
pub fn write(words: &[String]) -> Result<()> {
    let var = |name: &str| std::env::var(name).ok();
    let script = format!("{}/{SCRIPT}", var("srctree").context("srctree is not set")?);
    let call = Call::new(&script, words, &std::env::current_dir()?, var)?;
    Record::new(&call).save()?;
    Ok(())
}

/// The script in the object tree; it goes when this value goes.
struct Stub(PathBuf);

impl Stub {
    fn place(directory: &Path) -> Result<Self> {
        let path = directory.join(SCRIPT);
        let program = std::env::current_exe()?;
        let program = program.to_str().context("the path of xtask is not UTF-8")?;
        let quoted = program.replace('\'', r"'\''");
        fs::write(&path, format!("#!/bin/sh\n'{quoted}' record-call -- \"$@\"\nexit 1\n"))
            .with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Stub(path))
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        // If it stays, the next make fails and names it.
        let _ = fs::remove_file(&self.0);
    }
}
