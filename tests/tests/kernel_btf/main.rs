//! `btf_ids::kernel_btf` beside the resolve_btfids of Linux 7.3: the same files, the same lines.

mod peer;
mod random;

use std::fs;
use std::path::Path;
use std::process::Command;

use image::{Class, Elf, Endian, Endianness, Patch};
use peer::{Input, compare, section};
use peer_tests::{cache, cross, kernel, run};
use random::{Blob, Random};
use tempfile::TempDir;

/// What `scripts/Makefile.btf` of 7.3 passes to a pahole since 1.31.
const NEW: [&str; 2] = [
    "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func",
    "--btf_features=layout",
];
/// What it passes to pahole 1.24.
const OLD: [&str; 1] = ["--btf_gen_floats"];

/// The types of `image` as `gen-btf.sh` has pahole write them.
fn encode(pahole: &Path, flags: &[&str], base: Option<&Path>, image: &Path) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("types");
    let mut command = Command::new(pahole);
    command.arg("-J").args(flags).arg("--lang_exclude=rust");
    if let Some(base) = base {
        command.arg("--btf_base").arg(base);
    }
    run(command.arg(format!("--btf_encode_detached={}", out.display())).arg(image));
    fs::read(out).unwrap()
}

fn new_pahole() -> std::path::PathBuf {
    let path = cache().join("peers/bin/pahole-1.32");
    assert!(path.exists(), "no {}: run `cargo xtask test`", path.display());
    path
}

#[test]
fn the_kernel_gets_the_bytes_that_the_peer_writes() {
    let build = kernel("7.3-tiny");
    let path = build.join(".tmp_vmlinux1");
    let image = fs::read(&path).unwrap();
    for (pahole, flags) in [(new_pahole().as_path(), &NEW[..]), (Path::new("pahole"), &OLD[..])] {
        let types = encode(pahole, flags, None, &path);
        let input = Input { image: &image, types: &types, base: None, distill: false };
        let ours = compare(&format!("{flags:?}"), &input);
        assert!(ours.btf.as_ref() != Some(&types), "nothing was sorted");
        if flags == OLD {
            // What the build itself has made with that pahole.
            assert!(ours.ids == fs::read(build.join(".tmp_vmlinux1.BTF_ids")).ok());
            assert!(ours.btf == Some(section(&build.join(".tmp_vmlinux1.btf.o"), ".BTF")));
        }
    }
}

/// Kfuncs with implicit arguments, into arenas, of other sets; ids of the kernel and of its own.
const MODULE: &str = r#"
#include <linux/module.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/sched.h>
struct zebra { int stripes; };
struct ant { struct zebra *friend; };
typedef struct ant ant_t;
enum order { UP, DOWN };
__bpf_kfunc_start_defs();
__bpf_kfunc noinline int own_first(struct task_struct *task, struct bpf_prog_aux *aux)
{ return task->pid + !aux; }
__bpf_kfunc noinline int own_second(struct zebra *own, const struct bpf_prog_aux *const aux, int x)
{ return own->stripes + x + !aux; }
__bpf_kfunc noinline int own_second_impl(struct zebra *own) { return own->stripes + 7; }
__bpf_kfunc noinline void *own_third(void *p__arena, ant_t *ant, enum order order)
{ return order == UP ? p__arena : ant->friend; }
__bpf_kfunc noinline char *own_fourth(char *a, char *b__arena__nullable) { return a + !!b__arena__nullable; }
__bpf_kfunc_end_defs();
BTF_KFUNCS_START(own_set)
BTF_ID_FLAGS(func, own_second, KF_IMPLICIT_ARGS | KF_RCU)
BTF_ID_FLAGS(func, own_first, KF_IMPLICIT_ARGS | KF_FASTCALL)
BTF_ID_FLAGS(func, nowhere)
BTF_ID_FLAGS(func, own_third, KF_ARENA_RET)
BTF_KFUNCS_END(own_set)
BTF_KFUNCS_START(another_set)
BTF_ID_FLAGS(func, own_fourth, KF_ARENA_RET | KF_ARENA_ARG1)
BTF_ID_FLAGS(func, own_third, KF_ARENA_RET)
BTF_KFUNCS_END(another_set)
BTF_SET8_START(no_kfuncs)
BTF_ID_FLAGS(func, own_second_impl)
BTF_SET8_END(no_kfuncs)
BTF_SET_START(plain)
BTF_ID(func, own_fourth)
BTF_ID(func, own_first)
BTF_SET_END(plain)
BTF_ID_LIST(own_list)
BTF_ID(struct, task_struct)
BTF_ID_UNUSED
BTF_ID(struct, zebra)
BTF_ID(typedef, ant_t)
static int __init start(void)
{
	struct zebra zebra = { own_list[0] };
	ant_t ant = { &zebra };
	return own_first(current, NULL) + own_second(&zebra, NULL, 1) + own_second_impl(&zebra) +
	       !own_third(NULL, &ant, UP) + !own_fourth((char *)&ant, NULL) + own_set.cnt +
	       another_set.cnt + no_kfuncs.cnt + plain.cnt;
}
module_init(start);
MODULE_LICENSE("GPL");
"#;

