//! `sysmap` beside GNU nm, llvm-nm, sed and the kernels' own System.map.

use std::path::{Path, PathBuf};
use std::process::Command;

use image::Elf;
use peer_tests::{cross, kernel, source};
use sysmap::{Filter, Flavor};

const KERNELS: [(&str, &str); 3] =
    [("6.1-tiny", "6.1"), ("6.12-tiny", "6.12"), ("7.3-tiny", "7.3")];

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

#[test]
fn every_cross_image_lists_as_with_its_nm() {
    for arch in cross::ARCHES {
        let image = cross::image(arch);
        let mut files = image.objects();
        files.push(image.raw());
        for file in files {
            let output = image.nm().arg("-n").arg(&file).output().expect("nm");
            assert!(output.status.success());
            let ours = nm_text(&read(&file), Flavor::Gnu);
            assert_same(&ours, &output.stdout, &format!("nm {}", file.display()));
            same_as_llvm_nm(&file, arch);
        }
    }
}

/// llvm-nm 14 lists the mapping symbols of RISC-V (`$x`, `$d`), which later ones leave out and every
/// mksysmap drops.
fn same_as_llvm_nm(path: &Path, arch: &str) {
    same_as_nm(path, "llvm-nm-19", Flavor::Llvm);
    if !arch.starts_with("riscv64") {
        same_as_nm(path, "llvm-nm-14", Flavor::Llvm);
    }
}

#[test]
fn the_objects_of_a_kernel_list_as_with_gnu_nm() {
    let dir = kernel("6.12-tiny");
    let objects = shell("find \"$1\"/mm \"$1\"/arch/x86/kernel -name '*.o'", &[&dir]);
    let objects: Vec<_> = objects.split(|&b| b == b'\n').filter(|path| !path.is_empty()).collect();
    assert!(objects.len() > 100, "{} objects", objects.len());
    for path in objects {
        let path = PathBuf::from(String::from_utf8(path.to_vec()).unwrap());
        same_as_nm(&path, "nm", Flavor::Gnu);
    }
}

#[test]
fn system_map_is_the_kernels_own() {
    for (name, series) in KERNELS {
        let (script, filter) = filter_of(series);
        for image in images(name) {
            let bytes = read(&image);
            let elf = Elf::parse(&bytes).unwrap();
            let ours = sysmap::write_map(&sysmap::system_map(&elf, &filter).unwrap(), elf.class());
            let what = format!("{} of {name}", image.display());
            assert_same(&ours, &filtered_by(&script, &nm_text(&bytes, Flavor::Gnu)), &what);
            if image.ends_with("vmlinux") {
                assert_same(&ours, &read(&kernel(name).join("System.map")), &what);
            }
        }
    }
}

/// What a tree's mksysmap leaves of a list: sed and grep themselves, with a stand-in for nm.
fn filtered_by(script: &Path, list: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("list"), dir.path().join("out"));
    std::fs::write(&input, list).unwrap();
    if read(script).starts_with(b"#!/bin/sed") {
        return shell("sed -f \"$1\" <\"$2\"", &[script, &input]);
    }
    let nm = dir.path().join("nm");
    std::fs::write(&nm, "cat \"$2\"\n").unwrap();
    shell("NM=\"sh $1\" sh \"$2\" \"$3\" \"$4\"", &[&nm, script, &input, &output]);
    read(&output)
}

/// Scripts that are in no tree here: those of 6.0, 6.3 (whose shell takes a backslash) and 6.4.
const OTHER_SCRIPTS: [&str; 4] = [
    "#!/bin/sh -x\n# x\n$NM -n $1 | grep -v '\\( [aNUw] \\)\\|\\(__crc_\\)\\|\\( \\$[adt]\\)\\|\\( \\.L\\)\\|\\( L0\\)' > $2\n",
    "#!/bin/sh -x\n${NM} -n ${1} | sed >${2} -e \"\n# 'a'\n/ [aNUw] /d\n/ \\$/d\n/ \\.L/d\n/_veneer$/d\n/ L0$/d\n\"\n",
    "#!/bin/sh -x\n${NM} -n ${1} | sed >${2} -e \"\n/ \\\\$/d\n/ __kvm_nvhe_\\\\$/d\n/ __[[:alnum:]]*Thunk_/d\n\"\n",
    "#!/bin/sed -f\n/ [tT] a/d\n/^0/d\n/ x\\(y\\|[^z]\\)$/d\n/[0-9][0-9]*\\.c$/d\n/ a*b/d\n",
];

