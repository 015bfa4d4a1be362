//! The plan of a finished image, and its writing.

use std::cell::RefCell;
use std::sync::Arc;

use image::Elf;
use image::consts::SHT_REL;
use rayon::prelude::*;

use crate::build_id;
use crate::dialect::{BuildId, Dialect};
use crate::emit::{self, Named};
use crate::error::{Error, lossy};
use crate::fields::Fields;
use crate::frame::{Frame, Origin, is_kept};
use crate::layout::{DebugSection, Layout, Piece};
use crate::map::LinkMap;
use crate::merge::{self, Merged};
use crate::object::{Input, Object};
use crate::prepare::Prepared;
use crate::relocate::{self, Chunk, Source, Stop};
use crate::targets::{self, Target};

/// Strings that one task writes.
const STRINGS: usize = 1 << 13;
/// Bytes that one task copies.
const COPY: usize = 1 << 21;

/// An image with debug info, ready to be written.
#[derive(Debug)]
pub struct Plan<'a> {
    image: &'a [u8],
    objects: Vec<Arc<Object<'a>>>,
    layout: Layout<'a>,
    merged: Vec<Merged<'a>>,
    targets: Vec<Vec<Target>>,
    /// By input, if relocations are kept.
    names: Vec<Vec<Named>>,
    frame: Frame,
}

