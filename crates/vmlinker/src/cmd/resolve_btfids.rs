//! `vmlinker resolve_btfids`: the kernel's tool of that name, in place.
//!
//! Everything is computed before the first byte is written. The lines on standard error and the exit
//! status (255 on a failure) are the peer's; only the causes of a failure to read are our own words.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use btf::Btf;
use btf_ids::{Options, Resolution};
use image::{Elf, Patch};
use memmap2::Mmap;

/// What the peer exits with when it fails.
const FAILED: u8 = 255;

/// Fill .BTF_ids of a linked kernel or module from its BTF, as the kernel's resolve_btfids does.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print what is done with each symbol.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// The file (ELF or plain BTF) that a module's types are split on.
    #[arg(short, long = "btf_base", value_name = "FILE")]
    btf_base: Option<PathBuf>,
    /// Accepted for old kernels: a file without .BTF_ids is never an error.
    #[arg(long = "no-fail")]
    no_fail: bool,
    /// Exit with 255 after a warning; the file is patched all the same.
    #[arg(long = "fatal_warnings")]
    fatal_warnings: bool,
    /// Put the contents of this file into .BTF_ids and resolve nothing.
    #[arg(long = "patch_btfids", value_name = "FILE")]
    patch_btfids: Option<PathBuf>,
    /// Add a line to each warning on its reason.
    #[arg(long)]
    explain: bool,
    /// The kernel or module.
    file: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match execute(args) {
        Ok(code) => Ok(code),
        Err(error) => {
            eprintln!("{error:#}");
            Ok(ExitCode::from(FAILED))
        }
    }
}

fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let path = &args.file;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("FAILED cannot open {}", path.display()))?;
    let map = map(&file, path)?;
    let elf = Elf::parse(&map).with_context(|| format!("FAILED {}", path.display()))?;
    if let Some(ids) = &args.patch_btfids {
        let bytes = read(ids)?;
        let patch = btf_ids::patch_from_file(&elf, &bytes)
            .with_context(|| format!("FAILED: {}", path.display()))?;
        write(&file, path, &[patch])?;
        return Ok(ExitCode::SUCCESS);
    }
    let resolution = resolve(args, &elf)?;
    report(args, &resolution);
    write(&file, path, &resolution.patches)?;
    if args.verbose > 0 {
        match resolution.patches.is_empty() {
            true => eprintln!("Cannot find .BTF_ids or symbols sections, nothing to do"),
            false => eprintln!("update ok for {}", path.display()),
        }
    }
    let failed = args.fatal_warnings && !resolution.warnings.is_empty();
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn resolve(args: &Args, elf: &Elf<'_>) -> anyhow::Result<Resolution> {
    let options = Options { trace: args.verbose > 0, explain: args.explain };
    let base_path = args.btf_base.as_deref().filter(|_| btf_ids::wants_base(elf));
    let base_map = base_path.map(|path| map(&open(path)?, path)).transpose()?;
    let base = match (base_path, &base_map) {
        (Some(path), Some(map)) => Some(
            base(map).with_context(|| format!("FAILED: load base BTF from {}", path.display()))?,
        ),
        _ => None,
    };
    let from = || format!("FAILED: load BTF from {}", args.file.display());
    match btf_ids::resolve(elf, base.as_ref(), &options) {
        Err(error @ (btf_ids::Error::Btf(_) | btf_ids::Error::NoBtf)) => {
            Err(error).with_context(from)
        }
        other => Ok(other?),
    }
}

/// The types of a base: the file itself if it is plain BTF, else its `.BTF`.
fn base(data: &[u8]) -> anyhow::Result<Btf<'_>> {
    let magic = data.first_chunk::<2>().copied().map(u16::from_le_bytes);
    if magic.is_some_and(|magic| [btf::MAGIC, btf::MAGIC.swap_bytes()].contains(&magic)) {
        return Ok(Btf::parse(data)?);
    }
    let elf = Elf::parse(data)?;
    let (_, section) = elf.section(".BTF").context("the file has no .BTF section")?;
    Ok(Btf::parse(elf.bytes(section)?)?)
}

fn report(args: &Args, resolution: &Resolution) {
    if args.verbose > 0 {
        resolution.trace.iter().for_each(|line| eprintln!("{line}"));
    }
    for warning in &resolution.warnings {
        if args.verbose == 0 {
            eprintln!("{warning}");
        }
        if args.explain {
            eprintln!("      {}", warning.help());
        }
    }
}

fn write(file: &File, path: &Path, patches: &[Patch]) -> anyhow::Result<()> {
    for patch in patches {
        file.write_all_at(&patch.bytes, patch.offset)
            .with_context(|| format!("FAILED to write {}", path.display()))?;
    }
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("FAILED cannot open {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("FAILED cannot open {}", path.display()))
}

fn map(file: &File, path: &Path) -> anyhow::Result<Mmap> {
    pipeline::map_open(file).with_context(|| format!("FAILED cannot read {}", path.display()))
}
