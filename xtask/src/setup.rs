//! What a fresh machine lacks: Debian packages, kernel sources, newer tools to compare with.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;

use crate::apt::{self, Private};
use crate::progress;
use crate::sources;

/// What the machine is prepared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// A kernel, linked twice and booted.
    Demo,
    /// All tests.
    Test,
    /// The benchmarks.
    Bench,
}

/// Builds an x86_64 kernel with BTF.
const BUILD: &[&str] = &[
    "bc",
    "bison",
    "cpio",
    "flex",
    "gcc",
    "kmod",
    "libc6-dev",
    "libelf-dev",
    "libssl-dev",
    "make",
    "pahole",
    "rsync",
    "xz-utils",
];
/// Boots it.
const BOOT: &[&str] = &["busybox-static", "qemu-system-x86"];
/// The other linker.
const LLD: &[&str] = &["lld-19"];
/// Images of other architectures.
const CROSS: &[&str] = &[
    "gcc-aarch64-linux-gnu",
    "gcc-arm-linux-gnueabihf",
    "gcc-powerpc64-linux-gnu",
    "gcc-riscv64-linux-gnu",
    "gcc-s390x-linux-gnu",
];
/// Builds a static program.
const STATIC: &[&str] = &["gcc", "musl-tools"];
/// Looks at manual pages, completions and the package.
const PACKAGE: &[&str] = &["fish", "groff-base", "lintian", "mandoc", "zsh"];
/// Further tools that the peer tests compare with, what compiles BPF programs and reads them in QEMU, what shows pages,
/// and what bpftool from source and the tests of git trees need.
const PEERS: &[&str] = &[
    "binutils-mips-linux-gnu",
    "bpftool",
    "chromium",
    "clang-14",
    "clang-19",
    "g++",
    "gdb",
    "git",
    "llvm-14",
    "llvm-19",
    "zlib1g-dev",
];
/// The newest pahole when this was written.
const NEW_PAHOLE: &str = "1.32";

/// Prepares the machine. Quick when nothing is missing.
pub fn run(purpose: Purpose) -> Result<()> {
    progress::headline("set-up");
    match purpose {
        Purpose::Demo => {
            apt::install(&[BUILD, BOOT].concat())?;
            sources::ensure("6.12")
        }
        Purpose::Test => {
            apt::install(&[BUILD, BOOT, LLD, CROSS, PACKAGE, PEERS].concat())?;
            for series in ["6.12", "6.1", "7.3"] {
                sources::ensure(series)?;
            }
            new_pahole()
        }
        Purpose::Bench => {
            apt::install(&[BUILD, LLD].concat())?;
            new_pahole()
        }
    }
}

/// Prepares the machine for building one kernel: from `series`, or from the user's own tree.
pub fn kernel(series: Option<&str>) -> Result<()> {
    apt::install(BUILD)?;
    series.map_or(Ok(()), sources::ensure)
}

/// Prepares the machine for making a release.
pub fn dist() -> Result<()> {
    apt::install(&[STATIC, &["lintian"]].concat())
}

/// Prepares the machine for booting a kernel.
pub fn boot() -> Result<()> {
    apt::install(BOOT)
}

/// pahole as Debian's newest suite has it, in `cache()/peers`, with its own libraries.
fn new_pahole() -> Result<()> {
    let peers = peer_tests::cache().join("peers");
    let wrapper = peers.join("bin").join(format!("pahole-{NEW_PAHOLE}"));
    if wrapper.exists() {
        progress::say(&format!("pahole {NEW_PAHOLE} is in the cache"));
        return Ok(());
    }
    let apt = Private::update("sid", &["sid"])?;
    let package = apt.version("pahole")?;
    let version = package.split('-').next().unwrap_or(&package).to_owned();
    let directory = peers.join(format!("pahole-{version}"));
    apt.unpack_with_libraries("pahole", &directory)?;
    let own = peers.join("bin").join(format!("pahole-{version}"));
    write_wrapper(&directory, &own)?;
    if own != wrapper {
        progress::say(&format!("sid has pahole {version} now: it stands in for {NEW_PAHOLE}"));
        symlink(&own, &wrapper).with_context(|| wrapper.display().to_string())?;
    }
    progress::say(&format!("pahole {version}: {}", wrapper.display()));
    Ok(())
}

/// A script that runs `usr/bin/pahole` below `directory` through the dynamic linker beside it: the system's C
/// library is too old for it.
fn write_wrapper(directory: &Path, wrapper: &Path) -> Result<()> {
    let loader = find(directory, "ld-linux-x86-64.so.2")?;
    let libraries = find(directory, "libc.so.6")?;
    let libraries = libraries.parent().context("libc.so.6 lies in a directory")?;
    let program = directory.join("usr/bin/pahole");
    ensure!(program.exists(), "no {}", program.display());
    let script = format!(
        "#!/bin/sh\nexec '{}' --library-path '{}' '{}' \"$@\"\n",
        loader.display(),
        libraries.display(),
        program.display()
    );
    let bin = wrapper.parent().context("the wrapper lies in a directory")?;
    fs::create_dir_all(bin)?;
    // Under its own name only when it is complete: its presence is what the next run looks at.
    let unfinished = bin.join(".unfinished");
    fs::write(&unfinished, script)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    fs::rename(&unfinished, wrapper).with_context(|| wrapper.display().to_string())
}

/// The file of that name where Debian's C library may have it.
fn find(directory: &Path, name: &str) -> Result<PathBuf> {
    let places = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64"];
    match places.iter().map(|place| directory.join(place).join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("{} is not below {}", name, directory.display()),
    }
}
