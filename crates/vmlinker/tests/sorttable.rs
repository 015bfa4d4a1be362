//! `vmlinker sorttable` as a kernel build calls it, on hand-made images and a tree of a few files.

#[path = "../../sorttable/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use image::{Class, Elf, Endianness, consts};
use support::Image;
use tempfile::TempDir;

/// What tells the new kernels' tool from the old one.
const NEW: &str = "main_extable_sort_needed symentsize < sym_end getopt(argc, argv, \"s:\")";
const OLD: &str = "main_extable_sort_needed sym < sym + grep start_mcount System.map";

/// A tree with that scripts/sorttable.c.
fn tree(source: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    write(&dir, "scripts/sorttable.c", source.as_bytes());
    dir
}

fn write(dir: &TempDir, name: &str, bytes: &[u8]) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn sorttable(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmlinker"));
    command.env_remove("srctree").current_dir(dir);
    command.arg("sorttable").args(args).output().unwrap()
}

/// A kernel of 32-bit words with three ftrace locations.
fn kernel() -> Image {
    let mut image = Image::new(Class::Elf32, Endianness::Big, consts::EM_MIPS.0, vec![]);
    image.mcount(&[3, 1, 2]);
    image
}

/// The flag and the locations in `vmlinux`.
fn init_data(dir: &TempDir) -> Vec<u8> {
    let bytes = fs::read(dir.path().join("vmlinux")).unwrap();
    let elf = Elf::parse(&bytes).unwrap();
    elf.bytes(elf.section(".init.data").unwrap().1).unwrap().to_vec()
}

#[test]
fn the_configuration_says_which_tables_there_are() {
    let dir = tree(NEW);
    write(&dir, "vmlinux", &kernel().build());
    write(&dir, "include/config/auto.conf", b"CONFIG_X=y\n");
    assert!(sorttable(dir.path(), &["--mcount", "vmlinux"]).status.success());
    assert_eq!(init_data(&dir), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2]);
    write(&dir, "include/config/auto.conf", b"CONFIG_BUILDTIME_MCOUNT_SORT=y\n");
    assert!(sorttable(dir.path(), &["vmlinux"]).status.success());
    assert_eq!(init_data(&dir), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
}

#[test]
fn a_list_of_functions_is_read_if_it_can_be_used() {
    let dir = tree(NEW);
    write(&dir, "vmlinux", &kernel().build());
    write(&dir, "nm", b"00000002 00000002 T two\n");
    assert!(sorttable(dir.path(), &["-s", "missing", "vmlinux"]).status.success());
    let output = sorttable(dir.path(), &["--mcount", "-s", "missing", "vmlinux"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("Could not parse missing"));
    assert!(sorttable(dir.path(), &["--mcount", "-s", "nm", "vmlinux"]).status.success());
    assert_eq!(init_data(&dir)[8..], [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3]);
}

#[test]
fn an_old_kernel_has_its_bounds_in_system_map() {
    let dir = tree(OLD);
    write(&dir, "vmlinux", &kernel().build());
    let output = sorttable(dir.path(), &["--mcount", "vmlinux"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message, "incomplete mcount's sort in file: vmlinux\n");
    write(&dir, "System.map", b"00008008 D __start_mcount_loc\n00008014 D __stop_mcount_loc\n");
    assert!(sorttable(dir.path(), &["--mcount", "vmlinux"]).status.success());
    assert_eq!(init_data(&dir)[8..], [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
}

#[test]
fn a_file_that_cannot_be_sorted_stays_and_the_others_are_sorted() {
    let dir = tree(NEW);
    let mut broken = kernel();
    broken.section("__ex_table").name = "__ex_tabla";
    write(&dir, "broken", &broken.build());
    write(&dir, "vmlinux", &kernel().build());
    let output = sorttable(dir.path(), &["missing", "broken", "vmlinux"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("missing: No such file"), "{message}");
    assert!(message.contains("no __ex_table in file: broken\n"), "{message}");
    assert_eq!(fs::read(dir.path().join("broken")).unwrap(), broken.build());
    assert_eq!(init_data(&dir)[..4], [0; 4]);
}

#[test]
fn cli_arguments() {
    let dir = tree(NEW);
    let output = sorttable(dir.path(), &[]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("usage: sorttable"));
    let elsewhere = TempDir::new().unwrap();
    write(&elsewhere, "vmlinux", &kernel().build());
    let output = sorttable(elsewhere.path(), &["vmlinux"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("--dialect-from"));
    let source = dir.path().join("scripts/sorttable.c");
    let args = ["--dialect-from", source.to_str().unwrap(), "vmlinux"];
    assert!(sorttable(elsewhere.path(), &args).status.success());
}
