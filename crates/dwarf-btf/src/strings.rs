//! Names, each of them once.
//!
//! A kernel's debug information names things some ten million times with a few hundred thousand
//! strings. Most names are offsets into `.debug_str`, where the linker has merged equal strings; so the
//! offset is as good as the string, and while types are compared nothing is looked up: a name is a
//! [`Code`], made of the offset. Only the names of types that were not met before become numbers of
//! strings. If it shows then that one string has two codes (the linker has not merged, or a compiler
//! writes short names in two ways), all is done again with codes that are numbers of strings.
//!
//! Strings are numbered as they come, which depends on the threads; nothing that is put out depends on
//! the numbers, only on whether they are equal ([`FirstUse`] keeps where each string is met first).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use hashbrown::{HashMap, HashTable};
use rayon::prelude::*;

use crate::cursor::{Cursor, Fault, Read};
use crate::form::Form;
use crate::hash::{self, FixedState};
use crate::unit::{Unit, Values};

mod saved;

pub(crate) use saved::SavedStrings;

/// Number of a string; 0 is the empty one.
pub(crate) type StrId = u32;

/// A name before it is looked up: an offset into `.debug_str` and 1, or [`NUMBERED`] and the number of a
/// string; 0 is none.
pub(crate) type Code = u32;

/// Marks a code that is the number of a string.
pub(crate) const NUMBERED: Code = 1 << 31;

/// The code of the name at that offset of `.debug_str`. The end of the section is checked when the name is looked up.
#[inline(always)]
pub(crate) fn offset_code(offset: u32) -> Code {
    offset.min(NUMBERED - 2) + 1
}

const SHARD_BITS: u32 = 5;
const SHARDS: usize = 1 << SHARD_BITS;

#[derive(Debug, Default)]
struct Shard<'s> {
    /// Half of the hash, and the string.
    table: HashTable<(u32, u32)>,
    strings: Vec<&'s [u8]>,
    /// The code that each string was met under, 0 before.
    codes: Vec<Code>,
}

/// A list for many threads that grows without moving what is in it: chunks of which each is as long as all
/// before it, the first of `1 << BITS` places.
#[derive(Debug)]
struct Chunks<T, const BITS: u32> {
    chunks: Vec<OnceLock<Box<[T]>>>,
}

impl<T, const BITS: u32> Chunks<T, BITS> {
    fn new() -> Self {
        let mut chunks = Vec::new();
        chunks.resize_with((32 - BITS + 1) as usize, OnceLock::new);
        Chunks { chunks }
    }

    /// The first index of a chunk.
    fn start_of(chunk: usize) -> u32 {
        if chunk == 0 { 0 } else { 1 << (chunk as u32 - 1 + BITS) }
    }

    /// The place `index`; `make` fills the places of a chunk when the first of them is asked for.
    #[inline]
    fn at(&self, index: u32, make: impl Fn() -> T) -> &T {
        let chunk = ((index | ((1 << BITS) - 1)).ilog2() + 1 - BITS) as usize;
        let start = Self::start_of(chunk);
        let places = self.chunks[chunk].get_or_init(|| {
            let len = start.max(1 << BITS);
            (0..len).map(|_| make()).collect()
        });
        &places[(index - start) as usize]
    }

    /// All places that there are, with their indexes.
    fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.flat_map(|(chunk, places)| {
            (Self::start_of(chunk)..).zip(places.get().map_or(&[][..], |places| places))
        })
    }
}

/// Copies of names that do not stand in `.debug_str`, so that the bytes of `.debug_info` need not be kept.
#[derive(Debug)]
pub(crate) struct Arena {
    texts: Chunks<OnceLock<Box<[u8]>>, 14>,
    next: AtomicU32,
}

impl Default for Arena {
    fn default() -> Self {
        Arena { texts: Chunks::new(), next: AtomicU32::new(0) }
    }
}

impl Arena {
    fn keep(&self, text: &[u8]) -> &[u8] {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        self.texts.at(place, OnceLock::new).get_or_init(|| text.into())
    }
}

/// The strings of a run.
#[derive(Debug)]
pub(crate) struct Strings<'s> {
    /// By offset into `section`: the number of the string and 1, 0 before it is met, or [`UNMET`]. Its pages come when
    /// they are touched ([`Strings::touch`]).
    by_offset: Box<[AtomicU32]>,
    shards: Vec<Mutex<Shard<'s>>>,
    section: &'s [u8],
    arena: &'s Arena,
    /// Whether codes are made of offsets.
    pub by_code: AtomicBool,
    ambiguous: AtomicBool,
    /// Names that were known before this run have the codes that they had: see [`crate::cache`].
    resumed: AtomicBool,
    /// Numbers of strings by codes that they had.
    old_codes: Mutex<HashMap<Code, StrId, FixedState>>,
}

