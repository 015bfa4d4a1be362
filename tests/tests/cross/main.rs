//! The final link in miniature, for six architectures and three series: each of our cores in the place of
//! the kernel's tool, one at a time and all together, gives the same bytes.

mod diff;
mod native;
mod peer;
mod stage;

use std::fs;

use image::{Class, Elf, Endianness};
use peer_tests::cross::{self, Image, Linker};

use stage::{Memo, SERIES, Series, Stage, Step};

#[test]
fn every_image_has_its_class_byte_order_and_the_tables_of_a_kernel() {
    for arch in cross::ARCHES {
        let raw = std::fs::read(cross::image(arch).raw()).unwrap();
        let elf = Elf::parse(&raw).unwrap();
        let is_32 = arch == "arm";
        let is_big = matches!(arch, "s390x" | "powerpc64");
        assert_eq!(elf.class(), if is_32 { Class::Elf32 } else { Class::Elf64 }, "{arch}");
        assert_eq!(
            elf.endian(),
            if is_big { Endianness::Big } else { Endianness::Little },
            "{arch}"
        );
        for section in [".rodata", "__ex_table", ".BTF_ids", ".init.data", ".data..percpu"] {
            assert!(elf.section(section).is_some_and(|(_, s)| s.size > 0), "{arch}: no {section}");
        }
    }
}

/// One link that is done by the kernel's tools and then by others.
struct Case {
    image: Image,
    series: Series,
    linker: Linker,
    memo: Memo,
    /// vmlinux and System.map of the kernel's tools.
    peer: [Vec<u8>; 2],
}

impl Case {
    fn new(arch: &str, series: Series, linker: Linker) -> Case {
        let (image, memo) = (cross::image(arch), Memo::default());
        let mut case = Case { image, series, linker, memo, peer: [vec![], vec![]] };
        case.peer = case.link(&[]);
        case
    }

    /// vmlinux and System.map with these steps done by our cores.
    fn link(&self, native: &[Step]) -> [Vec<u8>; 2] {
        let Case { image, series, linker, memo, .. } = self;
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        Stage { image, series: *series, linker: *linker, memo, native, dir }.run();
        ["vmlinux", "System.map"].map(|name| fs::read(dir.join(name)).unwrap())
    }

    fn compare(&self, native: &[Step]) {
        let [vmlinux, map] = self.link(native);
        let what = format!("{} {} {native:?}", self.image.arch(), self.series.name);
        if let Some(line) = diff::line(&self.peer[1], &map) {
            panic!("{what}: System.map differs:\n{line}");
        }
        if let Some(difference) = diff::difference(&self.peer[0], &vmlinux) {
            panic!("{what}: vmlinux differs:\n{difference}");
        }
    }
}

/// Each core alone and all together, for every series.
fn swap_each(arch: &str) {
    for series in SERIES {
        let case = Case::new(arch, series, Linker::Gnu);
        for step in Step::ALL {
            case.compare(&[step]);
        }
        case.compare(&Step::ALL);
    }
}

#[test]
fn x86_64() {
    swap_each("x86_64");
}

#[test]
fn aarch64() {
    swap_each("aarch64");
}

#[test]
fn riscv64() {
    swap_each("riscv64");
}

#[test]
fn s390x() {
    swap_each("s390x");
}

#[test]
fn arm() {
    swap_each("arm");
}

#[test]
fn powerpc64() {
    swap_each("powerpc64");
}

#[test]
fn whole_addresses_and_the_order_of_lto_names_in_6_1() {
    let series = Series { kallsyms: &["--all-symbols", "--lto-clang"], ..SERIES[0] };
    for arch in cross::ARCHES {
        Case::new(arch, series, Linker::Gnu).compare(&[Step::Kallsyms]);
    }
}

#[test]
fn only_the_symbols_of_code() {
    for series in SERIES {
        let kallsyms = &series.kallsyms[1..];
        for arch in ["s390x", "arm"] {
            Case::new(arch, Series { kallsyms, ..series }, Linker::Gnu).compare(&[Step::Kallsyms]);
        }
    }
}

#[test]
fn linked_by_lld() {
    // lld links no powerpc64 of the first ABI.
    for arch in cross::ARCHES.into_iter().filter(|&arch| arch != "powerpc64") {
        for series in SERIES {
            Case::new(arch, series, Linker::Lld).compare(&Step::ALL);
        }
    }
}
