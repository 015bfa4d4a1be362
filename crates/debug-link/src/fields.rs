//! Numbers of the ELF headers, read and written where they stand.

use image::consts::STT_SECTION;
use image::{Class, Endianness, Header};

use crate::error::Error;

/// Where the fields of headers are, for a class and byte order. Offsets and sizes are bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    /// Width of an address.
    wide: usize,
    little: bool,
}

/// A field of the file header.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FileField {
    ProgramHeaders,
    SectionHeaders,
    SectionCount,
    NamesSection,
}

/// A field of a section header.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SectionField {
    Name,
    Type,
    Flags,
    Offset,
    Size,
    Link,
    Info,
    Align,
    EntrySize,
}

/// A field of a program header.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProgramField {
    Type,
    Offset,
    Address,
    FileSize,
    Align,
}

impl Fields {
    pub(crate) fn of(header: Header) -> Self {
        let wide = if header.class == Class::Elf64 { 8 } else { 4 };
        Fields { wide, little: header.endian == Endianness::Little }
    }

    /// Size of the file header.
    pub(crate) fn file_header(self) -> usize {
        if self.wide == 8 { 64 } else { 52 }
    }

    /// Size of a program header.
    pub(crate) fn program_header(self) -> usize {
        if self.wide == 8 { 56 } else { 32 }
    }

    /// Size of a section header.
    pub(crate) fn section_header(self) -> usize {
        if self.wide == 8 { 64 } else { 40 }
    }

    /// Size of a symbol.
    pub(crate) fn symbol(self) -> usize {
        if self.wide == 8 { 24 } else { 16 }
    }

    /// Size of a relocation with an addend.
    pub(crate) fn relocation(self) -> usize {
        if self.wide == 8 { 24 } else { 12 }
    }

    /// Whether the fields are those of a 64-bit file, and in little-endian order.
    pub(crate) fn form(self) -> (bool, bool) {
        (self.wide == 8, self.little)
    }

    /// Alignment of section headers and relocations.
    pub(crate) fn alignment(self) -> u64 {
        self.wide as u64
    }

    /// Sets a field of the file header.
    ///
    /// # Errors
    /// A value that does not fit.
    pub(crate) fn set_file(
        self,
        header: &mut [u8],
        field: FileField,
        value: u64,
    ) -> Result<(), Error> {
        let (at, size) = self.file_field(field);
        self.put(header, at, size, value)
    }

    /// A field of the file header; `None` if the header is too short.
    pub(crate) fn file(self, header: &[u8], field: FileField) -> Option<u64> {
        let (at, size) = self.file_field(field);
        self.number(header, at, size)
    }

    /// Offset and size of a field of the file header.
    fn file_field(self, field: FileField) -> (usize, usize) {
        match (field, self.wide) {
            (FileField::ProgramHeaders, 8) => (32, 8),
            (FileField::ProgramHeaders, _) => (28, 4),
            (FileField::SectionHeaders, 8) => (40, 8),
            (FileField::SectionHeaders, _) => (32, 4),
            (FileField::SectionCount, 8) => (60, 2),
            (FileField::SectionCount, _) => (48, 2),
            (FileField::NamesSection, 8) => (62, 2),
            (FileField::NamesSection, _) => (50, 2),
        }
    }

    /// Sets a field of a section header.
    ///
    /// # Errors
    /// A value that does not fit.
    pub(crate) fn set_section(
        self,
        header: &mut [u8],
        field: SectionField,
        value: u64,
    ) -> Result<(), Error> {
        let (at, size) = self.section_field(field);
        self.put(header, at, size, value)
    }

    /// A field of a section header; `None` if the header is too short.
    pub(crate) fn section(self, header: &[u8], field: SectionField) -> Option<u64> {
        let (at, size) = self.section_field(field);
        self.number(header, at, size)
    }

