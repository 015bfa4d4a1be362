//! The exception table: where a faulting instruction goes on.
//!
//! An entry begins with the address of the instruction. In the relative forms that is a signed 32-bit
//! distance from the word itself, as is the second word, so both change as an entry moves. Entries of
//! the same instruction keep their order. Bytes behind the last whole entry stay.

use image::{Class, Elf, Endian, Endianness, Patch, Section, consts};

use crate::{Dialect, Error};

/// What an entry looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// 12 bytes: two distances, then a word that does not depend on the place.
    RelativeWithData,
    /// 8 bytes: two distances.
    Relative,
    /// Two addresses of the class's width.
    Absolute,
}

/// The form of each machine in every supported kernel; LoongArch is in [`Dialect`].
const FORMS: &[(u16, Form)] = &[
    (consts::EM_386.0, Form::RelativeWithData),
    (consts::EM_X86_64.0, Form::RelativeWithData),
    (consts::EM_AARCH64.0, Form::RelativeWithData),
    (consts::EM_RISCV.0, Form::RelativeWithData),
    (consts::EM_S390.0, Form::RelativeWithData),
    (consts::EM_PARISC.0, Form::Relative),
    (consts::EM_PPC.0, Form::Relative),
    (consts::EM_PPC64.0, Form::Relative),
    (consts::EM_ARC_COMPACT.0, Form::Absolute),
    (consts::EM_ARC_COMPACT2.0, Form::Absolute),
    (consts::EM_ARM.0, Form::Absolute),
    (consts::EM_MICROBLAZE.0, Form::Absolute),
    (consts::EM_MIPS.0, Form::Absolute),
    (consts::EM_XTENSA.0, Form::Absolute),
];

impl Form {
    /// The form of the entries of `machine` (`e_machine`).
    pub fn of(machine: u16, dialect: &Dialect) -> Result<Form, Error> {
        if machine == consts::EM_LOONGARCH.0 {
            let relative = dialect.loongarch_relative;
            return Ok(if relative { Form::RelativeWithData } else { Form::Absolute });
        }
        let known = FORMS.iter().find(|(known, _)| *known == machine);
        known.map(|&(_, form)| form).ok_or(Error::Machine(machine))
    }

    /// Size of an entry in bytes.
    fn entry_size(self, class: Class) -> usize {
        match self {
            Form::RelativeWithData => 12,
            Form::Relative => 8,
            Form::Absolute => 2 * class.address_size() as usize,
        }
    }

    /// The sort key of the entry that is `at` bytes into the table.
    fn key(self, entry: &[u8], at: usize, endian: Endianness) -> u64 {
        match self {
            Form::Absolute if entry.len() == 16 => {
                let bytes = entry[..8].try_into().unwrap_or_default();
                endian.read_u64(bytes)
            }
            Form::Absolute => word(entry, 0, endian).into(),
            // The distance from the start of the table is a signed number that may wrap.
            _ => (word(entry, 0, endian).wrapping_add(at as u32) ^ 0x8000_0000).into(),
        }
    }

    /// Appends `entry`, which moves `distance` bytes up the table.
    fn push(self, out: &mut Vec<u8>, entry: &[u8], distance: u32, endian: Endianness) {
        if self == Form::Absolute {
            out.extend_from_slice(entry);
            return;
        }
        for at in [0, 4] {
            let moved = word(entry, at, endian).wrapping_add(distance);
            out.extend_from_slice(&endian.write_u32(moved));
        }
        out.extend_from_slice(&entry[8..]);
    }
}

/// The patch that sorts the exception table `section`.
pub(crate) fn sort(elf: &Elf<'_>, section: &Section<'_>, form: Form) -> Result<Patch, Error> {
    let table = elf.bytes(section)?;
    let (size, endian) = (form.entry_size(elf.class()), elf.endian());
    let entries: Vec<&[u8]> = table.chunks_exact(size).collect();
    let mut order: Vec<(u64, usize)> = (entries.iter().enumerate())
        .map(|(index, entry)| (form.key(entry, index * size, endian), index))
        .collect();
    order.sort_unstable();
    let mut bytes = Vec::with_capacity(entries.len() * size);
    for (index, &(_, from)) in order.iter().enumerate() {
        let distance = ((from * size) as u32).wrapping_sub((index * size) as u32);
        form.push(&mut bytes, entries[from], distance, endian);
    }
    Ok(Patch { offset: section.offset, bytes })
}

fn word(entry: &[u8], at: usize, endian: Endianness) -> u32 {
    endian.read_u32(entry[at..at + 4].try_into().unwrap_or_default())
}
