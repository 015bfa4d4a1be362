//! `--debug-info=separate|drop` beside a kernel that keeps its debug information: nothing that is loaded differs, and
//! debuggers see no difference.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::Elf;
use image::consts::SHF_ALLOC;
use peer_tests::apart::{assert_only_debug, assert_same_symbols};
use peer_tests::link::{Linked, Recorded, assert_same_bytes, scratch, vmlinker};
use peer_tests::run;

use crate::variants::{LLD, without_the_flag_of_gnu_ld};

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn debug_of(linked: &Linked) -> PathBuf {
    PathBuf::from(format!("{}.debug", linked.vmlinux.display()))
}

fn build_id(bytes: &[u8]) -> Vec<u8> {
    let elf = Elf::parse(bytes).unwrap();
    let note = debug_link::build_id::locate(&elf).unwrap().expect("a build ID");
    bytes[note.id..note.end].to_vec()
}

/// Checks that what is loaded is the same, at the same place, and that symbols mean the same. With `signed` the build
/// ID is the same too.
fn assert_same_kernel(ours: &Path, kept: &Path, signed: bool, what: &str) {
    let (mut ours, kept) = (read(ours), read(kept));
    assert_eq!(build_id(&ours) == build_id(&kept), signed, "{what}: build IDs");
    debug_link::build_id::copy(&kept, &mut ours).unwrap();
    let (ours, kept) = (Elf::parse(&ours).unwrap(), Elf::parse(&kept).unwrap());
    let [a, b] = [&ours, &kept].map(|elf| {
        let loaded = elf.sections().iter().filter(|s| s.flags & SHF_ALLOC.0 != 0);
        let described = |s: &image::Section<'_>| {
            let numbers = [s.addr, s.offset, s.size, s.flags, s.align, s.entsize, s.sh_type.into()];
            (String::from_utf8_lossy(s.name).into_owned(), numbers)
        };
        loaded.map(described).collect::<Vec<_>>()
    });
    assert_eq!(a, b, "{what}");
    let end = b.iter().map(|(_, numbers)| numbers[1]).max().unwrap() as usize;
    // File header and program headers stand before everything else.
    let headers = |elf: &Elf<'_>| elf.data()[0x40..end].to_vec();
    assert!(headers(&ours) == headers(&kept), "{what}: what is loaded differs");
    let is_debug = |name: &[u8]| name.starts_with(b".debug");
    assert!(!ours.sections().iter().any(|s| is_debug(s.name)), "{what}: debug sections");
    assert_same_symbols(&ours, &kept, what);
}

const GDB: [&str; 9] = [
    "-nx",
    "-batch",
    "-ex",
    "info line start_kernel",
    "-ex",
    "ptype struct task_struct",
    "-ex",
    "info scope vfs_read",
    "-ex=info address jiffies",
];

/// What debuggers say of an image.
fn said_by_debuggers(image: &Path, addresses: &[String]) -> [String; 2] {
    let gdb = run(Command::new("gdb").args(GDB).arg(image));
    let mut addr2line = Command::new("addr2line");
    let lines = run(addr2line.args(["-f", "-i", "-e"]).arg(image).args(addresses));
    [gdb, lines].map(|said| String::from_utf8_lossy(&said).into_owned())
}

/// Every hundredth function of a System.map, some bytes into it.
fn addresses(system_map: &Path) -> Vec<String> {
    let text = fs::read_to_string(system_map).unwrap();
    let functions = text.lines().filter(|line| line[16..].starts_with(" T "));
    let into = |line: &str| u64::from_str_radix(&line[..16], 16).unwrap() + 5;
    functions.step_by(100).map(|line| format!("{:#x}", into(line))).collect()
}

