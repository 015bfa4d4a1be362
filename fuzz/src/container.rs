//! An ELF file written down so that a fuzzer can change it: any bytes are one.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | bit 0: 32-bit, bit 1: big-endian, bits 4 to 7: switches of the target |
//! | 1 | the machine, an index into [`MACHINES`] |
//!
//! then for each section, to the end:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | its name, an index into [`NAMES`]; bit 7: its contents are compressed (`SHF_COMPRESSED`) |
//! | 2 | length in bytes, little-endian; cut where the bytes end |
//! | 4 | address, little-endian |
//! | | contents |

/// Names of sections. Section 1 is always an empty `.text` of 1 MiB at address 0.
pub const NAMES: [&str; 16] = [
    ".debug_info",
    ".debug_abbrev",
    ".debug_str",
    ".debug_line_str",
    ".debug_str_offsets",
    ".debug_addr",
    ".debug_loclists",
    ".debug_loc",
    ".symtab",
    ".strtab",
    ".BTF_ids",
    ".BTF",
    ".BTF.base",
    ".data..percpu",
    ".rela.debug_info",
    // No section: the blob that the types are split on.
    "base",
];

/// x86-64, i386, arm64, arm, s390, powerpc64, riscv, mips.
const MACHINES: [u16; 8] = [62, 3, 183, 40, 22, 21, 243, 8];

const SYMTAB: usize = 8;
const STRTAB: usize = 9;
const RELA: usize = 14;
const BASE: usize = 15;

/// A section, and what is said of it.
pub struct Section<'d> {
    /// Index into [`NAMES`].
    pub name: usize,
    /// `SHF_COMPRESSED`.
    pub compressed: bool,
    /// `sh_addr`.
    pub address: u32,
    /// Its bytes.
    pub contents: &'d [u8],
}

/// See the module.
pub struct Container<'d> {
    flags: u8,
    machine: u8,
    sections: Vec<Section<'d>>,
}

impl<'d> Container<'d> {
    /// With these sections.
    pub fn new(narrow: bool, big: bool, machine: u16, sections: Vec<Section<'d>>) -> Self {
        let machine = MACHINES.iter().position(|&known| known == machine).unwrap_or(0);
        Container { flags: u8::from(narrow) | u8::from(big) << 1, machine: machine as u8, sections }
    }

    /// Takes bytes as one.
    pub fn read(data: &'d [u8]) -> Self {
        let (head, mut rest) = data.split_at_checked(2).unwrap_or((&[0, 0], &[]));
        let mut sections = Vec::new();
        while let Some((&[name, l0, l1, a0, a1, a2, a3], after)) = rest.split_first_chunk::<7>() {
            let length = usize::from(u16::from_le_bytes([l0, l1])).min(after.len());
            let (contents, after) = after.split_at(length);
            sections.push(Section {
                name: usize::from(name & 0x7f) % NAMES.len(),
                compressed: name & 0x80 != 0,
                address: u32::from_le_bytes([a0, a1, a2, a3]),
                contents,
            });
            rest = after;
        }
        Container { flags: head[0], machine: head[1], sections }
    }

    /// The bytes that [`Container::read`] takes.
    pub fn write(&self) -> Vec<u8> {
        let mut out = vec![self.flags, self.machine];
        for section in &self.sections {
            let length = section.contents.len().min(0xffff);
            out.push(section.name as u8 | u8::from(section.compressed) << 7);
            out.extend((length as u16).to_le_bytes());
            out.extend(section.address.to_le_bytes());
            out.extend(&section.contents[..length]);
        }
        out
    }

    /// A switch of the target, 0 to 3.
    pub fn switch(&self, index: u32) -> bool {
        self.flags >> (4 + index) & 1 != 0
    }

