//! The whole link beside the kernel's own script: the program under test, recorded links, private trees.
//!
//! The kernels in the cache are shared and only read. A recorded link runs in a shadow of its tree
//! (`vmlinker relink --output`). For a link through make there is a private copy of both trees, which costs
//! about 0.5 GB of disk: Kbuild remembers absolute names, so they are exchanged in the copy, and make
//! then finds nothing to rebuild but what it links.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::{cache, kernel, run, source};

/// Name of a link's record in an object tree.
const RECORD: &str = ".vmlinker.json";

/// What a tree remembers of its last link's sizes.
const SIZES: &str = ".vmlinker.sizes";
/// What it remembers of its units' types.
const TYPES: &str = ".vmlinker.types";
const STRINGS: &str = ".vmlinker.strings";
const VERSION: &str = ".vmlinker.linker";

/// The timelines of a tree's last links.
pub const TIMELINE: &str = ".vmlinker.timeline";

/// The program under test, built for release once per test program.
///
/// # Panics
/// If it cannot be built.
pub fn vmlinker() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("the test program has a path");
        // TARGET/PROFILE/deps/TEST; a copy elsewhere must not build into whatever lies above it.
        let deps = test.parent().filter(|dir| dir.ends_with("deps"));
        let target = deps.and_then(|dir| dir.ancestors().nth(2));
        let target = target.expect("a test lies in a target directory");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        build.args(["build", "--quiet", "--release", "--package", "vmlinker", "--target-dir"]);
        run(build.arg(target));
        target.join("release/vmlinker")
    })
}

/// An empty directory on the disk of the cache, for what is too large for `/tmp`.
///
/// # Panics
/// If the cache cannot be written.
pub fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("test-link").tempdir_in(cache()).expect("the cache is writable")
}

/// A built kernel with the record of its link.
#[derive(Debug)]
pub struct Recorded {
    /// The object tree, or a view of it.
    pub dir: PathBuf,
}

/// What a link made and said.
#[derive(Debug)]
pub struct Linked {
    /// The kernel.
    pub vmlinux: PathBuf,
    /// Its System.map.
    pub system_map: PathBuf,
    /// The linker's map, if the configuration asks for one.
    pub map: PathBuf,
    /// Standard output: a line per step.
    pub stdout: String,
}

impl Recorded {
    /// The kernel `name` of the cache.
    ///
    /// # Panics
    /// If it has not been built, or its link has not been recorded.
    pub fn of(name: &str) -> Self {
        let dir = kernel(name);
        let record = dir.join(RECORD);
        assert!(record.exists(), "no {}: run `cargo xtask kernel {name}`", record.display());
        Recorded { dir }
    }

    /// A view of this tree in `dir`, an absolute path, that has a record of its own, what `change` makes of this one's, and
    /// remembers no sizes.
    ///
    /// # Panics
    /// If `dir` exists or cannot be made.
    pub fn altered(&self, dir: &Path, change: impl FnOnce(&mut Value)) -> Self {
        farm(&self.dir, dir, &[RECORD, SIZES, TYPES, STRINGS, VERSION, TIMELINE]);
        let text = fs::read_to_string(self.dir.join(RECORD)).expect("a record is text");
        let mut record: Value = serde_json::from_str(&text).expect("a record is JSON");
        change(&mut record);
        fs::write(dir.join(RECORD), record.to_string()).expect("a scratch directory is writable");
        Recorded { dir: dir.to_owned() }
    }

    /// Enables `option` in the configuration that the link reads; only for a tree made by [`Recorded::altered`].
    ///
    /// # Panics
    /// If the view cannot be changed.
    pub fn enable(&self, option: &str) {
        self.configure(option, "y");
    }

    /// Gives `option` this value in the configuration that the link reads, as [`Recorded::enable`] does.
    ///
    /// # Panics
    /// If the view cannot be changed.
    pub fn configure(&self, option: &str, value: &str) {
        let include = self.dir.join("include");
        let original = fs::read_link(&include).expect("the view's include is a link");
        fs::remove_file(&include).expect("the view is writable");
        farm(&original, &include, &["config"]);
        farm(&original.join("config"), &include.join("config"), &["auto.conf"]);
        let text = fs::read_to_string(original.join("config/auto.conf")).expect("a configuration");
        let name = format!("CONFIG_{option}=");
        let others = text.lines().filter(|line| !line.starts_with(&name));
        let lines: String = others.map(|line| format!("{line}\n")).collect();
        fs::write(include.join("config/auto.conf"), format!("{lines}{name}{value}\n"))
            .expect("the view is writable");
    }

