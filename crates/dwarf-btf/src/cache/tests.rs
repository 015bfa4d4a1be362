//! Kernels that change from link to link: what is made with what was remembered is what is made without.

use gimli::constants as dw;
use image::{Elf, consts};

use crate::tests::die::{Die, File, Value, base, die, int, member};
use crate::tests::{Elsewhere, Keyed};
use crate::{Encoded, Expected, Memory, Options, PaholeVersion, Reading, Remembered, lto_note};

/// Numbers without order, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((self.0 >> 33) as usize) % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

const STRUCTURES: [[&str; 3]; 6] = [
    ["task", "task*", "task**"],
    ["inode", "inode*", "inode**"],
    ["sk_buff", "sk_buff*", "sk_buff**"],
    ["page", "page*", "page**"],
    ["dev", "dev*", "dev**"],
    ["rq", "rq*", "rq**"],
];
const FUNCTIONS: [&str; 6] = ["start_kernel", "schedule", "do_fork", "f_a", "kfree", "vfs_read"];
const VARIABLES: [&str; 3] = ["current_task", "runqueues", "cnt"];
const MEMBERS: [&str; 4] = ["a", "state", "next_one", "zz"];
/// Where the per-CPU section begins: behind `.text`, aligned to 64.
const SECTION: u64 = 0x10040;

fn pointer(label: &'static str, to: &'static str) -> Die {
    die(dw::DW_TAG_pointer_type).label(label).of(to)
}

/// A unit; what it says follows from its number but for addresses, to which `by` is added.
fn unit(number: u64, by: u64) -> Vec<Die> {
    let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut all = vec![int()];
    if random.one_in(4) {
        all.insert(0, base("char", 1, dw::DW_ATE_signed_char));
    }
    for (index, names) in STRUCTURES.iter().enumerate() {
        let [name, once, twice] = *names;
        all.push(structure(index, name, &mut random));
        all.push(pointer(once, name));
        if random.one_in(2) {
            all.push(pointer(twice, once));
        }
        if random.one_in(3) {
            // The same again.
            all.push(pointer(["again", "again2", "a3", "a4", "a5", "a6"][index], name));
            all.push(die(dw::DW_TAG_const_type).of(names[1]));
        }
    }
    for label in &["nameless", "other"][..random.below(3)] {
        let member = member(MEMBERS[random.below(4)], "int", 0);
        let nameless = die(dw::DW_TAG_structure_type).size(4).label(label).child(member);
        all.push(nameless);
        let name = ["atomic_t", "kuid_t", "u"][random.below(3)];
        all.push(die(dw::DW_TAG_typedef).name(name).of(label));
    }
    for _ in 0..random.below(4) {
        let at = [0, 4, 8, 12][random.below(4)];
        let function = FUNCTIONS[random.below(FUNCTIONS.len())];
        let mut function = die(dw::DW_TAG_subprogram).name(function).of("int");
        if at != 0 {
            let low_pc = (at + by).to_le_bytes().to_vec();
            function = function.with(dw::DW_AT_low_pc, Value::Raw(dw::DW_FORM_addr.0, low_pc));
        }
        for _ in 0..random.below(3) {
            let ty = ["int", STRUCTURES[random.below(6)][1]][random.below(2)];
            let name = ["arg", "x", "first"][random.below(3)];
            function = function.child(die(dw::DW_TAG_formal_parameter).name(name).of(ty));
        }
        all.push(function);
    }
    if random.one_in(2) {
        let index = random.below(3);
        let mut address = vec![dw::DW_OP_addr.0];
        address.extend((SECTION + by + 4 * index as u64).to_le_bytes());
        let variable = die(dw::DW_TAG_variable).name(VARIABLES[index]).of("int");
        all.push(variable.with(dw::DW_AT_location, Value::Expression(address)));
    }
    all
}

/// One of the structures, or a declaration of it.
fn structure(index: usize, name: &'static str, random: &mut Random) -> Die {
    let all = die(dw::DW_TAG_structure_type).label(name).name(name);
    if random.one_in(2) {
        return all.with(dw::DW_AT_declaration, Value::Flag);
    }
    let other = if random.one_in(40) { 8 } else { 0 };
    let to = |by: usize| STRUCTURES[(index + by) % 6][1];
    let mut all = all.size(24 + other);
    let members = [("first", to(1)), ("b", to(3)), ("int_one", "int")];
    for (offset, (name, ty)) in (other..).step_by(8).zip(members) {
        all = all.child(member(name, ty, offset));
    }
    all
}

/// A link: its units by number, what is added to addresses before it, the functions that it has, and the first string.
#[derive(Clone, Debug)]
struct Link {
    units: Vec<u64>,
    by: u64,
    functions: usize,
    first_string: &'static str,
}

impl Link {
    /// The kernel, or what stands for its inputs.
    fn file(&self, by: u64) -> File {
        let mut units = self.units.iter();
        let first = unit(*units.next().unwrap(), by);
        let mut file = units.fold(File::new(first), |file, &number| file.unit(unit(number, by)));
        file.first_string = Some(self.first_string);
        for (index, &name) in FUNCTIONS[..self.functions].iter().enumerate() {
            file = file.function(name, 4 * (index as u64 % 3 + 1));
        }
        for (index, &name) in VARIABLES.iter().enumerate() {
            file = file.percpu(name, 4 * index as u64, 4);
        }
        file
    }
}

