//! `vmlinker timeline`: where the time of a tree's last link went, beside the link before.
//!
//! The record is read here and everything is printed and written here; what is made of it is made by functions from
//! data to text: `bars` for a terminal, `page` (with `waterfall`) as HTML, `trace` for trace viewers. What they have in
//! common is in `view`.

mod bars;
mod page;
mod trace;
mod view;
mod waterfall;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use pipeline::timeline::Links;
use rustix::termios::tcgetwinsize;

use super::btf::print;
use super::files;
use bars::Look;

/// Shows where the time of a tree's last link went, step by step, beside the link before it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "On a terminal the bars are as wide as it, elsewhere 100 columns, and coloured unless \
                        NO_COLOR is set. They are made of # where the locale is not UTF-8."
)]
pub struct Args {
    /// The object tree.
    #[arg(short = 'C', value_name = "BUILD", default_value = ".")]
    build: PathBuf,
    /// Show this file, which 'relink --timings' wrote, instead of a tree's record.
    #[arg(long, value_name = "FILE", conflicts_with = "build")]
    file: Option<PathBuf>,
    /// Take the link in this file, which 'relink --timings' wrote, as the one before.
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
    /// Write one page of HTML here, with nothing outside of it.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write trace events here, as Perfetto and chrome://tracing open them.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut links = match &args.file {
        Some(file) => Links::read(file)?,
        None => Links::load(&args.build)?,
    };
    if let Some(file) = &args.beside {
        links.previous = Some(Links::read(file)?.link);
    }
    if let Some(path) = &args.html {
        write(path, &page::page(&links))?;
    }
    if let Some(path) = &args.trace {
        write(path, &trace::trace(&links).to_string())?;
    }
    let text = match (args.json, args.html.is_some() || args.trace.is_some()) {
        (true, _) => links.json()?,
        (false, true) => return Ok(ExitCode::SUCCESS),
        (false, false) => bars::bars(&links, &look()),
    };
    print(|out| out.write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    files::replace(path, &[text.as_bytes()]).with_context(|| path.display().to_string())
}

/// What standard output can show.
fn look() -> Look {
    let out = std::io::stdout();
    let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let terminal = out.is_terminal();
    let columns = tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col));
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(var).unwrap_or_default();
    let locale = locale.to_ascii_uppercase();
    Look {
        width: columns.filter(|&columns| terminal && columns > 0).unwrap_or(Look::WIDTH),
        colours: terminal
            && var("NO_COLOR").is_none()
            && var("TERM").is_some_and(|term| term != "dumb"),
        unicode: locale.ends_with("UTF-8") || locale.ends_with("UTF8"),
    }
}
