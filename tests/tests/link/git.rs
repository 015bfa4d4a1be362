//! An installed vmlinker in a git tree: the kernel's own `scripts/setlocalversion` sees no change.

use std::fs;
use std::path::Path;
use std::process::Command;

use peer_tests::{link, run, source};

const SCRIPT: &str = "scripts/link-vmlinux.sh";
const VERSION: &str = "6.12.0";

fn git(tree: &Path, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(tree).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]);
    String::from_utf8(run(git.args(words))).unwrap()
}

/// A git tree with what decides about the release: the kernel's own scripts and ignored files.
fn tree() -> tempfile::TempDir {
    let (dir, kernel) = (tempfile::tempdir().unwrap(), source("6.12"));
    let tree = dir.path();
    fs::create_dir_all(tree.join("scripts")).unwrap();
    fs::create_dir_all(tree.join("include/config")).unwrap();
    for name in [SCRIPT, "scripts/setlocalversion", ".gitignore", "Makefile"] {
        // With modes: git watches them.
        run(Command::new("cp").arg("-p").arg(kernel.join(name)).arg(tree.join(name)));
    }
    git(tree, &["init", "-q"]);
    // Debian's .gitignore hides the whole source; upstream's hides names with a dot, as this one does too.
    git(tree, &["add", "--force", "scripts", ".gitignore", "Makefile"]);
    git(tree, &["commit", "-q", "-m", "kernel"]);
    dir
}

/// What the kernel calls itself, with and without CONFIG_LOCALVERSION_AUTO.
fn releases(tree: &Path) -> [String; 2] {
    ["", "CONFIG_LOCALVERSION_AUTO=y\n"].map(|auto| {
        let config = format!("CONFIG_LOCALVERSION=\n{auto}");
        fs::write(tree.join("include/config/auto.conf"), config).unwrap();
        let mut script = Command::new("sh");
        script.args(["scripts/setlocalversion", "."]).current_dir(tree);
        script.env("KERNELVERSION", VERSION).env_remove("LOCALVERSION");
        String::from_utf8(run(&mut script)).unwrap().trim_end().to_owned()
    })
}

fn vmlinker(tree: &Path, word: &str) {
    run(Command::new(link::vmlinker()).arg(word).arg(tree));
}

#[test]
fn the_release_does_not_tell_that_vmlinker_is_installed() {
    let dir = tree();
    let tree = dir.path();
    let untagged = releases(tree);
    assert!(untagged[0].ends_with('+') && untagged[1].contains("-g"), "{untagged:?}");
    vmlinker(tree, "install");
    assert_eq!(releases(tree), untagged);
    assert_eq!(git(tree, &["status", "--porcelain"]), "");

    git(tree, &["tag", "-a", "-m", "release", "v6.12"]);
    assert_eq!(releases(tree), [VERSION, VERSION]);
    // The control: a change that is somebody else's still shows.
    let makefile = fs::read(tree.join("Makefile")).unwrap();
    fs::write(tree.join("Makefile"), "changed\n").unwrap();
    assert_eq!(releases(tree)[1], format!("{VERSION}-dirty"));
    fs::write(tree.join("Makefile"), makefile).unwrap();

    vmlinker(tree, "uninstall");
    assert_eq!(releases(tree), [VERSION, VERSION]);
    fs::write(tree.join(SCRIPT), "changed\n").unwrap();
    assert_eq!(releases(tree)[1], format!("{VERSION}-dirty"), "the script is watched again");
}

#[test]
fn uninstall_restores_bytes_mode_and_time_of_the_script() {
    let dir = tree();
    let tree = dir.path();
    let state = || {
        let mut list = Command::new("sh");
        list.arg("-c").arg(
            "find . -name .git -prune -o -type f -printf '%p %m %T@ %s\\n' | sort; \
             find . -name .git -prune -o -type f -exec sha256sum {} + | sort; git ls-files -v -s",
        );
        String::from_utf8(run(list.current_dir(tree))).unwrap()
    };
    let before = state();
    vmlinker(tree, "install");
    assert_ne!(state(), before);
    vmlinker(tree, "uninstall");
    assert_eq!(state(), before);
}
