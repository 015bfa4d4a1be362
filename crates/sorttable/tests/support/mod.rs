//! Hand-made linked kernels, of any class, byte order and machine, for this crate's tests and for the
//! comparison with the kernel's tool (`tests/tests/sorttable.rs`).

// Each test binary uses a part of this.
#![allow(dead_code)]

use image::{Class, Endian, Endianness, consts};

/// Address and contents of a section.
#[derive(Debug, Clone)]
pub struct Section {
    pub name: &'static str,
    pub sh_type: u32,
    pub addr: u64,
    pub bytes: Vec<u8>,
    pub info: u32,
    pub entsize: u64,
}

/// A symbol of an image.
#[derive(Debug, Clone)]
pub struct Symbol {
    pub name: &'static str,
    pub kind: u8,
    /// Index into [`Image::sections`].
    pub section: usize,
    pub value: u64,
}

/// An image that [`Image::build`] writes as an `ET_EXEC` file.
#[derive(Debug, Clone)]
pub struct Image {
    pub class: Class,
    pub endian: Endianness,
    pub machine: u16,
    pub sections: Vec<Section>,
    pub symbols: Vec<Symbol>,
}

pub const KINDS: [(Class, Endianness); 4] = [
    (Class::Elf32, Endianness::Little),
    (Class::Elf32, Endianness::Big),
    (Class::Elf64, Endianness::Little),
    (Class::Elf64, Endianness::Big),
];

/// Where `.init.data` of [`Image::new`] is, the flag at its start and the ftrace locations 8 behind.
pub const INIT_DATA: u64 = 0x8000;
pub const MCOUNT: u64 = INIT_DATA + 8;

impl Image {
    /// An image with an exception table and the flag that it is unsorted.
    pub fn new(class: Class, endian: Endianness, machine: u16, extable: Vec<u8>) -> Image {
        let mut image = Image { class, endian, machine, sections: Vec::new(), symbols: Vec::new() };
        image.push("__ex_table", consts::SHT_PROGBITS.0, 0x4000, extable);
        let flag = image.u32(1).to_vec();
        image.push(".init.data", consts::SHT_PROGBITS.0, INIT_DATA, flag);
        image.symbol("_end", consts::STT_NOTYPE.0, ".init.data", 0xf000);
        image.symbol("main_extable_sort_needed", consts::STT_OBJECT.0, ".init.data", INIT_DATA);
        image
    }

    pub fn push(&mut self, name: &'static str, sh_type: u32, addr: u64, bytes: Vec<u8>) {
        self.sections.push(Section { name, sh_type, addr, bytes, info: 0, entsize: 0 });
    }

    /// Puts a symbol in front of the last one (`_end`).
    pub fn symbol(&mut self, name: &'static str, kind: u8, section: &str, value: u64) {
        let section = self.sections.iter().position(|s| s.name == section).unwrap();
        let at = self.symbols.len().saturating_sub(1);
        self.symbols.insert(at, Symbol { name, kind, section, value });
    }

    pub fn section(&mut self, name: &str) -> &mut Section {
        self.sections.iter_mut().find(|section| section.name == name).unwrap()
    }

    /// Adds ftrace locations, as words of the class, to `.init.data`.
    pub fn mcount(&mut self, locations: &[u64]) {
        let words: Vec<u8> = locations.iter().flat_map(|&value| self.word(value)).collect();
        let stop = MCOUNT + words.len() as u64;
        let init_data = self.section(".init.data");
        init_data.bytes.resize(8, 0);
        init_data.bytes.extend(words);
        self.symbol("__start_mcount_loc", consts::STT_NOTYPE.0, ".init.data", MCOUNT);
        self.symbol("__stop_mcount_loc", consts::STT_NOTYPE.0, ".init.data", stop);
    }

    /// Adds `.rela.dyn` with records of offset, info and addend.
    pub fn relas(&mut self, records: &[(u64, u64, u64)]) {
        let words = records.iter().flat_map(|&(offset, info, addend)| [offset, info, addend]);
        let bytes = words.flat_map(|value| self.word(value)).collect();
        self.push(".rela.dyn", consts::SHT_RELA.0, 0x20000, bytes);
        let entsize = 3 * self.class.address_size();
        self.section(".rela.dyn").entsize = entsize;
    }

    /// Adds ORC tables from pairs of instruction address (from the table's start) and bit-fields.
    pub fn orc(&mut self, entries: &[(i32, u16)]) {
        let mut ips = Vec::new();
        let mut table = Vec::new();
        for (index, &(ip, bits)) in entries.iter().enumerate() {
            ips.extend(self.u32(ip.wrapping_sub(index as i32 * 4) as u32));
            table.extend(self.endian.write_u32(index as u32));
            table.extend(self.endian.write_u16(bits));
        }
        self.push(".orc_unwind_ip", consts::SHT_PROGBITS.0, 0x6000, ips);
        self.push(".orc_unwind", consts::SHT_PROGBITS.0, 0x7000, table);
    }

