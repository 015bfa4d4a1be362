//! `vmlinker compare`: two kernel images, section by section.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use compare::{Comparison, SectionComparison, Verdict};
use image::Elf;

use super::files;

/// Compare two linked images section by section: what differs, where, and whether it means the same.
///
/// Exits with 0 if nothing differs in meaning, with 1 if something does, with 2 if a file cannot be read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images that differ in nothing but the build ID count as the same.
    #[arg(long)]
    ignore_build_id: bool,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
    /// Also name the sections that are the same.
    #[arg(short, long)]
    verbose: bool,
    /// The first image.
    a: PathBuf,
    /// The second image.
    b: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let comparison = match compared(args) {
        Ok(comparison) => comparison,
        Err(error) => {
            eprintln!("vmlinker: {error:#}");
            return Ok(ExitCode::from(2));
        }
    };
    if args.json {
        println!("{:#}", serde_json::to_value(&comparison)?);
    } else {
        print!("{}", text(&comparison, args.verbose));
    }
    let same = match comparison.verdict() {
        Verdict::Identical | Verdict::SameMeaning => true,
        Verdict::BuildId => args.ignore_build_id,
        Verdict::Different => false,
    };
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compared(args: &Args) -> anyhow::Result<Comparison> {
    let name = |path: &Path| path.display().to_string();
    let map = |path: &Path| files::map(path).with_context(|| name(path));
    let maps = (map(&args.a)?, map(&args.b)?);
    let a = Elf::parse(&maps.0).with_context(|| name(&args.a))?;
    let b = Elf::parse(&maps.1).with_context(|| name(&args.b))?;
    compare::compare(&a, &b).with_context(|| format!("{}, {}", name(&args.a), name(&args.b)))
}

fn text(comparison: &Comparison, verbose: bool) -> String {
    if comparison.same_file {
        return "the same bytes\n".to_owned();
    }
    let mut text = String::new();
    for clause in &comparison.headers {
        line(&mut text, format_args!("headers: {clause}"));
    }
    for section in &comparison.sections {
        if verbose || section.verdict != Verdict::Identical {
            describe(&mut text, section);
        }
    }
    let symbols = &comparison.symbols;
    if symbols.verdict != Verdict::Identical {
        let [a, b] = symbols.counts;
        let (missing, added) = (symbols.missing, symbols.added);
        line(&mut text, format_args!("symbols: {a} and {b}; {missing} missing, {added} added"));
        for symbol in &symbols.named {
            line(&mut text, format_args!("    {symbol}"));
        }
    }
    if let [Some(a), Some(b)] = &comparison.build_ids
        && a != b
    {
        line(&mut text, format_args!("build IDs: {a}, {b}"));
    }
    let verdict = match comparison.verdict() {
        Verdict::Identical => "the same bytes",
        Verdict::SameMeaning => "other bytes of the same meaning",
        Verdict::BuildId => "the same but for the build ID",
        Verdict::Different => "different",
    };
    line(&mut text, format_args!("{verdict}"));
    text
}

fn describe(text: &mut String, section: &SectionComparison) {
    let verdict = match section.verdict {
        Verdict::Identical => "identical",
        Verdict::SameMeaning => "same meaning",
        Verdict::BuildId => "build ID",
        Verdict::Different => "different",
    };
    let size = |size: Option<u64>| size.map_or("absent".to_owned(), |size| format!("{size:#x}"));
    let sizes = match section.sizes {
        [a, b] if a == b => size(a),
        [a, b] => format!("{} and {}", size(a), size(b)),
    };
    let why = section.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    line(
        text,
        format_args!(
            "{}: {verdict}{why} ({sizes} bytes, {} differ)",
            section.name, section.differing
        ),
    );
    if section.verdict == Verdict::Different {
        for span in &section.spans {
            let symbol = span.symbol.as_ref();
            let symbol = symbol.map_or(String::new(), |(name, into)| format!(" {name}+{into:#x}"));
            line(text, format_args!("    {:#x}, {:#x} bytes{symbol}", span.at, span.len));
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
