//! The type letter of a symbol, and which symbols nm lists at all.
//!
//! GNU nm decides by BFD's view of the section (flags, and four names of Windows sections); llvm-nm
//! decides by the ELF flags. They differ for small data, for sections without `SHF_ALLOC`, for
//! addresses in Thumb code and for symbols outside every section.
//!
//! Cost: the letters of sections are worked out once per section, so a symbol costs a few branches.
//!
//! Source of facts: the behaviour of GNU binutils 2.40 (`nm -n`, checked against its `nm.c`,
//! `bfd/syms.c`, `bfd/elf.c`, `bfd/elfcode.h` and the targets' own files) and of llvm-nm 14 and 19.

use image::consts::*;
use image::{Class, Elf, Place, Section, Symbol};

use crate::Flavor;

/// `SHN_X86_64_LCOMMON`: common data of the large model.
const SHN_X86_64_LCOMMON: u16 = 0xff02;
/// `SHN_MIPS_SCOMMON`: small common data.
const SHN_MIPS_SCOMMON: u16 = 0xff03;
/// `SHF_ALPHA_GPREL`, `SHF_IA_64_SHORT`, `SHF_NIOS2_GPREL`: data within reach of the global pointer.
const SHF_GPREL: u64 = 0x1000_0000;

/// What nm of one flavour says of the symbols of one image.
pub(crate) struct Rules {
    flavor: Flavor,
    machine: u16,
    class: Class,
    relocatable: bool,
    /// By section index: the letter of a local symbol there.
    letters: Vec<u8>,
    /// By section index: what a relocatable object adds to `st_value`.
    bases: Vec<u64>,
}

impl Rules {
    pub(crate) fn new(elf: &Elf<'_>, flavor: Flavor) -> Self {
        let header = elf.header();
        let letters = (0u32..)
            .zip(elf.sections())
            .map(|(index, section)| match flavor {
                Flavor::Gnu => gnu_section_letter(elf, index, section),
                Flavor::Llvm => llvm_section_letter(section),
            })
            .collect();
        let bases = elf.sections().iter().map(|section| section.addr).collect();
        let relocatable = header.file_type == ET_REL.0;
        Rules { flavor, machine: header.machine, class: header.class, relocatable, letters, bases }
    }

    /// Whether nm lists the symbol: sections, files and the machine's marker symbols are left out.
    pub(crate) fn lists(&self, symbol: &Symbol<'_>) -> bool {
        if symbol.kind == STT_SECTION.0 || symbol.kind == STT_FILE.0 {
            return false;
        }
        match self.flavor {
            Flavor::Gnu => !gnu_special(self.machine, symbol.name),
            Flavor::Llvm => !llvm_special(self.machine, symbol.name),
        }
    }

    /// The letter, in the symbol's case.
    pub(crate) fn letter(&self, symbol: &Symbol<'_>) -> u8 {
        match self.flavor {
            Flavor::Gnu => self.gnu_letter(symbol),
            Flavor::Llvm => self.llvm_letter(symbol),
        }
    }

    fn gnu_letter(&self, symbol: &Symbol<'_>) -> u8 {
        let object = symbol.kind == STT_OBJECT.0 || symbol.kind == STT_COMMON.0;
        let weak = symbol.bind == STB_WEAK.0;
        match symbol.place {
            Place::Common => return b'C',
            Place::Reserved(SHN_X86_64_LCOMMON) if self.machine == EM_X86_64.0 => return b'C',
            Place::Reserved(SHN_MIPS_SCOMMON) if self.machine == EM_MIPS.0 => return b'c',
            Place::Undefined => return undefined_letter(weak, object),
            _ => {}
        }
        if symbol.kind == STT_GNU_IFUNC.0 {
            return b'i';
        }
        if weak {
            return if object { b'V' } else { b'W' };
        }
        // What lies in no section that BFD knows counts as absolute.
        self.case(symbol, self.section_letter(symbol).unwrap_or(b'a'))
    }

    fn llvm_letter(&self, symbol: &Symbol<'_>) -> u8 {
        let object = symbol.kind == STT_OBJECT.0;
        let weak = symbol.bind == STB_WEAK.0;
        if symbol.place == Place::Undefined {
            return undefined_letter(weak, object);
        }
        if symbol.kind == STT_GNU_IFUNC.0 {
            return b'i';
        }
        if weak {
            return if object { b'V' } else { b'W' };
        }
        if symbol.place == Place::Common || symbol.kind == STT_COMMON.0 {
            return b'C';
        }
        if symbol.place == Place::Absolute {
            return if symbol.bind == STB_LOCAL.0 { b'a' } else { b'A' };
        }
        self.case(symbol, self.section_letter(symbol).unwrap_or(b'?'))
    }

