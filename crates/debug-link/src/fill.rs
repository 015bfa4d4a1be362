//! Contents put into an image that was linked of hollow objects.
//!
//! What: a linker that is given objects with the true headers, symbols and sizes, but with zeros as contents of what is
//! loaded and as relocations, writes an image in which everything has its place. [`Prepared::fill`] makes of it the
//! image that the same linker would have written of the true objects: each input section's contents with relocations
//! applied, and the relocations that stay (`--emit-relocs`).
//!
//! Why: a linker reads, relocates and writes on one thread, or nearly so. Here sections are cut into
//! parts for all threads, and each byte is read once.
//!
//! What stays as the linker wrote it: headers, symbols, merged strings, notes, and what it has put between
//! input sections. All of that does not depend on what was hollow.
//!
//! # What is not followed
//!
//! Each is an [`Error`], after which the caller lets the linker link the true objects, and report what is wrong with
//! them: other machines than x86_64; relocations other than [`KNOWN`], which are all that kernels have; symbols that are
//! defined nowhere, but for weak ones, which are 0; references to what was thrown away; values that do not fit;
//! exception tables (`.eh_frame`), thread-local symbols, indirect functions.
//!
//! # Source of facts
//!
//! GNU ld 2.40: `bfd/elf64-x86-64.c`, `elf_x86_64_relocate_section`; `bfd/elflink.c`, `elf_link_input_bfd`, and
//! `elf_link_adjust_relocs`, which sorts what is kept by offset. ld.lld 19: `ELF/InputSection.cpp`, `relocateAlloc` and
//! `copyRelocations`; `ELF/LinkerScript.cpp`, `addOrphanSections`, for the order of what is kept: that of the inputs.
//! `tests/debug_link/fill.rs` compares whole kernels of both linkers.

use std::sync::Arc;

use image::Elf;
use image::consts::{
    R_X86_64_32, R_X86_64_32S, R_X86_64_64, R_X86_64_PC32, R_X86_64_PC64, R_X86_64_PLT32,
};
use rayon::prelude::*;

use crate::emit::Named;
use crate::error::Error;
use crate::filled::{self, Filled, RECORD};
use crate::frame::Frame;
use crate::layout::Layout;
use crate::linker::Linker;
use crate::locals::LocalIndexes;
use crate::make::Release;
use crate::map::LinkMap;
use crate::merge::{self, Merged};
use crate::object::{Input, Object};
use crate::prepare::Prepared;
use crate::relocate::{Chunk, Source, Stop};
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

impl<'a> Prepared<'a> {
    /// Makes of `image`, which was linked of hollow objects, the image that the linker would have written of these
    /// inputs and of those that follow them in its order, with as many threads as the current pool of rayon has.
    ///
    /// `map` is the map of that link. Inputs may as well have been linked as they are. `release` is called for what
    /// has been read of an input; some may be read again where relocations are out of order.
    ///
    /// # Errors
    /// Anything that cannot be followed exactly; see [`Error`]. The image is of no use then.
    pub fn fill(
        &self,
        later: &[Input<'a>],
        image: &mut [u8],
        map: &LinkMap<'a>,
        release: Option<&Release<'_>>,
    ) -> Result<(), Error> {
        let link = {
            let elf = Elf::parse(image)?;
            Link::new(self, later, &elf, map)?
        };
        let unordered = link.fill(image, release)?;
        link.fill_unordered(image, &unordered)
    }
}

/// What a link is made of.
struct Link<'a> {
    linker: Linker,
    objects: Vec<Arc<Object<'a>>>,
    merged: Vec<Merged<'a>>,
    /// By input, by symbol.
    targets: Vec<Vec<Target>>,
    /// The same; nothing if no relocations are kept.
    names: Vec<Vec<Named>>,
    sections: Vec<Filled>,
}

/// A part of the image that is made at once.
struct Task<'i> {
    /// Index of the section.
    section: usize,
    chunk: Chunk,
    contents: &'i mut [u8],
    /// The relocations that stay.
    records: &'i mut [u8],
}

