//! Real kernels: what each one is, and how it comes into the cache.
//!
//! A kernel is built with `O=` in `cache()/build/NAME` from one of Debian's source packages, or from the
//! user's own tree. Time stamp, user and host are fixed, and pahole runs sequentially, so that two builds
//! give the same bytes. A finished tree carries a stamp that says what it was made from; a tree whose
//! stamp is right is not touched again, and an interrupted build goes on where it was.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::config::Wanted;
use crate::process;
use crate::progress::{self, Live};

/// The stamp of a finished tree.
const STAMP: &str = ".xtask-stamp";
/// The stamp of a tree that is configured, but not finished.
const CONFIGURED: &str = ".xtask-configured";
/// The output of every make, inside the build directory.
const LOG: &str = ".xtask-build.log";

/// A kernel that this project knows how to build.
#[derive(Debug)]
pub struct Recipe {
    /// The name on the command line and in the cache.
    pub name: &'static str,
    /// The Debian source package, without `linux-source-`.
    pub series: &'static str,
    /// The make target that the configuration starts from.
    base: &'static str,
    /// What is added to it; a later line wins.
    fragments: &'static [&'static str],
    /// About how many lines Kbuild prints, for the progress line.
    lines: usize,
}

const TINY: &str = include_str!("../kernels/tiny.config");
const SMALL: &str = include_str!("../kernels/small.config");
const LEAN: &str = include_str!("../kernels/lean.config");
const NO_KALLSYMS: &str = include_str!("../kernels/nokallsyms.config");
const DEFCONFIG: &str = include_str!("../kernels/defconfig.config");

/// All of them.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "6.12-tiny",
        series: "6.12",
        base: "tinyconfig",
        fragments: &[TINY],
        lines: 1920,
    },
    Recipe {
        name: "6.1-tiny",
        series: "6.1",
        base: "tinyconfig",
        fragments: &[TINY, SMALL],
        lines: 1450,
    },
    Recipe {
        name: "7.3-tiny",
        series: "7.3",
        base: "tinyconfig",
        fragments: &[TINY, SMALL],
        lines: 1650,
    },
    Recipe {
        name: "6.12-tiny-nokallsyms",
        series: "6.12",
        base: "tinyconfig",
        fragments: &[TINY, LEAN, NO_KALLSYMS],
        lines: 1300,
    },
    Recipe {
        name: "6.12-defconfig",
        series: "6.12",
        base: "x86_64_defconfig",
        fragments: &[DEFCONFIG],
        lines: 4900,
    },
];

/// The recipe called `name`.
pub fn recipe(name: &str) -> Result<&'static Recipe> {
    RECIPES.iter().find(|recipe| recipe.name == name).with_context(|| {
        let known: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
        format!("no kernel is called {name}; there are {}", known.join(", "))
    })
}

/// A kernel to build: a recipe and the source it is applied to.
#[derive(Debug)]
pub struct Kernel {
    recipe: &'static Recipe,
    source: PathBuf,
    directory: PathBuf,
    /// The user's own tree: it may have changed since the stamp was written.
    own: bool,
    quiet: bool,
}

impl Kernel {
    /// The kernel `name` from Debian's source package, or from the user's own `tree`.
    pub fn new(name: &str, tree: Option<&Path>, quiet: bool) -> Result<Self> {
        let recipe = recipe(name)?;
        let builds = peer_tests::cache().join("build");
        let (source, directory) = match tree {
            None => (crate::sources::path(recipe.series), builds.join(name)),
            Some(tree) => {
                let source = own_tree(tree)?;
                let directory = builds.join(own_name(name, &source));
                (source, directory)
            }
        };
        Ok(Kernel { recipe, source, directory, own: tree.is_some(), quiet })
    }

    /// The build directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it is built from the user's own tree.
    pub fn own(&self) -> bool {
        self.own
    }

    /// The output of every make.
    pub fn log(&self) -> PathBuf {
        self.directory.join(LOG)
    }

    /// Builds what is missing and returns the build directory.
    pub fn build(&self) -> Result<&Path> {
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot create {}", self.directory.display()))?;
        let _lock = self.lock()?;
        let wanted = Wanted::parse(self.recipe.fragments)?;
        let stamp = self.stamp()?;
        let stamped = fs::read_to_string(self.directory.join(STAMP)).is_ok_and(|old| old == stamp);
        if stamped && !self.own && self.complete() {
            self.say("is in the cache");
        } else if self.adoptable(&wanted) {
            fs::write(self.directory.join(STAMP), &stamp)?;
            self.say("was already built with this configuration");
        } else {
            // From here on the tree is unfinished, whatever an older stamp says.
            remove(&self.directory.join(STAMP))?;
            self.configure(&wanted, &stamp)?;
            self.compile()?;
            fs::write(self.directory.join(STAMP), &stamp)?;
        }
        Ok(&self.directory)
    }

    /// What the tree is made from, as text: a tree with the same stamp has the same bytes.
    fn stamp(&self) -> Result<String> {
        let flags = pahole_flags()?.unwrap_or_else(|| "(the kernel's own)".to_owned());
        Ok(format!(
            "source {} {}\npahole {flags}\n{}\n{}",
            self.source.display(),
            crate::sources::version(&self.source)?,
            self.recipe.base,
            self.recipe.fragments.concat(),
        ))
    }

    /// Whether this is a finished tree from before the stamps: everything is there, nothing is being built.
    fn adoptable(&self, wanted: &Wanted) -> bool {
        let there = |file: &str| self.directory.join(file).exists();
        !there(STAMP)
            && !there(CONFIGURED)
            && wanted.check(&self.directory.join(".config")).is_ok()
            && self.complete()
    }

