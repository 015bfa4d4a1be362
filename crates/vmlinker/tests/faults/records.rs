//! Links run again: without a record, with a damaged one, and with faults on the way.

use std::fs;

use crate::tree::{Run, Tree, run};

/// `vmlinker relink` in the tree.
fn relink(tree: &Tree, words: &[&str]) -> Run {
    run(&mut tree.vmlinker(&[&["relink"], words].concat()))
}

/// A tree that was linked once.
fn linked() -> Tree {
    let tree = Tree::new();
    run(&mut tree.link()).succeeds();
    tree
}

#[test]
fn a_link_that_was_not_recorded_is_told() {
    let tree = Tree::new();
    let result = relink(&tree, &[]);
    result.fails(1, &["", ".vmlinker.json: ", "no link has been recorded in this tree"]);
    assert!(result.err.contains("vmlinker install SRCTREE"), "{}", result.err);
    let result = relink(&tree, &["-C", "no/such/tree"]);
    result.fails(1, &["", "no/such/tree"]);
}

#[test]
fn a_damaged_record_is_told() {
    let tree = linked();
    let record = tree.read(".vmlinker.json");
    let kernel = fs::read(tree.path("vmlinux")).unwrap();
    for damaged in ["", "{}", "[1, 2", &record[..record.len() / 2]] {
        tree.write(".vmlinker.json", damaged);
        relink(&tree, &[]).fails(1, &["", ".vmlinker.json: ", "not a record of a link: "]);
    }
    tree.write(".vmlinker.json", record.replace("\"format\": 1", "\"format\": 7"));
    relink(&tree, &[]).fails(1, &["", ".vmlinker.json: ", "form 7 of the record"]);
    // Nothing was begun, so the kernel is the one that was there.
    assert_eq!(fs::read(tree.path("vmlinux")).unwrap(), kernel);
}

#[test]
fn a_failed_relink_leaves_an_older_output_as_it_was() {
    let tree = linked();
    let kernel = fs::read(tree.path("vmlinux")).unwrap();
    tree.write("out/kernel", "older");
    tree.write("out/kernel.System.map", "older");
    let whole = fs::read(tree.path("vmlinux.o")).unwrap();
    tree.write("vmlinux.o", &whole[..whole.len() / 2]);
    relink(&tree, &["--output", "out/kernel"]).fails(1, &["LD vmlinux: ", "vmlinux.o: "]);
    tree.write("vmlinux.o", &whole);
    fs::rename(tree.path("vmlinux.lds"), tree.path("moved.lds")).unwrap();
    let result = relink(&tree, &["--output", "out/kernel"]);
    result.fails(1, &["LD .tmp_vmlinux1: ", "ld failed with exit status 1"]);
    assert_eq!(tree.read("out/kernel"), "older");
    assert_eq!(tree.read("out/kernel.System.map"), "older");
    assert_eq!(fs::read_dir(tree.path("out")).unwrap().count(), 2, "the shadow is left");
    assert_eq!(fs::read(tree.path("vmlinux")).unwrap(), kernel);
    fs::rename(tree.path("moved.lds"), tree.path("vmlinux.lds")).unwrap();
    relink(&tree, &["--output", "out/kernel"]).succeeds();
    assert_eq!(fs::read(tree.path("out/kernel")).unwrap(), kernel);
    assert_eq!(tree.read("out/kernel.System.map"), tree.read("System.map"));
}

#[test]
fn an_output_in_a_missing_directory_is_refused_before_the_link() {
    let tree = linked();
    let result = relink(&tree, &["--output", "no/such/place/kernel"]);
    result.fails(1, &["", "no/such/place"]);
    assert_eq!(result.out, "");
    assert!(tree.has("vmlinux"));
}
