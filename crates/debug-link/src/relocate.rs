//! Applying relocations, chunk by chunk, on the way into the output.
//!
//! The relocations of a section are cut into chunks at offsets where none straddles. A chunk copies
//! its bytes from the input and applies its relocations there, so every byte of output is written
//! while it is in the cache, and chunks do not touch each other. That takes relocations in the
//! order of their offsets, which is how assemblers and `ld -r` write them; a section where they are
//! not is done again in one piece.
//!
//! A reference to something discarded becomes a fixed value ([`Linker::tombstone`]).

use image::Endianness;
use image::consts::STT_SECTION;
use object::pod;

use crate::emit::{Named, Renumbering};
use crate::error::Error;
use crate::how::{self, Act, How, Range};
use crate::linker::Linker;
use crate::lookups::{Lookups, Remembered};
use crate::merge::Merged;
use crate::object::Object;
use crate::record::{self, Decoded, Record, with_records};
use crate::runs::{READ, Runs};
use crate::strings::Near;
use crate::targets::Target;

/// A section of an input that is copied, with its relocations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'p, 'a> {
    pub(crate) object: &'p Object<'a>,
    pub(crate) section: u32,
    /// The section's bytes in the input, which are not looked at where they can be read.
    pub(crate) bytes: &'a [u8],
    pub(crate) targets: &'p [Target],
    /// The symbols' names in the output; empty if no relocations are kept.
    pub(crate) names: &'p [Named],
    pub(crate) merged: &'p [Merged<'a>],
    /// Where the section's references to strings lead, if that is remembered.
    pub(crate) lookups: Option<&'p Lookups<'a>>,
    /// Offset of the section in the output section, which is at address 0.
    pub(crate) offset: u64,
    pub(crate) linker: Linker,
}

/// A part of a section: its bytes and those of its relocations that lie there, by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) bytes: std::ops::Range<usize>,
    pub(crate) relocations: std::ops::Range<usize>,
}

/// Why a chunk was not written.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A relocation lies outside of the chunk: they are not in order.
    Unordered,
    /// A relocation that cannot be applied.
    Bad(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Bad(error)
    }
}

impl<'a> Source<'_, 'a> {
    /// Cuts the section into chunks with about as much work each.
    ///
    /// # Errors
    /// Relocations that do not lie within the file.
    pub(crate) fn chunks(&self) -> Result<Vec<Chunk>, Error> {
        if self.object.relocations[self.section as usize] == 0 {
            return Ok(plain_chunks(self.bytes.len()));
        }
        with_records!(self, chunks)
    }

    /// Writes one chunk to `out`, which has its size.
    pub(crate) fn write(&self, chunk: &Chunk, out: &mut [u8]) -> Result<(), Stop> {
        self.object.read(self.section, chunk.bytes.start, out)?;
        if chunk.relocations.is_empty() {
            return Ok(());
        }
        with_records!(self, apply, chunk, out)
    }

    /// Writes the bytes `range` of the section to `out`, which has their length.
    ///
    /// # Errors
    /// A relocation that cannot be applied, or one that is not in the order of the offsets.
    pub(crate) fn write_part(
        &self,
        range: std::ops::Range<usize>,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let chunk = match self.object.relocations[self.section as usize] {
            0 => Chunk { bytes: range.clone(), relocations: 0..0 },
            _ => with_records!(self, within, &range)?,
        };
        if chunk.bytes == range {
            return self.write_sorted(&chunk, out);
        }
        // Fields reach over the ends: they are made whole, and cut.
        let mut whole = vec![0; chunk.bytes.len()];
        self.write_sorted(&chunk, &mut whole)?;
        out.copy_from_slice(&whole[range.start - chunk.bytes.start..][..range.len()]);
        Ok(())
    }

    /// Writes a chunk whose relocations have to be in the order of their offsets.
    fn write_sorted(&self, chunk: &Chunk, out: &mut [u8]) -> Result<(), Error> {
        self.write(chunk, out).map_err(|stop| match stop {
            Stop::Bad(error) => error,
            Stop::Unordered => unordered(self, &chunk.bytes),
        })
    }

    /// The whole section as one chunk, for relocations in any order.
    ///
    /// # Errors
    /// Relocations that do not lie within the file.
    pub(crate) fn whole(&self) -> Result<Chunk, Error> {
        let relocations = match self.object.relocations[self.section as usize] {
            0 => 0,
            _ => with_records!(self, count)?,
        };
        Ok(Chunk { bytes: 0..self.bytes.len(), relocations: 0..relocations })
    }

    /// Writes the section as one chunk.
    ///
    /// # Errors
    /// A relocation that cannot be applied.
    pub(crate) fn write_whole(&self, whole: &Chunk, out: &mut [u8]) -> Result<(), Error> {
        self.write(whole, out).map_err(|stop| match stop {
            Stop::Bad(error) => error,
            Stop::Unordered => Error::disagree("relocations outside of their section"),
        })
    }

    /// Writes the kept relocations of one chunk to `out`, which has their size.
    pub(crate) fn keep(&self, chunk: &Chunk, out: &mut [u8]) -> Result<(), Stop> {
        with_records!(self, keep, chunk, out)
    }

    /// Writes a chunk, and its kept relocations to `kept` if that is not empty; all are read once. `each` is called with
    /// every relocation before. Returns whether the chunk is whole: not if a relocation lies outside of it.
    ///
    /// # Errors
    /// Those of `each`, and relocations that cannot be read, applied or kept.
    pub(crate) fn write_and_keep(
        &self,
        chunk: &Chunk,
        (out, kept): (&mut [u8], &mut [u8]),
        each: &mut dyn FnMut(Decoded) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        self.object.read(self.section, chunk.bytes.start, out)?;
        if chunk.relocations.is_empty() {
            return Ok(true);
        }
        match with_records!(self, apply_and_keep, chunk, (out, kept), each) {
            Ok(whole) => Ok(whole),
            Err(Stop::Bad(error)) => Err(error),
            Err(Stop::Unordered) => Err(unordered(self, &chunk.bytes)),
        }
    }

    fn fault(&self, offset: u64, cause: impl Into<String>) -> Error {
        record::fault(self.object, self.section, offset, cause)
    }
}

