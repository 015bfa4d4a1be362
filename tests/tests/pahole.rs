//! BTF made natively, beside pahole 1.24 run sequentially and the newest pahole, on real kernels.
//!
//! `PARITY:` marks in `dwarf-btf` and `btf-dedup` are what these comparisons hold in place.

use std::path::{Path, PathBuf};
use std::process::Command;

use dwarf_btf::{Base, Options, PaholeVersion};
use image::Elf;
use peer_tests::{cache, kernel, run};

/// The image that each kernel's own script gives to pahole.
const KERNELS: [(&str, &str); 3] = [
    ("6.1-tiny", ".tmp_vmlinux.btf"),
    ("6.12-tiny", ".tmp_vmlinux1"),
    ("7.3-tiny", ".tmp_vmlinux1"),
];
/// What 6.12 passes for `--btf_features`; 7.3 passes the same without `decl_tag_kfuncs`.
const FEATURES: &str = "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,\
                        optimized_func,consistent_func,decl_tag_kfuncs";
const FEATURES_7_3: &str = "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,\
                            optimized_func,consistent_func";

fn pahole(version: PaholeVersion) -> Command {
    match version {
        PaholeVersion::V1_24 => Command::new("pahole"),
        PaholeVersion::V1_32 => {
            let peer = cache().join("peers/bin/pahole-1.32");
            assert!(peer.exists(), "no {}: run `cargo xtask test`", peer.display());
            Command::new(peer)
        }
    }
}

fn peer(version: PaholeVersion, flags: &[&str], base: Option<&Path>, image: &Path) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("btf");
    let mut command = pahole(version);
    command.arg("-J").args(flags).arg("--lang_exclude=rust");
    if let Some(base) = base {
        command.arg("--btf_base").arg(base);
    }
    command.arg(format!("--btf_encode_detached={}", out.display())).arg(image);
    run(&mut command);
    std::fs::read(&out).unwrap()
}

fn image(name: &str, file: &str) -> PathBuf {
    kernel(name).join(file)
}

fn same(what: &str, ours: &[u8], theirs: &[u8]) {
    let at = ours.iter().zip(theirs).position(|(a, b)| a != b);
    assert!(
        ours == theirs,
        "{what}: {} bytes, pahole {} bytes, first difference at {at:?}",
        ours.len(),
        theirs.len()
    );
}

fn encode(data: &[u8], options: &Options<'_>, threads: usize) -> Vec<u8> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let elf = Elf::parse(data).unwrap();
    pool.install(|| dwarf_btf::encode(&elf, options)).unwrap().btf
}

fn old() -> Options<'static> {
    Options {
        pahole: PaholeVersion::V1_24,
        consistent_functions: false,
        kfunc_tags: false,
        ..Options::default()
    }
}

#[test]
fn the_bytes_are_those_of_pahole_1_24_at_any_number_of_threads() {
    for (name, file) in KERNELS {
        let path = image(name, file);
        let data = std::fs::read(&path).unwrap();
        let theirs = peer(PaholeVersion::V1_24, &["--btf_gen_floats"], None, &path);
        for threads in [1, 2, 3, 8] {
            same(&format!("{name}, {threads} threads"), &encode(&data, &old(), threads), &theirs);
        }
    }
}

#[test]
fn the_bytes_are_those_of_pahole_1_32_at_any_number_of_threads() {
    for (name, file) in KERNELS {
        let path = image(name, file);
        let data = std::fs::read(&path).unwrap();
        for (flags, kfunc_tags) in [(FEATURES, true), (FEATURES_7_3, false)] {
            let theirs = peer(PaholeVersion::V1_32, &["-j2", flags], None, &path);
            let options = Options { kfunc_tags, ..Options::default() };
            for threads in [1, 2, 3, 8] {
                let ours = encode(&data, &options, threads);
                same(&format!("{name}, {threads} threads, {flags}"), &ours, &theirs);
            }
        }
    }
}

#[test]
fn both_ways_of_deduplicating_give_the_same() {
    let data = std::fs::read(image("6.12-tiny", ".tmp_vmlinux1")).unwrap();
    for options in [old(), Options::default()] {
        let fast = encode(&data, &options, 2);
        let exact = encode(&data, &Options { exact_dedup: true, ..options.clone() }, 2);
        same("the exact way", &exact, &fast);
        // Hashes that collide are noticed, and the exact way is taken.
        let collided = encode(&data, &Options { hash_bits: 12, ..options }, 2);
        same("hashes of 12 bits", &collided, &fast);
    }
}

#[test]
fn modules_split_on_their_kernel_are_those_of_both_paholes() {
    let tree = kernel("6.12-tiny");
    let vmlinux = tree.join("vmlinux");
    let base = std::fs::read(&vmlinux).unwrap();
    let elf = Elf::parse(&base).unwrap();
    let base = elf.bytes(elf.section(".BTF").expect("vmlinux has BTF").1).unwrap();
    let base = Base::parse(base).unwrap();
    let modules = ["drivers/net/dummy.ko", "drivers/thermal/intel/x86_pkg_temp_thermal.ko"];
    for module in modules.map(|name| tree.join(name)) {
        let data = std::fs::read(&module).unwrap();
        let versions =
            [(old(), &["--btf_gen_floats"][..]), (Options::default(), &["-j2", FEATURES][..])];
        for (options, flags) in versions {
            let theirs = peer(options.pahole, flags, Some(&vmlinux), &module);
            let ours = encode(&data, &Options { base: Some(&base), ..options }, 2);
            same(&module.display().to_string(), &ours, &theirs);
        }
    }
}

/// Every cut and every wrong byte is an error or a blob, and never a panic.
#[test]
fn hostile_debug_information_is_refused() {
    let whole = std::fs::read(kernel("6.12-tiny").join("drivers/net/dummy.ko")).unwrap();
    let info = {
        let elf = Elf::parse(&whole).unwrap();
        let (_, section) = elf.section(".debug_info").unwrap();
        let (_, abbrev) = elf.section(".debug_abbrev").unwrap();
        [section, abbrev]
            .map(|section| section.offset as usize..(section.offset + section.size) as usize)
    };
    let mut state = 1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for round in 0..400 {
        let mut data = whole.clone();
        for _ in 0..1 + round % 8 {
            let range = &info[random() % 2];
            let at = range.start + random() % range.len();
            data[at] = random() as u8;
        }
        let Ok(elf) = Elf::parse(&data) else { continue };
        for options in [old(), Options::default()] {
            let _ = dwarf_btf::encode(&elf, &options);
        }
    }
}
