//! C made at random: several units that share headers, and some that do not agree with them.
//!
//! A header is a list of declarations. Each unit takes some of them, with what those need to be complete, so
//! that what one unit defines another only declares. Now and then a unit has its own idea of a declaration.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use peer_tests::run;

use super::{KERNELS, assert_same};

const BASES: [&str; 10] = [
    "int",
    "unsigned int",
    "char",
    "unsigned char",
    "long",
    "unsigned long",
    "short",
    "_Bool",
    "float",
    "double",
];
const INTEGERS: [&str; 5] =
    ["int", "unsigned int", "unsigned long", "unsigned char", "unsigned short"];

struct Random(u64);

impl Random {
    /// A number below `bound` (splitmix64).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Struct,
    Union,
    Enum,
    Typedef,
}

/// Where a type stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// It must be complete.
    Object,
    /// Behind a pointer anything may stand.
    Pointee,
    /// What a function returns or takes.
    Value,
}

/// What a declaration needs before it, and its text.
#[derive(Clone, Default)]
struct Declaration {
    text: String,
    needs: Vec<usize>,
}

struct Maker<'k> {
    random: Random,
    kinds: &'k [Kind],
    needs: Vec<usize>,
    /// Declarations from here on are not yet complete.
    upto: usize,
    constant: usize,
}

fn tag(kind: Kind, index: usize) -> String {
    match kind {
        Kind::Struct => format!("struct s{index}"),
        Kind::Union => format!("union u{index}"),
        Kind::Enum => format!("enum e{index}"),
        Kind::Typedef => format!("t{index}"),
    }
}

impl Maker<'_> {
    /// `name` declared with a type of some depth.
    fn declare(&mut self, name: &str, place: Place, depth: usize) -> String {
        let choice = if depth == 0 { 0 } else { self.random.below(10) };
        match choice {
            5..=7 => {
                let qualifier = self.random.of(&["", "", "const ", "volatile ", "restrict "]);
                // Functions cannot be restricted to.
                let (qualifier, pointee) = match qualifier {
                    "restrict " => ("restrict ", Place::Object),
                    other => (other, Place::Pointee),
                };
                self.declare(&format!("(*{qualifier}{name})"), pointee, depth - 1)
            }
            8 if place == Place::Object => {
                let count = self.random.below(4);
                self.declare(&format!("({name})[{count}]"), Place::Object, depth - 1)
            }
            9 if place == Place::Pointee => {
                let params = self.params(depth - 1);
                self.declare(&format!("({name})({params})"), Place::Value, depth - 1)
            }
            _ => self.leaf(name, place),
        }
    }

    fn leaf(&mut self, name: &str, place: Place) -> String {
        let qualifier = self.random.of(&["", "", "", "const ", "volatile "]);
        if place == Place::Pointee && self.random.one_in(6) {
            return format!("{qualifier}void {name}");
        }
        let index = self.random.below(self.kinds.len());
        let kind = self.kinds[index];
        let open = place == Place::Pointee && matches!(kind, Kind::Struct | Kind::Union);
        if open && self.random.one_in(2) {
            return format!("{qualifier}{} {name}", tag(kind, index));
        }
        // A typedef may be of an array, which no function returns.
        if index < self.upto
            && self.random.one_in(2)
            && !(place == Place::Value && kind == Kind::Typedef)
        {
            self.needs.push(index);
            return format!("{qualifier}{} {name}", tag(kind, index));
        }
        format!("{qualifier}{} {name}", self.random.of(&BASES))
    }

    fn params(&mut self, depth: usize) -> String {
        let count = self.random.below(4);
        let mut params: Vec<String> = (0..count)
            .map(|i| self.declare(&format!("p{i}"), Place::Value, depth.min(2)))
            .collect();
        if count > 0 && self.random.one_in(6) {
            params.push("...".to_string());
        }
        if params.is_empty() { "void".to_string() } else { params.join(", ") }
    }

    fn members(&mut self, depth: usize, prefix: &str) -> String {
        let mut text = String::new();
        for number in 0..self.random.below(6) {
            let name = format!("{prefix}{number}");
            match self.random.below(8) {
                0 | 1 => {
                    let (ty, width) = (self.random.of(&INTEGERS), 1 + self.random.below(8));
                    let _ = write!(text, "{ty} {name} : {width}; ");
                }
                2 if depth > 0 => {
                    let kind = self.random.of(&["struct", "union"]);
                    let inner = self.members(depth - 1, &format!("{name}_"));
                    let own = if self.random.one_in(2) { name } else { String::new() };
                    let _ = write!(text, "{kind} {{ {inner}}} {own}; ");
                }
                _ => {
                    let member = self.declare(&name, Place::Object, 4);
                    let _ = write!(text, "{member}; ");
                }
            }
        }
        text
    }

    fn declaration(&mut self, index: usize) -> Declaration {
        self.needs.clear();
        self.upto = index;
        let kind = self.kinds[index];
        let tag = tag(kind, index);
        let text = match kind {
            Kind::Struct | Kind::Union => {
                let members = self.members(2, "m");
                let packed = self.random.of(&["", "", "", " __attribute__((packed))"]);
                format!("{tag} {{ {members}}}{packed};")
            }
            Kind::Enum => {
                let value =
                    self.random.of(&["0", "1", "-1", "0x7fffffff", "0x100000000", "-5000000000"]);
                self.constant += 1;
                let c = self.constant;
                format!("{tag} {{ C{c}_A = {value}, C{c}_B = 3, C{c}_C }};")
            }
            Kind::Typedef if self.random.one_in(4) => {
                let body = self.members(1, "m");
                format!("typedef struct {{ {body}}} {tag};")
            }
            Kind::Typedef => format!("typedef {};", self.declare(&tag, Place::Object, 3)),
        };
        Declaration { text, needs: self.needs.clone() }
    }

    fn function(&mut self, name: &str) -> String {
        self.needs.clear();
        self.upto = 0;
        let params = self.params(2);
        let returned = self.random.of(&["int", "long", "char *", "void"]);
        let scope = self.random.of(&["", "static __attribute__((used)) ", "static inline "]);
        format!(
            "{scope}{returned} {name}({params}) {{ {} }}",
            if returned == "void" { "" } else { "return 0;" }
        )
    }
}

