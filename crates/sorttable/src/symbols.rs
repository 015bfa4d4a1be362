//! The few symbols that sorting needs, read from the raw table.
//!
//! Only names that are compared are looked at, so that the 186,000 symbols of a kernel cost about a
//! millisecond. [`image::Elf::symbols`] decodes them all, and it stays within sections; the kernel's
//! tool looks names up from the start of `.strtab` to wherever they are.

use std::ops::Range;

use image::{Class, Elf, Endian, Endianness, Error, Section, consts};

use crate::FlagSearch;
use crate::layout::range;

const FLAG: &[u8] = b"main_extable_sort_needed\0";
const START_MCOUNT: &[u8] = b"__start_mcount_loc\0";
const STOP_MCOUNT: &[u8] = b"__stop_mcount_loc\0";

/// The raw symbol table.
#[derive(Debug)]
pub(crate) struct Table<'d> {
    class: Class,
    endian: Endianness,
    /// From the start of the table to the end of the file.
    data: &'d [u8],
    /// `sh_size`, in bytes.
    size: u64,
    /// From the start of the names to the end of the file.
    names: &'d [u8],
}

/// A symbol that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub index: usize,
    pub value: u64,
    pub shndx: u16,
}

impl<'d> Table<'d> {
    pub fn new(elf: &Elf<'d>, symtab: &Section<'_>, strtab: &Section<'_>) -> Result<Self, Error> {
        let (class, endian) = (elf.class(), elf.endian());
        let entry = entry_size(class) as u64;
        if symtab.entsize != entry {
            let cause = format!("entries of {} bytes, not {entry}", symtab.entsize);
            return Err(Error::section(symtab.name, cause));
        }
        elf.bytes(symtab)?;
        let tail = |section: &Section<'_>| {
            let len = (elf.data().len() as u64).saturating_sub(section.offset);
            range(elf, section, section.offset, len)
        };
        Ok(Table { class, endian, data: tail(symtab)?, size: symtab.size, names: tail(strtab)? })
    }

    /// `__start_mcount_loc .. __stop_mcount_loc`; a bound that is not there is 0.
    pub fn mcount_bounds(&self) -> Option<Range<u64>> {
        let mut bounds = 0..0;
        let mut found = 0;
        let count = self.size.div_ceil(entry_size(self.class) as u64);
        for entry in self.entries(count) {
            let name = self.name(entry);
            if name.starts_with(START_MCOUNT) {
                bounds.start = self.value(entry);
            } else if name.starts_with(STOP_MCOUNT) {
                bounds.end = self.value(entry);
            } else {
                continue;
            }
            found += 1;
            if found == 2 {
                break;
            }
        }
        Some(bounds)
    }

    /// The first object symbol `main_extable_sort_needed`.
    pub fn find_flag(&self, search: FlagSearch) -> Option<Found> {
        let entry_size = entry_size(self.class) as u64;
        let count = match search {
            FlagSearch::Endless => u64::MAX,
            FlagSearch::AllButLast => self.size.saturating_sub(1) / entry_size,
            FlagSearch::All => self.size / entry_size,
        };
        let flag = self.entries(count).enumerate().find(|(_, entry)| {
            let info = entry[if self.class == Class::Elf64 { 4 } else { 12 }];
            info & 0xf == consts::STT_OBJECT.0 && self.name(entry).starts_with(FLAG)
        });
        flag.map(|(index, entry)| Found {
            index,
            value: self.value(entry),
            shndx: self.half(entry, if self.class == Class::Elf64 { 6 } else { 14 }),
        })
    }

    /// The section in which a symbol is defined.
    pub fn section_of<'e>(
        &self,
        found: &Found,
        elf: &'e Elf<'_>,
        extended: Option<&Section<'_>>,
    ) -> Result<&'e Section<'e>, Error> {
        let at = (found.index * entry_size(self.class)) as u64;
        let bad = |cause: String| Error::section_at(b".symtab", at, cause);
        let index = match (found.shndx, extended) {
            (index, _) if index < consts::SHN_LORESERVE => u32::from(index),
            (index, Some(section)) if index == consts::SHN_XINDEX.0 => {
                let at = (found.index as u64 * 4).saturating_add(section.offset);
                self.word(range(elf, section, at, 4)?, 0)
            }
            (index, _) => return Err(bad(format!("defined in the reserved section {index:#x}"))),
        };
        let section = elf.sections().get(index as usize).filter(|_| index != 0);
        section.ok_or_else(|| bad(format!("defined in section {index}, which does not exist")))
    }

    /// The first `count` entries, as far as the file goes.
    fn entries(&self, count: u64) -> impl Iterator<Item = &'d [u8]> {
        self.data
            .chunks_exact(entry_size(self.class))
            .take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// From the name to the end of the file.
    fn name(&self, entry: &[u8]) -> &'d [u8] {
        self.names.get(self.word(entry, 0) as usize..).unwrap_or_default()
    }

    fn value(&self, entry: &[u8]) -> u64 {
        match self.class {
            Class::Elf32 => self.word(entry, 4).into(),
            Class::Elf64 => {
                let bytes = entry.get(8..16).and_then(|bytes| bytes.try_into().ok());
                self.endian.read_u64(bytes.unwrap_or_default())
            }
        }
    }

    fn word(&self, entry: &[u8], at: usize) -> u32 {
        let bytes = entry.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        self.endian.read_u32(bytes.unwrap_or_default())
    }

    fn half(&self, entry: &[u8], at: usize) -> u16 {
        let bytes = entry.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        self.endian.read_u16(bytes.unwrap_or_default())
    }
}

/// Size of a symbol in bytes.
fn entry_size(class: Class) -> usize {
    match class {
        Class::Elf32 => 16,
        Class::Elf64 => 24,
    }
}
