//! Types out of the debug information of the kernel's objects.
//!
//! The kernel that the types are made of was linked without debug information. What the encoder reads of it is made
//! when it is asked for: a file of hundreds of MB is neither written nor read, and no more of it is in memory than
//! the units that are being read. Where the linker's rules cannot be followed, the kernel gets its debug
//! information after all, as a file that is removed again.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use debug_link::{Contents, DebugSections, Dialect, Input, LinkMap, Provisional};
use dwarf_btf::{DebugSource, Encoded, Unreadable};
use image::Elf;

use crate::error::{Error, Result};
use crate::files;
use crate::plan::{DebugInfo, Filled, Linked};
use crate::progress::Progress;
use crate::say;
use crate::timeline;

use super::ahead::Ahead;
use super::debug::{Debug, Fault};
use super::inputs::{Object, Pages, Shared};
use super::{Stage, hollow, link};

impl Stage<'_> {
    /// The types of the kernel `image`, which was `linked` without debug information.
    pub(super) fn types_of_objects(
        &self,
        image: &str,
        linked: &Linked,
        ahead: &Ahead<'_, '_>,
    ) -> Result<Vec<u8>> {
        let dialect = self.toolbox.lean.expect("a lean link has the linker's dialect");
        self.show_types(image, linked)?;
        match self.jobs.run(|| self.try_types(image, linked, ahead, &dialect))? {
            Ok(types) => self.some_types(image, types),
            Err(Fault::Edge(error)) => Err(error),
            Err(Fault::Hollow(reason)) => Err(self.refuse_hollow(image, &reason)),
            Err(Fault::Rule(reason)) => {
                // What this costs is a file of the size of the kernel.
                let line = format_args!("types of {image} are read out of a file: {reason}");
                say::remark(format_args!("vmlinker: {line}"));
                self.types_of_file(image, linked, ahead.shared)
            }
        }
    }

    /// With `make V=1`, what would make the same types by themselves: they are of no file that there is.
    fn show_types(&self, image: &str, linked: &Linked) -> Result<()> {
        if !self.call.verbose() {
            return Ok(());
        }
        let whole = format!("{image}.debug");
        let (kallsyms, btf) = (linked.kallsyms.as_deref(), linked.btf.as_deref());
        say::remark("+ # the same types, by way of a file:");
        let link = link::Link { output: &whole, kallsyms, btf, ..self.link_of(image) };
        self.show_command(&self.linker(&link)?);
        self.show_encoder(&whole);
        Ok(())
    }

    fn try_types(
        &self,
        image: &str,
        linked: &Linked,
        ahead: &Ahead<'_, '_>,
        dialect: &Dialect,
    ) -> std::result::Result<Vec<u8>, Fault> {
        let names = [&linked.kallsyms, &linked.btf].into_iter().flatten();
        let objects = self.open_all(names.map(String::as_str))?;
        let made: Vec<Input<'_>> = objects.iter().map(Object::input).collect();
        let map = files::read(&self.path(&linked.map))?;
        let script = files::read(&self.path(&link::script(self.call)))?;
        let map = hollow::link_map(dialect.linker, &map, &script)?;
        let path = self.path(image);
        let kernel = files::map(&path)?;
        let elf = Elf::parse(&kernel).map_err(|error| Error::file(&path, error))?;
        if let Some(types) = self.types_read_ahead(ahead, &made, &elf, &map)? {
            return Ok(types);
        }
        let shared = ahead.shared;
        let sections = shared.prepare()?.sections(&made, &elf, &map)?;
        let source = Unwritten::new(&sections, shared.pages());
        let encoded = dwarf_btf::encode_from(&elf, &source, self.encoder_options());
        match (encoded, source.fault.get()) {
            (Ok(encoded), _) => Ok(encoded.btf),
            (Err(_), Some(fault)) => Err(fault.clone().into()),
            (Err(error), None) => Err(Fault::Edge(Error::file(&path, error))),
        }
    }

    /// The types of units that were read ahead, if they can be finished for this image.
    fn types_read_ahead<'i, 'o: 'i>(
        &self,
        ahead: &Ahead<'_, 'o>,
        made: &[Input<'i>],
        elf: &Elf<'_>,
        map: &LinkMap<'i>,
    ) -> std::result::Result<Option<Vec<u8>>, Fault> {
        let Some(reading) = ahead.take_units() else { return Ok(None) };
        let provisional: Option<&Provisional<'i>> = ahead.shared.provisional();
        let Some(provisional) = provisional else { return Ok(None) };
        let Some(addresses) = provisional.addresses(made, elf, map)? else { return Ok(None) };
        let _progress = ahead.shared.show_units();
        let encoded = reading.finish(elf, &|provisional| addresses.of(provisional));
        Ok(encoded.map(|Encoded { btf, report, known }| {
            let units = timeline::Units { all: report.units, known: report.known };
            if self.call.verbose() {
                say::remark(format_args!("+ # {} of {} units were known", units.known, units.all));
            }
            ahead.remember(known, units);
            btf
        }))
    }

    /// The types out of a file with debug information, which the linker writes if need be. It says why.
    fn types_of_file(&self, image: &str, linked: &Linked, shared: &Shared<'_>) -> Result<Vec<u8>> {
        let whole = format!("{image}.debug");
        let object = |linked: &Option<String>| {
            linked.clone().map(|linked| Filled { linked, contents: None })
        };
        let (kallsyms, btf) = (object(&linked.kallsyms), object(&linked.btf));
        let step = Debug {
            image: &whole,
            name: &whole,
            stripped: image,
            map: &linked.map,
            kallsyms: kallsyms.as_ref(),
            btf: btf.as_ref(),
            info: DebugInfo::Keep,
        };
        self.put_debug_in(&step, shared)?;
        let types = self.encoded_types(&whole);
        files::remove(&self.path(&whole))?;
        types
    }
}

