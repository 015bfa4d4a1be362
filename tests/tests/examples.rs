//! The libraries' examples on a real kernel, beside the commands that do the same.

use std::fs;
use std::process::Command;

use peer_tests::link::vmlinker;
use peer_tests::{kernel, run};

/// An example of a library, run with these words.
fn example(package: &str, name: &str, words: &[&str]) -> Vec<u8> {
    let target = vmlinker().ancestors().nth(2).expect("TARGET/release/vmlinker");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).arg("run").arg("--target-dir");
    cargo.arg(target).args(["--quiet", "--release", "--package", package, "--example", name, "--"]);
    run(cargo.args(words))
}

fn vmlinux(name: &str) -> String {
    kernel(name).join("vmlinux").to_str().expect("the cache's path is UTF-8").to_owned()
}

#[test]
fn symbols_are_those_of_kallsyms_list() {
    let kernel = vmlinux("6.12-tiny");
    let ours = run(Command::new(vmlinker()).args(["kallsyms", "--list", &kernel]));
    assert!(ours.len() > 1_000_000);
    assert!(example("kallsyms", "symbols", &[&kernel]) == ours);
}

#[test]
fn differences_are_those_of_btf_diff() {
    let (old, new) = (vmlinux("6.1-tiny"), vmlinux("6.12-tiny"));
    // It ends with 1: there are differences.
    let output = Command::new(vmlinker()).args(["btf", "diff", &old, &new]).output().unwrap();
    let lines = |text: &[u8]| {
        let mut lines: Vec<String> =
            String::from_utf8_lossy(text).lines().map(str::to_owned).collect();
        // The summary has another form.
        lines.pop();
        lines
    };
    let ours = lines(&output.stdout);
    assert!(ours.len() > 1000);
    assert!(lines(&example("btf", "diff", &[&old, &new])) == ours);
}

#[test]
fn encoded_types_are_those_in_the_kernel() {
    let (dir, kernel) = (tempfile::tempdir().unwrap(), vmlinux("6.12-tiny"));
    let (made, linked) = (dir.path().join("made"), dir.path().join("linked"));
    example("dwarf-btf", "encode", &[&kernel, made.to_str().unwrap(), "1.24"]);
    let mut objcopy = Command::new("objcopy");
    objcopy.arg(format!("--dump-section=.BTF={}", linked.display())).arg(&kernel);
    run(objcopy.arg(dir.path().join("copy")));
    assert!(fs::read(made).unwrap() == fs::read(linked).unwrap());
}
