//! What can be done before there is an image: decoding the inputs and merging their debug strings.
//!
//! Why: neither depends on where the linker puts anything, and merging takes most of the time of a
//! plan. So it is done while the linker is at work, and once for all images that are linked from the
//! same inputs.
//!
//! Which sections are merged into one is said by the linker script, through the map. Here those of one
//! name are taken together, input by input, as every kernel's script has it, and of the image's own sections those
//! whose names begin alike; where the map says otherwise, a plan merges them again.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use image::Elf;
use image::consts::{SHF_ALLOC, SHF_MERGE, SHF_STRINGS};
use rayon::prelude::*;

use crate::dialect::Dialect;
use crate::entries::Entries;
use crate::error::Error;
use crate::layout::{Group, Member, is_merged};
use crate::linker::Linker;
use crate::lookups::{Lookups, Merges};
use crate::map::LinkMap;
use crate::merge;
use crate::object::{Input, Object, is_debug};
use crate::plan::Plan;
use crate::sections::DebugSections;
use crate::sharded::Sharded;
use crate::strings::{self, Strings, ToRemember};
use crate::targets::Globals;

/// The first inputs of a link, ready for any number of plans.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub(crate) linker: Linker,
    objects: Vec<Arc<Object<'a>>>,
    strings: Vec<Known<'a>>,
    pub(crate) lookups: Arc<AllLookups<'a>>,
    pub(crate) entries: Remembered<Entries<'a>>,
    pub(crate) sharded: Remembered<Sharded<'a>>,
}

/// Where references to strings lead, by input and section.
pub(crate) type AllLookups<'a> = HashMap<(u32, u32), Lookups<'a>>;

/// What tells groups of merged sections of the image apart: input and section of each member in the linker's order,
/// `SHF_STRINGS`, entry size, alignment.
type GroupKey = (Vec<(u32, u32)>, bool, u64, u64);

/// Merged strings, and what is to be remembered of them.
type MergedStrings<'a> = Result<(Strings<'a>, Option<ToRemember>), Error>;

/// Sections that are merged into one: their name, and input and section of each in the linker's order.
type StringSections<'a> = (&'a [u8], Vec<(u32, u32)>);

/// What has been merged of the image's own sections.
#[derive(Debug)]
pub(crate) struct Remembered<T>(Vec<(GroupKey, Arc<T>)>);

impl<T: Send + Sync> Remembered<T> {
    fn new(groups: Vec<Group>, merge: impl Fn(&Group) -> Option<T> + Sync) -> Self {
        let merged = |group: Group| Some((key(&group), Arc::new(merge(&group)?)));
        Remembered(groups.into_par_iter().filter_map(merged).collect())
    }

    /// What has been made of a group, if it is one that was expected.
    pub(crate) fn get(&self, group: &Group) -> Option<Arc<T>> {
        let wanted = key(group);
        self.0.iter().find(|(key, _)| *key == wanted).map(|(_, merged)| merged.clone())
    }
}

fn key(group: &Group) -> GroupKey {
    let members = group.members.iter().map(|member| (member.input, member.section));
    (members.collect(), group.strings, group.entsize, group.align)
}

/// The merged strings of some sections.
#[derive(Debug)]
struct Known<'a> {
    name: &'a [u8],
    /// Input and section, in the linker's order.
    members: Vec<(u32, u32)>,
    merged: Result<Arc<Strings<'a>>, Error>,
    /// What the next link may begin with, if it is not what this one has begun with.
    to_remember: Option<ToRemember>,
}

