//! vmlinker installed in a kernel tree, and `make`.
//!
//! Private copies of both trees, `make O=`. The trees of the first kernel are used for all of it: the link,
//! a second make, a changed source file, and the way back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peer_tests::link::{PrivateTrees, assert_same_bytes, scratch};
use peer_tests::run;

/// What a link through make gives: the kernel, as linked and (7.3) stripped, and System.map.
const RESULTS: [&str; 3] = ["vmlinux", "vmlinux.unstripped", "System.map"];

struct Trees {
    trees: PrivateTrees,
    kept: PathBuf,
}

impl Trees {
    fn new(name: &str, series: &str, dir: &Path) -> Self {
        let kept = dir.join("kept");
        fs::create_dir(&kept).unwrap();
        Trees { trees: PrivateTrees::new(name, series, dir), kept }
    }

    fn built(&self, name: &str) -> PathBuf {
        self.trees.build.join(name)
    }

    /// Puts the results aside, so that the next make has to link, and to be as good.
    fn put_aside(&self) {
        for name in RESULTS.iter().filter(|name| self.built(name).exists()) {
            fs::rename(self.built(name), self.kept.join(name)).unwrap();
        }
    }

    fn assert_as_before(&self, what: &str) {
        for name in RESULTS {
            let (now, before) = (self.built(name), self.kept.join(name));
            assert_eq!(now.exists(), before.exists(), "{what}: {name}");
            if now.exists() {
                assert_same_bytes(&now, &before, &format!("{what}: {name}"));
            }
        }
    }

    fn scripts(&self) -> String {
        // Name, kind, mode, time and size of all, and the bytes of all files.
        let mut list = Command::new("sh");
        list.arg("-c").arg(
            "find . -printf '%p %y %m %T@ %s\\n' | sort; find . -type f -exec sha256sum {} + | sort",
        );
        let text = run(list.current_dir(self.trees.source.join("scripts")));
        String::from_utf8(text).unwrap()
    }
}

/// The lines in which Kbuild says that it links, or makes something for a link.
fn links(output: &str) -> Vec<&str> {
    let verbs = ["LD", "KSYMS", "NM", "BTF", "BTFIDS", "SORTTAB"];
    let link = |line: &&str| {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let output = words.next().unwrap_or_default();
        verbs.contains(&verb) && output != "vmlinux.o"
    };
    output.lines().filter(|line| line.starts_with("  ")).filter(link).collect()
}

/// The script's link, then vmlinker's. Returns the trees with vmlinker installed.
fn make_links_the_same(name: &str, series: &str, dir: &Path) -> Trees {
    let trees = Trees::new(name, series, dir);
    let said = trees.trees.make();
    // The copy is taken for what it is, a built tree: make compiles the version alone. The kernel's tools,
    // which it may build anew, have absolute names.
    let compiled: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  CC ")).collect();
    let foreign = |name: &&&str| !name.trim().starts_with("init/") && !name.contains("/tools/");
    assert_eq!(compiled.iter().find(foreign), None, "{name}: make builds the copy anew:\n{said}");
    trees.put_aside();
    trees.trees.vmlinker("install");
    let said = trees.trees.make();
    assert!(links(&said).iter().any(|line| line.contains("KSYMS")), "{name}: no link:\n{said}");
    assert!(trees.built(".vmlinker.json").exists(), "{name}: no record, so vmlinker did not run");
    assert!(trees.built(".vmlinker.timeline").exists(), "{name}: no timeline");
    trees.assert_as_before(name);
    trees
}

#[test]
fn make_with_vmlinker_installed_from_the_first_link_to_the_uninstallation() {
    let dir = scratch();
    let trees = make_links_the_same("6.12-tiny", "6.12", dir.path());

    let linked = fs::metadata(trees.built("vmlinux")).unwrap().modified().unwrap();
    let said = trees.trees.make();
    assert_eq!(links(&said), [""; 0], "a second make linked");
    assert_eq!(fs::metadata(trees.built("vmlinux")).unwrap().modified().unwrap(), linked);

    // One more variable in one file: that file, vmlinux.o, and the link.
    let source = trees.trees.source.join("init/calibrate.c");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, format!("{text}\nint vmlinker_test_variable = 42;\n")).unwrap();
    let said = trees.trees.make();
    assert!(said.contains("  CC      init/calibrate.o\n"), "{said}");
    assert!(links(&said).iter().any(|line| line.contains("KSYMS")), "no link:\n{said}");
    let map = fs::read_to_string(trees.built("System.map")).unwrap();
    assert!(map.contains(" vmlinker_test_variable\n"), "the change is not in the kernel");
    trees.put_aside();

    trees.trees.vmlinker("uninstall");
    let said = trees.trees.make();
    assert!(said.contains("  AS      .tmp_vmlinux2.kallsyms.o\n"), "not the script's:\n{said}");
    trees.assert_as_before("after a change, beside the kernel's own script");
}

#[test]
fn uninstall_restores_all_of_scripts() {
    let dir = scratch();
    let trees = Trees::new("6.12-tiny", "6.12", dir.path());
    let before = trees.scripts();
    trees.trees.vmlinker("install");
    assert_ne!(trees.scripts(), before);
    trees.trees.vmlinker("uninstall");
    let without_times_of_directories = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with(". d ")).map(str::to_owned).collect()
    };
    assert_eq!(
        without_times_of_directories(&trees.scripts()),
        without_times_of_directories(&before)
    );
}

#[test]
fn kernel_6_1_through_make() {
    let dir = scratch();
    make_links_the_same("6.1-tiny", "6.1", dir.path());
}

#[test]
fn kernel_7_3_through_make() {
    let dir = scratch();
    make_links_the_same("7.3-tiny", "7.3", dir.path());
}
