//! Links of a hollow `vmlinux.o`, and a linker that does not like it: it gets the object itself, and the bytes are the same.

use std::fs;

use crate::lean::{lean, tree};
use crate::tree::{Run, Tree, run};

const HOLLOW: &str = ".tmp_vmlinux.hollow.o";

const FIRST: &str = ".tmp_vmlinux1";
const SECOND: &str = ".tmp_vmlinux2";

/// Writes down what each link is given.
const NOTES: &str = "echo \"$@\" >> links";

/// A cold link in the tree, which runs `before` the linker, and the command lines of its links.
fn linked(tree: &Tree, before: &str, flags: &str) -> (Run, Vec<String>) {
    relinked(tree, before, &format!("--cold {flags}"))
}

/// The same, cold only if the flags say so.
fn relinked(tree: &Tree, before: &str, flags: &str) -> (Run, Vec<String>) {
    let _ = fs::remove_file(tree.path("links"));
    let mut link = lean(tree, &format!("{NOTES}\n{before}"), "");
    let result = run(link.env("VMLINKER_FLAGS", format!("--schedule lean {flags}")));
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

/// What is compiled to vmlinux.o is linked hollow, and to the bytes of the other schedules; a later link gets the object
/// itself, if that was needed.
fn compiled(source: &str) -> (Run, Vec<String>) {
    let tree = tree();
    tree.compile("vmlinux.o", "assembler", &format!(".globl start_kernel\n.text\n{source}"));
    run(&mut tree.link()).succeeds();
    let merged = kernel(&tree);
    let (result, links) = linked(&tree, "", "");
    assert_eq!(result.status, 0, "{}", result.err);
    assert!(kernel(&tree) == merged, "{source}: other bytes");
    let given = hollow(&links).last().is_some_and(|(_, hollow)| !hollow);
    let (later, again) = relinked(&tree, "", "");
    later.succeeds();
    assert_eq!(tried(&again) == 0, given, "{again:?}");
    assert!(kernel(&tree) == merged, "{source}: other bytes later");
    (result, links)
}

#[test]
fn an_object_whose_file_the_linker_names_in_the_symbol_table() {
    let (result, links) = compiled("start_kernel: .long local\nlocal: .quad start_kernel\n");
    result.succeeds();
    assert_eq!(hollow(&links), [(FIRST, true), (FIRST, false), (SECOND, false)]);
}

#[test]
fn what_cannot_be_put_in_is_linked_from_the_object_itself() {
    // The linker makes a global offset table, so that all that follows lies elsewhere; by a record of its own it is
    // not seen in the symbols.
    let table = [
        "start_kernel: .long 0\n.reloc start_kernel, R_X86_64_GOTPCREL, counter\n",
        ".data\n.globl counter\ncounter: .quad start_kernel\n",
    ];
    let other = "start_kernel: .word 0\n.reloc start_kernel, R_X86_64_PC16, start_kernel\n";
    for source in [table.concat().as_str(), other] {
        let (result, links) = compiled(source);
        let told = "vmlinker: vmlinux is linked once more: ";
        assert!(result.err.starts_with(told), "{source}: {}", result.err);
        assert_eq!(result.err.lines().count(), 1, "{}", result.err);
        let expected = [(FIRST, true), (SECOND, true), (FIRST, false), (SECOND, false)];
        assert_eq!(hollow(&links), expected, "{source}");
    }
}

#[test]
fn what_no_link_can_do_is_told_by_the_linker() {
    let faults = [
        ("start_kernel: .quad nobody_has_this\n", "undefined reference to `nobody_has_this'"),
        ("start_kernel: .long far\nfar = 1 << 40\n.globl far\n", "relocation truncated to fit"),
    ];
    for (source, words) in faults {
        let tree = tree();
        tree.compile("vmlinux.o", "assembler", &format!(".globl start_kernel\n.text\n{source}"));
        let (result, _) = linked(&tree, "", "");
        assert_eq!(result.status, 1, "{source}");
        assert_eq!(result.err.matches(words).count(), 1, "{}", result.err);
        assert!(!result.err.contains(HOLLOW), "{}", result.err);
        let last = result.err.lines().last().unwrap();
        assert!(last.starts_with("vmlinker: LD .tmp_vmlinux1: "), "{last}");
        tree.assert_no_result();
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
