//! The kernel's own objects, as the lean schedule reads them: opened once, made ready once.
//!
//! What debug information is made of does not depend on any link, so it is made ready while the linker works on the
//! first one, by the threads that are to spare. Whoever needs it first waits for that, or does it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Scope;
use std::time::Instant;

use debug_link::{Input, Linker, Prepared};
use image::Member;
use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::files;
use crate::jobs::Jobs;
use crate::timeline::Timeline;

use super::old::OldKernel;
use super::{Stage, link};

/// The preparation of the objects, as the timeline names it.
pub(super) const PREPARATION: (&str, &str) = ("PREP", "vmlinux.o");

/// An input of the link: the name that the linker's map has for it, and its bytes.
#[derive(Debug)]
pub(super) struct Object {
    name: String,
    bytes: Bytes,
}

/// A file, or a part of an archive.
#[derive(Debug)]
enum Bytes {
    File(Mmap),
    Part(Arc<Mmap>, Range<usize>),
}

impl Object {
    pub(super) fn input(&self) -> Input<'_> {
        let data = match &self.bytes {
            Bytes::File(map) => map,
            Bytes::Part(archive, range) => &archive[range.clone()],
        };
        Input { name: &self.name, data }
    }

    fn map(&self) -> &Mmap {
        match &self.bytes {
            Bytes::File(map) => map,
            Bytes::Part(archive, _) => archive,
        }
    }
}

/// The maps of objects, to give pages back that are not read any more.
#[derive(Debug)]
pub(super) struct Pages<'o> {
    /// In the order of their addresses.
    maps: Vec<&'o Mmap>,
}

impl<'o> Pages<'o> {
    pub(super) fn new(objects: &'o [Object]) -> Self {
        let mut maps: Vec<&Mmap> = objects.iter().map(Object::map).collect();
        maps.sort_unstable_by_key(|map| map.as_ptr());
        maps.dedup_by_key(|map| map.as_ptr());
        Pages { maps }
    }

    /// Gives all pages back; what is read again comes from the page cache.
    pub(super) fn forget_all(&self) {
        self.maps.iter().for_each(|map| files::forget(map, 0..map.len() as u64));
    }

    /// Gives the pages of a part of a map back; of anything else, nothing.
    pub(super) fn forget(&self, part: &[u8]) {
        let behind = self.maps.partition_point(|map| map.as_ptr() <= part.as_ptr());
        let Some(map) = behind.checked_sub(1).map(|index| self.maps[index]) else { return };
        let start = part.as_ptr().addr() - map.as_ptr().addr();
        if start + part.len() <= map.len() {
            files::forget(map, start as u64..(start + part.len()) as u64);
        }
    }
}

/// The objects that all links take, and what is made of them once.
#[derive(Debug)]
pub(super) struct Shared<'o> {
    objects: &'o [Object],
    linker: Linker,
    prepared: OnceLock<std::result::Result<Prepared<'o>, debug_link::Error>>,
    /// The kernel of the link before, until its file is used.
    old: Mutex<Option<OldKernel>>,
    /// How long somebody has waited for what is prepared, in microseconds.
    waited: AtomicU64,
    /// Set when a step asks for what is made ready: nothing more is looked up ahead then.
    asked: AtomicBool,
}

impl<'o> Shared<'o> {
    pub(super) fn new(objects: &'o [Object], linker: Linker, old: Option<OldKernel>) -> Self {
        let (prepared, old, waited) = (OnceLock::new(), Mutex::new(old), AtomicU64::new(0));
        Shared { objects, linker, prepared, old, waited, asked: AtomicBool::new(false) }
    }

    /// The kernel of the link before, if its file is still to be had.
    pub(super) fn old(&self) -> Option<OldKernel> {
        self.old.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The maps of the objects.
    pub(super) fn pages(&self) -> Pages<'o> {
        Pages::new(self.objects)
    }

    /// The inputs, made ready for debug information.
    ///
    /// # Errors
    /// A rule that is not followed, each time it is asked for.
    pub(super) fn prepared(&self) -> std::result::Result<&Prepared<'o>, debug_link::Error> {
        self.asked.store(true, Ordering::Relaxed);
        self.prepare()
    }

    fn prepare(&self) -> std::result::Result<&Prepared<'o>, debug_link::Error> {
        let (asked, mut done_here) = (Instant::now(), false);
        let prepare = || {
            done_here = true;
            let inputs: Vec<Input<'o>> = self.objects.iter().map(Object::input).collect();
            let prepared = Prepared::new(&inputs, self.linker);
            self.pages().forget_all();
            prepared
        };
        let prepared = self.prepared.get_or_init(prepare).as_ref().map_err(Clone::clone);
        if !done_here {
            let waited = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.waited.fetch_add(waited, Ordering::Relaxed);
        }
        prepared
    }

    /// How long somebody has waited for the preparation since this was last asked, in microseconds.
    pub(super) fn take_waited(&self) -> u64 {
        self.waited.swap(0, Ordering::Relaxed)
    }

    /// The size of all objects, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.objects.iter().map(|object| object.input().data.len() as u64).sum()
    }

    /// Begins in the background, if there are threads to spare. `after` is the step that has just ended.
    pub(super) fn begin<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        jobs: &'scope Jobs,
        timeline: Arc<Timeline>,
        after: Option<String>,
    ) {
        let work = move || {
            let (verb, output) = PREPARATION;
            // Whatever goes wrong is met again by the step that needs it.
            let work = || {
                let pages = self.pages();
                let prepared = self.prepare();
                prepared.map(|known| known.look_ahead(&self.asked, &|read| pages.forget(read)))
            };
            let (done, mut step) =
                timeline.measure(verb, output, "native", || jobs.run_beside(|| work().is_ok()));
            if let Ok(Some(_)) = done {
                step.beside = true;
                step.waited_for.extend(after);
                step.read = Some(self.size());
                timeline.push(step);
            }
        };
        // Without a thread the step that needs it does it.
        let _ = std::thread::Builder::new().spawn_scoped(scope, work);
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
        let map = files::map(&path)?;
        let members = image::members(&map).map_err(|error| Error::file(&path, error))?;
        let Some(members) = members else {
            return Ok(vec![Object { name: name.to_owned(), bytes: Bytes::File(map) }]);
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
        Ok(Object { name, bytes: Bytes::File(files::map(&path)?) })
    }
}