/// The module of [`MODULE`], with debug information and without BTF.
fn own_module(dir: &TempDir) -> std::path::PathBuf {
    fs::write(dir.path().join("own.c"), MODULE).unwrap();
    fs::write(dir.path().join("Makefile"), "obj-m := own.o\n").unwrap();
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(kernel("7.3-tiny")).arg(format!("M={}", dir.path().display()));
    make.args(["CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]);
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        make.env_remove(name);
    }
    run(&mut make);
    dir.path().join("own.ko")
}

#[test]
fn modules_get_the_bytes_that_the_peer_writes() {
    let dir = TempDir::new().unwrap();
    let build = kernel("7.3-tiny");
    let vmlinux = build.join("vmlinux");
    let base = section(&vmlinux, ".BTF");
    let mut modules = vec![own_module(&dir)];
    for name in ["drivers/net/dummy.ko", "drivers/thermal/intel/x86_pkg_temp_thermal.ko"] {
        let module = dir.path().join(Path::new(name).file_name().unwrap());
        fs::copy(build.join(name), &module).unwrap();
        run(Command::new("objcopy").arg("--remove-section=.BTF").arg(&module));
        modules.push(module);
    }
    for module in modules {
        let image = fs::read(&module).unwrap();
        for (pahole, flags) in [(new_pahole().as_path(), &NEW[..]), (Path::new("pahole"), &OLD[..])]
        {
            let types = encode(pahole, flags, Some(&vmlinux), &module);
            for distill in [false, true] {
                let input = Input { image: &image, types: &types, base: Some(&base), distill };
                let what = format!("{} {flags:?} distill {distill}", module.display());
                let ours = compare(&what, &input);
                let own = module.ends_with("own.ko");
                assert_eq!((ours.ids.is_some(), ours.base.is_some()), (own, distill), "{what}");
                let found =
                    ours.lines.iter().filter(|line| line.starts_with("found kfunc")).count();
                assert_eq!(found, if own { 5 } else { 0 }, "{what}");
            }
        }
    }
}

#[test]
fn made_images_and_types_of_every_class_and_byte_order() {
    let mut random = Random(73);
    let (mut made, mut failed, mut warned) = (0, 0, 0);
    for round in 0..400 {
        let class = [Class::Elf32, Class::Elf64][round / 2 % 2];
        let endian = [Endianness::Little, Endianness::Big][round % 2];
        let image = random::image(&mut random, class, endian);
        let mut blob = Blob::alone(&mut random, endian);
        let base = random.one_in(2).then(|| blob.bytes());
        if base.is_some() {
            blob = blob.split(&mut random);
        }
        let (types, distill) = (blob.bytes(), random.one_in(2));
        let input = Input { image: &image, types: &types, base: base.as_deref(), distill };
        let ours = compare(&format!("round {round}"), &input);
        made += usize::from(!ours.failed);
        failed += usize::from(ours.failed);
        warned += ours.faults().count();
    }
    assert!(made > 250 && failed > 10 && warned > 100, "{made} made, {failed} failed, {warned}");
}

/// The image with its set of flagged ids made one of kfuncs, with these flags.
fn with_kfuncs(file: &[u8]) -> Vec<u8> {
    let elf = Elf::parse(file).unwrap();
    let (_, place) = elf.section(".BTF_ids").unwrap();
    let symbols = elf.symbols().unwrap();
    let set = symbols.iter().find(|symbol| symbol.name == b"__BTF_ID__set8__flagged").unwrap();
    let start = place.offset + (set.value - place.addr);
    let patch = |at: u64, word: u32| Patch {
        offset: start + at,
        bytes: elf.endian().write_u32(word).to_vec(),
    };
    // `print_line` with implicit arguments, which it has none of; `middle` fast.
    let patches = [patch(4, 1), patch(12, 1 << 16 | 1 << 12), patch(20, 1 << 12)];
    let mut changed = file.to_vec();
    image::apply(&mut changed, &patches).unwrap();
    changed
}

#[test]
fn images_of_other_architectures_in_their_own_byte_order() {
    for arch in cross::ARCHES {
        let raw = cross::image(arch).raw();
        let image = with_kfuncs(&fs::read(&raw).unwrap());
        let types = encode(&new_pahole(), &NEW, None, &raw);
        let input = Input { image: &image, types: &types, base: None, distill: false };
        let ours = compare(arch, &input);
        let kfuncs = ours.lines.iter().filter(|line| line.starts_with("found kfunc")).count();
        assert!(kfuncs > 2, "{arch}: {:?}", ours.lines);
    }
}
