//! `btf-ids` and the BTF object beside the kernel's own resolve_btfids, objcopy and linkers.
//!
//! Kernels are linked anew from the finished build, as the kernel's script does, because the ids of the
//! finished one are already filled in.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf::{Btf, Kind};
use btf_ids::{Options, Resolution, resolve};
use image::{Elf, Patch};
use peer_tests::cross::{self, Debug, Linker};
use peer_tests::{kernel, run, tool};
use tempfile::TempDir;

/// The built kernels, each with the series of its tools.
const KERNELS: [(&str, &str); 2] = [("6.1-tiny", "6.1"), ("6.12-tiny", "6.12")];

/// The tools that resolve in place.
const IN_PLACE: [&str; 2] = ["6.1", "6.12"];

/// A finished build and what its last link was made of.
struct Build {
    dir: PathBuf,
    /// `KBUILD_LDFLAGS` and `LDFLAGS_vmlinux`, as the script got them.
    ldflags: Vec<String>,
    kallsyms: PathBuf,
    btf: PathBuf,
}

impl Build {
    fn of(name: &str) -> Build {
        let dir = kernel(name);
        // From 6.18 on the linked file is `vmlinux.unstripped`.
        let recorded = fs::read_to_string(dir.join(".vmlinux.unstripped.cmd"))
            .or_else(|_| fs::read_to_string(dir.join(".vmlinux.cmd")));
        let recorded = recorded.unwrap();
        let quoted: Vec<&str> = recorded.lines().next().unwrap().split('"').collect();
        let flags = format!("{} {}", quoted[3], quoted[5]);
        let newest = |names: &[&str]| {
            let found = names.iter().map(|name| dir.join(name)).find(|path| path.exists());
            found.unwrap_or_else(|| panic!("{}: none of {names:?}", dir.display()))
        };
        let kallsyms = newest(&[
            ".tmp_vmlinux3.kallsyms.o",
            ".tmp_vmlinux2.kallsyms.o",
            ".tmp_vmlinux.kallsyms3.o",
            ".tmp_vmlinux.kallsyms2.o",
        ]);
        let btf = newest(&[".tmp_vmlinux1.btf.o", ".btf.vmlinux.bin.o"]);
        let ldflags = flags.split_whitespace().map(str::to_owned).collect();
        Build { dir, ldflags, kallsyms, btf }
    }

    fn is_enabled(&self, option: &str) -> bool {
        let config = fs::read_to_string(self.dir.join("include/config/auto.conf")).unwrap();
        config.lines().any(|line| line == format!("{option}=y"))
    }

    /// The last link of the script, with `btf` or nothing in the place of the build's object.
    fn link(&self, ld: &str, btf: Option<&Path>, strip: bool, out: &Path) {
        let mut command = Command::new(ld);
        command.current_dir(&self.dir);
        // LLD has no such warning and refuses the option.
        let known = |flag: &&String| ld == "ld" || *flag != "--no-warn-rwx-segments";
        command.args(self.ldflags.iter().filter(known));
        command.arg("--script=arch/x86/kernel/vmlinux.lds");
        command.args(strip.then_some("--strip-debug")).arg("-o").arg(out).arg("--whole-archive");
        let whole = self.is_enabled("CONFIG_LTO_CLANG") || self.is_enabled("CONFIG_X86_KERNEL_IBT");
        command.arg(if whole { "vmlinux.o" } else { "vmlinux.a" });
        command.args(self.is_enabled("CONFIG_MODULES").then_some(".vmlinux.export.o"));
        command.args(["init/version-timestamp.o", "--no-whole-archive", "--start-group"]);
        command.args((!whole).then_some(["lib/lib.a", "arch/x86/lib/lib.a"]).into_iter().flatten());
        run(command.arg("--end-group").arg(&self.kallsyms).args(btf));
    }

    /// The kernel with its ids not yet filled in. Without debug sections, which have no part in this.
    fn unresolved(&self, dir: &TempDir) -> Vec<u8> {
        let path = dir.path().join("vmlinux.unresolved");
        self.link("ld", Some(&self.btf), true, &path);
        fs::read(path).unwrap()
    }
}

