//! The linker is given a hollow `vmlinux.o` where it is only to say where everything goes.
//!
//! Half of a link without debug information is copying and relocating contents on one thread. A kernel that is linked
//! for its symbols needs none ([`debug_link::hollow`]). The hollow object is written once, beside the other temporary
//! files, and removed at the end.
//!
//! If the linker fails, or complains of the hollow object by its name, the link does not count: it gets the object itself,
//! and is heard then. What it complains of in relocations, such as a symbol that nobody defines, is heard when a kernel is
//! linked that is kept.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use debug_link::hollow::{Hollow, Relocations};
use debug_link::{Input, LinkMap, Linker};

use crate::error::Result;
use crate::files;
use crate::process;
use crate::say;

use super::inputs::Shared;
use super::{Stage, link};

/// Name of the hollow `vmlinux.o`.
pub const HOLLOW: &str = ".tmp_vmlinux.hollow.o";

/// The hollow object; its file is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Twin {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is no file yet.
    NotMade,
    Made,
    /// The linker gets the object itself from now on.
    Given,
}

impl Twin {
    pub(super) fn new(path: PathBuf) -> Self {
        Twin { path, state: Mutex::new(State::NotMade) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        if *self.state() != State::NotMade {
            let _ = files::remove(&self.path);
        }
    }
}

impl Stage<'_> {
    /// Links `link` from the hollow object; `false` if the linker has to get the object itself.
    pub(super) fn link_hollow(&self, link: &link::Link<'_>, shared: &Shared<'_>) -> Result<bool> {
        let Some(object) = shared.input(link::OBJECT) else { return Ok(false) };
        let mut state = self.twin.state();
        if *state == State::NotMade {
            *state = self.make_twin(&object);
        }
        if *state == State::Given {
            return Ok(false);
        }
        let (linked, said) = self.link_hushed(&link::Link { twin: Some(HOLLOW), ..*link })?;
        process::check_interrupt()?;
        let named = String::from_utf8_lossy(&said).contains(HOLLOW);
        if linked.is_ok() && !named {
            say::passed_on(&said);
            return Ok(true);
        }
        if self.call.verbose() {
            say::remark("+ # the linker complains, so it gets the object itself:");
        }
        *state = State::Given;
        Ok(false)
    }

    fn make_twin(&self, object: &Input<'_>) -> State {
        match Hollow::new(object, Relocations::Dropped) {
            Ok(hollow) if self.twin.write(&hollow).is_ok() => return State::Made,
            // Where there is no room for it, what is needed will say so.
            Ok(_) => drop(files::remove(&self.twin.path)),
            Err(reason) => {
                say::remark(format_args!("vmlinker: the linker gets all contents: {reason}"));
            }
        }
        State::Given
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
