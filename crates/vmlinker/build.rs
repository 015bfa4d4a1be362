//! Tells the program the commit that it is built of, for `--version`.
//!
//! In a git checkout it is asked of git; in an archive that `git archive` made it stands in the file `COMMIT`;
//! otherwise there is none, and the version is all that is said. Nothing else goes in (no time, no path, no state of
//! the work tree), so the same commit gives the same program, and cargo runs this again only after a commit.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Digits of a commit's name.
const DIGITS: usize = 12;

/// A commit and its day.
struct Commit {
    name: String,
    date: String,
}

fn main() {
    let crate_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=COMMIT");
    let commit = of_git(&crate_dir).or_else(|| of_archive(&crate_dir));
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let (version, date) = match commit {
        Some(Commit { name, date }) => (format!("{version} ({name})"), date),
        None => (version, "undated".to_string()),
    };
    println!("cargo::rustc-env=VMLINKER_VERSION={version}");
    println!("cargo::rustc-env=VMLINKER_DATE={date}");
}

/// The commit that is checked out, if this is a checkout of vmlinker itself and not of what contains it.
fn of_git(crate_dir: &Path) -> Option<Commit> {
    let root = PathBuf::from(git(crate_dir, &["rev-parse", "--show-toplevel"])?);
    if root.canonicalize().ok()? != crate_dir.join("../..").canonicalize().ok()? {
        return None;
    }
    let reference = git(crate_dir, &["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(reference.as_deref()) {
        let path = crate_dir.join(git(crate_dir, &["rev-parse", "--git-path", name])?);
        // Cargo would run this for ever again because of a file that is missing.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    parse(&git(crate_dir, &["show", "--no-patch", "--format=%H %cs", "HEAD"])?)
}

/// What `git archive` put into `COMMIT` (`.gitattributes`).
fn of_archive(crate_dir: &Path) -> Option<Commit> {
    parse(&std::fs::read_to_string(crate_dir.join("COMMIT")).ok()?)
}

/// `NAME YYYY-MM-DD`.
fn parse(text: &str) -> Option<Commit> {
    let (name, date) = text.trim().split_once(' ')?;
    let name = name.get(..DIGITS)?;
    let digits = name.chars().all(|c| c.is_ascii_hexdigit());
    digits.then(|| Commit { name: name.to_string(), date: date.to_string() })
}

fn git(dir: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(dir).args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}