/// What a run leaves behind: the file, standard error, and whether it failed.
#[derive(PartialEq)]
struct Outcome {
    file: Vec<u8>,
    lines: Vec<String>,
    failed: bool,
}

fn peer(series: &str, file: &[u8], options: &[&str], dir: &TempDir) -> Outcome {
    let path = dir.path().join("peer");
    fs::write(&path, file).unwrap();
    let output = Command::new(tool(series, "resolve_btfids"))
        .args(options)
        .arg(&path)
        .output()
        .expect("the kernel's tool runs");
    let path_name = path.display().to_string();
    let text = String::from_utf8(output.stderr).unwrap().replace(&path_name, "FILE");
    let lines = text.lines().map(str::to_owned).collect();
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 255)), "{series}: {code:?} {text}");
    Outcome { file: fs::read(path).unwrap(), lines, failed: code != Some(0) }
}

fn ours(file: &[u8], base: Option<&Btf<'_>>, trace: bool) -> Outcome {
    let options = Options { trace, ..Options::default() };
    let mut changed = file.to_vec();
    match resolve(&Elf::parse(file).unwrap(), base, &options) {
        Ok(Resolution { patches, warnings, trace: traced }) => {
            image::apply(&mut changed, &patches).unwrap();
            let mut lines = warnings.iter().map(ToString::to_string).collect();
            if trace {
                lines = traced;
                lines.push("update ok for FILE".to_owned());
            }
            Outcome { file: changed, lines, failed: false }
        }
        Err(error) => Outcome { file: changed, lines: vec![error.to_string()], failed: true },
    }
}

fn assert_same(what: &str, peer: &Outcome, ours: &Outcome) {
    assert_eq!(peer.lines, ours.lines, "{what}: standard error");
    assert_eq!(peer.failed, ours.failed, "{what}: exit status");
    if let Some(at) = peer.file.iter().zip(&ours.file).position(|(peer, ours)| peer != ours) {
        panic!("{what}: the files differ at {at:#x}");
    }
    assert_eq!(peer.file.len(), ours.file.len(), "{what}: length of the file");
}

fn section<'data>(elf: &Elf<'data>, name: &str) -> &'data [u8] {
    let (_, section) = elf.section(name).unwrap_or_else(|| panic!("no {name}"));
    elf.bytes(section).unwrap()
}

#[test]
fn kernels_get_the_bytes_that_the_peer_writes() {
    for (name, series) in KERNELS {
        let dir = TempDir::new().unwrap();
        let build = Build::of(name);
        let file = build.unresolved(&dir);
        let ours = ours(&file, None, true);
        assert_same(name, &peer(series, &file, &["-v"], &dir), &ours);
        assert_ne!(ours.file, file, "{name}: nothing was resolved");
        // The finished kernel has been resolved by its own build.
        let finished = fs::read(build.dir.join("vmlinux")).unwrap();
        let (finished, ours) = (Elf::parse(&finished).unwrap(), Elf::parse(&ours.file).unwrap());
        assert_eq!(section(&finished, ".BTF_ids"), section(&ours, ".BTF_ids"), "{name}");
    }
}

/// Numbers that are the same on every run (a linear congruential generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// The names that `.BTF_ids` wants, whatever their kind.
fn wanted_names<'data>(elf: &Elf<'data>) -> HashSet<&'data [u8]> {
    let names = elf.symbols().unwrap().into_iter().filter_map(|symbol| {
        let tail = symbol.name.strip_prefix(b"__BTF_ID__")?;
        let start = tail.windows(2).position(|pair| pair == b"__")? + 2;
        let end = tail.windows(2).rposition(|pair| pair == b"__")?;
        tail.get(start..end)
    });
    names.collect()
}

