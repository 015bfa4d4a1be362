//! The lean schedule in a tree that was linked before: one link, and the bytes are those of the kernel's own script.
//!
//! Predictions that are right and wrong, on the kernels of all series; and through make, one changed source file after
//! the other, of which some change the size of kallsyms or of BTF.

use std::fs;

use peer_tests::link::{Linked, PrivateTrees, Recorded, assert_same_bytes, scratch};
use serde_json::Value;

use crate::variants::{LLD, without_the_flag_of_gnu_ld};

/// What a tree remembers of its last link: sizes, its units' types, and its debug strings.
const SIZES: &str = ".vmlinker.sizes";
const TYPES: &str = ".vmlinker.types";
const STRINGS: &str = ".vmlinker.strings";

const LEAN: [&str; 2] = ["--schedule", "lean"];

/// How many links the lines of the steps tell of.
fn links(steps: &str) -> usize {
    steps.lines().filter(|line| line.starts_with("  LD      .tmp_vmlinux")).count()
}

/// A kernel in whose tree another prediction can be put, beside what the kernel's script makes of it.
struct Predicted {
    kernel: Recorded,
    script: Linked,
    /// The words for either way to link.
    words: &'static [&'static str],
    dir: tempfile::TempDir,
}

impl Predicted {
    fn new(name: &str, change: impl FnOnce(&mut Value)) -> Self {
        Predicted::linked_by(&[], name, change)
    }

    fn linked_by(
        words: &'static [&'static str],
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let dir = scratch();
        let kernel = Recorded::of(name).altered(&dir.path().join("build"), change);
        let script = kernel.relink(&dir.path().join("script"), &[words, &["--script"]].concat());
        Predicted { kernel, script, words, dir }
    }

    /// Links by the lean schedule with these words: so many links, not one with debug information, the same bytes.
    fn link(&self, words: &[&str], expected: usize, what: &str) {
        let ours = self.dir.path().join("ours");
        let output = self.kernel.try_relink(&ours, &[&LEAN[..], self.words, words].concat());
        let (out, err) = (output.stdout, output.stderr);
        let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
        assert!(output.status.success(), "{what}: {err}");
        assert_eq!(links(&out), expected, "{what}: {out}");
        assert!(!err.contains("linked once more"), "{what}: {err}");
        assert_same_bytes(&ours, &self.script.vmlinux, what);
        let map = self.dir.path().join("ours.System.map");
        assert_same_bytes(&map, &self.script.system_map, what);
        fs::remove_file(ours).expect("a test's own file can be removed");
    }

    fn sizes(&self) -> Value {
        let text = fs::read_to_string(self.kernel.dir.join(SIZES)).expect("sizes are remembered");
        serde_json::from_str(&text).expect("they are JSON")
    }

    fn predict(&self, sizes: &Value) {
        fs::write(self.kernel.dir.join(SIZES), sizes.to_string()).expect("the view is writable");
    }
}

fn links_once(name: &str, change: impl FnOnce(&mut Value)) {
    let tree = Predicted::new(name, change);
    tree.link(&["--remember"], 2, &format!("{name}, cold"));
    tree.link(&[], 1, &format!("{name}, warm"));
    for file in [TYPES, STRINGS] {
        remembers(&tree, file, name);
    }
    let right = tree.sizes();
    let mut smaller = right.clone();
    smaller["btf"] = 1_234_567.into();
    let mut larger = right;
    larger["kallsyms"]["symbols"] = 99_999.into();
    for (what, wrong) in [("BTF was smaller", smaller), ("kallsyms was larger", larger)] {
        tree.predict(&wrong);
        tree.link(&[], 2, &format!("{name}, {what}"));
        assert_eq!(tree.sizes(), wrong, "--output leaves them alone");
    }
}

/// What is remembered in this file is right, and anything else is as good as nothing.
fn remembers(tree: &Predicted, file: &str, name: &str) {
    let (file, name) = (tree.kernel.dir.join(file), format!("{name}, {file}"));
    let right = fs::read(&file).expect("it is remembered");
    let mut damaged = right.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let others =
        [("cut off", right[..middle].to_vec()), ("damaged", damaged), ("foreign", vec![7; 4096])];
    for (what, bytes) in others {
        fs::write(&file, &bytes).expect("the view is writable");
        tree.link(&[], 1, &format!("{name} is {what}"));
        assert_eq!(fs::read(&file).expect("it stays"), bytes, "--output leaves it alone");
    }
    fs::write(&file, &right).expect("the view is writable");
    // What is remembered of what was remembered.
    for round in 0..2 {
        tree.link(&["--remember"], 1, &format!("{name} is known, round {round}"));
        assert!(file.exists(), "{name}, round {round}");
    }
}

#[test]
fn kernel_6_1_links_once() {
    links_once("6.1-tiny", |_| ());
}

#[test]
fn kernel_6_12_links_once() {
    links_once("6.12-tiny", |_| ());
}

#[test]
fn kernel_7_3_links_once() {
    links_once("7.3-tiny", |_| ());
}

