//! `vmlinker kallsyms`: the kernel's `scripts/kallsyms` with its own arguments, the tables as an object
//! without an assembler, and the symbols of a linked kernel.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use kallsyms::{Dialect, Options, Tables, Warning, parse_map, reader};

use super::files;

/// Makes the kernel's symbol table from a symbol list, or lists the one of a linked kernel
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Not only the symbols of code
    #[arg(long)]
    all_symbols: bool,
    /// Store per-CPU symbols as they are (kernels to 6.14)
    #[arg(long)]
    absolute_percpu: bool,
    /// Store offsets instead of addresses (kernels to 6.9)
    #[arg(long)]
    base_relative: bool,
    /// Order names without the suffixes of clang's link-time optimisation (kernels to 6.9)
    #[arg(long)]
    lto_clang: bool,
    /// Store offsets from their own place (kernels from 7.0)
    #[arg(long)]
    pc_relative: bool,
    /// The tree's scripts/kallsyms.c, which says what form the tables have; without it
    /// $srctree/scripts/kallsyms.c or scripts/kallsyms.c
    #[arg(long, value_name = "FILE")]
    dialect_from: Option<PathBuf>,
    /// Write an object that links with this one instead of assembler text
    #[arg(long, value_name = "TEMPLATE.o")]
    object: Option<PathBuf>,
    /// Where to write; standard output without it
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print what /proc/kallsyms of this kernel would print
    #[arg(long, value_name = "VMLINUX", conflicts_with = "map")]
    list: Option<PathBuf>,
    /// The symbol list, as scripts/mksysmap makes it
    #[arg(value_name = "in.map", required_unless_present = "list")]
    map: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let out = match (&args.list, &args.map) {
        (Some(vmlinux), _) => list(vmlinux)?,
        (None, Some(map)) => make(args, map)?,
        (None, None) => bail!("a symbol list or --list is needed"),
    };
    match &args.output {
        Some(path) => files::replace(path, &[&out]).with_context(|| path.display().to_string())?,
        None => std::io::stdout().lock().write_all(&out).context("standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(vmlinux: &Path) -> anyhow::Result<Vec<u8>> {
    let context = || vmlinux.display().to_string();
    let data = files::map(vmlinux).with_context(context)?;
    let elf = image::Elf::parse(&data).with_context(context)?;
    let symbols = reader::read(&elf).with_context(context)?;
    Ok(reader::write_list(&symbols, elf.class()))
}

fn make(args: &Args, map: &Path) -> anyhow::Result<Vec<u8>> {
    let dialect = dialect(args)?;
    let text = fs::read(map).with_context(|| map.display().to_string())?;
    let context = || map.display().to_string();
    let (entries, warnings) = parse_map(&text, &dialect).with_context(context)?;
    print(&warnings);
    let options = Options {
        all_symbols: args.all_symbols,
        absolute_percpu: args.absolute_percpu,
        base_relative: args.base_relative,
        lto_clang: args.lto_clang,
        pc_relative: args.pc_relative,
    };
    print(&kallsyms::warnings(&entries, &dialect));
    let (tables, _) = Tables::build(&entries, &dialect, &options).with_context(context)?;
    match &args.object {
        None => Ok(tables.to_asm()),
        Some(template) => {
            let context = || template.display().to_string();
            let data = files::map(template).with_context(context)?;
            let header = image::Elf::parse(&data).with_context(context)?.header();
            tables.to_object(&header).with_context(context)
        }
    }
}

fn print(warnings: &[Warning]) {
    for warning in warnings {
        eprintln!("{warning}");
    }
}

/// The dialect of the tree, which must know the options.
fn dialect(args: &Args) -> anyhow::Result<Dialect> {
    let path = match (&args.dialect_from, std::env::var_os("srctree")) {
        (Some(path), _) => path.clone(),
        (None, Some(tree)) => Path::new(&tree).join("scripts/kallsyms.c"),
        (None, None) => PathBuf::from("scripts/kallsyms.c"),
    };
    let context = || path.display().to_string();
    let dialect = Dialect::detect(&fs::read(&path).with_context(context)?).with_context(context)?;
    let accepts = dialect.accepts;
    let given = [
        ("--absolute-percpu", args.absolute_percpu, accepts.absolute_percpu),
        ("--base-relative", args.base_relative, accepts.base_relative),
        ("--lto-clang", args.lto_clang, accepts.lto_clang),
        ("--pc-relative", args.pc_relative, accepts.pc_relative),
    ];
    if let Some((name, ..)) = given.iter().find(|(_, given, accepted)| *given && !accepted) {
        bail!("{}: this kernel's kallsyms has no option {name}", path.display());
    }
    Ok(dialect)
}
