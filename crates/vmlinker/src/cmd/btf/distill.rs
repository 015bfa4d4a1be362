//! `vmlinker btf distill`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use btf::HeaderForm;

use super::input::Blob;
use crate::cmd::files;

/// Give a module's BTF a base of its own, which stays when the kernel is built again
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The module, or its BTF as a blob
    file: PathBuf,
    /// The kernel that it is split on now
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// Where to write what goes on from the new base, for .BTF
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Where to write the new base, for .BTF.base
    #[arg(long, value_name = "FILE")]
    output_base: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let base_blob = Blob::read(&args.base)?;
    let base = base_blob.parse(None)?;
    let blob = Blob::read(&args.file)?;
    let split = blob.parse(Some(&base))?;
    let made = btf::distill(&split, HeaderForm::default())
        .with_context(|| format!("{}: .BTF", args.file.display()))?;
    let write = |path: &Path, bytes: &[u8]| {
        files::replace(path, &[bytes]).with_context(|| path.display().to_string())
    };
    write(&args.output_base, &made.base)?;
    write(&args.output, &made.split)?;
    Ok(ExitCode::SUCCESS)
}
