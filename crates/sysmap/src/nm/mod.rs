//! The symbols of an image in the order of `nm -n`.
//!
//! Undefined symbols first, then by address; symbols of one address by name, as unsigned bytes (the
//! kernel's Makefile sets `LC_COLLATE=C`). What is still equal keeps the table's order: glibc's `qsort`
//! is a merge sort.
//!
//! Cost: letters and filter run on all threads, then 12-byte keys are sorted; only symbols that share an
//! address are compared by name.

use std::cmp::Ordering;

use image::{Class, Elf, Error};
use rayon::prelude::*;

use crate::letter::Rules;
use crate::{Entry, Filter, map};

/// Whose nm: `$(NM)` of the build. They differ in letters and addresses, not in the text's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavor {
    /// GNU nm, of the binutils for the image's machine.
    #[default]
    Gnu,
    /// llvm-nm, as with `LLVM=1`.
    Llvm,
}

/// An [`Entry`] with what `nm -S` adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizedEntry<'a> {
    /// The line without the size.
    pub entry: Entry<'a>,
    /// `st_size` in bytes.
    pub size: u64,
}

/// The symbols that GNU `nm -n` prints, in its order.
///
/// An image without a symbol table has none.
///
/// # Errors
/// A symbol table that lies outside the file.
pub fn nm<'d>(elf: &Elf<'d>) -> Result<Vec<Entry<'d>>, Error> {
    nm_as(elf, Flavor::Gnu)
}

/// The symbols that `nm -n` of that flavour prints, in its order.
///
/// # Errors
/// A symbol table that lies outside the file.
pub fn nm_as<'d>(elf: &Elf<'d>, flavor: Flavor) -> Result<Vec<Entry<'d>>, Error> {
    let listed = listed(elf, flavor, |_| true)?;
    Ok(by_address(&listed, flavor))
}

/// The lines of System.map: what GNU `nm -n` prints and `filter` keeps.
///
/// # Errors
/// A symbol table that lies outside the file.
pub fn system_map<'d>(elf: &Elf<'d>, filter: &Filter) -> Result<Vec<Entry<'d>>, Error> {
    system_map_as(elf, filter, Flavor::Gnu)
}

/// The lines of System.map with `nm -n` of that flavour.
///
/// # Errors
/// A symbol table that lies outside the file.
pub fn system_map_as<'d>(
    elf: &Elf<'d>,
    filter: &Filter,
    flavor: Flavor,
) -> Result<Vec<Entry<'d>>, Error> {
    let class = elf.class();
    let listed = listed(elf, flavor, |entry| filter.keeps_in(entry, class))?;
    Ok(by_address(&listed, flavor))
}

/// The symbols that `nm -S` prints, in its order: by name.
///
/// # Errors
/// A symbol table that lies outside the file.
pub fn nm_sizes<'d>(elf: &Elf<'d>, flavor: Flavor) -> Result<Vec<SizedEntry<'d>>, Error> {
    let listed = unsorted_sizes(elf, flavor)?;
    let tie = |a: &SizedEntry<'_>, b: &SizedEntry<'_>| match flavor {
        Flavor::Gnu => a.entry.name.cmp(b.entry.name),
        Flavor::Llvm => {
            (a.entry.name, a.size, a.entry.addr).cmp(&(b.entry.name, b.size, b.entry.addr))
        }
    };
    let names = listed.iter().map(|symbol| name_key(symbol.entry.name));
    let mut keys: Vec<_> = names.zip(0u32..).collect();
    sort_keys(&mut keys, &listed, tie);
    Ok(keys.iter().map(|&(_, index)| listed[index as usize]).collect())
}

/// The same in the order of the symbol table.
///
/// # Errors
/// A symbol table that lies outside the file.
pub fn unsorted_sizes<'d>(elf: &Elf<'d>, flavor: Flavor) -> Result<Vec<SizedEntry<'d>>, Error> {
    listed(elf, flavor, |_| true)
}

