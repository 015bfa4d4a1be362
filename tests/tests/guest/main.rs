//! `make PAHOLE=vmlinker-pahole` on an untouched kernel tree, and the kernel and modules that it makes in QEMU.
//!
//! The same private trees are made with pahole and with vmlinker under pahole's name, `vmlinux` and
//! `modules`, and a module outside the tree: kernel, System.map and modules must be the same bytes. What
//! vmlinker made is then booted; the kernel exports that BTF and takes the modules, bpftool reads it, and
//! a BPF program is relocated against it.

mod core;
mod trees;

use peer_tests::boot::Guest;
use peer_tests::link::scratch;

use trees::{Pahole, Trees};

/// Boots what was made last, with the modules of these names.
fn boots(trees: &Trees, modules: &[&str]) {
    let vmlinux = trees.built("vmlinux");
    let modules: Vec<_> = modules.iter().map(|name| trees.built(name)).collect();
    let programs = tempfile::tempdir().unwrap();
    let files = core::files(programs.path());
    let guest =
        Guest { modules: &modules, files: &files, script: core::SCRIPT, ..Guest::of(&vmlinux) };
    let report = guest.boot().unwrap();
    assert_eq!(report.insmod, "", "a module was refused:\n{}", report.console);
    assert_eq!(report.log, "", "the kernel speaks of BTF:\n{}", report.console);
    report.check_btf(&vmlinux).unwrap();
    core::check(&report, &vmlinux);
    for module in &modules {
        let name = module.file_stem().unwrap().to_str().unwrap();
        assert!(report.btf.contains_key(name), "{name} has no BTF in the guest: {:?}", report.btf);
        // On a distilled base it is not the file's any more, but relocated to the kernel's ids.
        if name != trees::EXTERNAL {
            report.check_btf(module).unwrap();
        }
    }
}

const DUMMY: &str = "drivers/net/dummy.ko";
const DISTILLED: &str = "external/distilled.ko";

#[test]
fn kernel_6_12_made_with_vmlinker_pahole() {
    let dir = scratch();
    let trees = Trees::new("6.12-tiny", "6.12", dir.path());
    trees.make_as_the_peer(Pahole::New);
    trees.compare(Pahole::New, "make PAHOLE=vmlinker-pahole");
    boots(&trees, &[DUMMY, DISTILLED]);
    trees.install();
    trees.compare(Pahole::New, "the same with vmlinker installed");
}

#[test]
fn kernel_7_3_made_with_vmlinker_pahole() {
    let dir = scratch();
    let trees = Trees::new("7.3-tiny", "7.3", dir.path());
    trees.make_as_the_peer(Pahole::New);
    trees.compare(Pahole::New, "make PAHOLE=vmlinker-pahole");
    boots(&trees, &[DUMMY, DISTILLED]);
    trees.install();
    trees.compare(Pahole::New, "the same with vmlinker installed");
}

#[test]
fn kernel_6_1_made_with_vmlinker_pahole() {
    let dir = scratch();
    let trees = Trees::new("6.1-tiny", "6.1", dir.path());
    trees.make_as_the_peer(Pahole::New);
    trees.compare(Pahole::New, "make PAHOLE=vmlinker-pahole");
    boots(&trees, &[DUMMY]);
}

#[test]
fn kernel_6_12_made_with_vmlinker_pahole_1_24() {
    let dir = scratch();
    let trees = Trees::new("6.12-tiny", "6.12", dir.path());
    trees.make_as_the_peer(Pahole::Old);
    trees.compare(Pahole::Old, "make PAHOLE=vmlinker-pahole-1.24");
    boots(&trees, &[DUMMY]);
}