    /// Whether everything that the build makes last is there.
    fn complete(&self) -> bool {
        let made = |file: &str| self.directory.join(file).exists();
        made("vmlinux")
            && made("System.map")
            && self.modules().is_some_and(|modules| modules.iter().all(|module| module.exists()))
    }

    /// The modules of the tree, if it has come so far that it lists them.
    fn modules(&self) -> Option<Vec<PathBuf>> {
        let order = fs::read_to_string(self.directory.join("modules.order")).ok()?;
        let module = |line: &str| self.directory.join(Path::new(line).with_extension("ko"));
        Some(order.lines().map(module).collect())
    }

    fn configure(&self, wanted: &Wanted, stamp: &str) -> Result<()> {
        let config = self.directory.join(".config");
        let configured = self.directory.join(CONFIGURED);
        if fs::read_to_string(&configured).is_ok_and(|old| old == stamp)
            && wanted.check(&config).is_ok()
        {
            self.say("goes on with an interrupted build");
            return Ok(());
        }
        self.say(&format!("{} and {} options", self.recipe.base, wanted.len()));
        let log = self.log();
        process::logged(self.make().arg("-s").arg(self.recipe.base), &log, |_| ())?;
        let base = fs::read_to_string(&config)?;
        fs::write(&config, format!("{base}{}", wanted.lines()))?;
        process::logged(self.make().arg("-s").arg("olddefconfig"), &log, |_| ())?;
        wanted.check(&config)?;
        fs::write(&configured, stamp)?;
        Ok(())
    }

    fn compile(&self) -> Result<()> {
        let mut make = self.make_kernel()?;
        make.arg("modules");
        let mut live = Live::new(self.recipe.name, self.quiet);
        let mut lines = 0_usize;
        let about = self.recipe.lines;
        process::logged(&mut make, &self.log(), |line| {
            // Kbuild's own lines: two spaces, the verb, the file.
            if let Some(step) = line.strip_prefix("  ") {
                lines += 1;
                let step = step.split_whitespace().collect::<Vec<_>>().join(" ");
                live.update(&format!("{lines} of about {about} steps, {step}"));
            }
        })
        .with_context(|| format!("kernel {}", self.recipe.name))?;
        live.finish(&format!("built, {lines} steps"));
        Ok(())
    }

    /// `make vmlinux` on all cores.
    pub fn make_kernel(&self) -> Result<Command> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut make = self.make();
        make.arg(format!("-j{jobs}"));
        if let Some(flags) = pahole_flags()? {
            make.arg(format!("PAHOLE_FLAGS={flags}"));
        }
        make.arg("vmlinux");
        Ok(make)
    }

    /// `make` in the source tree with `O=`, with the environment that makes builds comparable.
    fn make(&self) -> Command {
        let mut make = Command::new("make");
        // Variables of an outer make or a kernel developer's shell would change the result.
        for name in ["MAKEFLAGS", "MFLAGS", "ARCH", "CROSS_COMPILE", "LLVM", "KBUILD_OUTPUT"] {
            make.env_remove(name);
        }
        make.env("KBUILD_BUILD_TIMESTAMP", "2026-01-01")
            .env("KBUILD_BUILD_USER", "vmlinker")
            .env("KBUILD_BUILD_HOST", "vmlinker")
            .env("LC_ALL", "C")
            .arg("-C")
            .arg(&self.source)
            .arg(format!("O={}", self.directory.display()));
        make
    }

    /// Two of these at once in one directory would spoil it.
    fn lock(&self) -> Result<File> {
        let path = self.directory.join(".xtask-lock");
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            self.say("waits for another build of the same kernel");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            progress::say(&format!("{} {text}", self.recipe.name));
        }
    }
}

/// Checks that `tree` is a kernel source tree that can be built with `O=`.
fn own_tree(tree: &Path) -> Result<PathBuf> {
    let tree = tree.canonicalize().with_context(|| format!("no tree {}", tree.display()))?;
    if !tree.join("scripts/link-vmlinux.sh").exists() {
        bail!("{} has no scripts/link-vmlinux.sh: it is not a kernel source tree", tree.display());
    }
    if tree.join(".config").exists() || tree.join("include/config").exists() {
        bail!(
            "{} has been built in place, so Kbuild refuses to build it elsewhere. \
             Name a clean checkout instead: git -C {0} worktree add ../clean",
            tree.display()
        );
    }
    Ok(tree)
}

/// The cache's name for the kernel `name` from the user's own tree: one for every tree.
fn own_name(name: &str, source: &Path) -> String {
    let path: String = source
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("{name}-of{path}")
}

/// The flags that make pahole run sequentially, as the kernels pass them to that pahole but for `-j`.
///
/// From 1.26 on the kernel's own flags are right: `-j` no longer changes the bytes when
/// KBUILD_BUILD_TIMESTAMP is set.
fn pahole_flags() -> Result<Option<String>> {
    let version = process::output(Command::new("pahole").arg("--version"))?;
    let minor: u32 = version
        .trim()
        .strip_prefix("v1.")
        .and_then(|minor| minor.parse().ok())
        .with_context(|| format!("pahole --version said {version:?}, not v1.N"))?;
    Ok(match minor {
        ..=23 => Some("--btf_gen_floats".to_owned()),
        24 => Some("--btf_gen_floats --lang_exclude=rust".to_owned()),
        25 => Some(
            "--btf_gen_floats --lang_exclude=rust --skip_encoding_btf_inconsistent_proto \
             --btf_gen_optimized"
                .to_owned(),
        ),
        26.. => None,
    })
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
