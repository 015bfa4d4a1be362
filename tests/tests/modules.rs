//! Modules that `vmlinker-pahole` writes, beside those that pahole writes: the whole files.
//!
//! As Kbuild of 6.1 and 6.12 runs it, with `LLVM_OBJCOPY`: a module fresh from the linker, one that has BTF
//! already because only the kernel was linked again, and one on a distilled base.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use peer_tests::link::{assert_same_bytes, vmlinker};
use peer_tests::{cache, kernel, run};

const FEATURES: &str = "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,\
                        optimized_func,consistent_func,decl_tag_kfuncs";
const DISTILLED: &str = "--btf_features=distilled_base";

fn pahole(program: &Path, words: &[&str], vmlinux: &Path, module: &Path) {
    let mut command = Command::new(program);
    command.env("LLVM_OBJCOPY", "objcopy").arg("-J").args(words).arg("--lang_exclude=rust");
    run(command.arg("--btf_base").arg(vmlinux).arg(module));
}

/// Both programs in turn on the same module, without BTF at first, each time on what they wrote before.
fn written_the_same(theirs: &Path, name: &str, runs: &[&[&str]]) {
    let tree = kernel("6.12-tiny");
    let vmlinux = tree.join("vmlinux");
    let dir = tempfile::tempdir().unwrap();
    let ours = dir.path().join(name);
    symlink(vmlinker(), &ours).unwrap();
    let (a, b) = (dir.path().join("a.ko"), dir.path().join("b.ko"));
    for module in ["drivers/net/dummy.ko", "drivers/thermal/intel/x86_pkg_temp_thermal.ko"] {
        let mut objcopy = Command::new("objcopy");
        objcopy.args(["--remove-section=.BTF", "--remove-section=.BTF.base"]);
        run(objcopy.arg(tree.join(module)).arg(&a));
        fs::copy(&a, &b).unwrap();
        for words in runs {
            pahole(theirs, words, &vmlinux, &a);
            pahole(&ours, words, &vmlinux, &b);
            assert_same_bytes(&b, &a, &format!("{module}, {name} {words:?}"));
        }
    }
}

#[test]
fn as_pahole_1_24_writes_them() {
    let plain: &[&str] = &["--btf_gen_floats"];
    written_the_same(Path::new("pahole"), "vmlinker-pahole-1.24", &[plain, plain]);
}

#[test]
fn as_the_newest_pahole_writes_them() {
    let plain: &[&str] = &["-j2", FEATURES, "-j2", "--btf_features=+reproducible_build"];
    let distilled: &[&str] = &["-j2", FEATURES, DISTILLED];
    let peer = cache().join("peers/bin/pahole-1.32");
    assert!(peer.exists(), "no {}: run `cargo xtask test`", peer.display());
    written_the_same(&peer, "vmlinker-pahole", &[plain, distilled, plain, distilled]);
    written_the_same(&peer, "vmlinker-pahole", &[distilled, distilled]);
}
