//! A kernel tree, as the stage needs to know it: its script, its configuration, its features.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::features::Features;
use crate::version::LinkerVersion;
use crate::{files, install};

/// Where Kbuild writes the configuration, relative to the object tree.
const AUTO_CONF: &str = "include/config/auto.conf";

/// A configured kernel tree.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The object tree.
    pub dir: PathBuf,
    /// The source tree.
    pub srctree: PathBuf,
    /// The kernel's own `link-vmlinux.sh`, also when vmlinker stands in its place.
    pub script: PathBuf,
    /// The configuration.
    pub config: Config,
    /// What the script does.
    pub features: Features,
    /// What its linker says of its version.
    pub(crate) linker: Arc<LinkerVersion>,
}

impl Tree {
    /// Reads the tree whose objects are in `dir` and whose sources are in `srctree`.
    ///
    /// # Errors
    /// No configuration, no script, or a script that is not understood.
    pub fn open(dir: &Path, srctree: &Path) -> Result<Self> {
        let auto_conf = dir.join(AUTO_CONF);
        let config = files::read_text(&auto_conf).map_err(|error| {
            error
                .advise("is this a configured and built kernel tree? Its objects are expected here")
        })?;
        let script = install::original_script(srctree);
        let text = files::read_text(&script)?;
        let features = Features::detect(&text).map_err(|e| {
            Error::file(&script, e).advise(
                "the scripts of Linux 6.1 to 7.3 are known; for another kernel: vmlinker uninstall, then make",
            )
        })?;
        Ok(Tree {
            dir: dir.to_path_buf(),
            srctree: srctree.to_path_buf(),
            script,
            config: Config::parse(&config),
            features,
            linker: Arc::new(LinkerVersion::of(dir)),
        })
    }

    /// The same, linked as if it had never been: its linker is asked who it is.
    pub fn never_linked(self) -> Self {
        self.linker.forget();
        self
    }

    /// The tree whose objects are in `dir`; where its sources are is read from the `source` link or the
    /// `Makefile` that Kbuild leaves in an object tree, and is `dir` itself for an in-tree build.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub fn of_build(dir: &Path) -> Result<Self> {
        Tree::open(dir, &sources_of(dir)?)
    }
}

/// The sources that the object tree `dir` was built of, see [`Tree::of_build`].
///
/// # Errors
/// None are found.
pub(crate) fn sources_of(dir: &Path) -> Result<PathBuf> {
    let candidates = [dir.to_path_buf(), dir.join("source")];
    let found = candidates.into_iter().find(|srctree| install::original_script(srctree).exists());
    found.or_else(|| included_makefile(dir)).ok_or_else(|| {
        let cause = "no kernel sources found: neither scripts/link-vmlinux.sh nor a link";
        Error::file(dir, cause)
            .advise("-C BUILD is the directory where a kernel was built: make's O=, or its sources")
    })
}

/// The source tree that the generated `Makefile` of an object tree includes.
fn included_makefile(dir: &Path) -> Option<PathBuf> {
    let text = files::read_text(&dir.join("Makefile")).ok()?;
    let included = text.lines().find_map(|line| line.strip_prefix("include "))?;
    Path::new(included.trim()).parent().map(|srctree| dir.join(srctree))
}
