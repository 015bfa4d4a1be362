//! The static program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process;
use crate::workspace;

/// No library is loaded, so the program runs wherever the kernel and the processor are right. musl's licence asks
/// nothing of who passes the program on; its allocator is not used (vmlinker has its own).
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds the checkout `sources` into `target`, as of the time `epoch`, and returns the program.
///
/// # Errors
/// Also when the program is not static.
pub fn build(sources: &Path, target: &Path, epoch: u64) -> Result<PathBuf> {
    install_target()?;
    let mut cargo = workspace::cargo();
    cargo.current_dir(sources).env("CARGO_TARGET_DIR", target);
    // For the allocator, which is in C and tells when it was compiled.
    cargo.env("SOURCE_DATE_EPOCH", epoch.to_string());
    cargo.env("CC_x86_64_unknown_linux_musl", "musl-gcc");
    let prefixes = prefixes(sources)?;
    cargo.env("CFLAGS_x86_64_unknown_linux_musl", flags("-ffile-prefix-map=", &prefixes).join(" "));
    let flags = serde_json::to_string(&flags("--remap-path-prefix=", &prefixes))?;
    cargo.args(["build", "--quiet", "--locked", "--release", "--package", "vmlinker"]);
    cargo.args(["--target", TARGET, "--config", "profile.release.strip=\"symbols\""]);
    cargo.arg("--config").arg(format!("target.{TARGET}.rustflags={flags}"));
    process::run(&mut cargo)?;
    let program = target.join(TARGET).join("release/vmlinker");
    let bytes = fs::read(&program).with_context(|| program.display().to_string())?;
    let elf = image::Elf::parse(&bytes)?;
    ensure!(elf.section(".interp").is_none(), "{}: not static", program.display());
    Ok(program)
}

/// Rust's own library for the target.
fn install_target() -> Result<()> {
    let installed = process::output(Command::new("rustup").args(["target", "list", "--installed"]));
    match installed {
        Ok(list) if list.lines().any(|line| line == TARGET) => Ok(()),
        Ok(_) => process::run(Command::new("rustup").args(["target", "add", TARGET])),
        // A Rust of the distribution: its package for the target is there, or cargo says that it is not.
        Err(_) => Ok(()),
    }
}

/// Paths that the compilers would write into the program, and what stands for them.
fn prefixes(sources: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registries = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    let mut prefixes = vec![(sources.canonicalize()?, "/vmlinker")];
    // Each named after the address of a registry, which is the machine's affair.
    for entry in fs::read_dir(&registries).with_context(|| registries.display().to_string())? {
        prefixes.push((entry?.path(), "/crates"));
    }
    prefixes.sort();
    Ok(prefixes)
}

fn flags(flag: &str, prefixes: &[(PathBuf, &str)]) -> Vec<String> {
    prefixes.iter().map(|(path, name)| format!("{flag}{}={name}", path.display())).collect()
}
