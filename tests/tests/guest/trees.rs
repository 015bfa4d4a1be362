//! A kernel's private trees, made with pahole and again with vmlinker under pahole's name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use peer_tests::cache;
use peer_tests::link::{PrivateTrees, assert_same_bytes, vmlinker};

/// The name of the module outside the tree.
pub const EXTERNAL: &str = "distilled";

/// A pahole whose bytes vmlinker makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pahole {
    /// Debian's 1.24.
    Old,
    /// The newest when this was written.
    New,
}

impl Pahole {
    fn peer(self) -> PathBuf {
        match self {
            Pahole::Old => "pahole".into(),
            Pahole::New => cache().join("peers/bin/pahole-1.32"),
        }
    }

    /// The name under which vmlinker is it.
    fn name(self) -> &'static str {
        match self {
            Pahole::Old => "vmlinker-pahole-1.24",
            Pahole::New => "vmlinker-pahole",
        }
    }

    /// As a tree's configuration has it.
    fn version(self) -> &'static str {
        match self {
            Pahole::Old => "CONFIG_PAHOLE_VERSION=124\n",
            Pahole::New => "CONFIG_PAHOLE_VERSION=132\n",
        }
    }
}

/// The trees, and what the peer made of them.
pub struct Trees {
    trees: PrivateTrees,
    dir: PathBuf,
    /// Names of all that make makes, modules included.
    results: Vec<String>,
}

impl Trees {
    /// Copies of the kernel `name` of `series` below `dir`.
    pub fn new(name: &str, series: &str, dir: &Path) -> Self {
        let trees = PrivateTrees::new(name, series, dir);
        let mut results: Vec<String> =
            ["vmlinux", "vmlinux.unstripped", "System.map"].map(str::to_owned).into();
        let order = fs::read_to_string(trees.build.join("modules.order")).unwrap();
        let module = |line: &str| Path::new(line).with_extension("ko").to_str().unwrap().to_owned();
        results.extend(order.lines().map(module));
        // 6.1 knows no distilled base, and the module's kfunc is declared with what came after it.
        if series != "6.1" {
            let external = dir.join("build/external");
            fs::create_dir(&external).unwrap();
            for file in ["Kbuild", "distilled.c"] {
                let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("module").join(file);
                fs::copy(from, external.join(file)).unwrap();
            }
            results.push(format!("external/{EXTERNAL}.ko"));
        }
        let trees = Trees { trees, dir: dir.to_owned(), results };
        trees.remove();
        trees
    }

    /// What was made last.
    pub fn built(&self, name: &str) -> PathBuf {
        self.trees.build.join(name)
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.dir.join("kept").join(name)
    }

    fn remove(&self) {
        for name in self.results.iter().filter(|name| self.built(name).exists()) {
            fs::remove_file(self.built(name)).unwrap();
        }
    }

    fn make(&self, pahole: &Path) {
        let pahole = format!("PAHOLE={}", pahole.display());
        self.trees.make_words([pahole.as_str(), "vmlinux", "modules"]);
        let external = self.trees.build.join("external");
        if external.exists() {
            let directory = format!("M={}", external.display());
            self.trees.make_words([pahole.as_str(), directory.as_str(), "modules"]);
        }
    }

    /// Makes all with the pahole that vmlinker is compared with, and puts the results aside.
    pub fn make_as_the_peer(&self, pahole: Pahole) {
        self.make(&pahole.peer());
        self.assert_configured_for(pahole);
        for name in self.results.iter().filter(|name| self.built(name).exists()) {
            fs::create_dir_all(self.kept(name).parent().unwrap()).unwrap();
            fs::rename(self.built(name), self.kept(name)).unwrap();
        }
    }

    /// Makes all with vmlinker in the place of that pahole and compares the results with those put aside.
    pub fn compare(&self, pahole: Pahole, what: &str) {
        self.remove();
        let program = self.dir.join(pahole.name());
        if !program.exists() {
            symlink(vmlinker(), &program).unwrap();
        }
        self.make(&program);
        self.assert_configured_for(pahole);
        for name in &self.results {
            let (made, kept) = (self.built(name), self.kept(name));
            assert_eq!(made.exists(), kept.exists(), "{what}: {name}");
            if made.exists() {
                assert_same_bytes(&made, &kept, &format!("{what}: {name}"));
            }
        }
    }

    /// Puts vmlinker into the tree in the place of link-vmlinux.sh too.
    pub fn install(&self) {
        self.trees.vmlinker("install");
    }

    /// The tree itself asked the program for its version.
    fn assert_configured_for(&self, pahole: Pahole) {
        let config = fs::read_to_string(self.built(".config")).unwrap();
        assert!(config.contains(pahole.version()), "{pahole:?}: the tree has another version");
    }
}
