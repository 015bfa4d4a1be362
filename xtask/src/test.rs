//! `cargo xtask test`: everything that must hold before a change goes in.
//!
//! All parts are run even if one fails; the last line has the sum of all test programs.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::kernel::Kernel;
use crate::progress::{self, headline, say};
use crate::setup::{self, Purpose};
use crate::{checks, dist, process, record, workspace};

/// What to test.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only tests whose name contains this, and none of the checks of style.
    filter: Option<String>,
}

/// The kernels that the peer tests need.
const KERNELS: [&str; 4] = ["6.12-tiny", "6.12-tiny-nokallsyms", "6.1-tiny", "7.3-tiny"];

/// The libraries whose documentation must be whole.
const DOCUMENTED: [&str; 11] = [
    "image",
    "sysmap",
    "kallsyms",
    "btf",
    "btf-dedup",
    "btf-ids",
    "compare",
    "debug-link",
    "dwarf-btf",
    "sorttable",
    "pipeline",
];

/// What has been run so far.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    /// The parts that failed.
    broken: Vec<String>,
}

/// Prepares everything and runs all parts.
///
/// # Errors
/// If one of them fails.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    setup::run(Purpose::Test)?;
    headline("kernels");
    for name in KERNELS {
        let kernel = Kernel::new(name, None, false)?;
        kernel.build()?;
        record::record(&kernel)?;
    }
    headline("images of other architectures");
    peer_tests::cross::build_all();
    let tally = parts(args.filter.as_deref())?;
    say(&format!("all of it took {}", progress::elapsed(start.elapsed())));
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if !tally.broken.is_empty() {
        bail!("failed: {}", tally.broken.join("; "));
    }
    Ok(())
}

fn parts(filter: Option<&str>) -> Result<Tally> {
    let mut tally = Tally::default();
    if filter.is_none() {
        tally.part("cargo fmt --check", || {
            process::run(workspace::cargo().args(["fmt", "--all", "--check"]))
        });
        tally.part("file lengths", checks::length);
        tally.part("no registry's host name", checks::hosts);
        tally.part("cargo clippy, warnings are errors", || {
            let mut clippy = workspace::cargo();
            clippy.args(["clippy", "--quiet", "--workspace", "--all-targets"]);
            process::run(clippy.args(["--", "-D", "warnings"]))
        });
        tally.part("cargo doc of the libraries, warnings are errors", || {
            let mut doc = workspace::cargo();
            doc.args(["doc", "--quiet", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
            process::run(doc.args(DOCUMENTED.iter().flat_map(|name| ["--package", name])))
        });
    }
    tally.tests("cargo test", &[], filter);
    tally.tests("the corpus of the fuzzers", &["--package", "fuzz"], filter);
    // The peer tests run it.
    tally.part("vmlinker, built for release", || workspace::release("vmlinker").map(drop));
    if filter.is_none() {
        tally.part("the package of it", || dist::test(&workspace::release("vmlinker")?));
    }
    tally.tests("the peer tests", &["--package", "peer-tests", "--release"], filter);
    Ok(tally)
}

impl Tally {
    /// Runs one part under a headline and says how it went and how long it took.
    fn part(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        headline(name);
        let start = Instant::now();
        let result = work();
        let time = progress::elapsed(start.elapsed());
        match result {
            Ok(()) => say(&format!("ok, {time}")),
            Err(error) => {
                say(&format!("FAILED, {time}: {error:#}"));
                self.broken.push(name.to_owned());
            }
        }
    }

    /// Runs `cargo test` with these options and adds up what its programs say.
    fn tests(&mut self, name: &str, options: &[&str], filter: Option<&str>) {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--no-fail-fast"]).args(options);
        cargo.args(filter);
        let (mut passed, mut failed) = (0, 0);
        self.part(name, || {
            counted(&mut cargo, |more_passed, more_failed| {
                passed += more_passed;
                failed += more_failed;
            })
        });
        say(&format!("{name}: {passed} passed, {failed} failed"));
        self.passed += passed;
        self.failed += failed;
    }
}

/// Runs a `cargo test`, showing its output and giving the counts of each test program.
fn counted(cargo: &mut Command, mut count: impl FnMut(u64, u64)) -> Result<()> {
    let line = process::shown(cargo);
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            if let Some((passed, failed)) = result(&line) {
                count(passed, failed);
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{status}: {line}");
    }
    Ok(())
}

/// The numbers of passed and failed tests in the last line of a test program.
fn result(line: &str) -> Option<(u64, u64)> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |word: &str| {
        counts.split(';').find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_test_program_is_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out; \
                    finished in 0.00s";
        assert_eq!(result(line), Some((12, 3)));
        assert_eq!(result("test result_is_read ... ok"), None);
    }
}
