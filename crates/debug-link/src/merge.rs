//! The groups of merged sections: every kind of merging, behind one look-up.

use std::sync::Arc;

use image::{Elf, Section};
use rayon::prelude::*;

use crate::entries::Entries;
use crate::error::{Error, lossy};
use crate::layout::{Group, Layout, Member};
use crate::linker::Linker;
use crate::object::Object;
use crate::prepare::Prepared;
use crate::sharded::Sharded;
use crate::strings::{Near, Strings};

/// A group of merged sections, placed.
#[derive(Debug)]
pub(crate) enum Merged<'a> {
    /// Debug strings.
    Strings(Arc<Strings<'a>>),
    /// Entries of the image as GNU ld merges them, with the address of each section.
    Entries(Arc<Entries<'a>>, Vec<u64>),
    /// Entries of the image as ld.lld merges them, with their address.
    Sharded(Arc<Sharded<'a>>, u64),
}

impl Merged<'_> {
    /// Where the byte at `offset` of a member is: an address, or an offset into the debug section.
    pub(crate) fn find(&self, member: u32, offset: u64) -> Option<u64> {
        match self {
            Merged::Strings(strings) => strings.find(member as usize, offset),
            Merged::Entries(entries, addrs) => {
                let (section, at) = entries.find(member as usize, offset)?;
                addrs.get(section as usize)?.checked_add(at)
            }
            Merged::Sharded(entries, addr) => {
                entries.find(member as usize, offset)?.checked_add(*addr)
            }
        }
    }

    /// The same, for one of many references that are near each other.
    pub(crate) fn find_near(&self, member: u32, offset: u64, near: &mut Near) -> Option<u64> {
        if let Merged::Strings(strings) = self {
            strings.approach(member as usize, offset, near);
        }
        self.find(member, offset)
    }
}

/// Merges all groups, and sets the sizes of the merged debug sections.
///
/// # Errors
/// The image does not hold what merging its sections gives.
pub(crate) fn merge_all<'a>(
    layout: &mut Layout<'a>,
    prepared: &Prepared<'a>,
    objects: &[Arc<Object<'a>>],
    image: &Elf<'_>,
    linker: Linker,
) -> Result<Vec<Merged<'a>>, Error> {
    let merged: Vec<Merged<'a>> = layout
        .groups
        .par_iter()
        .map(|group| match (group.debug, group.extent) {
            (Some(_), _) => merge_debug(group, prepared, objects, linker),
            (None, None) => merge_image(group, prepared, objects, image),
            (None, Some(extent)) => merge_sharded(group, extent, prepared, objects, image),
        })
        .collect::<Result<_, _>>()?;
    set_sizes(layout, &merged);
    Ok(merged)
}

/// Sets the sizes of the merged debug sections.
pub(crate) fn set_sizes(layout: &mut Layout<'_>, merged: &[Merged<'_>]) {
    for (group, merged) in layout.groups.iter().zip(merged) {
        if let (Some(debug), Merged::Strings(strings)) = (group.debug, merged) {
            layout.debug[debug as usize].size = strings.size;
        }
    }
}

fn contents<'a>(group: &Group, objects: &[Arc<Object<'a>>]) -> Result<Vec<&'a [u8]>, Error> {
    let bytes = |member: &Member| objects[member.input as usize].bytes(member.section);
    group.members.iter().map(bytes).collect()
}

fn merge_debug<'a>(
    group: &Group,
    prepared: &Prepared<'a>,
    objects: &[Arc<Object<'a>>],
    linker: Linker,
) -> Result<Merged<'a>, Error> {
    if (group.entsize, group.align, group.strings) != (1, 1, true) {
        return Err(Error::unsupported("merged debug sections other than of byte strings"));
    }
    match prepared.strings(&group.members) {
        Some(known) => known.map(Merged::Strings),
        None => Ok(Merged::Strings(Arc::new(Strings::merge(contents(group, objects)?, linker)?))),
    }
}

/// How the message begins that a group of the image is not as it was merged here.
fn differs(member: &Member, objects: &[Arc<Object<'_>>]) -> Error {
    let object = &objects[member.input as usize];
    let section = lossy(object.elf.sections()[member.section as usize].name);
    Error::disagree(format!("{}: the linker merged {section} otherwise", object.name))
}

/// The entries of a group, merged as GNU ld does it.
pub(crate) fn entries<'a>(
    group: &Group,
    objects: &[Arc<Object<'a>>],
) -> Result<Entries<'a>, Error> {
    let contents = contents(group, objects)?;
    Ok(Entries::merge(contents, entry_size(group)?, group.strings, group.align))
}

/// The same as ld.lld does it; `None` if a section does not end where an entry does.
pub(crate) fn sharded<'a>(
    group: &Group,
    objects: &[Arc<Object<'a>>],
) -> Result<Option<Sharded<'a>>, Error> {
    let contents = contents(group, objects)?;
    Ok(Sharded::merge(contents, entry_size(group)?, group.strings, group.align))
}

fn entry_size(group: &Group) -> Result<usize, Error> {
    usize::try_from(group.entsize).map_err(|_| Error::unsupported("merged entries of 4 GiB"))
}

fn merge_image<'a>(
    group: &Group,
    prepared: &Prepared<'a>,
    objects: &[Arc<Object<'a>>],
    image: &Elf<'_>,
) -> Result<Merged<'a>, Error> {
    let entries = match prepared.entries.get(group) {
        Some(known) => known,
        None => Arc::new(entries(group, objects)?),
    };
    let addrs: Vec<u64> = group.members.iter().map(|member| member.addr).collect();
    for (member, size) in group.members.iter().zip(&entries.sizes) {
        if size.is_some_and(|size| size != member.size) {
            return Err(differs(member, objects));
        }
    }
    for ((section, at), text) in entries.kept() {
        let member = &group.members[section as usize];
        let there = member.addr.checked_add(at).and_then(|addr| loaded(image, addr, text.len()));
        if there != Some(text) {
            return Err(differs(member, objects));
        }
    }
    Ok(Merged::Entries(entries, addrs))
}

/// Merges a group that the map lists as one, at `extent`: its address and size.
fn merge_sharded<'a>(
    group: &Group,
    (addr, size): (u64, u64),
    prepared: &Prepared<'a>,
    objects: &[Arc<Object<'a>>],
    image: &Elf<'_>,
) -> Result<Merged<'a>, Error> {
    let differs = || differs(&group.members[0], objects);
    let entries = match prepared.sharded.get(group) {
        Some(known) => Some(known),
        None => sharded(group, objects)?.map(Arc::new),
    };
    let entries = entries.filter(|entries| entries.size == size).ok_or_else(differs)?;
    let there = usize::try_from(size).ok().and_then(|size| loaded(image, addr, size));
    let there = there.ok_or_else(differs)?;
    for (at, text) in entries.kept() {
        if !there[at as usize..].starts_with(text) {
            return Err(differs());
        }
    }
    Ok(Merged::Sharded(entries, addr))
}

/// The bytes of the image at an address.
fn loaded<'i>(image: &Elf<'i>, addr: u64, len: usize) -> Option<&'i [u8]> {
    let (_, offset): (&Section<'_>, u64) = image.locate(addr, len as u64)?;
    let start = usize::try_from(offset).ok()?;
    image.data().get(start..start.checked_add(len)?)
}
