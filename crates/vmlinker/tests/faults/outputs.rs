//! Places that cannot be written to.
//!
//! A full disk is played by a limit on the size of files, which any user can set; where a tool can be
//! made to write to a device, /dev/full plays it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::tree::{Run, Tree, VMLINKER, run, under};

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// Runs `command` with files limited to `blocks` of 512 bytes; the tools may lift the limit.
pub fn run_limited(command: &Command, blocks: u32) -> Run {
    let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" \"$@\"");
    run(&mut under("sh", &["-c", &script], command))
}

/// A tree of so many symbols that a list of them is larger than the record of a link.
fn large_tree() -> Tree {
    let tree = Tree::new();
    tree.name_functions((0..3000).map(|i| format!("function_{i}")));
    tree
}

#[test]
fn a_disk_that_fills_up_while_vmlinker_writes() {
    let tree = large_tree();
    let linker = tree.stub("stub-ld", "ulimit -S -f unlimited\nexec ld \"$@\"");
    let link = tree.link_with(&linker);
    let result = run_limited(&link, 0);
    result.fails(1, &["RECORD .vmlinker.json: ", "/.vmlinker.json: ", "File too large"]);
    tree.assert_no_result();
    let result = run_limited(&link, 32);
    result.fails(1, &["NM .tmp_vmlinux1.syms: ", "/.tmp_vmlinux1.syms: ", "File too large"]);
    tree.assert_no_result();
    assert!(!tree.has(".tmp_vmlinux1.syms"));
}

#[test]
fn a_disk_that_fills_up_while_the_linker_writes() {
    let tree = large_tree();
    let result = run_limited(&tree.link(), 32);
    result.fails(1, &["LD .tmp_vmlinux1: ", "ld failed with exit status 1"]);
    tree.assert_no_result();
}

#[test]
fn a_disk_that_fills_up_while_the_kernels_tools_write() {
    let tree = Tree::new();
    symlink("/dev/full", tree.path(".tmp_vmlinux1.syms")).unwrap();
    let mut link = tree.link();
    let result = run(link.env("VMLINKER_FLAGS", "--engine sysmap=kernel"));
    result.fails(4, &["NM .tmp_vmlinux1.syms: ", "sed failed with exit status 4"]);
    tree.assert_no_result();
}

#[test]
fn standard_output_that_takes_nothing() {
    let tree = Tree::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = tree.link().stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let result = Run::of(child.wait_with_output().unwrap());
    result.fails(1, &["KSYMS .tmp_vmlinux0.kallsyms.o: ", "standard output: No space left"]);
    tree.assert_no_result();
}

#[test]
fn standard_error_that_takes_nothing_changes_no_status() {
    let tree = Tree::new();
    for verbose in ["0", "1"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut link = tree.link_with(&tree.linker(".tmp_vmlinux.unfinished", "exit 42"));
        let link = link.env("KBUILD_VERBOSE", verbose).stderr(full).stdout(Stdio::piped());
        assert_eq!(link.spawn().unwrap().wait().unwrap().code(), Some(42));
        tree.assert_no_result();
    }
}

#[test]
fn a_directory_in_the_place_of_an_output() {
    let cases = [
        (".tmp_vmlinux1.syms", "NM .tmp_vmlinux1.syms: "),
        (".tmp_vmlinux2.kallsyms.o", "KSYMS .tmp_vmlinux2.kallsyms.o: "),
        (".vmlinux.d", "LD vmlinux: "),
        (".vmlinker.json", "RECORD .vmlinker.json: "),
        ("vmlinux", "LD vmlinux: "),
    ];
    for (name, step) in cases {
        let tree = Tree::new();
        tree.write(&format!("{name}/file"), "");
        run(&mut tree.link()).fails(1, &[step, &format!("/{name}: "), "Is a directory"]);
        fs::remove_dir_all(tree.path(name)).unwrap();
        tree.assert_no_result();
    }
}

#[test]
fn a_file_in_the_place_of_a_directory() {
    let tree = Tree::new();
    fs::remove_dir_all(tree.path("include/config")).unwrap();
    tree.write("include/config", "");
    run(&mut tree.link()).fails(1, &["", "include/config/auto.conf: ", "Not a directory"]);
    tree.assert_no_result();
}

#[test]
fn a_tree_that_may_not_be_written_to() {
    let tree = Tree::new();
    // Root may write anywhere, so the link runs as nobody then, who must reach the program too.
    let program = tree.path("scripts/vmlinker");
    fs::copy(VMLINKER, &program).unwrap();
    let mode = |mode| fs::set_permissions(tree.dir(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    let link = tree.link();
    let mut command = Command::new(&program);
    command.args(link.get_args()).current_dir(tree.dir()).env_clear();
    command.envs(link.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let result = run(&mut command);
    mode(0o755);
    result.fails(1, &["RECORD .vmlinker.json: ", "/.vmlinker.json: ", "Permission denied"]);
    tree.assert_no_result();
}
