//! `vmlinker sysmap`: System.map of an image, as `nm -n VMLINUX | sed -f scripts/mksysmap` prints it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;

use super::files;

/// Writes System.map of a vmlinux.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image.
    vmlinux: PathBuf,
    /// The tree's scripts/mksysmap, which says what is left out.
    #[arg(long, value_name = "FILE", required_unless_present = "nm_only")]
    filter: Option<PathBuf>,
    /// Leave nothing out: the output of `nm -n`.
    #[arg(long, conflicts_with = "filter")]
    nm_only: bool,
    /// Whose nm to be like.
    #[arg(long, value_enum, default_value = "gnu")]
    flavor: Flavor,
    /// The file to write; standard output if not given.
    #[arg(short, value_name = "OUT")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Flavor {
    /// GNU nm.
    Gnu,
    /// llvm-nm.
    Llvm,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let flavor = match args.flavor {
        Flavor::Gnu => sysmap::Flavor::Gnu,
        Flavor::Llvm => sysmap::Flavor::Llvm,
    };
    let image = files::map(&args.vmlinux).with_context(|| args.vmlinux.display().to_string())?;
    let elf = image::Elf::parse(&image).with_context(|| args.vmlinux.display().to_string())?;
    let entries = match &args.filter {
        Some(path) => {
            let script = std::fs::read(path).with_context(|| path.display().to_string())?;
            let filter =
                sysmap::Filter::parse(&script).with_context(|| path.display().to_string())?;
            sysmap::system_map_as(&elf, &filter, flavor)
        }
        None => sysmap::nm_as(&elf, flavor),
    };
    let entries = entries.with_context(|| args.vmlinux.display().to_string())?;
    let text = sysmap::write_map(&entries, elf.class());
    match &args.output {
        // Its mode is a new file's.
        Some(path) => pipeline::write_beside(path, &[&text], None)
            .with_context(|| path.display().to_string())?,
        None => std::io::stdout().lock().write_all(&text).context("standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}