    /// Offset and size of a field of a section header.
    fn section_field(self, field: SectionField) -> (usize, usize) {
        let wide = self.wide;
        match field {
            SectionField::Name => (0, 4),
            SectionField::Type => (4, 4),
            SectionField::Flags => (8, wide),
            SectionField::Offset => (8 + 2 * wide, wide),
            SectionField::Size => (8 + 3 * wide, wide),
            SectionField::Link => (8 + 4 * wide, 4),
            SectionField::Info => (12 + 4 * wide, 4),
            SectionField::Align => (16 + 4 * wide, wide),
            SectionField::EntrySize => (16 + 5 * wide, wide),
        }
    }

    /// Sets a field of a program header.
    ///
    /// # Errors
    /// A value that does not fit.
    pub(crate) fn set_program(
        self,
        header: &mut [u8],
        field: ProgramField,
        value: u64,
    ) -> Result<(), Error> {
        let (at, size) = self.program_field(field);
        self.put(header, at, size, value)
    }

    /// A field of a program header; `None` if the header is too short.
    pub(crate) fn program(self, header: &[u8], field: ProgramField) -> Option<u64> {
        let (at, size) = self.program_field(field);
        self.number(header, at, size)
    }

    /// Offset and size of a field of a program header.
    fn program_field(self, field: ProgramField) -> (usize, usize) {
        let wide = self.wide;
        // In 64-bit files the flags stand before the offset.
        let first = if wide == 8 { 8 } else { 4 };
        match field {
            ProgramField::Type => (0, 4),
            ProgramField::Offset => (first, wide),
            ProgramField::Address => (first + wide, wide),
            ProgramField::FileSize => (first + 3 * wide, wide),
            ProgramField::Align => (if wide == 8 { 48 } else { 28 }, wide),
        }
    }

    /// The type of a section (`sh_type`), from its header.
    pub(crate) fn section_type(self, header: &[u8]) -> Option<u32> {
        self.section(header, SectionField::Type).map(|kind| kind as u32)
    }

    /// The section of a symbol (`st_shndx`).
    pub(crate) fn symbol_section(self, symbol: &[u8]) -> Option<u16> {
        let at = if self.wide == 8 { 6 } else { 14 };
        let bytes = symbol.get(at..)?.first_chunk()?;
        Some(if self.little { u16::from_le_bytes(*bytes) } else { u16::from_be_bytes(*bytes) })
    }

    /// Whether a symbol is that of a section (`STT_SECTION`).
    pub(crate) fn is_section_symbol(self, symbol: &[u8]) -> bool {
        let info = if self.wide == 8 { 4 } else { 12 };
        symbol.get(info).is_some_and(|info| info & 0xf == STT_SECTION.0)
    }

    /// The symbol of a section at an address.
    ///
    /// # Errors
    /// An index that does not fit.
    pub(crate) fn new_section_symbol(self, section: u64, addr: u64) -> Result<Vec<u8>, Error> {
        let mut symbol = vec![0; self.symbol()];
        symbol[if self.wide == 8 { 4 } else { 12 }] = STT_SECTION.0;
        self.put(&mut symbol, if self.wide == 8 { 8 } else { 4 }, self.wide, addr)?;
        self.set_symbol_section(&mut symbol, section)?;
        Ok(symbol)
    }

    /// Sets the section of a symbol.
    ///
    /// # Errors
    /// An index that does not fit.
    pub(crate) fn set_symbol_section(self, symbol: &mut [u8], index: u64) -> Result<(), Error> {
        let at = if self.wide == 8 { 6 } else { 14 };
        self.put(symbol, at, 2, index)
    }

    fn number(self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let field = bytes.get(at..at + size)?;
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(match self.little {
            true => field.iter().rev().fold(0, join),
            false => field.iter().fold(0, join),
        })
    }

    fn put(self, bytes: &mut [u8], at: usize, size: usize, value: u64) -> Result<(), Error> {
        let too_large =
            || Error::unsupported(format!("{value:#x} in a header field of {size} bytes"));
        if size < 8 && value >> (size * 8) != 0 {
            return Err(too_large());
        }
        let field = bytes.get_mut(at..at + size).ok_or_else(too_large)?;
        if self.little {
            field.copy_from_slice(&value.to_le_bytes()[..size]);
        } else {
            field.copy_from_slice(&value.to_be_bytes()[8 - size..]);
        }
        Ok(())
    }
}
