//! The linker is given a hollow `vmlinux.o`: it is to say where everything goes, and what it would copy is put in here.
//!
//! Half of a link without debug information is copying and relocating contents on one thread. A kernel that is linked
//! for its symbols needs none ([`debug_link::hollow`]); one that is kept gets them from all threads ([`debug_link::Filler`]),
//! and the relocations that stay. The hollow object is written once, beside the other temporary files, and removed at the end.
//!
//! If the linker fails, or names the hollow object in what it says or writes, the link does not count: it gets the object
//! itself, and is heard then. What it complains of in relocations, such as a symbol that nobody defines, is met when contents are
//! put in. Then nothing counts that was made of hollow links: the plan is followed once more from its start, and the linker
//! gets the object itself. So its messages are those of a link that has everything, and name the files that there are.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use debug_link::hollow::{Hollow, Relocations};
use debug_link::{Dialect, Filler, Input, LinkMap, Linker, Prepared};

use crate::error::{Error, Result};
use crate::files;
use crate::process;
use crate::say;

use super::debug::{Debug, Fault};
use super::inputs::Shared;
use super::{Stage, compare, link};

/// Name of the hollow `vmlinux.o`.
pub const HOLLOW: &str = ".tmp_vmlinux.hollow.o";

/// The hollow object; its file is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Twin {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What relocations became in the file; `None` if there is no file.
    made: Option<Relocations>,
    /// The images that were linked of it.
    linked: BTreeSet<String>,
    /// The linker gets the object itself from now on.
    given: bool,
    /// What was made of hollow links does not count.
    refused: bool,
}

