//! Contents of a hollow image, made on their way into the output.
//!
//! What: a [`Filler`] becomes the [`Plan`] of an image with debug info ([`Filler::plan`]). The parts of that plan which
//! are contents, or relocations that stay, are made of the inputs as the debug sections are.
//!
//! Why: nobody but the plan reads the filled image. To have it in memory costs a fault for each of its pages, and
//! all its bytes are written twice. And what a filler has found out, a plan of the same image need not find out again.
//!
//! Cost: that of [`Filler::fill`], less the buffer; relocations that stay are read twice. Input sections may be a few bytes
//! each, so many are made as one part.

use std::borrow::Cow;
use std::ops::Range;

use image::Elf;
use image::consts::{SHF_ALLOC, SHT_NOBITS, SHT_NOTE};
use rayon::prelude::*;

use crate::build_id::Note;
use crate::carve::gaps;
use crate::dialect::Dialect;
use crate::emit::{self, Locals};
use crate::error::Error;
use crate::fill::{self, Filler};
use crate::filled::{self, Filled, RECORD};
use crate::frame::Origin;
use crate::layout::too_large;
use crate::linker::Linker;
use crate::map::LinkMap;
use crate::part::{InputSection, Part};
use crate::plan::{self, Plan};
use crate::relocate::{Chunk, Source, Stop};
use crate::sections::DebugSections;
use crate::targets::{self, Target, Use};

/// A part that is made of pieces is not much longer.
const MIX: u64 = 256 << 10;
/// Bytes of the image that are a part of their own.
const ALONE: usize = 64 << 10;

/// What is put into a hollow image.
#[derive(Debug)]
pub(crate) struct Filling {
    sections: Vec<Filled>,
    /// What their relocations refer to: by input, by symbol.
    targets: Vec<Vec<Target>>,
}

/// A piece of a part.
#[derive(Debug)]
pub(crate) enum Bit<'p> {
    /// As the linker wrote it.
    Bytes(&'p [u8]),
    Made(Made),
}

/// A chunk of an input section, or the relocations of it that stay.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// Offset in the image, in bytes.
    at: u64,
    /// Index among the sections that are filled.
    section: u32,
    chunk: Chunk,
    records: bool,
}

impl Bit<'_> {
    /// Size in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Bit::Bytes(bytes) => bytes.len(),
            Bit::Made(Made { chunk, records: false, .. }) => chunk.bytes.len(),
            Bit::Made(Made { chunk, records: true, .. }) => chunk.relocations.len() * RECORD,
        }
    }
}

impl<'i, 'a> Filler<'i, 'a> {
    /// The image that a [`Filler::plan`] takes: all but what is filled, where that is made while a file is written.
    ///
    /// # Errors
    /// An image that is cut off, or sections that overlap.
    pub fn unfilled(&self) -> Result<Cow<'i, [u8]>, Error> {
        if self.frame.is_none() {
            return Ok(Cow::Borrowed(self.image.data()));
        }
        let mut places = Vec::new();
        for filled in &self.sections {
            let object = &self.debug.objects[filled.input as usize];
            // Hollow objects have their notes, among which the build ID is looked for.
            if object.elf.sections()[filled.section as usize].sh_type != SHT_NOTE.0 {
                places.push((filled.contents_at, object.bytes(filled.section)?.len()));
            }
            let records = filled.records_at.map(|at| (at, filled.count as usize * RECORD));
            places.extend(records);
        }
        let mut out = vec![0; self.len()];
        for (at, bytes) in gaps(self.copies()?, &places) {
            filled::part(&mut out, at, bytes.len() as u64)?.copy_from_slice(bytes);
        }
        Ok(Cow::Owned(out))
    }

    /// Plans the image that the linker would have written of the true objects with debug info. `image` is what
    /// [`Filler::unfilled`] gives, `map` the map of the link, `dialect` its rules.
    ///
    /// # Errors
    /// Anything that cannot be followed exactly; see [`Error`].
    pub fn plan(
        self,
        image: &'a [u8],
        map: &LinkMap<'a>,
        dialect: &Dialect,
    ) -> Result<Plan<'a>, Error> {
        let elf = Elf::parse(image)?;
        plan::check(&elf, map, dialect)?;
        let Filler { symbols, mut debug, targets, mut names, sections, .. } = self;
        let DebugSections { linker, objects, layout, merged, seen, .. } = &debug;
        let rules = (*linker, Use::Debug);
        let (of_debug, frame) = rayon::join(
            || targets::resolve(objects, layout, merged, &symbols, seen, rules),
            || plan::frame(&elf, map, &debug),
        );
        let frame = frame?;
        debug.targets = of_debug;
        if names.is_empty() {
            names = plan::names(&elf, map, &debug, &frame, || Locals::new(&symbols));
        } else {
            let of_sections = frame.section_symbols(&elf, map, &debug.layout.debug);
            let new = (&frame.renumbering, &of_sections);
            emit::rename(&mut names, &debug.objects, &debug.layout, new);
        }
        let filling = Some(Filling { sections, targets });
        Ok(Plan { image, sections: debug, names, frame, filling })
    }
}

