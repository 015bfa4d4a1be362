//! Trees of another user, trees of git's that it does not trust, paths with spaces, and what a link leaves on the disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use peer_tests::link::{Recorded, assert_same_bytes, scratch, vmlinker};
use peer_tests::{run, source};

use crate::{Said, names, script};

/// The user that owns nothing.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// What a link reads of an object tree, in a directory that everybody may read.
const READ: [&str; 9] = [
    "vmlinux.o",
    ".vmlinux.export.o",
    "init/version-timestamp.o",
    "include/config/auto.conf",
    "arch/x86/kernel/vmlinux.lds",
    "scripts/kallsyms",
    "scripts/sorttable",
    ".vmlinker.json",
    "tools/bpf/resolve_btfids/resolve_btfids",
];

/// The same of a source tree.
const SOURCES: [&str; 5] = [
    "scripts/link-vmlinux.sh",
    "scripts/mksysmap",
    "scripts/kallsyms.c",
    "scripts/sorttable.c",
    "tools/arch/x86/include/asm/orc_types.h",
];

/// A copy of what a link reads, whose directories nobody but their owner may write to.
fn tree_of_another(dir: &Path) -> Recorded {
    let (built, build, sources) =
        (Recorded::of("6.12-tiny").dir, dir.join("build"), dir.join("source"));
    let put = |from: &Path, to: &Path| {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let _ = fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop));
        assert!(to.exists(), "{}", to.display());
    };
    for name in READ {
        put(&built.join(name), &build.join(name));
    }
    for name in SOURCES {
        put(&source("6.12").join(name), &sources.join(name));
    }
    // The record is this tree's own: it names the sources.
    let record = fs::read_to_string(build.join(".vmlinker.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["call"]["env"]["srctree"] = sources.to_str().unwrap().into();
    record["call"]["script"] = sources.join("scripts/link-vmlinux.sh").to_str().unwrap().into();
    fs::remove_file(build.join(".vmlinker.json")).unwrap();
    fs::write(build.join(".vmlinker.json"), record.to_string()).unwrap();
    fs::set_permissions(&build, fs::Permissions::from_mode(0o555)).unwrap();
    Recorded { dir: build }
}

/// A kernel that root has built, linked again by somebody else: the first file that may not be written is named; a link
/// into a place of one's own works.
#[test]
fn a_tree_that_another_user_built() {
    // Root's own directories may be closed to others.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("vmlinker");
    fs::copy(vmlinker(), &program).unwrap();
    let own = dir.path().join("own");
    fs::create_dir(&own).unwrap();
    let kernel = tree_of_another(dir.path());
    let relink = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["relink", "-C"]).arg(&kernel.dir).args(words).current_dir(dir.path());
        if is_root() {
            std::os::unix::fs::chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        Said::by(&mut command)
    };
    let before = names(&kernel.dir);
    relink(&[]).refuses(&["", "Permission denied"]);
    assert_eq!(names(&kernel.dir), before);

    let output = own.join("vmlinux");
    let said = relink(&["--output", output.to_str().unwrap()]);
    assert_eq!(said.status, Some(0), "{said:?}");
    let reference = scratch();
    let reference = Recorded::of("6.12-tiny").relink(&reference.path().join("reference"), &[]);
    assert_same_bytes(&output, &reference.vmlinux, "linked by another user");
    fs::set_permissions(&kernel.dir, fs::Permissions::from_mode(0o755)).unwrap();
}

/// git does not look at a tree of another user ("dubious ownership"); nothing is installed half then.
#[test]
fn a_git_tree_that_git_does_not_trust_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("linux");
    fs::create_dir_all(tree.join("scripts")).unwrap();
    let scripts = source("6.12").join("scripts/link-vmlinux.sh");
    fs::copy(scripts, tree.join("scripts/link-vmlinux.sh")).unwrap();
    run(Command::new("git").args(["init", "-q"]).arg(&tree));
    let before = names(&tree.join("scripts"));
    let mut install = Command::new(vmlinker());
    install.arg("install").arg(&tree);
    // What git itself takes for a tree of another user, whoever runs this.
    install.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
    let said = Said::by(&mut install);
    said.refuses(&["", "linux: git refuses: ", "dubious ownership"]);
    assert!(said.err.contains("safe.directory"), "git's advice is kept: {}", said.err);
    assert_eq!(names(&tree.join("scripts")), before);
}

