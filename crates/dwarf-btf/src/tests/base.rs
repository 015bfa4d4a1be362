//! Types that are split on a base.

use btf::Btf;
use gimli::constants as dw;

use super::die::{Die, File, die, int, member};
use super::{options, try_encode};
use crate::{Base, Options, PaholeVersion};

fn structure(label: &'static str, members: [&'static str; 2]) -> Die {
    let structure = die(dw::DW_TAG_structure_type).label(label).name(label).size(8);
    structure.child(member(members[0], "int", 0)).child(member(members[1], "int", 4))
}

fn kernel() -> File {
    let pointer = die(dw::DW_TAG_pointer_type).label("to_pair").of("pair");
    File::new(vec![int(), structure("pair", ["first", "second"]), pointer])
}

fn split_on(base: &[u8], module: &File) -> Vec<u8> {
    let base = Base::parse(base).unwrap();
    let options = Options { base: Some(&base), ..options(PaholeVersion::V1_32) };
    try_encode(module, &options).unwrap().btf
}

/// The names of the types that are not the base's.
fn own_names(base: &[u8], split: &[u8]) -> Vec<String> {
    let base = Btf::parse(base).unwrap();
    let split = Btf::parse_split(split, &base).unwrap();
    let names = split.types().map(|(_, ty)| split.name(ty.name_off).unwrap());
    names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
}

#[test]
fn what_the_base_has_is_not_repeated() {
    let base = try_encode(&kernel(), &options(PaholeVersion::V1_32)).unwrap().btf;
    let other = structure("pair_of_a_module", ["first", "second"]);
    let changed = structure("pair", ["first", "third"]);
    let pointer = || die(dw::DW_TAG_pointer_type).label("to_pair").of("pair");
    let same = structure("pair", ["first", "second"]);
    let module = File::new(vec![int(), same, pointer(), other]);
    assert_eq!(own_names(&base, &split_on(&base, &module)), ["pair_of_a_module"]);
    let module = File::new(vec![int(), changed, pointer()]);
    assert_eq!(own_names(&base, &split_on(&base, &module)), ["pair", ""]);
}

/// No encoder writes such strings; the kernel reads them.
#[test]
fn strings_of_a_base_that_are_there_twice_and_within_others() {
    let base = try_encode(&kernel(), &options(PaholeVersion::V1_32)).unwrap().btf;
    let word = |at: usize| u32::from_le_bytes(base[at..at + 4].try_into().unwrap());
    let (header, strings, string_len) = (word(4), word(16), word(20));
    let text = &base[(header + strings) as usize..];
    let pair = text.windows(6).position(|window| window == b"\0pair\0").unwrap() as u32 + 1;
    // The structure's name is the end of a string that stands before, or another of the same text.
    let further: [(&[u8], u32); 2] = [(b"repair\0", 2), (b"pair\0", 0)];
    for (text, within) in further {
        let mut other = base.clone();
        other.extend_from_slice(text);
        other[20..24].copy_from_slice(&(string_len + text.len() as u32).to_le_bytes());
        let named = base.chunks_exact(4).position(|chunk| chunk == pair.to_le_bytes()).unwrap() * 4;
        other[named..named + 4].copy_from_slice(&(string_len + within).to_le_bytes());
        let module = File::new(vec![int(), structure("pair", ["first", "second"])]);
        assert!(
            split_on(&base, &module).is_empty()
                || own_names(&base, &split_on(&base, &module)).is_empty()
        );
        assert_eq!(own_names(&other, &split_on(&other, &module)), [""; 0], "{text:?}");
    }
}
