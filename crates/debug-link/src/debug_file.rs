//! Debug information in a file of its own, as `objcopy --only-keep-debug` makes it.
//!
//! What: [`DebugFile`] says what of a whole image goes where in such a file. All sections are there with their
//! addresses, names and sizes; what is loaded has no contents (`SHT_NOBITS`), but for notes, by which debuggers
//! know the kernel. Symbols and debug sections are as in the image. Relocations that a kernel's linker keeps
//! have been applied, and nobody reads them here: they are left out, and the sections behind them get other indexes.
//!
//! Why: the image need not exist. [`DebugFile::route`] takes the parts of [`Plan::make`] as they come, so what is
//! hundreds of megabytes is written once, and to the right file.
//!
//! Source of facts: what GNU objcopy 2.40 makes of kernels, looked at with readelf; the layout is our own.

use image::Elf;
use image::consts::{
    PT_LOAD, SHF_ALLOC, SHF_INFO_LINK, SHN_LORESERVE, SHT_NOBITS, SHT_NOTE, SHT_NULL, SHT_REL,
    SHT_RELA, SHT_SYMTAB,
};

use crate::build_id;
use crate::error::Error;
use crate::fields::{Fields, FileField, ProgramField, SectionField};
use crate::layout::{aligned, too_large};
use crate::plan::Plan;

/// The layout of a file with the debug information of an image.
#[derive(Debug)]
pub struct DebugFile {
    len: u64,
    /// Headers and symbols, each with its offset in the file.
    own: Vec<(u64, Vec<u8>)>,
    taken: Vec<Taken>,
}

/// A piece of the image that is in the file too. Offsets and sizes are bytes.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// Offset in the image.
    from: u64,
    /// Offset in the file.
    to: u64,
    len: u64,
}

/// The headers of an image, and its symbols.
struct Headers<'h> {
    fields: Fields,
    file: &'h [u8],
    programs: &'h [u8],
    sections: &'h [u8],
    /// The contents of `.symtab`.
    symbols: &'h [u8],
}

/// What becomes of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It keeps its contents.
    Taken,
    /// It keeps its contents but for the indexes of sections in them.
    Symbols,
    /// It has an address, and no contents.
    Empty,
    /// It is left out.
    Dropped,
}

impl DebugFile {
    /// That of the image that `plan` describes.
    ///
    /// # Errors
    /// Headers that cannot be followed.
    pub fn of_plan(plan: &Plan<'_>) -> Result<Self, Error> {
        let frame = &plan.frame;
        let headers = Headers {
            fields: Fields::of(Elf::parse(plan.image)?.header()),
            file: &frame.file_header,
            programs: build_id::program_headers(plan.image)?,
            sections: &frame.section_headers,
            symbols: &frame.symbols,
        };
        headers.debug_file()
    }

    /// That of an image with debug information.
    ///
    /// # Errors
    /// An image whose sections do not lie within it, or one without symbols.
    pub fn of_image(image: &Elf<'_>) -> Result<Self, Error> {
        let (fields, data) = (Fields::of(image.header()), image.data());
        for section in image.sections() {
            image.bytes(section)?;
        }
        let symbols = image.sections().iter().find(|section| section.sh_type == SHT_SYMTAB.0);
        let symbols = symbols.ok_or_else(|| Error::unsupported("an image without symbols"))?;
        let at = image.section_header_offset(0).unwrap_or(0) as usize;
        let end = at.saturating_add(image.sections().len() * fields.section_header());
        let headers = Headers {
            fields,
            file: data.get(..fields.file_header()).unwrap_or(&[]),
            programs: build_id::program_headers(data)?,
            sections: data.get(at..end).unwrap_or(&[]),
            symbols: image.bytes(symbols)?,
        };
        headers.debug_file()
    }

    /// Size of the file in bytes.
    #[allow(clippy::len_without_is_empty, reason = "it has headers")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// What is in no image: each piece with its offset in the file, in bytes.
    pub fn own(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.own.iter().map(|(at, bytes)| (*at, &bytes[..]))
    }

