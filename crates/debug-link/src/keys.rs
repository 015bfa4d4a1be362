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
//! of 6.12.

use std::ops::Range;

use image::consts::{SHF_MERGE, SHF_STRINGS, STB_LOCAL, STT_SECTION};
use image::{Place, Section};
use memchr::memchr;
use object::pod;
use twox_hash::{XxHash3_64, XxHash3_128};

use crate::contents::Contents;
use crate::make::Release;
use crate::object::{Object, is_debug};
use crate::record::{self, Record, with_records};
use crate::relocate::{Chunk, Source};

/// The strings of a unit lie within so many times its own size, in bytes, and [`SPREAD`].
const TIMES: usize = 4;
const SPREAD: usize = 1 << 16;

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
    /// What the first relocation leads to.
    base: u64,
    first: u64,
    last: u64,
}

impl<'a> Contents<'_, 'a> {
    /// A hash of what the unit at `unit` says, for `.debug_info`: equal hashes, equal bytes but for addresses, and
    /// equal strings that it refers to; with `lists` equal lists of locations too. `None` if it refers to more than that.
    ///
    /// `release` is called for what has been read of the inputs.
    pub fn unit_key(
        &self,
        unit: Range<usize>,
        lists: bool,
        release: Option<&Release<'_>>,
    ) -> Option<u128> {
        let pieces = &self.debug.pieces;
        let after = pieces.partition_point(|piece| piece.offset <= unit.start as u64);
        let piece = pieces.get(after.checked_sub(1)?)?;
        let source = self.sections.source(piece, &[]).ok()?;
        let start = unit.start.checked_sub(piece.offset as usize)?;
        let range = start..start.checked_add(unit.len())?;
        let bytes = source.bytes.get(range.clone())?;
        let mut read = |bytes: &[u8]| release.into_iter().for_each(|release| release(bytes));
        let mut hashes = vec![XxHash3_128::oneshot(bytes)];
        if source.object.relocations[source.section as usize] != 0 {
            let found = with_records!(source, relocations, range, lists, &mut read)?;
            hashes.extend(found);
        }
        read(bytes);
        let hashes: Vec<u8> = hashes.into_iter().flat_map(u128::to_le_bytes).collect();
        Some(XxHash3_128::oneshot(&hashes))
    }
}

/// Hashes of what the relocations of a unit lead to.
fn relocations<R: Record>(
    source: Source<'_, '_>,
    unit: Range<usize>,
    lists: bool,
    release: &mut dyn FnMut(&[u8]),
) -> Option<Vec<u128>> {
    let records = record::records::<R>(source.object, source.section).ok()?;
    // They are in the order of their offsets: otherwise nothing would have been remembered.
    let before = |end: usize| records.partition_point(|r| r.decode().offset < end as u64);
    let own = before(unit.start)..before(unit.end);
    let records = records.get(own.clone())?;
    let mut leads = Leads::new(source.object, lists);
    let mut parts: Vec<Part> = Vec::new();
    let mut words: Vec<[u32; 4]> = Vec::with_capacity(records.len());
    for record in records {
        let relocation = record.decode();
        let offset = (relocation.offset as usize).checked_sub(unit.start)?;
        if offset >= unit.len() {
            return None;
        }
        let lead = leads.of(relocation.symbol)?;
        let (lead, value) = match lead {
            Lead::Other(name) => (name, 0),
            Lead::Text(section) | Lead::List(section) => {
                let at = relocation.addend? as u64;
                let part = match parts.iter().position(|part| part.lead == lead) {
                    Some(index) => &mut parts[index],
                    None => {
                        parts.push(Part { lead, base: at, first: at, last: at });
                        parts.last_mut()?
                    }
                };
                (part.first, part.last) = (part.first.min(at), part.last.max(at));
                let name = source.object.elf.sections().get(section as usize)?.name;
                (leads.name(section, name), at.wrapping_sub(part.base) as u32)
            }
        };
        words.push([offset as u32, relocation.r_type, lead, value]);
    }
    let mut hashes = vec![XxHash3_128::oneshot(pod::bytes_of_slice(&words))];
    let most = unit.len() * TIMES + SPREAD;
    for part in parts {
        let text = part.bytes(source.object).filter(|text| text.len() <= most)?;
        hashes.extend([XxHash3_128::oneshot(text), u128::from(part.base.wrapping_sub(part.first))]);
        release(text);
    }
    release(source.records(&Chunk { bytes: unit, relocations: own }));
    Some(hashes)
}

impl Part {
    /// The bytes from the first that is referred to, to the end of what is at the last.
    fn bytes<'a>(&self, object: &Object<'a>) -> Option<&'a [u8]> {
        let (section, lists) = match self.lead {
            Lead::Text(section) => (section, false),
            Lead::List(section) => (section, true),
            Lead::Other(_) => return None,
        };
        let bytes = object.bytes(section).ok()?;
        let (first, last) = (usize::try_from(self.first).ok()?, usize::try_from(self.last).ok()?);
        let rest = bytes.get(last..)?;
        let len = match lists {
            true => list_len(rest, if object.elf.class() == image::Class::Elf64 { 8 } else { 4 })?,
            false => memchr(0, rest)? + 1,
        };
        bytes.get(first..last + len)
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
    known: [(u32, Option<Lead>); 64],
    /// The sections whose names were asked for, and a hash of them.
    names: Vec<(u32, u32)>,
}

impl<'o, 'a> Leads<'o, 'a> {
    fn new(object: &'o Object<'a>, lists: bool) -> Self {
        Leads { object, lists, known: [(u32::MAX, None); 64], names: Vec::new() }
    }

    fn of(&mut self, symbol: u32) -> Option<Lead> {
        let known = self.known[symbol as usize % 64];
        if known.0 == symbol {
            return known.1;
        }
        let lead = self.find(symbol);
        self.known[symbol as usize % 64] = (symbol, lead);
        lead
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

    /// A hash of a section's name.
    fn name(&mut self, section: u32, name: &[u8]) -> u32 {
        if let Some(&(_, known)) = self.names.iter().find(|known| known.0 == section) {
            return known;
        }
        let name = hash(name);
        self.names.push((section, name));
        name
    }
}

/// Above the numbers that stand for no section.
fn hash(name: &[u8]) -> u32 {
    XxHash3_64::oneshot(name) as u32 | 0x80
}
