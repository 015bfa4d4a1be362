//! Small relocatable objects, as an assembler would make them.
//!
//! The kallsyms tables and the BTF of a kernel reach the linker as an object file. This writes one
//! for any class, byte order and machine: sections with bytes, global symbols, relocations.

use object::elf;
use object::write::elf::{FileHeader, Rel, SectionHeader, SectionIndex, Sym, Writer};

use crate::{Class, Error, Header};

/// An object file to be written.
#[derive(Debug, Clone)]
pub struct Relocatable<'a> {
    /// Class, byte order, machine, flags and ABI; `file_type` is not used, it becomes `ET_REL`.
    pub header: Header,
    /// The sections, in the file's order.
    pub sections: Vec<DataSection<'a>>,
    /// Global symbols, in the table's order.
    pub symbols: Vec<NewSymbol<'a>>,
    /// Whether relocations carry their addend (`SHT_RELA`) or the section's bytes do (`SHT_REL`).
    pub rela: bool,
}

/// A `SHT_PROGBITS` section.
#[derive(Debug, Clone)]
pub struct DataSection<'a> {
    /// Name.
    pub name: &'a str,
    /// `SHF_*`.
    pub flags: u64,
    /// Alignment in bytes.
    pub align: u64,
    /// Contents.
    pub bytes: &'a [u8],
    /// Its relocations, by ascending offset.
    pub relocations: Vec<Relocation>,
}

/// A relocation of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// Offset into the section in bytes.
    pub offset: u64,
    /// Index into [`Relocatable::symbols`], or behind those into [`Extras::locals`].
    pub symbol: u32,
    /// `R_*` of the machine.
    pub r_type: u32,
    /// The addend; written only with [`Relocatable::rela`].
    pub addend: i64,
}

/// A global symbol of type `STT_NOTYPE`, as an assembler's label is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSymbol<'a> {
    /// Name.
    pub name: &'a str,
    /// Index into [`Relocatable::sections`]; `None` for an undefined symbol.
    pub section: Option<u32>,
    /// Offset into its section in bytes.
    pub value: u64,
    /// `st_size` in bytes.
    pub size: u64,
}

/// What an assembler puts into an object beside its data.
#[derive(Debug, Clone, Default)]
pub struct Extras<'a> {
    /// Sections without bytes, before all others.
    pub empty: Vec<EmptySection<'a>>,
    /// Local symbols of type `STT_NOTYPE`, before the global ones.
    pub locals: Vec<NewSymbol<'a>>,
}

/// A section without bytes; its alignment still counts in a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmptySection<'a> {
    /// Name.
    pub name: &'a str,
    /// `SHT_*`.
    pub sh_type: u32,
    /// `SHF_*`.
    pub flags: u64,
    /// Alignment in bytes.
    pub align: u64,
}

