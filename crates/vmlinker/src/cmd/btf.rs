//! `vmlinker btf`: tools for people around BTF.

mod check;
mod diff;
mod distill;
mod dump;
mod explain;
mod input;
mod object;
mod stat;

use std::process::ExitCode;

pub use input::print;

/// Look at BTF, compare it, check it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Dump(dump::Args),
    Diff(diff::Args),
    Stat(stat::Args),
    Check(check::Args),
    Object(object::Args),
    Distill(distill::Args),
    Explain(explain::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Dump(args) => dump::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Stat(args) => stat::run(args),
        Command::Check(args) => check::run(args),
        Command::Object(args) => object::run(args),
        Command::Distill(args) => distill::run(args),
        Command::Explain(args) => explain::run(args),
    }
}
