//! A lean link that knows the sizes of the one before: sizes that are wrong, refused, damaged, lost or foreign, links that
//! are killed or run at once. Whatever happens, the bytes are those of a link that knows nothing.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::interrupts::{HANG, Hanging, wait_for};
use crate::lean::{lean, tree};
use crate::tree::{Run, Tree, run};

const SIZES: &str = ".vmlinker.sizes";

/// Images that the linker made, in their order.
fn links(result: &Run) -> Vec<&str> {
    result.out.lines().filter_map(|line| line.strip_prefix("  LD      ")).collect()
}

const COLD: [&str; 2] = [".tmp_vmlinux1", ".tmp_vmlinux2"];
const WARM: [&str; 1] = [".tmp_vmlinux2"];
const MENDED: [&str; 2] = [".tmp_vmlinux2", ".tmp_vmlinux3"];

/// A tree after a lean link, and the kernel.
fn linked() -> (Tree, Vec<u8>) {
    let tree = tree();
    assert_eq!(links(run(&mut lean(&tree, "", "")).succeeds()), COLD);
    let kernel = kernel(&tree);
    (tree, kernel)
}

fn kernel(tree: &Tree) -> Vec<u8> {
    fs::read(tree.path("vmlinux")).unwrap()
}

/// A lean link in the tree succeeds, links these, and makes this kernel.
#[track_caller]
fn assert_links(tree: &Tree, expected: &[&str], made: &[u8]) {
    let result = run(&mut lean(tree, "", ""));
    assert_eq!(links(result.succeeds()), expected, "{}", result.out);
    assert!(kernel(tree) == made, "other bytes");
}

/// The kernel that the kernel's own schedule makes.
fn merged(tree: &Tree) -> Vec<u8> {
    let mut link = tree.link();
    let result = run(link.env("VMLINKER_FLAGS", "--schedule merged"));
    assert!(result.succeeds().out.contains("  LD      vmlinux\n"), "{}", result.out);
    kernel(tree)
}

#[test]
fn a_tree_that_was_linked_links_its_kernel_once() {
    let (tree, made) = linked();
    assert_links(&tree, &WARM, &made);
    assert!(merged(&tree) == made);
    // Whatever schedule it was that linked last.
    fs::remove_file(tree.path(SIZES)).unwrap();
    merged(&tree);
    assert_links(&tree, &WARM, &made);
    let plan = run(&mut tree.vmlinker(&["plan", "-C", ".", "--schedule", "separate"]));
    assert_eq!(links(plan.succeeds()).len(), 3);
}

#[test]
fn the_plan_that_is_printed_is_the_one_that_runs() {
    let (tree, _) = linked();
    // The linker of the record is the one that tells its version.
    let plan = |words: &[&str]| {
        let words = [&["plan", "-C", ".", "--schedule", "lean"], words].concat();
        run(&mut tree.vmlinker(&words)).succeeds().out.clone()
    };
    let planned = plan(&[]);
    let steps: Vec<&str> = planned.lines().filter(|line| line.starts_with("  ")).collect();
    let ran = run(&mut lean(&tree, "", ""));
    assert!(ran.out.starts_with(&(steps.join("\n") + "\n")), "{planned}\n{}", ran.out);
    assert!(plan(&[]).contains("1 link without debug information and no final one"));
    assert!(plan(&["--cold"]).contains("2 links without debug information and no final one"));
}

#[test]
fn a_kernel_with_other_sizes_is_linked_once_more() {
    let (tree, old) = linked();
    tree.name_functions((0..50).map(|i| format!("function_{i}")));
    let result = run(&mut lean(&tree, "", ""));
    assert_eq!(links(result.succeeds()), MENDED);
    let made = kernel(&tree);
    assert!(made != old && made == merged(&tree));
    assert_links(&tree, &WARM, &made);
}

