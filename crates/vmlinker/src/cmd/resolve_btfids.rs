//! `vmlinker resolve_btfids`: the kernel's tool of that name, in both of its forms.
//!
//! To Linux 6.19 it works in place: the types are the file's own, and their ids are put into the file. From
//! 7.0 on the types come from a file (`--btf`), and the contents of the sections are written to files beside
//! the image. Which form is wanted shows in the options: the second if `--btf` or `--distill_base` is there.
//!
//! Everything is computed before the first byte is written. The lines on standard error and the exit
//! status (255 on a failure) are the peer's; only the causes of a failure to read are our own words.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use btf::Btf;
use btf_ids::{KernelBtf, KernelOptions, Options, Resolution, Warning};
use image::{Elf, Endianness, Patch};
use memmap2::Mmap;

use super::files;

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
    /// Exit with 255 after a warning; the file is patched all the same. With --btf it has no effect, as
    /// with the kernel's tool.
    #[arg(long = "fatal_warnings")]
    fatal_warnings: bool,
    /// The types, plain BTF or an ELF file: writes FILE.BTF and FILE.BTF_ids (Linux 7.0 and later) and
    /// leaves FILE as it is.
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Make a base of their own for the types of a module, and write it to FILE.BTF.base.
    #[arg(long = "distill_base")]
    distill_base: bool,
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
    if args.btf.is_some() || args.distill_base {
        detached(args, &elf)?;
        return Ok(ExitCode::SUCCESS);
    }
    let resolution = resolve(args, &elf)?;
    report(args, &resolution.trace, &resolution.warnings);
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
    let base_map = base_path.map(map_at).transpose()?;
    let base = base_map.as_ref().map(base).transpose()?;
    let from = || format!("FAILED: load BTF from {}", args.file.display());
    match btf_ids::resolve(elf, base.as_ref(), &options) {
        Err(error @ (btf_ids::Error::Btf(_) | btf_ids::Error::NoBtf)) => {
            Err(error).with_context(from)
        }
        other => Ok(other?),
    }
}

/// The types of a base.
fn base<'m>((path, map): &'m (&Path, Mmap)) -> anyhow::Result<Btf<'m>> {
    let from = || format!("FAILED: load base BTF from {}", path.display());
    Btf::parse(plain(map).with_context(from)?).with_context(from)
}

/// The BTF of a file: the file itself if it is plain BTF, else its `.BTF`.
fn plain(data: &[u8]) -> anyhow::Result<&[u8]> {
    let magic = data.first_chunk::<2>().copied().map(u16::from_le_bytes);
    if magic.is_some_and(|magic| [btf::MAGIC, btf::MAGIC.swap_bytes()].contains(&magic)) {
        return Ok(data);
    }
    let elf = Elf::parse(data)?;
    let (_, section) = elf.section(".BTF").context("the file has no .BTF section")?;
    Ok(elf.bytes(section)?)
}

/// The form of Linux 7.0 and later: writes the contents of the sections to files.
fn detached(args: &Args, elf: &Elf<'_>) -> anyhow::Result<()> {
    let KernelBtf { btf, base, ids, warnings, trace } = kernel_btf(args, elf)?;
    let verbose = args.verbose > 0;
    let foreign = elf.section(".BTF_ids").is_some() && elf.endian() != Endianness::default();
    if verbose && foreign {
        eprintln!("bswap_32 .BTF_ids data from target to host endianness");
    }
    if verbose && ids.is_none() {
        eprintln!("Cannot find .BTF_ids or symbols sections, skip symbols resolution");
    }
    report(args, &trace, &warnings);
    if verbose && foreign && ids.is_some() {
        eprintln!("bswap_32 .BTF_ids data from host to target endianness");
    }
    for (section, bytes) in [(".BTF_ids", ids), (".BTF", Some(btf)), (".BTF.base", base)] {
        let Some(bytes) = bytes else { continue };
        let path = beside(&args.file, section);
        files::replace(&path, &[&bytes])
            .with_context(|| format!("Failed to write data to {}", path.display()))?;
        if verbose {
            eprintln!("Dumped {} bytes of data to {}", bytes.len(), path.display());
        }
    }
    Ok(())
}

fn kernel_btf(args: &Args, elf: &Elf<'_>) -> anyhow::Result<KernelBtf> {
    let base_map = args.btf_base.as_deref().map(map_at).transpose()?;
    let base = base_map.as_ref().map(base).transpose()?;
    let path = args.btf.as_deref().unwrap_or(&args.file);
    let from = || format!("FAILED: load BTF from {}", path.display());
    let (_, types_map) = map_at(path)?;
    let bytes = plain(&types_map).with_context(from)?;
    let types = match &base {
        Some(base) => Btf::parse_split(bytes, base),
        None => Btf::parse(bytes),
    };
    let types = types.with_context(from)?;
    let options = KernelOptions {
        distill_base: args.distill_base,
        trace: args.verbose > 0,
        explain: args.explain,
    };
    match btf_ids::kernel_btf(elf, &types, &options) {
        Err(error) if error.is_in_types() => Err(error).with_context(from),
        other => Ok(other?),
    }
}

/// The path of a section's contents beside the image.
fn beside(image: &Path, section: &str) -> PathBuf {
    let mut path = image.as_os_str().to_owned();
    path.push(section);
    path.into()
}

fn report(args: &Args, trace: &[String], warnings: &[Warning]) {
    if args.verbose > 0 {
        trace.iter().for_each(|line| eprintln!("{line}"));
    }
    for warning in warnings {
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

/// A file that is only read, with its path.
fn map_at(path: &Path) -> anyhow::Result<(&Path, Mmap)> {
    let file = File::open(path);
    let file = file.with_context(|| format!("FAILED cannot open {}", path.display()))?;
    Ok((path, map(&file, path)?))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("FAILED cannot open {}", path.display()))
}

fn map(file: &File, path: &Path) -> anyhow::Result<Mmap> {
    pipeline::map_open(file).with_context(|| format!("FAILED cannot read {}", path.display()))
}
