//! The ftrace locations: addresses of the calls (or of the room for them) at the start of functions.
//!
//! They are words of the class's width between `__start_mcount_loc` and `__stop_mcount_loc` in
//! `.init.data`. In a relocatable arm64 kernel the words are empty, and the addresses are the addends
//! of relative relocations for them. Locations outside every function come from functions that the
//! linker has dropped (weak ones that were overridden); they are zeroed and so sort to the front, where
//! the kernel skips them.

use std::ops::Range;

use image::{Class, Elf, Endian, Endianness, Error as ImageError, Patch, Section, consts};
use rayon::prelude::*;

use crate::functions::hex;
use crate::layout::range;
use crate::{Error, Options};

/// `r_info` of an arm64 relative relocation without a symbol (`R_AARCH64_RELATIVE`).
const ARM64_RELATIVE: u64 = 0x403;

/// Relocation records at most this far apart (bytes) are changed by one patch.
const PATCH_GAP: usize = 64;

/// The bounds of the ftrace locations in a System.map; one that is not in it is 0.
///
/// PARITY: a bound is the address on the last line with `start_mcount` or `stop_mcount` anywhere in it,
/// as 6.1's sorttable takes it from `grep`. The test `real_kernels` in `tests/tests/sorttable.rs`
/// runs both on the same map.
pub fn bounds_from_system_map(map: &[u8]) -> Range<u64> {
    let mut bounds = 0..0;
    for line in map.split(|&byte| byte == b'\n') {
        let has = |text: &[u8]| line.windows(text.len()).any(|window| window == text);
        let addr = || hex(line.split(|&byte| byte == b' ').next().unwrap_or_default());
        if has(b"start_mcount") {
            bounds.start = addr();
        }
        if has(b"stop_mcount") {
            bounds.end = addr();
        }
    }
    bounds
}

/// The patches that sort the ftrace locations within `bounds` of `init_data`.
pub(crate) fn sort(
    elf: &Elf<'_>,
    init_data: &Section<'_>,
    bounds: Range<u64>,
    options: &Options,
) -> Result<Vec<Patch>, Error> {
    let mut locations = Locations::read(elf, init_data, &bounds, options)?;
    if options.dialect.mcount_functions
        && let Some(functions) = options.functions.as_ref().filter(|list| !list.is_empty())
    {
        let before = before_function(elf.header().machine, options);
        locations.values.par_iter_mut().with_min_len(1 << 12).for_each(|value| {
            if !functions.contains(*value, before) {
                *value = 0;
            }
        });
    }
    locations.values.sort_unstable();
    Ok(locations.patches(elf))
}

/// How many bytes before a function a location may be to belong to it.
fn before_function(machine: u16, options: &Options) -> u64 {
    let dialect = &options.dialect;
    let arm64 = machine == consts::EM_AARCH64.0 && dialect.arm64_before_function;
    let riscv = machine == consts::EM_RISCV.0 && dialect.riscv_before_function;
    if arm64 || riscv { 8 } else { 0 }
}

/// Addresses and where in the file each of them stands.
#[derive(Debug)]
struct Locations {
    word: Word,
    values: Vec<u64>,
    /// File offsets, as many as values.
    places: Vec<u64>,
}

impl Locations {
    fn read(
        elf: &Elf<'_>,
        init_data: &Section<'_>,
        bounds: &Range<u64>,
        options: &Options,
    ) -> Result<Self, Error> {
        let word = Word::of(elf);
        let size = bounds.end.wrapping_sub(bounds.start);
        let offset = bounds.start.wrapping_sub(init_data.addr).wrapping_add(init_data.offset);
        let table = range(elf, init_data, offset, size)?;
        let expected = size / word.size as u64;

        let arm64 = elf.header().machine == consts::EM_AARCH64.0;
        if arm64 && options.dialect.arm64_mcount_relas {
            let locations = Locations::from_relocations(elf, bounds, expected)?;
            if !locations.values.is_empty() {
                locations.check_count(expected)?;
                return Ok(locations);
            }
        }
        let values: Vec<u64> =
            table.chunks_exact(word.size).map(|bytes| word.read(bytes)).collect();
        if options.dialect.mcount_whole_words && !size.is_multiple_of(word.size as u64) {
            return Err(Error::McountCount { expected, found: expected + 1 });
        }
        let places = (offset..).step_by(word.size).take(values.len()).collect();
        Ok(Locations { word, values, places })
    }