/// The first eight bytes of a name as a number that sorts as they do; no name has a NUL.
fn name_key(name: &[u8]) -> u64 {
    let mut key = [0; 8];
    let len = name.len().min(8);
    key[..len].copy_from_slice(&name[..len]);
    u64::from_be_bytes(key)
}

/// What nm lists and `keep` keeps, in the table's order.
fn listed<'d>(
    elf: &Elf<'d>,
    flavor: Flavor,
    keep: impl Fn(&Entry<'d>) -> bool + Sync,
) -> Result<Vec<SizedEntry<'d>>, Error> {
    let rules = Rules::new(elf, flavor);
    let symbols = elf.symbols()?;
    let listed = symbols.par_iter().with_min_len(1 << 12).filter_map(|symbol| {
        if !rules.lists(symbol) {
            return None;
        }
        let (addr, kind) = (rules.address(symbol), rules.letter(symbol));
        let entry = Entry { addr, kind, name: symbol.name };
        keep(&entry).then_some(SizedEntry { entry, size: symbol.size })
    });
    Ok(listed.collect())
}

fn by_address<'d>(listed: &[SizedEntry<'d>], flavor: Flavor) -> Vec<Entry<'d>> {
    let (mut undefined, mut defined) = (Vec::new(), Vec::with_capacity(listed.len()));
    for (index, symbol) in (0u32..).zip(listed) {
        let keys = if symbol.entry.is_undefined() { &mut undefined } else { &mut defined };
        keys.push((symbol.entry.addr, index));
    }
    let tie = |a: &SizedEntry<'_>, b: &SizedEntry<'_>| match flavor {
        Flavor::Gnu => a.entry.name.cmp(b.entry.name),
        Flavor::Llvm => (a.entry.name, a.size).cmp(&(b.entry.name, b.size)),
    };
    let mut entries = Vec::with_capacity(listed.len());
    for mut keys in [undefined, defined] {
        sort_keys(&mut keys, listed, tie);
        entries.extend(keys.iter().map(|&(_, index)| listed[index as usize].entry));
    }
    entries
}

/// Sorts by key (an address, the start of a name), then by `tie`, then by index.
fn sort_keys<'d>(
    keys: &mut [(u64, u32)],
    listed: &[SizedEntry<'d>],
    tie: impl Fn(&SizedEntry<'d>, &SizedEntry<'d>) -> Ordering + Sync,
) {
    keys.par_sort_unstable();
    let runs = keys.par_chunk_by_mut(|a, b| a.0 == b.0);
    runs.filter(|run| run.len() > 1).for_each(|run| {
        run.sort_by(|a, b| tie(&listed[a.1 as usize], &listed[b.1 as usize]));
    });
}

/// The text of `nm -S`: as [`write_map`](crate::write_map), with the size behind the address in as many
/// digits. GNU nm leaves a size of 0 out; llvm-nm prints it, and blanks for that of an undefined symbol.
pub fn write_sizes(symbols: &[SizedEntry<'_>], class: Class, flavor: Flavor) -> Vec<u8> {
    let digits = 2 * class.address_size() as usize;
    let line = |symbol: &SizedEntry<'_>| 2 * digits + 5 + symbol.entry.name.len();
    let mut text = Vec::with_capacity(symbols.iter().map(line).sum());
    for SizedEntry { entry, size } in symbols {
        map::write_address(&mut text, entry, digits);
        match (flavor, entry.is_undefined()) {
            (Flavor::Gnu, true) => {}
            (Flavor::Gnu, false) if *size == 0 => {}
            (Flavor::Llvm, true) => text.resize(text.len() + 1 + digits, b' '),
            (_, false) => {
                text.push(b' ');
                map::write_number(&mut text, *size, digits);
            }
        }
        map::write_name(&mut text, entry);
    }
    text
}

#[cfg(test)]
mod tests;
