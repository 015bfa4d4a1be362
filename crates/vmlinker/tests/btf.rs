//! What `vmlinker btf` prints and exits with, of good and of bad input.
//!
//! The blobs and the image are seeds of the fuzzers: what pahole made of a page of C, and that program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use fuzz::container::Container;
use tempfile::TempDir;

const SPLIT: &[u8] = include_bytes!("../../../fuzz/corpus/btf/split");
const PROGRAM: &[u8] = include_bytes!("../../../fuzz/corpus/dwarf/c-d5");

/// Files to run the command on.
struct Files {
    dir: TempDir,
}

impl Files {
    /// `vmlinux.btf`, `module.btf` that is split on it, and the program `a.out` with debug information.
    fn new() -> Self {
        let files = Files { dir: TempDir::new().unwrap() };
        let (length, blobs) = SPLIT.split_first_chunk::<2>().unwrap();
        let (base, split) = blobs.split_at(u16::from_le_bytes(*length).into());
        files.put("vmlinux.btf", base);
        files.put("module.btf", split);
        files.put("a.out", &Container::read(PROGRAM).elf());
        files
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Exit status, standard output and standard error of `vmlinker btf LINE` in the directory.
    fn run(&self, line: &str) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmlinker"));
        command.current_dir(self.dir.path()).arg("btf").args(line.split(' '));
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Standard output of a line that succeeds without a word on standard error.
    fn good(&self, line: &str) -> String {
        let (status, out, error) = self.run(line);
        assert!(status == 0 && error.is_empty(), "{line}: {status} {error}");
        out
    }

    /// The one line that a bad line ends with; nothing is printed.
    fn bad(&self, line: &str) -> String {
        let (status, out, error) = self.run(line);
        assert!(status == 1 && out.is_empty(), "{line}: {status} {out}{error}");
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 1, "{line}: {error}");
        lines[0].strip_prefix("vmlinker: ").unwrap().to_owned()
    }
}

/// `bytes` with one byte changed.
fn changed(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = byte;
    bytes
}

#[test]
fn dump_shows_all_types_or_those_of_a_name() {
    let files = Files::new();
    let raw = files.good("dump vmlinux.btf");
    assert!(raw.starts_with("[1] FLOAT 'float' size=4\n"), "{raw}");
    assert!(
        raw.contains("[18] STRUCT 's' size=80 vlen=10\n\t'a' type_id=7 bits_offset=0"),
        "{raw}"
    );
    let one = files.good("dump vmlinux.btf --name color");
    let lines = ["'RED' val=0", "'GREEN' val=-3", "'BLUE' val=-2"];
    assert_eq!(
        one,
        format!("[6] ENUM 'color' encoding=SIGNED size=4 vlen=3\n\t{}\n", lines.join("\n\t"))
    );
    let c = files.good("dump vmlinux.btf --format c --name s");
    assert!(c.contains("struct s {") && c.contains("\tint a: 3;"), "{c}");
    assert!(!c.contains("enum color"), "{c}");
    let json = files.good("dump vmlinux.btf --format json --name color");
    assert!(
        json.starts_with("{\"types\":[{\"id\":6,\"kind\":\"ENUM\",\"name\":\"color\""),
        "{json}"
    );
    let split = files.good("dump module.btf --base vmlinux.btf");
    assert!(!split.contains("[1] ") && split.starts_with('['), "{split}");
    // A reader may stop reading.
    assert_eq!(files.bad("dump vmlinux.btf --name nosuch"), "vmlinux.btf: no type nosuch");
}

#[test]
fn every_command_names_the_file_the_section_the_offset_and_the_cause() {
    let files = Files::new();
    let blob = files.get("vmlinux.btf");
    files.put("magic", &changed(&blob, 0, 0));
    files.put("cut", &blob[..blob.len() - 1]);
    files.put("header", &blob[..7]);
    files.put("kind", &changed(&blob, 24 + 7, 31));
    files.put("empty", b"");
    files.put("plain.o", &Container::read(&[0, 0]).elf());
    files.put("text", b"#!/bin/sh\n");
    for command in ["dump", "stat", "check"] {
        let bad = |file: &str| files.bad(&format!("{command} {file}"));
        assert!(bad("nosuch").starts_with("nosuch: No such file or directory"));
        assert_eq!(bad("plain.o"), "plain.o: no section .BTF");
        for (file, words) in [
            ("magic", ["magic", "0x0"]),
            ("header", ["header", ""]),
            ("empty", ["header", ""]),
            ("text", ["header", ""]),
            ("cut", ["0x", ""]),
            ("kind", ["0x", "31"]),
        ] {
            let line = bad(file);
            assert!(line.starts_with(&format!("{file}: .BTF: ")), "{line}");
            assert!(words.iter().all(|word| line.contains(word)), "{line}");
        }
        // Split BTF without its base.
        let line = bad("module.btf");
        assert!(line.starts_with("module.btf: .BTF: "), "{line}");
        assert!(files.bad(&format!("{command} module.btf --base nosuch")).starts_with("nosuch: "));
    }
}