impl Link {
    /// The kernel, to which the linker adds a function that no unit has.
    fn image(&self) -> Vec<u8> {
        self.file(0).function("made_by_the_linker", 16).write()
    }
}

fn options(pahole: PaholeVersion) -> Options<'static> {
    Options { pahole, ..Options::default() }
}

/// What is made with what was remembered, and what is to be remembered then; `None` if it is to be made in one go.
fn resumed(link: &Link, pahole: PaholeVersion, known: &[u8]) -> Option<(Encoded, Option<Vec<u8>>)> {
    let (before, after) = (link.file(link.by).write(), link.image());
    let (before, after) = (Elf::parse(&before).unwrap(), Elf::parse(&after).unwrap());
    let symbols = before.symbols().unwrap();
    let functions = symbols.iter().filter(|symbol| symbol.kind == consts::STT_FUNC.0);
    let expected = Expected {
        endian: before.endian(),
        machine: before.header().machine,
        lto: lto_note(&before),
        functions: functions.map(|symbol| symbol.name).collect(),
        percpu: SECTION + link.by..SECTION + link.by + 256,
    };
    let (memory, source) = (Memory::default(), Keyed(Elsewhere(&before), &link.units));
    let remembered = Remembered { by: 1, bytes: known };
    let reading = Reading::resume(&memory, &source, &expected, &options(pahole), Some(remembered));
    let mut made = reading.unwrap()?.finish(&after, &|at| Some(at - link.by))?;
    let known = made.known.take().map(|known| known.into_bytes(&source));
    Some((made, known))
}

/// What is made without.
fn whole(link: &Link, pahole: PaholeVersion) -> Encoded {
    crate::encode(&Elf::parse(&link.image()).unwrap(), &options(pahole)).unwrap()
}

fn change(link: &mut Link, random: &mut Random) {
    let at = random.below(link.units.len());
    let new = random.below(1 << 20) as u64 + 1;
    match random.below(7) {
        0 => link.units.insert(at, new),
        1 if link.units.len() > 2 => drop(link.units.remove(at)),
        2 => {}
        3 => {
            let other = random.below(link.units.len());
            link.units.swap(at, other);
        }
        _ => link.units[at] = new,
    }
    link.by = [0, 0x100, 0x40][random.below(3)];
    link.first_string = ["one", "", "another one", "vfs_read"][random.below(4)];
    if random.one_in(4) {
        link.functions = 1 + random.below(FUNCTIONS.len());
    }
}

#[test]
fn changes_come_to_the_same_as_reading_all() {
    let (mut with, mut without, mut in_one_go) = (0, 0, 0);
    for pahole in [PaholeVersion::V1_24, PaholeVersion::V1_32] {
        for start in 0..24 {
            let mut random = Random(start * 77 + 5);
            let count = 3 + random.below(12);
            let units = (0..count).map(|_| random.below(1 << 20) as u64 + 1).collect();
            let mut link = Link { units, by: 0x100, functions: 4, first_string: "one" };
            let mut known = Vec::new();
            for step in 0..12 {
                let made = resumed(&link, pahole, &known);
                let whole = whole(&link, pahole);
                match made {
                    Some((made, to_remember)) => {
                        assert_eq!(made.btf, whole.btf, "{pahole} {start} {step} {link:?}");
                        let report = &made.report;
                        assert_eq!(report.units, whole.report.units);
                        assert_eq!(report.types, whole.report.types);
                        *(if report.known == 0 { &mut without } else { &mut with }) += 1;
                        // Nothing, if all had to be read once more.
                        known = to_remember.unwrap_or_default();
                    }
                    None => {
                        in_one_go += 1;
                        known.clear();
                    }
                }
                for _ in 0..=random.below(2) {
                    change(&mut link, &mut random);
                }
            }
        }
    }
    assert!(with > 100, "{with} with, {without} without, {in_one_go} in one go");
}

/// A file that is damaged, and whose checksum is right all the same, may say anything; nothing may break by it.
#[test]
fn any_numbers_do_no_harm() {
    let mut random = Random(3);
    for pahole in [PaholeVersion::V1_24, PaholeVersion::V1_32] {
        let units = (0..6).map(|_| random.below(1 << 20) as u64 + 1).collect();
        let link = Link { units, by: 0x100, functions: 4, first_string: "one" };
        let known = resumed(&link, pahole, &[]).and_then(|made| made.1).unwrap();
        assert_eq!(resumed(&link, pahole, &known).unwrap().0.report.known, 6);
        let mut other = link.clone();
        other.units[2] += 1;
        for step in 0..400 {
            let mut known = known.clone();
            for _ in 0..=random.below(2) {
                let words = known.len() / 4;
                // Behind the header.
                let at = 4 * (12 + random.below(words - 12));
                let old = u32::from_ne_bytes(*known[at..].first_chunk().unwrap());
                let new = match random.below(5) {
                    0 => old.wrapping_add(1),
                    1 => old.wrapping_sub(1),
                    2 => old ^ 1 << random.below(32),
                    3 => u32::MAX,
                    _ => random.below(64) as u32,
                };
                known[at..at + 4].copy_from_slice(&new.to_ne_bytes());
            }
            super::file::seal(&mut known);
            let link = if step % 2 == 0 { &link } else { &other };
            let made = resumed(link, pahole, &known);
            // What is remembered of it is no harm either.
            let again = made.and_then(|made| made.1);
            again.map(|known| resumed(link, pahole, &known));
        }
    }
}