    /// The addends of all relocations for words within `bounds`, in the file's order.
    fn from_relocations(elf: &Elf<'_>, bounds: &Range<u64>, expected: u64) -> Result<Self, Error> {
        let word = Word::of(elf);
        let mut locations = Locations { word, values: Vec::new(), places: Vec::new() };
        for section in elf.sections().iter().filter(|s| s.sh_type == consts::SHT_RELA.0) {
            let record = 3 * word.size as u64;
            if section.size > 0 && section.entsize != record {
                let cause = format!("records of {} bytes, not {record}", section.entsize);
                return Err(ImageError::section(section.name, cause).into());
            }
            let len = section.size.div_ceil(record).saturating_mul(record);
            let records = range(elf, section, section.offset, len)?;
            for (index, bytes) in records.chunks_exact(record as usize).enumerate() {
                if !bounds.contains(&word.read(&bytes[..word.size])) {
                    continue;
                }
                if locations.values.len() as u64 >= expected {
                    return Err(Error::McountRelocations);
                }
                let found = word.read(&bytes[word.size..2 * word.size]);
                if found != ARM64_RELATIVE {
                    let expected = ARM64_RELATIVE;
                    return Err(Error::McountRelocationType { found, expected });
                }
                locations.values.push(word.read(&bytes[2 * word.size..]));
                let addend = index as u64 * record + 2 * word.size as u64;
                locations.places.push(section.offset + addend);
            }
        }
        Ok(locations)
    }

    fn check_count(&self, expected: u64) -> Result<(), Error> {
        let found = self.values.len() as u64;
        if found == expected { Ok(()) } else { Err(Error::McountCount { expected, found }) }
    }

    /// Patches that put each value to its place, with what lies between places that are close.
    fn patches(&self, elf: &Elf<'_>) -> Vec<Patch> {
        let mut patches: Vec<Patch> = Vec::new();
        for (&value, &place) in self.values.iter().zip(&self.places) {
            let value = self.word.write(value);
            if let Some(patch) = patches.last_mut() {
                let end = patch.offset as usize + patch.bytes.len();
                let between = elf.data().get(end..place as usize);
                if let Some(between) = between.filter(|between| between.len() <= PATCH_GAP) {
                    patch.bytes.extend_from_slice(between);
                    patch.bytes.extend_from_slice(&value[..self.word.size]);
                    continue;
                }
            }
            patches.push(Patch { offset: place, bytes: value[..self.word.size].to_vec() });
        }
        patches
    }
}

/// A word of the image: its size in bytes and its byte order.
#[derive(Debug, Clone, Copy)]
struct Word {
    size: usize,
    endian: Endianness,
}

impl Word {
    fn of(elf: &Elf<'_>) -> Self {
        let size = if elf.class() == Class::Elf64 { 8 } else { 4 };
        Word { size, endian: elf.endian() }
    }

    /// The number in `bytes`, which are a word.
    fn read(self, bytes: &[u8]) -> u64 {
        match self.size {
            4 => self.endian.read_u32(bytes.try_into().unwrap_or_default()).into(),
            _ => self.endian.read_u64(bytes.try_into().unwrap_or_default()),
        }
    }

    /// `value` in the first bytes, as many as the word has.
    fn write(self, value: u64) -> [u8; 8] {
        let mut bytes = [0; 8];
        match self.size {
            4 => bytes[..4].copy_from_slice(&self.endian.write_u32(value as u32)),
            _ => bytes = self.endian.write_u64(value),
        }
        bytes
    }
}
