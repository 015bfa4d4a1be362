//! Where each input section went, or goes.
//!
//! Sections of the image stand in the map. Debug sections do not: they are put together here as the
//! linker script's own patterns, which the map repeats, say: pattern list by pattern list, input by
//! input, section by section, each at the next multiple of its alignment.

use std::sync::Arc;

use hashbrown::HashMap;
use image::Section;
use image::consts::{SHF_ALLOC, SHF_GROUP, SHF_MERGE, SHF_STRINGS};

use crate::error::{Error, lossy};
use crate::linker::Linker;
use crate::map::{LinkMap, Listed, Statement};
use crate::object::{Object, is_debug};
use crate::{script, unlisted};

/// Where an input section is in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Neither in the map nor a debug section, or a duplicate of another (COMDAT).
    Unknown,
    /// Thrown away; references to it are set to a fixed value.
    Discarded,
    /// Its size changed while linking, so that offsets into it mean nothing (relaxation).
    Resized,
    /// At this address; an offset into the output section where nothing is loaded.
    At(u64),
    /// Its entries are merged with those of other sections.
    Merged {
        /// Index into [`Layout::groups`].
        group: u32,
        /// Index into [`Group::members`].
        member: u32,
    },
}

/// A part of an output section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// Index of the input.
    pub(crate) input: u32,
    /// Index of the section within it.
    pub(crate) section: u32,
    /// Offset into the output section, in bytes.
    pub(crate) offset: u64,
}

/// An output section of debug information.
#[derive(Debug)]
pub(crate) struct DebugSection<'a> {
    pub(crate) name: &'a [u8],
    /// Index of its statement in the map.
    pub(crate) statement: usize,
    pub(crate) flags: u64,
    pub(crate) entsize: u64,
    pub(crate) align: u64,
    /// Size in bytes; set later for merged sections.
    pub(crate) size: u64,
    pub(crate) pieces: Vec<Piece>,
    /// Index into [`Layout::groups`] if the pieces are merged.
    pub(crate) group: Option<u32>,
    /// Whether a piece has relocations.
    pub(crate) relocated: bool,
}

/// Input sections whose entries are merged into one set.
#[derive(Debug)]
pub(crate) struct Group {
    /// Index of the debug section, for those; `None` for a group within the image.
    pub(crate) debug: Option<u32>,
    pub(crate) strings: bool,
    pub(crate) entsize: u64,
    pub(crate) align: u64,
    /// Address and size in the image of all that is kept, where the map lists it as one.
    pub(crate) extent: Option<(u64, u64)>,
    pub(crate) members: Vec<Member>,
}

/// An input section of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) input: u32,
    pub(crate) section: u32,
    /// Address and size in the image, as the map has it; 0 for debug sections.
    pub(crate) addr: u64,
    pub(crate) size: u64,
}

/// In the place of an index into the map's statements: not in the output.
pub(crate) const NO_STATEMENT: u32 = u32::MAX;

/// All places.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    /// By input, by section.
    pub(crate) places: Vec<Vec<Place>>,
    /// By input, by section: the output section, as its index in the map, or [`NO_STATEMENT`].
    pub(crate) statements: Vec<Vec<u32>>,
    /// In the order of the file.
    pub(crate) debug: Vec<DebugSection<'a>>,
    pub(crate) groups: Vec<Group>,
}

/// What tells groups apart: the statement, `SHF_STRINGS`, entry size, alignment.
type GroupKey = (usize, bool, u64, u64);

