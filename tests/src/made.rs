//! Directories that are made once and then kept in the cache.
//!
//! Tests run in several processes and threads, and more than one asks for the same tool or image.
//! A directory is made beside its place under another name, and renamed when it is complete, so
//! that no one ever sees a half-made one; a lock file makes the second asker wait for the first.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// The file that records what a directory was made from.
const STAMP: &str = ".stamp";

/// Makes the directory `dir` with `make`, unless it was made from the same `recipe` before.
///
/// `recipe` is whatever the result depends on: sources, flags, the compiler's version. `make` gets
/// an empty directory to fill; that directory is moved to `dir` afterwards.
///
/// # Panics
/// If the cache cannot be written.
pub fn once(dir: &Path, recipe: &str, make: impl FnOnce(&Path)) {
    if is_fresh(dir, recipe) {
        return;
    }
    let parent = dir.parent().expect("a directory of the cache has a parent");
    let name = dir.file_name().expect("a directory of the cache has a name").to_string_lossy();
    fs::create_dir_all(parent).unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
    let lock_path = parent.join(format!(".{name}.lock"));
    let lock = File::create(&lock_path).unwrap_or_else(|e| panic!("{}: {e}", lock_path.display()));
    lock.lock().unwrap_or_else(|e| panic!("{}: {e}", lock_path.display()));
    // Another process may have made it while this one waited.
    if is_fresh(dir, recipe) {
        return;
    }
    let fresh = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .tempdir_in(parent)
        .unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
    make(fresh.path());
    fs::write(fresh.path().join(STAMP), recipe).unwrap_or_else(|e| panic!("{name}: {e}"));
    if dir.exists() {
        fs::remove_dir_all(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    }
    fs::rename(fresh.keep(), dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
}

fn is_fresh(dir: &Path, recipe: &str) -> bool {
    fs::read_to_string(dir.join(STAMP)).is_ok_and(|made_from| made_from == recipe)
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