impl Relocatable<'_> {
    /// The object file.
    ///
    /// # Errors
    /// A 32-bit object that would be larger than 4 GiB.
    pub fn write(&self) -> Result<Vec<u8>, Error> {
        self.write_with(&Extras::default())
    }

    /// The object file, with empty sections and local symbols.
    ///
    /// # Errors
    /// A 32-bit object that would be larger than 4 GiB.
    pub fn write_with(&self, extras: &Extras<'_>) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        self.write_to(extras, &mut out).map_err(|e| Error::file(e.to_string()))?;
        Ok(out)
    }

    fn write_to(&self, extras: &Extras<'_>, out: &mut Vec<u8>) -> Result<(), object::write::Error> {
        let is_64 = self.header.class == Class::Elf64;
        let mut w = Writer::new(self.header.endian, is_64, out);

        // Reserve: indices and names first, then the ranges in the order of writing.
        let rel_names: Vec<String> = self
            .sections
            .iter()
            .map(|s| format!("{}{}", if self.rela { ".rela" } else { ".rel" }, s.name))
            .collect();
        let empty: Vec<_> = extras
            .empty
            .iter()
            .map(|section| {
                w.reserve_section_index();
                w.add_section_name(section.name.as_bytes())
            })
            .collect();
        let mut indices = Vec::new();
        for (section, rel_name) in self.sections.iter().zip(&rel_names) {
            let name = w.add_section_name(section.name.as_bytes());
            let index = w.reserve_section_index();
            let rel = (!section.relocations.is_empty()).then(|| {
                w.reserve_section_index();
                w.add_section_name(rel_name.as_bytes())
            });
            indices.push((name, index, rel));
        }
        let (locals, globals) = (&extras.locals, &self.symbols);
        let symbols: Vec<_> = locals
            .iter()
            .chain(globals)
            .map(|symbol| {
                let section = symbol.section.map(|s| indices[s as usize].1);
                w.reserve_symbol_index(section);
                (w.add_string(symbol.name.as_bytes()), section)
            })
            .collect();
        if !symbols.is_empty() {
            w.reserve_symtab_section_index();
            w.reserve_strtab_section_index();
        }
        w.reserve_shstrtab_section_index();

        w.reserve_file_header();
        let offsets: Vec<u64> =
            self.sections.iter().map(|s| w.reserve(s.bytes.len() as u64, s.align.max(1))).collect();
        w.reserve_symtab();
        w.reserve_strtab()?;
        let rel_offsets: Vec<u64> = self
            .sections
            .iter()
            .map(|s| w.reserve_relocations(s.relocations.len(), self.rela))
            .collect();
        w.reserve_shstrtab()?;
        w.reserve_section_headers();

        w.write_file_header(&FileHeader {
            os_abi: elf::OsAbi(self.header.os_abi),
            abi_version: self.header.abi_version,
            e_type: elf::ET_REL,
            e_machine: elf::Machine(self.header.machine),
            e_entry: 0,
            e_flags: elf::FileFlags(self.header.flags),
        })?;
        for section in &self.sections {
            w.write_align(section.align.max(1));
            w.write(section.bytes);
        }
        w.write_null_symbol();
        let all = locals.iter().chain(globals);
        for (index, (symbol, &(name, section))) in all.zip(&symbols).enumerate() {
            let bind = if index < locals.len() { elf::STB_LOCAL } else { elf::STB_GLOBAL };
            w.write_symbol(&Sym {
                section: section.map(|SectionIndex(index)| index),
                st_name: w.string_offset(Some(name)),
                st_info: elf::SymbolInfo::new(bind, elf::STT_NOTYPE),
                st_other: elf::SymbolOther(0),
                st_shndx: elf::SHN_UNDEF,
                st_value: symbol.value,
                st_size: symbol.size,
            });
        }
        w.write_strtab();
        for section in &self.sections {
            w.write_align_relocation();
            for r in &section.relocations {
                let (index, locals) = (r.symbol, locals.len() as u32);
                // The table has the null symbol first, then the locals, then the globals.
                let place = match index.checked_sub(globals.len() as u32) {
                    Some(local) => local,
                    None => locals + index,
                };
                let rel = Rel {
                    r_offset: r.offset,
                    r_sym: place + 1,
                    r_type: elf::RelocationType(r.r_type),
                    r_addend: r.addend,
                };
                w.write_relocation(self.rela, &rel);
            }
        }
        w.write_shstrtab();

        w.write_null_section_header();
        let start = offsets.first().copied().unwrap_or(0);
        for (section, name) in extras.empty.iter().zip(empty) {
            w.write_section_header(&SectionHeader {
                sh_name: w.section_name_offset(Some(name)),
                sh_type: elf::SectionType(section.sh_type),
                sh_flags: elf::SectionFlags(section.flags),
                sh_addr: 0,
                sh_offset: start,
                sh_size: 0,
                sh_link: 0,
                sh_info: 0,
                sh_addralign: section.align.max(1),
                sh_entsize: 0,
            });
        }
        for (i, section) in self.sections.iter().enumerate() {
            let (name, index, rel) = indices[i];
            w.write_section_header(&SectionHeader {
                sh_name: w.section_name_offset(Some(name)),
                sh_type: elf::SHT_PROGBITS,
                sh_flags: elf::SectionFlags(section.flags),
                sh_addr: 0,
                sh_offset: offsets[i],
                sh_size: section.bytes.len() as u64,
                sh_link: 0,
                sh_info: 0,
                sh_addralign: section.align.max(1),
                sh_entsize: 0,
            });
            if let Some(rel) = rel {
                let (symtab, count) = (w.symtab_index(), section.relocations.len());
                w.write_relocation_section_header(
                    rel,
                    index,
                    symtab,
                    rel_offsets[i],
                    count,
                    self.rela,
                );
            }
        }
        w.write_symtab_section_header(locals.len() as u32 + 1);
        w.write_strtab_section_header();
        w.write_shstrtab_section_header();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Elf, Endianness, Place};

    fn object(class: Class, endian: Endianness, machine: u16, rela: bool) -> Vec<u8> {
        let header = Header {
            class,
            endian,
            file_type: 0,
            machine,
            flags: 0x0500_0000,
            os_abi: 0,
            abi_version: 0,
        };
        let relocations = vec![Relocation { offset: 4, symbol: 1, r_type: 2, addend: -8 }];
        let rodata = DataSection {
            name: ".rodata",
            flags: 2,
            align: 8,
            bytes: &[1, 2, 3, 4, 5, 6, 7, 8, 9],
            relocations,
        };
        let symbols = vec![
            NewSymbol { name: "kallsyms_names", section: Some(0), value: 4, size: 5 },
            NewSymbol { name: "_text", section: None, value: 0, size: 0 },
        ];
        Relocatable { header, sections: vec![rodata], symbols, rela }.write().unwrap()
    }

    #[test]
    fn what_is_written_reads_back_in_every_class_and_byte_order() {
        for class in [Class::Elf32, Class::Elf64] {
            for endian in [Endianness::Little, Endianness::Big] {
                for rela in [false, true] {
                    let bytes = object(class, endian, 40, rela);
                    let elf = Elf::parse(&bytes).unwrap();
                    assert_eq!((elf.class(), elf.endian()), (class, endian));
                    assert_eq!(elf.header().file_type, elf::ET_REL.0);
                    assert_eq!(elf.header().flags, 0x0500_0000);
                    let (_, rodata) = elf.section(".rodata").unwrap();
                    assert_eq!(elf.bytes(rodata).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
                    let name = if rela { ".rela.rodata" } else { ".rel.rodata" };
                    let (_, rel) = elf.section(name).unwrap();
                    let word = class.address_size();
                    assert_eq!(rel.size, word * if rela { 3 } else { 2 });
                    let symbols = elf.symbols().unwrap();
                    assert_eq!(symbols[0].name, b"kallsyms_names");
                    assert_eq!(symbols[0].place, Place::Section(1));
                    assert_eq!((symbols[0].value, symbols[0].size), (4, 5));
                    assert_eq!(
                        (symbols[1].name, symbols[1].place),
                        (&b"_text"[..], Place::Undefined)
                    );
                }
            }
        }
    }

    #[test]
    fn an_object_without_symbols_has_no_symbol_table() {
        let header = Header {
            class: Class::Elf64,
            endian: Endianness::Little,
            file_type: 0,
            machine: elf::EM_X86_64.0,
            flags: 0,
            os_abi: 0,
            abi_version: 0,
        };
        let btf =
            DataSection { name: ".BTF", flags: 2, align: 1, bytes: b"btf", relocations: vec![] };
        let bytes = Relocatable { header, sections: vec![btf], symbols: vec![], rela: true }
            .write()
            .unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        assert_eq!(elf.bytes(elf.section(".BTF").unwrap().1).unwrap(), b"btf");
        assert!(elf.section(".symtab").is_none());
        assert!(elf.symbols().unwrap().is_empty());
    }
}
