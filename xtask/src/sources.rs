//! Kernel source trees: Debian's source packages, unpacked once into the cache.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::apt::{self, Private};
use crate::process;
use crate::progress::{self, Live};

/// The suites that have kernels newer than this machine's own suite has.
const NEWER: [&str; 2] = ["trixie", "trixie-backports"];

/// Where the source of `series` is unpacked to.
pub fn path(series: &str) -> PathBuf {
    peer_tests::cache().join("src").join(format!("linux-source-{series}"))
}

/// Unpacks the source of `series`, if it is not there.
///
/// It comes from the package `linux-source-SERIES`. Where the machine's own suite does not have that, it
/// is fetched through a private apt; where its series is no longer there, the newest of the same major
/// version takes its place.
pub fn ensure(series: &str) -> Result<()> {
    let target = path(series);
    if target.join("Makefile").exists() {
        progress::say(&format!("Linux {}: the source is in the cache", version(&target)?));
        return Ok(());
    }
    let package = format!("linux-source-{series}");
    let archive = PathBuf::from(format!("/usr/src/{package}.tar.xz"));
    if !archive.exists() && apt::offers(&package)? {
        apt::install(&[&package])?;
    }
    if archive.exists() {
        unpack(&archive, &target)?;
    } else {
        let own = newer(series)?;
        if own != target {
            progress::say(&format!("{} stands in for {package}", own.display()));
            symlink(&own, &target).with_context(|| target.display().to_string())?;
        }
    }
    progress::say(&format!("Linux {}: {}", version(&target)?, target.display()));
    Ok(())
}

/// Fetches the source of `series`, or of the newest of its major version, and returns where it is.
fn newer(series: &str) -> Result<PathBuf> {
    let apt = Private::update("backports", &NEWER)?;
    let (major, _) = series.split_once('.').context("a series is MAJOR.MINOR")?;
    let names = apt.names(&format!("^linux-source-{major}\\.[0-9]+$"))?;
    let minor = |name: &String| name.rsplit('.').next()?.parse::<u32>().ok();
    let wanted = format!("linux-source-{series}");
    let newest = names.iter().max_by_key(|name| minor(name));
    let package = match names.iter().find(|name| **name == wanted).or(newest) {
        Some(package) => package,
        None => bail!("no package linux-source-{major}.* in {}", NEWER.join(", ")),
    };
    let target = peer_tests::cache().join("src").join(package);
    if !target.join("Makefile").exists() {
        let fetched = peer_tests::cache().join("src/.fetched");
        apt.unpack(&format!("{package}/{}", NEWER[1]), &fetched)?;
        unpack(&fetched.join(format!("usr/src/{package}.tar.xz")), &target)?;
        fs::remove_dir_all(&fetched).with_context(|| fetched.display().to_string())?;
    }
    Ok(target)
}

/// Unpacks the archive, whose files are all below one directory, as `target`.
fn unpack(archive: &Path, target: &Path) -> Result<()> {
    let parent = target.parent().context("a source tree lies in a directory")?;
    let name = target.file_name().context("a source tree has a name")?;
    // Under its own name only when it is complete: its presence is what the next run looks at.
    let unfinished = parent.join(".unpacking");
    apt::fresh(&unfinished)?;
    let mut live = Live::new(&format!("unpacking {}", name.to_string_lossy()), false);
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--verbose", "--xz", "--strip-components=1", "--file"]);
    tar.arg(archive).arg("-C").arg(&unfinished);
    let mut files = 0_usize;
    let log = parent.join(".unpacking.log");
    process::logged(&mut tar, &log, |_| {
        files += 1;
        live.update(&format!("{files} files"));
    })?;
    fs::remove_file(&log)?;
    live.finish(&format!("{files} files"));
    fs::rename(&unfinished, target).with_context(|| target.display().to_string())
}

/// The version that the top Makefile of a source tree gives itself, for example `6.12.117`.
pub fn version(source: &Path) -> Result<String> {
    let path = source.join("Makefile");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
            .with_context(|| format!("{}: no {name}", path.display()))
    };
    Ok(format!(
        "{}.{}.{}{}",
        value("VERSION")?,
        value("PATCHLEVEL")?,
        value("SUBLEVEL")?,
        value("EXTRAVERSION")?
    ))
}