impl<'a> Link<'a> {
    fn new(
        prepared: &Prepared<'a>,
        later: &[Input<'a>],
        image: &Elf<'_>,
        map: &LinkMap<'a>,
    ) -> Result<Self, Error> {
        let linker = map.linker;
        if linker != prepared.linker {
            return Err(Error::disagree("a link map of another linker"));
        }
        let objects = prepared.objects_with(later)?;
        filled::check_machine(image, &objects)?;
        let mut layout = Layout::new(&objects, map)?;
        let merged = merge::merge_all(&mut layout, prepared, &objects, image, linker)?;
        let symbols = image.symbols()?;
        let globals = Globals::new(&symbols);
        let rules = (linker, Use::Loaded);
        let mut targets = targets::resolve(&objects, &layout, &merged, &symbols, &globals, rules);
        let keeps = Frame::may_keep(image);
        let sections = filled::sections(image, map, &objects, &layout, keeps)?;
        let mut names = Vec::new();
        if keeps {
            let locals = LocalIndexes::new(&objects, &targets, &symbols, map);
            let of_sections = filled::section_symbols(image, map, &symbols);
            names = filled::names(&objects, &layout, &targets, (&globals, &locals), &of_sections);
        }
        // The linker refuses what debug info may do: to refer to what was thrown away.
        let discarded = targets.par_iter_mut().flatten().filter(|t| **t == Target::Discarded);
        discarded.for_each(|target| *target = Target::Unknown);
        Ok(Link { linker, objects, merged, targets, names, sections })
    }

    /// An input section with all that its relocations refer to.
    fn source(&self, filled: &Filled) -> Result<Source<'_, 'a>, Error> {
        let input = filled.input as usize;
        let object = &self.objects[input];
        Ok(Source {
            object,
            section: filled.section,
            bytes: object.bytes(filled.section)?,
            targets: &self.targets[input],
            names: self.names.get(input).map_or(&[], |names| &names[..]),
            merged: &self.merged,
            lookups: None,
            offset: filled.addr,
            linker: self.linker,
        })
    }

    /// Fills all sections; returns those, by their indexes, whose relocations are not in the order of their offsets.
    fn fill(&self, image: &mut [u8], release: Option<&Release<'_>>) -> Result<Vec<usize>, Error> {
        let sources = self.sections.iter().map(|filled| self.source(filled));
        let sources: Vec<Source<'_, 'a>> = sources.collect::<Result<_, _>>()?;
        let mut places = Vec::new();
        for (section, (source, filled)) in sources.iter().zip(&self.sections).enumerate() {
            let chunks = source.chunks()?;
            places.extend(chunks.into_iter().map(|chunk| (section, filled, chunk)));
        }
        let tasks = carve(image, places)?;
        let done: Vec<Result<Option<usize>, Error>> = tasks
            .into_par_iter()
            .with_max_len(1)
            .map(|task| {
                let (section, source) = (task.section, &sources[task.section]);
                let ordered = task.run(source, release)?;
                Ok((!ordered).then_some(section))
            })
            .collect();
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
            if let (Some(at), Linker::Gnu) = (filled.records_at, self.linker) {
                let len = (whole.relocations.len() * RECORD) as u64;
                let (records, _) = filled::part(image, at, len)?.as_chunks_mut::<RECORD>();
                records.sort_by_key(offset);
            }
        }
        Ok(())
    }
}

/// The offset of a record.
fn offset(record: &[u8; RECORD]) -> u64 {
    record.first_chunk().map_or(0, |offset| u64::from_le_bytes(*offset))
}

/// Gives each part of a section its place in the image.
///
/// # Errors
/// Places that overlap or are not in the image.
fn carve<'i>(
    image: &'i mut [u8],
    parts: Vec<(usize, &Filled, Chunk)>,
) -> Result<Vec<Task<'i>>, Error> {
    // Offset in the image, length, index of the part, whether it is the part's records.
    let mut places: Vec<(u64, usize, usize, bool)> = Vec::with_capacity(2 * parts.len());
    for (index, (_, filled, chunk)) in parts.iter().enumerate() {
        let at = filled.contents_at.saturating_add(chunk.bytes.start as u64);
        places.push((at, chunk.bytes.len(), index, false));
        if let Some(records) = filled.records_at {
            let at = records.saturating_add((chunk.relocations.start * RECORD) as u64);
            places.push((at, chunk.relocations.len() * RECORD, index, true));
        }
    }
    places.retain(|&(_, len, ..)| len != 0);
    places.sort_unstable();
    let task = |(section, _, chunk)| Task { section, chunk, contents: &mut [], records: &mut [] };
    let mut tasks: Vec<Task<'i>> = parts.into_iter().map(task).collect();
    let (mut rest, mut at) = (image, 0u64);
    for (start, len, index, records) in places {
        let gap = start.checked_sub(at).and_then(|gap| usize::try_from(gap).ok());
        let taken = gap.and_then(|gap| {
            let (_, behind) = std::mem::take(&mut rest).split_at_mut_checked(gap)?;
            behind.split_at_mut_checked(len)
        });
        let outside = || Error::disagree(format!("sections overlap or end at {start:#x}"));
        let (taken, behind) = taken.ok_or_else(outside)?;
        (rest, at) = (behind, start + len as u64);
        match records {
            false => tasks[index].contents = taken,
            true => tasks[index].records = taken,
        }
    }
    Ok(tasks)
}

impl Task<'_> {
    /// Fills a part; returns whether its relocations are in the order of their offsets, as far as that matters.
    fn run(self, source: &Source<'_, '_>, release: Option<&Release<'_>>) -> Result<bool, Error> {
        let records = source.records(&self.chunk);
        let (records, _) = records.as_chunks::<RECORD>();
        for record in records {
            let r_type = record[8..].first_chunk().map_or(0, |r_type| u32::from_le_bytes(*r_type));
            if !KNOWN.contains(&r_type) {
                let name = source.object.name;
                return Err(Error::unsupported(format!("{name}: relocations of type {r_type}")));
            }
        }
        let mut ordered = match source.write(&self.chunk, self.contents) {
            Ok(()) => true,
            Err(Stop::Unordered) => false,
            Err(Stop::Bad(error)) => return Err(error),
        };
        if !self.records.is_empty() {
            source.keep(&self.chunk, self.records).map_err(|stop| match stop {
                Stop::Bad(error) => error,
                Stop::Unordered => Error::disagree("relocations outside of their section"),
            })?;
            ordered &= records.is_sorted_by_key(offset);
        }
        if let Some(release) = release {
            release(&source.bytes[self.chunk.bytes.clone()]);
            release(records.as_flattened());
        }
        Ok(ordered)
    }
}
