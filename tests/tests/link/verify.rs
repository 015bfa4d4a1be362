//! `--verify`: what is in the finished kernel is what is made of it, and what is not is found.

use std::fs;

use peer_tests::cache;
use peer_tests::link::{Recorded, scratch};

fn verified(name: &str) {
    let dir = scratch();
    let kernel = Recorded::of(name);
    let plain = kernel.relink(&dir.path().join("plain"), &[]);
    let verified = kernel.relink(&dir.path().join("verified"), &["--verify"]);
    verified.assert_same(&plain, &format!("{name}, --verify"));
    let steps = verified.steps();
    assert!(steps.last().is_some_and(|line| line.starts_with("  VERIFY ")), "{steps:?}");
    assert_eq!(steps[..steps.len() - 1], plain.steps());
}

#[test]
fn kernel_6_1_is_verified() {
    verified("6.1-tiny");
}

#[test]
fn kernel_6_12_is_verified() {
    verified("6.12-tiny");
}

#[test]
fn kernel_7_3_is_verified() {
    verified("7.3-tiny");
}

/// Links with these words, which has to fail for this one reason and leave no kernel.
fn refused(kernel: &Recorded, words: &[&str], finding: &str) {
    let out = scratch();
    let linked = kernel.try_relink(&out.path().join("vmlinux"), words);
    let said = String::from_utf8_lossy(&linked.stderr).into_owned();
    assert!(!linked.status.success(), "{words:?}: {said}");
    let (_, findings) = said
        .split_once("the finished kernel does not hold what is made of it\n")
        .unwrap_or_else(|| panic!("{words:?}: {said}"));
    let findings: Vec<&str> = findings.lines().collect();
    assert!(findings.len() == 1 && findings[0].starts_with(finding), "{finding}: {said}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "something is left");
}

#[test]
fn a_tool_that_sorts_nothing_is_found() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |_| ());
    kernel.exchange_tool("scripts", "sorttable", "#!/bin/sh\nexit 0\n");
    let words = ["--engine", "sorttable=kernel"];
    kernel.relink(&dir.path().join("unsorted"), &words).discard();
    refused(&kernel, &[&words[..], &["--verify"]].concat(), "  sorted tables: ");
}

#[test]
fn types_of_another_pahole_are_found() {
    let dir = scratch();
    let pahole = cache().join("peers/bin/pahole-1.32");
    let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |record| {
        record["call"]["env"]["PAHOLE"] = pahole.to_str().unwrap().into();
    });
    refused(&kernel, &["--engine", "btf=pahole", "--verify"], "  BTF: ");
}
