//! The symbol table of an image (`.symtab`).

use std::ops::Range;

use object::elf::{
    FileHeader32, FileHeader64, SHN_ABS, SHN_COMMON, SHN_UNDEF, SHT_SYMTAB, Sym32, Sym64,
};
use object::read::elf::{FileHeader, Sym};
use object::{Endianness, SectionIndex, SymbolIndex};

use crate::{Class, Elf, Error};

/// Where a symbol is defined (`st_shndx`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `SHN_UNDEF`: elsewhere.
    Undefined,
    /// `SHN_ABS`: the value is no address.
    Absolute,
    /// `SHN_COMMON`: not yet allocated.
    Common,
    /// In the section of this index, `SHN_XINDEX` resolved.
    Section(u32),
    /// Any other reserved index, the machine's own (`SHN_MIPS_ACOMMON`).
    Reserved(u16),
}

/// A symbol as the table holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'data> {
    /// Name, without its NUL; a section symbol's name is empty.
    pub name: &'data [u8],
    /// `st_value`: an address in a linked image, an offset into its section in an object.
    pub value: u64,
    /// `st_size`, in bytes.
    pub size: u64,
    /// Where it is defined.
    pub place: Place,
    /// `STB_*` of `st_info`.
    pub bind: u8,
    /// `STT_*` of `st_info`.
    pub kind: u8,
    /// `st_other`: the visibility in its low two bits.
    pub other: u8,
}

impl<'data> Elf<'data> {
    /// All symbols of `.symtab` in the table's order, the null symbol left out.
    ///
    /// An image without a symbol table has no symbols.
    ///
    /// # Errors
    /// A table, a name or an extended index (`SHN_XINDEX`) that lies outside the file.
    pub fn symbols(&self) -> Result<Vec<Symbol<'data>>, Error> {
        self.symbols_in(0..usize::MAX)
    }

    /// The symbols of a part of `.symtab`, so that several threads can read it: of the entries `part`, as far as there
    /// are so many. The null symbol is left out.
    ///
    /// # Errors
    /// As those of [`Elf::symbols`], for what is in the part.
    pub fn symbols_in(&self, part: Range<usize>) -> Result<Vec<Symbol<'data>>, Error> {
        match self.class() {
            Class::Elf32 => decode::<FileHeader32<Endianness>>(self, part),
            Class::Elf64 => decode::<FileHeader64<Endianness>>(self, part),
        }
    }

    /// How many entries `.symtab` has by its size, the null symbol among them.
    pub fn symbol_entries(&self) -> usize {
        let entry = match self.class() {
            Class::Elf32 => size_of::<Sym32<Endianness>>(),
            Class::Elf64 => size_of::<Sym64<Endianness>>(),
        };
        let table = self.sections().iter().find(|s| s.sh_type == SHT_SYMTAB.0);
        table.map_or(0, |table| usize::try_from(table.size).unwrap_or(usize::MAX) / entry)
    }
}

fn decode<'data, F>(elf: &Elf<'data>, part: Range<usize>) -> Result<Vec<Symbol<'data>>, Error>
where
    F: FileHeader<Endian = Endianness>,
{
    let (data, endian) = (elf.data(), elf.endian());
    let Some(section) = elf.sections().iter().find(|s| s.sh_type == SHT_SYMTAB.0) else {
        return Ok(Vec::new());
    };
    let bad = |e: object::read::Error| Error::section(section.name, e.to_string());
    let file = F::parse(data).map_err(bad)?;
    let table = file.sections(endian, data).map_err(bad)?;
    let symtab = table.symbols(endian, data, SHT_SYMTAB).map_err(bad)?;
    let strings = symtab.strings();
    let (start, end) = (part.start.max(1), part.end.min(symtab.len()));
    let entries = symtab.symbols().get(start..end).unwrap_or_default();
    let mut symbols = Vec::with_capacity(entries.len());
    for (index, raw) in (start..).map(SymbolIndex).zip(entries) {
        let at = (index.0 * size_of::<F::Sym>()) as u64;
        let bad_at = |e: object::read::Error| Error::section_at(section.name, at, e.to_string());
        let shndx = raw.st_shndx(endian);
        let place = match symtab.symbol_section(endian, raw, index).map_err(bad_at)? {
            Some(SectionIndex(section)) => Place::Section(section as u32),
            None if shndx == SHN_UNDEF => Place::Undefined,
            None if shndx == SHN_ABS => Place::Absolute,
            None if shndx == SHN_COMMON => Place::Common,
            None => Place::Reserved(shndx.0),
        };
        symbols.push(Symbol {
            name: raw.name(endian, strings).map_err(bad_at)?,
            value: raw.st_value(endian).into(),
            size: raw.st_size(endian).into(),
            place,
            bind: raw.st_bind().0,
            kind: raw.st_type().0,
            other: raw.st_other().0,
        });
    }
    Ok(symbols)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_stays_small() {
        assert!(size_of::<Symbol<'_>>() <= 48);
    }
}