    pub fn u32(&self, value: u32) -> [u8; 4] {
        self.endian.write_u32(value)
    }

    /// `value` in the width of the class.
    pub fn word(&self, value: u64) -> Vec<u8> {
        match self.class {
            Class::Elf32 => self.endian.write_u32(value as u32).to_vec(),
            Class::Elf64 => self.endian.write_u64(value).to_vec(),
        }
    }

    /// The file: header, contents, section headers.
    pub fn build(&self) -> Vec<u8> {
        let mut sections = self.sections.clone();
        sections.extend(self.symbol_sections());
        let mut names = vec![0];
        let name_offsets: Vec<u32> = (sections.iter().map(|s| s.name))
            .chain([".shstrtab"])
            .map(|name| add_name(&mut names, name))
            .collect();
        sections.push(plain(".shstrtab", consts::SHT_STRTAB.0, names));

        let (header_size, section_size) = match self.class {
            Class::Elf32 => (52, 40),
            Class::Elf64 => (64, 64),
        };
        let mut body = Vec::new();
        let mut headers = vec![0; section_size];
        let symtab = self.sections.len() as u32 + 1;
        for (section, name) in sections.iter().zip(name_offsets) {
            body.resize(body.len().next_multiple_of(8), 0);
            let offset = (header_size + body.len()) as u64;
            body.extend_from_slice(&section.bytes);
            let link = if section.sh_type == consts::SHT_SYMTAB.0 { symtab + 1 } else { 0 };
            headers.extend(self.u32(name));
            headers.extend(self.u32(section.sh_type));
            let flags = if section.addr > 0 { consts::SHF_ALLOC.0 } else { 0 };
            for value in [flags, section.addr, offset, section.bytes.len() as u64] {
                headers.extend(self.word(value));
            }
            headers.extend(self.u32(link));
            headers.extend(self.u32(section.info));
            headers.extend(self.word(8));
            headers.extend(self.word(section.entsize));
        }
        body.resize(body.len().next_multiple_of(8), 0);
        let mut file = self.file_header(header_size, header_size + body.len(), sections.len() + 1);
        file.extend(body);
        file.extend(headers);
        file
    }

    fn file_header(&self, size: usize, shoff: usize, shnum: usize) -> Vec<u8> {
        let mut file = b"\x7fELF".to_vec();
        file.push(if self.class == Class::Elf64 { 2 } else { 1 });
        file.push(if self.endian == Endianness::Big { 2 } else { 1 });
        file.push(1);
        file.resize(16, 0);
        let half = |value: usize| self.endian.write_u16(value as u16);
        file.extend(half(consts::ET_EXEC.0.into()));
        file.extend(half(self.machine.into()));
        file.extend(self.u32(1));
        for value in [0, 0, shoff as u64] {
            file.extend(self.word(value));
        }
        file.extend(self.u32(0));
        let section_size = if self.class == Class::Elf64 { 64 } else { 40 };
        for value in [size, 0, 0, section_size, shnum, shnum - 1] {
            file.extend(half(value));
        }
        file
    }

    fn symbol_sections(&self) -> [Section; 2] {
        let mut names = vec![0];
        let size = if self.class == Class::Elf64 { 24 } else { 16 };
        let mut table = vec![0; size];
        for symbol in &self.symbols {
            let name = self.u32(add_name(&mut names, symbol.name));
            let shndx = self.endian.write_u16(symbol.section as u16 + 1);
            let info = [symbol.kind | consts::STB_GLOBAL.0 << 4, 0];
            let (value, extent) = (self.word(symbol.value), self.word(4));
            match self.class {
                Class::Elf32 => table.extend([&name[..], &value, &extent, &info, &shndx].concat()),
                Class::Elf64 => table.extend([&name[..], &info, &shndx, &value, &extent].concat()),
            }
        }
        let mut symtab = plain(".symtab", consts::SHT_SYMTAB.0, table);
        symtab.entsize = size as u64;
        [symtab, plain(".strtab", consts::SHT_STRTAB.0, names)]
    }
}

fn plain(name: &'static str, sh_type: u32, bytes: Vec<u8>) -> Section {
    Section { name, sh_type, addr: 0, bytes, info: 0, entsize: 0 }
}

/// Appends `name` and gives its offset.
fn add_name(names: &mut Vec<u8>, name: &str) -> u32 {
    let offset = names.len() as u32;
    names.extend_from_slice(name.as_bytes());
    names.push(0);
    offset
}

/// Numbers that look random and are the same on every run (xorshift).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
