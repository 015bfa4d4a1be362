//! `vmlinker sorttable`: the kernel's scripts/sorttable, with its arguments.
//!
//! It sorts the tables of each file in place. All of a file's changes are known, and known to lie
//! within it, before the first byte is written. What the kernel's tool has compiled in (which tables
//! there are, and how this kernel sorts them) is read from the tree: scripts/sorttable.c and
//! include/config/auto.conf.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use image::{Elf, Patch, consts};
use sorttable::{BoundsSource, Dialect, Functions, Options};

/// The kernel's configuration, relative to the object tree.
const AUTO_CONF: &str = "include/config/auto.conf";

/// Sorts the exception table, the ORC tables and the ftrace locations of linked kernels, in place.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// List of functions, as `nm -S vmlinux` writes it: ftrace locations outside all of them become 0.
    #[arg(short = 's', value_name = "SYMS")]
    functions: Option<PathBuf>,
    /// The kernel's scripts/sorttable.c [default: under the working directory or $srctree].
    #[arg(long, value_name = "FILE")]
    dialect_from: Option<PathBuf>,
    /// Sort ORC tables; used without include/config/auto.conf, which has CONFIG_UNWINDER_ORC.
    #[arg(long)]
    orc: bool,
    /// Sort ftrace locations; used without include/config/auto.conf, which has
    /// CONFIG_BUILDTIME_MCOUNT_SORT.
    #[arg(long)]
    mcount: bool,
    /// Linked kernels.
    #[arg(value_name = "VMLINUX")]
    files: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.files.is_empty() {
        // PARITY: the kernel's tool succeeds here. Test: cli_arguments in crates/vmlinker/tests.
        eprintln!("usage: sorttable [-s nm-file] vmlinux...");
        return Ok(ExitCode::SUCCESS);
    }
    let source = sorttable_source(args)?;
    let (orc, mcount) = configured(args)?;
    let functions = match &args.functions {
        // The kernel's tool opens the list only when it can use it.
        Some(path) if mcount => {
            let list =
                fs::read(path).with_context(|| format!("Could not parse {}", path.display()));
            Some(Functions::parse(&list?))
        }
        _ => None,
    };
    let mut options = Options { orc, mcount, functions, ..Options::default() };
    let mut failed = false;
    for path in &args.files {
        if let Err(error) = sort_file(path, &source, &mut options) {
            eprintln!("{error:#}");
            failed = true;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Where the tree's sorttable.c is.
fn sorttable_source(args: &Args) -> anyhow::Result<PathBuf> {
    if let Some(path) = &args.dialect_from {
        return Ok(path.clone());
    }
    let srctree = std::env::var_os("srctree").map(PathBuf::from);
    let trees = [Some(PathBuf::from(".")), srctree];
    let mut sources = trees.into_iter().flatten().map(|tree| tree.join("scripts/sorttable.c"));
    sources.find(|path| path.exists()).context(
        "no scripts/sorttable.c in the working directory or $srctree: name it with --dialect-from",
    )
}

/// Whether this kernel has ORC tables and sorted ftrace locations.
fn configured(args: &Args) -> anyhow::Result<(bool, bool)> {
    match fs::read_to_string(AUTO_CONF) {
        Ok(conf) => {
            let has = |option: &str| conf.lines().any(|line| line == format!("{option}=y"));
            Ok((has("CONFIG_UNWINDER_ORC"), has("CONFIG_BUILDTIME_MCOUNT_SORT")))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((args.orc, args.mcount)),
        Err(error) => Err(error).context(AUTO_CONF),
    }
}

/// The dialect of the tree of `source`, with the ORC entries of `machine` (`e_machine`).
fn dialect(source: &Path, machine: u16) -> anyhow::Result<Dialect> {
    let scripts = source.parent().unwrap_or(Path::new(""));
    let arch = if machine == consts::EM_LOONGARCH.0 { "loongarch" } else { "x86" };
    let orc_types = format!("../tools/arch/{arch}/include/asm/orc_types.h");
    let mut sources = vec![fs::read(source).with_context(|| source.display().to_string())?];
    for path in [scripts.join("sorttable.h"), scripts.join(orc_types)] {
        match fs::read(&path) {
            Ok(text) => sources.push(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(path.display().to_string()),
        }
    }
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    Dialect::detect(&sources).with_context(|| source.display().to_string())
}

fn sort_file(path: &Path, source: &Path, options: &mut Options) -> anyhow::Result<()> {
    let name = path.display();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| path.display().to_string())?;
    ensure!(file.metadata()?.is_file(), "not a regular file: {name}");
    let patches = {
        let map = pipeline::map_open(&file);
        let map = map.with_context(|| format!("Could not mmap file: {name}"))?;
        let elf = Elf::parse(&map).with_context(|| path.display().to_string())?;
        options.dialect = dialect(source, elf.header().machine)?;
        if options.mcount && options.dialect.mcount_bounds == BoundsSource::SystemMap {
            // Without a System.map there are no bounds, which is what the core complains of.
            let map = fs::read("System.map").unwrap_or_default();
            options.mcount_bounds = Some(sorttable::bounds_from_system_map(&map));
        }
        let sorted = match sorttable::sort(&elf, options) {
            Ok(sorted) => sorted,
            Err(error) => bail!("{error}: {name}"),
        };
        if let Some(complaint) = &sorted.complaint {
            eprintln!("{complaint}: {name}");
        }
        check_patches(&sorted.patches, map.len() as u64)?;
        sorted.patches
    };
    write_patches(&file, &patches).with_context(|| path.display().to_string())
}

/// That every patch lies within the file.
fn check_patches(patches: &[Patch], len: u64) -> anyhow::Result<()> {
    for patch in patches {
        let end = patch.offset.checked_add(patch.bytes.len() as u64);
        ensure!(end.is_some_and(|end| end <= len), "{:#x}: outside the file", patch.offset);
    }
    Ok(())
}

fn write_patches(file: &File, patches: &[Patch]) -> std::io::Result<()> {
    patches.iter().try_for_each(|patch| file.write_all_at(&patch.bytes, patch.offset))
}
