//! What goes wrong in a link, and how vmlinker ends then: one clear line that names step, file and
//! cause, a failing exit status, nothing left that could be taken for a kernel, and no process left.
//!
//! Every test is a link of a tree in miniature by the real program, GNU ld and make, or by shell scripts
//! in their place that fail as real tools do.

mod environment;
mod hollow;
mod inputs;
mod interrupts;
mod lean;
mod make;
mod outputs;
mod records;
mod tools;
mod tree;
mod warm;

use std::process::Command;

use tree::{Tree, run};

/// What nm itself says of the linked kernel, without the local absolute symbols.
fn listed(tree: &Tree) -> Vec<String> {
    let mut nm = Command::new("nm");
    let nm = nm.args(["-n", "vmlinux"]).current_dir(tree.dir()).output().unwrap();
    let lines = String::from_utf8(nm.stdout).unwrap();
    lines.lines().filter(|line| !line.contains(" a ")).map(str::to_string).collect()
}

#[test]
fn a_link_without_faults_makes_a_kernel_and_its_map_twice() {
    let tree = Tree::new();
    let steps = run(&mut tree.link()).succeeds().out.clone();
    assert!(steps.contains("  LD      .tmp_vmlinux2\n"), "{steps}");
    assert!(steps.ends_with("  LD      vmlinux\n  NM      System.map\n"), "{steps}");
    let map = tree.read("System.map");
    let mut lines: Vec<&str> = map.lines().collect();
    let mut listed = listed(&tree);
    lines.sort_unstable();
    listed.sort_unstable();
    assert_eq!(lines, listed);
    assert!(map.contains(" T start_kernel\n") && map.contains(" t step\n"), "{map}");
    let kernel = std::fs::read(tree.path("vmlinux")).unwrap();
    assert_eq!(run(&mut tree.link()).succeeds().out, steps);
    assert_eq!(std::fs::read(tree.path("vmlinux")).unwrap(), kernel);
    assert_eq!(tree.read("System.map"), map);
    assert!(tree.has(".vmlinux.d"));
    tree.assert_nothing_half_written();
}