/// Gives types the names of others and other kinds of the same size, so that wanted names are missing,
/// found several times, and found with another kind.
fn perturb(file: &[u8], numbers: &mut Numbers) -> Vec<Patch> {
    let elf = Elf::parse(file).unwrap();
    let (_, place) = elf.section(".BTF").unwrap();
    let types = Btf::parse(elf.bytes(place).unwrap()).unwrap();
    let wanted = wanted_names(&elf);
    let kinds = [Kind::Struct, Kind::Union, Kind::Typedef, Kind::Func];
    let (mut all, mut named) = (vec![], vec![]);
    for (id, ty) in types.types().filter(|(_, ty)| kinds.contains(&ty.kind)) {
        let at = place.offset + types.offset_of(id).unwrap();
        all.push(at);
        if wanted.contains(types.name(ty.name_off).unwrap()) {
            named.push((at, ty));
        }
    }
    let mut patches = vec![];
    let mut put =
        |offset, word: u32| patches.push(Patch { offset, bytes: word.to_le_bytes().to_vec() });
    for _ in 0..40 {
        let (_, ty) = named[numbers.below(named.len())];
        put(all[numbers.below(all.len())], ty.name_off.0);
    }
    for _ in 0..15 {
        let (at, _) = named[numbers.below(named.len())];
        put(at, 0);
        let (at, ty) = named[numbers.below(named.len())];
        let other = match ty.kind {
            Kind::Struct => Kind::Union,
            Kind::Union => Kind::Struct,
            _ => continue,
        };
        put(at + 4, ty.info & !(0x7f << 24) | u32::from(other.number()) << 24);
    }
    patches
}

#[test]
fn missing_and_repeated_names_give_the_peers_bytes_and_words() {
    let dir = TempDir::new().unwrap();
    let file = Build::of("6.12-tiny").unresolved(&dir);
    let mut numbers = Numbers(6_12);
    let (mut missing, mut repeated) = (0, 0);
    for round in 0..6 {
        let mut changed = file.clone();
        image::apply(&mut changed, &perturb(&file, &mut numbers)).unwrap();
        let ours = ours(&changed, None, false);
        for series in IN_PLACE {
            assert_same(&format!("{series}, {round}"), &peer(series, &changed, &[], &dir), &ours);
        }
        missing += ours.lines.iter().filter(|line| line.contains("unresolved")).count();
        repeated += ours.lines.iter().filter(|line| line.contains("multiple")).count();
    }
    assert!(missing > 20 && repeated > 20, "{missing} missing, {repeated} repeated: too few");
}

/// The file with the first `from` in `.strtab` replaced by `to`, of the same length.
fn rename(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let elf = Elf::parse(file).unwrap();
    let (_, strings) = elf.section(".strtab").unwrap();
    let bytes = elf.bytes(strings).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    let patch = Patch { offset: strings.offset + at as u64, bytes: to.as_bytes().to_vec() };
    let mut changed = file.to_vec();
    image::apply(&mut changed, &[patch]).unwrap();
    changed
}

#[test]
fn symbols_that_cannot_be_parsed_end_both_with_the_same_words() {
    let dir = TempDir::new().unwrap();
    let file = Build::of("6.12-tiny").unresolved(&dir);
    let cases = [
        ("__BTF_ID__func__", "__BTF_ID__junc__", "FAILED unsupported prefix junc__"),
        (
            "__BTF_ID__struct__task_struct__",
            "__BTF_ID__struct__task_struct_x",
            "FAILED to parse symbol name",
        ),
    ];
    for (from, to, words) in cases {
        let changed = rename(&file, from, to);
        let ours = ours(&changed, None, false);
        assert!(ours.failed && ours.lines[0].starts_with(words), "{:?}", ours.lines);
        for series in IN_PLACE {
            assert_same(to, &peer(series, &changed, &[], &dir), &ours);
        }
    }
}

