//! The command line of vmlinker.
//!
//! A subcommand is either the whole stage (`plan`, `link`, `relink`, `timeline`, `install`, `doctor`) or one of the kernel's
//! own tools under its own name and with its own arguments (`kallsyms`, `sorttable`,
//! `resolve_btfids`), so that a single one can be swapped into a kernel build.

mod cmd;
mod memory;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use pipeline::say;

/// A drop-in for the Linux kernel's link-vmlinux.sh: the same vmlinux, byte for byte, sooner.
#[derive(Debug, Parser)]
#[command(name = "vmlinker", version = env!("VMLINKER_VERSION"))]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Memory that runs out is told as any other fault.
#[global_allocator]
static HEAP: pipeline::Heap<memory::Allocator> = pipeline::Heap(memory::Allocator);

#[derive(Debug, Subcommand)]
enum Command {
    Plan(cmd::plan::Args),
    Link(cmd::link::Args),
    Record(cmd::record::Args),
    Relink(cmd::relink::Args),
    Doctor(cmd::doctor::Args),
    Timeline(cmd::timeline::Args),
    /// Puts vmlinker into a kernel tree, in the place of scripts/link-vmlinux.sh.
    Install(cmd::install::Args),
    /// Takes vmlinker out of a kernel tree and restores the kernel's own script.
    Uninstall(cmd::install::Args),
    Sysmap(cmd::sysmap::Args),
    Kallsyms(cmd::kallsyms::Args),
    Sorttable(cmd::sorttable::Args),
    #[command(name = "resolve_btfids")]
    ResolveBtfids(cmd::resolve_btfids::Args),
    Btf(cmd::btf::Args),
    Compare(cmd::compare::Args),
    #[command(disable_version_flag = true)]
    Pahole(cmd::pahole::Args),
    Man(cmd::man::ManArgs),
    Completions(cmd::man::CompletionsArgs),
}

fn main() -> ExitCode {
    memory::grow_in_large_steps();
    if let Err(error) = pipeline::watch_faults() {
        return report(&error.into());
    }
    if let called @ Some(_) = cmd::pahole::called() {
        let alone = cmd::pahole::Alone::parse();
        return cmd::pahole::run(&alone.args, called).unwrap_or_else(|error| report(&error));
    }
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Plan(args) => cmd::plan::run(args),
        Command::Link(args) => cmd::link::run(args),
        Command::Record(args) => cmd::record::run(args),
        Command::Relink(args) => cmd::relink::run(args),
        Command::Doctor(args) => cmd::doctor::run(args),
        Command::Timeline(args) => cmd::timeline::run(args),
        Command::Install(args) => cmd::install::install(args),
        Command::Uninstall(args) => cmd::install::uninstall(args),
        Command::Sysmap(args) => cmd::sysmap::run(args),
        Command::Kallsyms(args) => cmd::kallsyms::run(args),
        Command::Sorttable(args) => cmd::sorttable::run(args),
        Command::ResolveBtfids(args) => cmd::resolve_btfids::run(args),
        Command::Btf(args) => cmd::btf::run(args),
        Command::Compare(args) => cmd::compare::run(args),
        Command::Pahole(args) => cmd::pahole::run(args, None),
        Command::Man(args) => cmd::man::man(args, Cli::command()),
        Command::Completions(args) => cmd::man::completions(args, Cli::command()),
    };
    result.unwrap_or_else(|error| report(&error))
}

/// Prints an error: one line, and what the kernel's own script would add. Gives the exit status.
fn report(error: &anyhow::Error) -> ExitCode {
    say::remark(format_args!("vmlinker: {error:#}"));
    let Some(fault) = error.downcast_ref::<pipeline::Error>() else {
        return ExitCode::FAILURE;
    };
    for line in &fault.advice {
        say::remark(line);
    }
    ExitCode::from(fault.status)
}