#[test]
fn diff_exits_with_1_if_there_is_a_difference() {
    let files = Files::new();
    let blob = files.get("vmlinux.btf");
    assert_eq!(files.good("diff vmlinux.btf vmlinux.btf"), "no difference\n");
    let at = blob.windows(6).position(|bytes| bytes == b"GREEN\0").unwrap();
    files.put("other.btf", &changed(&blob, at, b'B'));
    let (status, out, error) = files.run("diff vmlinux.btf other.btf");
    assert!(status == 1 && error.is_empty(), "{status} {error}");
    assert!(out.contains("enum color") && out.contains("GREEN") && out.contains("BREEN"), "{out}");
    let (status, out, _) = files.run("diff --quiet vmlinux.btf other.btf");
    assert!(status == 1 && out.lines().count() == 1 && out.contains("difference"), "{out}");
    assert_eq!(files.good("diff module.btf module.btf --base vmlinux.btf"), "no difference\n");
    assert!(files.bad("diff vmlinux.btf nosuch").starts_with("nosuch: "));
}

#[test]
fn stat_counts_types_and_bytes() {
    let files = Files::new();
    let out = files.good("stat vmlinux.btf --largest 2");
    let size = files.get("vmlinux.btf").len().to_string();
    let row = |name: &str| {
        let line =
            out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{out}"));
        line[name.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("ENUM64")[0], "1");
    assert_eq!(row("blob")[2], size);
    let largest: Vec<_> = out.lines().skip_while(|line| !line.starts_with("largest")).collect();
    assert_eq!(largest.len(), 3, "{out}");
    assert!(largest[1].contains("[18] STRUCT s, 10 entries"), "{out}");
}

#[test]
fn check_says_what_the_kernel_would_refuse() {
    let files = Files::new();
    assert_eq!(files.run("check vmlinux.btf").0, 0);
    assert_eq!(files.run("check module.btf --base vmlinux.btf").0, 0);
    let blob = files.get("vmlinux.btf");
    // A type that does not exist, in the second type: size_t.
    files.put("target", &changed(&blob, 24 + 12 + 9, 0x70));
    // A name that is no identifier.
    let at = blob.windows(7).position(|bytes| bytes == b"size_t\0").unwrap();
    files.put("name", &changed(&blob, at, b' '));
    for (file, word) in [("target", "[2] TYPEDEF"), ("name", "[2] TYPEDEF")] {
        let (status, out, _) = files.run(&format!("check {file}"));
        assert!(status == 1 && out.contains(word), "{file}: {status} {out}");
    }
}

#[test]
fn object_wraps_a_blob_for_the_linker() {
    let files = Files::new();
    files.good("object vmlinux.btf --template a.out -o btf.o");
    let object = files.get("btf.o");
    let elf = image::Elf::parse(&object).unwrap();
    let bytes = elf.bytes(elf.section(".BTF").unwrap().1).unwrap();
    assert_eq!(bytes, files.get("vmlinux.btf"));
    assert_eq!(files.good("diff vmlinux.btf btf.o"), "no difference\n");
    files.put("big", &Container::new(false, true, 22, vec![]).elf());
    let line = files.bad("object vmlinux.btf --template big -o none.o");
    assert_eq!(line, "big: its byte order is not that of vmlinux.btf");
    assert!(!files.path("none.o").exists());
    assert!(files.bad("object vmlinux.btf --template nosuch -o none.o").starts_with("nosuch: "));
}

#[test]
fn distill_makes_a_base_that_the_module_is_whole_with() {
    let files = Files::new();
    files.good("distill module.btf --base vmlinux.btf --output m.btf --output-base m.base");
    let base = files.get("m.base");
    assert!(base.len() < files.get("vmlinux.btf").len());
    assert_eq!(files.run("check m.btf --base m.base").0, 0);
    assert!(files.good("dump m.btf --base m.base").contains("FUNC 'first'"));
    let line = files.bad("distill vmlinux.btf --base module.btf --output x --output-base y");
    assert!(line.starts_with("module.btf: .BTF: "), "{line}");
    assert!(!files.path("x").exists() && !files.path("y").exists());
}

#[test]
fn explain_says_what_became_of_a_function() {
    let files = Files::new();
    let there = files.good("explain first a.out");
    let prototype = "int first(struct s *s, enum color c, union u u, size_t n)\n";
    assert!(there.starts_with('[') && there.ends_with(prototype), "{there}");
    let (status, out, _) = files.run("explain third a.out");
    let register = "third is left out: parameter 1 (f) is in xmm0 instead of rdi in a.c\n";
    assert_eq!((status, &out[..]), (1, register));
    let (status, out, error) = files.run("explain helper a.out");
    assert!(status == 1 && error.is_empty(), "{error}");
    assert!(out.starts_with("helper is left out: the image has no symbol for it"), "{out}");
    let (status, out, _) = files.run("explain second a.out");
    assert!(status == 1 && out.contains("second is left out: "), "{out}");
    assert!(out.contains("different addresses"), "{out}");
    assert_eq!(files.bad("explain nosuch a.out"), "a.out: no unit describes a function nosuch");
    assert!(files.bad("explain first vmlinux.btf").starts_with("vmlinux.btf: "));
    let refused = files.bad("explain first a.out --flags=--sort");
    assert_eq!(refused, "--sort: no option that kernels pass to pahole");
}
