//! What an assembler does differently for each machine.
//!
//! The object must link to the same bytes as an assembled one, so it has the relocations of the
//! machine, and what the GNU assembler adds to every object: empty `.text`, `.data` and `.bss` sections
//! whose alignment can move what follows them, the padding of a section to its alignment, and the
//! symbols that stay in the kernel's symbol table.
//!
//! A machine that is not in this table is an error, and the caller takes the assembler. MIPS and
//! LoongArch are left out on purpose: the first has sections of its own that the linker merges, the
//! second's assembler chooses between two relocations by its release.
//!
//! Source of facts: what GNU as 2.40 writes for the tables of 6.1, 6.12 and 7.3, and the ELF
//! supplements of the machines for the numbers of the relocations.

use image::consts::*;
use image::{Class, Header};

use crate::Error;

/// The properties of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The relocation of a word of the address' size with a symbol's address.
    pub address: u32,
    /// The relocations of 32 bits with a symbol's distance from the place.
    pub distance: Distance,
    /// Added to the addend of such a distance.
    pub distance_bias: i64,
    /// Relocations carry their addends (`SHT_RELA`).
    pub rela: bool,
    /// A symbol at the start of the tables that says that this is data.
    pub mapping_symbol: Option<&'static str>,
    /// Alignment of the empty `.text`, in bytes.
    pub text_align: u64,
    /// Alignment of the empty `.data` and `.bss`, in bytes.
    pub data_align: u64,
    /// A section's size is a multiple of its alignment.
    pub padded: bool,
}

/// How the distance between a symbol and a place is expressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distance {
    /// By one relocation relative to the place.
    One(u32),
    /// By adding one symbol and subtracting another that stands at the place, `.L0 `.
    AddSub(u32, u32),
}

/// Whether [`crate::Tables::to_object`] can write an object with this header.
///
/// # Errors
/// [`Error::UnknownMachine`] if it cannot.
pub fn supports(header: &Header) -> Result<(), Error> {
    Machine::of(header).map(drop)
}

impl Machine {
    /// The machine of an object with this header.
    pub(crate) fn of(header: &Header) -> Result<Machine, Error> {
        let entry = MACHINES
            .iter()
            .find(|(machine, class, _)| machine.0 == header.machine && *class == header.class);
        let Some(&(machine, _, mut properties)) = entry else {
            let bits = 8 * header.class.address_size();
            return Err(Error::UnknownMachine { machine: header.machine, bits });
        };
        if machine == EM_RISCV && FileFlags(header.flags) & EF_RISCV_RVC != FileFlags(0) {
            properties.text_align = 2;
        }
        Ok(properties)
    }
}

/// A machine with `SHT_RELA` and nothing special about its sections.
const fn plain(address: RelocationType, distance: RelocationType) -> Machine {
    Machine {
        address: address.0,
        distance: Distance::One(distance.0),
        distance_bias: 0,
        rela: true,
        mapping_symbol: None,
        text_align: 1,
        data_align: 1,
        padded: false,
    }
}

const fn riscv(address: RelocationType) -> Machine {
    let distance = Distance::AddSub(R_RISCV_ADD32.0, R_RISCV_SUB32.0);
    Machine { distance, text_align: 4, ..plain(address, R_RISCV_32) }
}

const fn parisc(address: RelocationType) -> Machine {
    Machine { distance_bias: 8, padded: true, ..plain(address, R_PARISC_PCREL32) }
}

const I386: Machine = Machine { rela: false, ..plain(R_386_32, R_386_PC32) };
const AARCH64: Machine =
    Machine { mapping_symbol: Some("$d"), ..plain(R_AARCH64_ABS64, R_AARCH64_PREL32) };
const ARM: Machine =
    Machine { rela: false, mapping_symbol: Some("$d"), ..plain(R_ARM_ABS32, R_ARM_REL32) };
const S390: Machine =
    Machine { text_align: 4, data_align: 4, padded: true, ..plain(R_390_64, R_390_PC32) };
const M68K: Machine = Machine { text_align: 4, data_align: 4, ..plain(R_68K_32, R_68K_PC32) };
const ALPHA: Machine = Machine { padded: true, ..plain(R_ALPHA_REFQUAD, R_ALPHA_SREL32) };

const MACHINES: [(image::consts::Machine, Class, Machine); 16] = [
    (EM_X86_64, Class::Elf64, plain(R_X86_64_64, R_X86_64_PC32)),
    (EM_386, Class::Elf32, I386),
    (EM_AARCH64, Class::Elf64, AARCH64),
    (EM_ARM, Class::Elf32, ARM),
    (EM_RISCV, Class::Elf64, riscv(R_RISCV_64)),
    (EM_RISCV, Class::Elf32, riscv(R_RISCV_32)),
    (EM_S390, Class::Elf64, S390),
    (EM_PPC64, Class::Elf64, plain(R_PPC64_ADDR64, R_PPC64_REL32)),
    (EM_PPC, Class::Elf32, plain(R_PPC_ADDR32, R_PPC_REL32)),
    (EM_68K, Class::Elf32, M68K),
    (EM_SPARCV9, Class::Elf64, plain(R_SPARC_64, R_SPARC_DISP32)),
    (EM_SPARC, Class::Elf32, plain(R_SPARC_32, R_SPARC_DISP32)),
    (EM_SPARC32PLUS, Class::Elf32, plain(R_SPARC_32, R_SPARC_DISP32)),
    (EM_PARISC, Class::Elf32, parisc(R_PARISC_DIR32)),
    (EM_PARISC, Class::Elf64, parisc(R_PARISC_DIR64)),
    (EM_ALPHA, Class::Elf64, ALPHA),
];
