//! Debug information put into a kernel that was linked without.
//!
//! It takes the place of a link with debug information, which reads, relocates and merges hundreds of megabytes on
//! one thread and repeats what the link without has done. Where the linker's rules cannot be followed to the
//! byte, the linker does it after all, and the reason is said.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use debug_link::{BuildId, Dialect, Exchange, Input, LinkMap, Making, Unreadable};

use memmap2::Mmap;
use rustix::fs::{self, FallocateFlags};

use crate::error::{Error, Result};
use crate::files;
use crate::plan::{DebugInfo, Filled};
use crate::progress::Progress;
use crate::say;

use super::inputs::Shared;
use super::{Stage, hollow, link};

/// What the step works on; names are relative to the object tree.
pub(super) struct Debug<'a> {
    /// The kernel to make, under the name that it has while the link runs.
    pub image: &'a str,
    /// The name that the kernel will have.
    pub name: &'a str,
    /// The kernel without debug information.
    pub stripped: &'a str,
    /// The linker's map of it.
    pub map: &'a str,
    /// The kallsyms object that was linked in.
    pub kallsyms: Option<&'a Filled>,
    /// The BTF object that was linked in.
    pub btf: Option<&'a Filled>,
    /// Where debug information goes.
    pub info: DebugInfo,
}

impl<'a> Debug<'a> {
    /// The objects that were made.
    fn filled(&self) -> impl Iterator<Item = &'a Filled> {
        [self.kallsyms, self.btf].into_iter().flatten()
    }

    /// Those that were linked in for others: their names, and the names of what takes their place.
    pub(super) fn exchanged(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.filled().filter_map(|filled| Some((&*filled.linked, filled.contents.as_deref()?)))
    }
}

/// Why debug information could not be linked here.
pub(super) enum Fault {
    /// A rule that is not followed: the linker can still do it.
    Rule(debug_link::Error),
    /// The same, where contents are put into a hollow kernel: the linker can still do that.
    Hollow(debug_link::Error),
    /// A fault that another link would meet too.
    Edge(Error),
}

impl From<debug_link::Error> for Fault {
    fn from(error: debug_link::Error) -> Self {
        match error {
            debug_link::Error::Unreadable(Unreadable { file, cause }) => {
                Fault::Edge(Error::file(file, cause))
            }
            debug_link::Error::Hollow(rule) => Fault::Hollow(*rule),
            rule => Fault::Rule(rule),
        }
    }
}

impl Fault {
    /// That of putting contents into a hollow kernel.
    pub(super) fn hollow(error: debug_link::Error) -> Self {
        match Fault::from(error) {
            Fault::Rule(rule) => Fault::Hollow(rule),
            other => other,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Edge(error)
    }
}

impl Stage<'_> {
    /// Makes the kernel with debug information, through the linker if need be.
    pub(super) fn put_debug_in(&self, step: &Debug<'_>, shared: &Shared<'_>) -> Result<()> {
        let dialect = self.toolbox.lean.expect("a lean link has the linker's dialect");
        self.show_link_instead(step)?;
        match self.jobs.run(|| self.try_debug(step, shared, &dialect))? {
            Ok(()) => Ok(()),
            Err(Fault::Edge(error)) => Err(error),
            Err(Fault::Rule(reason)) => {
                say::remark(format_args!("vmlinker: {} is linked once more: {reason}", step.name));
                self.link_instead(step)
            }
            Err(Fault::Hollow(reason)) => Err(self.refuse_hollow(step.name, &reason)),
        }
    }

    /// Has everything linked once more, of the objects themselves.
    pub(super) fn refuse_hollow(&self, image: &str, reason: &debug_link::Error) -> Error {
        say::remark(format_args!("vmlinker: {image} is linked once more: {reason}"));
        self.twin.refuse();
        Error::new(reason)
    }

