//! The kernels as the kernel's own script linked them boot, and say what their files say.
//!
//! This is the measure for the kernels that vmlinker links: it shows that the checks pass on the original.

use std::fs;
use std::path::{Path, PathBuf};

use peer_tests::boot::{BootReport, Guest};
use peer_tests::kernel;
use peer_tests::link::{Recorded, scratch};

/// A module that most of the kernels have.
const DUMMY: &str = "drivers/net/dummy.ko";
/// The one of those without a network.
const CRC7: &str = "lib/crc7.ko";

fn boot(name: &str, module: &str) -> (PathBuf, BootReport) {
    let build = kernel(name);
    let report = Guest { modules: &[build.join(module)], ..Guest::of(&build.join("vmlinux")) }
        .boot()
        .unwrap();
    assert_eq!(report.insmod, "", "{name}: a module was refused:\n{}", report.console);
    let inserted = Path::new(module).file_stem().unwrap().to_str().unwrap();
    assert!(report.modules.starts_with(inserted), "{name}: {:?}", report.modules);
    assert!(report.version.starts_with("Linux version "), "{name}: {:?}", report.version);
    (build, report)
}

fn boots_and_agrees_with_its_files(name: &str) {
    let (build, report) = boot(name, DUMMY);
    let system_map = fs::read_to_string(build.join("System.map")).unwrap();
    let symbols = report.check_kallsyms(&system_map).unwrap();
    let btf = report.check_btf(&build.join("vmlinux")).unwrap();
    let functions = report.check_functions(&system_map).unwrap();
    eprintln!(
        "{name}: {symbols} symbols, {btf} bytes of BTF, {functions} functions, {:?}",
        report.elapsed
    );
    assert!(symbols > 30_000 && functions > 10_000 && btf > 1_000_000);
}

#[test]
fn kernel_6_1_boots() {
    boots_and_agrees_with_its_files("6.1-tiny");
}

#[test]
fn kernel_6_12_boots() {
    boots_and_agrees_with_its_files("6.12-tiny");
}

#[test]
fn kernel_7_3_boots() {
    boots_and_agrees_with_its_files("7.3-tiny");
}

#[test]
fn a_kernel_without_btf_boots() {
    let dir = scratch();
    let view = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |_| ());
    view.configure("DEBUG_INFO_BTF", "n");
    let linked = view.relink(&dir.path().join("vmlinux"), &["--script"]);
    // Its modules have types, and are not taken by a kernel without.
    let report = Guest::of(&linked.vmlinux).boot().unwrap();
    assert!(report.version.starts_with("Linux version "), "{:?}", report.version);
    assert!(report.btf.is_empty());
    report.check_kallsyms(&fs::read_to_string(&linked.system_map).unwrap()).unwrap();
}

#[test]
fn a_kernel_without_kallsyms_boots() {
    let (build, report) = boot("6.12-tiny-nokallsyms", CRC7);
    assert_eq!(report.kallsyms, None);
    report.check_btf(&build.join("vmlinux")).unwrap();
}
