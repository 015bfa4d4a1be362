//! `vmlinker resolve-btfids`.

use std::process::ExitCode;

/// Under construction.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not there yet")
}
