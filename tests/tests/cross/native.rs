//! The steps as our cores do them.

use std::fs;
use std::path::Path;

use image::{Elf, Patch};
use peer_tests::source;

use crate::stage::Stage;

pub fn sysmap(stage: &Stage<'_>, linked: &Path, out: &Path) {
    let script = fs::read(source(stage.series.name).join("scripts/mksysmap")).unwrap();
    let filter = sysmap::Filter::parse(&script).unwrap();
    let data = fs::read(linked).unwrap();
    let elf = Elf::parse(&data).unwrap();
    let entries = sysmap::system_map(&elf, &filter).unwrap();
    fs::write(out, sysmap::write_map(&entries, elf.class())).unwrap();
}

pub fn kallsyms(stage: &Stage<'_>, syms: &Path, out: &Path) {
    let source = fs::read(source(stage.series.name).join("scripts/kallsyms.c")).unwrap();
    let dialect = kallsyms::Dialect::detect(&source).unwrap();
    let given = stage.kallsyms_options();
    let has = |option| given.contains(&option);
    let options = kallsyms::Options {
        all_symbols: has("--all-symbols"),
        absolute_percpu: has("--absolute-percpu"),
        base_relative: has("--base-relative"),
        lto_clang: has("--lto-clang"),
        pc_relative: has("--pc-relative"),
    };
    let text = fs::read(syms).unwrap();
    let (entries, _) = kallsyms::parse_map(&text, &dialect).unwrap();
    let (tables, _) = kallsyms::Tables::build(&entries, &dialect, &options).unwrap();
    fs::write(out, tables.to_object(&header(stage)).unwrap()).unwrap();
}

pub fn btf_object(stage: &Stage<'_>, btf: &Path, out: &Path) {
    let object = btf::to_object(&fs::read(btf).unwrap(), &header(stage), 1).unwrap();
    fs::write(out, object).unwrap();
}

pub fn btf_ids(stage: &Stage<'_>, vmlinux: &Path, btf_of: &Path) {
    patch(vmlinux, |elf| {
        if stage.series.detached {
            let ids = fs::read(format!("{}.BTF_ids", btf_of.display())).unwrap();
            return vec![btf_ids::patch_from_file(elf, &ids).unwrap()];
        }
        btf_ids::resolve(elf, None, &btf_ids::Options::default()).unwrap().patches
    });
}

pub fn sorttable(stage: &Stage<'_>, vmlinux: &Path) {
    let tree = source(stage.series.name);
    let sources: Vec<Vec<u8>> =
        ["scripts/sorttable.c", "scripts/sorttable.h", "tools/arch/x86/include/asm/orc_types.h"]
            .iter()
            .filter_map(|name| fs::read(tree.join(name)).ok())
            .collect();
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    let map = fs::read(stage.dir.join("System.map")).unwrap();
    patch(vmlinux, |elf| {
        let listed = sysmap::nm_sizes(elf, sysmap::Flavor::Gnu).unwrap();
        let functions = listed.iter().filter(|listed| b"tTW".contains(&listed.entry.kind));
        let functions = functions
            .map(|listed| sorttable::Function { addr: listed.entry.addr, size: listed.size })
            .collect();
        let options = sorttable::Options {
            dialect: sorttable::Dialect::detect(&sources).unwrap(),
            orc: stage.image.arch() == "x86_64",
            mcount: true,
            functions: stage.series.sized.then(|| sorttable::Functions::new(functions)),
            mcount_bounds: Some(sorttable::bounds_from_system_map(&map)),
        };
        let sorted = sorttable::sort(elf, &options).unwrap();
        assert_eq!(sorted.complaint.map(|c| c.to_string()), None);
        sorted.patches
    });
}

/// What an object that links into the image must have in its header.
fn header(stage: &Stage<'_>) -> image::Header {
    let object = fs::read(&stage.image.objects()[0]).unwrap();
    Elf::parse(&object).unwrap().header()
}

/// Applies to a file what `patches` makes of it.
fn patch(file: &Path, patches: impl FnOnce(&Elf<'_>) -> Vec<Patch>) {
    let mut data = fs::read(file).unwrap();
    let patches = patches(&Elf::parse(&data).unwrap());
    image::apply(&mut data, &patches).unwrap();
    fs::write(file, data).unwrap();
}
