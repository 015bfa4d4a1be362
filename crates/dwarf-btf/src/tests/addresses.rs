//! Where functions are: what is written does not depend on whether all addresses are known, or only those that were
//! asked for.
//!
//! Who explains asks for all addresses; who links asks for those that decide something, and of units that are remembered
//! reads only these.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use gimli::constants as dw;
use image::Elf;

use super::die::{Die, File, Value, base, die, int};
use super::phases::{expected, quiet};
use super::{Elsewhere, Keyed, options};
use crate::{DebugSource, Encoded, Function, Memory, PaholeVersion, Reading, Remembered};
use crate::{Reason, Unreadable};

const NEW: PaholeVersion = PaholeVersion::V1_32;
/// What is added to addresses before the image is linked.
const BY: u64 = 0x5000_0000;
const UNITS: [&str; 4] = ["a.c", "b.c", "c.c", "d.c"];

/// What a unit says of a function that takes two parameters.
#[derive(Clone, Copy, Debug)]
struct Said {
    function: &'static str,
    /// The type that it returns.
    ret: &'static str,
    /// Name and type of its first parameter.
    param: (&'static str, &'static str),
    /// A `btf_decl_tag`.
    tag: Option<&'static str>,
    /// Its second parameter is nowhere.
    gone: bool,
    /// clang says that it changed the parameters.
    nocall: bool,
    /// 0 if it was inlined.
    at: u64,
}

/// That `f` takes two `int`.
fn f(at: u64) -> Said {
    let param = ("one", "int");
    Said { function: "f", ret: "int", param, tag: None, gone: false, nocall: false, at }
}

fn named(name: &'static str, at: u64) -> Said {
    Said { param: (name, "int"), ..f(at) }
}

fn gone(at: u64) -> Said {
    Said { gone: true, ..f(at) }
}

fn nocall(at: u64) -> Said {
    Said { nocall: true, ..gone(at) }
}

impl Said {
    fn die(&self, by: u64) -> Die {
        let mut function = die(dw::DW_TAG_subprogram).name(self.function).of(self.ret);
        if self.at != 0 {
            let low_pc = (self.at + by).to_le_bytes().to_vec();
            function = function.with(dw::DW_AT_low_pc, Value::Raw(dw::DW_FORM_addr.0, low_pc));
        }
        if self.nocall {
            let nocall = u64::from(dw::DW_CC_nocall.0);
            function = function.number(dw::DW_AT_calling_convention, nocall);
        }
        let param = |name, ty| die(dw::DW_TAG_formal_parameter).name(name).of(ty);
        let register = |at: dw::DwOp| (dw::DW_AT_location, Value::Expression(vec![at.0]));
        let (location, first) = register(dw::DW_OP_reg5);
        function = function.child(param(self.param.0, self.param.1).with(location, first));
        let (location, second) = register(dw::DW_OP_reg4);
        let last = param("last", "int");
        function = function.child(if self.gone { last } else { last.with(location, second) });
        match self.tag {
            Some(tag) => {
                let annotation = die(gimli::DwTag(0x6000)).name("btf_decl_tag");
                function.child(annotation.with(dw::DW_AT_const_value, Value::Text(tag)))
            }
            None => function,
        }
    }
}

/// What each unit says, and the image's symbols of functions.
#[derive(Clone, Debug)]
struct Kernel {
    units: Vec<Vec<Said>>,
    symbols: Vec<(&'static str, u64)>,
    clang: bool,
}

/// What a link has made, if it could do so in two phases.
struct Linked {
    made: Option<Encoded>,
    /// What a later one can begin with.
    known: Vec<u8>,
    /// The addresses that were asked for.
    asked: Vec<u64>,
}

/// What was made of it.
struct Made {
    btf: Vec<u8>,
    /// As bpftool shows them.
    types: String,
    functions: Vec<Function>,
    /// The addresses that were asked for.
    asked: Vec<u64>,
}

impl Made {
    /// Whether a type has that name; the strings have it also if none has.
    fn has(&self, name: &str) -> bool {
        self.types.contains(&format!("'{name}'"))
    }

    fn reason(&self) -> Option<&Reason> {
        let of_f = self.functions.iter().find(|function| function.name == "f");
        of_f.expect("there is f").reason.as_ref()
    }