    /// Puts a shell script in the place of a program of the tree; only for a tree made by [`Recorded::altered`].
    ///
    /// # Panics
    /// If the view cannot be changed.
    pub fn exchange_tool(&self, dir: &str, program: &str, script: &str) {
        let place = self.dir.join(dir);
        let original = fs::read_link(&place).expect("the view's directories are links");
        fs::remove_file(&place).expect("the view is writable");
        farm(&original, &place, &[program]);
        let program = place.join(program);
        fs::write(&program, script).expect("the view is writable");
        let all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, all).expect("a test's own file can be made a program");
    }

    /// Links again into `output`, with these further words.
    ///
    /// # Panics
    /// If the link fails.
    pub fn relink(&self, output: &Path, words: &[&str]) -> Linked {
        Linked::at(output, &run(&mut self.command(output, words)))
    }

    /// The same for a link that may fail.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn try_relink(&self, output: &Path, words: &[&str]) -> Output {
        self.command(output, words).output().expect("vmlinker was built")
    }

    /// The command that links again into `output`, with these further words.
    pub fn command(&self, output: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(vmlinker());
        command.arg("relink").arg("-C").arg(&self.dir).arg("--output").arg(output).args(words);
        command
    }
}

impl Linked {
    /// What a link into `output` made, which said `stdout`.
    pub fn at(output: &Path, stdout: &[u8]) -> Self {
        let beside = |ending: &str| PathBuf::from(format!("{}{ending}", output.display()));
        Linked {
            vmlinux: output.to_owned(),
            system_map: beside(".System.map"),
            map: beside(".map"),
            stdout: String::from_utf8_lossy(stdout).into_owned(),
        }
    }

    /// The lines of the steps, as Kbuild prints them.
    pub fn steps(&self) -> Vec<&str> {
        self.stdout.lines().filter(|line| line.starts_with("  ")).collect()
    }

    /// Checks kernel and System.map against `other`, byte for byte.
    ///
    /// # Panics
    /// If they differ; `what` begins the message.
    pub fn assert_same(&self, other: &Linked, what: &str) {
        assert_same_bytes(&self.vmlinux, &other.vmlinux, what);
        assert_same_bytes(&self.system_map, &other.system_map, what);
    }

    /// Removes the kernel, which is large.
    ///
    /// # Panics
    /// If it cannot be removed.
    pub fn discard(self) {
        fs::remove_file(&self.vmlinux).expect("a test's own file can be removed");
    }
}

/// Checks that two files are the same bytes.
///
/// # Panics
/// With what `cmp` says, if they differ; `what` begins the message.
pub fn assert_same_bytes(a: &Path, b: &Path, what: &str) {
    let output = Command::new("cmp").args([a, b]).output().expect("cmp can be run");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&said));
}

/// Private copies of a kernel's source and object tree, in which make may do anything.
#[derive(Debug)]
pub struct PrivateTrees {
    /// The source tree: links to the shared one but for `scripts` and `init`, which are copies.
    pub source: PathBuf,
    /// The object tree, without the kernel itself.
    pub build: PathBuf,
    pahole_flags: String,
}

impl PrivateTrees {
    /// Copies the kernel `name` of `series` below `dir`.
    ///
    /// # Panics
    /// If there is no such kernel, or no room.
    pub fn new(name: &str, series: &str, dir: &Path) -> Self {
        let (shared, built) = (source(series), Recorded::of(name).dir);
        let (source, build) = (dir.join("source"), dir.join("build"));
        farm(&shared, &source, &["scripts", "init"]);
        copy(&shared, &source, |name| matches!(name, "scripts" | "init"));
        let made = ["vmlinux", "vmlinux.unstripped", "vmlinux.o"];
        let ours = [RECORD, SIZES, TYPES, STRINGS, VERSION, TIMELINE];
        let large = |name: &str| {
            made.contains(&name) || ours.contains(&name) || name.starts_with(".tmp_vmlinux")
        };
        fs::create_dir(&build).expect("a scratch directory is writable");
        copy(&built, &build, |name| !large(name) && !name.starts_with(".xtask"));
        let names = |path: &Path| path.to_str().expect("the cache's path is UTF-8").to_owned();
        let objects = (names(&built), names(&build));
        let sources = (names(&shared), names(&source));
        let both = [(&*objects.0, &*objects.1), (&*sources.0, &*sources.1)];
        // `tools` is a link in the private source tree, and its Makefiles see where it leads.
        let tools = build.join("tools");
        rename_in(&build, &both, &tools);
        rename_in(&tools, &both[..1], Path::new(""));
        let text = fs::read_to_string(built.join(RECORD)).expect("a record is text");
        let record: Value = serde_json::from_str(&text).expect("a record is JSON");
        let flags = record["call"]["env"]["PAHOLE_FLAGS"].as_str().unwrap_or_default();
        PrivateTrees { source, build, pahole_flags: flags.to_owned() }
    }

