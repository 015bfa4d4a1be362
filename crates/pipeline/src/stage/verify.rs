//! The finished kernel looked at once more (`--verify`).
//!
//! Nothing that the link has kept is believed. Out of the kernel's own bytes its symbols are listed, the tables made of
//! them, its types encoded from its debug information, its ids and sorted tables computed, and each is compared with
//! what the kernel holds. So a table that was put into the wrong place, or that was right before something else
//! moved, is found, and also a tool of the kernel's that works by other rules than those that are known here.
//!
//! Only what `.BTF_ids` held before ids came into it is taken from a temporary kernel: it cannot be told from them.
//!
//! Cost: about that of the native steps, with types read out of the whole file.

use std::fs::File;

use btf::Btf;
use btf_ids::KernelOptions;
use image::{Elf, Patch};
use kallsyms::{Tables, parse_map, reader};

use crate::error::{Error, Result};
use crate::files;
use crate::plan::DebugInfo;
use crate::say;

use super::Stage;
use super::apart::{SeparateDebug, UNFINISHED_DEBUG};
use super::native::Fault;

/// What is wrong with a part; `None` if nothing is.
type Finding = Option<String>;

impl Stage<'_> {
    /// Compares everything that was filled into `image` with what is made of it now. In `.BTF_ids` of `btf_image`
    /// is what there was before ids came into it.
    pub(super) fn verify(&self, image: &str, btf_image: Option<&str>) -> Result<()> {
        let (needs, toolbox) = (&self.needs, self.toolbox);
        let mut wrong = Vec::new();
        let mut part = |name: &str,
                        needed: bool,
                        known: bool,
                        find: &dyn Fn() -> Result<Finding>| {
            match (needed, known) {
                (true, true) => wrong.extend(find()?.map(|finding| format!("  {name}: {finding}"))),
                (true, false) => {
                    let cause = match needs.debug_info {
                        DebugInfo::Drop if name.starts_with("BTF") => {
                            "the kernel has no debug information"
                        }
                        _ => "the form of the tree's own tool is not known",
                    };
                    say::remark(format_args!("vmlinker: not verified: {name}, {cause}"));
                }
                (false, _) => {}
            }
            Ok::<(), Error>(())
        };
        let symbols = toolbox.filter.is_some() && toolbox.kallsyms.is_some();
        part("kallsyms", needs.kallsyms, symbols, &|| self.wrong_kallsyms(image))?;
        let types = toolbox.btf.is_some() && needs.debug_info != DebugInfo::Drop;
        let linked = btf_image.unwrap_or(image);
        part("BTF", needs.btf, types, &|| self.wrong_types(image, linked))?;
        // From 7.0 on ids follow from the types before their last hand.
        let ids = types || !self.detached_btf();
        part("BTF ids", needs.btf_ids, ids, &|| self.wrong_ids(image, linked))?;
        let sorted = toolbox.sorttable.is_some();
        part("sorted tables", needs.sort_tables, sorted, &|| self.wrong_order(image))?;
        if wrong.is_empty() {
            return Ok(());
        }
        let error = Error::new("the finished kernel does not hold what is made of it");
        Err(wrong.into_iter().fold(error, Error::advise))
    }

    fn wrong_kallsyms(&self, image: &str) -> Result<Finding> {
        let filter = self.toolbox.filter.as_ref().expect("asked only where it is known");
        let (dialect, options) = self.kallsyms_form();
        self.with_elf(image, |elf| {
            let entries = sysmap::system_map_as(elf, filter, self.nm_flavor())?;
            let text = sysmap::write_map(&entries, elf.class());
            let (entries, _) = parse_map(&text, dialect)?;
            let (tables, _) = Tables::build(&entries, dialect, &options)?;
            let held = reader::read(elf)?;
            if held.len() != tables.symbols().len() {
                let (held, made) = (held.len(), tables.symbols().len());
                return Ok(Some(format!("{held} symbols, and {made} are expected")));
            }
            let mut pairs = held.iter().zip(tables.symbols());
            let other = pairs.find(|(held, made)| {
                (held.addr, held.kind, &held.name[..]) != (made.addr, made.kind, made.name)
            });
            Ok(other.map(|(held, made)| {
                let shown = |addr: u64, kind: u8, name: &[u8]| {
                    format!("{addr:x} {} {}", char::from(kind), String::from_utf8_lossy(name))
                };
                let held = shown(held.addr, held.kind, &held.name);
                format!("{held}, and {} is expected", shown(made.addr, made.kind, made.name))
            }))
        })
    }

    /// Lets `work` look at `image` as it was before ids came into it, and at what is in `.BTF_ids` now.
    fn unresolved<T: Send>(
        &self,
        image: &str,
        linked: &str,
        work: impl FnOnce(&Elf<'_>) -> Fault<T> + Send,
    ) -> Result<T> {
        let ids = self.with_elf(linked, |elf| match elf.section(".BTF_ids") {
            Some((_, section)) => Ok(Some(elf.bytes(section)?.to_vec())),
            None => Ok(None),
        })?;
        let path = self.path(image);
        let mut map = files::map_private(&path)?;
        let result = self.jobs.run(|| {
            let place = Elf::parse(&map)?.section(".BTF_ids").map(|(_, section)| section.offset);
            if let (Some(bytes), Some(offset)) = (ids, place) {
                image::apply(&mut map, &[Patch { offset, bytes }])?;
            }
            work(&Elf::parse(&map)?)
        })?;
        result.map_err(|error| Error::file(&path, error))
    }

    /// The types, encoded anew.
    fn types_again(&self, image: &str, elf: &Elf<'_>) -> Fault<Vec<u8>> {
        if self.needs.debug_info == DebugInfo::Separate {
            let debug = files::map(&self.path(UNFINISHED_DEBUG))?;
            let source = SeparateDebug(Elf::parse(&debug)?);
            return Ok(dwarf_btf::encode_from(elf, &source, self.encoder_options())?.btf);
        }
        let file = File::open(self.path(image))?;
        let read_at = files::reader_at(&file);
        let options = self.encoder_options();
        let options = dwarf_btf::Options { read_at: Some(&read_at), ..options.clone() };
        Ok(dwarf_btf::encode(elf, &options)?.btf)
    }

    fn wrong_types(&self, image: &str, linked: &str) -> Result<Finding> {
        self.unresolved(image, linked, |elf| {
            let Some((_, section)) = elf.section(".BTF") else {
                return Ok(Some("there is no section .BTF".to_string()));
            };
            let held = elf.bytes(section)?;
            let mut made = self.types_again(image, elf)?;
            if self.detached_btf() {
                made =
                    btf_ids::kernel_btf(elf, &Btf::parse(&made)?, &KernelOptions::default())?.btf;
            }
            let at = held.iter().zip(&made).position(|(held, made)| held != made);
            Ok(match at {
                None if held.len() == made.len() => None,
                None => Some(format!("{} bytes, and {} are expected", held.len(), made.len())),
                Some(at) => Some(format!("not as expected from .BTF+{at:#x} on")),
            })
        })
    }

    fn wrong_ids(&self, image: &str, linked: &str) -> Result<Finding> {
        let patches = self.unresolved(image, linked, |elf| {
            if !self.detached_btf() {
                return Ok(btf_ids::resolve(elf, None, &btf_ids::Options::default())?.patches);
            }
            let types = self.types_again(image, elf)?;
            let made = btf_ids::kernel_btf(elf, &Btf::parse(&types)?, &KernelOptions::default())?;
            let patch = made.ids.map(|ids| btf_ids::patch_from_file(elf, &ids)).transpose()?;
            Ok(patch.into_iter().collect())
        })?;
        self.with_elf(image, |elf| Ok(first_difference(elf, &patches)))
    }

    fn wrong_order(&self, image: &str) -> Result<Finding> {
        let sorted = self.sorted(image)?;
        self.with_elf(image, |elf| Ok(first_difference(elf, &sorted.patches)))
    }
}

/// Where the file is not as the patches would make it.
fn first_difference(elf: &Elf<'_>, patches: &[Patch]) -> Finding {
    let stands = |patch: &&Patch| {
        let start = patch.offset as usize;
        elf.data().get(start..).is_some_and(|rest| rest.starts_with(&patch.bytes))
    };
    let other = patches.iter().find(|patch| !stands(patch))?;
    let within = |at: u64| {
        let holds = |s: &&image::Section<'_>| s.offset <= at && at - s.offset < s.size;
        let section = elf.sections().iter().find(holds)?;
        Some(format!("{}+{:#x}", String::from_utf8_lossy(section.name), at - section.offset))
    };
    let at = within(other.offset).unwrap_or_else(|| format!("{:#x}", other.offset));
    Some(format!("not as expected from {at} on"))
}