    fn try_debug(
        &self,
        step: &Debug<'_>,
        shared: &Shared<'_>,
        dialect: &Dialect,
    ) -> std::result::Result<(), Fault> {
        // What is in the kernel in the end, under the names of what was linked: an assembler's object may bring debug
        // information of its own.
        let filled: Vec<&Filled> = step.filled().collect();
        let objects = filled.iter().map(|filled| files::map(&self.path(filled.object())));
        let objects = objects.collect::<Result<Vec<Mmap>>>()?;
        let made = filled.iter().zip(&objects);
        let made: Vec<Input<'_>> =
            made.map(|(filled, data)| Input::new(&filled.linked, data)).collect();
        let map = files::read(&self.path(step.map))?;
        let script = files::read(&self.path(&link::script(self.call)))?;
        let map = hollow::link_map(dialect.linker, &map, &script)?;
        let mut linked = files::map_private(&self.path(step.stripped))?;
        let is_hollow = self.twin.is_hollow(step.stripped);
        if is_hollow && step.info == DebugInfo::Keep {
            // Nobody else reads what is filled: it is, on its way into the file.
            let filler = self.filler(step, &linked, &made, &map, (shared, dialect))?;
            let unfilled = filler.unfilled().map_err(Fault::hollow)?;
            let plan = filler.plan(&unfilled, &map, dialect)?;
            return self.place_whole(step, &plan, (shared, dialect));
        }
        let mut filled;
        let kernel: &mut [u8] = match is_hollow {
            true => {
                filled = self.fill(step, &linked, &made, &map, (shared, dialect))?;
                drop(linked);
                &mut filled
            }
            false => {
                self.refill(step, &mut linked, &map)?;
                &mut linked
            }
        };
        if step.info == DebugInfo::Drop {
            return self.write_stripped(step, kernel, dialect);
        }
        let plan = shared.prepare()?.plan(&made, kernel, &map, dialect)?;
        if step.info == DebugInfo::Separate {
            self.write_debug_file(&plan, self.is_signed(step, dialect), shared)?;
            drop(plan);
            return Ok(self.write_linked(step, kernel)?);
        }
        self.place_whole(step, &plan, (shared, dialect))
    }

    /// Whether the kernel gets a build ID: that of one that is only looked at is of no use to anybody.
    fn is_signed(&self, step: &Debug<'_>, dialect: &Dialect) -> bool {
        step.name == self.needs.output && dialect.build_id == BuildId::Sha1
    }

    /// Makes the whole kernel under its name; nothing is left of one that cannot be made.
    fn place_whole(
        &self,
        step: &Debug<'_>,
        plan: &debug_link::Plan<'_>,
        (shared, dialect): (&Shared<'_>, &Dialect),
    ) -> std::result::Result<(), Fault> {
        let whole = self.path(&format!("{}.whole", step.stripped));
        let written = write_whole(plan, &whole, self.is_signed(step, dialect), shared);
        let placed = written.and_then(|()| Ok(files::rename(&whole, &self.path(step.image))?));
        if placed.is_err() {
            files::remove(&whole)?;
        }
        placed
    }

    /// Puts the right contents in the place of those that were linked in.
    fn refill(
        &self,
        step: &Debug<'_>,
        kernel: &mut [u8],
        map: &LinkMap<'_>,
    ) -> std::result::Result<(), Fault> {
        for (name, contents) in step.exchanged() {
            let (old, new) = (files::map(&self.path(name))?, files::map(&self.path(contents))?);
            debug_link::refill(kernel, map, &Exchange { name, old: &old, new: &new })?;
        }
        Ok(())
    }
}

/// Writes the kernel; its build ID, computed as the linker does it, only if it is to be `signed`.
fn write_whole(
    plan: &debug_link::Plan<'_>,
    path: &Path,
    signed: bool,
    shared: &Shared<'_>,
) -> std::result::Result<(), Fault> {
    let failed = |error: std::io::Error| Fault::Edge(Error::file(path, files::reason(&error)));
    let (file, zeros) = match shared.old() {
        Some(old) => (old.become_new(path, plan.len()), true),
        None => (new_file(path, plan.len()), false),
    };
    let file = file.map_err(failed)?;
    let making = Making { build_id: signed, zeros };
    let progress = Progress::new("DEBUG", plan.len());
    plan.make(&making, |at, part| {
        progress.add(part.len());
        shared.pages().made(part.len() as u64);
        file.write_all_at(part, at).map_err(failed)
    })
}

/// An empty file of that length.
fn new_file(path: &Path, len: u64) -> std::io::Result<File> {
    let mut options = File::options();
    // An image can be run, as far as the linker knows.
    let file = options.write(true).create(true).truncate(true).mode(0o777).open(path)?;
    // To write to blocks that the file has costs less than to get them one by one. Where there are none to be had, writing
    // tells what is wrong.
    let has_blocks = fs::fallocate(&file, FallocateFlags::empty(), 0, len);
    has_blocks.or_else(|_| file.set_len(len))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_no_reason_to_link_once_more() {
        let unreadable = Unreadable { file: "vmlinux.o".to_owned(), cause: "cut off".to_owned() };
        let unreadable = debug_link::Error::Unreadable(unreadable);
        for of in [Fault::from, Fault::hollow] {
            match of(unreadable.clone()) {
                Fault::Edge(error) => assert_eq!(error.to_string(), "vmlinux.o: cut off"),
                Fault::Rule(rule) | Fault::Hollow(rule) => panic!("{rule}"),
            }
        }
        let rule = debug_link::Error::Unsupported("a rule".to_owned());
        assert!(matches!(Fault::from(rule.clone()), Fault::Rule(_)));
        let of_hollow = debug_link::Error::Hollow(Box::new(rule.clone()));
        assert!(matches!(Fault::from(of_hollow), Fault::Hollow(other) if other == rule));
        assert!(matches!(Fault::hollow(rule), Fault::Hollow(_)));
    }
}