#[test]
fn numbers_that_are_wrong_cost_a_link_and_no_more() {
    let (tree, made) = linked();
    let right = tree.read(SIZES);
    let numbers = ["symbols", "names", "tokens"];
    for (name, wrong) in numbers.into_iter().flat_map(|name| [(name, "300"), (name, "5000")]) {
        let (before, rest) = right.split_once(&format!("\"{name}\":")).unwrap();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        tree.write(SIZES, format!("{before}\"{name}\":{wrong}{rest}"));
        let result = run(&mut lean(&tree, "", ""));
        assert_eq!(links(result.succeeds()).len(), 2, "{name} {wrong}: {}", result.out);
        assert!(kernel(&tree) == made, "{name} {wrong}");
        assert_eq!(tree.read(SIZES), right);
    }
}

#[test]
fn a_file_that_is_damaged_or_foreign_is_as_good_as_none() {
    let (tree, made) = linked();
    let right = tree.read(SIZES);
    let foreign = [
        String::new(),
        "{}".to_string(),
        right[..right.len() / 2].to_string(),
        right.replace("\"format\":2", "\"format\":1"),
        right.replace(env!("CARGO_PKG_VERSION"), "9.9.9"),
        right.replace("\"vmlinux\"", "\"vmlinux.unstripped\""),
        right.replace("\"symbols\":", "\"symbols\":99999999"),
        "\0".repeat(5000),
    ];
    for text in foreign {
        assert_ne!(text, right);
        tree.write(SIZES, &text);
        assert_links(&tree, &COLD, &made);
        assert_eq!(tree.read(SIZES), right, "{text}");
    }
    fs::remove_file(tree.path(SIZES)).unwrap();
    assert_links(&tree, &COLD, &made);
}

#[test]
fn a_place_that_takes_no_file_is_told_and_the_link_succeeds() {
    let (tree, made) = linked();
    fs::remove_file(tree.path(SIZES)).unwrap();
    tree.write(&format!("{SIZES}/file"), "");
    let result = run(&mut lean(&tree, "", ""));
    assert_eq!((result.status, links(&result)), (0, COLD.to_vec()));
    assert!(result.err.starts_with("vmlinker: the sizes are not remembered: "), "{}", result.err);
    assert!(kernel(&tree) == made);
    tree.assert_nothing_half_written();
}

/// A link that knows sizes fails with `fault`, a shell command; one that does not, succeeds.
fn refusing(tree: &Tree, fault: &str) -> Command {
    let refuse = format!("case \"$*\" in *.tmp_vmlinux0.*\"-o .tmp_vmlinux2 \"*) {fault};; esac");
    let refuse =
        format!("{refuse}\ncase \"$*\" in *\"-o .tmp_vmlinux2 \"*.tmp_vmlinux0.*) {fault};; esac");
    lean(tree, &refuse, "")
}

#[test]
fn sizes_that_the_linker_refuses_are_forgotten_without_a_word() {
    let (tree, made) = linked();
    for fault in ["echo >&2 the image is too big; exit 1", "kill -9 $$"] {
        let result = run(&mut refusing(&tree, fault));
        let linked = [&WARM[..], &COLD].concat();
        assert_eq!(links(result.succeeds()), linked, "{}", result.out);
        assert!(kernel(&tree) == made);
    }
    // What it says of a link that succeeds is heard.
    let result = run(&mut refusing(&tree, "echo >&2 a warning"));
    assert_eq!((result.status, result.err.as_str()), (0, "a warning\n"));
    assert_eq!(links(&result), WARM);
}

#[test]
fn a_link_that_fails_anyway_is_told_once() {
    let (tree, _) = linked();
    let right = tree.read(SIZES);
    let source = ".globl start_kernel\nstart_kernel: .quad nobody_has_this\n";
    tree.compile("vmlinux.o", "assembler", source);
    let result = run(&mut lean(&tree, "", ""));
    // A link without relocations has nothing to complain of; what puts them in has, and the linker tells what it is.
    let lines: Vec<&str> = result.err.lines().collect();
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    assert!(first.starts_with("vmlinker: vmlinux is linked once more: vmlinux.o: "), "{first}");
    assert!(last.starts_with("vmlinker: LD .tmp_vmlinux1: "), "{last}");
    assert!(last.ends_with("stub-ld failed with exit status 1"), "{last}");
    assert_eq!((result.status, result.err.matches("vmlinker: ").count()), (1, 2));
    assert_eq!(result.err.matches("undefined reference to `nobody_has_this'").count(), 1);
    tree.assert_no_result();
    // The old sizes are as good as before.
    assert_eq!(tree.read(SIZES), right);
}

