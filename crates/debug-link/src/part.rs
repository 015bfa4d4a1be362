//! The parts that the output is made of: what goes where.
//!
//! A part is some 100 KiB to a few MiB, so that it is still in the processor's cache when it is
//! passed on.

use image::Elf;

use crate::build_id::Note;
use crate::error::Error;
use crate::fields::Fields;
use crate::filling::{Bit, Mixer};
use crate::frame::{Frame, Origin, is_kept};
use crate::layout::Piece;
use crate::merge::Merged;
use crate::plan::Plan;
use crate::relocate::{self, Chunk, Source, Stop};

/// Bytes of a part that is just copied.
const COPY: usize = 1 << 20;
/// Relocations of the image in one part.
const RENUMBERED: usize = 1 << 14;

/// What goes into a part of the output.
#[derive(Debug)]
enum Work<'p, 'a> {
    /// These bytes.
    Bytes(&'p [u8]),
    /// A part of an input section.
    Chunk(Source<'p, 'a>, Chunk),
    /// The relocations of such a part, kept.
    Kept(Source<'p, 'a>, Chunk),
    /// Relocations of the image, with new symbols.
    Renumbered(&'p [u8], &'p Frame, Fields),
    /// Pieces of the image, of which some are put into it.
    Pieces(Vec<Bit<'p>>),
}

/// A part of the output.
#[derive(Debug)]
pub(crate) struct Part<'p, 'a> {
    /// Offset in the output, in bytes.
    pub(crate) at: u64,
    /// Size in bytes.
    pub(crate) len: u64,
    work: Work<'p, 'a>,
}

/// All parts of the output; what lies between them is zero.
#[derive(Debug)]
pub(crate) struct Parts<'p, 'a> {
    /// The headers, and what is loaded.
    pub(crate) frame: Vec<Part<'p, 'a>>,
    /// By index of the section, in the order of the file; nothing for what is loaded.
    pub(crate) sections: Vec<Vec<Part<'p, 'a>>>,
}

/// An input section, as indexes of the input and of the section.
pub(crate) type InputSection = (u32, u32);

impl<'a> Plan<'a> {
    /// The parts; each of the sections `whole` is one part.
    ///
    /// # Errors
    /// Parts that overlap, or that do not lie within the inputs.
    pub(crate) fn parts(
        &self,
        note: Option<Note>,
        whole: &[InputSection],
    ) -> Result<Parts<'_, 'a>, Error> {
        let elf = Elf::parse(self.image)?;
        let header = &self.frame.file_header;
        let head = self.image.get(header.len()..self.frame.head as usize);
        let head = head.ok_or_else(|| Error::disagree("the image is cut off"))?;
        let mut sections: Vec<Vec<Part<'_, 'a>>> = Vec::new();
        sections.resize_with(self.frame.sections.len(), Vec::new);
        let mut mixer = self.mixer(whole, note)?;
        let mut frame = Vec::new();
        copy(&mut frame, 0, header);
        match &mut mixer {
            Some(mixer) => frame.extend(self.loaded_parts(&elf, mixer, &mut sections)?),
            None => copy(&mut frame, header.len() as u64, head),
        }
        copy(&mut frame, self.frame.section_headers_at, &self.frame.section_headers);
        for (index, parts) in sections.iter_mut().enumerate() {
            self.section_parts(&elf, index, whole, (&mut mixer, parts))?;
        }
        mixer.map_or(Ok(()), |mixer| mixer.check())?;
        let parts = Parts { frame, sections };
        parts.check(self.len())?;
        Ok(parts)
    }

    /// The parts of one section.
    fn section_parts<'p>(
        &'p self,
        elf: &Elf<'p>,
        index: usize,
        whole: &[InputSection],
        (mixer, parts): (&mut Option<Mixer<'p>>, &mut Vec<Part<'p, 'a>>),
    ) -> Result<(), Error> {
        let extent = &self.frame.sections[index];
        let tables = self.frame.tables;
        match extent.origin {
            Origin::Debug(debug) => self.debug_parts(parts, debug, extent.offset, whole)?,
            Origin::Relocations(debug) => self.kept_parts(parts, debug, extent.offset)?,
            // Those of an image are made where it is filled.
            Origin::ImageRelocations(_) => {}
            Origin::Image(old) if old == tables.names => {
                copy(parts, extent.offset, &self.frame.names);
            }
            Origin::Image(old) if old == tables.symbols => {
                copy(parts, extent.offset, &self.frame.symbols);
            }
            Origin::Image(_) if extent.offset < self.frame.head || extent.size == 0 => {}
            Origin::Image(old) => {
                let section = &elf.sections()[old as usize];
                let contents = elf.bytes(section)?;
                if let Some(mixer) = mixer {
                    let end = section.offset.saturating_add(section.size);
                    mixer.mix(parts, extent.offset, section.offset..end)?;
                } else if is_kept(section) {
                    self.renumbered_parts(parts, extent.offset, contents, Fields::of(elf.header()));
                } else {
                    copy(parts, extent.offset, contents);
                }
            }
        }
        Ok(())
    }

    /// The input section that a piece is.
    fn source(&self, piece: &Piece) -> Result<Source<'_, 'a>, Error> {
        self.sections.source(piece, &self.names)
    }

    /// The parts of the kept relocations of one debug section.
    fn kept_parts<'p>(
        &'p self,
        parts: &mut Vec<Part<'p, 'a>>,
        index: u32,
        base: u64,
    ) -> Result<(), Error> {
        let size = Fields::of(self.sections.objects[0].elf.header()).relocation() as u64;
        let mut at = base;
        for piece in &self.sections.layout.debug[index as usize].pieces {
            let source = self.source(piece)?;
            for chunk in source.chunks()? {
                if chunk.relocations.is_empty() {
                    continue;
                }
                let len = chunk.relocations.len() as u64 * size;
                parts.push(Part { at, len, work: Work::Kept(source, chunk) });
                at += len;
            }
        }
        Ok(())
    }

    /// The parts of kept relocations of the image.
    fn renumbered_parts<'p>(
        &'p self,
        parts: &mut Vec<Part<'p, 'a>>,
        mut at: u64,
        contents: &'p [u8],
        fields: Fields,
    ) {
        for records in contents.chunks(fields.relocation() * RENUMBERED) {
            let len = records.len() as u64;
            parts.push(Part { at, len, work: Work::Renumbered(records, &self.frame, fields) });
            at += len;
        }
    }

