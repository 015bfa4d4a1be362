//! Kernel source trees: Debian's source packages, unpacked once into the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where the source of `series` is unpacked to.
pub fn path(series: &str) -> PathBuf {
    peer_tests::cache().join("src").join(format!("linux-source-{series}"))
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
