//! `sysmap` beside GNU nm, llvm-nm, sed and the kernels' own System.map.

use std::path::{Path, PathBuf};
use std::process::Command;

use image::Elf;
use peer_tests::{kernel, source};
use sysmap::{Filter, Flavor};

const KERNELS: [(&str, &str); 4] =
    [("6.1-tiny", "6.1"), ("6.12-tiny", "6.12"), ("6.12-rich", "6.12"), ("7.3-tiny", "7.3")];

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a shell command prints, in the locale of a kernel build.
fn shell(script: &str, arguments: &[&Path]) -> Vec<u8> {
    let output = Command::new("sh")
        .args(["-euc", script, "sh"])
        .args(arguments)
        .env_remove("LC_ALL")
        .env("LC_COLLATE", "C")
        .output()
        .expect("sh");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// `==`, and the first line that differs.
fn assert_same(ours: &[u8], theirs: &[u8], what: &str) {
    if ours == theirs {
        return;
    }
    let (mut left, mut right) = (ours.split(|&b| b == b'\n'), theirs.split(|&b| b == b'\n'));
    for line in 1.. {
        let (a, b) = (left.next(), right.next());
        if a != b {
            let show = |line: Option<&[u8]>| line.map(|l| String::from_utf8_lossy(l).into_owned());
            panic!("{what}: line {line}:\n  ours   {:?}\n  theirs {:?}", show(a), show(b));
        }
    }
}

fn nm_text(image: &[u8], flavor: Flavor) -> Vec<u8> {
    let elf = Elf::parse(image).unwrap();
    sysmap::write_map(&sysmap::nm_as(&elf, flavor).unwrap(), elf.class())
}

fn same_as_nm(path: &Path, nm: &str, flavor: Flavor) {
    let theirs = shell(&format!("{nm} -n \"$1\""), &[path]);
    assert_same(&nm_text(&read(path), flavor), &theirs, &format!("{nm} {}", path.display()));
}

fn filter_of(series: &str) -> (PathBuf, Filter) {
    let path = source(series).join("scripts/mksysmap");
    let filter = Filter::parse(&read(&path)).unwrap();
    (path, filter)
}

/// The images that a kernel's link made, and vmlinux.o where there is one.
fn images(name: &str) -> Vec<PathBuf> {
    let dir = kernel(name);
    let temporaries = [".tmp_vmlinux1", ".tmp_vmlinux2", ".tmp_vmlinux.kallsyms1", "vmlinux.o"];
    let mut images: Vec<_> = temporaries.iter().map(|name| dir.join(name)).collect();
    images.retain(|path| path.exists());
    assert!(images.len() >= 2, "{name}: no temporary images");
    images.push(dir.join("vmlinux"));
    images
}

#[test]
fn every_image_of_a_kernel_lists_as_with_gnu_nm() {
    for (name, _) in KERNELS {
        for image in images(name) {
            same_as_nm(&image, "nm", Flavor::Gnu);
        }
    }
}

#[test]
fn every_image_of_a_kernel_lists_as_with_llvm_nm() {
    for (name, _) in KERNELS {
        for image in images(name) {
            same_as_nm(&image, "llvm-nm-14", Flavor::Llvm);
            same_as_nm(&image, "llvm-nm-19", Flavor::Llvm);
        }
    }
}