impl<'a> Layout<'a> {
    /// Nothing has a place.
    fn empty(objects: &[Arc<Object<'a>>]) -> Self {
        Layout {
            places: objects.iter().map(|o| vec![Place::Unknown; o.elf.sections().len()]).collect(),
            statements: objects
                .iter()
                .map(|o| vec![NO_STATEMENT; o.elf.sections().len()])
                .collect(),
            debug: Vec::new(),
            groups: Vec::new(),
        }
    }

    pub(crate) fn new(objects: &[Arc<Object<'a>>], map: &LinkMap<'a>) -> Result<Self, Error> {
        let mut layout = Layout::empty(objects);
        let merged = layout.place_listed(objects, map)?;
        match map.linker {
            Linker::Gnu => layout.group_image_sections(objects, merged),
            Linker::Lld => unlisted::place(&mut layout, objects, map)?,
        }
        layout.place_debug_sections(objects, map)?;
        Ok(layout)
    }

    /// Only debug sections, those of one name together, input by input; where the script may have them otherwise.
    pub(crate) fn by_names(objects: &[Arc<Object<'a>>], linker: Linker) -> Result<Self, Error> {
        let mut layout = Layout::empty(objects);
        let mut names: HashMap<&[u8], usize> = HashMap::new();
        let mut groups: Vec<Vec<(usize, usize)>> = Vec::new();
        for (input, object) in objects.iter().enumerate() {
            for (index, section) in object.elf.sections().iter().enumerate() {
                if is_debug(section) {
                    let group = *names.entry(section.name).or_insert(groups.len());
                    groups.resize_with(groups.len().max(group + 1), Vec::new);
                    groups[group].push((input, index));
                }
            }
        }
        for pieces in groups {
            let Some(&(input, index)) = pieces.first() else { continue };
            let name = objects[input].elf.sections()[index].name;
            layout.put_together(objects, linker, name, 0, pieces.into_iter())?;
        }
        Ok(layout)
    }

    /// Places what the map lists, and returns what is merged: the statement, input and section with
    /// its listed place.
    fn place_listed(
        &mut self,
        objects: &[Arc<Object<'a>>],
        map: &LinkMap<'a>,
    ) -> Result<Vec<(usize, Member)>, Error> {
        let mut finder = Finder::new(objects)?;
        let mut merged = Vec::new();
        for listed in &map.discarded {
            let Some((input, section)) = finder.find(listed) else { continue };
            let header = &objects[input].elf.sections()[section];
            // References to a duplicate may go to the one that is kept.
            let duplicate =
                header.flags & SHF_GROUP.0 != 0 || header.name.starts_with(b".gnu.linkonce.");
            if !duplicate {
                self.places[input][section] = Place::Discarded;
            }
        }
        for (index, statement) in map.statements.iter().enumerate() {
            for listed in &statement.inputs {
                let Some((input, section)) = finder.find(listed) else {
                    map.linker.check_unknown(listed)?;
                    continue;
                };
                let object = &objects[input];
                let header = &object.elf.sections()[section];
                let (addr, size) = (listed.addr, listed.size);
                self.statements[input][section] = index as u32;
                self.places[input][section] = if is_merged(map.linker, object, section) {
                    // Nothing refers to what is not loaded, such as .comment.
                    if header.flags & SHF_ALLOC.0 != 0 {
                        let (input, section) = (input as u32, section as u32);
                        merged.push((index, Member { input, section, addr, size }));
                    }
                    Place::Unknown
                } else if size == header.size {
                    Place::At(addr)
                } else {
                    Place::Resized
                };
            }
        }
        Ok(merged)
    }

    /// Makes groups of the merged sections of the image.
    fn group_image_sections(
        &mut self,
        objects: &[Arc<Object<'a>>],
        mut merged: Vec<(usize, Member)>,
    ) {
        // The linker registers them input by input, whatever the order of the script.
        merged.sort_by_key(|(_, member)| (member.input, member.section));
        let mut keys: HashMap<GroupKey, u32> = HashMap::new();
        for (statement, member) in merged {
            let section = &objects[member.input as usize].elf.sections()[member.section as usize];
            let key = (statement, is_strings(section), section.entsize, section.align);
            let group = *keys.entry(key).or_insert_with(|| {
                self.groups.push(Group::like(section, None));
                self.groups.len() as u32 - 1
            });
            self.join(group, member);
        }
    }

    /// Adds a member to a group.
    pub(crate) fn join(&mut self, group: u32, member: Member) {
        let members = &mut self.groups[group as usize].members;
        let place = Place::Merged { group, member: members.len() as u32 };
        members.push(member);
        self.places[member.input as usize][member.section as usize] = place;
    }

    fn place_debug_sections(
        &mut self,
        objects: &[Arc<Object<'a>>],
        map: &LinkMap<'a>,
    ) -> Result<(), Error> {
        // (statement, pattern list, input, section): the order of the linker script.
        let mut order = Vec::new();
        let mut matches: HashMap<&[u8], (usize, usize)> = HashMap::new();
        for (input, object) in objects.iter().enumerate() {
            for (index, section) in object.elf.sections().iter().enumerate() {
                if !is_debug(section) {
                    continue;
                }
                let (statement, list) = match matches.get(section.name) {
                    Some(&found) => found,
                    None => {
                        let found = debug_statement_of(map, section.name)?;
                        *matches.entry(section.name).insert(found).get()
                    }
                };
                order.push((statement, list, input, index));
            }
        }
        order.sort_unstable();
        for of_statement in order.chunk_by(|a, b| a.0 == b.0) {
            let pieces = of_statement.iter().map(|&(_, _, input, section)| (input, section));
            let name = map.statements[of_statement[0].0].name;
            self.put_together(objects, map.linker, name, of_statement[0].0, pieces)?;
        }
        Ok(())
    }

    /// Lays out one output section of debug information.
    fn put_together(
        &mut self,
        objects: &[Arc<Object<'a>>],
        linker: Linker,
        name: &'a [u8],
        statement: usize,
        pieces: impl Iterator<Item = (usize, usize)> + Clone,
    ) -> Result<(), Error> {
        let header = |(input, section): (usize, usize)| &objects[input].elf.sections()[section];
        let Some(first) = pieces.clone().next().map(header) else { return Ok(()) };
        let (flags, entsize) = (first.flags, first.entsize);
        let mut debug = DebugSection {
            name,
            statement,
            flags,
            entsize,
            align: 1,
            size: 0,
            pieces: Vec::new(),
            group: None,
            relocated: false,
        };
        let merge = flags & SHF_MERGE.0 != 0;
        if merge {
            debug.group = Some(self.groups.len() as u32);
            self.groups.push(Group::like(first, Some(self.debug.len() as u32)));
        }
        for (input, section) in pieces {
            let header = header((input, section));
            if (header.flags, header.entsize) != (flags, entsize) {
                let (name, input) = (lossy(name), objects[input].name);
                let what = format!("{input}: {name} has other flags than in the first input");
                return Err(Error::unsupported(what));
            }
            if merge && header.size != 0 && !is_merged(linker, &objects[input], section) {
                let (name, input) = (lossy(name), objects[input].name);
                return Err(Error::unsupported(format!("{input}: {name} cannot be merged")));
            }
            let align = header.align.max(1);
            debug.align = debug.align.max(align);
            self.statements[input][section] = statement as u32;
            debug.relocated |= objects[input].relocations[section] != 0;
            let (input, section) = (input as u32, section as u32);
            if let Some(group) = debug.group {
                self.join(group, Member { input, section, addr: 0, size: 0 });
            } else {
                let offset = aligned(debug.size, align)?;
                debug.pieces.push(Piece { input, section, offset });
                debug.size = offset.checked_add(header.size).ok_or_else(too_large)?;
                self.places[input as usize][section as usize] = Place::At(offset);
            }
        }
        if merge || debug.size != 0 || linker.keeps_empty_sections() {
            self.debug.push(debug);
        }
        Ok(())
    }
}

impl Group {
    pub(crate) fn like(section: &Section<'_>, debug: Option<u32>) -> Self {
        Group {
            debug,
            strings: is_strings(section),
            entsize: section.entsize,
            align: section.align.max(1),
            extent: None,
            members: Vec::new(),
        }
    }
}

pub(crate) fn is_strings(section: &Section<'_>) -> bool {
    section.flags & SHF_STRINGS.0 != 0
}

/// Whether the linker merges the entries of a section (`_bfd_add_merge_section`; `shouldMerge`).
pub(crate) fn is_merged(linker: Linker, object: &Object<'_>, index: usize) -> bool {
    let section = &object.elf.sections()[index];
    let (size, entsize, align) = (section.size, section.entsize, section.align.max(1));
    if section.flags & SHF_MERGE.0 == 0 || size == 0 || entsize == 0 || size % entsize != 0 {
        return false;
    }
    if object.relocations[index] != 0 || align > 1 << 31 {
        return false;
    }
    let strings = is_strings(section);
    let small = entsize < align && (!entsize.is_power_of_two() || !strings);
    let odd = entsize > align && entsize & (align - 1) != 0;
    linker == Linker::Lld || !small && !odd
}

/// The output section of debug sections called `name`, and which of its pattern lists takes them.
pub(crate) fn statement_of(map: &LinkMap<'_>, name: &[u8]) -> Result<(usize, usize), Error> {
    let list_of = |statement: &Statement<'_>| {
        let takes = |list: &Vec<&[u8]>| list.iter().any(|pattern| script::fits(pattern, name));
        statement.patterns.iter().position(takes)
    };
    let found = map
        .statements
        .iter()
        .enumerate()
        .find_map(|(index, statement)| Some((index, list_of(statement)?)));
    // A section that no pattern takes is put by the linker's rules for orphans.
    found.ok_or_else(|| {
        Error::unsupported(format!("no output section of the linker script takes {}", lossy(name)))
    })
}

/// The same for a section that `--strip-debug` of GNU ld leaves out.
fn debug_statement_of(map: &LinkMap<'_>, name: &[u8]) -> Result<(usize, usize), Error> {
    if !map.linker.strips(name) {
        return Err(Error::unsupported(format!("{}, which the linker keeps", lossy(name))));
    }
    let found = statement_of(map, name)?;
    match map.statements[found.0].name {
        script::DISCARD => Err(Error::unsupported(format!("{} in /DISCARD/", lossy(name)))),
        _ => Ok(found),
    }
}

/// The next multiple of `align`, which is not 0.
pub(crate) fn aligned(offset: u64, align: u64) -> Result<u64, Error> {
    offset.checked_next_multiple_of(align).ok_or_else(too_large)
}

pub(crate) fn too_large() -> Error {
    Error::unsupported("sizes beyond 64 bits")
}

/// Finds the sections that a map lists.
struct Finder<'o, 'a> {
    objects: &'o [Arc<Object<'a>>],
    inputs: HashMap<&'a [u8], u32>,
    /// By input: its sections by name, then in the order of the file.
    by_name: Vec<Vec<u32>>,
    /// By input, by section: whether it has been found.
    found: Vec<Vec<bool>>,
}

impl<'o, 'a> Finder<'o, 'a> {
    fn new(objects: &'o [Arc<Object<'a>>]) -> Result<Self, Error> {
        let mut inputs = HashMap::new();
        for (index, object) in objects.iter().enumerate() {
            if inputs.insert(object.name.as_bytes(), index as u32).is_some() {
                return Err(Error::unsupported(format!("two inputs called {}", object.name)));
            }
        }
        let by_name = objects.iter().map(|object| {
            let sections = object.elf.sections();
            let mut order: Vec<u32> = (0..sections.len() as u32).collect();
            order.sort_by_key(|&index| sections[index as usize].name);
            order
        });
        let by_name = by_name.collect();
        let found = objects.iter().map(|o| vec![false; o.elf.sections().len()]).collect();
        Ok(Finder { objects, inputs, by_name, found })
    }

    /// The input and section that is listed; of several, the first that has not been found yet.
    fn find(&mut self, listed: &Listed<'_>) -> Option<(usize, usize)> {
        let input = *self.inputs.get(listed.file)? as usize;
        let sections = self.objects[input].elf.sections();
        let order = &self.by_name[input];
        let name = listed.section;
        let first = order.partition_point(|&index| sections[index as usize].name < name);
        let found = &mut self.found[input];
        let is_listed = |section: &Section<'_>| {
            section.size == listed.input_size
                && listed.align.is_none_or(|align| section.align.max(1) == align)
        };
        let same_name = order[first..].iter().map(|&index| index as usize);
        let index = same_name
            .take_while(|&index| sections[index].name == name)
            .find(|&index| !found[index] && is_listed(&sections[index]))?;
        found[index] = true;
        Some((input, index))
    }
}
