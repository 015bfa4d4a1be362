//! Debug information put into a kernel that was linked without.
//!
//! It takes the place of a link with debug information, which reads, relocates and merges hundreds of megabytes on
//! one thread and repeats what the link without has done. Where the linker's rules cannot be followed to the
//! byte, the linker does it after all, and the reason is said.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use debug_link::{BuildId, Dialect, Exchange, Input, LinkMap, build_id};
use image::{Elf, Member};
use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::files;
use crate::say;

use super::{Stage, link};

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
    pub kallsyms: Option<&'a str>,
    /// The kallsyms object that takes its place.
    pub exchange: Option<&'a str>,
    /// The BTF object that was linked in.
    pub btf: Option<&'a str>,
}

/// Why there is no such kernel.
enum Fault {
    /// A rule that is not followed: the linker can still do it.
    Rule(debug_link::Error),
    /// A fault that another link would meet too.
    Edge(Error),
}

impl From<debug_link::Error> for Fault {
    fn from(error: debug_link::Error) -> Self {
        Fault::Rule(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Edge(error)
    }
}

/// An input of the link: the name that the linker's map has for it, and its bytes.
struct Object {
    name: String,
    bytes: Bytes,
}

/// A file, or a part of an archive.
enum Bytes {
    File(Mmap),
    Part(Arc<Mmap>, Range<usize>),
}

impl Object {
    fn input(&self) -> Input<'_> {
        let data = match &self.bytes {
            Bytes::File(map) => map,
            Bytes::Part(archive, range) => &archive[range.clone()],
        };
        Input { name: &self.name, data }
    }
}

impl Stage<'_> {
    /// Makes the kernel with debug information, through the linker if need be.
    pub(super) fn put_debug_in(&self, step: &Debug<'_>) -> Result<()> {
        let dialect = self.toolbox.lean.expect("a lean link has the linker's dialect");
        match self.jobs.run(|| self.try_debug(step, &dialect))? {
            Ok(()) => Ok(()),
            Err(Fault::Edge(error)) => Err(error),
            Err(Fault::Rule(reason)) => {
                say::remark(format_args!("vmlinker: {} is linked once more: {reason}", step.name));
                let kallsyms = step.exchange.or(step.kallsyms);
                self.link(&link::Link { kallsyms, btf: step.btf, ..self.link_of(step.name) })
            }
        }
    }

    fn try_debug(&self, step: &Debug<'_>, dialect: &Dialect) -> std::result::Result<(), Fault> {
        let objects = self.objects(step)?;
        let inputs: Vec<Input<'_>> = objects.iter().map(Object::input).collect();
        let map = files::read(&self.path(step.map))?;
        let map = LinkMap::parse_gnu(&map)?;
        let linked = files::map(&self.path(step.stripped))?;
        let refilled = match (step.kallsyms, step.exchange) {
            (Some(name), Some(new)) => {
                let (old, new) = (files::map(&self.path(name))?, files::map(&self.path(new))?);
                let mut kernel = linked.to_vec();
                debug_link::refill(&mut kernel, &map, &Exchange { name, old: &old, new: &new })?;
                Some(kernel)
            }
            _ => None,
        };
        let kernel = refilled.as_deref().unwrap_or(&linked);
        let plan = debug_link::Plan::new(&inputs, kernel, &map, dialect)?;
        let whole = self.path(&format!("{}.whole", step.stripped));
        // The ID of a kernel that is only looked at is of no use to anybody.
        let signed = step.image != step.stripped && dialect.build_id == BuildId::Sha1;
        let written = write_whole(&plan, &whole, signed);
        let placed = written.and_then(|()| Ok(files::rename(&whole, &self.path(step.image))?));
        if placed.is_err() {
            files::remove(&whole)?;
        }
        placed
    }

    /// The objects of the link, with the names that they have in the linker's map.
    fn objects(&self, step: &Debug<'_>) -> Result<Vec<Object>> {
        let (call, tree) = (self.call, self.tree);
        let (named, _) = link::kernel_objects(call, &tree.config, &tree.features);
        let mut objects = Vec::new();
        for name in named.into_iter().chain([step.kallsyms, step.btf].into_iter().flatten()) {
            let path = self.path(name);
            let map = files::map(&path)?;
            let members = image::members(&map).map_err(|error| Error::file(&path, error))?;
            let Some(members) = members else {
                objects.push(Object { name: name.to_owned(), bytes: Bytes::File(map) });
                continue;
            };
            let archive = Arc::new(map);
            for Member { name: member, range } in members {
                objects.push(match range {
                    Some(range) => Object {
                        name: format!("{name}({member})"),
                        bytes: Bytes::Part(archive.clone(), range),
                    },
                    None => self.thin_member(name, &member)?,
                });
            }
        }
        Ok(objects)
    }

    /// A member of a thin archive: a file, whose name the archive has from its own directory.
    fn thin_member(&self, archive: &str, member: &str) -> Result<Object> {
        let beside = Path::new(archive).parent().unwrap_or(Path::new(""));
        let path: PathBuf = self.path(&beside.join(member).to_string_lossy());
        // The linker prints what stands in the archive, seen from where it runs.
        let name = path.strip_prefix(&self.call.dir).unwrap_or(&path);
        let name = name.to_string_lossy().into_owned();
        Ok(Object { name, bytes: Bytes::File(files::map(&path)?) })
    }
}

/// Writes the kernel; its build ID, computed as the linker does it, only if it is to be `signed`.
fn write_whole(
    plan: &debug_link::Plan<'_>,
    path: &Path,
    signed: bool,
) -> std::result::Result<(), Fault> {
    let failed = |error: std::io::Error| Fault::Edge(Error::file(path, files::reason(&error)));
    let mut options = File::options();
    // An image can be run, as far as the linker knows.
    options.read(true).write(true).create(true).truncate(true).mode(0o777);
    let file = options.open(path).map_err(failed)?;
    file.set_len(plan.len()).map_err(failed)?;
    plan.make(|at, part| file.write_all_at(part, at).map_err(failed))?;
    if signed {
        let map = files::map_open(&file).map_err(failed)?;
        let elf = Elf::parse(&map).map_err(debug_link::Error::from)?;
        let id = build_id::gnu_sha1(&map)?;
        if let Some(note) = build_id::locate(&elf)? {
            file.write_all_at(&id, note.id as u64).map_err(failed)?;
        }
    }
    Ok(())
}
