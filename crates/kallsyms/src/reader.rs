//! The tables of a linked kernel, decoded again: what `/proc/kallsyms` would print.
//!
//! The tables are found by their symbols and told apart by which of them there are:
//!
//! | there is | addresses are |
//! |---|---|
//! | `kallsyms_addresses` | stored whole |
//! | `kallsyms_relative_base` | offsets from it, or the form for absolute per-CPU symbols |
//! | neither | distances from their own place, or the low 32 bits (32-bit kernels only) |
//!
//! Nothing in the image says which of two forms it has; the tables' contents do, see the functions.
//!
//! Source of facts: `kernel/kallsyms.c` of Linux 6.1, 6.12 and 7.3, `kallsyms_expand_symbol`,
//! `kallsyms_sym_address`, `s_show`.

use std::collections::HashMap;

use image::consts::{SHF_ALLOC, SHT_RELA};
use image::{Class, Elf, Endian, Place};

use crate::Error;

/// A symbol as the running kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSymbol {
    /// Its address, where the kernel runs at its linked address.
    pub addr: u64,
    /// Its type letter.
    pub kind: u8,
    /// Its name.
    pub name: Vec<u8>,
}

/// The symbols of a linked kernel, in the order of its tables.
///
/// # Errors
/// No such tables, or tables that do not decode.
pub fn read(elf: &Elf<'_>) -> Result<Vec<KernelSymbol>, Error> {
    let tables = Tables::find(elf)?;
    let count = tables.required("kallsyms_num_syms")?.u32(0)? as usize;
    let names = read_names(&tables, count)?;
    let addresses = read_addresses(&tables, names.len())?;
    let symbols = names.into_iter().zip(addresses);
    Ok(symbols.map(|((kind, name), addr)| KernelSymbol { addr, kind, name }).collect())
}

/// The text that `/proc/kallsyms` gives for `symbols` to a reader who may see addresses.
pub fn write_list(symbols: &[KernelSymbol], class: Class) -> Vec<u8> {
    let entry = |symbol: &KernelSymbol| {
        let KernelSymbol { addr, kind, name } = symbol;
        let width = 2 * class.address_size() as usize;
        let mut line = format!("{addr:0width$x} {} ", char::from(*kind)).into_bytes();
        line.extend_from_slice(name);
        line.push(b'\n');
        line
    };
    symbols.iter().flat_map(entry).collect()
}

/// A table: the bytes from its symbol to the end of the section.
#[derive(Debug, Clone, Copy)]
struct Table<'e, 'data> {
    elf: &'e Elf<'data>,
    label: &'static str,
    addr: u64,
    bytes: &'data [u8],
}

impl<'data> Table<'_, 'data> {
    fn bad(&self, offset: usize, cause: &'static str) -> Error {
        Error::Table { table: self.label, offset: offset as u64, cause }
    }

    fn range(&self, offset: usize, len: usize) -> Result<&'data [u8], Error> {
        let end = offset.checked_add(len);
        end.and_then(|end| self.bytes.get(offset..end))
            .ok_or(self.bad(offset, "the table ends behind its section"))
    }

    fn array<const N: usize>(&self, offset: usize) -> Result<[u8; N], Error> {
        let bytes = self.range(offset, N)?;
        bytes.try_into().map_err(|_| self.bad(offset, "the table ends behind its section"))
    }

    fn u8(&self, offset: usize) -> Result<u8, Error> {
        Ok(u8::from_ne_bytes(self.array(offset)?))
    }

    fn u16(&self, offset: usize) -> Result<u16, Error> {
        Ok(self.elf.endian().read_u16(self.array(offset)?))
    }

    fn u32(&self, offset: usize) -> Result<u32, Error> {
        Ok(self.elf.endian().read_u32(self.array(offset)?))
    }

    fn address(&self, offset: usize) -> Result<u64, Error> {
        match self.elf.class() {
            Class::Elf32 => self.u32(offset).map(u64::from),
            Class::Elf64 => Ok(self.elf.endian().read_u64(self.array(offset)?)),
        }
    }
}

/// The kernel's tables by their labels.
struct Tables<'e, 'data> {
    elf: &'e Elf<'data>,
    found: HashMap<&'static str, Table<'e, 'data>>,
}

const LABELS: [&str; 8] = [
    "kallsyms_addresses",
    "kallsyms_offsets",
    "kallsyms_relative_base",
    "kallsyms_num_syms",
    "kallsyms_names",
    "kallsyms_markers",
    "kallsyms_token_table",
    "kallsyms_token_index",
];

impl<'e, 'data> Tables<'e, 'data> {
    fn find(elf: &'e Elf<'data>) -> Result<Self, Error> {
        let mut found = HashMap::new();
        for symbol in elf.symbols()? {
            let Some(&label) = LABELS.iter().find(|label| label.as_bytes() == symbol.name) else {
                continue;
            };
            let Place::Section(index) = symbol.place else { continue };
            let Some(section) = elf.sections().get(index as usize) else { continue };
            let into = symbol.value.wrapping_sub(section.addr) as usize;
            let bytes = elf.bytes(section)?.get(into..).unwrap_or_default();
            found.insert(label, Table { elf, label, addr: symbol.value, bytes });
        }
        Ok(Tables { elf, found })
    }

    fn get(&self, label: &'static str) -> Option<&Table<'e, 'data>> {
        self.found.get(label)
    }

    fn required(&self, label: &'static str) -> Result<&Table<'e, 'data>, Error> {
        let cause = "the image has no such table";
        self.get(label).ok_or(Error::Table { table: label, offset: 0, cause })
    }
}

