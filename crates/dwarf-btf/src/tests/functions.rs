//! Which functions are written, and which are left out.

use gimli::constants as dw;

use super::die::{Die, File, Value, base, die, int, member};
use super::{encode, left_out, options};
use crate::PaholeVersion;

const OLD: PaholeVersion = PaholeVersion::V1_24;
const NEW: PaholeVersion = PaholeVersion::V1_32;

/// A parameter in this register of x86-64 (5 is the first parameter's, then 4, 1, 2, 8 and 9).
fn param(name: &'static str, ty: &'static str, register: u8) -> Die {
    let location = Value::Expression(vec![dw::DW_OP_reg0.0 + register]);
    die(dw::DW_TAG_formal_parameter).name(name).of(ty).with(dw::DW_AT_location, location)
}

fn function(name: &'static str, at: u64) -> Die {
    die(dw::DW_TAG_subprogram).name(name).of("int").number(dw::DW_AT_low_pc, at)
}

fn pointer(label: &'static str, to: &'static str) -> Die {
    die(dw::DW_TAG_pointer_type).label(label).of(to)
}

fn names(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.split("] FUNC '").nth(1)?.split('\'').next()).collect()
}

#[test]
fn only_functions_with_a_symbol_a_body_and_names() {
    let unnamed = function("unnamed", 12).child(die(dw::DW_TAG_formal_parameter).of("int"));
    let declared = function("declared", 0).with(dw::DW_AT_declaration, Value::Flag);
    let entries =
        vec![int(), function("b", 4), function("a", 8), function("inline", 0), unnamed, declared];
    let file = File::new(entries).function("a", 8).function("b", 4);
    let file = file.function("unnamed", 12).function("declared", 16);
    // 1.24 writes them as they come, 1.32 by name.
    assert_eq!(names(&encode(&file, &options(OLD))), ["b", "a"]);
    assert_eq!(names(&encode(&file, &options(NEW))), ["a", "b"]);
}

#[test]
fn prototypes_that_differ_between_units() {
    let unit = |ty| {
        vec![int(), base("long", 8, dw::DW_ATE_signed), function("f", 4).child(param("a", ty, 5))]
    };
    let file = File::new(unit("int")).unit(unit("long")).function("f", 4);
    assert_eq!(left_out(&file), [("f".to_string(), "inconsistent")]);
    // The first counts.
    assert_eq!(names(&encode(&file, &options(OLD))), ["f"]);
}

#[test]
fn const_and_names_of_parameters_make_no_difference() {
    let constant = die(dw::DW_TAG_const_type).label("const").of("int");
    let unit = |name, ty| vec![int(), constant.clone(), function("f", 4).child(param(name, ty, 5))];
    let file = File::new(unit("a", "int")).unit(unit("b", "const")).function("f", 4);
    assert_eq!(left_out(&file), []);
    assert_eq!(names(&encode(&file, &options(NEW))), ["f"]);
}

#[test]
fn structures_by_pointer_are_compared_by_name() {
    let unit = |name| {
        let of = die(dw::DW_TAG_structure_type)
            .label("of")
            .name(name)
            .size(4)
            .child(member("a", "int", 0));
        vec![int(), of, pointer("pointer", "of"), function("f", 4).child(param("a", "pointer", 5))]
    };
    let file = File::new(unit("one")).unit(unit("one")).function("f", 4);
    assert_eq!(left_out(&file), []);
    let file = File::new(unit("one")).unit(unit("other")).function("f", 4);
    assert_eq!(left_out(&file).len(), 1);
}

