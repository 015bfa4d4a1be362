//! The work in two phases: units are read before there is an image, and the image decides at the end.
//!
//! Reading units takes nine tenths of the time, and nothing of it depends on where the linker puts anything. So it can
//! be done while the linker is at work, from debug information with provisional addresses ([`Expected`]). What is kept
//! of the units then are types, and all functions and variables that may be written; [`Reading::finish`] asks the
//! image which are, and where they are.
//!
//! The result is that of one go ([`crate::encode_from`]), or there is none, and one go has to follow: if units refer
//! into one another, if libbpf's own way of deduplication has to be gone, if an error is to be told, or if something
//! was expected wrongly.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use image::Elf;

use crate::cache::{self, Begun, Recording};
use crate::candidates::{Address, Expected, FinalAddresses, Linked};
use crate::merge::{Doubt, Gathering, Outcome};
use crate::options::{Options, Rules};
use crate::sections::Dwarf;
use crate::source::DebugSource;
use crate::strings::{Arena, SavedStrings};
use crate::symbols::Symbols;
use crate::units::{Reader, lto_note};
use crate::{Encoded, Error};

/// What a [`Reading`] borrows from.
#[derive(Default)]
pub struct Memory<'d> {
    dwarf: OnceLock<Dwarf<'d>>,
    arena: Arena,
}

/// What an earlier run has left ([`Encoded::known`]).
#[derive(Debug, Clone, Copy, Default)]
pub struct Remembered<'k> {
    /// Tells this build of the program: what another has left is not understood.
    pub by: u128,
    /// The bytes, at an address that is a multiple of 8; any bytes do no harm, and none are nothing.
    pub bytes: &'k [u8],
}

/// Units that are being read, before there is an image.
pub struct Reading<'m> {
    gathering: Gathering<'m>,
    endian: image::Endianness,
    machine: u16,
}

impl<'m> Reading<'m> {
    /// Begins with the units of `source`, whose addresses are provisional; nothing is read yet. `None` if they have to
    /// be read in one go.
    ///
    /// `memory` must be a new one.
    ///
    /// # Errors
    /// No debug information, or sections that cannot be had.
    pub fn begin<'d: 'm>(
        memory: &'m Memory<'d>,
        source: &'d dyn DebugSource,
        expected: &Expected<'m>,
        options: &Options<'_>,
    ) -> Result<Option<Self>, Error> {
        Self::resume(memory, source, expected, options, None)
    }

