//! The kernel's own objects, as the lean schedule reads them: opened once, made ready once.
//!
//! What debug information is made of does not depend on any link, so it is made ready while the linker works on the
//! first one ([`super::ahead`]). Whoever needs it first waits for that, or does it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use debug_link::{Input, Linker, Prepared, Provisional, ReadAt};
use dwarf_btf::{DebugSource, Unreadable};
use image::Member;
use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::files::{self, Reader};
use crate::progress::Progress;
use crate::strings::KnownStrings;

use super::old::OldKernel;
use super::{Stage, link};

/// The preparation of the objects, as the timeline names it.
pub(super) const PREPARATION: (&str, &str) = ("PREP", "vmlinux.o");

/// Files of so many bytes are read where they are read once, and not mapped; of smaller ones there may be thousands,
/// more than can be open.
const LARGE: usize = 16 << 20;

/// Pages are given back when so many bytes have been made of what is mapped.
const STEP: u64 = 64 << 20;

/// An input of the link: the name that the linker's map has for it, and its bytes.
#[derive(Debug)]
pub(super) struct Object {
    name: String,
    bytes: Bytes,
}

/// A file, or a part of an archive.
#[derive(Debug)]
enum Bytes {
    File(Mmap, Option<Reader>),
    Part(Arc<Mmap>, Range<usize>),
}

impl Object {
    pub(super) fn input(&self) -> Input<'_> {
        let (data, reader): (_, Option<&dyn ReadAt>) = match &self.bytes {
            Bytes::File(map, None) => (&map[..], None),
            Bytes::File(map, Some(reader)) => (&map[..], Some(reader)),
            Bytes::Part(archive, range) => (&archive[range.clone()], None),
        };
        Input { name: &self.name, data, reader }
    }

    fn map(&self) -> &Mmap {
        match &self.bytes {
            Bytes::File(map, _) => map,
            Bytes::Part(archive, _) => archive,
        }
    }
}

/// The maps of objects, to give pages back that are not looked at any more.
#[derive(Debug)]
pub(super) struct Pages<'o> {
    maps: Vec<&'o Mmap>,
    /// Whether any of them is not read but looked at.
    some_small: bool,
    /// So many bytes have been made of them.
    made: AtomicU64,
}

impl<'o> Pages<'o> {
    pub(super) fn new(objects: &'o [Object]) -> Self {
        let mut maps: Vec<&Mmap> = objects.iter().map(Object::map).collect();
        maps.sort_unstable_by_key(|map| map.as_ptr());
        maps.dedup_by_key(|map| map.as_ptr());
        let some_small = objects.iter().any(|object| object.input().reader.is_none());
        Pages { maps, some_small, made: AtomicU64::new(0) }
    }

    /// Gives all pages back; what is looked at again comes from the page cache.
    pub(super) fn forget_all(&self) {
        self.maps.iter().for_each(|map| files::forget(map));
    }

    /// Notes that `len` bytes have been made of the objects, and gives pages back from time to time.
    pub(super) fn made(&self, len: u64) {
        if self.some_small {
            let before = self.made.fetch_add(len, Ordering::Relaxed);
            if before / STEP != (before + len) / STEP {
                self.forget_all();
            }
        }
    }
}

/// The objects that all links take, and what is made of them once.
#[derive(Debug)]
pub(super) struct Shared<'o> {
    objects: &'o [Object],
    pages: Pages<'o>,
    linker: Linker,
    prepared: OnceLock<std::result::Result<Prepared<'o>, debug_link::Error>>,
    provisional: OnceLock<Option<Provisional<'o>>>,
    /// What is known of their strings, until they are merged; if anything is to be remembered of them.
    strings: Mutex<Option<KnownStrings>>,
    /// So many bytes of their units have been read for types.
    units_read: Arc<AtomicU64>,
    /// The kernel of the link before, until its file is used.
    old: Mutex<Option<OldKernel>>,
    /// How long somebody has waited for what is prepared, in microseconds.
    waited: AtomicU64,
}

impl<'o> Shared<'o> {
    /// With what is known of their `strings`, if anything is to be remembered of them.
    pub(super) fn new(
        objects: &'o [Object],
        linker: Linker,
        old: Option<OldKernel>,
        strings: Option<KnownStrings>,
    ) -> Self {
        Shared {
            objects,
            pages: Pages::new(objects),
            linker,
            prepared: OnceLock::new(),
            provisional: OnceLock::new(),
            strings: Mutex::new(strings),
            units_read: Arc::default(),
            old: Mutex::new(old),
            waited: AtomicU64::new(0),
        }
    }

    /// The kernel of the link before, if its file is still to be had.
    pub(super) fn old(&self) -> Option<OldKernel> {
        self.old.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The maps of the objects.
    pub(super) fn pages(&self) -> &Pages<'o> {
        &self.pages
    }