/// The pieces of an image that are made, by their offsets.
pub(crate) struct Mixer<'p> {
    image: &'p [u8],
    made: Vec<Made>,
    /// Where the build ID is, which is hashed otherwise.
    id: Range<u64>,
    /// How many pieces have been put into parts.
    used: usize,
}

impl<'a> Plan<'a> {
    /// What is made of the image, if that is hollow; each of the sections `whole` in one piece.
    ///
    /// # Errors
    /// Relocations that do not lie within the inputs.
    pub(crate) fn mixer(
        &self,
        whole: &[InputSection],
        note: Option<Note>,
    ) -> Result<Option<Mixer<'_>>, Error> {
        let Some(filling) = &self.filling else { return Ok(None) };
        let of_section = |(index, filled): (usize, &Filled)| -> Result<_, Error> {
            let source = self.filled_source(filled)?;
            let chunks = match whole.contains(&(filled.input, filled.section)) {
                true => source.whole().map(|chunk| vec![chunk]),
                false => source.chunks(),
            };
            let chunks = chunks.map_err(Error::of_hollow)?;
            let mut made = Vec::with_capacity(2 * chunks.len());
            let section = index as u32;
            for chunk in chunks {
                if let Some(at) = filled.records_at.filter(|_| !chunk.relocations.is_empty()) {
                    let at = at.saturating_add((chunk.relocations.start * RECORD) as u64);
                    made.push(Made { at, section, chunk: chunk.clone(), records: true });
                }
                let at = filled.contents_at.saturating_add(chunk.bytes.start as u64);
                made.push(Made { at, section, chunk, records: false });
            }
            Ok(made)
        };
        let made: Vec<Vec<_>> =
            filling.sections.par_iter().enumerate().map(of_section).collect::<Result<_, _>>()?;
        let mut made: Vec<Made> = made.into_iter().flatten().collect();
        made.sort_unstable_by_key(|made| made.at);
        let id = note.map_or(0..0, |note| note.start as u64..note.end as u64);
        Ok(Some(Mixer { image: self.image, made, id, used: 0 }))
    }

    fn filled_source(&self, filled: &Filled) -> Result<Source<'_, 'a>, Error> {
        let targets = self.filling.as_ref().map_or(&[][..], |filling| &filling.targets);
        filled.source(&self.sections, targets, &self.names)
    }

    /// Makes a piece in `out`, which has its size.
    pub(crate) fn make_piece(
        &self,
        made: &Made,
        out: &mut [u8],
    ) -> Result<(), (Stop, Option<InputSection>)> {
        let filled = self.filling.as_ref().and_then(|all| all.sections.get(made.section as usize));
        let filled = filled.ok_or_else(|| (Stop::Bad(too_large()), None))?;
        let stop = |stop| match stop {
            Stop::Bad(error) => (Stop::Bad(error.of_hollow()), None),
            Stop::Unordered => (Stop::Unordered, Some((filled.input, filled.section))),
        };
        let source = self.filled_source(filled).map_err(|error| stop(Stop::Bad(error)))?;
        if made.records {
            source.keep(&made.chunk, out).map_err(stop)?;
            if source.linker == Linker::Gnu {
                filled::sort_records(out);
            }
            return Ok(());
        }
        let check = &mut |relocation| fill::check_known(&source, &relocation);
        match source.write_and_keep(&made.chunk, (out, &mut []), check) {
            Ok(true) => Ok(()),
            Ok(false) => Err(stop(Stop::Unordered)),
            Err(error) => Err(stop(Stop::Bad(error))),
        }
    }

    /// The parts of what is loaded, by index of the section in `parts`; returns those between sections.
    pub(crate) fn loaded_parts<'p>(
        &'p self,
        elf: &Elf<'p>,
        mixer: &mut Mixer<'p>,
        parts: &mut [Vec<Part<'p, 'a>>],
    ) -> Result<Vec<Part<'p, 'a>>, Error> {
        let mut places = Vec::new();
        for (index, extent) in self.frame.sections.iter().enumerate() {
            let Origin::Image(old) = extent.origin else { continue };
            let section = &elf.sections()[old as usize];
            let is_loaded = section.flags & SHF_ALLOC.0 != 0 && section.sh_type != SHT_NOBITS.0;
            if is_loaded && section.size != 0 {
                let end = section.offset.checked_add(section.size).ok_or_else(too_large)?;
                places.push((section.offset..end, index));
            }
        }
        places.sort_unstable_by_key(|(place, _)| place.start);
        let (mut between, mut at) = (Vec::new(), self.frame.file_header.len() as u64);
        for (place, index) in places {
            mixer.mix(&mut between, at, at..place.start)?;
            at = place.end;
            mixer.mix(&mut parts[index], place.start, place)?;
        }
        mixer.mix(&mut between, at, at..self.frame.head)?;
        Ok(between)
    }
}