    /// Where the bytes `part` at `at` of the image go, piece by piece; nowhere, if the file does not have them. What
    /// no piece goes to is zero.
    pub fn route<'p>(
        &'p self,
        at: u64,
        part: &'p [u8],
    ) -> impl Iterator<Item = (u64, &'p [u8])> + 'p {
        let end = at.saturating_add(part.len() as u64);
        self.taken.iter().filter_map(move |taken| {
            let from = taken.from.max(at);
            let to = (taken.from + taken.len).min(end);
            let bytes = part.get((from - at) as usize..to.checked_sub(at)? as usize)?;
            (!bytes.is_empty()).then_some((taken.to + (from - taken.from), bytes))
        })
    }

    /// The pieces of `image`, from which this file has been laid out.
    pub fn pieces<'p>(&'p self, image: &'p [u8]) -> impl Iterator<Item = (u64, &'p [u8])> + 'p {
        self.route(0, image)
    }
}

impl Headers<'_> {
    fn debug_file(&self) -> Result<DebugFile, Error> {
        let fields = self.fields;
        let mut file = DebugFile { len: 0, own: Vec::new(), taken: Vec::new() };
        let mut file_header = self.file.to_vec();
        let programs_at = aligned(file_header.len() as u64, fields.alignment())?;
        let old: Vec<&[u8]> = self.sections.chunks_exact(fields.section_header()).collect();
        let fates: Vec<Fate> = old.iter().map(|header| fate(fields, header)).collect();
        // By index in the image, the index in the file.
        let mut indexes = Vec::with_capacity(old.len());
        let mut count = 0;
        for fate in &fates {
            indexes.push(count);
            count += u64::from(*fate != Fate::Dropped);
        }
        if count >= u64::from(SHN_LORESERVE) {
            return Err(Error::unsupported("more sections than a header can count"));
        }
        let mut at = programs_at.checked_add(self.programs.len() as u64).ok_or_else(too_large)?;
        let mut sections = Vec::with_capacity(self.sections.len());
        for (header, &fate) in old.iter().zip(&fates).filter(|(_, fate)| **fate != Fate::Dropped) {
            let mut header = header.to_vec();
            self.renumber_header(&mut header, &indexes)?;
            at = self.place(&mut file, &mut header, fate, at)?;
            if fate == Fate::Symbols {
                let symbols = self.renumbered_symbols(&indexes)?;
                let offset = self.field(&header, SectionField::Offset)?;
                file.own.push((offset, symbols));
            }
            sections.extend(header);
        }
        let sections_at = aligned(at, fields.alignment())?;
        file.len = sections_at.checked_add(sections.len() as u64).ok_or_else(too_large)?;
        let names = self.file_field(FileField::NamesSection)?;
        fields.set_file(&mut file_header, FileField::ProgramHeaders, programs_at)?;
        fields.set_file(&mut file_header, FileField::SectionHeaders, sections_at)?;
        fields.set_file(&mut file_header, FileField::SectionCount, count)?;
        fields.set_file(&mut file_header, FileField::NamesSection, index_of(&indexes, names)?)?;
        let programs = self.programs(&file)?;
        file.own.extend([(0, file_header), (programs_at, programs), (sections_at, sections)]);
        Ok(file)
    }

    /// Gives a section its place from `at` on; returns where it ends.
    fn place(
        &self,
        file: &mut DebugFile,
        header: &mut [u8],
        fate: Fate,
        at: u64,
    ) -> Result<u64, Error> {
        let fields = self.fields;
        let from = self.field(header, SectionField::Offset)?;
        let len = self.field(header, SectionField::Size)?;
        let align = self.field(header, SectionField::Align)?.max(1);
        match fate {
            Fate::Dropped => Ok(at),
            Fate::Empty => {
                // The first section is none, and all its fields say so.
                if fields.section_type(header) != Some(SHT_NULL.0) {
                    fields.set_section(header, SectionField::Type, SHT_NOBITS.0.into())?;
                    fields.set_section(header, SectionField::Offset, at)?;
                }
                Ok(at)
            }
            Fate::Taken | Fate::Symbols => {
                let to = aligned(at, align)?;
                fields.set_section(header, SectionField::Offset, to)?;
                if fate == Fate::Taken {
                    from.checked_add(len).ok_or_else(too_large)?;
                    file.taken.push(Taken { from, to, len });
                }
                to.checked_add(len).ok_or_else(too_large)
            }
        }
    }

    /// Gives the sections that a header names their new indexes.
    fn renumber_header(&self, header: &mut [u8], indexes: &[u64]) -> Result<(), Error> {
        let fields = self.fields;
        let link = self.field(header, SectionField::Link)?;
        fields.set_section(header, SectionField::Link, index_of(indexes, link)?)?;
        if self.field(header, SectionField::Flags)? & SHF_INFO_LINK.0 != 0 {
            let info = self.field(header, SectionField::Info)?;
            fields.set_section(header, SectionField::Info, index_of(indexes, info)?)?;
        }
        Ok(())
    }

    /// The symbols with the new indexes of sections.
    fn renumbered_symbols(&self, indexes: &[u64]) -> Result<Vec<u8>, Error> {
        let fields = self.fields;
        let mut symbols = self.symbols.to_vec();
        for symbol in symbols.chunks_exact_mut(fields.symbol()) {
            let section = fields.symbol_section(symbol).unwrap_or(0);
            if section < SHN_LORESERVE {
                let index = index_of(indexes, section.into())?;
                fields.set_symbol_section(symbol, index)?;
            }
        }
        Ok(symbols)
    }

    /// The program headers: segments of what the file has of them, which are notes.
    fn programs(&self, file: &DebugFile) -> Result<Vec<u8>, Error> {
        let fields = self.fields;
        let mut programs = self.programs.to_vec();
        for header in programs.chunks_exact_mut(fields.program_header()) {
            let get = |field| fields.program(header, field).ok_or_else(too_large);
            let (kind, from) = (get(ProgramField::Type)?, get(ProgramField::Offset)?);
            let (addr, align) = (get(ProgramField::Address)?, get(ProgramField::Align)?);
            let size = get(ProgramField::FileSize)?;
            let end = from.saturating_add(size);
            let is_in = |taken: &&Taken| from <= taken.from && taken.from + taken.len <= end;
            let inside = file.taken.iter().filter(is_in).filter(|_| kind != PT_LOAD.0.into());
            let start = inside.clone().map(|taken| taken.to).min();
            let end = inside.map(|taken| taken.to + taken.len).max();
            // An offset has to fit to the address even where there is nothing.
            let empty = addr.checked_rem(align).unwrap_or(0);
            let offset = if size == 0 { from } else { start.unwrap_or(empty) };
            let size = start.zip(end).map_or(0, |(start, end)| end - start);
            fields.set_program(header, ProgramField::Offset, offset)?;
            fields.set_program(header, ProgramField::FileSize, size)?;
        }
        Ok(programs)
    }

    fn field(&self, header: &[u8], field: SectionField) -> Result<u64, Error> {
        self.fields.section(header, field).ok_or_else(too_large)
    }

    fn file_field(&self, field: FileField) -> Result<u64, Error> {
        self.fields.file(self.file, field).ok_or_else(too_large)
    }
}

/// What becomes of the section with this header.
fn fate(fields: Fields, header: &[u8]) -> Fate {
    let kind = fields.section_type(header).unwrap_or(SHT_NULL.0);
    let flags = fields.section(header, SectionField::Flags).unwrap_or(0);
    let loaded = flags & SHF_ALLOC.0 != 0;
    match kind {
        kind if kind == SHT_NULL.0 || kind == SHT_NOBITS.0 => Fate::Empty,
        kind if kind == SHT_SYMTAB.0 => Fate::Symbols,
        kind if !loaded && (kind == SHT_RELA.0 || kind == SHT_REL.0) => Fate::Dropped,
        kind if loaded && kind != SHT_NOTE.0 => Fate::Empty,
        _ => Fate::Taken,
    }
}

fn index_of(indexes: &[u64], old: u64) -> Result<u64, Error> {
    let index = usize::try_from(old).ok().and_then(|old| indexes.get(old)).copied();
    index.ok_or_else(|| Error::disagree(format!("there is no section {old}")))
}