#[test]
fn an_unexpected_register_and_one_that_a_structure_excuses() {
    let second_in_third = function("f", 4).child(param("a", "int", 5)).child(param("b", "int", 1));
    let file = File::new(vec![int(), second_in_third]).function("f", 4);
    assert_eq!(left_out(&file), [("f".to_string(), "register")]);
    assert_eq!(names(&encode(&file, &options(OLD))), ["f"]);
    let pair = die(dw::DW_TAG_structure_type)
        .label("pair")
        .name("pair")
        .size(8)
        .child(member("a", "int", 0));
    let excused = function("f", 4).child(param("a", "pair", 5)).child(param("b", "int", 1));
    assert_eq!(left_out(&File::new(vec![int(), pair, excused]).function("f", 4)), []);
}

#[test]
fn parameters_optimised_away_where_the_symbol_says_that_they_were() {
    let gone = die(dw::DW_TAG_formal_parameter).name("b").of("int");
    let f = function("f", 4).child(param("a", "int", 5)).child(gone);
    let file = File::new(vec![int(), f]);
    assert_eq!(left_out(&file.clone().function("f", 4)), []);
    let isra = file.clone().function("f.isra.0", 4);
    // The debug information of the whole file begins at 0; so does `.text` for libdw at 0x10000.
    assert_eq!(names(&encode(&isra, &options(OLD))), Vec::<&str>::new());
    // Parts of functions are no functions.
    assert_eq!(names(&encode(&file.function("f.cold", 4), &options(NEW))), Vec::<&str>::new());
}

#[test]
fn a_name_at_two_addresses_but_not_the_last_of_all() {
    let two = |name: &'static str| vec![int(), function(name, 4)];
    let file =
        File::new(two("f")).unit(two("z")).function("f", 4).function("f", 8).function("z", 12);
    assert_eq!(left_out(&file), [("f".to_string(), "ambiguous")]);
    // PARITY: elf_functions__collect never looks at the last.
    let file =
        File::new(two("f")).unit(two("z")).function("f", 4).function("z", 8).function("z", 12);
    assert_eq!(left_out(&file), []);
}

#[test]
fn names_and_types_are_those_of_the_abstract_origin() {
    let whole = function("f", 0)
        .label("f")
        .child(die(dw::DW_TAG_formal_parameter).label("a").name("a").of("int"));
    let origin = |label| (dw::DW_AT_abstract_origin, Value::Entry(label));
    let location = Value::Expression(vec![dw::DW_OP_reg5.0]);
    let (at, value) = origin("a");
    let copy = die(dw::DW_TAG_formal_parameter).with(at, value).with(dw::DW_AT_location, location);
    let (at, value) = origin("f");
    let concrete =
        die(dw::DW_TAG_subprogram).with(at, value).number(dw::DW_AT_low_pc, 4).child(copy);
    let file = File::new(vec![int(), whole, concrete]).function("f", 4);
    for pahole in [OLD, NEW] {
        let lines = encode(&file, &options(pahole));
        assert_eq!(lines[1], "[2] FUNC_PROTO '(anon)' ret_type_id=1 vlen=1 | 'a' type_id=1");
        assert_eq!(lines[2], "[3] FUNC 'f' type_id=2 linkage=static");
        assert_eq!(lines.len(), 3);
    }
}

#[test]
fn a_packed_structure_behind_the_registers() {
    let packed = |second, size| {
        let of = die(dw::DW_TAG_structure_type).label("of").name("of").size(size);
        let of = of.child(member("a", "char", 0)).child(member("b", "int", second));
        let mut f = function("f", 4);
        for (name, register) in [("1", 5), ("2", 4), ("3", 1), ("4", 2), ("5", 8), ("6", 9)] {
            f = f.child(param(name, "int", register));
        }
        let memory = Value::Expression(vec![dw::DW_OP_fbreg.0, 0]);
        let last =
            die(dw::DW_TAG_formal_parameter).name("last").of("of").with(dw::DW_AT_location, memory);
        let char = base("char", 1, dw::DW_ATE_signed_char);
        File::new(vec![int(), char, of, f.child(last)]).function("f", 4)
    };
    assert_eq!(left_out(&packed(1, 5)), [("f".to_string(), "uncertain")]);
    assert_eq!(left_out(&packed(4, 8)), []);
}
