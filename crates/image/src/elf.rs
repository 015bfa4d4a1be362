//! The headers of an ELF file, class and byte order resolved.

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, SHT_NOBITS, SectionHeader32, SectionHeader64};
use object::read::elf::{FileHeader, SectionHeader};

use crate::Error;

/// The ELF class: how wide an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `ELFCLASS32`: 4-byte addresses.
    Elf32,
    /// `ELFCLASS64`: 8-byte addresses.
    Elf64,
}

impl Class {
    /// Size of an address in bytes.
    pub fn address_size(self) -> u64 {
        match self {
            Class::Elf32 => 4,
            Class::Elf64 => 8,
        }
    }
}

/// What the file header says of the image; enough to make another object that links with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Width of addresses.
    pub class: Class,
    /// Byte order.
    pub endian: Endianness,
    /// `e_type`, for example `ET_EXEC`.
    pub file_type: u16,
    /// `e_machine`, for example `EM_X86_64`.
    pub machine: u16,
    /// `e_flags`, whose meaning is the machine's (the ABI on ARM, RISC-V and PowerPC).
    pub flags: u32,
    /// `EI_OSABI`.
    pub os_abi: u8,
    /// `EI_ABIVERSION`.
    pub abi_version: u8,
}

/// A section header; numbers are those of the file, widened to 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'data> {
    /// Name, without its NUL.
    pub name: &'data [u8],
    /// `sh_type`, for example `SHT_PROGBITS`.
    pub sh_type: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// Address of the first byte in the running kernel.
    pub addr: u64,
    /// Offset of the first byte in the file.
    pub offset: u64,
    /// Size in bytes (of memory, for `SHT_NOBITS`).
    pub size: u64,
    /// `sh_link`.
    pub link: u32,
    /// `sh_info`.
    pub info: u32,
    /// `sh_addralign`, in bytes.
    pub align: u64,
    /// Size of an entry in bytes, 0 where entries have no fixed size.
    pub entsize: u64,
}

/// A parsed ELF file: its header and section headers over borrowed bytes.
#[derive(Debug, Clone)]
pub struct Elf<'data> {
    data: &'data [u8],
    header: Header,
    /// `e_shoff`: file offset of the section headers, in bytes.
    section_headers: u64,
    sections: Vec<Section<'data>>,
}

impl<'data> Elf<'data> {
    /// Decodes the file header and the section headers of `data`.
    ///
    /// # Errors
    /// No ELF magic, an unknown class or byte order, headers or names outside the file.
    pub fn parse(data: &'data [u8]) -> Result<Self, Error> {
        if data.is_empty() {
            return Err(Error::file("the file is empty"));
        }
        if !data.starts_with(b"\x7fELF") {
            return Err(Error::at(0, "no ELF magic: this is not an ELF file"));
        }
        match data.get(4) {
            Some(1) => parse_class::<FileHeader32<Endianness>>(data, Class::Elf32),
            Some(2) => parse_class::<FileHeader64<Endianness>>(data, Class::Elf64),
            Some(class) => Err(Error::at(4, format!("unknown ELF class {class}"))),
            None => Err(Error::at(4, "the file ends within its ELF header")),
        }
    }

