//! What a unit of `.debug_info` says, as a hash that is the same in the next link if the unit is.
//!
//! `ld -r` puts the sections of the compiler's objects one behind the other and changes no byte of them: all that it
//! moves stands in the addends of relocations. A unit refers to strings of its own object only, which lie together. So
//! the key is made of the unit's bytes as they are in the input, of where its relocations are and which section each
//! leads to, of the places of its strings counted from the first of them, and of the text from the first to the last.
//! If all of that is the same, every reference leads to the same string, wherever the linker puts it.
//!
//! Addresses are left out, but for the section that they are in.
//!
//! Cost: the bytes of the section, of its relocations and of the unmerged strings, read once: 0.8 GB for the defconfig
//! of 6.12. They are hashed while they are in the processor's cache, so half of the time is the copying.

use std::ops::Range;

use image::consts::{SHF_MERGE, SHF_STRINGS, STB_LOCAL, STT_SECTION};
use image::{Place, Section};
use memchr::memchr;
use object::pod;
use twox_hash::{XxHash3_64, XxHash3_128};

use crate::buffer::Buffer;
use crate::contents::Contents;
use crate::error::Error;
use crate::object::{Object, is_debug};
use crate::record::{Record, with_records};
use crate::relocate::Source;
use crate::runs::{READ, Runs};

/// The strings of a unit lie within so many times its own size, in bytes, and [`SPREAD`].
const TIMES: usize = 4;
const SPREAD: usize = 1 << 16;

/// Bytes that are read and hashed at once.
const STEP: usize = 1 << 18;

/// Sections that units are read with besides their own, whose bytes are not looked at here.
const OTHERS: [&[u8]; 4] = [b".debug_info", b".debug_str_offsets", b".debug_addr", b".debug_types"];
const LISTS: &[u8] = b".debug_loclists";
const OLD_LISTS: &[u8] = b".debug_loc";

/// What a relocation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    /// Some bytes of the section of that index, which are part of what the unit says.
    Text(u32),
    /// Lists of locations.
    List(u32),
    /// Something else; a hash of the section's name.
    Other(u32),
}

/// The part of a section that a unit refers to.
#[derive(Debug)]
struct Part {
    lead: Lead,
    /// A hash of the section's name.
    name: u32,
    /// What the first relocation leads to.
    base: u64,
    first: u64,
    last: u64,
}

impl Contents<'_, '_> {
    /// A hash of what the unit at `unit` says, for `.debug_info`: equal hashes, equal bytes but for addresses, and
    /// equal strings that it refers to; with `lists` equal lists of locations too. `None` if it refers to more than that,
    /// or cannot be read.
    pub fn unit_key(&self, unit: Range<usize>, lists: bool) -> Option<u128> {
        let pieces = &self.debug.pieces;
        let after = pieces.partition_point(|piece| piece.offset <= unit.start as u64);
        let piece = pieces.get(after.checked_sub(1)?)?;
        let source = self.sections.source(piece, &[]).ok()?;
        let start = unit.start.checked_sub(piece.offset as usize)?;
        let range = start..start.checked_add(unit.len())?;
        let mut hashes = Vec::new();
        hash_bytes(source.object, source.section, range.clone(), &mut hashes).ok()?;
        if source.object.relocations[source.section as usize] != 0 {
            with_records!(source, hash_relocations, range, lists, &mut hashes)?;
        }
        let hashes: Vec<u8> = hashes.into_iter().flat_map(u128::to_le_bytes).collect();
        Some(XxHash3_128::oneshot(&hashes))
    }
}

/// Adds hashes of the bytes `range` of a section.
fn hash_bytes(
    object: &Object<'_>,
    section: u32,
    range: Range<usize>,
    hashes: &mut Vec<u128>,
) -> Result<(), Error> {
    let mut buffer = Buffer::new();
    for start in range.clone().step_by(STEP) {
        let bytes = object.look_at(section, start..range.end.min(start + STEP), &mut buffer)?;
        hashes.push(XxHash3_128::oneshot(bytes));
    }
    Ok(())
}

/// Adds hashes of the relocations of a unit and of what they lead to.
fn hash_relocations<R: Record>(
    source: Source<'_, '_>,
    unit: Range<usize>,
    lists: bool,
    hashes: &mut Vec<u128>,
) -> Option<()> {
    let mut runs = Runs::<R>::new(source.object, source.section).ok()?;
    // They are in the order of their offsets: otherwise nothing would have been remembered.
    let [first, last] = runs.before([unit.start as u64, unit.end as u64]).ok()?;
    let mut leads = Leads::new(source.object, lists);
    let mut words = Buffer::new();
    // Counted from the first, wherever that is among those of other units.
    for start in (first..last).step_by(READ) {
        let records = runs.look(start..last.min(start + READ)).ok()?;
        let size = size_of::<[u32; 4]>();
        let out = words.bytes(records.len() * size);
        for (record, out) in records.iter().zip(out.chunks_exact_mut(size)) {
            out.copy_from_slice(pod::bytes_of(&leads.word(record, &unit)?));
        }
        hashes.push(XxHash3_128::oneshot(out));
    }
    let most = unit.len() * TIMES + SPREAD;
    for part in leads.parts {
        part.hash(source.object, most, hashes)?;
    }
    Some(())
}