#[test]
fn every_script_filters_awkward_names_as_sed_and_grep_do() {
    let list = awkward_list();
    let entries = sysmap::parse_map(&list).unwrap();
    assert_eq!(sysmap::write_map(&entries, image::Class::Elf64), list);
    let dir = tempfile::tempdir().unwrap();
    let mut scripts: Vec<_> =
        ["6.1", "6.12", "7.3"].iter().map(|series| filter_of(series).0).collect();
    for (index, script) in OTHER_SCRIPTS.iter().enumerate() {
        let path = dir.path().join(index.to_string());
        std::fs::write(&path, script).unwrap();
        scripts.push(path);
    }
    for script in scripts {
        let filter = Filter::parse(&read(&script)).unwrap();
        let kept: Vec<_> = entries.iter().copied().filter(|entry| filter.keeps(entry)).collect();
        assert!(kept.len() < entries.len());
        let ours = sysmap::write_map(&kept, image::Class::Elf64);
        assert_same(&ours, &filtered_by(&script, &list), &script.display().to_string());
    }
}

/// Every piece that a pattern is made of, alone and next to every other, under several letters.
fn awkward_list() -> Vec<u8> {
    let pieces = [
        "",
        "$",
        "$a",
        "$x.1",
        ".L",
        ".LC0",
        "__efistub_",
        "__pi_",
        "__pi_$",
        "__pi_.L",
        "__kvm_nvhe_",
        "__",
        "_",
        "AArch64ADRP",
        "Thunk_",
        "__Thunk_",
        "__kcfi_typeid_",
        "__crc_",
        "__kstrtab_",
        "__kstrtabns_",
        "__mod_device_table__",
        "_from_arm",
        "_from_thumb",
        "_veneer",
        "L0",
        "L",
        "_SDA_BASE_",
        "_SDA2_BASE_",
        "__UNIQUE_ID_modinfo_",
        "12",
        "0",
        "a",
        "b",
        "x",
        "xy",
        "xz",
        ".long_branch.",
        ".plt_branch.",
        "1.c",
        "printk",
        " a ",
        " ",
    ];
    let mut list = Vec::new();
    for first in pieces {
        for second in pieces {
            for (addr, kind) in [("ffffffff81000000", 'T'), ("0000000000000abc", 'd')] {
                list.extend(format!("{addr} {kind} {first}{second}\n").bytes());
            }
        }
        for kind in ['a', 'A', 'N', 'n', 'w', 'W', 'U', '?', 'b', 'x'] {
            let addr = if matches!(kind, 'w' | 'U') { " ".repeat(16) } else { "1".repeat(16) };
            list.extend(format!("{addr} {kind} {first}\n").bytes());
        }
    }
    list
}

#[test]
fn the_sizes_are_those_of_nm() {
    let vmlinux = kernel("6.12-tiny").join("vmlinux");
    let bytes = read(&vmlinux);
    let elf = Elf::parse(&bytes).unwrap();
    for (nm, flavor) in [("nm", Flavor::Gnu), ("llvm-nm-19", Flavor::Llvm)] {
        let sizes = sysmap::nm_sizes(&elf, flavor).unwrap();
        let ours = sysmap::write_sizes(&sizes, elf.class(), flavor);
        assert_same(&ours, &shell(&format!("{nm} -S \"$1\""), &[&vmlinux]), nm);
    }
}

#[test]
fn the_list_is_the_same_on_any_number_of_threads() {
    let bytes = read(&kernel("6.12-tiny").join("vmlinux"));
    let elf = Elf::parse(&bytes).unwrap();
    let alone = nm_text(&bytes, Flavor::Gnu);
    for threads in [1, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let entries = pool.install(|| sysmap::nm(&elf).unwrap());
        assert_same(&sysmap::write_map(&entries, elf.class()), &alone, &threads.to_string());
    }
}

