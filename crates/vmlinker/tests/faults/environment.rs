//! Calls that Kbuild would not make.

use crate::tree::{Tree, VARIABLES, run};

#[test]
fn every_variable_that_kbuild_always_sets_is_missed() {
    let tree = Tree::new();
    for (name, _) in VARIABLES {
        let result = run(tree.link().env_remove(name));
        result.fails(1, &["", &format!("${name} is not set")]);
        assert!(result.err.contains("run it through make"), "{}", result.err);
        assert!(!tree.has(".vmlinker.json"));
    }
    tree.assert_no_result();
}

#[test]
fn a_wrong_number_of_arguments_is_a_wrong_usage() {
    let tree = Tree::new();
    let vmlinker = |words: &[&str]| {
        let mut command = tree.vmlinker(words);
        run(command.envs(VARIABLES))
    };
    for words in [&["link", "ld", ""][..], &["link", "ld", "", "", "vmlinux", "more"]] {
        let result = vmlinker(words);
        let count = format!("{} arguments where Kbuild passes 3 or 4", words.len() - 1);
        result.fails(2, &[&count]);
        assert!(result.err.contains("usage: vmlinker link LD "), "{}", result.err);
    }
    let none = vmlinker(&["link"]);
    assert_eq!(none.status, 2);
    assert!(none.err.contains("vmlinker link LD KBUILD_LDFLAGS"), "{}", none.err);
    tree.assert_no_result();
}

#[test]
fn unknown_words_in_the_flags_variable_are_named() {
    let tree = Tree::new();
    let cases = [
        ("--fast", "--fast"),
        ("quick", "quick"),
        ("--engine gnu", "no engine is called 'gnu': use native or kernel"),
        ("--engine linker=native", "no step's engine is called 'linker'"),
        ("--schedule both", "no schedule is called 'both': use separate, merged or lean"),
        ("--schedule", "--schedule"),
    ];
    for (flags, named) in cases {
        let result = run(tree.link().env("VMLINKER_FLAGS", flags));
        result.fails(1, &["$VMLINKER_FLAGS: ", named]);
    }
    tree.assert_no_result();
}

#[test]
fn unknown_words_on_the_command_line_are_named() {
    let tree = Tree::new();
    for command in ["plan", "relink"] {
        for (flag, value) in [("--engine", "gnu"), ("--schedule", "both")] {
            let result = run(&mut tree.vmlinker(&[command, flag, value]));
            assert_eq!(result.status, 2, "{}", result.err);
            assert!(result.err.contains(&format!("'{value}'")), "{}", result.err);
            assert!(!result.err.contains("panicked"));
        }
    }
}

#[test]
fn a_native_engine_that_the_tree_does_not_allow_is_refused_by_name() {
    let tree = Tree::new();
    tree.write("scripts/kallsyms.c", "int main(void) {}\n");
    let result = run(tree.link().env("VMLINKER_FLAGS", "--engine native"));
    result.fails(1, &["the native engine cannot do 'kallsyms': ", "scripts/kallsyms.c: "]);
    tree.assert_no_result();
}
