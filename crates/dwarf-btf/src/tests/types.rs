//! What becomes of which type.

use gimli::constants as dw;

use super::die::{Die, File, Value, base, die, int, member};
use super::{both, encode, options, try_encode};
use crate::{Options, PaholeVersion};

const OLD: PaholeVersion = PaholeVersion::V1_24;
const NEW: PaholeVersion = PaholeVersion::V1_32;

fn structure(name: &'static str, size: u64) -> Die {
    die(dw::DW_TAG_structure_type).label(name).name(name).size(size)
}

#[test]
fn base_types_by_their_encodings() {
    let lines = both(&File::new(vec![
        int(),
        base("_Bool", 1, dw::DW_ATE_boolean),
        base("char", 1, dw::DW_ATE_signed_char),
        base("unsigned", 4, dw::DW_ATE_unsigned),
        base("double", 8, dw::DW_ATE_float),
        base("DW_ATE_unsigned_24", 3, dw::DW_ATE_unsigned),
    ]));
    assert_eq!(
        lines,
        [
            "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED",
            "[2] INT '_Bool' size=1 bits_offset=0 nr_bits=8 encoding=BOOL",
            "[3] INT 'char' size=1 bits_offset=0 nr_bits=8 encoding=SIGNED",
            "[4] INT 'unsigned' size=4 bits_offset=0 nr_bits=32 encoding=(none)",
            "[5] FLOAT 'double' size=8",
            "[6] INT '__SANITIZED_FAKE_INT__' size=4 bits_offset=0 nr_bits=32 encoding=(none)",
        ]
    );
}

#[test]
fn floats_are_integers_where_they_are_not_asked_for() {
    let file = File::new(vec![base("double", 8, dw::DW_ATE_float)]);
    let lines = encode(&file, &Options { floats: false, ..options(NEW) });
    assert_eq!(lines, ["[1] INT 'double' size=8 bits_offset=0 nr_bits=64 encoding=(none)"]);
}

#[test]
fn arrays_of_several_dimensions_are_flat_or_nested() {
    let bound = |n| die(dw::DW_TAG_subrange_type).number(dw::DW_AT_upper_bound, n);
    let array = die(dw::DW_TAG_array_type).of("int").child(bound(1)).child(bound(2));
    let file = File::new(vec![int(), array]);
    assert_eq!(
        encode(&file, &options(OLD))[1],
        "[2] ARRAY '(anon)' type_id=1 index_type_id=1 nr_elems=6"
    );
    assert_eq!(
        encode(&file, &options(NEW))[1..],
        [
            "[2] ARRAY '(anon)' type_id=1 index_type_id=1 nr_elems=3",
            "[3] ARRAY '(anon)' type_id=2 index_type_id=1 nr_elems=2",
        ]
    );
}

#[test]
fn bounds_are_counts_or_missing_and_an_index_is_made_up() {
    let count = die(dw::DW_TAG_subrange_type).number(dw::DW_AT_count, 7);
    let open = die(dw::DW_TAG_subrange_type);
    let array = |bound| die(dw::DW_TAG_array_type).of("char").child(bound);
    let char = base("char", 1, dw::DW_ATE_signed_char);
    let lines = both(&File::new(vec![char, array(count), array(open)]));
    assert_eq!(lines[1], "[2] ARRAY '(anon)' type_id=1 index_type_id=4 nr_elems=7");
    assert_eq!(lines[2], "[3] ARRAY '(anon)' type_id=1 index_type_id=4 nr_elems=0");
    assert_eq!(lines[3], "[4] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED");
}

#[test]
fn bitfields_counted_from_either_end() {
    let new = |name, at| {
        let bits = die(dw::DW_TAG_member).name(name).of("int").number(dw::DW_AT_bit_size, 3);
        bits.number(dw::DW_AT_data_bit_offset, at)
    };
    let old = |name, at| {
        let bits = member(name, "int", 4).size(4).number(dw::DW_AT_bit_size, 3);
        bits.number(dw::DW_AT_bit_offset, at)
    };
    let bits = structure("bits", 8).child(new("a", 5)).child(old("b", 29)).child(old("c", 2));
    let mut file = File::new(vec![int(), bits]);
    assert_eq!(
        both(&file)[1],
        "[2] STRUCT 'bits' size=8 vlen=3 | 'a' type_id=1 bits_offset=5 bitfield_size=3 \
         | 'b' type_id=1 bits_offset=32 bitfield_size=3 | 'c' type_id=1 bits_offset=59 bitfield_size=3"
    );
    file.big = true;
    assert_eq!(
        both(&file)[1],
        "[2] STRUCT 'bits' size=8 vlen=3 | 'a' type_id=1 bits_offset=5 bitfield_size=3 \
         | 'b' type_id=1 bits_offset=61 bitfield_size=3 | 'c' type_id=1 bits_offset=34 bitfield_size=3"
    );
}

#[test]
fn members_at_places_given_by_expressions() {
    let at = |name, op: gimli::DwOp| {
        let member = die(dw::DW_TAG_member).name(name).of("int");
        member.with(dw::DW_AT_data_member_location, Value::Expression(vec![op.0, 4]))
    };
    let pair = structure("pair", 12);
    let pair = pair.child(at("a", dw::DW_OP_plus_uconst)).child(at("b", dw::DW_OP_constu));
    assert_eq!(
        both(&File::new(vec![int(), pair]))[1],
        "[2] STRUCT 'pair' size=12 vlen=2 | 'a' type_id=1 bits_offset=32 | 'b' type_id=1 bits_offset=32"
    );
}