/// As x86 links where the kernel can be moved: relocations stay, also those of what is filled in afterwards. From 7.0 on
/// kallsyms has one for each symbol.
#[test]
fn kernel_7_3_with_kept_relocations_links_once() {
    let name = "7.3-tiny with kept relocations";
    let tree = Predicted::new("7.3-tiny", |record| {
        let flags = record["call"]["ldflags_vmlinux"].as_str().expect("the linker's flags");
        record["call"]["ldflags_vmlinux"] = format!("{flags} --emit-relocs --discard-none").into();
    });
    tree.link(&["--remember"], 2, &format!("{name}, cold"));
    tree.link(&[], 1, &format!("{name}, warm"));
}

#[test]
fn ld_lld_links_6_12_once() {
    let tree = Predicted::linked_by(&["--ld", LLD], "6.12-tiny", without_the_flag_of_gnu_ld);
    tree.link(&["--remember"], 2, "ld.lld, cold");
    tree.link(&[], 1, "ld.lld, warm");
}

#[test]
fn a_kernel_without_kallsyms_links_once() {
    let tree = Predicted::new("6.12-tiny-nokallsyms", |_| ());
    tree.link(&["--remember"], 2, "without kallsyms, cold");
    tree.link(&[], 1, "without kallsyms, warm");
    let mut sizes = tree.sizes();
    sizes["btf"] = 1_234_567.into();
    tree.predict(&sizes);
    tree.link(&[], 2, "without kallsyms, BTF was smaller");
}

/// Two sizes are remembered and one is needed.
#[test]
fn a_kernel_that_has_btf_no_more_links_once() {
    let tree = Predicted::new("6.12-tiny", |_| ());
    let Predicted { kernel, .. } = &tree;
    tree.link(&["--remember"], 2, "with BTF, cold");
    kernel.configure("DEBUG_INFO_BTF", "n");
    let script = kernel.relink(&tree.dir.path().join("script"), &["--script"]);
    let tree = Predicted { script, ..tree };
    // .BTF_ids and the symbols around .BTF are still there, so kallsyms has the size that it had.
    tree.link(&[], 1, "without BTF, warm");
}

/// What stands at the end of a source file, by what it changes.
const CHANGES: [(&str, &str, usize); 8] = [
    ("a function is new", "int vmlinker_test(int n) { return n + 1; }", 2),
    ("its body is another", "int vmlinker_test(int n) { return n * 7 + 2; }", 1),
    (
        "it has a type of its own",
        "int vmlinker_test(int n) { struct vmlinker_test_pair { int first, second; } pair = { n, 2 };
         asm volatile(\"\" : : \"r\" (&pair) : \"memory\"); return pair.first; }",
        2,
    ),
    (
        "a variable is of a structure that is new",
        "struct vmlinker_test_new { int vmlinker_first; struct module *vmlinker_second[3]; } vmlinker_test;",
        2,
    ),
    (
        "it is one for each processor",
        "#include <linux/percpu.h>
         struct vmlinker_test_new { int vmlinker_first; struct module *vmlinker_second[3]; };
         DEFINE_PER_CPU(struct vmlinker_test_new, vmlinker_test);",
        2,
    ),
    (
        "it has another place",
        "#include <linux/percpu.h>
         DEFINE_PER_CPU(int, vmlinker_test_before);
         struct vmlinker_test_new { int vmlinker_first; struct module *vmlinker_second[3]; };
         DEFINE_PER_CPU(struct vmlinker_test_new, vmlinker_test);",
        2,
    ),
    ("nothing that is compiled", "/* */", 2),
    ("nothing at all", "/* */", 0),
];

#[test]
fn one_changed_source_file_after_the_other_through_make() {
    let dir = scratch();
    let trees = PrivateTrees::new("6.12-tiny", "6.12", dir.path());
    trees.vmlinker("install");
    let source = trees.source.join("init/calibrate.c");
    let original = fs::read_to_string(&source).expect("a kernel has this file");
    let make = || trees.make_words(["VMLINKER_FLAGS=--schedule lean", "vmlinux"]);
    let said = make();
    assert_eq!(links(&said), 2, "cold: {said}");
    let record = Recorded { dir: trees.build.clone() };
    for (what, text, expected) in CHANGES {
        if expected > 0 {
            fs::write(&source, format!("{original}\n{text}\n")).expect("the copy is writable");
        }
        let said = make();
        assert_eq!(links(&said), expected, "{what}: {said}");
        let timeline = trees.timeline();
        let units = timeline.split("; ").find(|words| words.contains("units known"));
        let units = units.unwrap_or_else(|| panic!("{what}: {timeline}"));
        assert!(!units.starts_with("0 "), "{what}: {units}");
        // What the kernel's own script makes of the same tree, time stamp and all.
        let script = record.relink(&dir.path().join("script"), &["--script"]);
        assert_same_bytes(&trees.build.join("vmlinux"), &script.vmlinux, what);
        assert_same_bytes(&trees.build.join("System.map"), &script.system_map, what);
        script.discard();
    }
}
