//! A run that remembers, and may begin with what was remembered.

use rayon::prelude::*;

use super::file::hash;
use super::key::{self, Key};
use super::load::{Saved, load};
use super::noted::NONE;
use super::resume::{MAX_AGE, Matching, Resumed, match_units};
use super::save::{State, save};
use super::to_remember::{Missing, ToRemember};
use crate::addresses::NotRead;
use crate::cu::{Cu, name_positions};
use crate::merge::Kept;
use crate::options::Rules;
use crate::pool::{Pool, PoolId, Renumbered};
use crate::source::Info;
use crate::strings::{FirstUse, Mark, Strings};
use crate::unit::{Batch, Header, Headers};
use crate::units::Reader;
use crate::{Expected, Remembered};

/// What is remembered while units are read.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    tie: u128,
    /// By unit; none if nobody has asked for them.
    keys: Vec<Key>,
    /// What was remembered, until all that is new has been read.
    pub resumed: Option<Resumed>,
    units_known: usize,
    /// The strings that were known when all units had been read, and not those of the image.
    pub met: Option<Mark>,
    wanted: Vec<PoolId>,
    age: u32,
}

/// What a run begins with.
pub(crate) enum Begun<'k> {
    /// All units are to be read.
    New(Recording),
    /// Some of them.
    Resumed {
        saved: Box<Saved<'k>>,
        matching: Matching,
        keys: Vec<Key>,
        headers: Vec<Header>,
        tie: u128,
    },
}

/// What the state depends on besides the units.
fn tie(by: u128, expected: &Expected<'_>, rules: &Rules) -> u128 {
    let Expected { endian, machine, lto, .. } = expected;
    hash(format!("{by:x} {endian:?} {machine} {lto:?} {rules:?}").as_bytes())
}

/// Looks at what was remembered, and at the units that there are.
pub(crate) fn begin<'k>(
    remembered: &Remembered<'k>,
    expected: &Expected<'_>,
    rules: &Rules,
    (info, abbrev, big): (Info<'_>, &[u8], bool),
) -> Begun<'k> {
    let tie = tie(remembered.by, expected, rules);
    let recording = Recording { tie, ..Recording::default() };
    let Some(saved) = load(remembered.bytes, tie).filter(|saved| saved.age < MAX_AGE) else {
        return Begun::New(recording);
    };
    // What is wrong with a header is said when it is read.
    let Ok(Batch { headers, .. }) = Headers::new(info, big).batch(usize::MAX) else {
        return Begun::New(recording);
    };
    if headers.last().is_none_or(|last| last.end != info.len()) {
        return Begun::New(recording);
    }
    let keys = key::keys(info, abbrev, &headers, rules.check_locations);
    let matching = match_units(&saved.keys, &keys);
    if matching.unknown() > headers.len() / 2 {
        return Begun::New(Recording { keys, ..recording });
    }
    Begun::Resumed { saved: Box::new(saved), matching, keys, headers, tie }
}

impl Recording {
    /// Goes on with what was saved, whose strings the reader has. Gives the pool and the units to be read; `None` if it
    /// does not fit what is expected now.
    pub fn resume(
        saved: Saved<'_>,
        matching: &Matching,
        (keys, headers, tie): (Vec<Key>, &[Header], u128),
        reader: &Reader<'_>,
    ) -> Option<(Self, Pool, Vec<Batch>)> {
        // A name that units know is looked for that was not looked for when they were read.
        let known = |name: &u32| saved.candidates.binary_search(name).is_ok();
        let new = |name: &u32| saved.strings.has(*name) && !known(name);
        if reader.candidates.names().iter().any(new) {
            return None;
        }
        let (mut resumed, shards) = Resumed::new(saved, matching, keys);
        let units = resumed.units.par_iter_mut().zip(headers);
        units
            .filter_map(|(kept, header)| Some((kept.as_mut()?, header)))
            .map(|(kept, header)| {
                let not_read = NotRead { start: header.start, size: header.sizes.address };
                kept.not_read = Some(not_read);
                variables_again(&mut kept.cu, reader, not_read)
            })
            .collect::<Option<()>>()?;
        let unknown = (0..).zip(headers).zip(&matching.old).filter(|&(_, &old)| old == NONE);
        let batches = unknown.map(|((first, &header), _)| Batch { first, headers: vec![header] });
        let units_known = resumed.units.iter().flatten().count();
        let recording =
            Recording { tie, resumed: Some(resumed), units_known, ..Recording::default() };
        Some((recording, Pool::resume(shards), batches.collect()))
    }

    /// Of a run that reads all units.
    pub fn new(tie: u128) -> Self {
        Recording { tie, ..Recording::default() }
    }

    /// Of the same run, if it reads all units once more. What strings they have is known if all were read before;
    /// otherwise nothing can be remembered.
    pub fn anew(&self) -> Self {
        let met = self.met.clone().filter(|_| self.resumed.is_none());
        Recording { met, ..Recording::new(self.tie) }
    }

