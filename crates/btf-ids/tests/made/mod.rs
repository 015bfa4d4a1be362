//! Images and types made by hand, word by word, in any class and byte order.

use image::consts::{EM_ARM, EM_X86_64};
use image::{Class, DataSection, Elf, Endianness, Header, NewSymbol, Patch, Relocatable};

/// What a target is: the class and the byte order.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub class: Class,
    pub endian: Endianness,
}

pub const TARGETS: [Target; 4] = [
    Target { class: Class::Elf32, endian: Endianness::Little },
    Target { class: Class::Elf32, endian: Endianness::Big },
    Target { class: Class::Elf64, endian: Endianness::Little },
    Target { class: Class::Elf64, endian: Endianness::Big },
];

/// The target where the test is not about targets.
pub const PLAIN: Target = TARGETS[2];

impl Target {
    pub fn words(self, words: &[u32]) -> Vec<u8> {
        let bytes = |word: &u32| match self.endian {
            Endianness::Little => word.to_le_bytes(),
            Endianness::Big => word.to_be_bytes(),
        };
        words.iter().flat_map(bytes).collect()
    }

    pub fn read(self, bytes: &[u8]) -> Vec<u32> {
        let word = |bytes: &[u8; 4]| match self.endian {
            Endianness::Little => u32::from_le_bytes(*bytes),
            Endianness::Big => u32::from_be_bytes(*bytes),
        };
        bytes.as_chunks::<4>().0.iter().map(word).collect()
    }

    fn header(self) -> Header {
        let machine = match self.class {
            Class::Elf32 => EM_ARM.0,
            Class::Elf64 => EM_X86_64.0,
        };
        let (class, endian) = (self.class, self.endian);
        Header { class, endian, file_type: 0, machine, flags: 0, os_abi: 0, abi_version: 0 }
    }
}

/// Kinds by their numbers in BTF.
pub const INT: u32 = 1;
pub const STRUCT: u32 = 4;
pub const UNION: u32 = 5;
pub const FWD: u32 = 7;
pub const TYPEDEF: u32 = 8;
pub const FUNC: u32 = 12;

/// A blob of types that have a kind and a name and nothing else; names begin at string offset
/// `first_string`, where the base's strings end.
pub fn btf(target: Target, first_string: u32, types: &[(u32, &str)]) -> Vec<u8> {
    let mut strings = if first_string == 0 { vec![0u8] } else { vec![] };
    let mut records = vec![];
    for &(kind, name) in types {
        records.extend([first_string + strings.len() as u32, kind << 24, 0]);
        if kind == INT {
            records.push(32);
        }
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
    }
    let types_len = records.len() as u32 * 4;
    let mut out = match target.endian {
        Endianness::Little => vec![0x9f, 0xeb, 1, 0],
        Endianness::Big => vec![0xeb, 0x9f, 1, 0],
    };
    out.extend(target.words(&[24, 0, types_len, types_len, strings.len() as u32]));
    out.extend(target.words(&records));
    out.extend(strings);
    out
}

/// Number of bytes of strings in such a blob: where the strings of one split on it begin.
pub fn strings_len(types: &[(u32, &str)]) -> u32 {
    types.iter().map(|(_, name)| name.len() as u32 + 1).sum::<u32>() + 1
}

/// A file with these sections; the symbols `(name, offset, size)` are those of `.BTF_ids`.
pub fn elf(target: Target, sections: &[(&str, &[u8])], symbols: &[(&str, u64, u64)]) -> Vec<u8> {
    let ids = sections.iter().position(|(name, _)| *name == ".BTF_ids");
    let section =
        |&(name, bytes)| DataSection { name, flags: 2, align: 4, bytes, relocations: vec![] };
    let symbol = |&(name, value, size)| NewSymbol {
        name,
        section: ids.map(|index| index as u32),
        value,
        size,
    };
    Relocatable {
        header: target.header(),
        sections: sections.iter().map(section).collect(),
        symbols: symbols.iter().map(symbol).collect(),
        rela: true,
    }
    .write()
    .unwrap()
}

/// The words of `.BTF_ids` once `patches` are applied.
pub fn patched(target: Target, file: &[u8], patches: &[Patch]) -> Vec<u32> {
    let mut image = file.to_vec();
    image::apply(&mut image, patches).unwrap();
    let elf = Elf::parse(&image).unwrap();
    let (_, section) = elf.section(".BTF_ids").unwrap();
    target.read(elf.bytes(section).unwrap())
}
