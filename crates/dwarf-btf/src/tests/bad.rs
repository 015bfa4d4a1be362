//! Debug information that is broken: each message, and that nothing panics, hangs or takes memory.

use gimli::constants as dw;
use image::Elf;

use super::die::{Die, File, Value, base, die, int, member};
use super::{options, try_encode};
use crate::PaholeVersion;

fn message(file: &File) -> String {
    let old = try_encode(file, &options(PaholeVersion::V1_24)).expect_err("it is refused");
    let new = try_encode(file, &options(PaholeVersion::V1_32)).expect_err("it is refused");
    assert_eq!(old, new);
    new.to_string()
}

fn spoilt(section: &'static str, spoil: fn(&mut Vec<u8>)) -> String {
    let mut file = File::new(vec![int()]);
    file.spoil = Some((section, spoil));
    message(&file)
}

fn with(attribute: gimli::DwAt, form: gimli::DwForm, bytes: Vec<u8>) -> String {
    let value = Value::Raw(form.0, bytes);
    message(&File::new(vec![die(dw::DW_TAG_base_type).with(attribute, value)]))
}

#[test]
fn no_debug_information() {
    let file = object::write::Object::new(
        object::BinaryFormat::Elf,
        object::Architecture::X86_64,
        object::Endianness::Little,
    );
    let bytes = file.write().unwrap();
    let error = crate::encode(&Elf::parse(&bytes).unwrap(), &options(PaholeVersion::V1_32));
    let error = error.expect_err("it is refused").to_string();
    assert_eq!(error, ".debug_info: the file has no debug information");
}

#[test]
fn headers_of_units() {
    let info = ".debug_info";
    let behind = ".debug_info+0x0: the unit ends behind its section";
    assert_eq!(spoilt(info, |bytes| bytes.truncate(20)), behind);
    assert_eq!(spoilt(info, |bytes| bytes[..4].fill(0xf0)), behind);
    assert_eq!(spoilt(info, |bytes| bytes[4] = 9), ".debug_info+0x0: DWARF of an unknown version");
    let unit = |cause| format!(".debug_info+0x0: unit 0x0: {cause}");
    assert_eq!(spoilt(info, |bytes| bytes[6] = 9), unit("a unit of an unknown kind"));
    assert_eq!(spoilt(info, |bytes| bytes[7] = 3), unit("addresses of an unknown size"));
    let types = "type units (-fdebug-types-section) are not supported";
    assert_eq!(spoilt(info, |bytes| bytes[6] = 2), unit(types));
    let split = "split DWARF is not supported: its types are in .dwo files";
    assert_eq!(spoilt(info, |bytes| bytes[6] = 4), unit(split));
    assert!(spoilt(info, |bytes| bytes.truncate(3)).ends_with("the data ends within an entry"));
}

#[test]
fn abbreviations() {
    let abbrev = ".debug_abbrev";
    assert_eq!(
        spoilt(abbrev, |bytes| bytes.truncate(3)),
        ".debug_abbrev+0x3: unit 0x0: the data ends within an entry"
    );
    assert_eq!(
        spoilt(".debug_info", |bytes| bytes[12] = 77),
        ".debug_info+0xc: unit 0x0: an entry of an unknown abbreviation"
    );
    // Where the table begins is out of range.
    assert!(
        spoilt(".debug_info", |bytes| bytes[8..12].fill(0xff))
            .starts_with(".debug_abbrev+0xffffffff: ")
    );
    let unknown = with(dw::DW_AT_name, gimli::DwForm(0x7f), vec![]);
    assert!(unknown.ends_with("unit 0x0: an attribute of an unknown form"), "{unknown}");
    let signature = with(dw::DW_AT_type, dw::DW_FORM_ref_sig8, vec![0; 8]);
    assert!(signature.ends_with("type units (-fdebug-types-section) are not supported"));
    let indirect = with(dw::DW_AT_name, dw::DW_FORM_indirect, vec![8, b'a', 0]);
    assert!(indirect.ends_with("DW_FORM_indirect is not supported"), "{indirect}");
    assert_eq!(
        spoilt(abbrev, |bytes| *bytes = vec![0xff, 0xff, 0xff, 0x7f, 0x11, 0, 0, 0, 0]),
        ".debug_abbrev+0x0: unit 0x0: an abbreviation code out of range"
    );
    let mut many = die(dw::DW_TAG_base_type);
    for _ in 0..65 {
        many = many.with(dw::DW_AT_external, Value::Flag);
    }
    assert!(message(&File::new(vec![many])).ends_with("an abbreviation of over 64 attributes"));
}

