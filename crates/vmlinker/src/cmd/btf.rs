//! `vmlinker btf`: tools for people around BTF.

mod dump;
mod input;

use std::process::ExitCode;

/// Look at BTF, compare it, check it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Dump(dump::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Dump(args) => dump::run(args),
    }
}