impl<'p> Mixer<'p> {
    /// Adds the parts of the image's bytes `range`, which go to `to`.
    ///
    /// # Errors
    /// Pieces that overlap, or that do not end where the range does.
    pub(crate) fn mix(
        &mut self,
        parts: &mut Vec<Part<'p, '_>>,
        to: u64,
        range: Range<u64>,
    ) -> Result<(), Error> {
        let overlap =
            || Error::disagree(format!("contents overlap behind {:#x}", range.start)).of_hollow();
        let mut mix = Mix { parts, at: to, len: 0, pieces: Vec::new() };
        let first = self.made.partition_point(|made| made.at < range.start);
        let here = self.made[first..].iter().take_while(|made| made.at < range.end);
        let mut from = range.start;
        for made in here {
            mix.add_bytes(self.bytes(from..made.at).ok_or_else(overlap)?, (from, &self.id));
            let piece = Bit::Made(made.clone());
            let end = made.at.checked_add(piece.len() as u64);
            from = end.filter(|&end| end <= range.end).ok_or_else(overlap)?;
            mix.add(piece);
            self.used += 1;
        }
        mix.add_bytes(self.bytes(from..range.end).ok_or_else(overlap)?, (from, &self.id));
        mix.end();
        Ok(())
    }

    fn bytes(&self, range: Range<u64>) -> Option<&'p [u8]> {
        self.image.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }

    /// Refuses pieces that are in no part.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.used == self.made.len() {
            true => Ok(()),
            false => Err(Error::disagree("contents outside of the image's sections").of_hollow()),
        }
    }
}

/// A part that is being put together.
struct Mix<'m, 'p, 'a> {
    parts: &'m mut Vec<Part<'p, 'a>>,
    /// Offset of the part in the output, in bytes.
    at: u64,
    len: u64,
    pieces: Vec<Bit<'p>>,
}

impl<'p> Mix<'_, 'p, '_> {
    fn add(&mut self, piece: Bit<'p>) {
        self.len += piece.len() as u64;
        self.pieces.push(piece);
        if self.len >= MIX {
            self.end();
        }
    }

    /// Adds bytes that stand at `from` of the image; those that hold the build ID, `id`, are a part of their own.
    fn add_bytes(&mut self, bytes: &'p [u8], (from, id): (u64, &Range<u64>)) {
        let holds_id = from < id.end && id.start < from + bytes.len() as u64;
        if holds_id || bytes.len() >= ALONE {
            self.end();
            let most = if holds_id { bytes.len() } else { MIX as usize * 4 };
            for bytes in bytes.chunks(most) {
                self.parts.push(Part::of_bytes(self.at, bytes));
                self.at += bytes.len() as u64;
            }
        } else if !bytes.is_empty() {
            self.add(Bit::Bytes(bytes));
        }
    }

    /// Ends the part, if it has begun.
    fn end(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        if !pieces.is_empty() {
            self.parts.push(Part::of_pieces(self.at, self.len, pieces));
        }
        self.at += std::mem::take(&mut self.len);
    }
}
