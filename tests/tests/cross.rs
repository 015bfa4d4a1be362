//! The images of six architectures, for now: that they are what they say.

use image::{Class, Elf, Endianness};
use peer_tests::cross;

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
