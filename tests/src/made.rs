//! Directories that are made once and then kept in the cache.
//!
//! Tests run in several processes, threads and checkouts, and more than one asks for the same tool or
//! image. What is made is kept under a name that its recipe gives, so nothing is ever replaced while
//! someone reads it. A directory is made beside its place under another name, and renamed when it
//! is complete; a lock file makes the second asker wait for the first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory below `parent` that `make` fills, made now unless it was made from the same `recipe`
/// before.
///
/// `recipe` is whatever the result depends on: sources, flags, the compiler's version. `make` gets
/// an empty directory under another name than the final one.
///
/// # Panics
/// If the cache cannot be written.
pub fn once(parent: &Path, recipe: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let dir = parent.join(format!("{:016x}", fnv1a(recipe.as_bytes())));
    if dir.exists() {
        return dir;
    }
    let fail = |e: std::io::Error| -> ! { panic!("{}: {e}", parent.display()) };
    fs::create_dir_all(parent).unwrap_or_else(|e| fail(e));
    let lock = File::create(parent.join(".lock")).unwrap_or_else(|e| fail(e));
    lock.lock().unwrap_or_else(|e| fail(e));
    // Another process may have made it while this one waited.
    if dir.exists() {
        return dir;
    }
    let fresh = tempfile::tempdir_in(parent).unwrap_or_else(|e| fail(e));
    make(fresh.path());
    fs::rename(fresh.keep(), &dir).unwrap_or_else(|e| fail(e));
    dir
}

/// The 64-bit FNV-1a hash: enough to notice that a source has changed.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The first line that `program --version` prints.
///
/// # Panics
/// If the program is not there.
pub fn version(program: &str) -> String {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}: run `cargo xtask test`"));
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

/// Runs a command that must succeed and returns its standard output.
///
/// # Panics
/// With the whole command and its standard error, if it fails.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output.stdout
}
