//! Relocations of the debug sections of a relocatable file (a module).
//!
//! Only those that put a value of four or eight bytes occur there: an offset into another debug section
//! or an address. Which of a machine's relocations these are is known by `object`.

use image::{Elf, Section, consts};
use object::read::{Object, ObjectSection, ObjectSymbol};
use object::{RelocationKind, RelocationTarget};

use crate::Error;

/// Where the sections of the file are taken to be: in a relocatable file, which gives them no addresses,
/// one behind the other, so that an address tells its section.
pub(crate) fn addresses(elf: &Elf<'_>) -> Vec<u64> {
    // Where libdw begins too; no symbol's offset into its section can be mistaken for an address.
    const START: u64 = 0x10000;
    if elf.header().file_type != consts::ET_REL.0 {
        return elf.sections().iter().map(|section| section.addr).collect();
    }
    let mut next = START;
    elf.sections()
        .iter()
        .map(|section| {
            if section.flags & consts::SHF_ALLOC.0 == 0 {
                return 0;
            }
            let align = section.align.clamp(1, 1 << 20);
            let at = next.next_multiple_of(align.next_power_of_two());
            next = at.saturating_add(section.size).min(1 << 60);
            at
        })
        .collect()
}

/// Applies the relocations that the file has for the section `name` to its contents.
pub(crate) fn apply(
    elf: &Elf<'_>,
    relocations: &Section<'_>,
    bytes: &mut [u8],
    name: &'static str,
) -> Result<(), Error> {
    let bad = |offset: u64, cause: String| Error::new(name, offset, cause);
    let file = object::File::parse(elf.data()).map_err(|e| bad(0, e.to_string()))?;
    let section = file.section_by_name(name).ok_or(Error::NoDwarf)?;
    let rela = relocations.sh_type == consts::SHT_RELA.0;
    let big = elf.endian() == image::Endianness::Big;
    let addresses = addresses(elf);
    for (offset, relocation) in section.relocations() {
        if relocation.kind() != RelocationKind::Absolute {
            continue;
        }
        let size = usize::from(relocation.size() / 8);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let field = start.checked_add(size).and_then(|end| bytes.get_mut(start..end));
        let field =
            field.ok_or_else(|| bad(offset, "a relocation outside the section".to_string()))?;
        let symbol = match relocation.target() {
            RelocationTarget::Symbol(index) => {
                let symbol = file.symbol_by_index(index).map_err(|e| bad(offset, e.to_string()))?;
                let section = symbol.section_index().and_then(|index| addresses.get(index.0));
                symbol.address().wrapping_add(section.copied().unwrap_or(0))
            }
            _ => 0,
        };
        let mut value = symbol.wrapping_add(relocation.addend() as u64);
        if !rela || relocation.has_implicit_addend() {
            value = value.wrapping_add(get(field, big));
        }
        put(field, big, value);
    }
    Ok(())
}

fn get(field: &[u8], big: bool) -> u64 {
    let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
    if big { field.iter().fold(0, add) } else { field.iter().rev().fold(0, add) }
}

fn put(field: &mut [u8], big: bool, value: u64) {
    let len = field.len();
    for (index, byte) in field.iter_mut().enumerate() {
        let shift = if big { len - 1 - index } else { index };
        *byte = (value >> (8 * shift)) as u8;
    }
}
