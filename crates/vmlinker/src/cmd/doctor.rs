//! `vmlinker doctor`: what a link of a tree would do, and what would stop it.

use std::path::PathBuf;
use std::process::ExitCode;

use pipeline::{doctor, say};

use super::stage_flags::StageFlags;

/// Looks at a kernel tree and says what a link would do there, what falls back and why, what is missing, and what to do
/// about it. Nothing is linked or written.
///
/// Exits with 0 if a link would work, with 1 if something would stop it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The object tree: where the kernel was built.
    #[arg(short = 'C', value_name = "BUILD", default_value = ".")]
    build: PathBuf,
    #[command(flatten)]
    flags: StageFlags,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let StageFlags { schedule, cold, verify, debug_info, .. } = args.flags;
    let engines = args.flags.engines();
    let request = doctor::Request { engines, schedule, cold, verify, debug_info };
    let report = doctor::examine(&args.build, &request);
    let text = if args.json { format!("{:#}", report.json()) } else { report.text() };
    say::line(text.trim_end())?;
    Ok(if report.works() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
