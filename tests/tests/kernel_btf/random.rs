//! Images and BTF made at random: kfuncs of every sort, names out of order, strings that libbpf would not
//! have written so, split BTF.

use image::consts::EM_X86_64;
use image::{Class, DataSection, Endian, Endianness, Header, NewSymbol, Relocatable};

/// Numbers that are the same on every run (splitmix64).
pub(crate) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

const TYPES: [&str; 9] =
    ["b", "a", "bpf_prog_aux", "btf_struct_meta", "ab", "list", "zz", "Z", "a_long_name_of_a_type"];
const FUNCS: [&str; 10] = [
    "bpf_one",
    "bpf_two",
    "bpf_three",
    "bpf_four",
    "a",
    "bpf_one_impl",
    "bpf_four_impl",
    "Func",
    "bpf_five",
    "zz",
];
const PARAMS: [&str; 8] =
    ["", "x", "aux", "ptr__arena", "p__arena__nullable", "a", "arena", "flags__k"];

/// Types that values can have: what they are, so that most of what is made could come from a compiler.
#[derive(Default)]
struct Ids {
    values: Vec<u32>,
    pointers: Vec<u32>,
    protos: Vec<u32>,
    funcs: Vec<u32>,
    vars: Vec<u32>,
    structs: Vec<u32>,
}

/// A blob under construction, a word at a time.
pub(crate) struct Blob {
    endian: Endianness,
    words: Vec<u32>,
    strings: Vec<u8>,
    /// The base's strings, and the id behind its last type.
    base_strings: Vec<u8>,
    next: u32,
    ids: Ids,
    layout: bool,
}

impl Blob {
    /// A blob that stands alone.
    pub fn alone(random: &mut Random, endian: Endianness) -> Blob {
        let layout = random.one_in(2);
        let (words, base_strings, ids) = (vec![], vec![], Ids::default());
        let mut blob = Blob { endian, words, strings: vec![0], base_strings, next: 1, ids, layout };
        blob.fill(random);
        blob
    }

    /// Split BTF on this one.
    pub fn split(self, random: &mut Random) -> Blob {
        let mut base_strings = self.base_strings;
        base_strings.extend(self.strings);
        let (words, strings, layout) = (vec![], vec![], random.one_in(2));
        // A function of the base is none of the module's.
        let ids = Ids { funcs: vec![], vars: vec![], ..self.ids };
        let Blob { endian, next, .. } = self;
        let mut blob = Blob { endian, words, strings, base_strings, next, ids, layout };
        blob.fill(random);
        blob
    }

    /// The offset of a string: mostly of one that is there, in the middle of another perhaps.
    fn name(&mut self, random: &mut Random, name: &str) -> u32 {
        let all = [&self.base_strings[..], &self.strings].concat();
        let pattern = [name.as_bytes(), &[0]].concat();
        let mut places: Vec<usize> =
            (0..all.len()).filter(|&at| all[at..].starts_with(&pattern)).collect();
        if places.is_empty() || random.one_in(6) {
            places = vec![all.len()];
            self.strings.extend(pattern);
        }
        if name.is_empty() && !random.one_in(8) { 0 } else { random.of(&places) as u32 }
    }

    fn add(&mut self, name: u32, (kind, vlen, kflag): (u32, usize, bool), rest: &[u32]) -> u32 {
        self.words.extend([name, u32::from(kflag) << 31 | kind << 24 | vlen as u32]);
        self.words.extend(rest);
        self.next += 1;
        self.next - 1
    }

    fn fill(&mut self, random: &mut Random) {
        let name = self.name(random, "int");
        let int = self.add(name, (1, 0, false), &[4, 1 << 24 | 32]);
        self.ids.values.push(int);
        if !self.base_strings.is_empty() {
            // libbpf goes wrong over a distilled base without types: split BTF on it begins at id 1,
            // by which it tells a base.
            let name = self.name(random, "own");
            self.add(name, (8, 0, false), &[1]);
        }
        for _ in 0..random.below(60) {
            self.one(random);
        }
    }

    fn one(&mut self, random: &mut Random) {
        let value = random.of(&self.ids.values);
        match random.below(16) {
            0..3 => self.structure(random),
            3..5 => {
                let target = if random.one_in(3) || self.ids.structs.is_empty() {
                    value
                } else {
                    random.of(&self.ids.structs)
                };
                let id = self.add(0, (2, 0, false), &[target]);
                self.ids.values.push(id);
                self.ids.pointers.push(id);
            }
            5 => {
                let kind = random.of(&[9, 10, 11]);
                let id = self.add(0, (kind, 0, false), &[value]);
                self.ids.values.push(id);
            }
            6 => {
                let name = random.of(&TYPES);
                let name = self.name(random, name);
                let id = self.add(name, (8, 0, false), &[value]);
                self.ids.values.push(id);
            }
            7 => {
                let tag = random.of(&["user", "rcu", "address_space(1)"]);
                let name = self.name(random, tag);
                let kflag = random.one_in(2);
                let id = self.add(name, (18, 0, kflag), &[value]);
                self.ids.values.push(id);
            }
            8 => {
                let id = self.add(0, (3, 0, false), &[0, value, 1, 4]);
                self.ids.values.push(id);
            }
            9..11 => self.prototype(random),
            11..13 => self.function(random),
            13 => self.tag(random),
            14 => {
                let name = random.of(&TYPES);
                let name = self.name(random, name);
                let union = random.one_in(4);
                let id = self.add(name, (7, 0, union), &[0]);
                self.ids.structs.push(id);
            }
            _ => self.variable(random, value),
        }
    }

