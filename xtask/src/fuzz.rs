//! `cargo xtask fuzz`: libFuzzer on every parser, for a stated time.
//!
//! The targets are the package `fuzz`. libFuzzer needs to see which code an input reaches: the compiler puts
//! counters in, by the same options that cargo-fuzz passes, which a stable compiler takes too. Without
//! AddressSanitizer, which needs a nightly one: the cores have no unsafe code, and overflows and bounds are
//! checked by the profile `fuzz`.
//!
//! What is found on the way is kept in `target/fuzz-corpus/TARGET`, so that the next run goes on from it. An input
//! that breaks something is left beside it as `TARGET-crash-*`, `-timeout-*` or `-oom-*`; mend the cause, and put the
//! input into `fuzz/corpus/TARGET`, which `cargo xtask test` runs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::progress::{headline, say};
use crate::{process, workspace};

/// What to fuzz.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// One of dwarf, btf, dedup, btf_ids; all without it.
    target: Option<String>,
}

/// The programs of the package `fuzz`.
const TARGETS: [&str; 4] = ["dwarf", "btf", "dedup", "btf_ids"];

/// Counters on every edge, and the operands of comparisons, for libFuzzer.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                        -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Memory that a target may have, and that one allocation may take, in MiB.
const MEMORY: (u32, u32) = (2048, 1024);
/// Seconds that one input may take.
const PATIENCE: u32 = 10;

/// Builds the targets and runs them one after the other.
///
/// # Errors
/// If a target breaks; the others are run all the same.
pub fn run(args: &Args) -> Result<()> {
    let targets = match &args.target {
        None => &TARGETS[..],
        Some(name) => match TARGETS.iter().position(|target| target == name) {
            Some(at) => &TARGETS[at..=at],
            None => bail!("no target {name}: there are {}", TARGETS.join(", ")),
        },
    };
    headline("the fuzz targets are built");
    let programs = build(targets)?;
    let mut broken = Vec::new();
    for target in targets {
        headline(&format!("{target}, {} s", args.seconds));
        if let Err(error) = one(target, &programs, args.seconds) {
            say(&format!("FAILED: {error:#}"));
            broken.push(*target);
        }
    }
    if !broken.is_empty() {
        bail!("broken: {}", broken.join(", "));
    }
    Ok(())
}

/// Builds the targets and returns the directory that they are in.
fn build(targets: &[&str]) -> Result<PathBuf> {
    let host = host()?;
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--package", "fuzz", "--features", "libfuzzer"]);
    // With a target named, the options are not those of build scripts too.
    cargo.args(["--profile", "fuzz", "--target", &host]).env("RUSTFLAGS", COVERAGE);
    process::run(cargo.args(targets.iter().flat_map(|target| ["--bin", target])))?;
    Ok(target_directory()?.join(host).join("fuzz"))
}

fn one(target: &str, programs: &std::path::Path, seconds: u32) -> Result<()> {
    let kept = target_directory()?.join("fuzz-corpus");
    let found = kept.join(target);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let mut fuzzer = std::process::Command::new(programs.join(target));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.arg(format!("-rss_limit_mb={}", MEMORY.0)).arg(format!("-malloc_limit_mb={}", MEMORY.1));
    fuzzer.arg(format!("-timeout={PATIENCE}")).args(["-max_len=8192", "-print_final_stats=1"]);
    fuzzer.arg(format!("-artifact_prefix={}/{target}-", kept.display()));
    fuzzer.arg(&found).arg(workspace::root().join("fuzz/corpus").join(target));
    process::run(&mut fuzzer)
}

/// The machine that this is built for, in the compiler's words.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = process::output(std::process::Command::new(rustc).arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Where this program was built: `target`, or what `CARGO_TARGET_DIR` says.
fn target_directory() -> Result<PathBuf> {
    let xtask = std::env::current_exe()?;
    let target = xtask.ancestors().nth(2).context("xtask does not lie in a target directory")?;
    Ok(target.to_owned())
}