    /// The blob that types are split on, if there is one.
    pub fn base(&self) -> Option<&'d [u8]> {
        self.sections.iter().find(|section| section.name == BASE).map(|section| section.contents)
    }

    /// The ELF file: header, contents, section headers.
    pub fn elf(&self) -> Vec<u8> {
        let narrow = self.flags & 1 != 0;
        let form = Form { narrow, big: self.flags & 2 != 0 };
        let sections: Vec<&Section<'_>> =
            self.sections.iter().filter(|section| section.name != BASE).collect();
        let mut names = b"\0.text\0.shstrtab\0".to_vec();
        let mut out = vec![0; if narrow { 52 } else { 64 }];
        let index =
            |name| sections.iter().position(|s| s.name == name).map_or(0, |at| at as u64 + 2);
        let mut headers = vec![Header::default()];
        // SHT_NOBITS, SHF_ALLOC | SHF_EXECINSTR
        let text = Header { name: 1, kind: 8, flags: 6, size: 1 << 20, ..Header::default() };
        headers.push(text);
        for section in &sections {
            let mut header = Header {
                name: names.len() as u64,
                kind: 1,
                flags: if section.compressed { 0x800 } else { 0 },
                address: u64::from(section.address),
                offset: out.len() as u64,
                size: section.contents.len() as u64,
                ..Header::default()
            };
            match section.name {
                // SHT_SYMTAB, SHT_STRTAB, SHT_RELA
                SYMTAB => {
                    header.kind = 2;
                    header.link = index(STRTAB);
                    header.entry = if narrow { 16 } else { 24 };
                }
                STRTAB => header.kind = 3,
                RELA => {
                    header.kind = 4;
                    header.link = index(SYMTAB);
                    header.info = index(0);
                    header.entry = if narrow { 12 } else { 24 };
                }
                _ => {}
            }
            headers.push(header);
            names.extend_from_slice(NAMES[section.name].as_bytes());
            names.push(0);
            out.extend_from_slice(section.contents);
        }
        let (offset, size) = (out.len() as u64, names.len() as u64);
        headers.push(Header { name: 7, kind: 3, offset, size, ..Header::default() });
        out.extend(names);
        let table = out.len() as u64;
        headers.iter().for_each(|header| header.write(form, &mut out));
        self.file_header(form, table, headers.len() as u64, &mut out);
        out
    }

    fn file_header(&self, form: Form, table: u64, count: u64, out: &mut [u8]) {
        let mut head = b"\x7fELF".to_vec();
        head.extend([2 - u8::from(form.narrow), 1 + u8::from(form.big), 1]);
        head.resize(16, 0);
        let machine = MACHINES[usize::from(self.machine) % MACHINES.len()];
        // ET_EXEC, or ET_REL where there are relocations.
        let relocatable = self.sections.iter().any(|section| section.name == RELA);
        form.put(&mut head, 2, if relocatable { 1 } else { 2 });
        form.put(&mut head, 2, u64::from(machine));
        form.put(&mut head, 4, 1);
        for address in [0, 0, table] {
            form.address(&mut head, address);
        }
        form.put(&mut head, 4, 0);
        let (own, section) = if form.narrow { (52, 40) } else { (64, 64) };
        for half in [own, 0, 0, section, count, count - 1] {
            form.put(&mut head, 2, half);
        }
        out[..head.len()].copy_from_slice(&head);
    }
}

/// How numbers are written.
#[derive(Clone, Copy)]
struct Form {
    narrow: bool,
    big: bool,
}

impl Form {
    fn put(self, out: &mut Vec<u8>, width: usize, value: u64) {
        match self.big {
            true => out.extend(&value.to_be_bytes()[8 - width..]),
            false => out.extend(&value.to_le_bytes()[..width]),
        }
    }

    fn address(self, out: &mut Vec<u8>, value: u64) {
        self.put(out, if self.narrow { 4 } else { 8 }, value);
    }
}

/// A section header.
#[derive(Default)]
struct Header {
    name: u64,
    kind: u64,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
    link: u64,
    info: u64,
    entry: u64,
}

impl Header {
    fn write(&self, form: Form, out: &mut Vec<u8>) {
        form.put(out, 4, self.name);
        form.put(out, 4, self.kind);
        for field in [self.flags, self.address, self.offset, self.size] {
            form.address(out, field);
        }
        form.put(out, 4, self.link);
        form.put(out, 4, self.info);
        // The alignment, and the size of an entry.
        form.address(out, 1);
        form.address(out, self.entry);
    }
}
