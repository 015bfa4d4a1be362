//! BTF beside bpftool and pahole: the dumps of real kernels, of odd C, and of blobs made at random.

mod distill;
mod random;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use btf::{Btf, Builder, COptions, CheckOptions, Composite, Def, Endianness, Int, NamedMember};
use image::Elf;
use peer_tests::{kernel, run, source, tool};
use tempfile::TempDir;

const KERNELS: [&str; 3] = ["6.1-tiny", "6.12-tiny", "7.3-tiny"];

/// The section `.BTF` of a kernel.
fn blob(name: &str) -> Vec<u8> {
    section(&kernel(name).join("vmlinux"))
}

/// The section `.BTF` of a file.
fn section(file: &Path) -> Vec<u8> {
    let image = fs::read(file).unwrap();
    let elf = Elf::parse(&image).unwrap();
    elf.bytes(elf.section(".BTF").expect("there is BTF").1).unwrap().to_vec()
}

fn peer(options: &[&str], file: &Path, format: &[&str]) -> Output {
    let mut bpftool = Command::new(tool("7.3", "bpftool"));
    bpftool.args(options).args(["btf", "dump", "file"]).arg(file).args(format);
    bpftool.output().unwrap()
}

/// A dump that must succeed.
fn peers(options: &[&str], file: &Path, format: &[&str]) -> String {
    let output = peer(options, file, format);
    assert!(output.status.success(), "bpftool: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn raw(btf: &Btf<'_>) -> String {
    let mut out = Vec::new();
    for (id, ty) in btf.types() {
        btf::raw_type(btf, id, &ty, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn c(btf: &Btf<'_>, unsorted: bool) -> String {
    let options = COptions { unsorted, ..COptions::default() };
    String::from_utf8(btf::c_header(btf, &options).unwrap()).unwrap()
}

/// Fails with the first line that is not the same.
fn assert_same(what: &str, ours: &str, theirs: &str) {
    for (number, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "{what}, line {}", number + 1);
    }
    assert!(ours == theirs, "{what}: {} bytes, bpftool {}", ours.len(), theirs.len());
}

/// All dumps of a blob that bpftool reads.
fn assert_dumps(what: &str, blob: &[u8], dir: &TempDir) {
    let file = dir.path().join("blob");
    fs::write(&file, blob).unwrap();
    let btf = Btf::parse(blob).unwrap();
    assert_same(&format!("{what} raw"), &raw(&btf), &peers(&[], &file, &["format", "raw"]));
    assert_same(&format!("{what} c"), &c(&btf, false), &peers(&[], &file, &["format", "c"]));
    let unsorted = peers(&[], &file, &["format", "c", "unsorted"]);
    assert_same(&format!("{what} c unsorted"), &c(&btf, true), &unsorted);
}

#[test]
fn raw_and_c_dumps_of_kernels_are_bpftools() {
    let dir = TempDir::new().unwrap();
    for name in KERNELS {
        assert_dumps(name, &blob(name), &dir);
    }
}

/// bpftool's JSON with its one mistake undone: it extends the sign of 32-bit values that have none.
fn unextended(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for (index, object) in json.split("{\"id\":").enumerate() {
        out += if index > 0 { "{\"id\":" } else { "" };
        let unsigned = object.contains("\"kind\":\"ENUM\"") && !object.contains("\"SIGNED\"");
        for (index, part) in object.split("\"val\":").enumerate() {
            out += if index > 0 { "\"val\":" } else { "" };
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
            match part[..digits].parse::<u64>() {
                Ok(value) if unsigned && index > 0 => {
                    out += &(value as u32).to_string();
                    out += &part[digits..];
                }
                _ => out += part,
            }
        }
    }
    out
}

#[test]
fn json_of_kernels_is_bpftools() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("blob");
    for name in KERNELS {
        let blob = blob(name);
        fs::write(&file, &blob).unwrap();
        let btf = Btf::parse(&blob).unwrap();
        let mut ours = Vec::new();
        btf::json(&btf, btf.types(), &mut ours).unwrap();
        let theirs = unextended(&peers(&["-j"], &file, &[]));
        let split = |text: &str| text.replace("{\"id\":", "\n{\"id\":");
        let ours = String::from_utf8(ours).unwrap();
        assert_same(name, &split(&ours), &split(theirs.trim_end()));
    }
}

/// Declarations that are hard to write, and layouts that need padding.
const ODD: &str = r#"
typedef unsigned int u32;
struct list { struct list *next, **prev; };
struct tree { struct leaf *first; };
struct leaf { struct tree tree; const volatile struct leaf *const up; };
union either { int i; struct { char c; short s; } both; union either *other; };
enum plain { A, B = 7, C = -1 };
enum { LONELY = 3, SECOND };
enum __attribute__((mode(byte))) small { S1, S2 };
enum huge { H1 = 0x8000000000000000ull };
typedef int (*handler)(struct list *, u32, ...);
typedef int matrix[2][3];
typedef void (*signal_fn(int, void (*)(int)))(int);
struct callbacks {
	handler table[4];
	int (*(*nested)(void))(char (*)[5]);
	void (*nothing)(void);
	const char *const *const names[3];
	matrix m;
	signal_fn *sig;
	int flexible[];
};
struct bits { int a : 3; unsigned b : 5; long : 0; char c; unsigned long d : 40; u32 : 0; u32 e : 1; };
struct __attribute__((packed)) packed { char c; long l; short s; };
struct holes { char a; __attribute__((aligned(16))) char b; short c; __attribute__((aligned(8))) int d; };
struct __attribute__((aligned(64))) aligned { int x; };
struct anonymous { struct { int a; union { long b; char c[3]; }; } *p; enum { IN1, IN2 } e; struct { int z; }; };
struct empty {};
struct wide { __int128 i; long double d; _Bool flag; double half[2]; };
struct opaque;
struct list head; struct callbacks callbacks; struct bits bits; struct packed packed; struct holes holes;
struct aligned aligned; struct anonymous anonymous; struct empty empty; struct wide wide; union either either;
enum plain plain; enum small small; enum huge huge; struct leaf leaf; int lonely = LONELY;
int use(struct opaque *o, handler h, matrix *m, const struct list *restrict l, ...) { return m[0][0][0]; }
static int quiet(int n) { return n > 0 ? quiet(n - 1) : lonely; }
int again(int n) { return quiet(n); }
"#;

#[test]
fn odd_declarations_are_bpftools() {
    let dir = TempDir::new().unwrap();
    let (source, object) = (dir.path().join("odd.c"), dir.path().join("odd.o"));
    fs::write(&source, ODD).unwrap();
    run(Command::new("gcc").args(["-g", "-O0", "-c", "-o"]).arg(&object).arg(&source));
    let detached = dir.path().join("odd.btf");
    let mut pahole = Command::new("pahole");
    pahole
        .args(["-J", "--btf_gen_floats"])
        .arg("--btf_encode_detached")
        .arg(&detached)
        .arg(&object);
    run(&mut pahole);
    assert_dumps("odd.c", &fs::read(&detached).unwrap(), &dir);
}

#[test]
fn random_types_are_bpftools() {
    let dir = TempDir::new().unwrap();
    for seed in 0..60 {
        for endian in [Endianness::Little, Endianness::Big] {
            let blob = random::blob(seed, 80, endian);
            assert_dumps(&format!("seed {seed} {endian:?}"), &blob, &dir);
        }
    }
}

#[test]
fn limits_are_bpftools() {
    let mut builder = Builder::new(Endianness::Little);
    let int = Int { encoding: Int::SIGNED, offset: 0, bits: 32 };
    let mut inner = builder.add(&Def::Int(b"int", 4, int)).unwrap();
    let composite = |name, ty, builder: &mut Builder| {
        let members = vec![NamedMember { name: b"m", ty, bit_offset: 0, bitfield_size: 0 }];
        let composite = Composite { is_union: false, name, size: 4, kflag: false, members };
        builder.add(&Def::Composite(composite)).unwrap()
    };
    // Deeper than libbpf indents, and names longer than its buffer.
    for _ in 0..16 {
        inner = composite(b"", inner, &mut builder);
    }
    let long = [b'x'; 300];
    for _ in 0..3 {
        inner = composite(&long, inner, &mut builder);
    }
    let dir = TempDir::new().unwrap();
    assert_dumps("limits", &builder.finish().unwrap(), &dir);
}

/// The rules of a kernel, by the strings that its source has.
fn rules(series: &str) -> CheckOptions {
    let tree = source(series);
    let read = |file: &str| fs::read_to_string(tree.join(file)).unwrap();
    let (reader, format) = (read("kernel/bpf/btf.c"), read("include/uapi/linux/btf.h"));
    CheckOptions {
        attributes: reader.contains("btf_type_kflag(t) && !btf_type_is_type_tag(t)"),
        wide_info: !reader.contains("BTF_INFO_MASK"),
        printable_sections: reader.contains("isprint"),
        layout: format.contains("struct btf_layout"),
        ..CheckOptions::newest()
    }
}

#[test]
fn kernels_pass_the_check_of_their_own_source() {
    for name in KERNELS {
        let blob = blob(name);
        let btf = Btf::parse(&blob).unwrap();
        let series = name.split('-').next().unwrap();
        let options = CheckOptions { program: true, ..rules(series) };
        let faults = btf::check(&btf, &options);
        assert!(faults.is_empty(), "{name}: {}", faults[0]);
    }
}

#[test]
fn a_kernel_that_is_written_again_means_the_same() {
    let names = KERNELS.iter().zip([Endianness::Little, Endianness::Big, Endianness::Big]);
    for (name, endian) in names {
        let blob = blob(name);
        let btf = Btf::parse(&blob).unwrap();
        let mut builder = Builder::new(endian);
        for (id, ty) in btf.types() {
            let def = Def::read(&btf, &ty).unwrap().expect("a kind that is known");
            assert_eq!(builder.add(&def), Ok(id));
        }
        let again = builder.finish().unwrap();
        let again = Btf::parse(&again).unwrap();
        assert_same(name, &raw(&again), &raw(&btf));
        assert_eq!(btf::diff(&btf, &again).unwrap(), [], "{name}");
    }
}
