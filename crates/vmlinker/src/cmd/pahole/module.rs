//! A module is given its sections by the program that kernels name for it, `LLVM_OBJCOPY`.
//!
//! A module is kept as it comes out of pahole, so its bytes are those of objcopy, which pahole runs too. A kernel
//! is read once more by the link and thrown away: there the sections are put behind the end, which
//! needs no other program. Cost: one run of objcopy a module; a section that is there already is replaced
//! without it.
//!
//! PARITY: btf_encoder.c of pahole 1.24 and 1.31 (`btf_encoder__write_elf`); tests/tests/modules.rs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use image::Elf;
use image::consts::ET_REL;

use super::attach;
use crate::cmd::files;

/// The program that gives this file its sections, if it is not done here.
pub fn objcopy(elf: &Elf<'_>) -> Option<OsString> {
    let program = std::env::var_os("LLVM_OBJCOPY").filter(|program| !program.is_empty());
    program.filter(|_| elf.header().file_type == ET_REL.0)
}

/// Gives the module at `path` its sections: `objcopy` adds those that it does not have.
pub fn embed(
    objcopy: &OsStr,
    path: &Path,
    elf: &Elf<'_>,
    sections: &[(&str, Vec<u8>)],
) -> anyhow::Result<()> {
    let there = |(name, bytes)| Some((elf.section(name)?.0 as usize, bytes));
    let replaced: Vec<(usize, &[u8])> =
        sections.iter().filter_map(|(name, bytes)| there((name, bytes.as_slice()))).collect();
    let added: Vec<_> = sections.iter().filter(|(name, _)| elf.section(name).is_none()).collect();
    let attached = match replaced.as_slice() {
        [] => None,
        replaced => Some(attach::replace(elf, replaced)?),
    };
    let parts = match &attached {
        None => [elf.data(), &[]],
        Some(attached) => [&attached.head[..], &attached.tail[..]],
    };
    if added.is_empty() {
        return files::replace(path, &parts).context("cannot be written");
    }
    let dir = tempfile::tempdir()?;
    let module = dir.path().join("module.ko");
    fs::write(&module, parts.concat())?;
    // It may be words of the shell, as in Kbuild: a wrapper and the program.
    let mut words = objcopy.to_owned();
    words.push(" \"$@\"");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(words).arg("sh");
    // GNU objcopy puts what is named last first.
    for (name, bytes) in added.into_iter().rev() {
        let contents = dir.path().join(name);
        fs::write(&contents, bytes)?;
        let mut section = OsString::from(format!("{name}="));
        section.push(&contents);
        shell.arg("--add-section").arg(section);
    }
    let status = shell.arg(&module).status().context("sh")?;
    ensure!(status.success(), "LLVM_OBJCOPY={}: {status}", objcopy.display());
    files::replace(path, &[&fs::read(&module)?]).context("cannot be written")
}