    /// The parts of one debug section.
    fn debug_parts<'p>(
        &'p self,
        parts: &mut Vec<Part<'p, 'a>>,
        index: u32,
        base: u64,
        whole: &[InputSection],
    ) -> Result<(), Error> {
        let debug = &self.sections.layout.debug[index as usize];
        if let Some(group) = debug.group {
            if let Merged::Strings(strings) = &self.sections.merged[group as usize] {
                copy(parts, base, strings.text());
            }
            return Ok(());
        }
        for piece in &debug.pieces {
            let source = self.source(piece)?;
            let chunks = match whole.contains(&(piece.input, piece.section)) {
                true => vec![source.whole()?],
                false => source.chunks()?,
            };
            for chunk in chunks {
                let at = base + piece.offset + chunk.bytes.start as u64;
                let len = chunk.bytes.len() as u64;
                parts.push(Part { at, len, work: Work::Chunk(source, chunk) });
            }
        }
        Ok(())
    }

    /// Makes a part in `out`, which has its size.
    ///
    /// # Errors
    /// A relocation that cannot be applied, or one that belongs into another part, with the section that it is of.
    pub(crate) fn make_part(
        &self,
        part: &Part<'_, 'a>,
        mut out: &mut [u8],
    ) -> Result<(), (Stop, Option<InputSection>)> {
        match &part.work {
            Work::Bytes(bytes) => out.copy_from_slice(bytes),
            Work::Chunk(source, chunk) => {
                source.write(chunk, out).map_err(|stop| (stop, self.input_section(source)))?;
            }
            Work::Kept(source, chunk) => {
                source.keep(chunk, out).map_err(|stop| (stop, self.input_section(source)))?;
            }
            Work::Renumbered(relocations, frame, fields) => {
                let (wide, little) = fields.form();
                relocate::renumber(relocations, wide, little, &frame.renumbering, out)
                    .map_err(|error| (Stop::Bad(error), None))?;
            }
            Work::Pieces(pieces) => {
                for piece in pieces {
                    let (here, behind) = out.split_at_mut(piece.len());
                    match piece {
                        Bit::Bytes(bytes) => here.copy_from_slice(bytes),
                        Bit::Made(made) => self.make_piece(made, here)?,
                    }
                    out = behind;
                }
            }
        }
        Ok(())
    }

    /// The indexes of an input among the inputs of this plan, and of its section.
    fn input_section(&self, source: &Source<'_, 'a>) -> Option<InputSection> {
        let same = |object: &std::sync::Arc<_>| std::ptr::eq(&**object, source.object);
        let input = self.sections.objects.iter().position(same)?;
        Some((input as u32, source.section))
    }
}

impl Parts<'_, '_> {
    /// Refuses parts that overlap or lie outside of a file of `len` bytes.
    fn check(&self, len: u64) -> Result<(), Error> {
        let all = self.frame.iter().chain(self.sections.iter().flatten());
        let mut extents: Vec<(u64, u64)> = all.map(|part| (part.at, part.len)).collect();
        extents.sort_unstable();
        let mut end = 0;
        for (at, size) in extents {
            if at < end {
                return Err(Error::disagree(format!("sections overlap at {at:#x} of the file")));
            }
            end = at.saturating_add(size);
        }
        match end <= len {
            true => Ok(()),
            false => Err(Error::disagree("sections behind the end of the file")),
        }
    }
}

impl<'p> Part<'p, '_> {
    /// The bytes of a part that has not to be made.
    pub(crate) fn bytes(&self) -> Option<&'p [u8]> {
        match self.work {
            Work::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The part, which was made in `buffer` if it had to be.
    pub(crate) fn contents<'b>(&self, buffer: &'b [u8]) -> &'b [u8]
    where
        'p: 'b,
    {
        self.bytes().unwrap_or_else(|| &buffer[..self.len as usize])
    }

    /// A part of bytes of the image.
    pub(crate) fn of_bytes(at: u64, bytes: &'p [u8]) -> Self {
        Part { at, len: bytes.len() as u64, work: Work::Bytes(bytes) }
    }

    /// A part of pieces, which have `len` bytes.
    pub(crate) fn of_pieces(at: u64, len: u64, pieces: Vec<Bit<'p>>) -> Self {
        Part { at, len, work: Work::Pieces(pieces) }
    }
}

/// Parts that copy `contents` to `at`.
fn copy<'p>(parts: &mut Vec<Part<'p, '_>>, at: u64, contents: &'p [u8]) {
    for (index, bytes) in contents.chunks(COPY).enumerate() {
        let at = at + (index * COPY) as u64;
        parts.push(Part { at, len: bytes.len() as u64, work: Work::Bytes(bytes) });
    }
}
