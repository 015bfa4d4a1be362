//! Schedules and engines: whoever does a step, the bytes are those of the kernel's own script.
//!
//! About 5 s for each link on an idle machine, so the kernel of every series has the table that its
//! differences call for: 6.12 and 7.3 every engine alone, the others all schedules and the kernel's tools.

use std::process::Command;

use peer_tests::link::{Linked, Recorded, scratch, vmlinker};
use peer_tests::run;

/// Each line of this table is one link. Two schedules take turns, so that every engine meets one and
/// the native engines meet both.
const EVERY_ENGINE: [&[&str]; 13] = [
    &["--schedule", "separate"],
    &["--schedule", "merged"],
    &["--schedule", "lean"],
    &["--engine", "kernel"],
    &["--schedule", "merged", "--engine", "sysmap=kernel"],
    &["--schedule", "separate", "--engine", "kallsyms=kernel"],
    &["--schedule", "merged", "--engine", "btf=pahole"],
    &["--schedule", "separate", "--engine", "btfobj=kernel"],
    &["--schedule", "merged", "--engine", "btfids=kernel"],
    &["--schedule", "merged", "--engine", "sorttable=kernel"],
    // Who does not make the types of the objects gets a kernel with debug information.
    &["--schedule", "lean", "--engine", "btf=pahole"],
    &["--schedule", "lean", "--engine", "btfids=kernel"],
    &["--schedule", "lean", "--engine", "fill=kernel"],
];

/// The kernel's tools in the schedule that is not the tree's own need the kernel's files under other names.
fn all_schedules(foreign: &'static str) -> [&'static [&'static str]; 4] {
    match foreign {
        "merged" => [
            &["--schedule", "separate"],
            &["--schedule", "merged"],
            &["--schedule", "lean"],
            &["--schedule", "merged", "--engine", "kernel"],
        ],
        _ => [
            &["--schedule", "separate"],
            &["--schedule", "merged"],
            &["--schedule", "lean"],
            &["--schedule", "separate", "--engine", "kernel"],
        ],
    }
}

fn same_as_the_script(name: &str, links: &[&[&str]]) {
    links_the_same(name, &Recorded::of(name), links);
}

fn links_the_same(name: &str, kernel: &Recorded, links: &[&[&str]]) {
    let dir = scratch();
    let script = kernel.relink(&dir.path().join("script"), &["--script"]);
    assert_plan_is_what_the_script_did(kernel, &script);
    for words in links {
        let what = format!("{name}, relink {}", words.join(" "));
        eprintln!("{what}");
        let ours = kernel.relink(&dir.path().join("ours"), words);
        ours.assert_same(&script, &what);
        if words.contains(&"lean") {
            let linked = ours.steps().iter().filter(|line| line.contains("  LD ")).count();
            assert!(linked <= 2, "{what}: {}", ours.stdout);
        }
        if *words == ["--engine", "kernel"] {
            assert_eq!(ours.steps(), script.steps(), "{what}: the lines of the steps");
        }
        ours.discard();
    }
}

/// The plan of the tree with the kernel's tools, beside the lines that its script printed.
fn assert_plan_is_what_the_script_did(kernel: &Recorded, script: &Linked) {
    let mut plan = Command::new(vmlinker());
    plan.arg("plan").arg("-C").arg(&kernel.dir).args(["--engine", "kernel"]);
    let text = String::from_utf8(run(plan.env_remove("KALLSYMS_EXTRA_PASS"))).unwrap();
    let planned: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
    // The plan's lines end with the last link; what is done to the linked kernel stands in the line below.
    let steps = script.steps();
    let last = steps.iter().rposition(|line| line.starts_with("  LD ")).expect("a link");
    assert_eq!(planned, steps[..=last], "{}", kernel.dir.display());
    let then = text.lines().last().unwrap().split_once("; then ").expect("what is done then").1;
    let then: Vec<&str> = then.split(", ").collect();
    let words = |line: &&str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(then, steps[last + 1..].iter().map(words).collect::<Vec<_>>());
}

#[test]
fn kernel_6_12_with_every_engine() {
    same_as_the_script("6.12-tiny", &EVERY_ENGINE);
}

#[test]
fn kernel_7_3_with_every_engine() {
    same_as_the_script("7.3-tiny", &EVERY_ENGINE);
}

#[test]
fn kernel_6_1_in_all_schedules() {
    same_as_the_script("6.1-tiny", &all_schedules("merged"));
}

#[test]
fn a_kernel_without_btf() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |_| ());
    // The same objects: the option only decides whether types are linked in.
    kernel.configure("DEBUG_INFO_BTF", "n");
    links_the_same("6.12-tiny without BTF", &kernel, &all_schedules("separate"));
}

#[test]
fn a_kernel_without_kallsyms() {
    same_as_the_script("6.12-tiny-nokallsyms", &all_schedules("separate"));
}