/// Checks that a kernel and its debug information, linked as `separate`, are together the kernel that was `kept` whole.
fn assert_separate(separate: &Linked, kept: &Linked, addresses: &[String], what: &str) {
    let debug = debug_of(separate);
    assert_same_bytes(&separate.system_map, &kept.system_map, what);
    assert_same_kernel(&separate.vmlinux, &kept.vmlinux, true, what);
    assert_only_debug(Command::new("objcopy"), &kept.vmlinux, &debug, what);
    assert_eq!(build_id(&read(&debug)), build_id(&read(&kept.vmlinux)), "{what}");
    let bytes = read(&separate.vmlinux);
    let elf = Elf::parse(&bytes).unwrap();
    let (_, link_to) = elf.section(".gnu_debuglink").expect("a link to the debug information");
    let crc = debug_link::debuglink::crc(&read(&debug)).to_le_bytes();
    let expected = [&b"separate.debug\0\0"[..], &crc].concat();
    assert_eq!(elf.bytes(link_to).unwrap(), expected, "{what}");
    let [expected, ours] =
        [kept, separate].map(|linked| said_by_debuggers(&linked.vmlinux, addresses));
    assert!(expected[0].contains("init/main.c") && expected[0].contains("pid_t pid;"), "{what}");
    assert_eq!(ours, expected, "{what}");
}

/// All three, linked with these words.
fn three_ways(kernel: &Recorded, words: &[&str], what: &str) {
    let dir = scratch();
    let link = |way: &str| {
        let flag = format!("--debug-info={way}");
        kernel.relink(&dir.path().join(way), &[words, &[&flag]].concat())
    };
    let kept = link("keep");
    let addresses = addresses(&kept.system_map);
    assert_separate(&link("separate"), &kept, &addresses, what);

    let dropped = link("drop");
    assert!(!debug_of(&dropped).exists());
    assert_same_bytes(&dropped.system_map, &kept.system_map, what);
    assert_same_kernel(&dropped.vmlinux, &kept.vmlinux, false, what);
    let said = said_by_debuggers(&dropped.vmlinux, &addresses);
    assert!(!said[0].contains("pid_t pid;"), "{what}: {}", said[0]);
}

#[test]
fn kernel_6_1() {
    three_ways(&Recorded::of("6.1-tiny"), &[], "6.1");
}

#[test]
fn kernel_6_12() {
    three_ways(&Recorded::of("6.12-tiny"), &[], "6.12");
}

#[test]
fn kernel_6_12_without_kallsyms() {
    three_ways(&Recorded::of("6.12-tiny-nokallsyms"), &[], "6.12 without kallsyms");
}

#[test]
fn kernel_6_12_with_kept_relocations() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |record| {
        let flags = record["call"]["ldflags_vmlinux"].as_str().unwrap();
        let flags = format!("{flags} --emit-relocs --discard-none");
        record["call"]["ldflags_vmlinux"] = flags.into();
    });
    three_ways(&kernel, &[], "6.12 with kept relocations");
}

#[test]
fn kernel_6_12_with_lld() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny");
    let kernel = kernel.altered(&dir.path().join("build"), without_the_flag_of_gnu_ld);
    three_ways(&kernel, &["--ld", LLD], "6.12 with ld.lld");
}

#[test]
fn kernel_7_3() {
    three_ways(&Recorded::of("7.3-tiny"), &[], "7.3");
}

/// The linker does what cannot be followed, here because its map is cut off: one link with debug information, one without.
#[test]
fn through_the_linker_it_is_the_same() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny");
    let ld = dir.path().join("ld");
    let cut = "ld \"$@\" || exit\n[ ! -e .tmp_vmlinux2.map ] || : > .tmp_vmlinux2.map\n";
    fs::write(&ld, format!("#!/bin/sh\n{cut}")).unwrap();
    run(Command::new("chmod").arg("+x").arg(&ld));
    let kept = kernel.relink(&dir.path().join("keep"), &[]);
    let separate = dir.path().join("separate");
    let words = ["--cold", "--debug-info=separate", "--ld", ld.to_str().unwrap()];
    let output = kernel.try_relink(&separate, &words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("vmlinux is linked once more: "), "{said}");
    let separate = Linked::at(&separate, &output.stdout);
    assert_separate(&separate, &kept, &addresses(&kept.system_map), "through the linker");
}