/// The texts of the units.
fn units(seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let count = 6 + random.below(14);
    let kinds: Vec<Kind> = (0..count)
        .map(|_| match random.below(8) {
            0..=3 => Kind::Struct,
            4 => Kind::Union,
            5 => Kind::Enum,
            _ => Kind::Typedef,
        })
        .collect();
    let mut maker = Maker { random, kinds: &kinds, needs: Vec::new(), upto: 0, constant: 0 };
    let shared: Vec<Declaration> = (0..count).map(|index| maker.declaration(index)).collect();
    (0..2 + maker.random.below(3)).map(|unit| text(unit, &shared, &mut maker)).collect()
}

fn text(unit: usize, shared: &[Declaration], maker: &mut Maker<'_>) -> String {
    let mut all = shared.to_vec();
    let mut wanted: Vec<bool> = (0..all.len()).map(|_| maker.random.one_in(2)).collect();
    for (index, declaration) in all.iter_mut().enumerate() {
        if maker.random.one_in(14) {
            *declaration = maker.declaration(index);
        }
    }
    for index in (0..all.len()).rev().filter(|_| true) {
        if wanted[index] {
            all[index].needs.iter().for_each(|&need| wanted[need] = true);
        }
    }
    let mut text = String::new();
    for (index, &kind) in maker.kinds.iter().enumerate() {
        if matches!(kind, Kind::Struct | Kind::Union) {
            let _ = writeln!(text, "{};", tag(kind, index));
        }
    }
    for (index, declaration) in all.iter().enumerate().filter(|&(index, _)| wanted[index]) {
        let _ = writeln!(text, "{}", declaration.text);
        let pointer = if maker.random.one_in(3) { "*" } else { "" };
        let _ = writeln!(text, "{} {pointer}v{unit}_{index};", tag(maker.kinds[index], index));
    }
    for number in 0..maker.random.below(5) {
        let own = maker.random.one_in(2);
        let name = if own { format!("f{unit}_{number}") } else { format!("f{number}") };
        let function = maker.function(&name);
        let _ = writeln!(text, "{function}");
    }
    text
}

fn check(seed: u64, compiler: &str, dir: &Path) {
    let mut objects = Vec::new();
    for (number, text) in units(seed).iter().enumerate() {
        let source = dir.join(format!("{number}.c"));
        std::fs::write(&source, text).unwrap();
        let object = source.with_extension("o");
        let dwarf = if seed.is_multiple_of(3) { "-gdwarf-4" } else { "-gdwarf-5" };
        // Functions of one name in two units: weak, so that they can be linked.
        let flags = ["-w", "-O1", dwarf, "-ffreestanding", "-fno-builtin", "-c", "-o"];
        run(Command::new(compiler).args(flags).arg(&object).arg(&source));
        objects.push(object);
    }
    let image = dir.join("image");
    run(Command::new("ld").args(["-r", "-z", "muldefs", "-o"]).arg(&image).args(&objects));
    assert_same(&format!("seed {seed}, {compiler}"), &image, &KERNELS[..2]);
}

fn seeds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let compiler = if seed % 4 == 3 { "clang-19" } else { "gcc" };
        check(seed, compiler, tempfile::tempdir().unwrap().path());
    }
}

#[test]
fn programs_made_at_random() {
    seeds(0..24);
}

#[test]
#[ignore = "takes minutes: for a change in deduplication"]
fn many_programs_made_at_random() {
    seeds(24..600);
}