#[test]
fn entries() {
    let block = with(dw::DW_AT_name, dw::DW_FORM_block4, vec![0xff; 4]);
    assert!(block.ends_with("the data ends within an entry"), "{block}");
    // An offset that would be taken for none, or for a smaller one, if it were held in too few bits.
    for offset in [0x1000u32, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let string = with(dw::DW_AT_name, dw::DW_FORM_strp, offset.to_le_bytes().to_vec());
        assert!(string.starts_with(".debug_"), "{string}");
    }
    let either = die(dw::DW_TAG_union_type).size(4).child(member("a", "int", 4));
    let message_ = message(&File::new(vec![int(), either]));
    assert!(message_.ends_with("a member of a union that is not at its beginning"), "{message_}");
    let mut deep = die(dw::DW_TAG_structure_type).size(0);
    for _ in 0..500 {
        deep = die(dw::DW_TAG_structure_type).size(0).child(deep);
    }
    assert!(message(&File::new(vec![deep])).ends_with("entries are nested too deeply"));
}

#[test]
fn absurd_counts() {
    let many = |tag: gimli::DwTag, child: Die| {
        let all =
            (0..65_535).fold(die(tag).name("many").size(4), |die, _| die.child(child.clone()));
        let message = message(&File::new(vec![int(), all]));
        let cause = "a type of over 65534 members, enumerators or parameters";
        assert!(message.ends_with(cause), "{tag}: {message}");
    };
    many(dw::DW_TAG_enumeration_type, die(dw::DW_TAG_enumerator).name("e"));
    many(dw::DW_TAG_structure_type, die(dw::DW_TAG_member).name("m"));
    many(dw::DW_TAG_subroutine_type, die(dw::DW_TAG_formal_parameter));
    many(dw::DW_TAG_subprogram, die(dw::DW_TAG_formal_parameter));
}

#[test]
fn what_btf_has_no_kind_for() {
    for (tag, cause) in [
        (dw::DW_TAG_atomic_type, "BTF has no kind for _Atomic (DW_TAG_atomic_type)"),
        (dw::DW_TAG_reference_type, "BTF has no kind for references (DW_TAG_reference_type)"),
        (dw::DW_TAG_string_type, "BTF has no kind for strings (DW_TAG_string_type)"),
        (dw::DW_TAG_interface_type, "BTF has no kind for interfaces (DW_TAG_interface_type)"),
        (
            dw::DW_TAG_ptr_to_member_type,
            "BTF has no kind for pointers to members (DW_TAG_ptr_to_member_type)",
        ),
    ] {
        assert!(message(&File::new(vec![int(), die(tag).of("int")])).ends_with(cause));
    }
    let complex = base("complex", 16, dw::DW_ATE_complex_float);
    let complex = message(&File::new(vec![complex]));
    assert!(complex.ends_with("BTF has no kind for complex numbers (DW_ATE_complex_float)"));
}

#[test]
fn types_that_are_made_of_themselves() {
    let looped = |tag, label| die(tag).label(label).of(label);
    let file = File::new(vec![looped(dw::DW_TAG_const_type, "a")]);
    assert!(message(&file).contains("refers to itself"), "{}", message(&file));
    let two: Vec<Die> = vec![
        die(dw::DW_TAG_const_type).label("a").of("b"),
        die(dw::DW_TAG_volatile_type).label("b").of("a"),
    ];
    assert!(message(&File::new(two)).contains("refers to itself"));
    // A structure that contains itself is only odd.
    let of = die(dw::DW_TAG_structure_type).label("s").name("s").size(4).child(member("s", "s", 0));
    try_encode(&File::new(vec![of]), &options(PaholeVersion::V1_32)).unwrap();
}

