//! Units that disagree on what one of them has twice: see the module `twins`.

use dwarf_btf::{Options, PaholeVersion, encode};
use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, SectionKind};

/// Declarations: code, tag, whether there are children, then name and form of each attribute.
const ABBREVIATIONS: &[u8] = &[
    // Unit: name, language.
    1, 0x11, 1, 0x03, 0x08, 0x13, 0x0b, 0, 0, //
    // Base type: name, size, encoding.
    2, 0x24, 0, 0x03, 0x08, 0x0b, 0x0b, 0x3e, 0x0b, 0, 0, //
    // Structure: name, size.
    3, 0x13, 1, 0x03, 0x08, 0x0b, 0x0b, 0, 0, //
    // Member: name, type, place.
    4, 0x0d, 0, 0x03, 0x08, 0x49, 0x13, 0x38, 0x0b, 0, 0, //
    // Pointer: size, type.
    5, 0x0f, 0, 0x0b, 0x0b, 0x49, 0x13, 0, 0, //
    0,
];

/// What the unit's structures have for the types of their members: which of two pointers to `int`.
type Members<'m> = &'m [(&'m str, &'m [u8])];

/// A unit of DWARF 4 with `int`, two pointers to it, and structures of such pointers.
fn unit(structures: Members<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend([4, 0, 0, 0, 0, 0, 8]);
    bytes.extend(*b"\x01unit\0\x0c");
    let int = bytes.len() as u32;
    bytes.extend(*b"\x02int\0\x04\x05");
    let mut pointers = [0; 2];
    for pointer in &mut pointers {
        *pointer = bytes.len() as u32;
        bytes.extend([5, 8]);
        bytes.extend(int.to_le_bytes());
    }
    for (name, members) in structures {
        bytes.push(3);
        bytes.extend(name.bytes());
        bytes.extend([0, 8 * members.len() as u8]);
        for (at, &pointer) in members.iter().enumerate() {
            bytes.extend([4, b'a' + at as u8, 0]);
            bytes.extend(pointers[usize::from(pointer)].to_le_bytes());
            bytes.push(8 * at as u8);
        }
        bytes.push(0);
    }
    bytes.push(0);
    let len = bytes.len() as u32 - 4;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes
}

fn image(units: &[Members<'_>]) -> Vec<u8> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let info: Vec<u8> = units.iter().flat_map(|structures| unit(structures)).collect();
    for (name, bytes) in [(".debug_abbrev", ABBREVIATIONS), (".debug_info", &info)] {
        let section = object.add_section(Vec::new(), name.as_bytes().to_vec(), SectionKind::Debug);
        object.append_section_data(section, bytes, 1);
    }
    object.write().unwrap()
}

/// How many structures there are, found to be the same on both ways of deduplicating.
fn structures(pahole: PaholeVersion, units: &[Members<'_>]) -> usize {
    let data = image(units);
    let elf = image::Elf::parse(&data).unwrap();
    let options = Options { pahole, ..Options::default() };
    let fast = encode(&elf, &options).unwrap().btf;
    let exact = encode(&elf, &Options { exact_dedup: true, ..options }).unwrap().btf;
    assert_eq!(fast, exact, "{pahole:?} {units:?}");
    let merged = btf_dedup::merge(&[&fast]).unwrap();
    let is_structure = |&index: &usize| merged.types.record(index)[1] >> 24 & 0x1f == 4;
    (0..merged.types.len()).filter(is_structure).count()
}

const BOTH: [PaholeVersion; 2] = [PaholeVersion::V1_24, PaholeVersion::V1_32];

#[test]
fn twins_that_every_unit_has_change_nothing() {
    for pahole in BOTH {
        let unit: Members<'_> = &[("s", &[0, 1])];
        assert_eq!(structures(pahole, &[unit, unit, unit]), 1);
        let unit: Members<'_> = &[("s", &[0]), ("t", &[1])];
        assert_eq!(structures(pahole, &[unit, unit, unit]), 2);
    }
}

#[test]
fn a_structure_with_a_type_once_and_one_with_it_twice_differ_for_libbpf_1_1() {
    let (once, twice): (Members<'_>, Members<'_>) = (&[("s", &[0, 0])], &[("s", &[0, 1])]);
    assert_eq!(structures(PaholeVersion::V1_24, &[once, twice]), 2);
    assert_eq!(structures(PaholeVersion::V1_24, &[twice, once]), 1);
    assert_eq!(structures(PaholeVersion::V1_32, &[once, twice]), 1);
}

#[test]
fn twins_in_different_structures_are_told_from_one_type_in_both() {
    for pahole in BOTH {
        let (once, twice): (Members<'_>, Members<'_>) =
            (&[("s", &[0]), ("t", &[0])], &[("s", &[0]), ("t", &[1])]);
        structures(pahole, &[once, twice]);
        structures(pahole, &[twice, once]);
        let only: Members<'_> = &[("s", &[0])];
        structures(pahole, &[only, twice, only, once]);
    }
}
