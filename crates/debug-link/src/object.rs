//! The linker's inputs, decoded as far as a link of debug sections needs.

use image::consts::{
    SHF_ALLOC, SHF_COMPRESSED, SHF_EXCLUDE, SHF_GROUP, SHT_NULL, SHT_REL, SHT_RELA, STT_SECTION,
};
use image::{Elf, Header, Place, Section, Symbol};
use rayon::prelude::*;

use crate::error::{Error, lossy};

/// An input of the linker, in the order of the link.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The name that the linker's map uses: a path as it stood on the command line or in a thin archive,
    /// or `ARCHIVE(MEMBER)`.
    pub name: &'a str,
    /// The object's bytes.
    pub data: &'a [u8],
}

/// A decoded input.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    pub(crate) name: &'a str,
    pub(crate) elf: Elf<'a>,
    /// Without the null symbol.
    pub(crate) symbols: Vec<Symbol<'a>>,
    /// By the index of a section, the index of the section with its relocations; 0 if it has none.
    pub(crate) relocations: Vec<u32>,
}

impl<'a> Object<'a> {
    fn parse(input: &Input<'a>) -> Result<Self, Error> {
        let bad = |fault| Error::input(input.name, fault);
        let elf = Elf::parse(input.data).map_err(bad)?;
        let sections = elf.sections();
        let mut relocations = vec![0; sections.len()];
        for (index, section) in sections.iter().enumerate() {
            if (section.sh_type == SHT_RELA.0 || section.sh_type == SHT_REL.0)
                && let Some(slot) = relocations.get_mut(section.info as usize)
            {
                *slot = index as u32;
            }
            if is_debug(section) {
                check_plain(section, input.name)?;
            }
        }
        let symbols = elf.symbols().map_err(bad)?;
        check_symbols(sections, &symbols, input.name)?;
        Ok(Object { name: input.name, elf, symbols, relocations })
    }

    /// All `inputs`, decoded in parallel.
    pub(crate) fn parse_all(inputs: &[Input<'a>]) -> Result<Vec<Self>, Error> {
        inputs.par_iter().map(Object::parse).collect()
    }

    /// Whether this is an object of the same machine, class and byte order.
    pub(crate) fn is_for(&self, image: Header) -> bool {
        let of = |header: Header| (header.class, header.endian, header.machine);
        of(self.elf.header()) == of(image)
    }

    /// The bytes of the section `index`, which exists.
    pub(crate) fn bytes(&self, index: u32) -> Result<&'a [u8], Error> {
        let section = &self.elf.sections()[index as usize];
        self.elf.bytes(section).map_err(|fault| Error::input(self.name, fault))
    }
}

/// The linker would put named symbols of debug sections into the symbol table, where they have no
/// place here.
fn check_symbols(
    sections: &[Section<'_>],
    symbols: &[Symbol<'_>],
    input: &str,
) -> Result<(), Error> {
    let debug: Vec<bool> = sections.iter().map(is_debug).collect();
    let in_debug = |symbol: &&Symbol<'_>| match symbol.place {
        Place::Section(section) => debug.get(section as usize).copied().unwrap_or(false),
        _ => false,
    };
    match symbols.iter().filter(in_debug).find(|symbol| symbol.kind != STT_SECTION.0) {
        None => Ok(()),
        Some(symbol) => {
            let name = lossy(symbol.name);
            Err(Error::unsupported(format!("{input}: symbol {name} in a debug section")))
        }
    }
}

/// What cannot be copied as it is.
fn check_plain(section: &Section<'_>, input: &str) -> Result<(), Error> {
    let has = |flag: u64| section.flags & flag != 0;
    let what = if has(SHF_COMPRESSED.0) || section.name.starts_with(b".zdebug") {
        "is compressed"
    } else if has(SHF_GROUP.0) {
        "is in a COMDAT group"
    } else if has(SHF_EXCLUDE.0) {
        "is left out"
    } else {
        return Ok(());
    };
    Err(Error::unsupported(format!("{input}: {} {what}", lossy(section.name))))
}

/// Whether `--strip-debug` of GNU ld leaves a section out.
///
/// BFD goes by the name, and only where nothing is loaded (`_bfd_elf_make_section_from_shdr`).
pub(crate) fn is_debug(section: &Section<'_>) -> bool {
    let prefixes: [&[u8]; 6] =
        [b".debug", b".gnu.debuglto_.debug_", b".gnu.linkonce.wi.", b".zdebug", b".line", b".stab"];
    let contents = ![SHT_NULL.0, SHT_REL.0, SHT_RELA.0].contains(&section.sh_type);
    let named = prefixes.iter().any(|prefix| section.name.starts_with(prefix));
    contents && section.flags & SHF_ALLOC.0 == 0 && (named || section.name == b".gdb_index")
}
