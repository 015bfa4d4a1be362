//! The command line of vmlinker.
//!
//! A subcommand is either the whole stage (`plan`, `link`, `relink`, `install`) or one of the kernel's
//! own tools under its own name and with its own arguments (`kallsyms`, `sorttable`,
//! `resolve_btfids`), so that a single one can be swapped into a kernel build.

mod cmd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A drop-in for the Linux kernel's link-vmlinux.sh.
#[derive(Debug, Parser)]
#[command(name = "vmlinker", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(cmd::plan::Args),
    Link(cmd::link::Args),
    Relink(cmd::relink::Args),
    Install(cmd::install::Args),
    Sysmap(cmd::sysmap::Args),
    Kallsyms(cmd::kallsyms::Args),
    Sorttable(cmd::sorttable::Args),
    #[command(name = "resolve_btfids")]
    ResolveBtfids(cmd::resolve_btfids::Args),
    Btf(cmd::btf::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Plan(args) => cmd::plan::run(args),
        Command::Link(args) => cmd::link::run(args),
        Command::Relink(args) => cmd::relink::run(args),
        Command::Install(args) => cmd::install::run(args),
        Command::Sysmap(args) => cmd::sysmap::run(args),
        Command::Kallsyms(args) => cmd::kallsyms::run(args),
        Command::Sorttable(args) => cmd::sorttable::run(args),
        Command::ResolveBtfids(args) => cmd::resolve_btfids::run(args),
        Command::Btf(args) => cmd::btf::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("vmlinker: {error:#}");
        ExitCode::FAILURE
    })
}