/// Bytes without relocations, in pieces of 1 MiB.
fn plain_chunks(len: usize) -> Vec<Chunk> {
    let step = 1 << 20;
    let starts = (0..len).step_by(step);
    starts.map(|start| Chunk { bytes: start..len.min(start + step), relocations: 0..0 }).collect()
}

fn runs<'o, 'a, R: Record>(source: &Source<'o, 'a>) -> Result<Runs<'o, 'a, R>, Error> {
    Runs::new(source.object, source.section)
}

fn count<R: Record>(source: &Source<'_, '_>) -> Result<usize, Error> {
    record::count::<R>(source.object, source.section)
}

fn apply_and_keep<R: Record>(
    source: &Source<'_, '_>,
    chunk: &Chunk,
    (out, kept): (&mut [u8], &mut [u8]),
    each: &mut dyn FnMut(Decoded) -> Result<(), Error>,
) -> Result<bool, Stop> {
    let (mut whole, keeps) = (true, !kept.is_empty());
    let mut kept = kept.chunks_exact_mut(size_of::<R>());
    runs::<R>(source)?.each(chunk.relocations.clone(), |first, records| {
        records.iter().try_for_each(|record| each(record.decode()))?;
        if whole {
            match apply_some(source, chunk, (first, records), out) {
                Err(Stop::Unordered) => whole = false,
                applied => applied?,
            }
        }
        if keeps { keep_some(source, (first, records), &mut kept) } else { Ok(()) }
    })?;
    Ok(whole)
}

/// A part of a section with its relocations, made longer if fields reach over its ends.
fn within<R: Record>(
    source: &Source<'_, '_>,
    part: &std::ops::Range<usize>,
) -> Result<Chunk, Error> {
    /// Size of the widest field.
    const WIDEST: usize = 8;
    let mut runs = runs::<R>(source)?;
    let reaching = part.start.saturating_sub(WIDEST - 1);
    let ends = [reaching, part.start, part.end].map(|end| end as u64);
    let [earlier, own, last] = runs.before(ends)?;
    if own < earlier || last < own {
        return Err(unordered(source, part));
    }
    let machine = source.object.elf.header().machine;
    let field = |record: &R| {
        let Decoded { offset, r_type, .. } = record.decode();
        let size = how::of(machine, r_type).map_or(WIDEST, |how| usize::from(how.size));
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        start..start.saturating_add(size)
    };
    let (mut first, mut start, mut end) = (own, part.start, part.end);
    // Those before that reach into the part, and all between.
    for (index, record) in (earlier..).zip(runs.look(earlier..own)?) {
        let field = field(record);
        if first < own || field.end > part.start {
            first = first.min(index);
            (start, end) = (start.min(field.start), end.max(field.end));
        }
    }
    if own < last {
        end = end.max(field(&runs.look(last - 1..last)?[0]).end);
    }
    let end = end.min(source.bytes.len()).max(part.end);
    // In a longer part, one out of order would not be noticed.
    if (start, end) != (part.start, part.end) {
        let is_within = |records: &[R], range: &std::ops::Range<usize>| {
            records.iter().all(|record| range.contains(&field(record).start))
        };
        for (indexes, range) in [(first..own, &(reaching..part.start)), (own..last, part)] {
            runs.each(indexes, |_, records| match is_within(records, range) {
                true => Ok(()),
                false => Err(unordered(source, part)),
            })?;
        }
    }
    Ok(Chunk { bytes: start..end, relocations: first..last })
}