    fn section_letter(&self, symbol: &Symbol<'_>) -> Option<u8> {
        match symbol.place {
            Place::Section(index) => self.letters.get(index as usize).copied(),
            _ => None,
        }
    }

    fn case(&self, symbol: &Symbol<'_>, letter: u8) -> u8 {
        match symbol.bind {
            bind if bind == STB_LOCAL.0 => letter,
            bind if bind == STB_GLOBAL.0 => letter.to_ascii_uppercase(),
            bind if bind == STB_GNU_UNIQUE.0 => b'u',
            _ => b'?',
        }
    }

    /// The address that nm prints and sorts by.
    pub(crate) fn address(&self, symbol: &Symbol<'_>) -> u64 {
        match self.flavor {
            Flavor::Gnu => self.gnu_address(symbol),
            Flavor::Llvm => self.llvm_address(symbol),
        }
    }

    fn gnu_address(&self, symbol: &Symbol<'_>) -> u64 {
        match symbol.place {
            Place::Undefined => return 0,
            Place::Common => return symbol.size,
            Place::Reserved(SHN_X86_64_LCOMMON) if self.machine == EM_X86_64.0 => {
                return symbol.size;
            }
            Place::Reserved(SHN_MIPS_SCOMMON) if self.machine == EM_MIPS.0 => return symbol.size,
            _ => {}
        }
        let mut value = symbol.value;
        let ifunc = symbol.kind == STT_GNU_IFUNC.0 && self.machine == EM_ARM.0;
        if self.marks_functions() && (symbol.kind == STT_FUNC.0 || ifunc) {
            value &= !1;
        }
        let addr = value.wrapping_add(self.base(symbol));
        // PARITY: BFD sign-extends the 32-bit addresses of MIPS, and nm prints all 64 bits
        // (`mips_addresses_are_sign_extended_as_gnu_nm_does` in tests/sysmap.rs).
        if self.machine == EM_MIPS.0 && self.class == Class::Elf32 {
            return addr as u32 as i32 as u64;
        }
        addr
    }

    fn llvm_address(&self, symbol: &Symbol<'_>) -> u64 {
        let common = symbol.place == Place::Common || symbol.kind == STT_COMMON.0;
        match symbol.place {
            Place::Undefined => 0,
            Place::Absolute => symbol.value,
            _ if common => symbol.size.wrapping_add(self.base(symbol)),
            _ if self.marks_functions() && symbol.kind == STT_FUNC.0 => {
                (symbol.value & !1).wrapping_add(self.base(symbol))
            }
            _ => symbol.value.wrapping_add(self.base(symbol)),
        }
    }

    /// Whether bit 0 of a function's value says in which instruction set it is (Thumb, microMIPS).
    fn marks_functions(&self) -> bool {
        self.machine == EM_ARM.0 || self.machine == EM_MIPS.0
    }