impl Part {
    /// Adds a hash of the bytes from the first that is referred to, to the end of what is at the last.
    fn hash(&self, object: &Object<'_>, most: usize, hashes: &mut Vec<u128>) -> Option<()> {
        let (Lead::Text(section) | Lead::List(section)) = self.lead else { return None };
        let (first, last) = (usize::try_from(self.first).ok()?, usize::try_from(self.last).ok()?);
        let len = (last - first).checked_add(self.last_len(object, section, last, most)?)?;
        if len > most {
            return None;
        }
        hashes.push(u128::from(self.base.wrapping_sub(self.first)) << 64 | len as u128);
        hash_bytes(object, section, first..first + len, hashes).ok()
    }

    /// Length with its end of what is at the offset `last`, which is found within `most` bytes.
    fn last_len(
        &self,
        object: &Object<'_>,
        section: u32,
        last: usize,
        most: usize,
    ) -> Option<usize> {
        let rest = object.bytes(section).ok()?.len().checked_sub(last)?;
        let address = if object.elf.class() == image::Class::Elf64 { 8 } else { 4 };
        let mut buffer = Buffer::new();
        let mut size = 1 << 8;
        loop {
            size = rest.min(size);
            let bytes = object.look_at(section, last..last + size, &mut buffer).ok()?;
            let len = match self.lead {
                Lead::List(_) => list_len(bytes, address),
                _ => memchr(0, bytes).map(|end| end + 1),
            };
            if len.is_some() || size >= rest.min(most) {
                return len;
            }
            size *= 8;
        }
    }
}

/// Length of a list of locations of DWARF 5 with its end, in bytes.
fn list_len(list: &[u8], address: usize) -> Option<usize> {
    let mut at = 0;
    let uleb = |at: &mut usize| {
        let (mut value, mut shift) = (0usize, 0);
        loop {
            let byte = *list.get(*at)?;
            *at += 1;
            value |= usize::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    };
    loop {
        let kind = kind_of(*list.get(at)?)?;
        at += 1;
        let (numbers, addresses, expression) = match kind {
            Kind::End => return Some(at),
            Kind::Numbers(numbers) => (numbers, 0, false),
            Kind::Range(numbers, addresses) => (numbers, addresses, true),
            Kind::Base => (0, 1, false),
        };
        at = at.checked_add(addresses * address)?;
        for _ in 0..numbers {
            uleb(&mut at)?;
        }
        if expression {
            let len = uleb(&mut at)?;
            at = at.checked_add(len)?;
        }
    }
}

/// What an entry of a list has.
enum Kind {
    End,
    /// So many numbers.
    Numbers(usize),
    /// So many numbers and addresses, and an expression.
    Range(usize, usize),
    /// One address.
    Base,
}

/// DWARF 5, section 7.7.3, and GNU's pairs of views.
fn kind_of(kind: u8) -> Option<Kind> {
    Some(match kind {
        0 => Kind::End,
        1 => Kind::Numbers(1),
        2..=4 => Kind::Range(2, 0),
        5 => Kind::Range(0, 0),
        6 => Kind::Base,
        7 => Kind::Range(0, 2),
        8 => Kind::Range(1, 1),
        9 => Kind::Numbers(2),
        _ => return None,
    })
}

/// What the symbols of an object lead to; of those that follow each other most are the same few.
struct Leads<'o, 'a> {
    object: &'o Object<'a>,
    lists: bool,
    /// By the low bits of the symbol.
    known: [(u32, Option<Known>); 64],
    parts: Vec<Part>,
}

/// What is known of a symbol.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// Index of the part of a section that it leads to.
    Part(usize),
    /// A hash of the section's name.
    Other(u32),
}

impl<'o, 'a> Leads<'o, 'a> {
    fn new(object: &'o Object<'a>, lists: bool) -> Self {
        Leads { object, lists, known: [(u32::MAX, None); 64], parts: Vec::new() }
    }