#[test]
fn cold_forgets_first_and_remembers_in_the_end() {
    let (tree, made) = linked();
    let right = tree.read(SIZES);
    let cold = |before: &str| {
        let mut link = lean(&tree, before, "");
        link.env("VMLINKER_FLAGS", "--schedule lean --cold");
        run(&mut link)
    };
    let result = cold("case \"$*\" in *\"-o .tmp_vmlinux2 \"*) exit 3;; esac");
    assert_eq!((result.status, links(&result)), (3, COLD.to_vec()));
    assert!(!tree.has(SIZES));
    assert_eq!(links(cold("").succeeds()), COLD);
    assert!(kernel(&tree) == made);
    assert_eq!(tree.read(SIZES), right);
}

#[test]
fn a_relink_into_another_file_uses_the_sizes_and_leaves_them() {
    let (tree, made) = linked();
    let right = tree.read(SIZES);
    let relink = |words: &[&str]| {
        let words = [&["relink", "--schedule", "lean"], words].concat();
        run(&mut tree.vmlinker(&words))
    };
    let out = ["--output", "out.kernel"];
    assert_eq!(links(relink(&out).succeeds()), WARM);
    assert!(fs::read(tree.path("out.kernel")).unwrap() == made);
    assert_eq!(links(relink(&[&out[..], &["--cold"]].concat()).succeeds()), COLD);
    assert_eq!(tree.read(SIZES), right);
    tree.write(SIZES, "");
    assert_eq!(links(relink(&out).succeeds()), COLD);
    assert_eq!(tree.read(SIZES), "");
    assert_eq!(links(relink(&[&out[..], &["--remember"]].concat()).succeeds()), COLD);
    assert_eq!(tree.read(SIZES), right);
}

#[test]
fn clean_removes_what_is_remembered() {
    let (tree, _) = linked();
    let mut clean = tree.vmlinker(&["link", "clean"]);
    run(clean.env("srctree", ".")).succeeds();
    assert!(!tree.has(SIZES));
}

#[test]
fn a_killed_link_leaves_the_sizes_as_they_were() {
    let (tree, made) = linked();
    let right = tree.read(SIZES);
    let hang = format!("case \"$*\" in *\"-o .tmp_vmlinux2 \"*)\n{HANG}\n;; esac");
    let mut hanging = Hanging::start(&tree, lean(&tree, &hang, ""));
    hanging.signal(Signal::KILL);
    drop(hanging);
    assert!(!tree.has("vmlinux"));
    assert_eq!(tree.read(SIZES), right);
    assert_links(&tree, &WARM, &made);
}

#[test]
fn an_interrupt_of_the_trial_is_no_reason_to_start_again() {
    let (tree, _) = linked();
    let hang = format!("case \"$*\" in *\"-o .tmp_vmlinux2 \"*)\n{HANG}\n;; esac");
    let mut hanging = Hanging::start(&tree, lean(&tree, &hang, ""));
    hanging.signal(Signal::TERM);
    let result = hanging.said();
    result.fails(143, &["LD .tmp_vmlinux2: interrupted by SIGTERM"]);
    assert_eq!(links(&result), WARM);
}

#[test]
fn links_at_once_leave_sound_sizes() {
    let (tree, made) = linked();
    let right = tree.read(SIZES);
    for turn in 0..8 {
        if turn % 2 == 0 {
            fs::remove_file(tree.path(SIZES)).unwrap();
        }
        let children: Vec<_> = (0..3)
            .map(|_| {
                let mut link = lean(&tree, "", "");
                link.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for mut child in children {
            // They work on the same files, so they may fail; not one of them waits for ever.
            wait_for("the link ends", || child.try_wait().unwrap());
        }
        // Nothing but what one of them has finished writing.
        assert!(!tree.has(SIZES) || tree.read(SIZES) == right, "{}", tree.read(SIZES));
        let result = run(&mut lean(&tree, "", ""));
        result.succeeds();
        assert!(kernel(&tree) == made);
        assert_eq!(tree.read(SIZES), right);
    }
}