fn unordered(source: &Source<'_, '_>, part: &std::ops::Range<usize>) -> Error {
    source.fault(part.start as u64, "its relocations are not in the order of their offsets")
}

fn chunks<R: Record>(source: &Source<'_, '_>) -> Result<Vec<Chunk>, Error> {
    let mut runs = runs::<R>(source)?;
    let (count, len) = (runs.len(), source.bytes.len());
    let mut chunks = Vec::with_capacity(count / READ + 1);
    let (mut start, mut first) = (0, 0);
    while first < count {
        let mut last = (first + READ).min(count);
        // Two relocations of one field stay together.
        while last < count && runs.offset(last)? == runs.offset(last - 1)? {
            last += 1;
        }
        let end = match last < count {
            true => usize::try_from(runs.offset(last)?).unwrap_or(len),
            false => len,
        };
        // Out of order, or out of the section: `write` finds the relocation.
        let end = end.clamp(start, len);
        chunks.push(Chunk { bytes: start..end, relocations: first..last });
        (start, first) = (end, last);
    }
    Ok(chunks)
}

/// Applies the relocations of a chunk to its bytes.
fn apply<R: Record>(source: &Source<'_, '_>, chunk: &Chunk, out: &mut [u8]) -> Result<(), Stop> {
    runs::<R>(source)?.each(chunk.relocations.clone(), |first, records| {
        apply_some(source, chunk, (first, records), out)
    })
}

/// Applies some of them, the first of which has the index `first`.
fn apply_some<R: Record>(
    source: &Source<'_, '_>,
    chunk: &Chunk,
    (first, records): (usize, &[R]),
    out: &mut [u8],
) -> Result<(), Stop> {
    let little = source.object.elf.endian() == Endianness::Little;
    let machine = source.object.elf.header().machine;
    let name = source.object.elf.sections()[source.section as usize].name;
    let tombstone = source.linker.tombstone(name);
    let whole = chunk.bytes.len() == source.bytes.len();
    let mut known: (u32, Option<How>) = (0, how::of(machine, 0));
    let mut near = Near::default();
    let mut remembered = source.lookups.map(|lookups| Remembered::new(lookups, first, records));
    for (index, record) in (first..).zip(records) {
        let relocation = record.decode();
        let bad = |cause: String| Stop::Bad(source.fault(relocation.offset, cause));
        if relocation.r_type != known.0 {
            known = (relocation.r_type, how::of(machine, relocation.r_type));
        }
        let Some(how) = known.1 else {
            return Err(bad(format!(
                "unknown relocation {} of machine {machine}",
                relocation.r_type
            )));
        };
        if how.act == Act::Nothing {
            continue;
        }
        let within = relocation.offset.wrapping_sub(chunk.bytes.start as u64);
        let field = usize::try_from(within)
            .ok()
            .and_then(|at| out.get_mut(at..at.checked_add(usize::from(how.size))?));
        let Some(field) = field else {
            return Err(match whole {
                true => bad("the relocation lies outside of its section".to_owned()),
                false => Stop::Unordered,
            });
        };
        let addend =
            relocation.addend.unwrap_or_else(|| sign_extended(read(field, little), how.size));
        let value = match source.targets.get(relocation.symbol as usize) {
            Some(&Target::Value(value)) => value.wrapping_add_signed(addend),
            Some(&Target::Merged { group, member }) => remembered
                .as_mut()
                .and_then(|remembered| remembered.get(index))
                .or_else(|| {
                    source.merged[group as usize].find_near(member, addend as u64, &mut near)
                })
                .ok_or_else(|| bad("it leads to no entry of a merged section".to_owned()))?,
            Some(Target::Discarded) => {
                if source.linker == Linker::Lld && how.act != Act::Store {
                    return Err(bad("a difference from something thrown away".to_owned()));
                }
                write(field, tombstone, little);
                continue;
            }
            Some(Target::Unknown) | None => {
                let symbol = relocation.symbol;
                return Err(bad(format!("the place of symbol {symbol} is not known")));
            }
        };
        let place = source.offset.wrapping_add(relocation.offset);
        act(field, how, value, place, little)
            .ok_or_else(|| bad(format!("{value:#x} does not fit its field")))?;
    }
    Ok(())
}

