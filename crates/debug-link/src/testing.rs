//! What the tests of several modules make their objects with.

use image::consts::{EM_X86_64, ET_REL};
use image::{Class, Endianness, Header};

/// The header of an object.
pub(crate) fn header(class: Class, endian: Endianness, machine: u16) -> Header {
    let (flags, os_abi, abi_version) = (0, 0, 0);
    Header { class, endian, file_type: ET_REL.0, machine, flags, os_abi, abi_version }
}

/// That of an object of x86_64.
pub(crate) fn x86_64() -> Header {
    header(Class::Elf64, Endianness::Little, EM_X86_64.0)
}
