//! `cargo xtask dist`: what a release consists of, in `target/dist`.
//!
//! - `vmlinker`: one static program that needs nothing of the machine it runs on.
//! - `man/` and `completions/`: made by that program, of its own command line.
//! - `vmlinker_VERSION_ARCH.deb`: all of it as a Debian package.
//!
//! The same commit gives the same bytes: no time but the commit's (`SOURCE_DATE_EPOCH`), no path of this machine, no
//! order of a directory goes in. `--check` builds everything twice, the second time elsewhere, and compares.

mod package;
mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::progress::{headline, say};
use crate::{apt, process, setup, workspace};

pub use package::Package;

/// What a release is made of.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to put it; by default target/dist.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Pack this vmlinker and build none.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    program: Option<PathBuf>,
    /// Build all of it a second time, from a copy of the sources in another place, and compare.
    #[arg(long)]
    check: bool,
}

/// Makes a release.
///
/// # Errors
/// Also when two builds are not the same bytes.
pub fn run(args: &Args) -> Result<()> {
    headline("set-up");
    setup::dist()?;
    let (target, epoch) = (workspace::target()?, epoch()?);
    let program = match &args.program {
        Some(program) => program.clone(),
        None => {
            headline("a static vmlinker");
            program::build(&workspace::root(), &target.join("static"), epoch)?
        }
    };
    let output = args.output.clone().unwrap_or_else(|| target.join("dist"));
    let package = release(&program, &output, epoch)?;
    package.lint()?;
    package.install_and_run(&target.join("dist-root"))?;
    if args.check {
        headline("the same from another place");
        check(&output, epoch, &target.join("dist-check"))?;
    }
    Ok(())
}

/// Writes a release of `program` into `output`, which is emptied first.
pub fn release(program: &Path, output: &Path, epoch: u64) -> Result<Package> {
    headline("manual pages, completions, package");
    apt::fresh(output)?;
    let place = output.join("vmlinker");
    fs::copy(program, &place).with_context(|| program.display().to_string())?;
    process::run(Command::new(&place).arg("man").arg(output.join("man")))?;
    let completions = output.join("completions");
    fs::create_dir(&completions)?;
    for (shell, name) in COMPLETIONS {
        let text = process::output(Command::new(&place).args(["completions", shell]))?;
        fs::write(completions.join(name), text)?;
    }
    let package = package::build(output, epoch)?;
    for line in [&place, &output.join("man"), &completions, &package.file] {
        say(&line.display().to_string());
    }
    Ok(package)
}

/// The shells, and what their files are called.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "vmlinker"), ("fish", "vmlinker.fish"), ("zsh", "_vmlinker")];

/// Builds a copy of the sources elsewhere and compares the release with the one in `output`.
fn check(output: &Path, epoch: u64, elsewhere: &Path) -> Result<()> {
    apt::fresh(elsewhere)?;
    let copy = elsewhere.join("sources");
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", "--no-hardlinks"]).arg(workspace::root()).arg(&copy);
    process::run(&mut clone)?;
    let program = program::build(&copy, &elsewhere.join("target"), epoch)?;
    let again = elsewhere.join("dist");
    release(&program, &again, epoch)?;
    let mut diff = Command::new("diff");
    process::run(diff.arg("--recursive").arg(output).arg(&again))?;
    say("the same bytes");
    fs::remove_dir_all(elsewhere).with_context(|| elsewhere.display().to_string())
}

/// The time that goes into a release, in seconds since 1970: `$SOURCE_DATE_EPOCH`, else the commit's.
pub fn epoch() -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.parse().context("SOURCE_DATE_EPOCH is a number of seconds");
    }
    let mut git = Command::new("git");
    git.current_dir(workspace::root()).args(["log", "-1", "--format=%ct"]);
    match process::output(&mut git) {
        Ok(text) => text.trim().parse().context("git's time of a commit"),
        Err(_) => {
            bail!("this is no git checkout: set SOURCE_DATE_EPOCH to the time of the release")
        }
    }
}

/// Packs `program` twice, and looks at the package as a machine that installs it does: part of `cargo xtask test`.
pub fn test(program: &Path) -> Result<()> {
    let epoch = epoch()?;
    let scratch = workspace::target()?.join("dist-test");
    apt::fresh(&scratch)?;
    let stripped = scratch.join("vmlinker");
    process::run(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
    let package = release(&stripped, &scratch.join("a"), epoch)?;
    // Times of files must not matter.
    let again = release(&stripped, &scratch.join("b"), epoch)?;
    let (first, second) = (fs::read(&package.file)?, fs::read(&again.file)?);
    ensure!(first == second, "two packages of one program differ");
    package.lint()?;
    package.install_and_run(&scratch.join("root"))?;
    fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())
}
