//! The debug sections of an image by themselves: what they are made of, and what that refers to.

use std::sync::Arc;

use image::{Elf, Symbol};

use crate::contents::Contents;
use crate::emit::Named;
use crate::error::Error;
use crate::layout::{Layout, Piece};
use crate::linker::Linker;
use crate::map::LinkMap;
use crate::merge::{self, Merged};
use crate::object::{Input, Object};
use crate::prepare::{AllLookups, Prepared};
use crate::relocate::Source;
use crate::seen::Seen;
use crate::targets::{self, Globals, Target, Use};

/// The debug sections that the linker would have put into an image.
#[derive(Debug)]
pub struct DebugSections<'a> {
    pub(crate) linker: Linker,
    pub(crate) objects: Vec<Arc<Object<'a>>>,
    pub(crate) layout: Layout<'a>,
    pub(crate) merged: Vec<Merged<'a>>,
    pub(crate) targets: Vec<Vec<Target>>,
    /// Which symbols of the image those of the inputs are.
    pub(crate) seen: Seen,
    /// What is remembered of references to strings, if these are merged as they were expected to be.
    pub(crate) lookups: Option<Arc<AllLookups<'a>>>,
}

impl<'a> DebugSections<'a> {
    /// Links the debug sections of inputs of which the first are `prepared` for the addresses of `image`,
    /// which has these symbols, `globals` among them.
    pub(crate) fn new(
        prepared: &Prepared<'a>,
        later: &[Input<'a>],
        image: &Elf<'_>,
        (symbols, globals): (&[Symbol<'_>], &Globals<'_>),
        map: &LinkMap<'a>,
    ) -> Result<Self, Error> {
        let linker = map.linker;
        if linker != prepared.linker {
            return Err(Error::disagree("a link map of another linker"));
        }
        let objects = prepared.objects_with(later)?;
        if let Some(other) = objects.iter().find(|object| !object.is_for(image.header())) {
            return Err(Error::disagree(format!("{} is for another machine", other.name)));
        }
        let mut layout = Layout::new(&objects, map)?;
        let merged = merge::merge_all(&mut layout, prepared, &objects, image, linker)?;
        let rules = (linker, Use::Debug);
        let seen = Seen::new(&objects, globals);
        let targets = targets::resolve(&objects, &layout, &merged, symbols, &seen, rules);
        let lookups = lookups(prepared, &layout);
        Ok(DebugSections { linker, objects, layout, merged, targets, seen, lookups })
    }

    /// The section of that name; `None` if there is none.
    pub fn contents(&self, name: &str) -> Option<Contents<'_, 'a>> {
        let debug = self.layout.debug.iter().find(|debug| debug.name == name.as_bytes())?;
        Some(Contents { sections: self, debug })
    }

    /// The input section that a piece is, with the names of the symbols of all inputs where
    /// relocations are kept.
    pub(crate) fn source<'p>(
        &'p self,
        piece: &Piece,
        names: &'p [Vec<Named>],
    ) -> Result<Source<'p, 'a>, Error> {
        let object = &self.objects[piece.input as usize];
        Ok(Source {
            object,
            section: piece.section,
            bytes: object.bytes(piece.section)?,
            targets: &self.targets[piece.input as usize],
            names: names.get(piece.input as usize).map_or(&[], |names| &names[..]),
            merged: &self.merged,
            lookups: self.lookups.as_ref().and_then(|all| all.get(&(piece.input, piece.section))),
            offset: piece.offset,
            linker: self.linker,
        })
    }
}

/// What is remembered of references to strings, if these are merged as they were expected to be.
pub(crate) fn lookups<'a>(
    prepared: &Prepared<'a>,
    layout: &Layout<'a>,
) -> Option<Arc<AllLookups<'a>>> {
    let mut groups = layout.groups.iter().filter(|group| group.debug.is_some());
    let expected = groups.all(|group| prepared.strings(&group.members).is_some());
    expected.then(|| prepared.lookups.clone())
}