/// Writes the relocations of a chunk as they stay in the output.
fn keep<R: Record>(source: &Source<'_, '_>, chunk: &Chunk, out: &mut [u8]) -> Result<(), Stop> {
    let mut kept = out.chunks_exact_mut(size_of::<R>());
    runs::<R>(source)?.each(chunk.relocations.clone(), |first, records| {
        keep_some(source, (first, records), &mut kept)
    })
}

/// Writes some of them, the first of which has the index `first`.
fn keep_some<'k, R: Record>(
    source: &Source<'_, '_>,
    (first, records): (usize, &[R]),
    kept: &mut impl Iterator<Item = &'k mut [u8]>,
) -> Result<(), Stop> {
    let mut near = Near::default();
    let mut remembered = source.lookups.map(|lookups| Remembered::new(lookups, first, records));
    for ((at, record), kept) in (first..).zip(records).zip(kept) {
        let mut relocation = record.decode();
        let bad = |cause: &str| Stop::Bad(source.fault(record.decode().offset, cause));
        let index = relocation.symbol as usize;
        let (target, name) = (source.targets.get(index), source.names.get(index));
        relocation.offset = relocation.offset.wrapping_add(source.offset);
        match (target, name) {
            _ if index == 0 => {}
            (Some(Target::Discarded), _) if source.linker.clears_kept() => {
                (relocation.symbol, relocation.r_type, relocation.addend) = (0, 0, Some(0));
            }
            (Some(Target::Discarded), name) => {
                if source.object.symbols[index - 1].kind == STT_SECTION.0 {
                    relocation.r_type = 0;
                }
                relocation.symbol = match name {
                    Some(&Named::Symbol(symbol)) => symbol,
                    _ => 0,
                };
            }
            (Some(_), Some(&Named::Symbol(symbol))) => relocation.symbol = symbol,
            (Some(target), Some(&Named::Section { symbol, addr })) => {
                let addend = relocation.addend.unwrap_or(0);
                let value = match *target {
                    Target::Value(value) => Some(value.wrapping_add_signed(addend)),
                    Target::Merged { group, member } => remembered
                        .as_mut()
                        .and_then(|remembered| remembered.get(at))
                        .or_else(|| {
                            let merged = &source.merged[group as usize];
                            merged.find_near(member, addend as u64, &mut near)
                        }),
                    Target::Discarded | Target::Unknown => None,
                };
                let value = value.ok_or_else(|| bad("its target is not known"))?;
                relocation.symbol = symbol;
                relocation.addend = Some(value.wrapping_sub(addr) as i64);
            }
            _ => return Err(bad("its symbol in the output is not known")),
        }
        let record = R::encode(relocation).ok_or_else(|| bad("it cannot be kept"))?;
        kept.copy_from_slice(pod::bytes_of(&record));
    }
    Ok(())
}

/// Copies relocations of the image, in records of `entsize` bytes, with the new indexes of symbols.
///
/// # Errors
/// An index that does not fit, or records of a size that is not known.
pub(crate) fn renumber(
    relocations: &[u8],
    wide: bool,
    little: bool,
    renumbering: &Renumbering,
    out: &mut [u8],
) -> Result<(), Error> {
    let (size, info, shift) = if wide { (24, 8..16, 32) } else { (12, 4..8, 8) };
    for (record, out) in relocations.chunks(size).zip(out.chunks_mut(size)) {
        out.copy_from_slice(record);
        let field = out.get_mut(info.clone());
        let field = field.ok_or_else(|| Error::unsupported("relocations of an unknown size"))?;
        let old = read(field, little);
        let index = u64::from(renumbering.index((old >> shift) as u32));
        if !wide && index >= 1 << 24 {
            return Err(Error::unsupported("16 million symbols in a 32-bit image"));
        }
        write(field, index << shift | old & ((1 << shift) - 1), little);
    }
    Ok(())
}