/// Symbols of every kind that an assembler can make, for any machine.
const ODD_SYMBOLS: &str = "
    .text
    .globl global
global: .long 0
local: .long 0
    .weak weak_code
weak_code: .long 0
    .weak wanted
    .long wanted, undefined
    .data
    .weak weak_object
    .type weak_object, %object
weak_object: .long 0
data: .long 0
    .type unique, %gnu_unique_object
    .globl unique
unique: .long 0
    .comm common, 24, 8
    .local local_common
    .comm local_common, 8, 4
    .globl absolute
    .set absolute, 0x80100000
    .set small_absolute, 7
    .section .pdata, \"a\"
in_pdata: .long 0
    .section .edata.x, \"aw\"
in_edata: .long 0
    .section .debug_odd
in_debug: .long 0
    .section .plain
in_plain: .long 0
    .globl in_plain_global
in_plain_global: .long 0
    .section .written, \"w\"
in_written: .long 0
    .section .line_numbers
in_line: .long 0
    .section .note.odd, \"a\", %note
in_note: .long 0
    .section .sdata, \"aw\"
in_sdata: .long 0
    .section .sbss, \"aw\", %nobits
in_sbss: .long 0
    .section .tbss, \"awT\", %nobits
in_tbss: .long 0
    .section .tdata, \"awT\"
in_tdata: .long 0
";

fn odd_object(prefix: &str, options: &[&str], extra: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (source, object) = (dir.path().join("odd.s"), dir.path().join("odd.o"));
    std::fs::write(&source, format!("{ODD_SYMBOLS}{extra}")).unwrap();
    let status = Command::new(format!("{prefix}as"))
        .args(options)
        .arg("-o")
        .args([&object, &source])
        .status()
        .unwrap_or_else(|e| panic!("{prefix}as: {e}: install the binutils of that machine"));
    assert!(status.success());
    (dir, object)
}

#[test]
fn odd_symbols_have_the_letters_that_nm_gives() {
    let ifunc = ".text\n.type chosen, %gnu_indirect_function\n.globl chosen\nchosen: .long 0\n";
    let labels = ".text\n$x: .long 0\n$d.4: .long 0\n.Lkept: .long 0\n..dots: .long 0\n\
        _.L_old: .long 0\n$other: .long 0\n";
    let thumb = ".text\n.thumb\n.thumb_func\n.type thumb, %function\n.globl thumb\nthumb: nop\n";
    let all = format!("{ifunc}{labels}");
    for (prefix, options, extra) in [
        ("x86_64-linux-gnu-", &["-L"][..], all.as_str()),
        ("aarch64-linux-gnu-", &["-L"], &all),
        ("riscv64-linux-gnu-", &["-L"], &all),
        ("s390x-linux-gnu-", &["-L"], ifunc),
        ("powerpc64-linux-gnu-", &["-L"], ifunc),
        ("powerpc64-linux-gnu-", &["-L", "-a32", "-mppc"], ifunc),
        ("arm-linux-gnueabihf-", &["-L"], thumb),
        ("mips-linux-gnu-", &["-L"], ""),
        ("mips-linux-gnu-", &["-L", "-64"], ""),
    ] {
        let (_dir, object) = odd_object(prefix, options, extra);
        same_as_nm(&object, &format!("{prefix}nm"), Flavor::Gnu);
        same_as_llvm_nm(&object, prefix);
    }
}

#[test]
fn mips_addresses_are_sign_extended_as_gnu_nm_does() {
    let (dir, object) = odd_object("mips-linux-gnu-", &[], "");
    let linked = dir.path().join("linked");
    let status = Command::new("mips-linux-gnu-ld")
        .args(["-Ttext", "0x80100000", "-e", "global", "--unresolved-symbols=ignore-all", "-o"])
        .args([&linked, &object])
        .status()
        .expect("mips-linux-gnu-ld");
    assert!(status.success());
    same_as_nm(&linked, "mips-linux-gnu-nm", Flavor::Gnu);
    same_as_nm(&linked, "llvm-nm-19", Flavor::Llvm);
    assert!(nm_text(&read(&linked), Flavor::Gnu).windows(16).any(|w| w == b"ffffffff80100000"));
}