    /// The unit whose description is told.
    fn unit(&self) -> &str {
        let of_f = self.functions.iter().find(|function| function.name == "f");
        &of_f.expect("there is f").description.unit
    }
}

impl Kernel {
    /// One description in each unit. The last function by name is never ambiguous, so there is one more.
    fn new(units: &[Said], symbols: &[(&'static str, u64)]) -> Kernel {
        let units = units.iter().map(|&said| vec![said]).collect();
        Kernel { units, symbols: [symbols, &[("z", 32)]].concat(), clang: false }
    }

    /// The image, or what stands for its inputs.
    fn write(&self, by: u64) -> Vec<u8> {
        let unit = |said: &Vec<Said>| {
            let constant = die(dw::DW_TAG_const_type).label("const").of("int");
            let long = base("long", 8, dw::DW_ATE_signed);
            [int(), long, constant]
                .into_iter()
                .chain(said.iter().map(|said| said.die(by)))
                .collect()
        };
        let mut units = self.units.iter().map(unit);
        let first = File::new(units.next().unwrap());
        let mut file = units.fold(first, File::unit);
        file.producer = self.clang.then_some("clang version 19");
        file.names = &UNITS;
        self.symbols.iter().fold(file, |file, &(name, at)| file.function(name, at)).write()
    }

    /// Makes BTF as a link does that has this `remembered`, where some addresses are lost.
    fn link(&self, remembered: &[u8], lost: &[u64]) -> Linked {
        let (before, after) = (self.write(BY), self.write(0));
        let (before, after) = (Elf::parse(&before).unwrap(), Elf::parse(&after).unwrap());
        let keys: Vec<u64> = (1..).take(self.units.len()).collect();
        let (memory, source) = (Memory::default(), Keyed(Elsewhere(&before), &keys));
        let (expected, remembered) =
            (expected(&before, &[]), Remembered { by: 1, bytes: remembered });
        let reading = Reading::resume(&memory, &source, &expected, &quiet(NEW), Some(remembered));
        let asked = Mutex::new(Vec::new());
        let address = |at: u64| {
            asked.lock().unwrap().push(at - BY);
            (!lost.contains(&(at - BY))).then_some(at - BY)
        };
        let mut made = reading.unwrap().unwrap().finish(&after, &address);
        let known = made.as_mut().and_then(|made| made.known.take());
        let known = known.map_or(Vec::new(), |known| known.into_bytes(&source));
        let mut asked = asked.into_inner().unwrap();
        asked.sort_unstable();
        Linked { made, known, asked }
    }

    /// Makes BTF in all ways, which must come to the same.
    fn make(&self) -> Made {
        let image = self.write(0);
        let image = Elf::parse(&image).unwrap();
        let all = crate::encode(&image, &options(NEW)).unwrap();
        let some = crate::encode(&image, &quiet(NEW)).unwrap();
        let Linked { made: read, known, asked } = self.link(&[], &[]);
        let Linked { made: not_read, asked: asked_again, .. } = self.link(&known, &[]);
        let (read, not_read) = (read.unwrap(), not_read.unwrap());
        assert_eq!((read.report.known, not_read.report.known), (0, self.units.len()));
        assert_eq!(asked, asked_again, "{self:?}");
        for btf in [some.btf, read.btf, not_read.btf] {
            assert_eq!(btf, all.btf, "{self:?}");
        }
        let types = super::lines(&all.btf).join("\n");
        Made { btf: all.btf, types, functions: all.report.functions, asked }
    }
}

#[test]
fn where_nothing_depends_on_addresses_none_is_asked_for() {
    let alike = [f(4), f(8), f(0)];
    let long = Said { param: ("one", "long"), ..f(8) };
    for (said, symbols) in [
        (&alike[..1], &[("f", 4)][..]),
        (&alike, &[("f", 4)]),
        // What it says of a function that takes all that it did is no matter.
        (&alike[..1], &[("f.isra.0", 4)]),
        (&alike, &[("f.constprop.0", 4)]),
        // Parameters that are gone are no matter without such a symbol.
        (&[gone(4), f(8)], &[("f", 4)]),
        // Left out, wherever they are.
        (&[f(4), long], &[("f", 4)]),
        (&[named("one", 4), named("two", 8)], &[("f", 4), ("f", 8)]),
    ] {
        let made = Kernel::new(said, symbols).make();
        assert_eq!(made.asked, [], "{said:?} {symbols:?}");
    }
}

#[test]
fn of_descriptions_that_differ_that_at_a_symbol_is_written() {
    for (first, second, other) in [(4, 8, "two"), (8, 4, "one"), (4, 0, "two"), (0, 4, "one")] {
        let said = [named("one", first), named("two", second)];
        let made = Kernel::new(&said, &[("f", 4)]).make();
        assert!(!made.has(other), "{said:?}");
        assert_eq!(made.reason(), None);
        let asked: Vec<u64> =
            BTreeSet::from([first, second]).into_iter().filter(|&at| at != 0).collect();
        assert_eq!(made.asked, asked);
        let tagged =
            [("once", first), ("again", second)].map(|(tag, at)| Said { tag: Some(tag), ..f(at) });
        let made = Kernel::new(&tagged, &[("f", 4)]).make();
        assert_eq!((made.has("once"), made.has("again")), (first == 4, second == 4));
        assert_eq!(made.asked, asked);
    }
    // `const` makes no prototype another, and is written.
    for constant in [Said { param: ("one", "const"), ..f(4) }, Said { ret: "const", ..f(4) }] {
        assert_eq!(Kernel::new(&[f(8), constant], &[("f", 4)]).make().asked, [4, 8]);
    }
    // At no symbol: the first.
    let made = Kernel::new(&[named("one", 8), named("two", 12)], &[("f", 4)]).make();
    assert_eq!((made.has("one"), made.has("two")), (true, false));
}

#[test]
fn a_symbol_that_says_what_the_compiler_did() {
    for suffixed in ["f.isra.0", "f.constprop.0", "f.isra.0.constprop.1"] {
        let made = |said: &[Said]| Kernel::new(said, &[(suffixed, 4)]).make();
        let here = made(&[gone(4)]);
        assert!(matches!(here.reason(), Some(Reason::OptimizedAway { .. })));
        assert_eq!((here.has("last"), &here.asked[..]), (false, &[4][..]));
        let elsewhere = made(&[gone(8)]);
        assert_eq!((elsewhere.reason(), &elsewhere.asked[..]), (None, &[8][..]));
        // Another description at the symbol has all of its parameters.
        let other = made(&[gone(4), f(4)]);
        assert_eq!((other.reason(), other.unit(), &other.asked[..]), (None, "b.c", &[4, 4][..]));
        let other = made(&[f(8), gone(4)]);
        assert!(
            matches!(other.reason(), Some(Reason::OptimizedAway { unit, .. }) if unit == "b.c")
        );
        let other = made(&[f(4), gone(8)]);
        assert_eq!((other.reason(), other.unit(), &other.asked[..]), (None, "a.c", &[4, 8][..]));
    }
}

#[test]
fn what_clang_says_of_a_function_at_a_symbol() {
    let made = |said: &[Said]| {
        let kernel = Kernel::new(said, &[("f", 4)]);
        Kernel { clang: true, ..kernel }.make()
    };
    let alone = made(&[nocall(8)]);
    assert!(matches!(alone.reason(), Some(Reason::OptimizedAway { .. })));
    assert_eq!(alone.asked, []);
    let here = made(&[f(8), nocall(4)]);
    assert!(matches!(here.reason(), Some(Reason::OptimizedAway { unit, .. }) if unit == "b.c"));
    let elsewhere = made(&[nocall(8), f(4)]);
    assert_eq!((elsewhere.reason(), elsewhere.unit()), (None, "b.c"));
    assert_eq!((here.asked, elsewhere.asked), (vec![4, 8], vec![4, 8]));
}

/// People are told of the description at the symbol, also where another says the same.
#[test]
fn what_is_explained_is_the_unit_at_the_symbol() {
    assert_eq!(Kernel::new(&[f(8), f(12), f(4)], &[("f", 4)]).make().unit(), "c.c");
    let made = Kernel::new(&[f(8), f(4)], &[("f", 4), ("f", 12)]).make();
    assert!(matches!(made.reason(), Some(Reason::Ambiguous(_))));
    assert_eq!((made.unit(), &made.asked[..]), ("b.c", &[][..]));
    // Of two reasons the first is told.
    let long = Said { param: ("one", "long"), ..f(8) };
    let made = Kernel::new(&[gone(4), long], &[("f.isra.0", 4)]).make();
    assert!(matches!(made.reason(), Some(Reason::OptimizedAway { unit, .. }) if unit == "a.c"));
    assert_eq!(made.asked, []);
}

#[test]
fn an_address_that_is_lost_matters_where_it_was_asked_for() {
    let differ = Kernel::new(&[named("one", 4), named("two", 8)], &[("f", 4)]);
    let alike = Kernel::new(&[f(4), f(8)], &[("f", 4)]);
    for (kernel, matters) in [(differ, true), (alike, false)] {
        let made = kernel.make();
        let known = kernel.link(&[], &[]).known;
        for known in [&[][..], &known] {
            let linked = kernel.link(known, &[8]).made.map(|encoded| encoded.btf);
            assert_eq!(linked, (!matters).then(|| made.btf.clone()));
        }
    }
}

/// Units can be read until the image is there, and then no more.
struct Gone<'e, 'd>(Keyed<'e, 'd>, AtomicBool);

impl DebugSource for Gone<'_, '_> {
    fn info_len(&self) -> usize {
        self.0.info_len()
    }

    fn info(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), Unreadable> {
        if self.1.load(Ordering::Relaxed) { Err(Unreadable) } else { self.0.info(range, out) }
    }

    fn section(&self, name: &str) -> Result<Cow<'_, [u8]>, Unreadable> {
        self.0.section(name)
    }

    fn unit_key(&self, range: Range<usize>, lists: bool) -> Option<u128> {
        self.0.unit_key(range, lists)
    }
}

#[test]
fn an_address_that_cannot_be_read_is_lost() {
    let differ = Kernel::new(&[named("one", 4), named("two", 8)], &[("f", 4)]);
    let alike = Kernel::new(&[f(4), f(8)], &[("f", 4)]);
    for (kernel, matters) in [(differ, true), (alike, false)] {
        let known = kernel.link(&[], &[]).known;
        let (before, after) = (kernel.write(BY), kernel.write(0));
        let (before, after) = (Elf::parse(&before).unwrap(), Elf::parse(&after).unwrap());
        let source = Gone(Keyed(Elsewhere(&before), &[1, 2]), AtomicBool::new(false));
        let (memory, remembered) = (Memory::default(), Remembered { by: 1, bytes: &known });
        let expected = expected(&before, &[]);
        let options = quiet(NEW);
        let reading = Reading::resume(&memory, &source, &expected, &options, Some(remembered));
        let reading = reading.unwrap().unwrap();
        source.1.store(true, Ordering::Relaxed);
        let made = reading.finish(&after, &|at| Some(at - BY));
        assert_eq!(made.is_none(), matters);
    }
}

#[test]
fn any_descriptions_and_symbols() {
    let mut state = 1u64;
    let mut below = |end: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((state >> 33) as usize) % end
    };
    let all = [
        ("f", 4),
        ("f", 8),
        ("f.isra.0", 4),
        ("f.constprop.0", 8),
        ("g", 12),
        ("g.isra.0", 12),
        ("g.constprop.0.isra.1", 16),
    ];
    let (mut written, mut left_out, mut asked, mut not_asked) = (0, 0, 0, 0);
    for _ in 0..200 {
        let mut said = |_| Said {
            function: ["f", "f", "g"][below(3)],
            ret: ["int", "int", "const"][below(3)],
            param: (
                ["one", "one", "one", "two"][below(4)],
                ["int", "int", "int", "const", "long"][below(5)],
            ),
            tag: [None, None, None, Some("tag")][below(4)],
            gone: below(3) == 0,
            nocall: below(4) == 0,
            at: [0, 4, 4, 8, 12, 12, 16][below(7)],
        };
        let mut units: Vec<Vec<Said>> = (0..4).map(|_| (0..2).map(&mut said).collect()).collect();
        units.truncate(1 + below(4));
        units.iter_mut().for_each(|unit| unit.truncate(1 + below(2)));
        let mut symbols = vec![("z", 32)];
        symbols.extend(all.iter().filter(|_| below(3) == 0));
        let made = Kernel { units, symbols, clang: below(3) == 0 }.make();
        let reasons = made.functions.iter().map(|function| function.reason.is_some());
        left_out += reasons.clone().filter(|&is| is).count();
        written += reasons.filter(|&is| !is).count();
        *(if made.asked.is_empty() { &mut not_asked } else { &mut asked }) += 1;
    }
    let counts = [written, left_out, asked, not_asked];
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
}