    /// What a relocation of `unit` says: where it is, its type, the section that it leads to, and where there, if that
    /// matters.
    #[inline]
    fn word(&mut self, record: &impl Record, unit: &Range<usize>) -> Option<[u32; 4]> {
        let relocation = record.decode();
        let offset = relocation.offset.checked_sub(unit.start as u64)?;
        if offset >= unit.len() as u64 {
            return None;
        }
        let slot = relocation.symbol as usize % self.known.len();
        if self.known[slot].0 != relocation.symbol {
            self.known[slot] = (relocation.symbol, self.know(relocation.symbol, relocation.addend));
        }
        let (name, value) = match self.known[slot].1? {
            Known::Other(name) => (name, 0),
            Known::Part(part) => {
                let at = relocation.addend? as u64;
                let part = &mut self.parts[part];
                (part.first, part.last) = (part.first.min(at), part.last.max(at));
                (part.name, at.wrapping_sub(part.base) as u32)
            }
        };
        Some([offset as u32, relocation.r_type, name, value])
    }

    /// What a symbol leads to, of which nothing is known or something has been forgotten.
    #[cold]
    fn know(&mut self, symbol: u32, addend: Option<i64>) -> Option<Known> {
        let (lead, section) = match self.find(symbol)? {
            Lead::Other(name) => return Some(Known::Other(name)),
            lead @ (Lead::Text(section) | Lead::List(section)) => (lead, section),
        };
        if let Some(known) = self.parts.iter().position(|part| part.lead == lead) {
            return Some(Known::Part(known));
        }
        let base = addend? as u64;
        let name = hash(self.object.elf.sections().get(section as usize)?.name);
        self.parts.push(Part { lead, name, base, first: base, last: base });
        Some(Known::Part(self.parts.len() - 1))
    }

    fn find(&self, symbol: u32) -> Option<Lead> {
        let none = Lead::Other(1);
        let Some(index) = (symbol as usize).checked_sub(1) else { return Some(none) };
        let found = self.object.symbols.get(index)?;
        let Place::Section(index) = found.place else {
            return Some(Lead::Other(match found.place {
                Place::Undefined => 2,
                _ => 3,
            }));
        };
        let section: &Section<'_> = self.object.elf.sections().get(index as usize)?;
        if !is_debug(section) {
            return Some(Lead::Other(hash(section.name)));
        }
        let itself = found.kind == STT_SECTION.0 && found.bind == STB_LOCAL.0 && found.value == 0;
        let merged = SHF_MERGE.0 | SHF_STRINGS.0;
        match section.name {
            name if OTHERS.contains(&name) => None,
            OLD_LISTS if self.lists => None,
            LISTS if self.lists => itself.then_some(Lead::List(index)),
            _ if section.flags & merged == merged => itself.then_some(Lead::Text(index)),
            name => Some(Lead::Other(hash(name))),
        }
    }
}

/// Above the numbers that stand for no section.
fn hash(name: &[u8]) -> u32 {
    XxHash3_64::oneshot(name) as u32 | 0x80
}

#[cfg(test)]
mod tests {
    use image::{DataSection, Elf, NewSymbol, Relocatable, Relocation};

    use super::*;
    use crate::error::Unreadable;
    use crate::linker::Linker;
    use crate::object::{Input, ReadAt};
    use crate::prepare::Prepared;
    use crate::testing;

    /// What a unit of so many references to strings says.
    struct Unit {
        /// Bytes before it in `.debug_info`, and before its strings in `.debug_str`.
        before: (usize, usize),
        strings: Vec<String>,
        /// Its references go to the strings of these numbers, four bytes each.
        references: Vec<usize>,
        r_type: u32,
        /// The section of its only address.
        code: u32,
    }

    impl Unit {
        fn new() -> Self {
            let references = (0..40_000).map(|at| at * 7 % 3000).collect();
            let strings = (0..3000).map(|number| format!("string {number}")).collect();
            Unit { before: (0, 0), strings, references, r_type: 10, code: 1 }
        }

        fn len(&self) -> usize {
            4 * self.references.len() + 8
        }

