//! `vmlinker btf diff`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use btf::Difference;

use super::input::{self, Blob};

/// Print what two files differ in by meaning; the exit status is 1 if they do
///
/// Ids, order and strings do not count. "+" is only in the second file, "-" only in the first, "!" in
/// both but not the same.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An ELF file with a section .BTF, or a BTF blob
    first: PathBuf,
    /// What to compare it with
    second: PathBuf,
    /// The file that both go on from, if they are split BTF (modules)
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Only the number of differences
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let base_blob = args.base.as_deref().map(Blob::read).transpose()?;
    let base = base_blob.as_ref().map(|blob| blob.parse(None)).transpose()?;
    let blobs = [Blob::read(&args.first)?, Blob::read(&args.second)?];
    let (first, second) = (blobs[0].parse(base.as_ref())?, blobs[1].parse(base.as_ref())?);
    let found = btf::diff(&first, &second).context("these cannot be compared")?;
    input::print(|out| {
        for difference in found.iter().filter(|_| !args.quiet) {
            writeln!(out, "{difference}")?;
        }
        writeln!(out, "{}", summary(&found))
    })?;
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(found: &[Difference]) -> String {
    let mut counts: BTreeMap<btf::Section, usize> = BTreeMap::new();
    found.iter().for_each(|difference| *counts.entry(difference.section).or_default() += 1);
    let parts: Vec<_> =
        counts.iter().map(|(section, count)| format!("{section}: {count}")).collect();
    match found.len() {
        0 => "no difference".to_owned(),
        count => format!("{count} differences ({})", parts.join(", ")),
    }
}
