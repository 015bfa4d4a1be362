//! The making of the image that a [`Plan`] describes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use image::Elf;

use crate::build_id::{self, Covered, Hash, Note};
use crate::error::Error;
use crate::fields::Fields;
use crate::frame::Origin;
use crate::in_order::{Consumer, in_order};
use crate::linker::Linker;
use crate::part::{InputSection, Part, Parts};
use crate::plan::Plan;
use crate::relocate::Stop;

/// How an image is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Making {
    /// Compute the build ID by the linker's rule ([`build_id`]) and put it into its place.
    pub build_id: bool,
    /// Pass zeros on too: what is written over holds other bytes.
    pub zeros: bool,
}

/// A step of the work, in the order of what the build ID covers.
#[derive(Debug)]
enum Item<'p, 'a> {
    /// A part of the output.
    Part { part: Part<'p, 'a>, covered: bool },
    /// Covered by the build ID; a part of the output that is made elsewhere, or none.
    Covered(Cow<'p, [u8]>),
    /// This many zeros, which the build ID covers.
    Zeros(u64),
}

impl Item<'_, '_> {
    /// Where a part of the output stands in it.
    fn range(&self) -> Option<Range<u64>> {
        match self {
            Item::Part { part, .. } => Some(part.at..part.at + part.len),
            Item::Covered(_) | Item::Zeros(_) => None,
        }
    }
}

/// Where parts go that have been made.
struct Output<'o, 'p, 'a, S> {
    items: &'o [Item<'p, 'a>],
    sink: &'o S,
    /// Of what the build ID covers.
    hash: Mutex<Hash>,
}

impl<E, S> Consumer<Halt<E>> for Output<'_, '_, '_, S>
where
    S: Fn(u64, &[u8]) -> Result<(), E>,
{
    fn pass(&self, index: usize, buffer: &[u8]) -> Result<(), Halt<E>> {
        match &self.items[index] {
            Item::Part { part, .. } => {
                (self.sink)(part.at, part.contents(buffer)).map_err(Halt::Failed)
            }
            Item::Covered(_) | Item::Zeros(_) => Ok(()),
        }
    }

    fn consume(&self, index: usize, buffer: &[u8]) {
        let mut hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.items[index] {
            Item::Part { part, covered: true } => hash.update(part.contents(buffer)),
            Item::Part { covered: false, .. } => {}
            Item::Covered(bytes) => hash.update(bytes),
            Item::Zeros(count) => hash.zeros(*count),
        }
    }
}

/// Why parts were not made to the end.
enum Halt<E> {
    /// The relocations of a section are not in order.
    Unordered(InputSection),
    Failed(E),
}

impl<'a> Plan<'a> {
    /// Makes the image part by part, with as many threads as the current pool of rayon has.
    ///
    /// `sink` gets the offset of each part in the file, in bytes, and the part, which is at most
    /// some 100 KiB to a few MiB and still in the processor's cache. It is called from all
    /// threads, from one at a time, for parts in no fixed order that do not overlap. What it does not get without
    /// [`Making::zeros`], a few bytes of padding, is zero: let it fill a new file of [`Plan::len`] bytes. Writing parts
    /// so costs the kernel far less than the pages of a map. Some may come twice, if relocations of
    /// an input are out of order; the later one is right.
    ///
    /// Without [`Making::build_id`] the build ID is still that of the image without debug info.
    ///
    /// # Errors
    /// What `sink` returns, or a relocation that cannot be applied; some parts have been made then.
    /// An image without a build ID, if one is to be computed.
    pub fn make<E>(
        &self,
        how: &Making,
        sink: impl Fn(u64, &[u8]) -> Result<(), E> + Sync,
    ) -> Result<(), E>
    where
        E: From<Error> + Send,
    {
        let note = match how.build_id {
            true => Some(build_id::sha1_note(&Elf::parse(self.image).map_err(Error::from)?)?),
            false => None,
        };
        let mut whole = Vec::new();
        loop {
            match self.attempt(how, note, &whole, &sink) {
                Ok(id) => return note.map_or(Ok(()), |note| sink(note.id as u64, &id)),
                Err(Halt::Failed(error)) => return Err(error),
                // A section that is one part has no relocations in another part.
                Err(Halt::Unordered(section)) => whole.push(section),
            }
        }
    }

    /// Makes all parts, the sections `whole` in one part each; returns the hash of what the build
    /// ID covers, if there is to be one.
    fn attempt<E>(
        &self,
        how: &Making,
        note: Option<Note>,
        whole: &[InputSection],
        sink: &(impl Fn(u64, &[u8]) -> Result<(), E> + Sync),
    ) -> Result<[u8; 20], Halt<E>>
    where
        E: From<Error> + Send,
    {
        let items = self.items(note, whole).map_err(|error| Halt::Failed(error.into()))?;
        if how.zeros {
            self.pass_zeros(&items, sink).map_err(Halt::Failed)?;
        }
        let make = |index: usize, buffer: &mut Vec<u8>| match &items[index] {
            Item::Part { part, .. } => self.make_in(part, buffer),
            Item::Covered(_) | Item::Zeros(_) => Ok(()),
        };
        let hash = Mutex::new(Hash::new(self.sections.linker));
        let output = Output { items: &items, sink, hash };
        in_order(items.len(), make, &output)?;
        Ok(output.hash.into_inner().unwrap_or_else(PoisonError::into_inner).finish())
    }

