//! The lean schedule: a full disk, a linker that misinforms, a linker that is not known.

use std::fs;
use std::process::Command;

use crate::outputs::run_limited;
use crate::tree::{Tree, run};

const SAYS_ITS_VERSION: &str =
    "[ \"$1\" = --version ] && echo 'GNU ld (GNU Binutils for Debian) 2.40' && exit";

/// A tree for which the lean schedule is known.
pub fn tree() -> Tree {
    let tree = Tree::new();
    tree.configure(&["MODULES", "KALLSYMS", "X86_64"]);
    tree
}

/// A link that `linker`, a shell script before the real one, does.
pub fn lean(tree: &Tree, before: &str, after: &str) -> Command {
    let body = format!("{SAYS_ITS_VERSION}\n{before}\nld \"$@\" || exit\n{after}");
    let mut link = tree.link_with(&tree.stub("stub-ld", &body));
    link.env("VMLINKER_FLAGS", "--schedule lean");
    link
}

#[test]
fn the_bytes_are_those_of_the_other_schedules() {
    let tree = tree();
    run(&mut tree.link()).succeeds();
    let merged = fs::read(tree.path("vmlinux")).unwrap();
    let result = run(&mut lean(&tree, "", ""));
    assert_eq!(result.status, 0, "{}", result.err);
    assert!(result.out.contains("  DEBUG   vmlinux\n"), "{}", result.out);
    assert!(fs::read(tree.path("vmlinux")).unwrap() == merged);
}

#[test]
fn a_disk_that_fills_up_while_debug_information_is_put_in() {
    let tree = tree();
    // A kernel that is larger than the limit, whose symbols are not.
    let source = ".globl start_kernel\n.text\nstart_kernel: .long 0\n.data\n.fill 100000, 1, 1\n";
    tree.compile("vmlinux.o", "assembler", source);
    let result = run_limited(&lean(&tree, "ulimit -S -f unlimited", ""), 32);
    result.fails(1, &["DEBUG vmlinux: ", "/.tmp_vmlinux2.whole: ", "File too large"]);
    tree.assert_no_result();
    assert!(!tree.has(".tmp_vmlinux2.whole"));
}

#[test]
fn a_map_that_is_cut_off_is_noticed_and_the_linker_does_it() {
    let tree = tree();
    run(&mut tree.link()).succeeds();
    let merged = fs::read(tree.path("vmlinux")).unwrap();
    let cuts = [": >", "sed -i /kallsyms.o/d"];
    for cut in cuts.map(|cut| format!("{cut} .tmp_vmlinux2.map")) {
        let after = format!("[ ! -e .tmp_vmlinux2.map ] || {{ {cut}; }}");
        let result = run(&mut lean(&tree, "", &after));
        assert_eq!(result.status, 0, "{}", result.err);
        let told = "vmlinker: vmlinux is linked once more: ";
        assert!(result.err.starts_with(told), "{cut}: {}", result.err);
        assert!(fs::read(tree.path("vmlinux")).unwrap() == merged, "{cut}");
        assert!(!tree.has(".tmp_vmlinux2.whole"));
        fs::remove_file(tree.path(".tmp_vmlinux2.map")).unwrap();
    }
}

#[test]
fn an_unknown_linker_links_by_the_trees_own_schedule() {
    let tree = tree();
    let body = "[ \"$1\" = --version ] && echo 'ld of tomorrow 3.0' && exit\nexec ld \"$@\"";
    let mut link = tree.link_with(&tree.stub("stub-ld", body));
    let result = run(link.env("VMLINKER_FLAGS", "--schedule lean"));
    assert_eq!(result.status, 0, "{}", result.err);
    let told = "vmlinker: the schedule is merged, not lean: not supported: the linker ld of tomorrow 3.0\n";
    assert_eq!(result.err, told);
    assert!(result.out.contains("  LD      vmlinux\n"), "{}", result.out);
}
