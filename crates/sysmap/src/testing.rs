//! Hand-made images for the unit tests: any class, byte order, machine, sections and symbols.

use image::consts::*;
use image::{Class, Endian, Endianness};

/// A section without bytes in the file.
pub(crate) struct TestSection {
    pub(crate) name: &'static str,
    pub(crate) sh_type: SectionType,
    pub(crate) flags: u64,
    pub(crate) addr: u64,
}

/// A symbol as the table holds it.
pub(crate) struct TestSymbol {
    pub(crate) name: &'static str,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) bind: SymbolBind,
    pub(crate) kind: SymbolType,
    pub(crate) shndx: u16,
}

pub(crate) struct TestImage {
    pub(crate) class: Class,
    pub(crate) endian: Endianness,
    pub(crate) machine: Machine,
    pub(crate) file_type: FileType,
    pub(crate) sections: Vec<TestSection>,
    pub(crate) symbols: Vec<TestSymbol>,
}

impl TestImage {
    /// The file. Section 1 is the first of `sections`; the tables follow them.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (mut strings, mut symtab) = (vec![0], Vec::new());
        self.symbol(&mut symtab, 0, &TestSymbol::NULL);
        for symbol in &self.symbols {
            let name = intern(&mut strings, symbol.name);
            self.symbol(&mut symtab, name, symbol);
        }
        let named: Vec<u32> =
            self.sections.iter().map(|section| intern(&mut strings, section.name)).collect();
        let [symtab_name, strtab_name] =
            [".symtab", ".strtab"].map(|name| intern(&mut strings, name));

        let wide = self.class == Class::Elf64;
        let (header, shent, syment) = if wide { (64, 64, 24) } else { (52, 40, 16) };
        let strings_at = header + symtab.len() as u64;
        let strtab = self.sections.len() as u64 + 2;
        let mut out = vec![0x7f, b'E', b'L', b'F', 1 + u8::from(wide)];
        out.push(if self.endian.is_big_endian() { 2 } else { 1 });
        out.resize(16, 0);
        out[6] = 1;
        self.put(&mut out, 2, u64::from(self.file_type.0));
        self.put(&mut out, 2, u64::from(self.machine.0));
        self.put(&mut out, 4, 1);
        self.word(&mut out, 0);
        self.word(&mut out, 0);
        self.word(&mut out, strings_at + strings.len() as u64);
        self.put(&mut out, 4, 0);
        for half in [header, 0, 0, shent, strtab + 1, strtab] {
            self.put(&mut out, 2, half);
        }
        out.extend_from_slice(&symtab);
        out.extend_from_slice(&strings);
        out.resize(out.len() + shent as usize, 0);
        for (section, name) in self.sections.iter().zip(named) {
            let fields = [u64::from(section.sh_type.0), section.flags, section.addr];
            self.section(&mut out, name, fields, [0, 0], [0, 0, 0]);
        }
        let fields = [u64::from(SHT_SYMTAB.0), 0, 0];
        self.section(
            &mut out,
            symtab_name,
            fields,
            [header, symtab.len() as u64],
            [strtab, 1, syment],
        );
        let fields = [u64::from(SHT_STRTAB.0), 0, 0];
        self.section(&mut out, strtab_name, fields, [strings_at, strings.len() as u64], [0, 0, 0]);
        out
    }

    fn put(&self, out: &mut Vec<u8>, width: usize, value: u64) {
        match self.endian.is_big_endian() {
            true => out.extend_from_slice(&value.to_be_bytes()[8 - width..]),
            false => out.extend_from_slice(&value.to_le_bytes()[..width]),
        }
    }

    fn word(&self, out: &mut Vec<u8>, value: u64) {
        self.put(out, self.class.address_size() as usize, value);
    }

    fn symbol(&self, out: &mut Vec<u8>, name: u32, symbol: &TestSymbol) {
        let info = u64::from(symbol.bind.0 << 4 | symbol.kind.0);
        self.put(out, 4, u64::from(name));
        if self.class == Class::Elf32 {
            self.put(out, 4, symbol.value);
            self.put(out, 4, symbol.size);
        }
        self.put(out, 1, info);
        self.put(out, 1, 0);
        self.put(out, 2, u64::from(symbol.shndx));
        if self.class == Class::Elf64 {
            self.put(out, 8, symbol.value);
            self.put(out, 8, symbol.size);
        }
    }

    /// `fields` are type, flags and address; `place` offset and size; `last` link, info and entry size.
    fn section(
        &self,
        out: &mut Vec<u8>,
        name: u32,
        fields: [u64; 3],
        place: [u64; 2],
        last: [u64; 3],
    ) {
        self.put(out, 4, u64::from(name));
        self.put(out, 4, fields[0]);
        for value in [fields[1], fields[2], place[0], place[1]] {
            self.word(out, value);
        }
        self.put(out, 4, last[0]);
        self.put(out, 4, last[1]);
        self.word(out, 1);
        self.word(out, last[2]);
    }
}

impl TestSymbol {
    const NULL: TestSymbol =
        TestSymbol { name: "", value: 0, size: 0, bind: STB_LOCAL, kind: STT_NOTYPE, shndx: 0 };

    /// A global symbol of type `STT_NOTYPE`.
    pub(crate) fn global(name: &'static str, shndx: u16, value: u64) -> Self {
        TestSymbol { name, value, shndx, bind: STB_GLOBAL, ..TestSymbol::NULL }
    }
}

fn intern(strings: &mut Vec<u8>, name: &str) -> u32 {
    let at = strings.len() as u32;
    strings.extend_from_slice(name.as_bytes());
    strings.push(0);
    at
}