/// Debug sections that are made when they are asked for.
struct Unwritten<'p, 'a> {
    sections: &'p DebugSections<'a>,
    info: Option<Contents<'p, 'a>>,
    pages: &'p Pages<'a>,
    progress: Progress,
    /// The first rule that could not be followed.
    fault: OnceLock<debug_link::Error>,
}

impl<'p, 'a> Unwritten<'p, 'a> {
    fn new(sections: &'p DebugSections<'a>, pages: &'p Pages<'a>) -> Self {
        let info = sections.contents(".debug_info");
        let progress = Progress::new("BTF", info.map_or(0, |info| info.len() as u64));
        Unwritten { sections, info, pages, progress, fault: OnceLock::new() }
    }

    fn noted<T>(&self, result: std::result::Result<T, debug_link::Error>) -> Noted<T> {
        result.map_err(|fault| {
            // One is enough; which of several is of no importance.
            let _ = self.fault.set(fault);
            Unreadable
        })
    }
}

/// What has been noted if it went wrong.
type Noted<T> = std::result::Result<T, Unreadable>;

impl DebugSource for Unwritten<'_, '_> {
    fn info_len(&self) -> usize {
        self.info.map_or(0, |info| info.len())
    }

    fn info(&self, range: Range<usize>, out: &mut [u8]) -> Noted<()> {
        let info = self.info.ok_or(Unreadable)?;
        self.progress.add(range.len());
        self.pages.made(range.len() as u64);
        self.noted(info.read(range, out))
    }

    fn section(&self, name: &str) -> Noted<Cow<'_, [u8]>> {
        match self.sections.contents(name) {
            Some(section) => {
                let bytes = self.noted(section.all());
                // Merged strings have been gathered from all over the inputs.
                self.pages.forget_all();
                bytes
            }
            None => Ok(Cow::Borrowed(&[])),
        }
    }
}