/// Changes a field as a relocation says; `None` if the value does not fit.
fn act(field: &mut [u8], how: How, value: u64, place: u64, little: bool) -> Option<()> {
    let bits = u32::from(how.size) * 8;
    let new = match how.act {
        Act::Store => value,
        Act::Relative => value.wrapping_sub(place),
        Act::Add => read(field, little).wrapping_add(value),
        Act::Subtract => read(field, little).wrapping_sub(value),
        Act::Nothing => return Some(()),
    };
    if bits < 64 {
        let unsigned = new >> bits == 0;
        let signed = sign_extended(new, how.size) as u64 == new;
        let fits = match how.range {
            Range::Any => true,
            Range::Unsigned => unsigned,
            Range::Signed => signed,
            Range::Either => unsigned || signed,
        };
        if !fits {
            return None;
        }
    }
    if how.mask == 0xff {
        write(field, new, little);
    } else {
        let kept = read(field, little) & !u64::from(how.mask);
        write(field, kept | new & u64::from(how.mask), little);
    }
    Some(())
}

/// The number in a field of at most eight bytes.
fn read(field: &[u8], little: bool) -> u64 {
    let mut bytes = [0; 8];
    if little {
        bytes[..field.len()].copy_from_slice(field);
        u64::from_le_bytes(bytes)
    } else {
        bytes[8 - field.len()..].copy_from_slice(field);
        u64::from_be_bytes(bytes)
    }
}

/// Puts the low bytes of a number into a field.
fn write(field: &mut [u8], value: u64, little: bool) {
    match (field, little) {
        (field, true) if field.len() == 8 => field.copy_from_slice(&value.to_le_bytes()),
        (field, true) if field.len() == 4 => {
            field.copy_from_slice(&(value as u32).to_le_bytes());
        }
        (field, true) => field.copy_from_slice(&value.to_le_bytes()[..field.len()]),
        (field, false) => field.copy_from_slice(&value.to_be_bytes()[8 - field.len()..]),
    }
}

fn sign_extended(value: u64, size: u8) -> i64 {
    let unused = 64 - u32::from(size) * 8;
    (value << unused) as i64 >> unused
}

#[cfg(test)]
mod tests {
    use image::consts::{EM_386, EM_RISCV, EM_X86_64};

    use super::*;

    fn done(machine: u16, r_type: u32, field: &[u8], value: u64) -> Option<Vec<u8>> {
        let mut field = field.to_vec();
        let how = how::of(machine, r_type)?;
        act(&mut field, how, value, 0x10, true)?;
        Some(field)
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        let x86 = EM_X86_64.0;
        assert_eq!(done(x86, 10, &[0; 4], 0xffff_ffff), Some(vec![0xff; 4]));
        assert_eq!(done(x86, 10, &[0; 4], 0x1_0000_0000), None);
        assert_eq!(done(x86, 11, &[0; 4], u64::MAX), Some(vec![0xff; 4]));
        assert_eq!(done(x86, 11, &[0; 4], 0x8000_0000), None);
        assert_eq!(done(x86, 2, &[0; 4], 0x18), Some(vec![8, 0, 0, 0]));
        assert_eq!(done(x86, 200, &[0; 4], 0), None);
        assert_eq!(done(EM_386.0, 1, &[9; 4], 5), Some(vec![5, 0, 0, 0]));
    }

    #[test]
    fn riscv_adds_subtracts_and_leaves_the_high_bits_of_a_six_bit_field() {
        let riscv = EM_RISCV.0;
        assert_eq!(done(riscv, 34, &[1, 1], 0xff), Some(vec![0, 2]));
        assert_eq!(done(riscv, 39, &[0, 1, 0, 0], 1), Some(vec![0xff, 0, 0, 0]));
        assert_eq!(done(riscv, 53, &[0xc0], 0x45), Some(vec![0xc5]));
        assert_eq!(done(riscv, 52, &[0xc5], 6), Some(vec![0xff]));
    }

    #[test]
    fn numbers_are_read_and_written_in_either_byte_order() {
        let mut field = [0; 4];
        write(&mut field, 0x0102_0304, false);
        assert_eq!((field, read(&field, false)), ([1, 2, 3, 4], 0x0102_0304));
        write(&mut field, 0x0102_0304, true);
        assert_eq!((field, read(&field, true)), ([4, 3, 2, 1], 0x0102_0304));
        assert_eq!(sign_extended(0xffff_fffe, 4), -2);
    }
}
