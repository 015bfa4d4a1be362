//! Contents put into an image that was linked of hollow objects.
//!
//! What: a linker that is given hollow objects ([`crate::hollow`]) writes an image in which everything has its place.
//! A [`Filler`] makes of it the image that the same linker would have written of the true objects: each input
//! section's contents with relocations applied, and the relocations that stay (`--emit-relocs`).
//!
//! Why: a linker reads, relocates and writes on one thread, or nearly so. Here sections are cut into
//! parts for all threads, each byte is read once, and what is a hole in the image is not read at all.
//!
//! What stays as the linker wrote it: headers, symbols, merged strings, notes, and what it has put between
//! input sections. None of that depends on what was hollow.
//!
//! # What is not followed
//!
//! Each is an [`Error`], after which the caller lets the linker link the true objects, and report what is wrong with
//! them: other machines than x86_64; relocations other than [`KNOWN`], which are all that kernels have; symbols that are
//! defined nowhere, but for weak ones, which are 0; references to what was thrown away; values that do not fit;
//! exception tables (`.eh_frame`), thread-local symbols, indirect functions.
//!
//! # Cost
//!
//! [`Prepared::filler`] looks each symbol up once, which waits for memory; [`Filler::fill`] reads contents and relocations
//! once, in parallel, and the pages of a new buffer cost as much again, where it is not done on the way into the output
//! ([`Filler::plan`]). What a linker saves by it is what
//! `vmlinker timeline` shows of a link with `--engine fill=kernel` beside one without. Memory: the buffer, and 36
//! bytes for each symbol.
//!
//! # Source of facts
//!
//! GNU ld 2.40: `bfd/elf64-x86-64.c`, `elf_x86_64_relocate_section`; `bfd/elflink.c`, `elf_link_input_bfd`, and
//! `elf_link_adjust_relocs`, which sorts what is kept by offset. ld.lld 19: `ELF/InputSection.cpp`, `relocateAlloc` and
//! `copyRelocations`; `ELF/LinkerScript.cpp`, `addOrphanSections`, for the order of what is kept: that of the inputs.
//! `tests/debug_link/fill.rs` compares whole kernels of both linkers.

use std::sync::Arc;

use image::consts::{
    R_X86_64_32, R_X86_64_32S, R_X86_64_64, R_X86_64_PC32, R_X86_64_PC64, R_X86_64_PLT32,
};
use image::{Elf, Symbol};
use rayon::prelude::*;

use crate::carve::{carve, gaps};
use crate::emit::{Known, Named, Renumbering};
use crate::error::Error;
use crate::filled::{self, Filled, RECORD};
use crate::frame::{Frame, Origin};
use crate::layout::{Layout, too_large};
use crate::linker::Linker;
use crate::locals::LocalIndexes;
use crate::map::LinkMap;
use crate::merge;
use crate::object::{Input, Object};
use crate::prepare::Prepared;
use crate::record::Decoded;
use crate::relocate::{Chunk, Source};
use crate::sections::{self, DebugSections};
use crate::seen::Seen;
use crate::targets::{self, Globals, Target, Use};

/// The relocations that are followed.
const KNOWN: [u32; 6] = [
    R_X86_64_64.0,
    R_X86_64_PC32.0,
    R_X86_64_PLT32.0,
    R_X86_64_32.0,
    R_X86_64_32S.0,
    R_X86_64_PC64.0,
];

/// Makes the image that a linker would have written of the true objects, from one that it has written of hollow ones.
#[derive(Debug)]
pub struct Filler<'i, 'a> {
    pub(crate) image: Elf<'i>,
    /// The symbols of the image without the null symbol.
    pub(crate) symbols: Vec<Symbol<'i>>,
    /// The debug sections, but for what their relocations refer to.
    pub(crate) debug: DebugSections<'a>,
    /// What the relocations of what is filled refer to: by input, by symbol.
    pub(crate) targets: Vec<Vec<Target>>,
    /// The same; nothing if no relocations are kept.
    pub(crate) names: Vec<Vec<Named>>,
    pub(crate) sections: Vec<Filled>,
    /// Where everything goes, if that is not where it is in the image.
    pub(crate) frame: Option<Frame>,
    len: usize,
}

impl<'a> Prepared<'a> {
    /// Plans to fill `image`, which was linked of the hollow twins of these inputs and of those that follow them in
    /// the linker's order; `map` is the map of that link.
    ///
    /// Inputs may as well have been linked as they are. They may also have been exchanged since for others that differ
    /// in contents and relocations only, under the names that the map has.
    ///
    /// With `adds_relocations` the image was linked without `--emit-relocs` and of objects without relocations, and
    /// becomes that of a link with it; of GNU ld only, with `--discard-none`. Otherwise relocations stay if the image
    /// has room for them.
    ///
    /// # Errors
    /// Anything that cannot be followed exactly; see [`Error`].
    pub fn filler<'i>(
        &self,
        later: &[Input<'a>],
        image: &'i [u8],
        map: &LinkMap<'a>,
        adds_relocations: bool,
    ) -> Result<Filler<'i, 'a>, Error> {
        Filler::new(self, later, Elf::parse(image)?, map, adds_relocations)
    }
}

