//! Where the peers are: built kernels, the kernel's own tools, images for other architectures.
//!
//! Everything here panics with the command that makes the missing thing: a peer that is missing is a
//! failure of the test, never a skip.

use std::path::PathBuf;

pub mod apart;
pub mod boot;
pub mod cross;
mod initramfs;
pub mod link;
mod made;
pub mod programs;
mod tools;

pub use made::run;
pub use tools::tool;

/// The cache outside the checkout: `$VMLINKER_CACHE`, else `$XDG_CACHE_HOME/vmlinker`, else
/// `~/.cache/vmlinker`.
pub fn cache() -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    var("VMLINKER_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("vmlinker")))
        .or_else(|| var("HOME").map(|dir| dir.join(".cache/vmlinker")))
        .expect("none of VMLINKER_CACHE, XDG_CACHE_HOME and HOME is set")
}

/// The build directory (`O=`) of the kernel `name`, for example `6.12-tiny`.
///
/// # Panics
/// If it has not been built.
pub fn kernel(name: &str) -> PathBuf {
    let dir = cache().join("build").join(name);
    assert!(dir.join("vmlinux").exists(), "no kernel {name}: run `cargo xtask kernel {name}`");
    dir
}

/// The source tree of the kernel `series`, for example `6.12`.
///
/// # Panics
/// If it has not been unpacked.
pub fn source(series: &str) -> PathBuf {
    let dir = cache().join("src").join(format!("linux-source-{series}"));
    assert!(dir.join("Makefile").exists(), "no source of {series}: run `cargo xtask test`");
    dir
}
