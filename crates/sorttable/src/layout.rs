//! Which sections of the image matter.
//!
//! PARITY: the kernel's tool takes the last section of a name, and the last relocation section that
//! fits; `tests/tests/sorttable.rs` (relocation_records) holds it to that.

use image::{Elf, Error, Section, consts};

/// The sections that sorting reads, found in one walk over the headers.
#[derive(Debug, Default)]
pub(crate) struct Layout<'e, 'd> {
    pub extable: Option<&'e Section<'d>>,
    /// The relocation records of the exception table.
    pub extable_relocs: Option<&'e Section<'d>>,
    pub symtab: Option<&'e Section<'d>>,
    pub strtab: Option<&'e Section<'d>>,
    /// The extended section indices of symbols (`SHT_SYMTAB_SHNDX`).
    pub symtab_shndx: Option<&'e Section<'d>>,
    pub init_data: Option<&'e Section<'d>>,
    pub orc_ip: Option<&'e Section<'d>>,
    pub orc: Option<&'e Section<'d>>,
}

impl<'e, 'd> Layout<'e, 'd> {
    pub fn find(elf: &'e Elf<'d>) -> Self {
        let mut layout = Layout::default();
        // PARITY: until the exception table has been seen its index counts as 0, so that relocation
        // sections without a target (`.rela.dyn`, sh_info 0) in front of it are taken for its own.
        let mut extable_index = 0;
        for (index, section) in elf.sections().iter().enumerate() {
            match section.name {
                b"__ex_table" => {
                    layout.extable = Some(section);
                    extable_index = index as u32;
                }
                b".symtab" => layout.symtab = Some(section),
                b".strtab" => layout.strtab = Some(section),
                b".init.data" => layout.init_data = Some(section),
                b".orc_unwind_ip" => layout.orc_ip = Some(section),
                b".orc_unwind" => layout.orc = Some(section),
                _ => {}
            }
            let relocs = [consts::SHT_REL.0, consts::SHT_RELA.0].contains(&section.sh_type);
            if relocs && section.info == extable_index {
                layout.extable_relocs = Some(section);
            }
            if section.sh_type == consts::SHT_SYMTAB_SHNDX.0 {
                layout.symtab_shndx = Some(section);
            }
        }
        layout
    }
}

/// The `len` bytes at file offset `offset`, which `section` leads to.
pub(crate) fn range<'d>(
    elf: &Elf<'d>,
    section: &Section<'_>,
    offset: u64,
    len: u64,
) -> Result<&'d [u8], Error> {
    let data = elf.data();
    let end = offset.checked_add(len).filter(|&end| end <= data.len() as u64);
    match end {
        Some(end) => Ok(&data[offset as usize..end as usize]),
        None => Err(Error::section(
            section.name,
            format!("{len:#x} bytes at file offset {offset:#x} are outside the file"),
        )),
    }
}