    /// Passes on what stands between parts.
    fn pass_zeros<E>(
        &self,
        items: &[Item<'_, 'a>],
        sink: &impl Fn(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut parts: Vec<Range<u64>> = items.iter().filter_map(Item::range).collect();
        parts.sort_unstable_by_key(|part| part.start);
        let mut at = 0;
        for part in parts.into_iter().chain(std::iter::once(self.len()..self.len())) {
            while at < part.start {
                let len = (part.start - at).min(ZEROS.len() as u64);
                sink(at, &ZEROS[..len as usize])?;
                at += len;
            }
            at = at.max(part.end);
        }
        Ok(())
    }

    /// Makes a part in `buffer`, which may be longer.
    fn make_in<E: From<Error>>(
        &self,
        part: &Part<'_, 'a>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Halt<E>> {
        if part.bytes().is_some() {
            return Ok(());
        }
        let len = part.len as usize;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        self.make_part(part, &mut buffer[..len]).map_err(|stop| match stop {
            (Stop::Bad(error), _) => Halt::Failed(error.into()),
            (Stop::Unordered, Some(section)) => Halt::Unordered(section),
            (Stop::Unordered, None) => {
                Halt::Failed(Error::disagree("relocations outside of their section").into())
            }
        })
    }

    /// All parts; with the note of a build ID in the order in which it covers them, and with
    /// everything else that it covers.
    fn items(
        &self,
        note: Option<Note>,
        whole: &[InputSection],
    ) -> Result<Vec<Item<'_, 'a>>, Error> {
        let mut parts = self.parts(note, whole)?;
        if let (Some(note), Linker::Lld) = (note, self.sections.linker) {
            return Ok(self.items_of_file(&note, parts));
        }
        let uncovered = |part| Item::Part { part, covered: false };
        let mut items: Vec<Item<'_, 'a>> = parts.frame.into_iter().map(uncovered).collect();
        if let Some(note) = note {
            let elf = Elf::parse(self.image)?;
            let fields = Fields::of(elf.header());
            let headers = self.frame.section_headers.chunks_exact(fields.section_header());
            let programs = build_id::program_headers(self.image)?;
            for covered in build_id::coverage(fields, &self.frame.file_header, programs, headers)? {
                match covered {
                    Covered::Bytes(bytes) => items.push(Item::Covered(bytes)),
                    Covered::Section(index) => {
                        let parts = std::mem::take(&mut parts.sections[index]);
                        self.cover(&elf, index, parts, &note, &mut items)?;
                    }
                }
            }
        }
        items.extend(parts.sections.into_iter().flatten().map(uncovered));
        Ok(items)
    }

    /// All parts in the order of the file, all of which ld.lld's build ID covers.
    fn items_of_file<'p>(&'p self, note: &Note, parts: Parts<'p, 'a>) -> Vec<Item<'p, 'a>> {
        let mut all: Vec<Part<'p, 'a>> = parts.frame;
        all.extend(parts.sections.into_iter().flatten());
        all.sort_by_key(|part| part.at);
        let id = Note { start: note.id, ..*note };
        let mut items = Vec::with_capacity(all.len());
        let mut at = 0;
        for part in all {
            items.push(Item::Zeros(part.at - at));
            at = part.at + part.len;
            cover_part(part, &id, &mut items);
        }
        items.push(Item::Zeros(self.len() - at));
        items
    }

    /// The items of a section whose contents the build ID covers.
    fn cover<'p>(
        &'p self,
        elf: &Elf<'p>,
        index: usize,
        parts: Vec<Part<'p, 'a>>,
        note: &Note,
        items: &mut Vec<Item<'p, 'a>>,
    ) -> Result<(), Error> {
        let extent = self.frame.sections[index];
        if let (true, Origin::Image(old)) = (parts.is_empty(), extent.origin) {
            let contents = elf.bytes(&elf.sections()[old as usize])?;
            let pieces = note.cleared(extent.offset as usize, contents);
            items.extend(pieces.into_iter().map(Item::Covered));
            return Ok(());
        }
        let mut at = extent.offset;
        for part in parts {
            items.push(Item::Zeros(part.at - at));
            at = part.at + part.len;
            cover_part(part, note, items);
        }
        items.push(Item::Zeros((extent.offset + extent.size).saturating_sub(at)));
        Ok(())
    }
}

/// The items of a part that the build ID covers, less what `note` says.
fn cover_part<'p, 'a>(part: Part<'p, 'a>, note: &Note, items: &mut Vec<Item<'p, 'a>>) {
    match part.bytes().map(|bytes| note.cleared(part.at as usize, bytes)) {
        Some(pieces) if pieces.len() > 1 => {
            items.push(Item::Part { part, covered: false });
            items.extend(pieces.into_iter().map(Item::Covered));
        }
        _ => items.push(Item::Part { part, covered: true }),
    }
}