#[test]
fn declarations_are_forward_and_specifications_have_their_names() {
    let forward = |tag| die(tag).with(dw::DW_AT_declaration, Value::Flag);
    let declared = forward(dw::DW_TAG_structure_type).label("declared").name("declared");
    let completed = die(dw::DW_TAG_structure_type).size(4).child(member("a", "int", 0));
    let completed = completed.with(dw::DW_AT_specification, Value::Entry("declared"));
    let union = forward(dw::DW_TAG_union_type).name("either");
    let lines = both(&File::new(vec![int(), declared, completed, union]));
    assert_eq!(lines[1], "[2] STRUCT 'declared' size=4 vlen=1 | 'a' type_id=1 bits_offset=0");
    assert_eq!(lines[2], "[3] FWD 'either' fwd_kind=union");
}

#[test]
fn enumerations_of_each_size_and_sign() {
    let value =
        |name, number| die(dw::DW_TAG_enumerator).name(name).number(dw::DW_AT_const_value, number);
    let of = |name, size| die(dw::DW_TAG_enumeration_type).name(name).size(size).of("int");
    let file = File::new(vec![
        int(),
        of("small", 4).child(value("A", 1)),
        of("signed", 4).child(value("B", u64::MAX)),
        of("wide", 8).child(value("C", 1 << 40)),
        die(dw::DW_TAG_enumeration_type).name("open"),
    ]);
    let lines = both(&file);
    assert_eq!(lines[1], "[2] ENUM 'small' encoding=UNSIGNED size=4 vlen=1 | 'A' val=1");
    assert_eq!(lines[2], "[3] ENUM 'signed' encoding=SIGNED size=4 vlen=1 | 'B' val=-1");
    assert_eq!(
        lines[3],
        "[4] ENUM64 'wide' encoding=SIGNED size=8 vlen=1 | 'C' val=1099511627776LL"
    );
    assert_eq!(lines[4], "[5] ENUM 'open' encoding=UNSIGNED size=4 vlen=0");
    let lines = encode(&file, &Options { enum64: false, ..options(NEW) });
    assert_eq!(lines[3], "[4] ENUM 'wide' encoding=UNSIGNED size=8 vlen=1 | 'C' val=0");
}

#[test]
fn what_has_no_type_is_void_and_an_unspecified_type_too() {
    let null = die(dw::DW_TAG_unspecified_type).label("null").name("decltype(nullptr)");
    let lines = both(&File::new(vec![
        null,
        die(dw::DW_TAG_pointer_type),
        die(dw::DW_TAG_const_type).of("null"),
        die(dw::DW_TAG_restrict_type),
        die(dw::DW_TAG_volatile_type),
        die(dw::DW_TAG_typedef).name("nothing").of("null"),
    ]));
    let kinds = [
        "PTR '(anon)'",
        "CONST '(anon)'",
        "RESTRICT '(anon)'",
        "VOLATILE '(anon)'",
        "TYPEDEF 'nothing'",
    ];
    for (index, (line, kind)) in lines.iter().zip(kinds).enumerate() {
        assert_eq!(*line, format!("[{}] {kind} type_id=0", index + 1));
    }
}

#[test]
fn tags_of_types_stand_between_pointer_and_target_and_those_of_declarations_behind() {
    let tag = |name, value| {
        let tag = die(gimli::DwTag(0x6000)).name(name);
        tag.with(dw::DW_AT_const_value, Value::Text(value))
    };
    let pointer = die(dw::DW_TAG_pointer_type).of("int");
    let pointer = pointer.child(tag("btf_type_tag", "inner")).child(tag("btf_type_tag", "outer"));
    let tagged = member("a", "int", 0).child(tag("btf_decl_tag", "member"));
    let pair = structure("pair", 4).child(tagged).child(tag("btf_decl_tag", "whole"));
    let file = File::new(vec![int(), pointer, pair]);
    assert_eq!(
        both(&file)[1..],
        [
            "[2] TYPE_TAG 'inner' type_id=1",
            "[3] TYPE_TAG 'outer' type_id=2",
            "[4] PTR '(anon)' type_id=3",
            "[5] STRUCT 'pair' size=4 vlen=1 | 'a' type_id=1 bits_offset=0",
            "[6] DECL_TAG 'member' type_id=5 component_idx=0",
            "[7] DECL_TAG 'whole' type_id=5 component_idx=-1",
        ]
    );
    let bare = Options { type_tags: false, decl_tags: false, ..options(NEW) };
    assert_eq!(encode(&file, &bare).len(), 3);
}

#[test]
fn rusts_members_are_sorted_by_their_places() {
    let pair = structure("pair", 8).child(member("b", "int", 4)).child(member("a", "int", 0));
    let mut file = File::new(vec![int(), pair]);
    file.language = u64::from(dw::DW_LANG_Rust.0);
    let included = |pahole| Options { lang_exclude: Vec::new(), ..options(pahole) };
    assert!(encode(&file, &included(OLD))[1].contains("vlen=2 | 'b' type_id=1 bits_offset=32"));
    assert!(encode(&file, &included(NEW))[1].contains("vlen=2 | 'a' type_id=1 bits_offset=0"));
    assert_eq!(try_encode(&file, &options(NEW)).unwrap().btf, []);
}

#[test]
fn prototypes_keep_names_and_the_ellipsis() {
    let param = die(dw::DW_TAG_formal_parameter).name("a").of("int");
    let proto = die(dw::DW_TAG_subroutine_type).of("int").child(param);
    let proto = proto.child(die(dw::DW_TAG_unspecified_parameters));
    assert_eq!(
        both(&File::new(vec![int(), proto]))[1],
        "[2] FUNC_PROTO '(anon)' ret_type_id=1 vlen=2 | 'a' type_id=1 | '(anon)' type_id=0"
    );
}