    /// Runs `make O=... vmlinux` and returns what it printed. All that changes from one run to the next is fixed.
    ///
    /// # Panics
    /// If it fails.
    pub fn make(&self) -> String {
        let flags = format!("PAHOLE_FLAGS={}", self.pahole_flags);
        let flags = Some(flags).filter(|_| !self.pahole_flags.is_empty());
        self.make_words(flags.as_deref().into_iter().chain(["vmlinux"]))
    }

    /// Runs `make O=...` with these words, variables and targets, and with pahole's flags as the tree itself
    /// chooses them; returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn make_words<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> String {
        let mut make = Command::new("make");
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARCH", "CROSS_COMPILE", "LLVM", "O"] {
            make.env_remove(name);
        }
        make.env("KBUILD_BUILD_TIMESTAMP", "2026-01-01").env("KBUILD_BUILD_VERSION", "1");
        make.env("KBUILD_BUILD_USER", "vmlinker").env("KBUILD_BUILD_HOST", "vmlinker");
        make.env("LC_ALL", "C").arg("-j2").arg("-C").arg(&self.source);
        make.arg(format!("O={}", self.build.display()));
        String::from_utf8_lossy(&run(make.args(words))).into_owned()
    }

    /// What `vmlinker timeline` says of the last link.
    ///
    /// # Panics
    /// If it fails.
    pub fn timeline(&self) -> String {
        let mut timeline = Command::new(vmlinker());
        let told = run(timeline.args(["timeline", "-C"]).arg(&self.build));
        String::from_utf8_lossy(&told).into_owned()
    }

    /// Runs `vmlinker install` or `vmlinker uninstall`.
    ///
    /// # Panics
    /// If it fails.
    pub fn vmlinker(&self, word: &str) {
        run(Command::new(vmlinker()).arg(word).arg(&self.source));
    }
}

/// Makes `to`, a directory of links to the entries of `from` but those named.
fn farm(from: &Path, to: &Path, without: &[&str]) {
    fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let name = entry.expect("a directory can be read").file_name();
        if !without.iter().any(|left_out| name == *left_out) {
            symlink(from.join(&name), to.join(&name)).unwrap_or_else(|e| panic!("{name:?}: {e}"));
        }
    }
}

/// Copies the entries of `from` that are `wanted` into `to`, with modes and times.
fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) {
    let mut cp = Command::new("cp");
    cp.args(["-a", "--reflink=auto", "-t"]).arg(to);
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let entry = entry.expect("a directory can be read");
        if wanted(&entry.file_name().to_string_lossy()) {
            cp.arg(entry.path());
        }
    }
    run(&mut cp);
}

/// Exchanges names, each `(old, new)`, in all that Kbuild has written down below `dir`, but not below
/// `without`. Times stay.
fn rename_in(dir: &Path, names: &[(&str, &str)], without: &Path) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("a directory can be read").path();
        if path.is_symlink() || path == without {
            continue;
        }
        if path.is_dir() {
            rename_in(&path, names, without);
        } else {
            rename_in_file(&path, names);
        }
    }
}

fn rename_in_file(path: &Path, names: &[(&str, &str)]) {
    let noted = path.extension().is_some_and(|e| e == "cmd" || e == "d")
        || path.file_name().is_some_and(|name| name == "Makefile");
    let Some(text) = noted.then(|| fs::read_to_string(path).ok()).flatten() else { return };
    let renamed = names.iter().fold(text.clone(), |text, (old, new)| text.replace(old, new));
    if renamed != text {
        let time = fs::metadata(path).and_then(|meta| meta.modified()).expect("a file's time");
        fs::write(path, renamed).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = fs::File::options().append(true).open(path).expect("a file of the copy");
        file.set_modified(time).expect("a file's time can be set");
    }
}