impl Twin {
    pub(super) fn new(path: PathBuf) -> Self {
        Twin { path, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an image has no contents yet.
    pub(super) fn is_hollow(&self, image: &str) -> bool {
        self.state().linked.contains(image)
    }

    /// Whether the linker had to get the object itself.
    pub(super) fn is_given(&self) -> bool {
        self.state().given
    }

    /// Whether everything has to be linked again. It is only once.
    pub(super) fn take_refused(&self) -> bool {
        std::mem::take(&mut self.state().refused)
    }

    /// Gives the linker the object itself, from now on and for all that was linked before.
    pub(super) fn refuse(&self) {
        let mut state = self.state();
        (state.given, state.refused) = (true, true);
        state.linked.clear();
    }

    fn write(&self, hollow: &Hollow<'_>) -> std::io::Result<()> {
        let file = File::create(&self.path)?;
        file.set_len(hollow.len)?;
        let mut pieces = hollow.pieces.iter();
        pieces.try_for_each(|piece| file.write_all_at(&piece.bytes, piece.offset))
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        if self.state().made.is_some() {
            let _ = files::remove(&self.path);
        }
    }
}

impl Stage<'_> {
    /// Links `link` from the hollow object; `false` if the linker has to get the object itself.
    pub(super) fn link_hollow(&self, link: &link::Link<'_>, shared: &Shared<'_>) -> Result<bool> {
        let mut state = self.twin.state();
        state.linked.remove(link.output);
        let relocations = self.relocations_of(link);
        let (Some(object), Some(relocations)) = (shared.input(link::OBJECT), relocations) else {
            return Ok(false);
        };
        if state.made != Some(relocations) && !state.given {
            state.given = !self.make_twin(&object, relocations);
            state.made = Some(relocations);
        }
        if state.given {
            return Ok(false);
        }
        let kept = link.relocations && relocations == Relocations::Cleared;
        let hollow = link::Link { twin: Some(HOLLOW), relocations: kept, ..*link };
        let (linked, said) = self.link_hushed(&hollow)?;
        process::check_interrupt()?;
        let named = String::from_utf8_lossy(&said).contains(HOLLOW);
        if linked.is_ok() && !named && !self.names_twin(link.output)? {
            say::passed_on(&said);
            state.linked.insert(link.output.to_owned());
            return Ok(true);
        }
        if self.call.verbose() {
            say::remark("+ # the linker does not do it alike, so it gets the object itself:");
        }
        state.given = true;
        Ok(false)
    }

    /// Whether the hollow object is named in an image: GNU ld names the file of local symbols where the file does not.
    fn names_twin(&self, image: &str) -> Result<bool> {
        self.with_elf(image, |elf| {
            let Some((_, names)) = elf.section(".strtab") else { return Ok(false) };
            Ok(memchr::memmem::find(elf.bytes(names)?, HOLLOW.as_bytes()).is_some())
        })
    }

    /// What becomes of relocations in the object that `link` gets; `None` if it is not known what the linker makes of them.
    fn relocations_of(&self, link: &link::Link<'_>) -> Option<Relocations> {
        let dialect = self.toolbox.lean?;
        if !link.relocations || !dialect.keeps_relocations {
            return Some(Relocations::Dropped);
        }
        // Otherwise the symbols depend on them.
        dialect.discards_none.then_some(match dialect.linker {
            // What GNU ld makes of them is known; it is quicker without.
            Linker::Gnu => Relocations::Dropped,
            Linker::Lld => Relocations::Cleared,
        })
    }

    /// Whether the hollow object could be made.
    fn make_twin(&self, object: &Input<'_>, relocations: Relocations) -> bool {
        match Hollow::new(object, relocations) {
            Ok(hollow) if self.twin.write(&hollow).is_ok() => return true,
            // Where there is no room for it, what is needed will say so.
            Ok(_) => drop(files::remove(&self.twin.path)),
            Err(reason) => {
                say::remark(format_args!("vmlinker: the linker gets all contents: {reason}"));
            }
        }
        false
    }

    /// The kernel `linked`, a hollow one, with the contents of the kernel's own objects and of those that were `made`.
    pub(super) fn fill<'i, 'o: 'i>(
        &self,
        step: &Debug<'_>,
        linked: &[u8],
        made: &[Input<'i>],
        map: &LinkMap<'i>,
        of: (&Shared<'o>, &Dialect),
    ) -> std::result::Result<Vec<u8>, Fault> {
        let filler = self.filler(step, linked, made, map, of)?;
        let mut kernel = vec![0; filler.len()];
        filler.fill(&mut kernel).map_err(Fault::hollow)?;
        Ok(kernel)
    }

    /// What puts these contents into the kernel `linked`.
    pub(super) fn filler<'l, 'i, 'o: 'i>(
        &self,
        step: &Debug<'_>,
        linked: &'l [u8],
        made: &[Input<'i>],
        map: &LinkMap<'i>,
        (shared, dialect): (&Shared<'o>, &Dialect),
    ) -> std::result::Result<Filler<'l, 'i>, Fault> {
        self.check_layout(step)?;
        let last = step.name == self.needs.output;
        let adds = last && dialect.linker == Linker::Gnu && dialect.keeps_relocations;
        let prepared: &Prepared<'i> = shared.prepare()?;
        prepared.filler(made, linked, map, adds).map_err(Fault::hollow)
    }

    /// Refuses objects of other sizes than those that were linked, which no hollow link is to blame for.
    fn check_layout(&self, step: &Debug<'_>) -> std::result::Result<(), Fault> {
        for (linked, contents) in step.exchanged() {
            let (old, new) = (self.path(linked), self.path(contents));
            let same = compare::same_layout(&files::map(&old)?, &files::map(&new)?);
            if !same.map_err(|error| Error::file(&new, error))? {
                let sizes = format!("{linked}: sections of other sizes");
                return Err(Fault::Rule(debug_link::Error::Disagree(sizes)));
            }
        }
        Ok(())
    }
}

/// The map of a link, perhaps a hollow one, with the names of the objects themselves.
pub(super) fn link_map<'m>(
    linker: Linker,
    text: &'m [u8],
    script: &'m [u8],
) -> std::result::Result<LinkMap<'m>, debug_link::Error> {
    let mut map = LinkMap::parse(linker, text, script)?;
    map.rename(HOLLOW.as_bytes(), link::OBJECT.as_bytes());
    Ok(map)
}