impl<'a> Prepared<'a> {
    /// Decodes `inputs`, which are in the order of `linker`, and merges their debug strings, with as
    /// many threads as the current pool of rayon has.
    ///
    /// # Errors
    /// An input that cannot be followed exactly; see [`Error`].
    pub fn new(inputs: &[Input<'a>], linker: Linker) -> Result<Self, Error> {
        Self::with(inputs, linker, |contents, linker, _| {
            Ok((Strings::merge(contents, linker)?, None))
        })
    }

    /// The same, with what was `remembered` of the last link, and so that [`Prepared::to_remember`] says what the next one
    /// may begin with. Whatever `remembered` is, the result is the same: what is not of this kind is as good as nothing.
    ///
    /// # Errors
    /// Those of [`Prepared::new`].
    pub fn resume(inputs: &[Input<'a>], linker: Linker, remembered: &[u8]) -> Result<Self, Error> {
        let known = |name: &[u8]| strings::known(remembered, name);
        let mut prepared = Self::with(inputs, linker, |contents, linker, name| {
            Strings::resume(contents, linker, known(name).as_ref())
        })?;
        if prepared.strings.iter().any(|strings| strings.to_remember.is_some()) {
            // What is written next takes the place of all of it.
            for strings in &mut prepared.strings {
                let again = || known(strings.name).map(|known| known.again());
                strings.to_remember = strings.to_remember.take().or_else(again);
            }
        }
        Ok(prepared)
    }

    /// `merge` merges the contents of sections of that name.
    fn with(
        inputs: &[Input<'a>],
        linker: Linker,
        merge: impl Fn(Vec<&'a [u8]>, Linker, &[u8]) -> MergedStrings<'a> + Sync,
    ) -> Result<Self, Error> {
        let objects: Vec<_> = Object::parse_all(inputs)?.into_iter().map(Arc::new).collect();
        let merge = |(name, members): StringSections<'a>| -> Known<'a> {
            let contents =
                members.iter().map(|&(input, section)| objects[input as usize].bytes(section));
            let contents = contents.collect::<Result<_, _>>();
            let merged = contents.and_then(|contents| merge(contents, linker, name));
            let (merged, to_remember) = match merged {
                Ok((merged, to_remember)) => (Ok(Arc::new(merged)), to_remember),
                Err(error) => (Err(error), None),
            };
            Known { name, members, merged, to_remember }
        };
        let groups = string_sections(&objects, linker);
        let strings: Vec<Known<'a>> = groups.into_par_iter().map(merge).collect();
        let lookups = Arc::new(lookups(&objects, &strings));
        let (gnu, lld) = match linker {
            Linker::Gnu => (image_groups(&objects, linker), Vec::new()),
            Linker::Lld => (Vec::new(), image_groups(&objects, linker)),
        };
        let entries = Remembered::new(gnu, |group| merge::entries(group, &objects).ok());
        let sharded = Remembered::new(lld, |group| merge::sharded(group, &objects).ok().flatten());
        Ok(Prepared { linker, objects, strings, lookups, entries, sharded })
    }

    /// What [`Prepared::resume`] may be given in the next link, as parts of a file; `None` if that is nothing, or what it was
    /// given in this one is as good. Tied to this machine's byte order, and to no linker.
    pub fn to_remember(&self) -> Option<Vec<Cow<'_, [u8]>>> {
        let groups = self.strings.iter();
        let groups: Vec<_> =
            groups.filter_map(|group| Some((group.name, group.to_remember.as_ref()?))).collect();
        (!groups.is_empty()).then(|| strings::parts(&groups))
    }

    /// Looks up where references to strings lead, with all threads of the current pool of rayon, until `stop` is set;
    /// the rest is looked up when it is asked for. Returns whether anything was left to do.
    pub fn look_ahead(&self, stop: &AtomicBool) -> bool {
        let mut sections: Vec<_> = self.lookups.iter().collect();
        // In the order in which they will be asked for.
        sections.sort_unstable_by_key(|&(place, _)| *place);
        let blocks = sections.into_iter().flat_map(|(_, lookups)| all_blocks(lookups));
        let left = blocks.filter(|(lookups, block)| !lookups.is_known(*block));
        let blocks: Vec<(&Lookups<'_>, usize)> = left.collect();
        let left = !blocks.is_empty();
        blocks.into_par_iter().with_max_len(1).for_each(|(lookups, block)| {
            if !stop.load(Ordering::Relaxed) {
                lookups.block(block);
            }
        });
        left
    }

    /// Plans an image, as [`Plan::new`] does, of these inputs and those that follow them in the
    /// linker's order.
    ///
    /// # Errors
    /// Anything that cannot be followed exactly; see [`Error`].
    pub fn plan(
        &self,
        later: &[Input<'a>],
        image: &'a [u8],
        map: &LinkMap<'a>,
        dialect: &Dialect,
    ) -> Result<Plan<'a>, Error> {
        Plan::with(self, later, image, map, dialect)
    }

    /// Links the debug sections only, of the same inputs, for the addresses of `image`; what the file
    /// would look like is not asked.
    ///
    /// # Errors
    /// Anything that cannot be followed exactly; see [`Error`].
    pub fn sections(
        &self,
        later: &[Input<'a>],
        image: &Elf<'_>,
        map: &LinkMap<'a>,
    ) -> Result<DebugSections<'a>, Error> {
        let symbols = image.symbols()?;
        DebugSections::new(self, later, image, (&symbols, &Globals::new(&symbols)), map)
    }

    /// These inputs, decoded, and those that follow them.
    pub(crate) fn objects_with(&self, later: &[Input<'a>]) -> Result<Vec<Arc<Object<'a>>>, Error> {
        let later = Object::parse_all(later)?;
        Ok(self.objects.iter().cloned().chain(later.into_iter().map(Arc::new)).collect())
    }

    /// The merged strings of just these sections, if they have been merged.
    pub(crate) fn strings(&self, members: &[Member]) -> Option<Result<Arc<Strings<'a>>, Error>> {
        let same = |known: &&Known<'_>| {
            let members = members.iter().map(|member| (member.input, member.section));
            members.eq(known.members.iter().copied())
        };
        self.strings.iter().find(same).map(|known| known.merged.clone())
    }
}

fn all_blocks<'l, 'a>(lookups: &'l Lookups<'a>) -> impl Iterator<Item = (&'l Lookups<'a>, usize)> {
    (0..lookups.blocks()).map(move |block| (lookups, block))
}

/// Where the references of `objects` to merged strings will lead.
fn lookups<'a>(objects: &[Arc<Object<'a>>], strings: &[Known<'a>]) -> AllLookups<'a> {
    let mut merges = Merges::new();
    for known in strings {
        let Ok(merged) = &known.merged else { continue };
        merges.extend(known.members.iter().copied().zip((0..).map(|member| (merged, member))));
    }
    let of = |(input, object)| {
        Lookups::of(input, object, &merges).map(move |(section, found)| ((input, section), found))
    };
    (0..).zip(objects).flat_map(of).collect()
}

/// The sections of byte strings among the debug sections, by their names.
fn string_sections<'a>(objects: &[Arc<Object<'a>>], linker: Linker) -> Vec<StringSections<'a>> {
    let mut by_name: HashMap<&[u8], usize> = HashMap::new();
    let mut groups: Vec<StringSections<'a>> = Vec::new();
    for (input, object) in objects.iter().enumerate() {
        for (index, section) in object.elf.sections().iter().enumerate() {
            let flags = SHF_MERGE.0 | SHF_STRINGS.0;
            let bytes = (section.entsize, section.align.max(1)) == (1, 1);
            // An empty one takes part, but says nothing of how it would be merged.
            let merged = section.size == 0 || is_merged(linker, object, index);
            if is_debug(section) && section.flags & flags == flags && bytes && merged {
                let group = *by_name.entry(section.name).or_insert_with(|| {
                    groups.push((section.name, Vec::new()));
                    groups.len() - 1
                });
                groups[group].1.push((input as u32, index as u32));
            }
        }
    }
    groups
}

/// The merged sections of the image as a script groups them that has one output section for all names with the same
/// beginning, such as `.rodata.str1.1` and `.rodata.cst8`.
fn image_groups(objects: &[Arc<Object<'_>>], linker: Linker) -> Vec<Group> {
    let mut known: HashMap<(&[u8], bool, u64, u64), usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (input, object) in (0..).zip(objects) {
        for (index, section) in object.elf.sections().iter().enumerate() {
            if section.flags & SHF_ALLOC.0 == 0 || !is_merged(linker, object, index) {
                continue;
            }
            let dot = section.name.iter().skip(1).position(|&byte| byte == b'.');
            let begins = &section.name[..dot.map_or(section.name.len(), |dot| dot + 1)];
            let group = Group::like(section, None);
            let key = (begins, group.strings, group.entsize, group.align);
            let at = *known.entry(key).or_insert_with(|| {
                groups.push(group);
                groups.len() - 1
            });
            groups[at].members.push(Member { input, section: index as u32, addr: 0, size: 0 });
        }
    }
    groups
}