#[test]
fn debuggers_see_no_difference_between_lean_and_the_scripts_kernel() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny");
    let lean = kernel.relink(&dir.path().join("lean"), &["--schedule", "lean"]);
    let script = kernel.relink(&dir.path().join("script"), &["--script"]);
    let addresses = addresses(&script.system_map);
    assert!(addresses.len() > 100, "{addresses:?}");
    let [ours, theirs] =
        [&lean, &script].map(|linked| said_by_debuggers(&linked.vmlinux, &addresses));
    assert_eq!(ours, theirs);
}

/// With `make V=1`, what the linker and other tools would do is shown for what has no command of its own.
#[test]
fn commands_that_do_the_same_are_shown() {
    let dir = scratch();
    let mut relink = Command::new(vmlinker());
    relink.args(["relink", "--debug-info=separate", "-C"]).arg(Recorded::of("6.12-tiny").dir);
    relink.arg("--output").arg(dir.path().join("out")).env("KBUILD_VERBOSE", "1");
    let said = relink.output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let types = "+ # the same types, by way of a file:\n+ ld ";
    assert!(said.contains(types), "{said}");
    let encoder = "+ vmlinker pahole -J --btf_gen_floats --lang_exclude=rust .tmp_vmlinux1.debug\n";
    assert!(said.contains(encoder), "{said}");
    assert!(said.contains("+ # the same, by the linker:\n+ ld "), "{said}");
    let unfinished = ".tmp_vmlinux.unfinished";
    let objcopy = format!("+ objcopy --only-keep-debug {unfinished} out.debug\n");
    assert!(said.contains(&objcopy), "{said}");
}

/// Two relocations of debug information exchange their places: the slower ways are taken, and it is said why.
#[test]
fn an_unusual_order_of_relocations_is_said() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |_| ());
    let object = kernel.dir.join("vmlinux.o");
    let mut bytes = read(&object);
    let (start, end) = {
        let elf = Elf::parse(&bytes).unwrap();
        let (_, relocations) = elf.section(".rela.debug_info").expect("vmlinux.o has DWARF");
        (relocations.offset as usize, (relocations.offset + relocations.size) as usize)
    };
    let record = 24;
    let middle = start + (end - start) / record / 2 * record;
    for byte in 0..record {
        bytes.swap(start + byte, middle + byte);
    }
    fs::remove_file(&object).unwrap();
    fs::write(&object, &bytes).unwrap();
    let script = kernel.relink(&dir.path().join("script"), &["--script"]);
    let output = kernel.try_relink(&dir.path().join("out"), &["--schedule", "lean"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let line = "vmlinker: types of .tmp_vmlinux1 are read out of a file: ";
    assert!(said.contains(line), "{said}");
    assert_same_bytes(&dir.path().join("out"), &script.vmlinux, "relocations in another order");
}

/// The types are those that the debug information has, wherever it is.
#[test]
fn what_is_elsewhere_is_verified_too() {
    let dir = scratch();
    for name in ["6.12-tiny", "7.3-tiny"] {
        let kernel = Recorded::of(name);
        for way in ["--debug-info=separate", "--debug-info=drop"] {
            let output = kernel.try_relink(&dir.path().join("out"), &[way, "--verify"]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name} {way}: {said}");
            let unverified =
                said.contains("not verified: BTF, the kernel has no debug information");
            assert_eq!(unverified, way.ends_with("drop"), "{name} {way}: {said}");
        }
    }
}

#[test]
fn other_schedules_refuse() {
    let dir = scratch();
    let refused = |name: &str, words: &[&str], cause: &str| {
        let output = Recorded::of(name).try_relink(&dir.path().join("out"), words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{words:?}");
        let line = format!("vmlinker: --debug-info=separate is the lean schedule's: {cause}");
        let advice = "leave --debug-info out, and debug information is kept";
        assert_eq!(said, format!("{line}\n{advice}\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something is left");
    };
    let separate = "--debug-info=separate";
    let merged = "--schedule merged is asked for";
    refused("6.12-tiny", &[separate, "--schedule", "merged"], merged);
    let kernels = "--engine kernel has the tree's own schedule";
    refused("6.12-tiny", &[separate, "--engine", "kernel"], kernels);
}