/// The strings that were known at a time: how many each part had.
#[derive(Debug, Clone)]
pub(crate) struct Mark(Vec<u32>);

impl Mark {
    /// Whether that string was known.
    pub fn has(&self, id: StrId) -> bool {
        let known = |number: u32| number >> SHARD_BITS < self.0[number as usize % SHARDS];
        id.checked_sub(1).is_none_or(known)
    }
}

/// Nobody but [`Strings::if_met`] has asked for the string at an offset, and it was not known then.
const UNMET: u32 = u32::MAX;

/// A hash of 64 bits out of half of one: a table looks at both ends.
fn spread(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

impl<'s> Strings<'s> {
    /// For names out of this `.debug_str`.
    pub fn new(section: &'s [u8], arena: &'s Arena) -> Self {
        let by_offset = bytemuck::zeroed_slice_box(section.len());
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        // An offset is to fit into a code.
        let by_code = AtomicBool::new(section.len() < (NUMBERED - 1) as usize);
        Strings {
            by_offset,
            shards,
            section,
            arena,
            by_code,
            ambiguous: AtomicBool::new(false),
            resumed: AtomicBool::new(false),
            old_codes: Mutex::default(),
        }
    }

    /// Has the system give all memory of offsets at once, before any is met. What is read before it is written is given
    /// twice, a page of zeros first, and to take that back all processors are interrupted: where most names are met, it
    /// took as long as to look them all up.
    pub fn touch(&mut self) {
        const PAGE: usize = 4096 / size_of::<AtomicU32>();
        const PAGES: usize = 256;
        let pages = self.by_offset.par_chunks(PAGE).with_min_len(PAGES);
        pages.for_each(|page| page[0].store(0, Ordering::Relaxed));
    }

    /// Makes room for so many strings more.
    pub fn reserve(&self, count: usize) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(|e| e.into_inner());
            shard.table.reserve(count / SHARDS, |&(half, _)| spread(half));
        }
    }

    /// The string of a code.
    #[inline]
    pub fn of_code(&self, code: Code) -> Read<StrId> {
        match code {
            0 => Ok(0),
            _ if code & NUMBERED != 0 => Ok(code & !NUMBERED),
            _ if self.resumed.load(Ordering::Relaxed) => self.of_old_code(code),
            _ => {
                let offset = code as usize - 1;
                let id = self.at_offset(offset as u64)?;
                Ok(id)
            }
        }
    }

    /// The string of a code that types are compared by, which must be its only one.
    pub fn of_type_code(&self, code: Code) -> Read<StrId> {
        let id = self.of_code(code)?;
        if let Some(number) = id.checked_sub(1) {
            let mut shard =
                self.shards[number as usize % SHARDS].lock().unwrap_or_else(|e| e.into_inner());
            let known = &mut shard.codes[(number >> SHARD_BITS) as usize];
            if *known == 0 {
                *known = code;
            } else if *known != code {
                self.ambiguous.store(true, Ordering::Relaxed);
            }
        }
        Ok(id)
    }

    /// Whether a string was met under two codes.
    pub fn ambiguous(&self) -> bool {
        self.ambiguous.load(Ordering::Relaxed)
    }

    /// Makes codes numbers from now on.
    pub fn forget_codes(&self) {
        self.by_code.store(false, Ordering::Relaxed);
        self.ambiguous.store(false, Ordering::Relaxed);
        for shard in &self.shards {
            shard.lock().unwrap_or_else(|e| e.into_inner()).codes.fill(0);
        }
    }

    /// The number of these bytes.
    pub fn intern(&self, bytes: &'s [u8]) -> StrId {
        self.intern_with(bytes, || bytes)
    }

    /// The number of bytes that are to be copied.
    pub fn intern_copy(&self, bytes: &[u8]) -> StrId {
        self.intern_with(bytes, || self.arena.keep(bytes))
    }

    fn intern_with(&self, bytes: &[u8], keep: impl Fn() -> &'s [u8]) -> StrId {
        if bytes.is_empty() {
            return 0;
        }
        let hash = hash::bytes(bytes);
        let index = (hash >> (64 - SHARD_BITS)) as usize;
        let mut shard = self.shards[index].lock().unwrap_or_else(|e| e.into_inner());
        let Shard { table, strings, codes } = &mut *shard;
        let half = hash as u32;
        let equal = |&(other, at): &(u32, u32)| other == half && strings[at as usize] == bytes;
        if let Some(&(_, at)) = table.find(spread(half), equal) {
            return number(at, index);
        }
        let at = strings.len() as u32;
        strings.push(keep());
        codes.push(0);
        table.insert_unique(spread(half), (half, at), |&(half, _)| spread(half));
        number(at, index)
    }

    /// The number of bytes that may not have been met; `u32::MAX` if they were not.
    pub fn find(&self, bytes: &[u8]) -> StrId {
        let hash = hash::bytes(bytes);
        let index = (hash >> (64 - SHARD_BITS)) as usize;
        let shard = self.shards[index].lock().unwrap_or_else(|e| e.into_inner());
        let found =
            shard.table.find(spread(hash as u32), |&(_, at)| shard.strings[at as usize] == bytes);
        found.map_or(u32::MAX, |&(_, at)| number(at, index))
    }

    /// The number of the string at `offset` of `.debug_str`.
    #[inline]
    pub fn at_offset(&self, offset: u64) -> Read<StrId> {
        match self.by_offset.get(offset as usize) {
            Some(known) => match known.load(Ordering::Relaxed) {
                0 | UNMET => self.meet(offset as usize),
                id => Ok(id - 1),
            },
            None => Err(Fault { offset: offset as usize, cause: "a name behind .debug_str" }),
        }
    }

    #[cold]
    fn meet(&self, offset: usize) -> Read<StrId> {
        let id = self.intern(Cursor::new(self.section, offset, false).cstr()?);
        self.by_offset[offset].store(id + 1, Ordering::Relaxed);
        Ok(id)
    }

    /// The string of a code that is no old one; 0 if it was not met under any code so far. What was not met once
    /// may be told so later too.
    pub fn if_met(&self, code: Code) -> Read<StrId> {
        let offset = code.wrapping_sub(1) as usize;
        let known = match self.by_offset.get(offset) {
            Some(known) if code & NUMBERED == 0 => known,
            _ => return self.of_code(code),
        };
        match known.load(Ordering::Relaxed) {
            0 => {}
            UNMET => return Ok(0),
            id => return Ok(id - 1),
        }
        match self.find(Cursor::new(self.section, offset, false).cstr()?) {
            u32::MAX => {
                // If another thread meets it now, its number stays.
                let _ = known.compare_exchange(0, UNMET, Ordering::Relaxed, Ordering::Relaxed);
                Ok(0)
            }
            id => {
                known.store(id + 1, Ordering::Relaxed);
                Ok(id)
            }
        }
    }

    /// The strings that are known now.
    pub fn mark(&self) -> Mark {
        let len = |shard: &Mutex<Shard<'_>>| {
            shard.lock().unwrap_or_else(|e| e.into_inner()).strings.len() as u32
        };
        Mark(self.shards.iter().map(len).collect())
    }

    /// The bytes of a string.
    pub fn get(&self, id: StrId) -> &'s [u8] {
        let Some(number) = id.checked_sub(1) else { return &[] };
        let shard = &self.shards[number as usize % SHARDS];
        let shard = shard.lock().unwrap_or_else(|e| e.into_inner());
        shard.strings.get((number >> SHARD_BITS) as usize).copied().unwrap_or_default()
    }

    /// One more than the largest number given so far.
    pub fn len(&self) -> usize {
        let longest = self
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(|e| e.into_inner()).strings.len())
            .max();
        (longest.unwrap_or(0) << SHARD_BITS) + SHARDS + 1
    }

    /// The bytes of all strings by their number.
    pub fn all(&self) -> Vec<&'s [u8]> {
        let mut all: Vec<&'s [u8]> = vec![&[]; self.len()];
        for (index, shard) in self.shards.iter().enumerate() {
            let shard = shard.lock().unwrap_or_else(|e| e.into_inner());
            for (at, bytes) in shard.strings.iter().enumerate() {
                all[number(at as u32, index) as usize] = bytes;
            }
        }
        all
    }
}

