//! The bytes that change: ids, counts, sorted sets.

use image::consts::SHF_COMPRESSED;
use image::{Class, Elf, Endian, Endianness, Patch};

use crate::collect::{Entry, Set, Target, Wanted, lossy};
use crate::find::Namesakes;
use crate::warning::{Log, Warning};
use crate::{Error, IDS};

/// The section while it is filled.
struct Ids {
    bytes: Vec<u8>,
    endian: Endianness,
}

impl Ids {
    /// Writes the word that holds the byte at `offset`.
    fn put(&mut self, offset: u64, value: u32) -> Result<(), Error> {
        let size = self.bytes.len();
        let out = Error::OutOfBounds { offset, size };
        let start = usize::try_from(offset).map_err(|_| out.clone())? & !3;
        let word = self.bytes.get_mut(start..).and_then(|tail| tail.first_chunk_mut::<4>());
        *word.ok_or(out)? = self.endian.write_u32(value);
        Ok(())
    }

    /// Writes the id of `entry` wherever it is wanted.
    fn put_all(&mut self, entry: &Entry<'_>, log: &mut Log) -> Result<(), Error> {
        for &offset in &entry.offsets {
            log.patching(offset, entry.id, entry.name);
            self.put(offset, entry.id)?;
        }
        Ok(())
    }

    /// Sorts a set's members by id and returns their count.
    fn sort(&mut self, set: &Set<'_>) -> Result<u32, Error> {
        let (endian, size) = (self.endian, self.bytes.len());
        let bounds =
            |count| Error::SetBounds { name: lossy(set.name), offset: set.offset, count, size };
        let tail = usize::try_from(set.offset).ok().and_then(|at| self.bytes.get_mut(at..));
        let (head, members) = tail
            .and_then(|tail| tail.split_first_chunk_mut::<4>())
            .ok_or_else(|| bounds(set.count))?;
        let count = endian.read_u32(*head);
        let (skip, member) = if set.flagged { (4, 8) } else { (0, 4) };
        let len = (count as usize).checked_mul(member);
        let range = len.and_then(|len| members.get_mut(skip..)?.get_mut(..len));
        let range = range.ok_or_else(|| bounds(count))?;
        if set.flagged {
            sort_words::<2>(range, endian);
        } else {
            sort_words::<1>(range, endian);
        }
        Ok(count)
    }
}

/// Sorts groups of `N` words by the first as a signed number; equal ones stay in their order.
fn sort_words<const N: usize>(bytes: &mut [u8], endian: Endianness) {
    let mut members: Vec<[[u8; 4]; N]> = bytes.as_chunks::<4>().0.as_chunks::<N>().0.to_vec();
    members.sort_by_key(|member| endian.read_i32(member[0]));
    bytes.copy_from_slice(members.as_flattened().as_flattened());
}

/// The section's contents with what `wanted`, its ids found, puts there.
pub(crate) fn ids(
    elf: &Elf<'_>,
    wanted: &Wanted<'_>,
    namesakes: &Namesakes<'_>,
    log: &mut Log,
) -> Result<Vec<u8>, Error> {
    let (_, section) = elf.section(IDS).ok_or(Error::NoIds)?;
    let mut ids = Ids { bytes: elf.bytes(section)?.to_vec(), endian: elf.endian() };
    for target in Target::ALL {
        let group = wanted.group(target);
        for index in group.falling() {
            let entry = &group.entries[index];
            if entry.id == 0 {
                log.warn(unresolved(target, entry.name, namesakes));
            }
            ids.put_all(entry, log)?;
        }
    }
    for set in &wanted.sets {
        log.patching(set.offset, set.count, set.name);
        ids.put(set.offset, set.count)?;
    }
    for set in &wanted.sets {
        let count = ids.sort(set)?;
        log.sorting(set.offset, count, set.name);
    }
    Ok(ids.bytes)
}

fn unresolved(target: Target, name: &[u8], namesakes: &Namesakes<'_>) -> Warning {
    let namesakes = namesakes.get(name).cloned().unwrap_or_default();
    Warning::Unresolved { target, name: lossy(name), namesakes }
}

/// PARITY: the peer gives compressed sections the alignment of their header, which libelf demands of
/// what it writes and old linkers left at 1 (`a_compressed_section_gets_its_alignment`).
pub(crate) fn compressed_alignments(elf: &Elf<'_>) -> Vec<Patch> {
    let word = elf.class().address_size();
    let wrong = |section: &image::Section<'_>| {
        section.flags & SHF_COMPRESSED.0 != 0 && section.align != word
    };
    // Where `sh_addralign` stands in a section header, and its bytes.
    let (field, bytes) = match elf.class() {
        Class::Elf32 => (32, elf.endian().write_u32(word as u32).to_vec()),
        Class::Elf64 => (48, elf.endian().write_u64(word).to_vec()),
    };
    let indices = (0u32..).zip(elf.sections()).filter(|(_, section)| wrong(section));
    indices
        .filter_map(|(index, _)| elf.section_header_offset(index)?.checked_add(field))
        .map(|offset| Patch { offset, bytes: bytes.clone() })
        .collect()
}