/// What goes into a part of the output.
#[derive(Debug)]
enum Work<'p, 'a> {
    /// These bytes.
    Bytes(&'p [u8]),
    /// Kept strings of a group, by index.
    Strings(&'p Merged<'a>, std::ops::Range<usize>),
    /// A part of an input section.
    Chunk(Source<'p, 'a>, Chunk),
    /// The relocations of such a part, kept.
    Kept(Source<'p, 'a>, Chunk),
    /// Relocations of the image, with new symbols.
    Renumbered(&'p [u8], &'p Frame, Fields),
}

/// A part of the output.
#[derive(Debug)]
struct Task<'p, 'a> {
    /// Offset in the output, in bytes.
    at: u64,
    len: u64,
    work: Work<'p, 'a>,
}

impl<'a> Plan<'a> {
    /// Plans the image that the linker would have written with debug info.
    ///
    /// `inputs` are the linker's, in its order; `image` is what it wrote with `--strip-debug`;
    /// `map` is the map of that very link, `dialect` its rules. The contents of `image` may have
    /// been changed since, not its headers and symbols.
    ///
    /// # Errors
    /// Anything that cannot be followed exactly; see [`Error`].
    pub fn new(
        inputs: &[Input<'a>],
        image: &'a [u8],
        map: &LinkMap<'a>,
        dialect: &Dialect,
    ) -> Result<Self, Error> {
        Prepared::new(inputs)?.plan(&[], image, map, dialect)
    }

    /// The same with inputs of which the first are `prepared` already.
    pub(crate) fn with(
        prepared: &Prepared<'a>,
        later: &[Input<'a>],
        image: &'a [u8],
        map: &LinkMap<'a>,
        dialect: &Dialect,
    ) -> Result<Self, Error> {
        let elf = Elf::parse(image)?;
        // So that an ID is never left that was computed for other bytes.
        if dialect.build_id == BuildId::None && build_id::locate(&elf)?.is_some() {
            return Err(Error::disagree("an image with a build ID that no flag asked for"));
        }
        let objects = prepared.objects_with(later)?;
        if let Some(other) = objects.iter().find(|object| !object.is_for(elf.header())) {
            return Err(Error::disagree(format!("{} is for another machine", other.name)));
        }
        let mut layout = Layout::new(&objects, map)?;
        let merged = merge::merge_all(&mut layout, prepared, &objects, &elf)?;
        let symbols = elf.symbols()?;
        let targets = targets::resolve(&objects, &layout, &merged, &symbols);
        let counts: Vec<u64> =
            layout.debug.iter().map(|debug| relocations(&objects, debug)).collect();
        let frame = Frame::new(&elf, map, &layout.debug, &counts)?;
        let mut names = Vec::new();
        if frame.keeps {
            check_kept(&objects, &layout)?;
            let sections = frame.section_symbols(&elf, map, &layout.debug);
            let new = &frame.renumbering;
            names = emit::names(&objects, &layout, &targets, &symbols, new, &sections);
        }
        Ok(Plan { image, objects, layout, merged, targets, names, frame })
    }

    /// Size of the output in bytes.
    #[allow(clippy::len_without_is_empty, reason = "an image is never empty")]
    pub fn len(&self) -> u64 {
        self.frame.len
    }

    /// Makes the image part by part, with as many threads as the current pool of rayon has.
    ///
    /// `sink` gets the offset of each part in the file, in bytes, and the part, which is at most
    /// some 100 KiB to a few MiB and still in the processor's cache. It is called from several
    /// threads at a time, for parts in no fixed order that do not overlap. What it does not get, a
    /// few bytes of padding, is zero: let it fill a new file of [`Plan::len`] bytes. Writing parts
    /// so costs the kernel far less than the pages of a map.
    ///
    /// The build ID is still that of the image without debug info; see [`crate::build_id`].
    ///
    /// # Errors
    /// What `sink` returns, or a relocation that cannot be applied; some parts have been made then.
    pub fn make<E>(&self, sink: impl Fn(u64, &[u8]) -> Result<(), E> + Sync) -> Result<(), E>
    where
        E: From<Error> + Send,
    {
        let tasks = self.tasks()?;
        let unordered: Vec<&Task<'_, 'a>> = tasks
            .par_iter()
            .filter_map(|task| match task.pass(&sink) {
                Ok(()) => None,
                Err(Ok(Stop::Unordered)) => Some(Ok(task)),
                Err(Ok(Stop::Bad(error))) => Some(Err(error.into())),
                Err(Err(error)) => Some(Err(error)),
            })
            .collect::<Result<_, E>>()?;
        self.each_unordered(&unordered, |at, source, whole| {
            let mut bytes = vec![0; whole.bytes.len()];
            source.write_whole(whole, &mut bytes)?;
            sink(at, &bytes)
        })
    }

    /// Writes the image to `out`, all of it, with as many threads as the current pool of rayon has.
    ///
    /// The build ID is still that of the image without debug info; see [`crate::build_id`].
    ///
    /// # Errors
    /// A buffer that is not of [`Plan::len`] bytes, or a relocation that cannot be applied; `out` is
    /// then in an undefined state.
    pub fn write(&self, out: &mut [u8]) -> Result<(), Error> {
        if out.len() as u64 != self.frame.len {
            return Err(Error::Buffer { len: self.frame.len, buffer: out.len() });
        }
        let tasks = self.tasks()?;
        let unordered: Vec<&Task<'_, 'a>> = deal(out, &tasks)?
            .into_par_iter()
            .filter_map(|(task, part)| match task.run(part) {
                Ok(()) => None,
                Err(Stop::Unordered) => Some(Ok(task)),
                Err(Stop::Bad(error)) => Some(Err(error)),
            })
            .collect::<Result<_, _>>()?;
        self.each_unordered(&unordered, |at, source, whole| {
            let start = at as usize;
            source.write_whole(whole, &mut out[start..start + whole.bytes.len()])
        })
    }

    /// Calls `redo` for the sections of these tasks, with their offset in the file and as one chunk.
    fn each_unordered<E: From<Error>>(
        &self,
        tasks: &[&Task<'_, 'a>],
        mut redo: impl FnMut(u64, &Source<'_, 'a>, &Chunk) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done: Vec<u64> = Vec::new();
        for task in tasks {
            let Work::Chunk(source, chunk) = &task.work else { continue };
            let start = task.at - chunk.bytes.start as u64;
            if !done.contains(&start) {
                done.push(start);
                redo(start, source, &source.whole()?)?;
            }
        }
        Ok(())
    }

    /// The whole output but for gaps, in order.
    fn tasks(&self) -> Result<Vec<Task<'_, 'a>>, Error> {
        let mut tasks = Vec::new();
        let header = &self.frame.file_header;
        bytes(&mut tasks, 0, header);
        let head = self.image.get(header.len()..self.frame.head as usize);
        let head = head.ok_or_else(|| Error::disagree("the image is cut off"))?;
        bytes(&mut tasks, header.len() as u64, head);
        let elf = Elf::parse(self.image)?;
        let last = self.frame.sections.len() - 1;
        for (index, extent) in self.frame.sections.iter().enumerate() {
            match extent.origin {
                Origin::Debug(debug) => self.debug_tasks(&mut tasks, debug, extent.offset)?,
                Origin::Relocations(debug) => self.kept_tasks(&mut tasks, debug, extent.offset)?,
                Origin::Image(_) if index == last => {
                    bytes(&mut tasks, extent.offset, &self.frame.names);
                }
                Origin::Image(_) if index == last - 2 => {
                    bytes(&mut tasks, extent.offset, &self.frame.symbols);
                }
                Origin::Image(_) if extent.offset < self.frame.head || extent.size == 0 => {}
                Origin::Image(old) => {
                    let section = &elf.sections()[old as usize];
                    let contents = elf.bytes(section)?;
                    if is_kept(section) {
                        let fields = Fields::of(elf.header());
                        self.renumber_tasks(&mut tasks, extent.offset, contents, fields);
                    } else {
                        bytes(&mut tasks, extent.offset, contents);
                    }
                }
            }
        }
        bytes(&mut tasks, self.frame.section_headers_at, &self.frame.section_headers);
        tasks.sort_by_key(|task| task.at);
        Ok(tasks)
    }

    /// The input section that a piece is.
    fn source(&self, piece: &Piece) -> Result<Source<'_, 'a>, Error> {
        let object = &self.objects[piece.input as usize];
        Ok(Source {
            object,
            section: piece.section,
            bytes: object.bytes(piece.section)?,
            targets: &self.targets[piece.input as usize],
            names: self.names.get(piece.input as usize).map_or(&[], |names| &names[..]),
            merged: &self.merged,
            offset: piece.offset,
        })
    }

    /// The tasks of the kept relocations of one debug section.
    fn kept_tasks<'p>(
        &'p self,
        tasks: &mut Vec<Task<'p, 'a>>,
        index: u32,
        base: u64,
    ) -> Result<(), Error> {
        let size = Fields::of(self.objects[0].elf.header()).relocation() as u64;
        let mut at = base;
        for piece in &self.layout.debug[index as usize].pieces {
            let source = self.source(piece)?;
            for chunk in source.chunks()? {
                if chunk.relocations.is_empty() {
                    continue;
                }
                let len = chunk.relocations.len() as u64 * size;
                tasks.push(Task { at, len, work: Work::Kept(source, chunk) });
                at += len;
            }
        }
        Ok(())
    }

    /// The tasks of kept relocations of the image.
    fn renumber_tasks<'p>(
        &'p self,
        tasks: &mut Vec<Task<'p, 'a>>,
        mut at: u64,
        contents: &'p [u8],
        fields: Fields,
    ) {
        for part in contents.chunks(fields.relocation() << 14) {
            let len = part.len() as u64;
            tasks.push(Task { at, len, work: Work::Renumbered(part, &self.frame, fields) });
            at += len;
        }
    }

