//! `vmlinker btf stat`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use btf::{Btf, Stat, TypeId};

use super::input::{self, Blob};

/// Print what a file's BTF consists of: types and bytes by kind, and the largest types
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An ELF file with a section .BTF, or a BTF blob
    file: PathBuf,
    /// The file that split BTF (a module's) goes on from
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// How many of the largest types to print
    #[arg(long, value_name = "N", default_value_t = 10)]
    largest: usize,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let base_blob = args.base.as_deref().map(Blob::read).transpose()?;
    let base = base_blob.as_ref().map(|blob| blob.parse(None)).transpose()?;
    let blob = Blob::read(&args.file)?;
    let btf = blob.parse(base.as_ref())?;
    let stat = btf::stat(&btf, args.largest);
    input::print(|out| table(&btf, &stat, out))?;
    Ok(ExitCode::SUCCESS)
}

fn table(btf: &Btf<'_>, stat: &Stat, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{:<12} {:>9} {:>9} {:>11} {:>6}", "kind", "types", "entries", "bytes", "%")?;
    let mut row = |name: &str, types: u64, entries: u64, bytes: u64| {
        let percent = bytes as f64 * 100.0 / stat.total as f64;
        writeln!(out, "{name:<12} {types:>9} {entries:>9} {bytes:>11} {percent:>6.1}")
    };
    let mut entries = 0;
    for (kind, count) in &stat.kinds {
        row(&kind.to_string(), count.types, count.entries, count.bytes)?;
        entries += count.entries;
    }
    row("all types", btf.len() as u64, entries, stat.types)?;
    row("strings", stat.string_count, 0, stat.strings)?;
    if stat.layout > 0 {
        row("layout", 0, 0, stat.layout)?;
    }
    row("blob", 0, 0, stat.total)?;
    if !stat.largest.is_empty() {
        writeln!(out, "\nlargest types (bytes)")?;
    }
    for &(id, bytes) in &stat.largest {
        writeln!(out, "{bytes:>9}  {}", title(btf, id))?;
    }
    Ok(())
}

fn title(btf: &Btf<'_>, id: TypeId) -> String {
    let Some(ty) = btf.get(id) else { return format!("[{id}]") };
    let name = btf.name(ty.name_off).map(String::from_utf8_lossy).unwrap_or_default();
    let name = if name.is_empty() { "(anon)".into() } else { name };
    format!("[{id}] {} {name}, {} entries", ty.kind, ty.vlen)
}