/// Kbuild itself refuses such paths for its trees; a link is run again in any place, and its tools may be anywhere.
#[test]
fn paths_with_spaces() {
    let dir = scratch();
    let spaced = dir.path().join("a tree of mine");
    let out = dir.path().join("out of it");
    fs::create_dir_all(&spaced).unwrap();
    fs::create_dir(&out).unwrap();
    let kernel = Recorded::of("6.12-tiny").altered(&spaced.join("the build"), |_| ());
    let reference = Recorded::of("6.12-tiny").relink(&dir.path().join("reference"), &[]);
    for (name, words) in
        [("lean kernel", &["--cold"][..]), ("merged kernel", &["--engine", "kernel"])]
    {
        let linked = kernel.relink(&out.join(name), words);
        linked.assert_same(&reference, name);
    }
    // A variable of make's holds words: a program whose name has spaces cannot be named in it, and this is told.
    let pahole = script(&out.join("my pahole"), "exec pahole \"$@\"");
    let kernel = Recorded::of("6.12-tiny").altered(&spaced.join("another"), |record| {
        record["call"]["env"]["PAHOLE"] = pahole.as_str().into();
    });
    let words = ["--engine", "btf=kernel"];
    let said = Said::of(&kernel.try_relink(&out.join("vmlinux"), &words));
    let program = pahole.split(' ').next().unwrap();
    said.refuses(&["BTF .tmp_vmlinux1.btf.o: ", program, ": no such program"]);
    assert_eq!(names(&out).len(), 5, "{:?}", names(&out));
}

/// Bytes on the disk of what a link has left in a directory, but for these.
fn left(dir: &Path, but: &[&str]) -> Vec<(String, u64)> {
    let entries = fs::read_dir(dir).unwrap().flatten();
    let files = entries.filter_map(|entry| {
        let meta = fs::symlink_metadata(entry.path()).ok().filter(|meta| meta.is_file())?;
        Some((entry.file_name().to_string_lossy().into_owned(), meta.blocks() * 512))
    });
    files.filter(|(name, _)| !but.contains(&name.as_str())).collect()
}

/// The script leaves a copy of the kernel with its debug information; the lean schedule writes it once.
#[test]
fn no_temporary_file_has_debug_information() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |_| ());
    // In the tree itself: what a link writes takes the place of the links to the shared tree.
    for name in names(&kernel.dir) {
        let made =
            ["vmlinux", "System.map", ".vmlinux.d", ".vmlinker.json"].contains(&name.as_str());
        if name.starts_with(".tmp_vmlinux")
            || name.starts_with(".btf.")
            || made && name != ".vmlinker.json"
        {
            fs::remove_file(kernel.dir.join(name)).unwrap();
        }
    }
    for pass in ["the first link", "a later link"] {
        let mut link = Command::new(vmlinker());
        run(link.args(["relink", "-C"]).arg(&kernel.dir));
        let debug = fs::metadata(kernel.dir.join("vmlinux")).unwrap().len();
        let left = left(&kernel.dir, &["vmlinux"]);
        let largest = left.iter().max_by_key(|(_, size)| *size).unwrap();
        let all: u64 = left.iter().map(|(_, size)| size).sum();
        // Two kernels without debug information, kallsyms and BTF.
        assert!(largest.1 < debug / 3, "{pass}: {largest:?} beside a kernel of {debug}");
        assert!(all < debug * 2 / 3, "{pass}: {all} bytes are left: {left:?}");
    }
}