    /// The tasks of one debug section.
    fn debug_tasks<'p>(
        &'p self,
        tasks: &mut Vec<Task<'p, 'a>>,
        index: u32,
        base: u64,
    ) -> Result<(), Error> {
        let debug = &self.layout.debug[index as usize];
        if let Some(group) = debug.group {
            string_tasks(tasks, &self.merged[group as usize], base, debug.size);
            return Ok(());
        }
        for piece in &debug.pieces {
            let source = self.source(piece)?;
            for chunk in source.chunks()? {
                let at = base + piece.offset + chunk.bytes.start as u64;
                let len = chunk.bytes.len() as u64;
                tasks.push(Task { at, len, work: Work::Chunk(source, chunk) });
            }
        }
        Ok(())
    }
}

thread_local! {
    /// Where a thread puts a part together before it is passed on.
    static PART: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Task<'_, '_> {
    /// Makes this part and passes it to `sink`; the inner error is the task's own.
    fn pass<E>(&self, sink: impl Fn(u64, &[u8]) -> Result<(), E>) -> Result<(), Result<Stop, E>> {
        if let Work::Bytes(bytes) = self.work {
            return sink(self.at, bytes).map_err(Err);
        }
        // Taken, so that a sink that makes other parts on this thread finds an empty one.
        let mut part = PART.take();
        let len = self.len as usize;
        if part.len() < len {
            part.resize(len, 0);
        }
        let made = self.run(&mut part[..len]).map_err(Ok);
        let passed = made.and_then(|()| sink(self.at, &part[..len]).map_err(Err));
        PART.set(part);
        passed
    }

    fn run(&self, out: &mut [u8]) -> Result<(), Stop> {
        match &self.work {
            Work::Bytes(bytes) => out.copy_from_slice(bytes),
            Work::Strings(merged, range) => {
                let Merged::Strings(strings) = merged else { return Ok(()) };
                let mut rest = out;
                for text in strings.kept(range.clone()) {
                    let (here, behind) = rest.split_at_mut(text.len() + 1);
                    here[..text.len()].copy_from_slice(text);
                    here[text.len()] = 0;
                    rest = behind;
                }
            }
            Work::Chunk(source, chunk) => source.write(chunk, out)?,
            Work::Kept(source, chunk) => source.keep(chunk, out)?,
            Work::Renumbered(relocations, frame, fields) => {
                let (wide, little) = fields.form();
                relocate::renumber(relocations, wide, little, &frame.renumbering, out)
                    .map_err(Stop::Bad)?;
            }
        }
        Ok(())
    }
}

/// Refuses to keep relocations that have no addends.
fn check_kept(objects: &[Arc<Object<'_>>], layout: &Layout<'_>) -> Result<(), Error> {
    for piece in layout.debug.iter().flat_map(|debug| &debug.pieces) {
        let object = &objects[piece.input as usize];
        let relocations = object.relocations[piece.section as usize];
        let section = &object.elf.sections()[relocations as usize];
        if relocations != 0 && section.sh_type == SHT_REL.0 {
            let (name, input) = (lossy(section.name), object.name);
            return Err(Error::unsupported(format!("{input}: {name} with --emit-relocs")));
        }
    }
    Ok(())
}

/// How many relocations a debug section has.
fn relocations(objects: &[Arc<Object<'_>>], debug: &DebugSection<'_>) -> u64 {
    let count = |piece: &Piece| {
        let object = &objects[piece.input as usize];
        match object.relocations[piece.section as usize] {
            0 => 0,
            index => {
                let section = &object.elf.sections()[index as usize];
                section.size.checked_div(section.entsize).unwrap_or(0)
            }
        }
    };
    debug.pieces.iter().map(count).sum()
}

/// Tasks that copy `contents` to `at`.
fn bytes<'p>(tasks: &mut Vec<Task<'p, '_>>, at: u64, contents: &'p [u8]) {
    for (index, part) in contents.chunks(COPY).enumerate() {
        let at = at + (index * COPY) as u64;
        tasks.push(Task { at, len: part.len() as u64, work: Work::Bytes(part) });
    }
}

/// Tasks that write the strings of a debug section of `size` bytes at `base`.
fn string_tasks<'p, 'a>(
    tasks: &mut Vec<Task<'p, 'a>>,
    merged: &'p Merged<'a>,
    base: u64,
    size: u64,
) {
    let Merged::Strings(strings) = merged else { return };
    let mut first = 0;
    let mut at = 0;
    while first < strings.len() {
        let last = (first + STRINGS).min(strings.len());
        let end = strings.start(last).unwrap_or(size);
        tasks.push(Task { at: base + at, len: end - at, work: Work::Strings(merged, first..last) });
        (first, at) = (last, end);
    }
}

/// Gives every task its part of the output, and fills the gaps with zeros.
fn deal<'o, 't, 'p, 'a>(
    out: &'o mut [u8],
    tasks: &'t [Task<'p, 'a>],
) -> Result<Vec<(&'t Task<'p, 'a>, &'o mut [u8])>, Error> {
    let mut parts = Vec::with_capacity(tasks.len());
    let (mut rest, mut at) = (out, 0);
    for task in tasks {
        let gap = task.at.checked_sub(at);
        let parted = gap.and_then(|gap| {
            let (gap, behind) = std::mem::take(&mut rest).split_at_mut_checked(gap as usize)?;
            gap.fill(0);
            behind.split_at_mut_checked(task.len as usize)
        });
        let Some((part, behind)) = parted else {
            return Err(Error::disagree(format!("sections overlap at {:#x} of the file", task.at)));
        };
        parts.push((task, part));
        (rest, at) = (behind, task.at + task.len);
    }
    rest.fill(0);
    Ok(parts)
}
