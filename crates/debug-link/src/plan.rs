//! The plan of a finished image: where everything goes.

use std::sync::Arc;

use image::Elf;
use image::consts::SHT_REL;

use crate::build_id;
use crate::dialect::{BuildId, Dialect};
use crate::emit::{Known, Locals, Named};
use crate::error::{Error, lossy};
use crate::filling::Filling;
use crate::frame::Frame;
use crate::layout::{DebugSection, Layout, Piece};
use crate::linker::Linker;
use crate::map::LinkMap;
use crate::object::{Input, Object};
use crate::prepare::Prepared;
use crate::sections::DebugSections;
use crate::targets::Globals;

/// An image with debug info, ready to be written.
#[derive(Debug)]
pub struct Plan<'a> {
    pub(crate) image: &'a [u8],
    pub(crate) sections: DebugSections<'a>,
    /// By input, if relocations are kept.
    pub(crate) names: Vec<Vec<Named>>,
    pub(crate) frame: Frame,
    /// What the image has no contents of, if it is a hollow one.
    pub(crate) filling: Option<Filling>,
}

impl<'a> Plan<'a> {
    /// Plans the image that the linker would have written with debug info.
    ///
    /// `inputs` are the linker's, in its order; `image` is what it wrote with `--strip-debug`;
    /// `map` is the map of that very link, `dialect` its rules. The contents of `image` may have
    /// been changed since, not its headers and symbols.
    ///
    /// # Errors
    /// Anything that cannot be followed exactly; see [`Error`].
    pub fn new(
        inputs: &[Input<'a>],
        image: &'a [u8],
        map: &LinkMap<'a>,
        dialect: &Dialect,
    ) -> Result<Self, Error> {
        Prepared::new(inputs, dialect.linker)?.plan(&[], image, map, dialect)
    }

    /// The same with inputs of which the first are `prepared` already.
    pub(crate) fn with(
        prepared: &Prepared<'a>,
        later: &[Input<'a>],
        image: &'a [u8],
        map: &LinkMap<'a>,
        dialect: &Dialect,
    ) -> Result<Self, Error> {
        let elf = Elf::parse(image)?;
        check(&elf, map, dialect)?;
        let symbols = elf.symbols()?;
        let locals = || Frame::may_keep(&elf).then(|| Locals::new(&symbols));
        let (globals, locals) = rayon::join(|| Globals::new(&symbols), locals);
        let sections = DebugSections::new(prepared, later, &elf, (&symbols, &globals), map)?;
        let frame = frame(&elf, map, &sections)?;
        let names =
            names(&elf, map, &sections, &frame, || locals.unwrap_or_else(|| Locals::new(&symbols)));
        Ok(Plan { image, sections, names, frame, filling: None })
    }

    /// The debug sections by themselves.
    pub fn sections(&self) -> &DebugSections<'a> {
        &self.sections
    }

    /// Size of the output in bytes.
    #[allow(clippy::len_without_is_empty, reason = "an image is never empty")]
    pub fn len(&self) -> u64 {
        self.frame.len
    }
}

/// Refuses an image that is not as the map and the flags have it.
pub(crate) fn check(elf: &Elf<'_>, map: &LinkMap<'_>, dialect: &Dialect) -> Result<(), Error> {
    // So that an ID is never left that was computed for other bytes.
    if dialect.build_id == BuildId::None && build_id::locate(elf)?.is_some() {
        return Err(Error::disagree("an image with a build ID that no flag asked for"));
    }
    match map.linker == dialect.linker {
        true => Ok(()),
        false => Err(Error::disagree("a link map of another linker")),
    }
}

/// The frame of the image with these debug sections.
pub(crate) fn frame(
    elf: &Elf<'_>,
    map: &LinkMap<'_>,
    sections: &DebugSections<'_>,
) -> Result<Frame, Error> {
    let (objects, layout) = (&sections.objects, &sections.layout);
    let counts: Vec<u64> = layout.debug.iter().map(|debug| relocations(objects, debug)).collect();
    let frame = Frame::new(elf, map, objects, layout, &counts)?;
    if frame.keeps {
        check_kept(objects, layout, map.linker)?;
    }
    Ok(frame)
}

/// What the symbols of the inputs are called in the output; nothing if no relocations are kept.
pub(crate) fn names<'s>(
    elf: &Elf<'_>,
    map: &LinkMap<'_>,
    sections: &DebugSections<'_>,
    frame: &Frame,
    locals: impl FnOnce() -> Locals<'s>,
) -> Vec<Vec<Named>> {
    if !frame.keeps {
        return Vec::new();
    }
    let DebugSections { objects, layout, targets, seen, .. } = sections;
    let of_sections = frame.section_symbols(elf, map, &layout.debug);
    let known = Known { seen, unshown: &locals(), new: &frame.renumbering, sections: &of_sections };
    known.names(objects, layout, targets)
}

/// Refuses to keep relocations that have no addends, or that are kept in another order than what they relocate.
fn check_kept(
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
    linker: Linker,
) -> Result<(), Error> {
    let in_order = |debug: &DebugSection<'_>| debug.pieces.is_sorted_by_key(|piece| piece.input);
    if let Some(debug) = layout.debug.iter().find(|debug| !in_order(debug))
        && linker == Linker::Lld
    {
        let name = lossy(debug.name);
        return Err(Error::unsupported(format!("{name} of several patterns with --emit-relocs")));
    }
    for piece in layout.debug.iter().flat_map(|debug| &debug.pieces) {
        let object = &objects[piece.input as usize];
        let relocations = object.relocations[piece.section as usize];
        let section = &object.elf.sections()[relocations as usize];
        if relocations != 0 && section.sh_type == SHT_REL.0 {
            let (name, input) = (lossy(section.name), object.name);
            return Err(Error::unsupported(format!("{input}: {name} with --emit-relocs")));
        }
    }
    Ok(())
}

/// How many relocations a debug section has.
fn relocations(objects: &[Arc<Object<'_>>], debug: &DebugSection<'_>) -> u64 {
    let count = |piece: &Piece| {
        let object = &objects[piece.input as usize];
        match object.relocations[piece.section as usize] {
            0 => 0,
            index => {
                let section = &object.elf.sections()[index as usize];
                section.size.checked_div(section.entsize).unwrap_or(0)
            }
        }
    };
    debug.pieces.iter().map(count).sum()
}