    /// The whole file.
    pub fn data(&self) -> &'data [u8] {
        self.data
    }

    /// What the file header says.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Width of addresses.
    pub fn class(&self) -> Class {
        self.header.class
    }

    /// Byte order.
    pub fn endian(&self) -> Endianness {
        self.header.endian
    }

    /// All sections by their index, the null section first.
    pub fn sections(&self) -> &[Section<'data>] {
        &self.sections
    }

    /// File offset of the header of the section `index`, in bytes.
    pub fn section_header_offset(&self, index: u32) -> Option<u64> {
        let size = match self.class() {
            Class::Elf32 => size_of::<SectionHeader32<Endianness>>(),
            Class::Elf64 => size_of::<SectionHeader64<Endianness>>(),
        };
        self.sections.get(index as usize)?;
        self.section_headers.checked_add(u64::from(index) * size as u64)
    }

    /// The first section of that name, with its index.
    pub fn section(&self, name: &str) -> Option<(u32, &Section<'data>)> {
        let index = self.sections.iter().position(|section| section.name == name.as_bytes())?;
        Some((index as u32, &self.sections[index]))
    }

    /// The bytes of a section; none for `SHT_NOBITS`.
    ///
    /// # Errors
    /// The section does not lie within the file.
    pub fn bytes(&self, section: &Section<'_>) -> Result<&'data [u8], Error> {
        if section.sh_type == SHT_NOBITS.0 {
            return Ok(&[]);
        }
        let end = section.offset.checked_add(section.size);
        match end.filter(|&end| end <= self.data.len() as u64) {
            Some(end) => Ok(&self.data[section.offset as usize..end as usize]),
            None => Err(Error::section(
                section.name,
                format!(
                    "{:#x} bytes at file offset {:#x} end behind the file's {:#x} bytes",
                    section.size,
                    section.offset,
                    self.data.len()
                ),
            )),
        }
    }

    /// Where the `len` bytes at `addr` stand in the file: the section and the file offset.
    ///
    /// Only allocated sections with contents are looked at; `None` if none holds all the bytes. Whether the file is long
    /// enough is not looked at, see [`Elf::bytes`].
    pub fn locate(&self, addr: u64, len: u64) -> Option<(&Section<'data>, u64)> {
        let alloc = object::elf::SHF_ALLOC.0;
        self.sections.iter().find_map(|section| {
            let into = addr.checked_sub(section.addr)?;
            let loaded = section.flags & alloc != 0 && section.sh_type != SHT_NOBITS.0;
            let inside = into.checked_add(len)? <= section.size;
            let offset = section.offset.checked_add(into)?;
            (loaded && inside).then_some((section, offset))
        })
    }
}

fn parse_class<F>(data: &[u8], class: Class) -> Result<Elf<'_>, Error>
where
    F: FileHeader<Endian = Endianness>,
{
    let file = F::parse(data).map_err(|e| Error::file(format!("bad ELF header: {e}")))?;
    let endian = file.endian().map_err(|e| Error::at(5, e.to_string()))?;
    let shoff = file.e_shoff(endian).into();
    let table = file
        .sections(endian, data)
        .map_err(|e| Error::at(shoff, format!("bad section headers: {e}")))?;
    let mut sections = Vec::with_capacity(table.len());
    for (index, section) in table.iter().enumerate() {
        let name = table
            .section_name(endian, section)
            .map_err(|e| Error::at(shoff, format!("bad name of section {index}: {e}")))?;
        sections.push(Section {
            name,
            sh_type: section.sh_type(endian).0,
            flags: section.sh_flags(endian).0,
            addr: section.sh_addr(endian).into(),
            offset: section.sh_offset(endian).into(),
            size: section.sh_size(endian).into(),
            link: section.sh_link(endian),
            info: section.sh_info(endian),
            align: section.sh_addralign(endian).into(),
            entsize: section.sh_entsize(endian).into(),
        });
    }
    let ident = file.e_ident();
    let header = Header {
        class,
        endian,
        file_type: file.e_type(endian).0,
        machine: file.e_machine(endian).0,
        flags: file.e_flags(endian).0,
        os_abi: ident.os_abi.0,
        abi_version: ident.abi_version,
    };
    Ok(Elf { data, header, section_headers: shoff, sections })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(data: &[u8]) -> String {
        Elf::parse(data).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_elf_is_named_so() {
        assert_eq!(cause(b""), "the file is empty");
        assert_eq!(cause(b"!<arch>\n"), "0x0: no ELF magic: this is not an ELF file");
        assert_eq!(cause(b"\x7fELF\x07"), "0x4: unknown ELF class 7");
        assert_eq!(cause(b"\x7fELF"), "0x4: the file ends within its ELF header");
        assert!(cause(b"\x7fELF\x02\x01\x01").contains("bad ELF header"));
    }

    #[test]
    fn the_offset_of_a_section_header_is_where_its_fields_stand() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = Elf::parse(&whole).unwrap();
        let (index, text) = elf.section(".text").unwrap();
        let at = elf.section_header_offset(index).unwrap() as usize;
        let addr = whole[at + 16..at + 24].try_into().unwrap();
        assert_eq!(u64::from_ne_bytes(addr), text.addr);
        assert_eq!(elf.section_header_offset(elf.sections().len() as u32), None);
    }

    #[test]
    fn every_truncation_of_a_real_object_is_an_error_or_an_image_and_never_a_panic() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for len in (0..whole.len().min(1 << 14)).step_by(61) {
            if let Ok(elf) = Elf::parse(&whole[..len]) {
                let _ = elf.symbols();
            }
        }
    }
}