#[test]
fn images_of_other_architectures_are_resolved_in_their_own_byte_order() {
    for arch in cross::ARCHES {
        let dir = TempDir::new().unwrap();
        let image = cross::image(arch);
        let object = dir.path().join("btf.o");
        image.btf_object(&image.raw(), &object);
        let linked = dir.path().join("vmlinux");
        image.link(&[&object], &linked, Linker::Gnu, Debug::Keep);
        let file = fs::read(&linked).unwrap();
        let ours = ours(&file, None, true);
        assert_ne!(ours.file, file, "{arch}: nothing was resolved");
        for series in IN_PLACE {
            let what = format!("{arch} by {series}");
            assert_same(&what, &peer(series, &file, &["-v"], &dir), &ours);
        }
        // Our object links to the same image.
        let object_bytes = fs::read(&object).unwrap();
        let peers = Elf::parse(&object_bytes).unwrap();
        let first = fs::read(&image.objects()[0]).unwrap();
        let header = Elf::parse(&first).unwrap().header();
        let made = btf::to_object(section(&peers, ".BTF"), &header, 1).unwrap();
        fs::write(&object, made).unwrap();
        image.link(&[&object], &linked, Linker::Gnu, Debug::Keep);
        assert!(fs::read(&linked).unwrap() == file, "{arch}: the BTF objects link differently");
    }
}

/// Ids of the kernel and of the module itself, a set of kfuncs, a list, and a name that is nowhere.
const MODULE: &str = r#"
#include <linux/module.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/sched.h>
struct own_struct { int value; };
__bpf_kfunc_start_defs();
__bpf_kfunc noinline int own_first(struct task_struct *task) { return task->pid; }
__bpf_kfunc noinline int own_second(struct own_struct *own) { return own->value; }
__bpf_kfunc_end_defs();
BTF_KFUNCS_START(own_set)
BTF_ID_FLAGS(func, own_second, KF_RCU)
BTF_ID_FLAGS(func, own_first, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, nowhere)
BTF_KFUNCS_END(own_set)
BTF_ID_LIST(own_list)
BTF_ID(struct, task_struct)
BTF_ID_UNUSED
BTF_ID(struct, own_struct)
BTF_ID(typedef, pid_t)
static int __init start(void) { return own_list[0] + own_set.cnt; }
module_init(start);
MODULE_LICENSE("GPL");
"#;

#[test]
fn a_module_is_resolved_against_its_kernel() {
    let dir = TempDir::new().unwrap();
    let build = kernel("6.12-tiny");
    fs::write(dir.path().join("own.c"), MODULE).unwrap();
    fs::write(dir.path().join("Makefile"), "obj-m := own.o\n").unwrap();
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(&build).arg(format!("M={}", dir.path().display()));
    // Everything but the step that is compared.
    make.args(["RESOLVE_BTFIDS=true", "modules"]);
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        make.env_remove(name);
    }
    run(&mut make);
    let module = fs::read(dir.path().join("own.ko")).unwrap();
    let vmlinux = fs::read(build.join("vmlinux")).unwrap();
    let base = Btf::parse(section(&Elf::parse(&vmlinux).unwrap(), ".BTF")).unwrap();
    let ours = ours(&module, Some(&base), true);
    assert!(ours.lines.contains(&"WARN: resolve_btfids: unresolved symbol nowhere".to_owned()));
    let base_path = build.join("vmlinux");
    let options = ["-v", "-b", base_path.to_str().unwrap()];
    for series in IN_PLACE {
        assert_same(series, &peer(series, &module, &options, &dir), &ours);
    }

    // With a base of its own the module is resolved against that, whatever is named.
    let (blob, ko) = (dir.path().join("blob"), dir.path().join("own.ko"));
    fs::write(&blob, base.data()).unwrap();
    run(Command::new("objcopy").arg("--add-section").arg(named(".BTF.base=", &blob)).arg(&ko));
    let module = fs::read(ko).unwrap();
    let peer = peer("6.12", &module, &["-v", "-b", "/nowhere/vmlinux"], &dir);
    assert_same(".BTF.base", &peer, &self::ours(&module, None, true));
    assert!(!peer.failed && peer.lines.len() > 8, "{:?}", peer.lines);
}

fn named(prefix: &str, path: &Path) -> String {
    format!("{prefix}{}", path.display())
}

