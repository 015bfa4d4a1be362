//! Damaged and strange inputs.

use std::fs;

use crate::tree::{Run, Tree, run};

/// Links the tree after a good link, so that an old kernel is there, and expects it gone.
#[track_caller]
fn refused(tree: &Tree, parts: &[&str]) -> Run {
    tree.write("vmlinux", "old");
    tree.write("System.map", "old");
    let result = run(&mut tree.link());
    result.fails(1, parts);
    tree.assert_no_result();
    assert!(!result.out.contains("LD"), "the linker ran: {}", result.out);
    result
}

#[test]
fn every_missing_object_is_named() {
    for name in ["vmlinux.o", ".vmlinux.export.o", "init/version-timestamp.o"] {
        let tree = Tree::new();
        fs::remove_file(tree.path(name)).unwrap();
        refused(&tree, &["LD vmlinux: ", &format!("/{name}: "), "No such file or directory"]);
    }
}

#[test]
fn a_truncated_kernel_object_is_refused_at_any_length() {
    let tree = Tree::new();
    let whole = fs::read(tree.path("vmlinux.o")).unwrap();
    for length in [0, 1, 4, 16, 63, 64, 65, 100, whole.len() / 2, whole.len() - 1] {
        tree.write("vmlinux.o", &whole[..length]);
        refused(&tree, &["LD vmlinux: ", "/vmlinux.o: "]);
    }
}

#[test]
fn what_is_no_elf_file_is_refused() {
    let tree = Tree::new();
    tree.write("vmlinux.o", "#!/bin/sh\necho this is not a kernel, however long it may be\n");
    refused(&tree, &["LD vmlinux: ", "/vmlinux.o: ", "ELF"]);
    fs::remove_file(tree.path("vmlinux.o")).unwrap();
    fs::create_dir(tree.path("vmlinux.o")).unwrap();
    refused(&tree, &["LD vmlinux: ", "/vmlinux.o: "]);
}

#[test]
fn a_kernel_object_of_another_machine_is_refused() {
    let tree = Tree::new();
    let mut object = fs::read(tree.path("vmlinux.o")).unwrap();
    // e_machine: AArch64, or x86-64 where this test runs on the former.
    let other: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    object[18..20].copy_from_slice(&other.to_ne_bytes());
    tree.write("vmlinux.o", &object);
    let parts = [
        "LD vmlinux: ",
        "/vmlinux.o: ",
        &format!("machine {other}"),
        "init/version-timestamp.o is ",
    ];
    let result = refused(&tree, &parts);
    assert!(result.err.contains("was the tree built for another ARCH?\n"), "{}", result.err);
}

#[test]
fn a_kernel_object_of_another_class_is_refused() {
    let tree = Tree::new();
    let mut header = vec![0; 52];
    header[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    // e_type REL, e_machine 386, e_version; e_ehsize and no sections.
    header[16..24].copy_from_slice(&[1, 0, 3, 0, 1, 0, 0, 0]);
    header[40..42].copy_from_slice(&[52, 0]);
    tree.write("vmlinux.o", &header);
    refused(&tree, &["LD vmlinux: ", "/vmlinux.o: ", "Elf32", "init/version-timestamp.o is "]);
}

#[test]
fn names_of_any_length_are_linked_and_too_long_ones_are_told() {
    let tree = Tree::new();
    let name = |length: usize| "n".repeat(length);
    tree.name_functions([511, 512, 513, 5000].map(name));
    let result = run(&mut tree.link());
    assert_eq!(result.status, 0, "{}", result.err);
    let map = tree.read("System.map");
    assert!([511, 512, 513, 5000].iter().all(|&n| map.contains(&format!(" T {}\n", name(n)))));
    let mut told: Vec<&str> =
        result.err.lines().filter(|line| line.contains("too long for kallsyms")).collect();
    told.sort_unstable();
    told.dedup();
    let lengths: Vec<bool> = [512, 513, 5000]
        .iter()
        .map(|n| told.iter().any(|line| line.contains(&format!("({n} >= 512)"))))
        .collect();
    assert_eq!((told.len(), lengths), (3, vec![true; 3]), "{}", result.err);
}

#[test]
fn scripts_that_are_not_understood_are_named() {
    let tree = Tree::new();
    tree.write("scripts/link-vmlinux.sh", "exit 0\n");
    run(&mut tree.link()).fails(1, &["", "scripts/link-vmlinux.sh: ", "not a script"]);
    fs::remove_file(tree.path("scripts/link-vmlinux.sh")).unwrap();
    run(&mut tree.link()).fails(1, &["", "scripts/link-vmlinux.sh: ", "No such file"]);
    tree.assert_nothing_half_written();
}

#[test]
fn a_tree_without_a_configuration_is_named() {
    let tree = Tree::new();
    fs::remove_file(tree.path("include/config/auto.conf")).unwrap();
    run(&mut tree.link()).fails(1, &["", "include/config/auto.conf: ", "No such file"]);
    tree.assert_nothing_half_written();
}

#[test]
fn tables_that_cannot_be_sorted_end_the_link_with_the_kernels_words() {
    let tree = Tree::new();
    tree.configure(&["MODULES", "KALLSYMS", "BUILDTIME_TABLE_SORT"]);
    let result = run(&mut tree.link());
    result.fails(1, &["SORTTAB vmlinux: ", ": "]);
    assert!(result.err.ends_with("Failed to sort kernel tables\n"), "{}", result.err);
    tree.assert_no_result();
}
