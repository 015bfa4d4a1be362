//! The build ID: a note of type 3 whose owner is `GNU`.

use image::consts::SHT_NOTE;
use image::{Elf, Endian};

use crate::Error;

const NT_GNU_BUILD_ID: u32 = 3;

/// A build ID.
pub struct BuildId<'data> {
    /// The ID.
    pub bytes: &'data [u8],
}

/// The build ID of an image, if it has one.
pub fn build_id<'data>(elf: &Elf<'data>) -> Result<Option<BuildId<'data>>, Error> {
    for section in elf.sections().iter().filter(|section| section.sh_type == SHT_NOTE.0) {
        if let Some(bytes) = find(elf, elf.bytes(section)?) {
            return Ok(Some(BuildId { bytes }));
        }
    }
    Ok(None)
}

/// The ID among `notes`; what is no note ends the search.
fn find<'data>(elf: &Elf<'_>, mut notes: &'data [u8]) -> Option<&'data [u8]> {
    let word = |notes: &[u8], at: usize| -> Option<usize> {
        let bytes = notes.get(at..at + 4)?.try_into().ok()?;
        Some(elf.endian().read_u32(bytes) as usize)
    };
    loop {
        let (name, desc) = (word(notes, 0)?, word(notes, 4)?);
        let kind = word(notes, 8)?;
        let start = 12usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let contents = notes.get(start..start.checked_add(desc)?)?;
        if kind as u32 == NT_GNU_BUILD_ID && notes.get(12..12 + name) == Some(b"GNU\0") {
            return Some(contents);
        }
        notes = notes.get(start.checked_add(desc.checked_next_multiple_of(4)?)?..)?;
    }
}

/// Whether two sections of notes differ in nothing but a build ID.
pub fn only_build_ids_differ(elves: [&Elf<'_>; 2], a: &[u8], b: &[u8]) -> bool {
    let (Some(left), Some(right)) = (find(elves[0], a), find(elves[1], b)) else { return false };
    let at = |whole: &[u8], part: &[u8]| part.as_ptr() as usize - whole.as_ptr() as usize;
    let (start, other) = (at(a, left), at(b, right));
    if start != other || left.len() != right.len() || a.len() != b.len() {
        return false;
    }
    let end = start + left.len();
    a[..start] == b[..start] && a[end..] == b[end..]
}
