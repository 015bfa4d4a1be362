//! BTF as an object file that the linker takes.
//!
//! The final link gets the types as an object with nothing but an allocated `.BTF`. The kernel's
//! scripts make it by reducing a linked image with objcopy and overwriting `e_type` with dd, which
//! leaves the image's entry point and program headers behind; no linker looks at those in an
//! `ET_REL` file. This makes the object directly.
//!
//! Source of facts: `gen_btf` in scripts/link-vmlinux.sh of Linux 6.1 and 6.12, scripts/gen-btf.sh of
//! Linux 7.3.

use image::consts::SHF_ALLOC;
use image::{DataSection, Error, Header, Relocatable};

/// The object that holds `btf` (the bytes as they stand) in an allocated section `.BTF`.
///
/// `header` is that of any object or image of the link: class, byte order, machine and ABI flags must
/// be the kernel's. `align` is the section's alignment in bytes: 1 is what objcopy gives a section that
/// it adds, so what the kernel's scripts give with every pahole that writes through objcopy (1.24) and
/// with detached BTF (7.0 and later).
///
/// # Errors
/// A 32-bit object that would be larger than 4 GiB.
pub fn to_object(btf: &[u8], header: &Header, align: u64) -> Result<Vec<u8>, Error> {
    let section = DataSection {
        name: ".BTF",
        flags: SHF_ALLOC.0,
        align,
        bytes: btf,
        relocations: Vec::new(),
    };
    let sections = vec![section];
    Relocatable { header: *header, sections, symbols: Vec::new(), rela: true }.write()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::consts::{EM_ARM, EM_RISCV, ET_EXEC, ET_REL};
    use image::{Class, Elf, Endianness};

    #[test]
    fn the_object_is_the_section_and_the_targets_own_header() {
        for (class, machine) in [(Class::Elf32, EM_ARM.0), (Class::Elf64, EM_RISCV.0)] {
            for endian in [Endianness::Little, Endianness::Big] {
                let header = Header {
                    class,
                    endian,
                    file_type: ET_EXEC.0,
                    machine,
                    flags: 0x0500_0200,
                    os_abi: 3,
                    abi_version: 1,
                };
                let object = to_object(b"some types", &header, 8).unwrap();
                let elf = Elf::parse(&object).unwrap();
                assert_eq!(elf.header(), Header { file_type: ET_REL.0, ..header });
                let names: Vec<_> = elf.sections().iter().map(|s| s.name).collect();
                assert_eq!(names, [&b""[..], b".BTF", b".shstrtab"]);
                let (_, section) = elf.section(".BTF").unwrap();
                assert_eq!((section.flags, section.align, section.addr), (SHF_ALLOC.0, 8, 0));
                assert_eq!(elf.bytes(section).unwrap(), b"some types");
            }
        }
    }
}
