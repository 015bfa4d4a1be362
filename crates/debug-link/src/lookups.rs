//! Where the references of `.debug_info` to merged strings lead, found once for all that ask.
//!
//! Why: of 17 million relocations of a kernel 13 million are offsets into `.debug_str`. Each is asked for when types
//! are read, when the section is made, and when the relocation is kept, and each look-up waits for memory
//! ([`Strings::find`]). The answer depends on no link, so it can be had while the linker is at work.
//!
//! How: the relocations of a section are cut into blocks; a block is looked up by whoever asks for it first, or ahead
//! of all ([`Lookups::block`]).
//!
//! Cost: four bytes for each relocation of `.debug_info`, 68 MB for the defconfig of 6.12. A block takes some 0.4 ms.

use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;
use image::Place;
use image::consts::{SHT_RELA, STB_LOCAL, STT_SECTION};

use crate::object::Object;
use crate::record::{Record, with_records};
use crate::runs::{READ, Runs};
use crate::strings::{Near, Strings};

/// Relocations of a block: those that are read at once.
const BLOCK: usize = READ;
/// A relocation that leads to no string, or to none that is there.
const NOWHERE: u32 = u32::MAX;
/// The section whose references are remembered: the others have few, or ask once.
const SECTION: &[u8] = b".debug_info";

/// A symbol that leads to merged strings.
#[derive(Debug)]
struct Lead<'a> {
    symbol: u32,
    strings: Arc<Strings<'a>>,
    /// Index of the section among those that were merged.
    member: u32,
}

/// Where the relocations of one section lead.
#[derive(Debug)]
pub(crate) struct Lookups<'a> {
    object: Arc<Object<'a>>,
    section: u32,
    /// How many relocations it has.
    count: usize,
    leads: Vec<Lead<'a>>,
    blocks: Box<[OnceLock<Box<[u32]>>]>,
}

/// Merged strings and the sections that they are of, each with its input.
pub(crate) type Merges<'m, 'a> = HashMap<(u32, u32), (&'m Arc<Strings<'a>>, u32)>;

impl<'a> Lookups<'a> {
    /// Those of the input `input`, by section; nothing is looked up yet.
    pub(crate) fn of(
        input: u32,
        object: &Arc<Object<'a>>,
        merges: &Merges<'_, 'a>,
    ) -> impl Iterator<Item = (u32, Self)> {
        let sections = object.elf.sections().iter().zip(0..).zip(&object.relocations);
        sections.filter_map(move |((section, index), &relocations)| {
            let records = &object.elf.sections()[relocations as usize];
            if section.name != SECTION || relocations == 0 || records.sh_type != SHT_RELA.0 {
                return None;
            }
            // What the file has, whatever it says.
            let len = object.bytes(relocations).ok()?.len() as u64;
            let count = len.checked_div(records.entsize)? as usize;
            let mut blocks = Vec::new();
            blocks.resize_with(count.div_ceil(BLOCK), OnceLock::new);
            let (leads, blocks) = (leads(input, object, merges), blocks.into());
            Some((index, Lookups { object: object.clone(), section: index, count, leads, blocks }))
        })
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Whether a block has been looked up.
    pub(crate) fn is_known(&self, index: usize) -> bool {
        self.blocks.get(index).is_some_and(|block| block.get().is_some())
    }

    /// Looks a block up, if nobody has.
    pub(crate) fn block(&self, index: usize) -> &[u32] {
        let look_up = || with_records!(self, read_and_look_up, index);
        self.blocks.get(index).map_or(&[], |block| block.get_or_init(look_up))
    }

    /// Looks up the block that these relocations are, of which the first has the index `first`, if they are one.
    fn block_of<R: Record>(&self, first: usize, records: &[R]) {
        let last = first + records.len() == self.count;
        let is_whole = first.is_multiple_of(BLOCK) && (last || records.len() == BLOCK);
        if let Some(block) = self.blocks.get(first / BLOCK).filter(|_| is_whole) {
            block.get_or_init(|| look_up(self, records));
        }
    }
}

/// The symbols of an input that stand for sections of merged strings.
fn leads<'a>(input: u32, object: &Object<'a>, merges: &Merges<'_, 'a>) -> Vec<Lead<'a>> {
    let lead = |(symbol, found): (u32, &image::Symbol<'_>)| {
        let Place::Section(section) = found.place else { return None };
        // Only a section symbol's addend takes part in finding the string (see `targets`).
        if found.kind != STT_SECTION.0 || found.bind != STB_LOCAL.0 || found.value != 0 {
            return None;
        }
        let &(strings, member) = merges.get(&(input, section))?;
        Some(Lead { symbol, strings: strings.clone(), member })
    };
    (1..).zip(&object.symbols).filter_map(lead).collect()
}

/// Reads a block and looks it up; nothing if it cannot be read, which whoever applies the relocations will say.
fn read_and_look_up<R: Record>(lookups: &Lookups<'_>, index: usize) -> Box<[u32]> {
    let range = index * BLOCK..lookups.count.min((index + 1) * BLOCK);
    let runs = Runs::<R>::new(&lookups.object, lookups.section);
    let found = runs.and_then(|mut runs| Ok(look_up(lookups, runs.look(range)?)));
    found.unwrap_or_default()
}

fn look_up<R: Record>(lookups: &Lookups<'_>, records: &[R]) -> Box<[u32]> {
    let mut near = Near::default();
    let mut find = |record: &R| {
        let relocation = record.decode();
        let lead = lookups.leads.iter().find(|lead| lead.symbol == relocation.symbol)?;
        let offset = relocation.addend? as u64;
        lead.strings.approach(lead.member as usize, offset, &mut near);
        lead.strings.find(lead.member as usize, offset).map(|at| at as u32)
    };
    records.iter().map(|record| find(record).unwrap_or(NOWHERE)).collect()
}

/// Reads what is remembered for relocations that follow each other.
pub(crate) struct Remembered<'p, 'a> {
    lookups: &'p Lookups<'a>,
    /// The block that was asked for last.
    index: usize,
    block: &'p [u32],
}

impl<'p, 'a> Remembered<'p, 'a> {
    /// For relocations of which the first has the index `first`; they are looked up at once, if they are a block.
    pub(crate) fn new<R: Record>(lookups: &'p Lookups<'a>, first: usize, records: &[R]) -> Self {
        lookups.block_of(first, records);
        Remembered { lookups, index: usize::MAX, block: &[] }
    }

    /// Where a relocation against a section of merged strings leads, by its index.
    #[inline]
    pub(crate) fn get(&mut self, relocation: usize) -> Option<u64> {
        if relocation / BLOCK != self.index {
            self.index = relocation / BLOCK;
            self.block = self.lookups.block(self.index);
        }
        match self.block.get(relocation % BLOCK) {
            None | Some(&NOWHERE) => None,
            Some(&at) => Some(u64::from(at)),
        }
    }
}