/// A part of the image that is made at once.
enum Task<'t> {
    /// It is as in the image.
    Copy { from: &'t [u8], to: &'t mut [u8] },
    /// A part of an input section.
    Chunk {
        /// Index of the section.
        section: usize,
        chunk: Chunk,
        contents: &'t mut [u8],
        /// The relocations that stay.
        records: &'t mut [u8],
    },
}

impl<'i, 'a> Filler<'i, 'a> {
    fn new(
        prepared: &Prepared<'a>,
        later: &[Input<'a>],
        elf: Elf<'i>,
        map: &LinkMap<'a>,
        adds_relocations: bool,
    ) -> Result<Self, Error> {
        let (image, linker) = (&elf, map.linker);
        if linker != prepared.linker {
            return Err(Error::disagree("a link map of another linker"));
        }
        let objects = prepared.objects_with(later)?;
        filled::check_machine(image, &objects)?;
        let lay_out = || {
            let mut layout = Layout::new(&objects, map)?;
            let merged = merge::merge_all(&mut layout, prepared, &objects, image, linker)?;
            Ok::<_, Error>((layout, merged))
        };
        let look_up = || {
            let symbols = image.symbols()?;
            Ok::<_, Error>((Seen::new(&objects, &Globals::new(&symbols)), symbols))
        };
        let (laid_out, looked_up) = rayon::join(lay_out, look_up);
        let ((layout, merged), (seen, symbols)) = (laid_out?, looked_up?);
        let mut sections = filled::sections(image, map, &objects, &layout)?;
        if adds_relocations {
            filled::check_left_out(image, map, &objects, &layout)?;
        }
        let frame = match adds_relocations {
            true => Some(Frame::keeping(image, linker, &filled::counts(image, &sections))?),
            false => None,
        };
        let rules = (linker, Use::Loaded);
        let mut targets = targets::resolve(&objects, &layout, &merged, &symbols, &seen, rules);
        let mut names = Vec::new();
        if frame.is_some() || Frame::may_keep(image) {
            let tables = filled::tables(image, frame.as_ref());
            filled::place_records(tables, linker, &objects, &mut sections)?;
            let locals = LocalIndexes::new(&objects, &targets, &symbols, map);
            let as_is = Renumbering::default();
            let of_sections = match &frame {
                Some(frame) => frame.section_symbols(image, map, &[]),
                None => filled::section_symbols(image, map, &symbols),
            };
            let known = Known {
                seen: &seen,
                unshown: &locals,
                new: frame.as_ref().map_or(&as_is, |frame| &frame.renumbering),
                sections: &of_sections,
            };
            names = known.names(&objects, &layout, &targets);
        }
        // The linker refuses what debug info may do: to refer to what was thrown away.
        let discarded = targets.par_iter_mut().flatten().filter(|t| **t == Target::Discarded);
        discarded.for_each(|target| *target = Target::Unknown);
        let len = len(image, &objects, frame.as_ref())?;
        let lookups = sections::lookups(prepared, &layout);
        let of_debug = Vec::new();
        let debug =
            DebugSections { linker, objects, layout, merged, targets: of_debug, seen, lookups };
        Ok(Filler { image: elf, symbols, debug, targets, names, sections, frame, len })
    }

    /// Length of the filled image in bytes.
    #[allow(clippy::len_without_is_empty, reason = "an image is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes the filled image in `out`, which has its length and is all zeros, with as many threads as the current pool
    /// of rayon has.
    ///
    /// # Errors
    /// A relocation that cannot be followed exactly, or a buffer of another length; `out` is of no use then.
    pub fn fill(&self, out: &mut [u8]) -> Result<(), Error> {
        if out.len() != self.len {
            return Err(Error::disagree("a buffer of another length than the image"));
        }
        let unordered = self.fill_parts(out)?;
        self.fill_unordered(out, &unordered)
    }

    /// What stays as it is in the image, and where; what is filled is not left out.
    pub(crate) fn copies(&self) -> Result<Vec<(u64, &[u8])>, Error> {
        let data = self.image.data();
        let Some(frame) = &self.frame else { return Ok(vec![(0, data)]) };
        let header = frame.file_header.len();
        let head = data.get(header..frame.head as usize);
        let head = head.ok_or_else(|| Error::disagree("the image is cut off"))?;
        let mut copies = vec![
            (0, &frame.file_header[..]),
            (header as u64, head),
            (frame.section_headers_at, &frame.section_headers[..]),
        ];
        for extent in frame.sections.iter().filter(|extent| extent.offset >= frame.head) {
            let Origin::Image(old) = extent.origin else { continue };
            copies.push((
                extent.offset,
                match old {
                    old if old == frame.tables.names => &frame.names[..],
                    old if old == frame.tables.symbols => &frame.symbols[..],
                    old => self.image.bytes(&self.image.sections()[old as usize])?,
                },
            ));
        }
        Ok(copies)
    }

    /// An input section with all that its relocations refer to.
    fn source(&self, filled: &Filled) -> Result<Source<'_, 'a>, Error> {
        filled.source(&self.debug, &self.targets, &self.names)
    }

    /// Makes all parts; returns the sections, by their indexes, whose relocations are not in the order of their offsets.
    fn fill_parts(&self, out: &mut [u8]) -> Result<Vec<usize>, Error> {
        let sources = self.sections.iter().map(|filled| self.source(filled));
        let sources: Vec<Source<'_, 'a>> = sources.collect::<Result<_, _>>()?;
        let mut parts = Vec::new();
        // Offset and length of the contents of each part, and of its relocations behind them.
        let mut places = Vec::new();
        for (section, (source, filled)) in sources.iter().zip(&self.sections).enumerate() {
            for chunk in source.chunks()? {
                let at = filled.contents_at.saturating_add(chunk.bytes.start as u64);
                places.push((at, chunk.bytes.len()));
                let (at, count) = match filled.records_at {
                    Some(at) => (at, chunk.relocations.len()),
                    None => (0, 0),
                };
                let before = (chunk.relocations.start * RECORD) as u64;
                places.push((at.saturating_add(before), count * RECORD));
                parts.push((section, chunk));
            }
        }
        let copies = gaps(self.copies()?, &places);
        places.extend(copies.iter().map(|&(at, bytes)| (at, bytes.len())));
        let mut slices = carve(out, &places)?.into_iter();
        let mut tasks = Vec::with_capacity(parts.len() + copies.len());
        for (section, chunk) in parts {
            if let (Some(contents), Some(records)) = (slices.next(), slices.next()) {
                tasks.push(Task::Chunk { section, chunk, contents, records });
            }
        }
        let copied = copies.into_iter().zip(slices);
        tasks.extend(copied.map(|((_, from), to)| Task::Copy { from, to }));
        let done: Vec<Result<Option<usize>, Error>> =
            tasks.into_par_iter().with_max_len(1).map(|task| task.run(&sources)).collect();
        let mut unordered = Vec::new();
        for section in done {
            unordered.extend(section?);
        }
        unordered.dedup();
        Ok(unordered)
    }

    /// Makes sections again whose relocations are out of order, each at once.
    fn fill_unordered(&self, image: &mut [u8], sections: &[usize]) -> Result<(), Error> {
        for &section in sections {
            let filled = &self.sections[section];
            let source = self.source(filled)?;
            let whole = source.whole()?;
            let contents = filled::part(image, filled.contents_at, source.bytes.len() as u64)?;
            source.write_whole(&whole, contents)?;
            if let (Some(at), Linker::Gnu) = (filled.records_at, self.debug.linker) {
                let len = (whole.relocations.len() * RECORD) as u64;
                filled::sort_records(filled::part(image, at, len)?);
            }
        }
        Ok(())
    }
}

/// Length of the filled image in bytes.
fn len(
    image: &Elf<'_>,
    objects: &[Arc<Object<'_>>],
    frame: Option<&Frame>,
) -> Result<usize, Error> {
    let Some(frame) = frame else { return Ok(image.data().len()) };
    // Beside what the image has there are relocations of the inputs, symbols of sections, and headers.
    let inputs = objects.iter().map(|object| object.elf.data().len() as u64);
    let most = 2 * image.data().len() as u64 + inputs.sum::<u64>();
    usize::try_from(frame.len).ok().filter(|_| frame.len <= most).ok_or_else(too_large)
}

impl Task<'_> {
    /// Does it; returns the section if its relocations are not in the order of their offsets.
    fn run(self, sources: &[Source<'_, '_>]) -> Result<Option<usize>, Error> {
        match self {
            Task::Copy { from, to } => {
                to.copy_from_slice(from);
                Ok(None)
            }
            Task::Chunk { section, chunk, contents, records } => {
                let ordered = fill_chunk(&sources[section], &chunk, contents, records)?;
                Ok((!ordered).then_some(section))
            }
        }
    }
}

/// Fills a part; returns whether its relocations are in the order of their offsets, as far as that matters.
fn fill_chunk(
    source: &Source<'_, '_>,
    chunk: &Chunk,
    contents: &mut [u8],
    kept: &mut [u8],
) -> Result<bool, Error> {
    let (mut sorted, mut before) = (true, 0);
    let keeps = !kept.is_empty();
    let whole = source.write_and_keep(chunk, (contents, kept), &mut |relocation| {
        check_known(source, &relocation)?;
        sorted &= before <= relocation.offset;
        before = relocation.offset;
        Ok(())
    })?;
    Ok(whole && (sorted || !keeps))
}

/// Refuses a relocation that is not followed.
pub(crate) fn check_known(source: &Source<'_, '_>, relocation: &Decoded) -> Result<(), Error> {
    match relocation.r_type {
        known if KNOWN.contains(&known) => Ok(()),
        other => {
            let name = source.object.name;
            Err(Error::unsupported(format!("{name}: relocations of type {other}")))
        }
    }
}
