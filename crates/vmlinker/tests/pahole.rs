//! What `vmlinker pahole` writes, prints and exits with.
//!
//! The program is a seed of the fuzzers: a page of C with debug information.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use fuzz::container::Container;
use image::Elf;
use tempfile::TempDir;

const PROGRAM: &[u8] = include_bytes!("../../../fuzz/corpus/dwarf/c-d5");
const OTHER: &[u8] = include_bytes!("../../../fuzz/corpus/dwarf/c-d4");
const BIG: &[u8] = include_bytes!("../../../fuzz/corpus/dwarf/c-s390x");

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Files { dir: TempDir::new().unwrap() };
        files.put("a.out", &Container::read(PROGRAM).elf());
        files.put("b.out", &Container::read(OTHER).elf());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The names of all files, sorted.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The blob of an image.
    fn btf(&self, name: &str, section: &str) -> Option<Vec<u8>> {
        let data = self.get(name);
        let elf = Elf::parse(&data).unwrap();
        Some(elf.bytes(elf.section(section)?.1).unwrap().to_vec())
    }

    fn run(&self, line: &str) -> (i32, String, String) {
        self.run_with(line, None)
    }

    /// The same with this program in `LLVM_OBJCOPY`.
    fn run_with(&self, line: &str, objcopy: Option<&str>) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmlinker"));
        command.current_dir(self.dir.path()).arg("pahole").args(line.split(' '));
        command.env_remove("LLVM_OBJCOPY");
        command.envs(objcopy.map(|program| ("LLVM_OBJCOPY", program)));
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn good(&self, line: &str) {
        assert_eq!(self.run(line), (0, String::new(), String::new()), "{line}");
    }

    fn bad(&self, line: &str) -> String {
        let (status, out, error) = self.run(line);
        assert!(status == 1 && out.is_empty(), "{line}: {status} {out}{error}");
        error.trim_end().strip_prefix("vmlinker: ").unwrap().to_owned()
    }
}

const FEATURES: &str = "--btf_features=default";