    /// What a relocatable object adds: its values are offsets into sections.
    fn base(&self, symbol: &Symbol<'_>) -> u64 {
        match symbol.place {
            Place::Section(index) if self.relocatable => {
                self.bases.get(index as usize).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

fn undefined_letter(weak: bool, object: bool) -> u8 {
    match (weak, object) {
        (true, true) => b'v',
        (true, false) => b'w',
        (false, _) => b'U',
    }
}

fn gnu_section_letter(elf: &Elf<'_>, index: u32, section: &Section<'_>) -> u8 {
    if !bfd_keeps(elf, index, section) {
        return b'a';
    }
    if let Some(letter) = windows_section(section.name) {
        return letter;
    }
    let flag = |flag: SectionFlags| section.flags & flag.0 != 0;
    let contents = section.sh_type != SHT_NOBITS.0;
    if flag(SHF_EXECINSTR) {
        return b't';
    }
    let small = small_data(elf.header().machine, section);
    match (flag(SHF_ALLOC) && contents, flag(SHF_WRITE)) {
        (true, false) => return b'r',
        (true, true) => return if small { b'g' } else { b'd' },
        (false, _) if !contents => return if small { b's' } else { b'b' },
        (false, _) => {}
    }
    // Only sections with contents that are not loaded are left.
    if debugging(section.name) {
        b'N'
    } else if flag(SHF_WRITE) {
        b'?'
    } else {
        b'n'
    }
}

/// Whether BFD makes a section of its own from the header. It does not from the tables that belong to
/// the file's structure; a symbol there counts as absolute.
fn bfd_keeps(elf: &Elf<'_>, index: u32, section: &Section<'_>) -> bool {
    let relocatable = elf.header().file_type == ET_REL.0;
    let alloc = section.flags & SHF_ALLOC.0 != 0;
    let mut symtabs = elf.sections().iter().filter(|s| s.sh_type == SHT_SYMTAB.0);
    match SectionType(section.sh_type) {
        SHT_NULL | SHT_SYMTAB | SHT_SYMTAB_SHNDX => false,
        SHT_STRTAB => section.name != b".shstrtab" && !symtabs.any(|s| s.link == index),
        SHT_REL | SHT_RELA => {
            let of_symtab = elf.sections().get(section.link as usize);
            let of_symtab = of_symtab.is_some_and(|s| s.sh_type == SHT_SYMTAB.0);
            (alloc && !relocatable) || !of_symtab || section.info == 0
        }
        _ => true,
    }
}

/// BFD knows four sections of Windows images by name, in images of every format.
fn windows_section(name: &[u8]) -> Option<u8> {
    let table: [(&[u8], u8); 4] =
        [(b".drectve", b'i'), (b".edata", b'e'), (b".idata", b'i'), (b".pdata", b'p')];
    table.into_iter().find_map(|(known, letter)| {
        let rest = name.strip_prefix(known)?;
        let ends = matches!(rest.first(), None | Some(b'.' | b'$' | b'0'..=b'9'));
        ends.then_some(letter)
    })
}

fn debugging(name: &[u8]) -> bool {
    let prefixes: [&[u8]; 6] =
        [b".debug", b".gnu.debuglto_.debug_", b".gnu.linkonce.wi.", b".zdebug", b".line", b".stab"];
    name == b".gdb_index" || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// BFD marks small data for three machines by flag and for one by name. For others, MIPS among them, it
/// has a rule that ordinary sections never reach.
fn small_data(machine: u16, section: &Section<'_>) -> bool {
    match Machine(machine) {
        EM_ALPHA | EM_IA_64 | EM_ALTERA_NIOS2 => section.flags & SHF_GPREL != 0,
        EM_PPC64 => section.name.starts_with(b".sbss") || section.name.starts_with(b".sdata"),
        _ => false,
    }
}

fn llvm_section_letter(section: &Section<'_>) -> u8 {
    let flag = |flag: SectionFlags| section.flags & flag.0 != 0;
    if flag(SHF_EXECINSTR) {
        b't'
    } else if section.sh_type == SHT_NOBITS.0 {
        b'b'
    } else if flag(SHF_ALLOC) {
        if flag(SHF_WRITE) { b'd' } else { b'r' }
    } else if section.name.starts_with(b".debug") {
        b'N'
    } else if flag(SHF_WRITE) {
        b'?'
    } else {
        b'n'
    }
}

/// Symbols that GNU nm leaves out for the machine: mapping symbols and compilers' local labels.
fn gnu_special(machine: u16, name: &[u8]) -> bool {
    let ends = |rest: &[u8]| matches!(rest.first(), None | Some(b'.'));
    match (Machine(machine), name) {
        (EM_ARM, [b'$', b'a'..=b'z', rest @ ..]) => ends(rest),
        (EM_AARCH64, [b'$', b'x' | b'd' | b'm' | b'f' | b'p', rest @ ..]) => ends(rest),
        (EM_CSKY, [b'$', b't' | b'd']) => true,
        (EM_RISCV, [] | [b'$', b'x' | b'd', ..]) => true,
        (EM_RISCV | EM_MIPS, _) => local_label(name),
        _ => false,
    }
}

/// Labels that an assembler makes for itself.
fn local_label(name: &[u8]) -> bool {
    if name.starts_with(b".L") || name.starts_with(b"..") || name.starts_with(b"_.L_") {
        return true;
    }
    // The assembler's fake symbols.
    matches!(name, [b'L', b'0'..=b'9', 1, ..])
}

/// Symbols that llvm-nm leaves out for the machine. Those of RISC-V are as in llvm-nm 19; 14 lists its
/// mapping symbols. Every mksysmap drops them.
fn llvm_special(machine: u16, name: &[u8]) -> bool {
    match Machine(machine) {
        EM_ARM => matches!(name, [] | [b'$', b'd' | b't' | b'a', ..]),
        EM_AARCH64 => matches!(name, [b'$', b'd' | b'x', ..]),
        EM_CSKY => matches!(name, [b'$', b'd' | b't', ..]),
        EM_RISCV => name == b".L0 " || matches!(name, [b'$', b'd' | b'x', ..]),
        _ => false,
    }
}
