//! Where bytes differ, and what stands there.

use std::collections::BTreeSet;

use image::consts::{STT_FILE, STT_SECTION};
use image::{Class, Elf, Endian, Section};
use serde::Serialize;

use crate::Error;

/// Differences that are no farther apart than this are shown as one, in bytes.
const GAP: usize = 16;
/// How many places are kept of a section.
const KEPT: usize = 8;

/// A place where two sections differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Address of the first byte; an offset in a section that is not loaded.
    pub at: u64,
    /// From the first to the last byte that differs.
    pub len: u64,
    /// The symbol before it in the first image, with the distance in bytes.
    pub symbol: Option<(String, u64)>,
}

/// The symbols of an image by address.
pub struct Near<'data>(Vec<(u64, &'data [u8])>);

impl<'data> Near<'data> {
    /// Sorts the symbols that name a place.
    pub fn new(elf: &Elf<'data>) -> Result<Self, Error> {
        let symbols = elf.symbols()?;
        let named = symbols.iter().filter(|symbol| {
            let place = matches!(symbol.place, image::Place::Section(_));
            place && symbol.kind != STT_FILE.0 && symbol.kind != STT_SECTION.0
        });
        let mut near: Vec<_> = named.map(|symbol| (symbol.value, symbol.name)).collect();
        near.sort_by_key(|&(value, _)| value);
        Ok(Near(near))
    }

    fn of(&self, addr: u64) -> Option<(String, u64)> {
        let at = self.0.partition_point(|&(value, _)| value <= addr).checked_sub(1)?;
        let (value, name) = self.0[at];
        Some((String::from_utf8_lossy(name).into_owned(), addr - value))
    }
}

/// What differs between two byte strings.
pub struct Differing {
    /// How many bytes of the common part, and all of the longer one's rest.
    pub bytes: u64,
    /// The first places.
    pub spans: Vec<Span>,
}

/// Compares the contents of `section` in both images.
pub fn spans(a: &[u8], b: &[u8], section: &Section<'_>, near: &Near<'_>) -> Differing {
    let common = a.len().min(b.len());
    let mut bytes = (a.len().max(b.len()) - common) as u64;
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while let Some(next) = next_difference(&a[at..common], &b[at..common]) {
        at += next;
        bytes += 1;
        let known = ranges.len();
        match ranges.last_mut() {
            Some((_, end)) if at - *end <= GAP => *end = at + 1,
            _ if known <= KEPT => ranges.push((at, at + 1)),
            _ => {}
        }
        at += 1;
    }
    if ranges.is_empty() {
        ranges.push((common, a.len().max(b.len())));
    }
    let loaded = section.flags & image::consts::SHF_ALLOC.0 != 0;
    let span = |(start, end): (usize, usize)| {
        let at = section.addr + start as u64;
        let symbol = if loaded { near.of(at) } else { None };
        Span { at, len: (end - start) as u64, symbol }
    };
    Differing { bytes, spans: ranges.into_iter().take(KEPT).map(span).collect() }
}

/// Offset of the first byte that differs.
fn next_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let same = a.chunks(BLOCK).zip(b.chunks(BLOCK)).take_while(|(a, b)| a == b).count() * BLOCK;
    let (a, b) = (a.get(same..)?, b.get(same..)?);
    a.iter().zip(b).position(|(a, b)| a != b).map(|at| same + at)
}

/// Whether both hold the same strings, each ended by a NUL, in whatever order.
pub fn same_strings(a: &[u8], b: &[u8]) -> bool {
    let set = |bytes| -> BTreeSet<&[u8]> {
        <[u8]>::split(bytes, |&byte| byte == 0).filter(|string| !string.is_empty()).collect()
    };
    set(a) == set(b)
}

/// What the ELF header and the program headers tell apart.
pub fn headers(a: &Elf<'_>, b: &Elf<'_>) -> Vec<String> {
    let mut found = Vec::new();
    if a.header() != b.header() {
        found.push(format!("{:?} and {:?}", a.header(), b.header()));
        return found;
    }
    let (left, right) = (Loading::of(a), Loading::of(b));
    if left.entry != right.entry {
        found.push(format!("entry points {:#x} and {:#x}", left.entry, right.entry));
    }
    if left.programs != right.programs {
        found.push("the program headers".to_owned());
    }
    found
}

/// What decides how the image is loaded.
struct Loading<'data> {
    entry: u64,
    programs: &'data [u8],
}

impl<'data> Loading<'data> {
    fn of(elf: &Elf<'data>) -> Self {
        let (data, endian) = (elf.data(), elf.endian());
        let half = |at: usize| -> usize {
            let bytes = data.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, |bytes| endian.read_u16(bytes)).into()
        };
        let address = |at: usize| -> u64 {
            let long = data.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            let short = data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            match elf.class() {
                Class::Elf64 => long.map_or(0, |bytes| endian.read_u64(bytes)),
                Class::Elf32 => short.map_or(0, |bytes| endian.read_u32(bytes)).into(),
            }
        };
        // e_entry, e_phoff; e_phentsize, e_phnum.
        let [entry, table, size, count] = match elf.class() {
            Class::Elf64 => [24, 32, 54, 56],
            Class::Elf32 => [24, 28, 42, 44],
        };
        let start = address(table) as usize;
        let end = start.saturating_add(half(size) * half(count));
        Loading { entry: address(entry), programs: data.get(start..end).unwrap_or(&[]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_wherever_they_stand() {
        let a: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        for at in [0, 1, 63, 64, 65, 500, 998, 999] {
            let mut b = a.clone();
            b[at] ^= 1;
            assert_eq!(next_difference(&a, &b), Some(at));
        }
        assert_eq!(next_difference(&a, &a), None);
        assert_eq!(next_difference(&[], &[]), None);
    }

    #[test]
    fn neighbours_are_one_place_and_a_longer_section_differs_at_its_end() {
        let section = Section {
            name: b".data",
            sh_type: 1,
            flags: 0,
            addr: 0,
            offset: 0,
            size: 100,
            link: 0,
            info: 0,
            align: 1,
            entsize: 0,
        };
        let near = Near(Vec::new());
        let a = [0u8; 100];
        let mut b = a;
        (b[10], b[12], b[80]) = (1, 1, 1);
        let found = spans(&a, &b, &section, &near);
        let places: Vec<_> = found.spans.iter().map(|span| (span.at, span.len)).collect();
        assert_eq!((found.bytes, places), (3, vec![(10, 3), (80, 1)]));
        let found = spans(&a, &a[..90], &section, &near);
        assert_eq!((found.bytes, found.spans[0].at, found.spans[0].len), (10, 90, 10));
    }
}
