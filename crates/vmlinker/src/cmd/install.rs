//! `vmlinker install` and `vmlinker uninstall`.

use std::path::PathBuf;
use std::process::ExitCode;

use pipeline::install;

/// A kernel's source tree.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The source tree: where the kernel's own Makefile is.
    srctree: PathBuf,
}

/// Puts this program into a kernel tree.
pub fn install(args: &Args) -> anyhow::Result<ExitCode> {
    install::install(&args.srctree, &std::env::current_exe()?)?;
    println!("vmlinker links the kernels that are built from {}", args.srctree.display());
    Ok(ExitCode::SUCCESS)
}

/// Restores the kernel's own script.
pub fn uninstall(args: &Args) -> anyhow::Result<ExitCode> {
    install::uninstall(&args.srctree)?;
    println!("{} has its own link-vmlinux.sh again", args.srctree.display());
    Ok(ExitCode::SUCCESS)
}