    /// Puts what was remembered together with what was read. `units` are those that were read, and become all. `false`
    /// if something is not certain.
    pub fn put_together(
        &mut self,
        strings: &Strings<'_>,
        pool: &mut Pool,
        first_use: &FirstUse,
        units: &mut Vec<Option<Kept>>,
    ) -> bool {
        let Some(resumed) = self.resumed.take() else { return true };
        self.join(resumed, strings, pool, first_use, units).is_some()
    }

    fn join(
        &mut self,
        resumed: Resumed,
        strings: &Strings<'_>,
        pool: &mut Pool,
        first_use: &FirstUse,
        units: &mut Vec<Option<Kept>>,
    ) -> Option<()> {
        let Resumed { units: known, is_known, keys, mut wanted, age } = resumed;
        let apart = units.iter().flatten().flat_map(|kept| &kept.witness.apart);
        wanted.sort_unstable();
        let asked = |id: PoolId| wanted.binary_search(&id).is_ok();
        if !apart.clone().all(|apart| asked(apart.roots.0) && asked(apart.roots.1)) {
            return None;
        }
        let mut read = std::mem::take(units).into_iter();
        for (kept, known) in known.into_iter().zip(is_known) {
            units.push(if known { kept } else { read.next()? });
        }
        let new = pool.settle()?;
        self.wanted = wanted.into_iter().filter_map(|id| new.of(id)).collect();
        (self.keys, self.age) = (keys, age);
        units.par_iter_mut().flatten().map(|kept| renumber(kept, &new)).collect::<Option<()>>()?;
        pool.for_first(|spot, record| {
            for at in name_positions(record).filter(|&at| record[at] != 0) {
                let name = strings.of_code(record[at]).ok()?;
                let place = spot.start.wrapping_add(at as u32);
                first_use.note(name, u64::from(spot.unit) << 32 | u64::from(place));
            }
            Some(())
        })
    }

    /// What a later run can begin with, if anything, and how many units were not read.
    pub fn save(
        &self,
        reader: &Reader<'_>,
        pool: &Pool,
        units: &[Option<Kept>],
    ) -> (Option<ToRemember>, usize) {
        (self.state(reader, pool, units), self.units_known)
    }

    fn state(
        &self,
        reader: &Reader<'_>,
        pool: &Pool,
        units: &[Option<Kept>],
    ) -> Option<ToRemember> {
        let met = self.met.as_ref()?;
        let wanted = |kept: &Option<Kept>| {
            kept.as_ref().is_none_or(|kept| has_addresses(&kept.cu, &reader.rules))
        };
        let wanted: Vec<bool> = units.iter().map(wanted).collect();
        let mut keys = self.keys.clone();
        keys.resize(units.len(), 0);
        for (key, _) in keys.iter_mut().zip(&wanted).filter(|&(_, &wanted)| !wanted) {
            *key = 0;
        }
        let (file, at) = save(&State {
            strings: &reader.strings,
            met,
            pool,
            units,
            keys: &keys,
            candidates: reader.candidates.names(),
            wanted: self.wanted.clone(),
            age: self.age,
            tie: self.tie,
        })?;
        let (big, lists) = (reader.sections.big, reader.rules.check_locations);
        let missing = self.keys.is_empty().then_some(Missing { at, wanted, big, lists });
        Some(ToRemember::new(file, missing))
    }
}

/// Whether all addresses of the unit can be read again.
fn has_addresses(cu: &Cu, rules: &Rules) -> bool {
    let functions = !rules.save_functions
        || cu.funcs.iter().all(|func| func.low_pc == 0 || func.low_pc_at != 0);
    functions && cu.vars.iter().all(|var| var.address_at != 0)
}

/// Reads the addresses of a unit's variables again; those of functions are read when they are asked for.
fn variables_again(cu: &mut Cu, reader: &Reader<'_>, unit: NotRead) -> Option<()> {
    for var in &mut cu.vars {
        let address = reader.address(unit, var.address_at)?;
        var.address = address.wrapping_add(var.displacement);
    }
    Some(())
}

/// Gives what is kept of a unit the new numbers of types.
fn renumber(kept: &mut Kept, new: &Renumbered) -> Option<()> {
    let Cu { int, type_tags, funcs, params, vars, .. } = &mut kept.cu;
    let own = type_tags.iter_mut().map(|tag| &mut tag.ty);
    let own = own.chain(funcs.iter_mut().map(|func| &mut func.ret));
    let own = own.chain(params.iter_mut().map(|param| &mut param.ty));
    let own = own.chain(vars.iter_mut().map(|var| &mut var.ty)).chain([int]);
    for child in own {
        *child = new.child(*child)?;
    }
    let witness = &mut kept.witness;
    let roots = witness.apart.iter_mut().flat_map(|apart| [&mut apart.roots.0, &mut apart.roots.1]);
    for id in witness.structures.iter_mut().chain(roots) {
        *id = new.of(*id)?;
    }
    Some(())
}