    fn structure(&mut self, random: &mut Random) {
        let name = if random.one_in(4) { "" } else { random.of(&TYPES) };
        let name = self.name(random, name);
        let count = random.below(3);
        let mut rest = vec![8 * count as u32];
        for at in 0..count {
            let member = random.of(&TYPES);
            let member = self.name(random, member);
            let target = random.of(&self.ids.values);
            rest.extend([member, target, 64 * at as u32]);
        }
        let kind = if random.one_in(5) { 5 } else { 4 };
        let id = self.add(name, (kind, count, false), &rest);
        self.ids.values.push(id);
        self.ids.structs.push(id);
    }

    fn prototype(&mut self, random: &mut Random) {
        let count = random.below(5);
        let value = |random: &mut Random, ids: &Ids| {
            let pointer = !random.one_in(4) && !ids.pointers.is_empty();
            random.of(if pointer { &ids.pointers } else { &ids.values })
        };
        let mut rest = vec![value(random, &self.ids)];
        for _ in 0..count {
            let param = random.of(&PARAMS);
            let param = self.name(random, param);
            rest.extend([param, value(random, &self.ids)]);
        }
        let id = self.add(0, (13, count, false), &rest);
        self.ids.protos.push(id);
    }

    fn function(&mut self, random: &mut Random) {
        if self.ids.protos.is_empty() {
            self.prototype(random);
        }
        let name = random.of(&FUNCS);
        let name = self.name(random, name);
        let proto = random.of(&self.ids.protos);
        let linkage = random.below(3);
        let id = self.add(name, (12, linkage, false), &[proto]);
        self.ids.funcs.push(id);
    }

    fn tag(&mut self, random: &mut Random) {
        if self.ids.funcs.is_empty() {
            return;
        }
        let tag = random.of(&["bpf_kfunc", "bpf_fastcall", "other"]);
        let name = self.name(random, tag);
        let target = random.of(&self.ids.funcs);
        let component = if random.one_in(3) { 0 } else { u32::MAX };
        let kflag = random.one_in(3);
        self.add(name, (17, 0, kflag), &[target, component]);
    }

    fn variable(&mut self, random: &mut Random, value: u32) {
        let name = random.of(&TYPES);
        let name = self.name(random, name);
        if self.ids.vars.is_empty() || random.one_in(2) {
            let id = self.add(name, (14, 0, false), &[value, 1]);
            self.ids.vars.push(id);
        } else {
            let var = random.of(&self.ids.vars);
            self.add(name, (15, 1, false), &[8, var, 0, 8]);
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let word = |word: u32| self.endian.write_u32(word);
        let types = 4 * self.words.len() as u32;
        let layout: Vec<u8> = (0..20)
            .flat_map(|kind| [kind, 2, 0, 0])
            .take(if self.layout { 80 } else { 0 })
            .collect();
        let mut out = self.endian.write_u16(0xeb9f).to_vec();
        out.extend([1, 0]);
        let length = if self.layout { 32 } else { 24 };
        let strings_at = types + layout.len() as u32;
        for value in [length, 0, types, strings_at, self.strings.len() as u32] {
            out.extend(word(value));
        }
        if self.layout {
            out.extend([word(types), word(layout.len() as u32)].concat());
        }
        out.extend(self.words.iter().flat_map(|&value| word(value)));
        out.extend(layout);
        out.extend(&self.strings);
        out
    }
}

/// An image with lists and sets of ids.
pub(crate) fn image(random: &mut Random, class: Class, endian: Endianness) -> Vec<u8> {
    let mut ids: Vec<u8> = vec![];
    let mut symbols: Vec<(String, u64, u64)> = vec![];
    let mut number = 0;
    let mut symbol = |kind: &str, name: &str, at: usize| {
        number += 1;
        (format!("__BTF_ID__{kind}__{name}__{number}"), at as u64, 4)
    };
    for set in 0..random.below(4) {
        let start = ids.len();
        let kfuncs = !random.one_in(4);
        ids.extend(endian.write_u32(0));
        ids.extend(endian.write_u32(u32::from(kfuncs) | if random.one_in(4) { 2 } else { 0 }));
        for _ in 0..random.below(5) {
            let index = random.below(FUNCS.len());
            if !random.one_in(12) {
                symbols.push(symbol("func", FUNCS[index], ids.len()));
            }
            ids.extend(endian.write_u32(0));
            ids.extend(endian.write_u32(flags(random, index)));
        }
        let name = ["kfuncs", "a_set", "z_set", "more"][set];
        symbols.push((format!("__BTF_ID__set8__{name}"), start as u64, (ids.len() - start) as u64));
    }
    for _ in 0..random.below(8) {
        let kind = random.of(&["struct", "union", "typedef", "func"]);
        let name = random.of(if kind == "func" { &FUNCS[..] } else { &TYPES[..] });
        symbols.push(symbol(kind, name, ids.len()));
        ids.extend(endian.write_u32(0));
    }
    let header = Header {
        class,
        endian,
        file_type: 0,
        machine: EM_X86_64.0,
        flags: 0,
        os_abi: 0,
        abi_version: 0,
    };
    let section =
        DataSection { name: ".BTF_ids", flags: 2, align: 4, bytes: &ids, relocations: vec![] };
    let symbols = symbols
        .iter()
        .map(|&(ref name, value, size)| NewSymbol { name, section: Some(0), value, size })
        .collect();
    let sections = vec![section];
    Relocatable { header, sections, symbols, rela: true }.write().unwrap()
}

/// Mostly the same flags for one function, as sets must agree on them.
fn flags(random: &mut Random, function: usize) -> u32 {
    let flags = [1 << 16, 1 << 12, 1 << 16 | 1 << 12 | 4, 0, 1 << 13, 1 << 14, 1 << 15 | 1 << 16];
    let odd = random.one_in(20);
    flags[(function + usize::from(odd)) % flags.len()]
}