        /// An object with sections `.debug_str`, `.text` and `.init.text`, the first three symbols.
        fn object(&self) -> Vec<u8> {
            let mut text = vec![b'x'; self.before.1];
            text.push(0);
            let mut offsets = Vec::new();
            for string in &self.strings {
                offsets.push(text.len() as i64);
                text.extend_from_slice(string.as_bytes());
                text.push(0);
            }
            let info = vec![7; self.before.0 + self.len()];
            let at = |index: usize| (self.before.0 + 4 * index) as u64;
            let reference = |(index, &string): (usize, &usize)| Relocation {
                offset: at(index),
                symbol: 0,
                r_type: self.r_type,
                addend: offsets[string],
            };
            let mut relocations: Vec<_> = (0..self.before.0 as u64 / 4)
                .map(|at| Relocation { offset: 4 * at, symbol: 0, r_type: 10, addend: 0 })
                .collect();
            relocations.extend(self.references.iter().enumerate().map(reference));
            let offset = at(self.references.len());
            relocations.push(Relocation { offset, symbol: self.code, r_type: 1, addend: 3 });
            let section = |name, flags, bytes, relocations| DataSection {
                name,
                flags,
                align: 1,
                bytes,
                relocations,
            };
            let sections = vec![
                section(".debug_str", SHF_MERGE.0 | SHF_STRINGS.0, &text[..], Vec::new()),
                section(".text", 6, &[0x90; 16], Vec::new()),
                section(".init.text", 6, &[0x90; 16], Vec::new()),
                section(".debug_info", 0, &info[..], relocations),
            ];
            let symbols = (0..3).map(|section| NewSymbol {
                name: "",
                section: Some(section),
                value: 0,
                size: 0,
            });
            let header = testing::x86_64();
            let symbols = symbols.collect();
            let mut object = Relocatable { header, sections, symbols, rela: true }.write().unwrap();
            let elf = Elf::parse(&object).unwrap();
            let table = elf.section(".symtab").unwrap().1.offset as usize;
            let strings = elf.section(".debug_str").unwrap().0;
            let entry_size = elf.section_header_offset(strings).unwrap() as usize + 56;
            object[entry_size] = 1;
            for symbol in 1..=3 {
                // Local, and of a section.
                object[table + 24 * symbol + 4] = 3;
            }
            object
        }

        fn key_of(&self, input: Input<'_>) -> Option<u128> {
            let prepared = Prepared::new(&[input], Linker::Gnu).unwrap();
            let provisional = prepared.provisional().unwrap();
            let info = provisional.contents(".debug_info").unwrap();
            info.unit_key(self.before.0..self.before.0 + self.len(), false)
        }

        fn key(&self) -> Option<u128> {
            self.key_of(Input::new("a.o", &self.object()))
        }
    }

    #[test]
    fn a_key_stays_the_same_where_a_unit_is_moved_and_only_there() {
        let key = Unit::new().key();
        assert!(key.is_some());
        assert_eq!(Unit { before: (60_000, 999), ..Unit::new() }.key(), key);
        let changed = |change: &dyn Fn(&mut Unit)| {
            let mut unit = Unit::new();
            change(&mut unit);
            unit.key()
        };
        let changes: [&dyn Fn(&mut Unit); 5] = [
            &|unit| unit.strings[1500].replace_range(0..1, "z"),
            &|unit| unit.strings[2999].push('z'),
            &|unit| unit.references.swap(20_000, 20_001),
            &|unit| unit.r_type = 1,
            &|unit| unit.code = 2,
        ];
        let mut keys: Vec<_> = changes.into_iter().map(changed).collect();
        keys.push(key);
        assert!(keys.iter().all(Option::is_some));
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 6);
        // Strings far from each other are no strings of one unit.
        assert_eq!(changed(&|unit| unit.strings[1500] = "z".repeat(1 << 20)), None);
    }

    /// A file that may end before its end.
    #[derive(Debug)]
    struct File<'f>(&'f [u8], usize);

    impl ReadAt for File<'_> {
        fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), Unreadable> {
            let end = at as usize + out.len();
            if end > self.1 {
                return Err(Unreadable { file: "a.o".to_owned(), cause: "cut off".to_owned() });
            }
            out.copy_from_slice(&self.0[at as usize..end]);
            Ok(())
        }
    }

    #[test]
    fn a_key_of_what_is_read_is_the_same_and_there_is_none_of_what_cannot_be_read() {
        let unit = Unit { before: (60_000, 999), ..Unit::new() };
        let object = unit.object();
        let elf = Elf::parse(&object).unwrap();
        let end_of = |name| {
            let section = elf.section(name).unwrap().1;
            (section.offset + section.size) as usize
        };
        let with =
            |file: &File<'_>| unit.key_of(Input { name: "a.o", data: &object, reader: Some(file) });
        assert_eq!(with(&File(&object, object.len())), unit.key());
        for name in [".debug_str", ".debug_info", ".rela.debug_info"] {
            assert_eq!(with(&File(&object, end_of(name) - 20)), None, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_is_named() {
        let object = Unit::new().object();
        let cut_off = File(&object, 4096);
        let input = Input { name: "a.o", data: &object, reader: Some(&cut_off) };
        let prepared = Prepared::new(&[input], Linker::Gnu).unwrap();
        let provisional = prepared.provisional().unwrap();
        let error = provisional.contents(".debug_info").unwrap().all().unwrap_err();
        assert_eq!(error.to_string(), "a.o: cut off");
    }
}