    /// The same with what is `remembered`: units that have not changed since then are not read. What can be remembered
    /// of this run is told at the end ([`Encoded::known`]). The result is that of [`Reading::begin`].
    ///
    /// # Errors
    /// As those of [`Reading::begin`].
    pub fn resume<'d: 'm>(
        memory: &'m Memory<'d>,
        source: &'d dyn DebugSource,
        expected: &Expected<'m>,
        options: &Options<'_>,
        remembered: Option<Remembered<'m>>,
    ) -> Result<Option<Self>, Error> {
        let rules = Rules::new(options);
        let wanted = is_split(options) && !options.explain && expected.lto != Some(true);
        if !wanted || memory.dwarf.get().is_some() {
            return Ok(None);
        }
        let dwarf = Dwarf::of_source(expected.endian, source, &rules)?;
        let dwarf = memory.dwarf.get_or_init(|| dwarf);
        let sections = dwarf.sections();
        let what = (dwarf.info(), sections.abbrev, sections.big);
        // Hashes that were cut are of no use.
        let remembered = remembered.filter(|_| options.hash_bits == u64::BITS);
        let begun = remembered.map(|known| cache::begin(&known, expected, &rules, what));
        let before = |saved: Option<&SavedStrings<'m>>| {
            Reader::before(expected, dwarf, &memory.arena, rules.clone(), saved)
        };
        let gathering = match begun {
            Some(Begun::Resumed { saved, matching, keys, headers, tie }) => {
                let anew = Recording::new(tie);
                let reader = before(Some(&saved.strings));
                let resumed = reader.and_then(|reader| {
                    let known = (keys, &headers[..], tie);
                    let (recording, pool, batches) =
                        Recording::resume(*saved, &matching, known, &reader)?;
                    let gathering = Gathering::new(reader, options.hash_bits);
                    Some(gathering.resumed(pool, batches).recorded(recording))
                });
                let all = || {
                    let reader = before(None)?;
                    Some(Gathering::new(reader, options.hash_bits).recorded(anew))
                };
                resumed.or_else(all)
            }
            Some(Begun::New(recording)) => before(None)
                .map(|reader| Gathering::new(reader, options.hash_bits).recorded(recording)),
            None => before(None).map(|reader| Gathering::new(reader, options.hash_bits)),
        };
        let candidates = |gathering: &Gathering<'_>| gathering.reader.candidates.functions();
        let Some(gathering) = gathering.filter(|gathering| candidates(gathering) != 0) else {
            return Ok(None);
        };
        let (endian, machine) = (expected.endian, expected.machine);
        Ok(Some(Reading { gathering, endian, machine }))
    }

    /// Reads units with all threads of the current rayon pool, until all are read or `stop` is set. It may be called
    /// again, by other threads, also at the same time.
    pub fn work(&self, stop: &AtomicBool) {
        self.gathering.work(stop);
    }

    /// Whether no unit is left to begin with.
    pub fn is_read(&self) -> bool {
        self.gathering.is_read()
    }

    /// Reads what is left and makes BTF for the image `elf`, in which addresses are as `address` says; on the current
    /// rayon pool. `None` if it has to be made in one go.
    pub fn finish(self, elf: &Elf<'_>, address: &Address<'_>) -> Option<Encoded> {
        let Reading { mut gathering, endian, machine } = self;
        if (elf.endian(), elf.header().machine) != (endian, machine) {
            return None;
        }
        match lto_note(elf) {
            Some(true) => return None,
            None if !gathering.reader.may_refer_across => return None,
            _ => {}
        }
        // What units have met is known by its name: all of them are to be read before symbols add theirs.
        gathering.work(&AtomicBool::new(false));
        let Reader { strings, rules, candidates, .. } = &gathering.reader;
        let met = strings.mark();
        let names = (strings, |name: &_| strings.intern_copy(name));
        let symbols = Symbols::load(elf, names, rules).ok()?;
        let unexpected = |name| candidates.function(name).is_none() && met.has(name);
        let mut functions = symbols.functions.iter();
        if symbols.functions.is_empty() || functions.any(|function| unexpected(function.name)) {
            return None;
        }
        if let Some(recording) = &mut gathering.recording {
            recording.met = Some(met);
        }
        let linked = Linked { elf, symbols, addresses: FinalAddresses::new(address) };
        match finish(gathering, &linked) {
            Ok(Outcome::Done(encoded)) => Some(encoded),
            Ok(Outcome::InDoubt(..)) | Err(_) => None,
        }
    }
}

/// Whether units are added one by one.
pub(crate) fn is_split(options: &Options<'_>) -> bool {
    !options.exact_dedup && options.base.is_none()
}

/// Makes BTF of the units, which are read once more if one string was met under two codes.
pub(crate) fn finish<'s>(
    mut gathering: Gathering<'s>,
    linked: &Linked<'_, '_>,
) -> Result<Outcome<'s>, Error> {
    loop {
        let hash_bits = gathering.hash_bits;
        let recording = gathering.recording.as_ref().map(Recording::anew);
        let reader = match gathering.finish(linked)? {
            Outcome::InDoubt(reader, Doubt::Names) => {
                reader.strings.forget_codes();
                reader
            }
            Outcome::InDoubt(reader, Doubt::Remembered) => {
                reader.strings.forget_resumed();
                reader
            }
            outcome => return Ok(outcome),
        };
        gathering = Gathering::new(*reader, hash_bits);
        if let Some(recording) = recording {
            gathering = gathering.recorded(recording);
        }
    }
}
