//! Relocations of a section, read a few thousand at a time.
//!
//! Why: those of `.debug_info` are as large as all other debug information together. They need never be in memory
//! at once, and where the input can be read, they need not be mapped ([`crate::ReadAt`]).
//!
//! How: the relocations are cut into runs, and the offset of the first one of each run is kept. As relocations are in
//! the order of their offsets, as assemblers and `ld -r` write them, that says which run has those of a part of the
//! section. If they are in another order, whoever applies them notices.
//!
//! Cost: eight bytes for each run and a small read.

use std::marker::PhantomData;
use std::ops::Range;

use object::pod;

use crate::buffer::Buffer;
use crate::error::Error;
use crate::object::Object;
use crate::record::{self, Record};

/// Relocations of a run.
const RUN: usize = 1 << 10;
/// Relocations that are read at once, a multiple of [`RUN`].
pub(crate) const READ: usize = 1 << 14;

/// The relocations of a section that has some.
pub(crate) struct Runs<'o, 'a, R> {
    object: &'o Object<'a>,
    /// Index of the section that is relocated.
    section: u32,
    /// How many there are.
    len: usize,
    /// The offset of the first one of each run.
    starts: &'o [u64],
    buffer: Buffer,
    record: PhantomData<R>,
}

impl<'o, 'a, R: Record> Runs<'o, 'a, R> {
    /// Those of `section`, which has some.
    ///
    /// # Errors
    /// They are not records of this kind, do not lie within the file, or cannot be read.
    pub(crate) fn new(object: &'o Object<'a>, section: u32) -> Result<Self, Error> {
        let len = record::count::<R>(object, section)?;
        let buffer = Buffer::new();
        let mut runs: Self =
            Runs { object, section, len, starts: &[], buffer, record: PhantomData };
        let known = &object.starts[section as usize];
        if known.get().is_none() {
            let first = |run: usize| Ok(runs.look(run * RUN..run * RUN + 1)?[0].decode().offset);
            let starts = (0..len.div_ceil(RUN)).map(first).collect::<Result<_, Error>>()?;
            // If another thread has been here, it has found the same.
            let _ = known.set(starts);
        }
        runs.starts = known.get().map_or(&[], |starts| starts);
        Ok(runs)
    }

    /// How many relocations there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The relocations `range`.
    ///
    /// # Errors
    /// There are not so many, or they cannot be read.
    pub(crate) fn look(&mut self, range: Range<usize>) -> Result<&[R], Error> {
        let Runs { object, section, len, .. } = *self;
        let fault = |cause| record::fault(object, section, 0, cause);
        if range.start > range.end || range.end > len {
            return Err(fault("relocations outside of their table"));
        }
        let size = size_of::<R>();
        let (table, range) =
            (object.relocations[section as usize], range.start * size..range.end * size);
        let count = range.len() / size;
        let bytes = object.look_at(table, range, &mut self.buffer)?;
        let records = pod::slice_from_bytes::<R>(bytes, count);
        records.map(|(records, _)| records).map_err(|()| fault("misaligned relocations"))
    }

    /// Calls `each` with the relocations `range`, at most [`READ`] at a time, and the index of the first of these.
    ///
    /// # Errors
    /// Those of `each`; there are not so many, or they cannot be read.
    pub(crate) fn each<E: From<Error>>(
        &mut self,
        range: Range<usize>,
        mut each: impl FnMut(usize, &[R]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min((start / READ + 1) * READ);
            each(start, self.look(start..end)?)?;
            start = end;
        }
        Ok(())
    }

    /// How many relocations lie before each of the offsets `ends` of the section, which do not get smaller.
    ///
    /// # Errors
    /// Relocations cannot be read.
    pub(crate) fn before<const N: usize>(&mut self, ends: [u64; N]) -> Result<[usize; N], Error> {
        // As many runs begin before.
        let runs = ends.map(|end| self.starts.partition_point(|&start| start < end));
        let mut found = [0; N];
        let mut at = 0;
        while let Some(&count) = runs.get(at) {
            let same = runs[at..].iter().take_while(|&&other| other == count).count();
            if let Some(run) = count.checked_sub(1) {
                let first = run * RUN;
                let records = self.look(first..self.len.min(first + RUN))?;
                for (found, end) in found[at..at + same].iter_mut().zip(&ends[at..]) {
                    *found =
                        first + records.partition_point(|record| record.decode().offset < *end);
                }
            }
            at += same;
        }
        Ok(found)
    }

    /// The offset of the relocation `index` into the section.
    ///
    /// # Errors
    /// There is no such relocation, or it cannot be read.
    pub(crate) fn offset(&mut self, index: usize) -> Result<u64, Error> {
        match self.starts.get(index / RUN) {
            Some(&start) if index.is_multiple_of(RUN) => Ok(start),
            _ => Ok(self.look(index..index.saturating_add(1))?[0].decode().offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use image::consts::Rela64;
    use image::{DataSection, Relocatable, Relocation};
    use object::LittleEndian;

    use super::*;
    use crate::object::Input;
    use crate::testing;

    /// An object whose section 1 has relocations at these offsets.
    fn object(offsets: &[u64]) -> Vec<u8> {
        let relocation = |&offset: &u64| Relocation { offset, symbol: 0, r_type: 1, addend: 0 };
        let section = DataSection {
            name: ".debug_info",
            flags: 0,
            align: 1,
            bytes: &[0; 8],
            relocations: offsets.iter().map(relocation).collect(),
        };
        let header = testing::x86_64();
        let symbols = vec![image::NewSymbol { name: "_text", section: None, value: 0, size: 0 }];
        Relocatable { header, sections: vec![section], symbols, rela: true }.write().unwrap()
    }

    #[test]
    fn relocations_are_found_by_their_offsets_and_read_in_pieces() {
        let offsets: Vec<u64> = (0..3 * READ as u64 + 5).map(|at| at / 3 * 10).collect();
        let bytes = object(&offsets);
        let object = Object::parse_all(&[Input::new("a.o", &bytes)]).unwrap().remove(0);
        let (section, _) = object.elf.section(".debug_info").unwrap();
        let mut runs = Runs::<Rela64<LittleEndian>>::new(&object, section).unwrap();
        assert_eq!(runs.len(), offsets.len());
        let expected = |end: u64| offsets.partition_point(|&offset| offset < end);
        for end in (0..*offsets.last().unwrap() + 20).step_by(331) {
            let ends = [end.saturating_sub(7), end, end + 12, end + 100_000];
            assert_eq!(runs.before(ends).unwrap(), ends.map(expected), "{end}");
        }
        for index in [0, 1, 1023, 1024, 2047, offsets.len() - 1] {
            assert_eq!(runs.offset(index).unwrap(), offsets[index]);
        }
        assert!(runs.offset(offsets.len()).is_err());
        let mut found = Vec::new();
        let each = |first, records: &[Rela64<LittleEndian>]| {
            assert!(first == found.len() + 7 && records.len() <= READ);
            found.extend(records.iter().map(|record| record.decode().offset));
            Ok::<(), Error>(())
        };
        runs.each(7..offsets.len(), each).unwrap();
        assert_eq!(found, offsets[7..]);
    }
}
