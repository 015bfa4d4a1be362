//! The linker's inputs, decoded as far as a link of debug sections needs.

use std::ops::Range;
use std::sync::OnceLock;

use image::consts::{
    SHF_ALLOC, SHF_COMPRESSED, SHF_EXCLUDE, SHF_GROUP, SHT_NULL, SHT_REL, SHT_RELA, STT_SECTION,
};
use image::{Elf, Header, Place, Section, Symbol};
use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::error::{Error, Unreadable, lossy};

/// An input of the linker, in the order of the link.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The name that the linker's map uses: a path as it stood on the command line or in a thin archive,
    /// or `ARCHIVE(MEMBER)`.
    pub name: &'a str,
    /// The object's bytes.
    pub data: &'a [u8],
    /// The same bytes, to be read instead of looked at, where they are many and read once. To map a page and to give
    /// it back takes longer than to copy it into the processor's cache, and what is copied takes no memory.
    pub reader: Option<&'a dyn ReadAt>,
}

impl<'a> Input<'a> {
    /// An input whose bytes are in memory.
    pub fn new(name: &'a str, data: &'a [u8]) -> Self {
        Input { name, data, reader: None }
    }
}

/// The bytes of a file by their offset.
pub trait ReadAt: std::fmt::Debug + Sync {
    /// Puts the bytes at the offset `at` into `out`, all of it. Called by several threads at a time.
    ///
    /// # Errors
    /// The file cannot be read, or ends before.
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), Unreadable>;
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
    /// For sections with relocations, where these begin to lead to, run by run (see [`crate::runs`]).
    pub(crate) starts: Vec<OnceLock<Box<[u64]>>>,
    reader: Option<&'a dyn ReadAt>,
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
        let starts = sections.iter().map(|_| OnceLock::new()).collect();
        let (name, reader) = (input.name, input.reader);
        Ok(Object { name, elf, symbols, relocations, starts, reader })
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

    /// Puts bytes of the section `index` into `out`: those at the offset `at` of the section.
    ///
    /// # Errors
    /// They do not lie within the section, or cannot be read.
    pub(crate) fn read(&self, index: u32, at: usize, out: &mut [u8]) -> Result<(), Error> {
        let end = at.checked_add(out.len());
        let found = end.and_then(|end| self.bytes(index).ok()?.get(at..end));
        let found = found.ok_or_else(|| self.outside(index))?;
        match self.reader {
            Some(reader) => {
                let start = self.elf.sections()[index as usize].offset + at as u64;
                reader.read_at(start, out).map_err(Error::Unreadable)?;
            }
            None => out.copy_from_slice(found),
        }
        Ok(())
    }

    /// The bytes at the offsets `range` of the section `index`, in `buffer` if they have to be read.
    ///
    /// # Errors
    /// As those of [`Object::read`].
    pub(crate) fn look_at<'b>(
        &self,
        index: u32,
        range: Range<usize>,
        buffer: &'b mut Buffer,
    ) -> Result<&'b [u8], Error>
    where
        'a: 'b,
    {
        if self.reader.is_none() {
            let found = self.bytes(index)?.get(range);
            return found.ok_or_else(|| self.outside(index));
        }
        let out = buffer.bytes(range.len());
        self.read(index, range.start, out)?;
        Ok(out)
    }

    fn outside(&self, index: u32) -> Error {
        let name = lossy(self.elf.sections()[index as usize].name);
        Error::disagree(format!("bytes outside of {name} of {}", self.name))
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
