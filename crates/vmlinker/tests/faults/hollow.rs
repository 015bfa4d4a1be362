//! Links of a hollow `vmlinux.o`, and a linker that does not like it: it gets the object itself, and the bytes are the same.

use std::fs;

use crate::lean::{lean, tree};
use crate::tree::{Run, Tree, run};

const HOLLOW: &str = ".tmp_vmlinux.hollow.o";

const FIRST: &str = ".tmp_vmlinux1";

/// Writes down what each link is given.
const NOTES: &str = "echo \"$@\" >> links";

/// A link in the tree, which runs `before` the linker, and the command lines of its links.
fn linked(tree: &Tree, before: &str, flags: &str) -> (Run, Vec<String>) {
    let _ = fs::remove_file(tree.path("links"));
    let mut link = lean(tree, &format!("{NOTES}\n{before}"), "");
    let result = run(link.env("VMLINKER_FLAGS", format!("--schedule lean --cold {flags}")));
    assert!(!tree.has(HOLLOW), "it is left");
    let links = tree.read("links");
    // Its version is asked for too.
    (result, links.lines().filter(|line| line.contains(" -o ")).map(str::to_owned).collect())
}

fn kernel(tree: &Tree) -> Vec<u8> {
    fs::read(tree.path("vmlinux")).unwrap()
}

/// Each link's output, and whether it was given the hollow object.
fn hollow(links: &[String]) -> Vec<(&str, bool)> {
    links.iter().map(|line| (output(line), line.contains(HOLLOW))).collect()
}

fn output(line: &str) -> &str {
    let (_, behind) = line.split_once(" -o ").unwrap();
    behind.split(' ').next().unwrap()
}

/// How many links were given it.
fn tried(links: &[String]) -> usize {
    hollow(links).iter().filter(|(_, hollow)| *hollow).count()
}

#[test]
fn a_kernel_that_only_tells_where_all_is_has_no_contents() {
    let tree = tree();
    run(&mut tree.link()).succeeds();
    let merged = kernel(&tree);
    let (result, links) = linked(&tree, "", "");
    result.succeeds();
    assert_eq!(hollow(&links)[0], (FIRST, true));
    assert!(kernel(&tree) == merged);
    let text = |name: &str| {
        let bytes = fs::read(tree.path(name)).unwrap();
        let elf = image::Elf::parse(&bytes).unwrap();
        let (_, section) = elf.section(".text").unwrap();
        (section.addr, section.size, elf.bytes(section).unwrap().iter().all(|&byte| byte == 0))
    };
    let (hollow, whole) = (text(".tmp_vmlinux1"), text("vmlinux"));
    assert_eq!((hollow.0, hollow.1), (whole.0, whole.1));
    assert!(!whole.2);
    let (result, links) = linked(&tree, "", "--engine fill=kernel");
    result.succeeds();
    assert_eq!(tried(&links), 0, "{links:?}");
    assert!(kernel(&tree) == merged);
}

#[test]
fn a_linker_that_refuses_it_or_complains_of_it_gets_the_object_itself() {
    let tree = tree();
    run(&mut tree.link()).succeeds();
    let merged = kernel(&tree);
    let faults = [
        "echo >&2 no relocations; exit 1",
        "echo >&2 $0: strange: .tmp_vmlinux.hollow.o",
        "exit 7",
    ];
    for fault in faults {
        let (result, links) =
            linked(&tree, &format!("case \"$*\" in *{HOLLOW}*) {fault};; esac"), "");
        result.succeeds();
        assert_eq!(hollow(&links)[..2], [(FIRST, true), (FIRST, false)], "{fault}");
        assert_eq!(tried(&links), 1, "it is not tried again");
        assert!(kernel(&tree) == merged, "{fault}");
    }
}

#[test]
fn what_the_linker_says_of_anything_else_is_heard_once() {
    let tree = tree();
    let (result, links) =
        linked(&tree, "case \"$*\" in *'-o .tmp_vmlinux1 '*) echo >&2 a warning;; esac", "");
    assert_eq!((result.status, &*result.err), (0, "a warning\n"));
    assert_eq!(hollow(&links)[0], (FIRST, true));
}

#[test]
fn an_object_that_cannot_be_hollow_is_linked_as_it_is() {
    let tree = tree();
    let source = ".globl start_kernel\nstart_kernel: .long 0\n\
                  .section .gnu.warning.gone\n.string \"do not\"\n";
    tree.compile("vmlinux.o", "assembler", source);
    let (result, links) = linked(&tree, "", "");
    let told = "vmlinker: the linker gets all contents: not supported: vmlinux.o: .gnu.warning.gone is a warning\n";
    assert_eq!((result.status, &*result.err), (0, told));
    assert_eq!(tried(&links), 0);
}
