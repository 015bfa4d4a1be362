//! Units are read before there is an image; what the image decides is the same as if they had been read with it.

use std::sync::atomic::AtomicBool;

use gimli::constants as dw;
use image::{Elf, Place, consts};

use super::die::{Die, File, Value, base, die, int};
use super::{Elsewhere, options};
use crate::{DebugSource, Encoded, Expected, Memory, Options, PaholeVersion, Reading, Unreadable};

const OLD: PaholeVersion = PaholeVersion::V1_24;
const NEW: PaholeVersion = PaholeVersion::V1_32;

/// What is expected of an image that will be like `elf`, where it is now.
pub(super) fn expected<'d>(elf: &Elf<'d>, more: &[&'static [u8]]) -> Expected<'d> {
    let symbols = elf.symbols().unwrap();
    let functions = symbols.iter().filter(|symbol| symbol.kind == consts::STT_FUNC.0);
    let percpu = elf.section(".data..percpu").map_or(0..0, |(index, section)| {
        let start = crate::relocate::addresses(elf)[index as usize];
        start..start + section.size
    });
    Expected {
        endian: elf.endian(),
        machine: elf.header().machine,
        lto: crate::lto_note(elf),
        functions: functions.map(|symbol| symbol.name).chain(more.iter().copied()).collect(),
        percpu,
    }
}

/// Reads the units of `before`, and makes BTF for `after`, in which addresses are as the function says.
pub(super) fn split(
    before: &Elf<'_>,
    (after, address): (&Elf<'_>, impl Fn(u64) -> Option<u64> + Sync),
    options: &Options<'_>,
) -> Option<Encoded> {
    split_with(before, &[], (after, address), options)
}

fn split_with(
    before: &Elf<'_>,
    more: &[&'static [u8]],
    (after, address): (&Elf<'_>, impl Fn(u64) -> Option<u64> + Sync),
    options: &Options<'_>,
) -> Option<Encoded> {
    let source = Elsewhere(before);
    let memory = Memory::default();
    let expected = expected(before, more);
    let reading = Reading::begin(&memory, &source, &expected, options).ok()??;
    // Nobody has begun, one was stopped at once, one has done a part.
    reading.work(&AtomicBool::new(true));
    reading.work(&AtomicBool::new(false));
    reading.finish(after, &address)
}

pub(super) fn quiet(pahole: PaholeVersion) -> Options<'static> {
    Options { explain: false, ..options(pahole) }
}

fn function(name: &'static str, at: u64) -> Die {
    let die = die(dw::DW_TAG_subprogram).name(name).of("int");
    if at == 0 { die } else { die.number(dw::DW_AT_low_pc, at) }
}

fn variable(name: &'static str, at: u64) -> Die {
    let mut address = vec![dw::DW_OP_addr.0];
    address.extend(at.to_le_bytes());
    let die = die(dw::DW_TAG_variable).name(name).of("int");
    die.with(dw::DW_AT_location, Value::Expression(address))
}

/// Where the per-CPU section begins: behind `.text`, aligned to 64.
const SECTION: u64 = 0x10040;

/// Two units; `by` is added to all addresses in the debug information, and to those of symbols.
fn kernel(by: u64, debug_by: u64, functions: &[&'static str]) -> File {
    let gone = die(dw::DW_TAG_formal_parameter).name("gone").of("int");
    let at = |at: u64| at + by + debug_by;
    let variable = |name, offset| variable(name, SECTION + offset + debug_by);
    let first = vec![
        int(),
        function("kept", at(4)),
        function("dropped", at(8)).child(gone.clone()),
        function("twice", at(12)).child(gone.clone()),
        variable("a", 4),
        variable("elsewhere", 0x1000),
    ];
    let second = vec![
        int(),
        base("long", 8, dw::DW_ATE_signed),
        function("twice", at(16)),
        function("inline", 0),
        variable("b", 8),
    ];
    let mut file = File::new(first).unit(second).percpu("a", 4, 4).percpu("b", 8, 4);
    for &name in functions {
        let place = match name {
            "kept" => 4,
            "dropped" => 8,
            "twice.isra.0" => 12,
            _ => 16,
        };
        file = file.function(name, place + by);
    }
    file
}

#[test]
fn addresses_and_functions_are_those_of_the_image() {
    const BY: u64 = 0x5000_0000;
    let all = &["kept", "dropped", "twice.isra.0", "twice"];
    let few = &["kept", "twice.isra.0", "twice"];
    for pahole in [OLD, NEW] {
        for image in [&all[..], &few[..], &all[..1]] {
            let before = kernel(0, BY, all).write();
            let after = kernel(0x20, 0, image).write();
            let (before, after) = (Elf::parse(&before).unwrap(), Elf::parse(&after).unwrap());
            let percpu = |at: u64| (SECTION..SECTION + 0x2000).contains(&at);
            let address = |at: u64| Some(at - BY).map(|at| if percpu(at) { at } else { at + 0x20 });
            let mut expected = expected(&before, &[b"inline"]);
            expected.percpu = expected.percpu.start + BY..expected.percpu.end + BY;
            let (source, memory) = (Elsewhere(&before), Memory::default());
            let options = quiet(pahole);
            let reading = Reading::begin(&memory, &source, &expected, &options).unwrap().unwrap();
            let split = reading.finish(&after, &address).expect("it can be done in two phases");
            let whole = crate::encode(&after, &options).unwrap();
            assert_eq!((split.btf, split.report), (whole.btf, whole.report), "{pahole} {image:?}");
        }
    }
}

#[test]
fn names_of_what_is_dropped_are_not_among_the_strings() {
    let before = kernel(0, 0, &["kept", "dropped"]).write();
    let after = kernel(0, 0, &["kept"]).write();
    let (before, after) = (Elf::parse(&before).unwrap(), Elf::parse(&after).unwrap());
    for pahole in [OLD, NEW] {
        let split = split(&before, (&after, |at| Some(at)), &quiet(pahole)).unwrap();
        let has = |name: &[u8]| split.btf.windows(name.len()).any(|window| window == name);
        assert_eq!([has(b"kept"), has(b"dropped"), has(b"gone")], [true, false, false]);
    }
}

#[test]
fn what_was_expected_wrongly_is_done_in_one_go() {
    let before = kernel(0, 0, &["kept"]).write();
    let after = kernel(0, 0, &["kept", "dropped"]).write();
    let (before, after) = (Elf::parse(&before).unwrap(), Elf::parse(&after).unwrap());
    let same = |at| Some(at);
    let new = quiet(NEW);
    // A function that a unit has was not expected; one that no unit has makes no difference.
    assert!(split(&before, (&after, same), &new).is_none());
    assert!(split_with(&before, &[b"dropped"], (&after, same), &new).is_some());
    let other = kernel(0, 0, &["kept", "unknown"]).write();
    assert!(split(&before, (&Elf::parse(&other).unwrap(), same), &new).is_some());
    // An address is not known, and none is a function's.
    assert!(split(&before, (&before, |_| None), &new).is_none());
    let none = kernel(0, 0, &[]).write();
    let none = Elf::parse(&none).unwrap();
    assert!(split(&none, (&none, same), &new).is_none());
    assert!(split(&before, (&none, same), &new).is_none());
    for options in [
        Options { explain: true, ..new.clone() },
        Options { exact_dedup: true, ..new.clone() },
        Options { hash_bits: 4, ..new.clone() },
    ] {
        assert!(split(&before, (&before, same), &options).is_none());
    }
    assert!(before.symbols().unwrap().iter().any(|symbol| symbol.place != Place::Undefined));
}

#[test]
fn parameters_of_a_function_of_another_name() {
    let origin = die(dw::DW_TAG_formal_parameter).label("a").name("a").of("int");
    let whole = function("whole", 4).child(origin);
    let copy = die(dw::DW_TAG_formal_parameter).with(dw::DW_AT_abstract_origin, Value::Entry("a"));
    let other = function("other", 8).child(copy);
    let file = File::new(vec![int(), whole, other]).function("whole", 4).function("other", 8);
    let bytes = file.write();
    let elf = Elf::parse(&bytes).unwrap();
    assert!(split(&elf, (&elf, |at| Some(at)), &quiet(NEW)).is_none());
}

#[test]
fn what_cannot_be_read_is_told_by_one_go() {
    struct Broken<'e, 'd>(Elsewhere<'e, 'd>);
    impl DebugSource for Broken<'_, '_> {
        fn info_len(&self) -> usize {
            self.0.info_len()
        }

        fn info(&self, _: std::ops::Range<usize>, _: &mut [u8]) -> Result<(), Unreadable> {
            Err(Unreadable)
        }

        fn section(&self, name: &str) -> Result<std::borrow::Cow<'_, [u8]>, Unreadable> {
            self.0.section(name)
        }
    }
    let bytes = kernel(0, 0, &["kept"]).write();
    let elf = Elf::parse(&bytes).unwrap();
    let (source, memory) = (Broken(Elsewhere(&elf)), Memory::default());
    let reading = Reading::begin(&memory, &source, &expected(&elf, &[]), &quiet(NEW));
    assert!(reading.unwrap().unwrap().finish(&elf, &Some).is_none());
}
