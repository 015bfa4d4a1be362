//! This checkout: where it is, and its own programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process;

/// The root of the checkout.
pub fn root() -> PathBuf {
    // Cargo sets it for `cargo xtask`; the value from the build serves where xtask is run by itself.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    Path::new(&manifest).parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Cargo, in the root of the checkout.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Builds a program of the workspace as it is released, and returns where it is.
pub fn release(package: &str) -> Result<PathBuf> {
    process::run(cargo().args(["build", "--quiet", "--release", "--package", package]))?;
    let program = target()?.join("release").join(package);
    ensure!(program.exists(), "no {}", program.display());
    Ok(program)
}

/// The target directory that this program was built in.
pub fn target() -> Result<PathBuf> {
    let xtask = std::env::current_exe()?;
    // target/PROFILE/xtask.
    let target = xtask.ancestors().nth(2).context("xtask does not lie in a target directory")?;
    Ok(target.to_owned())
}