#[test]
fn ids_from_a_file_are_put_in_place_as_by_the_newest_peer() {
    let dir = TempDir::new().unwrap();
    let file = Build::of("6.12-tiny").unresolved(&dir);
    let elf = Elf::parse(&file).unwrap();
    let ids: Vec<u8> = (0..section(&elf, ".BTF_ids").len()).map(|at| at as u8 | 1).collect();
    let path = dir.path().join("ids");
    fs::write(&path, &ids).unwrap();
    let options = ["--patch_btfids", path.to_str().unwrap()];
    let mut changed = file.clone();
    image::apply(&mut changed, &[btf_ids::patch_from_file(&elf, &ids).unwrap()]).unwrap();
    let ours = Outcome { file: changed, lines: vec![], failed: false };
    assert_same("7.3", &peer("7.3", &file, &options, &dir), &ours);
    fs::write(&path, &ids[1..]).unwrap();
    assert!(peer("7.3", &file, &options, &dir).failed);
    assert!(btf_ids::patch_from_file(&elf, &ids[1..]).is_err());
}

#[test]
fn the_final_types_of_7_3_give_the_ids_that_its_own_tool_wrote() {
    let dir = TempDir::new().unwrap();
    let build = Build::of("7.3-tiny");
    let file = build.unresolved(&dir);
    let ours = ours(&file, None, false);
    let written = fs::read(build.dir.join(".tmp_vmlinux1.BTF_ids")).unwrap();
    assert!(section(&Elf::parse(&ours.file).unwrap(), ".BTF_ids") == written);
    let finished = fs::read(build.dir.join("vmlinux.unstripped")).unwrap();
    assert!(section(&Elf::parse(&finished).unwrap(), ".BTF_ids") == written);
}

#[test]
fn our_btf_object_links_to_the_same_kernel() {
    for (name, ld, strip) in [
        ("6.1-tiny", "ld", false),
        ("6.12-tiny", "ld", false),
        ("6.12-tiny", "ld", true),
        ("6.12-tiny", "ld.lld-19", false),
        ("7.3-tiny", "ld", false),
    ] {
        let dir = TempDir::new().unwrap();
        let build = Build::of(name);
        let theirs = fs::read(&build.btf).unwrap();
        let peers = Elf::parse(&theirs).unwrap();
        let (_, place) = peers.section(".BTF").unwrap();
        assert_eq!((place.align, place.flags), (1, image::consts::SHF_ALLOC.0), "{name}");
        let first = fs::read(build.dir.join("init/version-timestamp.o")).unwrap();
        let header = Elf::parse(&first).unwrap().header();
        let object = dir.path().join("btf.o");
        fs::write(&object, btf::to_object(section(&peers, ".BTF"), &header, 1).unwrap()).unwrap();
        let (with_theirs, with_ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        build.link(ld, Some(&build.btf), strip, &with_theirs);
        build.link(ld, Some(&object), strip, &with_ours);
        let same = fs::read(with_theirs).unwrap() == fs::read(with_ours).unwrap();
        assert!(same, "{name} by {ld}: the BTF objects link differently");
    }
}

#[test]
fn detached_btf_has_the_bytes_that_pahole_adds_to_the_image() {
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("image");
    let build = Build::of("6.12-tiny");
    build.link("ld", None, false, &image);
    let flags = ["-J", "--btf_gen_floats", "--lang_exclude=rust"];
    let detached = dir.path().join("detached");
    let mut pahole = Command::new("pahole");
    pahole.args(flags).arg(format!("--btf_encode_detached={}", detached.display()));
    run(pahole.arg(&image));
    run(Command::new("pahole").env("LLVM_OBJCOPY", "objcopy").args(flags).arg(&image));
    let whole = fs::read(&image).unwrap();
    let detached = fs::read(&detached).unwrap();
    assert!(section(&Elf::parse(&whole).unwrap(), ".BTF") == detached);
    let built = fs::read(&build.btf).unwrap();
    assert!(section(&Elf::parse(&built).unwrap(), ".BTF") == detached, "not the build's own BTF");
}
