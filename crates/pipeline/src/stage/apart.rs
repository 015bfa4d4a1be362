//! Debug information in a file of its own, or nowhere (`--debug-info=separate|drop`).
//!
//! `separate`: what would be one file is made as ever, in parallel, and each part goes to the file that is to have it.
//! The kernel is the one that was linked without debug information, with a link to the file that has it. Its build
//! ID is that of the whole file, which exists nowhere: so both files have the same ID, and it is the one that `keep`
//! gives, by which crash tools and symbol servers know the kernel.
//!
//! `drop`: the kernel that was linked without debug information is the result. Its build ID is computed over it by
//! the linker's rule.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use debug_link::debuglink::{self, WithDebuglink};
use debug_link::{BuildId, DebugFile, Dialect, Making, build_id};
use dwarf_btf::{DebugSource, Unreadable};
use image::Elf;

use crate::error::{Error, Result};
use crate::files;
use crate::plan::{DebugInfo, Filled};
use crate::say;

use super::debug::{Debug, Fault};
use super::inputs::Shared;
use super::{Stage, link};

/// Name of the debug information's file until the kernel is finished.
pub const UNFINISHED_DEBUG: &str = ".tmp_vmlinux.unfinished.debug";

impl Stage<'_> {
    /// Writes the debug information of the image that `plan` describes, with the build ID of that image, computed as
    /// the linker does it, only if it is to be `signed`.
    pub(super) fn write_debug_file(
        &self,
        plan: &debug_link::Plan<'_>,
        signed: bool,
        shared: &Shared<'_>,
    ) -> std::result::Result<(), Fault> {
        let path = self.path(UNFINISHED_DEBUG);
        let failed = |error: std::io::Error| Fault::Edge(Error::file(&path, files::reason(&error)));
        let layout = DebugFile::of_plan(plan)?;
        let file = File::create(&path).map_err(failed)?;
        file.set_len(layout.len()).map_err(failed)?;
        let making = Making { build_id: signed, zeros: false };
        let mut own = layout.own();
        own.try_for_each(|(at, piece)| file.write_all_at(piece, at)).map_err(failed)?;
        plan.make(&making, |at, part| {
            shared.pages().made(part.len() as u64);
            let mut pieces = layout.route(at, part);
            pieces.try_for_each(|(at, piece)| file.write_all_at(piece, at)).map_err(failed)
        })
    }

    /// Writes `kernel` under the step's name, with the build ID of the debug information's file and a link to that.
    pub(super) fn write_linked(&self, step: &Debug<'_>, kernel: &mut [u8]) -> Result<()> {
        let path = self.path(UNFINISHED_DEBUG);
        let debug = files::map(&path)?;
        let image = self.path(step.image);
        let in_image = |error: debug_link::Error| Error::file(&image, error);
        build_id::copy(&debug, kernel).map_err(in_image)?;
        let crc = debuglink::crc(&debug);
        let linked = WithDebuglink::new(kernel, &self.debug_name, crc).map_err(in_image)?;
        files::write_program(&image, &linked.pieces())
    }

    /// Writes `kernel` under the step's name; its build ID, computed as the linker does it, only if it is to be `signed`.
    pub(super) fn write_stripped(
        &self,
        step: &Debug<'_>,
        kernel: &mut [u8],
        dialect: &Dialect,
    ) -> std::result::Result<(), Fault> {
        if dialect.build_id == BuildId::Sha1 {
            build_id::set(kernel, dialect.linker)?;
        }
        Ok(files::write_program(&self.path(step.image), &[kernel])?)
    }

    /// Does by links what could not be done without.
    pub(super) fn link_instead(&self, step: &Debug<'_>) -> Result<()> {
        let [kallsyms, btf] = [step.kallsyms, step.btf].map(|filled| filled.map(Filled::object));
        let whole = link::Link { kallsyms, btf, ..self.link_of(step.name) };
        let stripped = link::Link { strip_debug: true, ..whole };
        match step.info {
            DebugInfo::Keep => self.link(&whole),
            DebugInfo::Drop => self.link(&stripped),
            DebugInfo::Separate => {
                self.link(&whole)?;
                let image = self.path(step.image);
                extract(&image, &self.path(UNFINISHED_DEBUG))?;
                self.link(&stripped)?;
                let mut kernel = files::map_private(&image)?;
                self.jobs.run(|| self.write_linked(step, &mut kernel))?
            }
        }
    }

    /// With `make V=1`, what would do the same with a linker and objcopy.
    pub(super) fn show_link_instead(&self, step: &Debug<'_>) -> Result<()> {
        if !self.call.verbose() {
            return Ok(());
        }
        let [kallsyms, btf] = [step.kallsyms, step.btf].map(|filled| filled.map(Filled::object));
        let strip_debug = step.info == DebugInfo::Drop;
        let link = link::Link { kallsyms, btf, strip_debug, ..self.link_of(step.name) };
        say::remark("+ # the same, by the linker:");
        self.show_command(&self.linker(&link)?);
        if step.info == DebugInfo::Separate {
            let (kernel, file) = (step.image, &self.debug_name[..]);
            let objcopy = self.call.var("OBJCOPY");
            say::remark(format_args!("+ {objcopy} --only-keep-debug {kernel} {file}"));
            let strip = format_args!("--strip-debug --add-gnu-debuglink={file}");
            say::remark(format_args!("+ {objcopy} {strip} {kernel}"));
        }
        Ok(())
    }

    /// Removes what has been made of debug information's file, and what is there from the link before.
    pub(super) fn remove_debug_files(&self) -> Result<()> {
        files::remove(&self.path(UNFINISHED_DEBUG))?;
        files::remove(&self.path(crate::plan::DEBUG_FILE))
    }
}

/// Writes the debug information of the kernel `image` to `file`.
fn extract(image: &Path, file: &Path) -> Result<()> {
    let bytes = files::map(image)?;
    let elf = Elf::parse(&bytes).map_err(|error| Error::file(image, error))?;
    let layout = DebugFile::of_image(&elf).map_err(|error| Error::file(image, error))?;
    let failed = |error: std::io::Error| Error::file(file, files::reason(&error));
    let out = File::create(file).map_err(failed)?;
    out.set_len(layout.len()).map_err(failed)?;
    let mut pieces = layout.own().chain(layout.pieces(&bytes));
    pieces.try_for_each(|(at, piece)| out.write_all_at(piece, at)).map_err(failed)
}

/// Debug information in a file of its own, to be read.
pub(super) struct SeparateDebug<'a>(pub Elf<'a>);

impl SeparateDebug<'_> {
    fn bytes(&self, name: &str) -> std::result::Result<&[u8], Unreadable> {
        let found = self.0.section(name);
        found.map_or(Ok(&[]), |(_, section)| self.0.bytes(section).map_err(|_| Unreadable))
    }
}

impl DebugSource for SeparateDebug<'_> {
    fn info_len(&self) -> usize {
        self.bytes(".debug_info").map_or(0, <[u8]>::len)
    }

    fn info(&self, range: Range<usize>, out: &mut [u8]) -> std::result::Result<(), Unreadable> {
        out.copy_from_slice(self.bytes(".debug_info")?.get(range).ok_or(Unreadable)?);
        Ok(())
    }

    fn section(&self, name: &str) -> std::result::Result<Cow<'_, [u8]>, Unreadable> {
        self.bytes(name).map(Cow::Borrowed)
    }
}
