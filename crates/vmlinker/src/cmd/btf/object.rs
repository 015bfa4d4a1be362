//! `vmlinker btf object`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use super::input::Blob;
use crate::cmd::files;

/// Make an object file of BTF, for the linker
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A BTF blob, or an ELF file with a section .BTF
    file: PathBuf,
    /// Any object of the kernel: class, byte order and machine are taken from it
    #[arg(long, value_name = "OBJECT")]
    template: PathBuf,
    /// Where to write it
    #[arg(short, long, value_name = "OBJECT")]
    output: PathBuf,
    /// Alignment of the section in bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    align: u64,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let blob = Blob::read(&args.file)?;
    let btf = blob.parse(None)?;
    let named = || args.template.display().to_string();
    let template = fs::read(&args.template).with_context(named)?;
    let header = image::Elf::parse(&template).with_context(named)?.header();
    if header.endian != btf.endian() {
        return Err(anyhow!("its byte order is not that of {}", args.file.display()))
            .with_context(named);
    }
    let object = btf::to_object(btf.data(), &header, args.align)?;
    let named = || args.output.display().to_string();
    files::replace(&args.output, &[&object]).with_context(named)?;
    Ok(ExitCode::SUCCESS)
}