/// The characters that each code stands for.
fn read_tokens<'data>(tables: &Tables<'_, 'data>) -> Result<Vec<&'data [u8]>, Error> {
    let (table, index) =
        (tables.required("kallsyms_token_table")?, tables.required("kallsyms_token_index")?);
    (0..256)
        .map(|code| {
            let start = usize::from(index.u16(2 * code)?);
            let rest = table.range(start, 0).map(|_| &table.bytes[start..])?;
            let len = rest.iter().position(|&byte| byte == 0);
            len.map(|len| &rest[..len]).ok_or(table.bad(start, "a token does not end"))
        })
        .collect()
}

/// Type letter and name of each of `count` symbols.
fn read_names(tables: &Tables<'_, '_>, count: usize) -> Result<Vec<(u8, Vec<u8>)>, Error> {
    let tokens = read_tokens(tables)?;
    let table = tables.required("kallsyms_names")?;
    // A name takes at least two bytes, which bounds what is allocated.
    let mut names = Vec::with_capacity(count.min(table.bytes.len() / 2));
    let mut at = 0;
    for _ in 0..count {
        let start = at;
        let mut len = usize::from(table.u8(at)?);
        at += 1;
        if len & 0x80 != 0 {
            len = len & 0x7f | usize::from(table.u8(at)?) << 7;
            at += 1;
        }
        let codes = table.range(at, len)?;
        at += len;
        let expanded = codes.iter().map(|&code| tokens[usize::from(code)]).collect::<Vec<_>>();
        let expanded = expanded.concat();
        let (&kind, name) =
            expanded.split_first().ok_or(table.bad(start, "a symbol without a type"))?;
        names.push((kind, name.to_vec()));
    }
    Ok(names)
}

fn read_addresses(tables: &Tables<'_, '_>, count: usize) -> Result<Vec<u64>, Error> {
    if let Some(table) = tables.get("kallsyms_addresses") {
        let size = tables.elf.class().address_size() as usize;
        let relocated = relocated_words(tables.elf, table.addr, (count * size) as u64)?;
        let word = |index: usize| match relocated.get(&(table.addr + (index * size) as u64)) {
            Some(&addr) => Ok(addr),
            None => table.address(index * size),
        };
        return (0..count).map(word).collect();
    }
    let table = tables.required("kallsyms_offsets")?;
    let offsets = (0..count).map(|index| table.u32(4 * index)).collect::<Result<Vec<_>, _>>()?;
    let mut addresses = match tables.get("kallsyms_relative_base") {
        Some(base) => {
            let relocated = relocated_words(tables.elf, base.addr, 1)?;
            let stored = base.address(0)?;
            from_base(&offsets, relocated.get(&base.addr).copied().unwrap_or(stored))
        }
        None => from_place(tables.elf.class(), table.addr, &offsets),
    };
    if tables.elf.class() == Class::Elf32 {
        addresses.iter_mut().for_each(|addr| *addr &= u64::from(u32::MAX));
    }
    Ok(addresses)
}

/// The words from `start` on, `len` bytes, that a position-independent kernel relocates when it starts.
/// Their addends are their linked addresses, and the image itself may hold zeros there.
fn relocated_words(elf: &Elf<'_>, start: u64, len: u64) -> Result<HashMap<u64, u64>, Error> {
    let endian = elf.endian();
    let mut words = HashMap::new();
    let dynamic = |section: &&image::Section<'_>| {
        section.sh_type == SHT_RELA.0 && section.flags & SHF_ALLOC.0 != 0
    };
    for section in elf.sections().iter().filter(dynamic) {
        let bytes = elf.bytes(section)?;
        let mut learn = |offset: u64, addend: u64| {
            if addend != 0 && offset.checked_sub(start).is_some_and(|into| into < len) {
                words.insert(offset, addend);
            }
        };
        match elf.class() {
            Class::Elf32 => bytes.as_chunks::<12>().0.iter().for_each(|entry| {
                let word = |at: usize| {
                    let bytes = [entry[at], entry[at + 1], entry[at + 2], entry[at + 3]];
                    u64::from(endian.read_u32(bytes))
                };
                learn(word(0), word(8));
            }),
            Class::Elf64 => bytes.as_chunks::<24>().0.iter().for_each(|entry| {
                let words = entry.as_chunks::<8>().0;
                learn(endian.read_u64(words[0]), endian.read_u64(words[2]));
            }),
        }
    }
    Ok(words)
}

/// Without absolute per-CPU symbols the first offset is 0 and all are unsigned. With them all symbols
/// that are relative have negative offsets, and the first of these is the base itself, stored as -1.
fn from_base(offsets: &[u32], base: u64) -> Vec<u64> {
    let first_negative = offsets.iter().find(|&&offset| offset >> 31 != 0);
    let with_absolute = first_negative == Some(&u32::MAX);
    let addr = |&offset: &u32| match offset as i32 {
        negative @ ..0 if with_absolute => {
            base.wrapping_sub(1).wrapping_sub(i64::from(negative) as u64)
        }
        _ if with_absolute => u64::from(offset),
        _ => base.wrapping_add(offset.into()),
    };
    offsets.iter().map(addr).collect()
}

/// Distances from the place in all 64-bit kernels and in relocatable 32-bit ones, else addresses. Addresses
/// never fall from one symbol to the next; distances do wherever two symbols have the same address.
fn from_place(class: Class, table: u64, offsets: &[u32]) -> Vec<u64> {
    let is_low = class == Class::Elf32 && offsets.is_sorted();
    let addr = |(index, &offset): (usize, &u32)| {
        let place = table.wrapping_add(4 * index as u64);
        match is_low {
            true => offset.into(),
            false => place.wrapping_add(i64::from(offset as i32) as u64),
        }
    };
    offsets.iter().enumerate().map(addr).collect()
}

#[cfg(test)]
mod tests;