fn number(at: u32, shard: usize) -> StrId {
    (at << SHARD_BITS | shard as u32) + 1
}

/// No position is so large.
const BEHIND: u64 = u64::MAX - 1;

/// Where each string is met first, as a position of the stream of types that pahole would have written
/// before deduplication.
#[derive(Debug)]
pub(crate) struct FirstUse {
    positions: Chunks<AtomicU64, 16>,
}

impl FirstUse {
    pub fn new() -> Self {
        FirstUse { positions: Chunks::new() }
    }

    /// Notes that the string is used at that position.
    #[inline]
    pub fn note(&self, id: StrId, position: u64) {
        let first = self.positions.at(id, || AtomicU64::new(u64::MAX));
        if position < first.load(Ordering::Relaxed) {
            first.fetch_min(position, Ordering::Relaxed);
        }
    }

    /// Notes that the string is used behind all positions. Returns whether it is used nowhere else, and was not
    /// noted so before.
    #[inline]
    pub fn note_behind(&self, id: StrId) -> bool {
        let first = self.positions.at(id, || AtomicU64::new(u64::MAX));
        first.compare_exchange(u64::MAX, BEHIND, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The strings in the order of their first use, without those that are used behind all positions.
    pub fn order(&self) -> Vec<StrId> {
        let positions = self.positions.iter();
        let positions = positions.map(|(id, first)| (first.load(Ordering::Relaxed), id));
        let mut order: Vec<_> = positions.filter(|&(first, _)| first < BEHIND).collect();
        order.par_sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }
}

/// The names of one thread's units: a small memory of the short names that stand in the entries
/// themselves, in front of the shared [`Strings`].
#[derive(Debug)]
pub(crate) struct Names {
    short: Vec<(u32, StrId)>,
}

impl Names {
    const BITS: u32 = 13;

    pub fn new() -> Self {
        Names { short: vec![(0, 0); 1 << Self::BITS] }
    }

    /// The code of the name in a slot's value; 0 where there is none.
    #[inline]
    pub fn code(
        &mut self,
        strings: &Strings<'_>,
        unit: &Unit<'_, '_>,
        values: &Values,
        slot: crate::abbrev::Slot,
    ) -> Read<Code> {
        match values.get(slot) {
            None => Ok(0),
            Some((Form::Strp, offset)) if strings.by_code.load(Ordering::Relaxed) => {
                Ok(offset_code(u32::try_from(offset).unwrap_or(u32::MAX)))
            }
            Some(_) => match self.name(strings, unit, values, slot)? {
                0 => Ok(0),
                id => Ok(strings.code_of(id)),
            },
        }
    }

    /// The number of the name in a slot's value; 0 where there is none.
    #[inline]
    pub fn name(
        &mut self,
        strings: &Strings<'_>,
        unit: &Unit<'_, '_>,
        values: &Values,
        slot: crate::abbrev::Slot,
    ) -> Read<StrId> {
        match values.get(slot) {
            Some((Form::Strp, offset)) => strings.at_offset(offset),
            Some((Form::InlineStr, offset)) => self.inline(strings, unit, offset as usize),
            Some((form, value)) => indirect(strings, unit, form, value),
            None => Ok(0),
        }
    }

    fn inline(&mut self, strings: &Strings<'_>, unit: &Unit<'_, '_>, offset: usize) -> Read<StrId> {
        let bytes = unit.cursor(offset).cstr()?;
        if bytes.len() > 4 {
            return Ok(strings.intern_copy(bytes));
        }
        let key = bytes.iter().fold(0, |key, &b| key << 8 | u32::from(b));
        let at = (key.wrapping_mul(0x9e37_79b1) >> (32 - Self::BITS)) as usize;
        let entry = &mut self.short[at];
        if entry.0 != key {
            *entry = (key, strings.intern_copy(bytes));
        }
        Ok(entry.1)
    }
}

#[cold]
fn indirect(strings: &Strings<'_>, unit: &Unit<'_, '_>, form: Form, value: u64) -> Read<StrId> {
    let far = Fault { offset: unit.header.start, cause: "a name behind its string section" };
    let at = usize::try_from(value).map_err(|_| far)?;
    match form {
        Form::LineStrp => {
            Ok(strings.intern_copy(Cursor::new(unit.dwarf.line_strings, at, false).cstr()?))
        }
        Form::StrIndex => {
            let size = unit.header.sizes.offset;
            let at = value.checked_mul(u64::from(size));
            let at = at.and_then(|at| at.checked_add(unit.str_offsets_base)).ok_or(far)?;
            let at = usize::try_from(at).map_err(|_| far)?;
            let offset = Cursor::new(unit.dwarf.str_offsets, at, unit.dwarf.big).uint(size)?;
            strings.at_offset(offset)
        }
        _ => Ok(0),
    }
}
