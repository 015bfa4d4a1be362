//! Which variables of the per-CPU section are written.

use gimli::constants as dw;

use super::die::{Die, File, Value, die, int};
use super::{encode, options};
use crate::{Options, PaholeVersion};

const OLD: PaholeVersion = PaholeVersion::V1_24;
const NEW: PaholeVersion = PaholeVersion::V1_32;

/// Where the per-CPU section begins: behind `.text`, aligned to 64.
const SECTION: u64 = 0x10040;

fn variable(name: &'static str, at: u64) -> Die {
    let mut address = vec![dw::DW_OP_addr.0];
    address.extend((SECTION + at).to_le_bytes());
    let die = die(dw::DW_TAG_variable).name(name).of("int");
    die.with(dw::DW_AT_location, Value::Expression(address))
}

fn lines(file: &File, pahole: PaholeVersion) -> Vec<String> {
    encode(file, &options(pahole)).split_off(1)
}

#[test]
fn variables_at_their_offsets_in_a_section() {
    let external = variable("b", 8).with(dw::DW_AT_external, Value::Flag);
    let file = File::new(vec![int(), external, variable("a", 4)]);
    let file = file.percpu("a", 4, 4).percpu("b", 8, 4);
    for pahole in [OLD, NEW] {
        assert_eq!(
            lines(&file, pahole),
            [
                "[2] VAR 'b' type_id=1, linkage=global",
                "[3] VAR 'a' type_id=1, linkage=static",
                "[4] DATASEC '.data..percpu' size=12 vlen=2 | type_id=3 offset=4 size=4 (VAR 'a') \
                 | type_id=2 offset=8 size=4 (VAR 'b')",
            ]
        );
    }
    let none = encode(&file, &Options { vars: false, ..options(NEW) });
    assert_eq!(none.len(), 1);
}

#[test]
fn the_name_is_the_symbols_or_the_entrys() {
    let file = File::new(vec![int(), variable("entry", 4)]).percpu("symbol", 4, 2);
    assert_eq!(lines(&file, OLD)[0], "[2] VAR 'symbol' type_id=1, linkage=static");
    assert!(lines(&file, OLD)[1].contains("offset=4 size=2"));
    assert_eq!(lines(&file, NEW)[0], "[2] VAR 'entry' type_id=1, linkage=static");
    assert!(lines(&file, NEW)[1].contains("offset=4 size=4"));
}

#[test]
fn what_macros_make_and_what_lies_elsewhere_is_left_out() {
    let inside = die(dw::DW_TAG_subprogram).name("f").child(variable("inside", 16));
    let file = File::new(vec![
        int(),
        variable("__UNIQUE_ID_x", 4),
        variable("outside", 0x1000),
        inside,
        variable("first", 0),
    ]);
    let file = file.percpu("other", 0, 4);
    assert_eq!(lines(&file, NEW), Vec::<String>::new());
}

#[test]
fn tags_of_variables() {
    let tag = die(gimli::DwTag(0x6000)).name("btf_decl_tag");
    let tag = tag.with(dw::DW_AT_const_value, Value::Text("tag"));
    let file = File::new(vec![int(), variable("a", 4).child(tag)]).percpu("a", 4, 4);
    for pahole in [OLD, NEW] {
        assert_eq!(lines(&file, pahole)[1], "[3] DECL_TAG 'tag' type_id=2 component_idx=-1");
    }
    let bare = encode(&file, &Options { decl_tags: false, ..options(NEW) });
    assert_eq!(bare.len(), 3);
}
