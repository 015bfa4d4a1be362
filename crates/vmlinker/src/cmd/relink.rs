//! `vmlinker relink`: a recorded link once more, without make.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use pipeline::timeline::Links;
use pipeline::{Jobs, Linker, Options, Relink, progress, say};

use super::files;
use super::stage_flags::StageFlags;

/// Runs the link of a built kernel tree again, from the record that a link by vmlinker left there.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The object tree.
    #[arg(short = 'C', value_name = "BUILD", default_value = ".")]
    build: PathBuf,
    /// Write the kernel here and System.map to FILE.System.map (and separate debug information to FILE.debug), and leave the tree's own files alone. What the tree
    /// remembers of its last link's sizes is used, and stays as it is.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With --output: remember the sizes in the tree all the same, for the next lean link.
    #[arg(long, requires = "output")]
    remember: bool,
    /// Run the tree's own link-vmlinux.sh, for comparison.
    #[arg(long, conflicts_with_all = ["schedule", "engine", "cold", "remember", "verify", "debug_info"])]
    script: bool,
    /// Link with this program instead of the recorded linker, for example ld.lld; vmlinker and, with
    /// --script, the tree's own script alike. For ARCH=um, which links through the C compiler, it
    /// changes nothing.
    #[arg(long, value_name = "PROGRAM")]
    ld: Option<String>,
    /// Compile init/version-timestamp.o anew first, as a link through make does.
    #[arg(long)]
    timestamp: bool,
    /// Write the timeline here, as JSON: 'vmlinker timeline' reads it.
    #[arg(long, value_name = "FILE")]
    timings: Option<PathBuf>,
    /// Threads for native steps. Default: all cores, or what make grants.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Print no lines for steps, and show no progress.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    flags: StageFlags,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let jobs = args.jobs.map_or_else(Jobs::from_env, |jobs| Jobs::Fixed(jobs.into()));
    pipeline::watch_signals()?;
    if args.quiet {
        say::be_quiet();
    } else {
        progress::show();
    }
    let linker = match args.script {
        true => Linker::Script,
        false => Linker::Vmlinker(args.flags.engines()),
    };
    let options = Options {
        schedule: args.flags.schedule,
        keep_timestamp: !args.timestamp,
        cold: args.flags.cold,
        remember: args.remember || args.output.is_none(),
        verify: args.flags.verify,
        debug_info: args.flags.debug_info,
    };
    let (build, output, ld) = (args.build.clone(), args.output.clone(), args.ld.clone());
    let relink = Relink { build, output, linker, options, ld };
    let link = relink.run(&jobs)?;
    if let Some(path) = &args.timings {
        let text = Links::new(link).json()?;
        files::replace(path, &[text.as_bytes()]).with_context(|| path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