#[test]
fn compressed_sections() {
    // The header of a compressed section: what with, nothing, size and alignment when unpacked.
    fn header(with: u32, size: u64) -> Vec<u8> {
        let mut bytes = with.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(size.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes
    }
    fn compressed(spoil: fn(&mut Vec<u8>)) -> String {
        let mut file = File::new(vec![int()]);
        file.compressed = true;
        file.spoil = Some((".debug_info", spoil));
        message(&file)
    }
    let cut = compressed(|bytes| *bytes = [header(1, 40), vec![0x78, 0x9c, 0x4b]].concat());
    assert!(cut.starts_with(".debug_info+0x0: cannot be unpacked: "), "{cut}");
    let cut = compressed(|bytes| *bytes = [header(2, 40), vec![0x28, 0xb5, 0x2f, 0xfd]].concat());
    assert!(cut.starts_with(".debug_info+0x0: cannot be unpacked: "), "{cut}");
    let absurd = compressed(|bytes| *bytes = [header(1, 1 << 40), vec![0x78, 0x9c]].concat());
    assert_eq!(absurd, ".debug_info+0x0: 0x10000000000 bytes are claimed when unpacked");
    let unknown = compressed(|bytes| *bytes = header(9, 40));
    assert!(unknown.starts_with(".debug_info+0x0: "), "{unknown}");
    let short = compressed(|bytes| bytes.truncate(10));
    assert!(short.starts_with(".debug_info+0x0: "), "{short}");
}

#[test]
fn more_sections_than_fit_into_16_bits() {
    let f = die(dw::DW_TAG_subprogram).name("f").number(dw::DW_AT_low_pc, 4);
    let mut file = File::new(vec![int(), f]).function("f", 4).percpu("a", 4, 4);
    for pahole in [PaholeVersion::V1_24, PaholeVersion::V1_32] {
        file.fillers = 0;
        let few = try_encode(&file, &options(pahole)).unwrap();
        file.fillers = 65_300;
        assert_eq!(try_encode(&file, &options(pahole)).unwrap().btf, few.btf);
    }
}

#[test]
fn a_base_that_does_not_fit() {
    for (base, cause) in
        [(&b"no BTF"[..], "offset 0x"), (&[0x9f, 0xeb, 1, 0, 24, 0][..], "offset 0x")]
    {
        let error = crate::Base::parse(base).expect_err("it is refused").to_string();
        assert!(error.contains(cause), "{error}");
    }
}

/// Every byte of a small file's debug information wrong in two ways, and cuts.
#[test]
fn wrong_bytes_and_cuts_are_errors_or_blobs() {
    let pair = die(dw::DW_TAG_structure_type).label("pair").name("pair").size(8);
    let pair = pair.child(member("a", "int", 0)).child(member("b", "int", 4));
    let pointer = die(dw::DW_TAG_pointer_type).label("pointer").of("pair");
    let location = Value::Expression(vec![dw::DW_OP_reg5.0]);
    let param = die(dw::DW_TAG_formal_parameter).name("p").of("pointer");
    let param = param.with(dw::DW_AT_location, location);
    let f = die(dw::DW_TAG_subprogram).name("f").number(dw::DW_AT_low_pc, 4).child(param);
    let bound = die(dw::DW_TAG_subrange_type).number(dw::DW_AT_upper_bound, 3);
    let array = die(dw::DW_TAG_array_type).of("pair").child(bound);
    let whole = File::new(vec![int(), pair, pointer, array, f]).function("f", 4).write();
    let run = |bytes: &[u8]| {
        let Ok(elf) = Elf::parse(bytes) else { return };
        for pahole in [PaholeVersion::V1_24, PaholeVersion::V1_32] {
            let _ = crate::encode(&elf, &options(pahole));
        }
    };
    let elf = Elf::parse(&whole).unwrap();
    let sections = [".debug_info", ".debug_abbrev"].map(|name| elf.section(name).unwrap().1);
    let place = |section: &image::Section<'_>| section.offset..section.offset + section.size;
    for at in sections.into_iter().flat_map(place) {
        let at = at as usize;
        for value in [0xff, whole[at] ^ 1] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            run(&bytes);
        }
    }
    (0..whole.len()).step_by(7).for_each(|len| run(&whole[..len]));
}
