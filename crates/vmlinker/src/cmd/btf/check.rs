//! `vmlinker btf check`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use btf::{Btf, CheckOptions, Fault};

use super::input::{self, Blob};

/// Say whether the kernel would take the BTF, and why not; the exit status is 1 if it would not
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An ELF file with a section .BTF, or a BTF blob
    file: PathBuf,
    /// The file that split BTF (a module's) goes on from
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Also the rules for what programs load: that each type comes to an end
    #[arg(long)]
    program: bool,
    /// By the rules of this kernel source instead of Linux 7.3
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let base_blob = args.base.as_deref().map(Blob::read).transpose()?;
    let base = base_blob.as_ref().map(|blob| blob.parse(None)).transpose()?;
    let blob = Blob::read(&args.file)?;
    let btf = blob.parse(base.as_ref())?;
    let rules = match &args.tree {
        Some(tree) => rules_of(tree)?,
        None => CheckOptions::newest(),
    };
    let pointer_size = blob.pointer_size.unwrap_or_else(|| btf::pointer_size(&btf));
    let faults = btf::check(&btf, &CheckOptions { program: args.program, pointer_size, ..rules });
    input::print(|out| {
        for fault in &faults {
            writeln!(out, "{}", report(&btf, fault))?;
        }
        match (faults.is_empty(), &args.base) {
            (true, _) => writeln!(out, "ok"),
            (false, None) => writeln!(out, "the kernel refuses this BTF"),
            (false, Some(base)) => {
                let base = base.display();
                writeln!(
                    out,
                    "the kernel refuses this BTF: was it made for another kernel than {base}?"
                )
            }
        }
    })?;
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A fault with the type's kind and name.
fn report(btf: &Btf<'_>, fault: &Fault) -> String {
    let ty = fault.id.and_then(|id| btf.get(id));
    let Some((id, ty)) = fault.id.zip(ty) else { return fault.to_string() };
    let name = btf.name(ty.name_off).map(String::from_utf8_lossy).unwrap_or_default();
    let space = if name.is_empty() { "" } else { " " };
    format!("[{id}] {}{space}{name}: {}", ty.kind, fault.rule)
}

/// The rules as the source of a kernel shows them.
fn rules_of(tree: &Path) -> anyhow::Result<CheckOptions> {
    let read = |file: &str| {
        let path = tree.join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let (reader, format) = (read("kernel/bpf/btf.c")?, read("include/uapi/linux/btf.h")?);
    Ok(CheckOptions {
        attributes: reader.contains("btf_type_kflag(t) && !btf_type_is_type_tag(t)"),
        wide_info: !reader.contains("BTF_INFO_MASK"),
        printable_sections: reader.contains("isprint"),
        layout: format.contains("struct btf_layout"),
        ..CheckOptions::newest()
    })
}