    /// The inputs, made ready for debug information.
    ///
    /// # Errors
    /// A rule that is not followed, each time it is asked for.
    pub(super) fn prepare(&self) -> std::result::Result<&Prepared<'o>, debug_link::Error> {
        let (asked, mut done_here) = (Instant::now(), false);
        let prepare = || {
            done_here = true;
            let inputs: Vec<Input<'o>> = self.objects.iter().map(Object::input).collect();
            let strings = self.strings.lock().unwrap_or_else(PoisonError::into_inner).take();
            let prepared = match strings {
                Some(known) => Prepared::resume(&inputs, self.linker, known.remembered()),
                None => Prepared::new(&inputs, self.linker),
            };
            self.pages.forget_all();
            prepared
        };
        let prepared = self.prepared.get_or_init(prepare).as_ref().map_err(Clone::clone);
        if !done_here {
            let waited = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.waited.fetch_add(waited, Ordering::Relaxed);
        }
        prepared
    }

    /// What is to be remembered of their strings, as parts of a file, if that is not what was known.
    pub(super) fn strings_to_remember(&self) -> Option<Vec<Cow<'_, [u8]>>> {
        self.prepared.get()?.as_ref().ok()?.to_remember()
    }

    /// Whether they are made ready, or cannot be.
    pub(super) fn is_prepared(&self) -> bool {
        self.prepared.get().is_some()
    }

    /// How long somebody has waited for the preparation since this was last asked, in microseconds.
    pub(super) fn take_waited(&self) -> u64 {
        self.waited.swap(0, Ordering::Relaxed)
    }

    /// An input of that name.
    pub(super) fn input(&self, name: &str) -> Option<Input<'o>> {
        self.objects.iter().map(Object::input).find(|input| input.name == name)
    }

    /// The size of all objects, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.objects.iter().map(|object| object.input().data.len() as u64).sum()
    }

    /// Their debug sections with provisional addresses, if they can be had.
    pub(super) fn provisional(&self) -> Option<&Provisional<'o>> {
        let make = || self.prepare().ok()?.provisional().ok();
        self.provisional.get_or_init(make).as_ref()
    }

    /// Shows how far the reading of units is, until the result is dropped.
    pub(super) fn show_units(&self) -> Progress {
        Progress::of("BTF", self.info_len() as u64, self.units_read.clone())
    }
}

/// The debug sections of the objects, with provisional addresses.
impl DebugSource for Shared<'_> {
    fn info_len(&self) -> usize {
        let provisional = self.provisional();
        provisional.and_then(|all| all.contents(".debug_info")).map_or(0, |info| info.len())
    }

    fn info(&self, range: Range<usize>, out: &mut [u8]) -> std::result::Result<(), Unreadable> {
        let provisional = self.provisional().ok_or(Unreadable)?;
        let info = provisional.contents(".debug_info").ok_or(Unreadable)?;
        self.units_read.fetch_add(range.len() as u64, Ordering::Relaxed);
        self.pages.made(range.len() as u64);
        info.read(range, out).map_err(|_| Unreadable)
    }

    fn unit_key(&self, range: Range<usize>, lists: bool) -> Option<u128> {
        let info = self.provisional()?.contents(".debug_info")?;
        self.pages.made(range.len() as u64);
        info.unit_key(range, lists)
    }

    fn section(&self, name: &str) -> std::result::Result<Cow<'_, [u8]>, Unreadable> {
        let provisional = self.provisional().ok_or(Unreadable)?;
        let contents = provisional.contents(name).map(|section| section.all());
        contents.unwrap_or(Ok(Cow::Borrowed(&[]))).map_err(|_| Unreadable)
    }
}

impl Stage<'_> {
    /// The linker whose rules are followed; GNU ld where none are.
    pub(super) fn followed_linker(&self) -> Linker {
        self.toolbox.lean.map_or(Linker::Gnu, |dialect| dialect.linker)
    }

    /// The kernel's own objects in the order of the link, with the names that they have in the linker's map.
    pub(super) fn own_objects(&self) -> Result<Vec<Object>> {
        let (named, _) = link::kernel_objects(self.call, &self.tree.config, &self.tree.features);
        self.open_all(named.into_iter())
    }

    /// Objects, and all objects of archives.
    pub(super) fn open_all<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        for name in names {
            objects.extend(self.open(name)?);
        }
        Ok(objects)
    }

    /// An object, or all objects of an archive.
    fn open(&self, name: &str) -> Result<Vec<Object>> {
        let path = self.path(name);
        let (map, reader) = files::map_large(&path, LARGE)?;
        let members = image::members(&map).map_err(|error| Error::file(&path, error))?;
        let Some(members) = members else {
            return Ok(vec![Object { name: name.to_owned(), bytes: Bytes::File(map, reader) }]);
        };
        let archive = Arc::new(map);
        let object = |Member { name: member, range }| match range {
            Some(range) => Ok(Object {
                name: format!("{name}({member})"),
                bytes: Bytes::Part(archive.clone(), range),
            }),
            None => self.thin_member(name, &member),
        };
        members.into_iter().map(object).collect()
    }

    /// A member of a thin archive: a file, whose name the archive has from its own directory.
    fn thin_member(&self, archive: &str, member: &str) -> Result<Object> {
        let beside = Path::new(archive).parent().unwrap_or(Path::new(""));
        let path: PathBuf = self.path(&beside.join(member).to_string_lossy());
        // The linker prints what stands in the archive, seen from where it runs.
        let name = path.strip_prefix(&self.call.dir).unwrap_or(&path);
        let name = self.followed_linker().thin_member(archive, &name.to_string_lossy());
        let (map, reader) = files::map_large(&path, LARGE)?;
        Ok(Object { name, bytes: Bytes::File(map, reader) })
    }
}