#[test]
fn a_blob_goes_into_the_image_or_into_a_file_of_its_own() {
    let files = Files::new();
    let before = files.get("a.out");
    fs::set_permissions(files.path("a.out"), fs::Permissions::from_mode(0o750)).unwrap();
    files.good(&format!("-J -j {FEATURES} --btf_encode_detached=blob a.out"));
    assert_eq!(files.get("a.out"), before);
    let blob = files.get("blob");
    btf::Btf::parse(&blob).unwrap();
    // Twice: the section is made, and then replaced.
    for _ in 0..2 {
        files.good(&format!("-J -j2 {FEATURES} a.out"));
        assert_eq!(files.btf("a.out", ".BTF"), Some(blob.clone()));
        assert_eq!(files.btf("a.out", ".debug_info"), {
            let elf = Elf::parse(&before).unwrap();
            Some(elf.bytes(elf.section(".debug_info").unwrap().1).unwrap().to_vec())
        });
    }
    let mode = fs::metadata(files.path("a.out")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    assert_eq!(files.names(), ["a.out", "b.out", "blob"]);
}

#[test]
fn many_modules_share_a_base_whether_elf_or_plain() {
    let files = Files::new();
    for module in ["1.ko", "2.ko", "3.ko"] {
        files.put(module, &Container::read(OTHER).elf());
    }
    files.good(&format!("-J {FEATURES} --btf_encode_detached=base.btf a.out"));
    files.good(&format!("-J {FEATURES} a.out"));
    symlink("3.ko", files.path("link.ko")).unwrap();
    files.good(&format!("-J -j3 {FEATURES} --btf_base a.out 1.ko 2.ko link.ko"));
    let split = files.btf("1.ko", ".BTF").unwrap();
    let base = files.get("base.btf");
    btf::Btf::parse_split(&split, &btf::Btf::parse(&base).unwrap()).unwrap();
    assert_eq!(files.btf("2.ko", ".BTF").unwrap(), split);
    assert_eq!(files.btf("3.ko", ".BTF").unwrap(), split);
    assert!(fs::symlink_metadata(files.path("link.ko")).unwrap().is_symlink());
    files.good(&format!("-J -j 2 {FEATURES} --btf_base base.btf 2.ko"));
    assert_eq!(files.btf("2.ko", ".BTF").unwrap(), split);
    files.good(&format!("-J {FEATURES},distilled_base --btf_base a.out 3.ko"));
    let distilled = files.btf("3.ko", ".BTF.base").unwrap();
    let base = btf::Btf::parse(&distilled).unwrap();
    btf::Btf::parse_split(&files.btf("3.ko", ".BTF").unwrap(), &base).unwrap();
}

#[test]
fn a_failure_leaves_its_file_alone_and_the_others_are_done() {
    let files = Files::new();
    let mut broken = Container::read(PROGRAM).elf();
    let info = {
        let elf = Elf::parse(&broken).unwrap();
        elf.section(".debug_info").unwrap().1.offset as usize
    };
    broken[info..info + 4].copy_from_slice(&[0xff; 4]);
    files.put("broken", &broken);
    files.put("text", b"#!/bin/sh\n");
    files.put("none.o", &Container::read(&[0, 0]).elf());
    files.put("big", &Container::read(BIG).elf());
    let line = files.bad(&format!("-J -j {FEATURES} nosuch broken text none.o a.out"));
    let lines: Vec<_> = line.lines().collect();
    assert_eq!(lines.len(), 4, "{line}");
    assert!(lines[0].starts_with("nosuch: No such file or directory"), "{line}");
    assert!(lines[1].starts_with("vmlinker: broken: .debug_info+0x"), "{line}");
    assert!(lines[2].starts_with("vmlinker: text: "), "{line}");
    let none = "vmlinker: none.o: .debug_info: the file has no debug information";
    assert_eq!(lines[3], none);
    assert_eq!(files.get("broken"), broken);
    assert!(files.btf("a.out", ".BTF").is_some());
    // A base that does not fit.
    let line = files.bad(&format!("-J {FEATURES} --btf_base a.out big"));
    assert_eq!(line, "big: its byte order is not that of the base");
    let line = files.bad(&format!("-J {FEATURES} --btf_base b.out big"));
    assert_eq!(line, "b.out: .BTF: the file has no BTF");
    let line = files.bad(&format!("-J {FEATURES} --btf_base text big"));
    assert!(line.starts_with("text: .BTF: "), "{line}");
    // A place that cannot be written to.
    let line = files.bad(&format!("-J {FEATURES} --btf_encode_detached=no/such/blob a.out"));
    assert!(line.starts_with("a.out: no/such/blob: "), "{line}");
    assert_eq!(files.names(), ["a.out", "b.out", "big", "broken", "none.o", "text"]);
}

#[test]
fn a_module_is_left_alone_where_the_program_that_adds_sections_fails() {
    let files = Files::new();
    let mut module = Container::read(PROGRAM).elf();
    // ET_REL: a module is one.
    module[16..18].copy_from_slice(&1u16.to_le_bytes());
    files.put("m.ko", &module);
    for (program, status) in [("false", 1), ("no-such-objcopy", 127), ("kill -9 $$; true", 0)] {
        let (code, out, error) = files.run_with(&format!("-J {FEATURES} m.ko"), Some(program));
        assert_eq!((code, out.as_str()), (1, ""), "{error}");
        let line = error.lines().last().unwrap();
        let begin = format!("vmlinker: m.ko: LLVM_OBJCOPY={program}: ");
        assert!(line.starts_with(&begin), "{line}");
        let end =
            if status == 0 { "signal: 9 (SIGKILL)".into() } else { format!("status: {status}") };
        assert!(line.ends_with(&end), "{line}");
        assert_eq!(files.get("m.ko"), module);
        assert_eq!(files.names(), ["a.out", "b.out", "m.ko"]);
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let files = Files::new();
    assert_eq!(files.bad("a.out"), "only the encoding of BTF is done here: -J is missing");
    assert_eq!(files.bad("-J"), "no file to encode");
    assert_eq!(files.bad("-J --sort a.out"), "--sort: no option that kernels pass to pahole");
    let line = files.bad("-J --pahole-version=1.24 --btf_features=var a.out");
    assert_eq!(line, "--btf_features: pahole 1.24 has no such option, pahole 1.26 has");
    assert_eq!(
        files.bad("--pahole-version 1.2 --version"),
        "pahole 1.2 is not imitated: there are 1.24 and 1.32"
    );
    let line = files.bad("-J --btf_encode_detached=x a.out b.out");
    assert_eq!(line, "--btf_encode_detached: one file for the BTF of 2 files");
}

#[test]
fn the_version_may_be_in_the_programs_name() {
    let files = Files::new();
    let program = files.path("vmlinker-pahole-1.24");
    symlink(env!("CARGO_BIN_EXE_vmlinker"), &program).unwrap();
    let out = |word: &str| Command::new(&program).arg(word).output().unwrap();
    assert_eq!(out("--version").stdout, b"v1.24\n");
    assert_eq!(out("--numeric_version").stdout, b"124\n");
    assert!(!out("--supported_btf_features").status.success());
    let (_, newest, _) = files.run("--supported_btf_features");
    assert!(newest.starts_with("encode_force,var,float,decl_tag,"), "{newest}");
}

#[test]
fn explain_says_which_functions_are_left_out() {
    let files = Files::new();
    let (status, out, error) = files.run(&format!("-J {FEATURES} --explain a.out"));
    assert!(status == 0 && out.is_empty());
    let names: Vec<_> = error.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(names, ["changed", "second", "third"], "{error}");
}
