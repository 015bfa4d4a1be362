//! Deduplication by contents, unit by unit in any order.
//!
//! libbpf walks the graphs of structures side by side because it cannot know whether two structures of
//! one name are the same. In a kernel nearly every name has one definition, and then there is nothing
//! to find out: all that go by the name are one, whatever each unit knows of what they refer to. So each
//! type is looked up by its identity ([`crate::digest`]) in a pool of the types that were met
//! ([`crate::pool`]), and of a unit nothing is kept but what is new. What remains is a graph of some
//! hundred thousand types, in which forward declarations are replaced by what they declare and types
//! that became equal by that are put together ([`crate::finish`]).
//!
//! This gives libbpf's result as long as these hold, which is checked:
//! - A structure refers, over all units, to at most one definition of each name.
//! - All forward declarations of one name that meet a definition meet the same one.
//! - An enumeration that is declared only somewhere has one definition.
//! - What one unit has twice no unit has once, where libbpf would not take the two for one
//!   ([`crate::twins`]).
//!
//! Otherwise the types of all units are laid out and deduplicated as libbpf does it ([`crate::stream`]).
//!
//! Which of equal types is kept matters for the order of the output. It is the first by number, but for
//! types that only refer to others: libbpf decides on what a type refers to before the type itself, so
//! of two equal pointers in one unit the one that is reached first is kept. This is looked at only where
//! the unit that has a type first has it twice.
//!
//! Cost: two products a member, and one probe of a table in the second-level cache a type ([`Known`]); of
//! twenty types one is looked up in the pool. Memory: the pool, a unit and a megabyte a thread, and what is
//! kept of functions.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::addresses::NotRead;
use crate::cache::{Noted, Recording, Spot};
use crate::candidates::Linked;
use crate::cu::{Cu, Func, INDEX, LocalId, kind, kind_of, name_positions};
use crate::cursor::{Fault, Read};
use crate::digest::{Digest, is_leaf, is_named_composite, references};
use crate::known::Known;
use crate::pool::{Contents, Met, Offered, Place, Pool, PoolId, SHARDS, Said, parts, pool_id};
use crate::source::Window;
use crate::strings::FirstUse;
use crate::twins::{self, Apart, Twins, Witness};
use crate::unit::{Batch, Header, Queue};
use crate::units::{Found, Reader, Scratch, at_header};
use crate::{Encoded, Error};

mod rank;

/// Where in a unit's part of the stream things stand that are no types of its own, for the order of
/// their strings and of themselves.
pub(crate) mod section {
    pub const INT: u32 = 1 << 28;
    pub const TYPE_TAGS: u32 = 1 << 29;
    pub const FUNCTIONS: u32 = 1 << 30;
    pub const VARS: u32 = 1 << 31;
}

/// What is kept of a unit besides its types; types are [`PoolId`]s and 1, 0 being `void`.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub cu: Cu,
    /// Types of the unit.
    pub count: u32,
    pub witness: Witness,
    /// Where addresses of functions stand, if the unit was not read in this run.
    pub not_read: Option<NotRead>,
}

/// Why the result could differ from libbpf's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    TooDeep,
    Collision,
    Definitions,
    Enumerations,
    Twice,
    /// What one unit has twice another may have once.
    Twins,
    TooLarge,
    /// One string was met under two codes.
    Names,
    /// Units refer into one another.
    Across,
    /// A function's parameters are those of one of another name.
    Foreign,
    /// An address that was provisional has no final one.
    Address,
    /// What was remembered does not say enough.
    Remembered,
}

/// Why a unit could not be added.
enum Trouble {
    Doubt(Doubt),
    Fault(Fault),
}

/// What came of the fast way.
pub(crate) enum Outcome<'s> {
    Done(Encoded),
    InDoubt(Box<Reader<'s>>, Doubt),
}

/// All that units are added to. Any number of threads may [`Gathering::work`] at it, and more may come later.
pub(crate) struct Gathering<'s> {
    pub reader: Reader<'s>,
    pub pool: Pool,
    first_use: FirstUse,
    /// pahole 1.24: the first unit that has each function, by its index among the candidates.
    first_unit: Vec<AtomicU32>,
    /// The units that nobody has begun with.
    queue: Mutex<Queue<'s>>,
    /// For how many bytes of units a thread asks.
    batch: usize,
    done: Mutex<Vec<Done>>,
    failed: AtomicBool,
    pub hash_bits: u32,
    /// What is to be remembered, and what was.
    pub recording: Option<Recording>,
}

/// What came of a batch, whose first unit it is told by.
type Done = (usize, Vec<Result<Option<Kept>, Failed>>);

/// The memory of a thread.
#[derive(Default)]
struct Local {
    scratch: Scratch,
    cu: Cu,
    digest: Digest,
    twins: Twins,
    known: Known,
    /// Where units are put that have to be made.
    buffer: Vec<u8>,
    /// Types to look up, and the same by the pool's parts.
    list: Vec<LocalId>,
    sorted: Vec<LocalId>,
    /// By number: the pool's number.
    pooled: Vec<PoolId>,
    /// Types of which something is new.
    met: Vec<(LocalId, Met, Contents)>,
    /// Types that were noted for this unit before, with the number that they were noted with.
    again: Vec<(LocalId, LocalId)>,
    ranks: Vec<u32>,
    leaves: Vec<PoolId>,
    visited: Vec<u32>,
}

enum Failed {
    Doubt(Doubt),
    Error(Error),
}

impl<'s> Gathering<'s> {
    /// Nothing is read yet. Hashes have so many bits.
    pub fn new(reader: Reader<'s>, hash_bits: u32) -> Self {
        let (headers, batch) = reader.headers(rayon::current_num_threads());
        let functions = reader.candidates.functions();
        Gathering {
            reader,
            pool: Pool::new(hash_bits),
            first_use: FirstUse::new(),
            first_unit: (0..functions).map(|_| AtomicU32::new(u32::MAX)).collect(),
            queue: Mutex::new(Queue::All(headers)),
            batch,
            done: Mutex::default(),
            failed: AtomicBool::new(false),
            hash_bits,
            recording: None,
        }
    }

    /// Goes on with a pool, and reads these units only.
    pub fn resumed(self, pool: Pool, batches: Vec<Batch>) -> Self {
        Gathering { pool, queue: Mutex::new(Queue::Some(batches.into_iter())), ..self }
    }

    /// Remembers what the units are, to be told by [`Encoded::known`].
    pub fn recorded(mut self, recording: Recording) -> Self {
        if recording.resumed.is_none() {
            self.pool.take_notes();
        }
        self.recording = Some(recording);
        self
    }

    /// Reads units with all threads of the current pool, until none is left, one fails, or `stop` is set.
    ///
    /// Threads take the next batch of units each, so a thread sees units in increasing order, and what it
    /// has met in the pool it need not look up again ([`Known`]).
    pub fn work(&self, stop: &AtomicBool) {
        let Gathering { queue, batch, done, failed, .. } = self;
        let work = || {
            let mut local = Local::default();
            // All units before one that fails are done, or in work with another thread.
            while !failed.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                let batch = locked(queue).batch(*batch);
                let (first, kept) = match batch {
                    Ok(batch) if batch.headers.is_empty() => break,
                    Ok(batch) => (batch.first, self.batch(&batch, &mut local)),
                    Err(fault) => (usize::MAX, vec![Err(Failed::Error(at_header(fault)))]),
                };
                if kept.last().is_some_and(Result::is_err) {
                    failed.store(true, Ordering::Relaxed);
                }
                locked(done).push((first, kept));
            }
        };
        let threads = rayon::current_num_threads();
        rayon::scope(|scope| (0..threads).for_each(|_| scope.spawn(|_| work())));
    }

    /// Whether no unit is left to begin with.
    pub fn is_read(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || locked(&self.queue).is_empty()
    }

    /// Makes BTF of all units, or gives the reader back and says why it cannot be sure.
    pub fn finish(self, linked: &Linked<'_, '_>) -> Result<Outcome<'s>, Error> {
        self.work(&AtomicBool::new(false));
        let Gathering { reader, mut pool, first_use, done, mut recording, .. } = self;
        let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
        done.sort_unstable_by_key(|&(first, _)| first);
        let mut units = Vec::new();
        for kept in done.into_iter().flat_map(|(_, kept)| kept) {
            match kept {
                Ok(kept) => units.push(kept),
                Err(Failed::Doubt(doubt)) => return Ok(Outcome::InDoubt(Box::new(reader), doubt)),
                Err(Failed::Error(error)) => return Err(error),
            }
        }
        if let Some(recording) = &mut recording
            && !recording.put_together(&reader.strings, &mut pool, &first_use, &mut units)
        {
            return Ok(Outcome::InDoubt(Box::new(reader), Doubt::Remembered));
        }
        let witnesses = units.iter().flatten().map(|kept| &kept.witness);
        if pool.torn() || !twins::agree(witnesses) {
            return Ok(Outcome::InDoubt(Box::new(reader), Doubt::Twins));
        }
        if reader.strings.ambiguous() {
            return Ok(Outcome::InDoubt(Box::new(reader), Doubt::Names));
        }
        let known = recording.as_ref().map(|recording| recording.save(&reader, &pool, &units));
        match crate::finish::run(linked, &reader, (pool, first_use), units)? {
            Ok(mut encoded) => {
                (encoded.known, encoded.report.known) = known.unwrap_or_default();
                Ok(Outcome::Done(encoded))
            }
            Err(doubt) => Ok(Outcome::InDoubt(Box::new(reader), doubt)),
        }
    }

    /// Reads units up to the first that fails.
    fn batch(&self, batch: &Batch, local: &mut Local) -> Vec<Result<Option<Kept>, Failed>> {
        let mut buffer = std::mem::take(&mut local.buffer);
        let window = match self.reader.window(&batch.headers, &mut buffer) {
            Ok(window) => window,
            Err(error) => return vec![Err(Failed::Error(error))],
        };
        let mut all = Vec::with_capacity(batch.headers.len());
        for (unit, &header) in (batch.first..).zip(&batch.headers) {
            all.push(self.one(unit as u32, header, window, local));
            if all.last().is_some_and(Result::is_err) {
                break;
            }
        }
        local.buffer = buffer;
        all
    }

    fn one(
        &self,
        unit: u32,
        header: Header,
        window: Window<'_>,
        local: &mut Local,
    ) -> Result<Option<Kept>, Failed> {
        let read = self.reader.read(header, window, &mut local.scratch, &mut local.cu);
        match read.map_err(Failed::Error)? {
            Found::Unit => {}
            Found::LeftOut => return Ok(None),
            Found::Across => return Err(Failed::Doubt(Doubt::Across)),
        }
        if local.cu.foreign {
            return Err(Failed::Doubt(Doubt::Foreign));
        }
        self.add(unit, local).map(Some).map_err(|trouble| match trouble {
            Trouble::Doubt(doubt) => Failed::Doubt(doubt),
            Trouble::Fault(fault) => {
                Failed::Error(Error::in_unit(header.start, window.fault(fault)))
            }
        })
    }

    fn add(&self, unit: u32, local: &mut Local) -> Result<Kept, Trouble> {
        let Local { cu, digest, twins, known, list, pooled, .. } = local;
        let count = cu.starts.len() as u32;
        if count >= section::INT || cu.words.len() >= section::INT as usize {
            return Err(Trouble::Doubt(Doubt::TooLarge));
        }
        digest.make(cu).map_err(|_| Trouble::Doubt(Doubt::TooDeep))?;
        local.ranks.clear();
        list.clear();
        pooled.clear();
        pooled.resize(count as usize + 1, 0);
        known.begin(count);
        let meet = |key: u64, id: LocalId| match known.meet(key, id) {
            Some((at, first)) => {
                pooled[id as usize] = at;
                Some(first)
            }
            None => {
                list.push(id);
                None
            }
        };
        twins
            .find(cu, digest, &self.reader.rules.dedup, meet)
            .map_err(|_| Trouble::Doubt(Doubt::Twins))?;
        for &id in digest.composites() {
            match known.get(digest.full(id)) {
                Some(at) => pooled[id as usize] = at,
                None => list.push(id),
            }
        }
        for id in digest.unnamed_patterns() {
            // Known without its pattern only.
            let [plain, full] = [digest.identity(id), digest.full(id)].map(|key| known.get(key));
            if plain.is_some() && full.is_none() {
                list.push(id);
            }
        }
        self.look_up(unit, local)?;
        if self.pool.collided() {
            return Err(Trouble::Doubt(Doubt::Collision));
        }
        Ok(self.keep(unit, local))
    }

    /// Looks up the types of [`Local::list`], those of one part of the pool together.
    fn look_up(&self, unit: u32, local: &mut Local) -> Result<(), Trouble> {
        let shard_of =
            |digest: &Digest, id: LocalId| Pool::shard_of(digest.identity(id) & self.pool.mask());
        let mut counts = [0u32; SHARDS + 1];
        for &id in &local.list {
            counts[shard_of(&local.digest, id) + 1] += 1;
        }
        for at in 0..SHARDS {
            counts[at + 1] += counts[at];
        }
        let mut sorted = std::mem::take(&mut local.sorted);
        sorted.clear();
        sorted.resize(local.list.len(), 0);
        let mut next = counts;
        for &id in &local.list {
            let slot = &mut next[shard_of(&local.digest, id)];
            sorted[*slot as usize] = id;
            *slot += 1;
        }
        // Threads begin at different parts, not to wait for each other.
        for step in 0..SHARDS {
            let shard = (step + unit as usize * 7) % SHARDS;
            let ids = &sorted[counts[shard] as usize..counts[shard + 1] as usize];
            if !ids.is_empty() {
                self.look_up_in(unit, shard, ids, local);
            }
        }
        local.sorted = sorted;
        let mut met = std::mem::take(&mut local.met);
        for (id, found, contents) in met.drain(..) {
            self.learn(unit, id, found, contents, local)?;
        }
        local.met = met;
        let mut again = std::mem::take(&mut local.again);
        for (id, first) in again.drain(..) {
            if self.comes_before(id, first, local) {
                let (shard, at) = parts(local.pooled[id as usize]);
                self.pool.lock(shard).renumber_note(at, unit, id);
            }
        }
        local.again = again;
        Ok(())
    }

    /// Looks up types in one part of the pool; what is not simply known is listed in [`Local::met`].
    fn look_up_in(&self, unit: u32, shard: usize, ids: &[LocalId], local: &mut Local) {
        let Local { cu, digest, met, again, known, pooled, .. } = local;
        let mask = self.pool.mask();
        let mut part = self.pool.lock(shard);
        for &id in ids {
            let offered = Offered {
                key: digest.identity(id) & mask,
                record: cu.record(id),
                contents: digest.contents(id),
                pattern: digest.pattern(id),
                place: Place::new(unit, id),
                references: references(cu.record(id)).count(),
            };
            let (at, found, contents) = part.add(&offered, &self.pool.doubts);
            let spot = Spot { unit, local: id, start: cu.starts[id as usize - 1] };
            let noted = part.note(at, offered.contents, spot);
            if let Noted::Again(first) = noted {
                again.push((id, first));
            }
            let at = pool_id(at, shard);
            pooled[id as usize] = at;
            let nothing_new = found == Met::Later && contents == Contents::Known;
            if nothing_new && noted == Noted::Behind {
                known.set(digest.full(id), at);
            } else {
                met.push((id, found, contents));
            }
        }
    }

    /// Takes note of a type that is new in some way.
    fn learn(
        &self,
        unit: u32,
        id: LocalId,
        met: Met,
        contents: Contents,
        local: &mut Local,
    ) -> Result<(), Trouble> {
        if matches!(met, Met::New | Met::Earlier) {
            let start = local.cu.starts[id as usize - 1];
            self.note_names(unit, start, local.cu.record(id)).map_err(Trouble::Fault)?;
        }
        if met == Met::New {
            let (shard, at) = parts(local.pooled[id as usize]);
            let pooled = |target: LocalId| match local.pooled.get(target as usize) {
                Some(_) if target == 0 => 0,
                Some(at) => at + 1,
                None => INDEX,
            };
            let children = references(local.cu.record(id)).map(pooled);
            self.pool.lock(shard).refer(at as u32, children);
        }
        if contents == Contents::New {
            self.link(id, local);
        }
        if let Met::Twice(other) = met {
            self.twice(unit, other, id, local);
        }
        Ok(())
    }

    fn note_names(&self, unit: u32, start: u32, record: &[u32]) -> Read<()> {
        for offset in name_positions(record) {
            if record[offset] != 0 {
                let name = self.reader.strings.of_type_code(record[offset])?;
                self.first_use.note(name, u64::from(unit) << 32 | u64::from(start + offset as u32));
            }
        }
        Ok(())
    }

    /// Notes which structures and forward declarations a structure refers to.
    fn link(&self, id: LocalId, local: &mut Local) {
        let Local { cu, digest, pooled, leaves, visited, .. } = local;
        let record = cu.record(id);
        let named = is_named_composite(record);
        let root = match kind_of(record[1]) {
            kind::STRUCT | kind::UNION if named => digest.identity(id),
            kind::STRUCT | kind::UNION => digest.outline(id),
            kind::TYPEDEF if self.reader.rules.dedup.typedefs_by_graph => digest.outline(id),
            _ => return,
        };
        leaves.clear();
        visited.clear();
        visited.extend(references(record));
        while let Some(target) = visited.pop() {
            if target == 0 || target == INDEX {
                continue;
            }
            let record = cu.record(target);
            if is_leaf(record) {
                leaves.push(pooled[target as usize]);
            } else {
                visited.extend(references(record));
            }
        }
        leaves.sort_unstable();
        leaves.dedup();
        let of = pooled[id as usize];
        let said = Said { of, contents: digest.contents(id), from: root };
        self.pool.link(said, named, leaves);
    }

    /// A unit has a type twice, under `first` and under `second`: the one that libbpf would reach first
    /// is to be kept.
    fn twice(&self, unit: u32, first: LocalId, second: LocalId, local: &mut Local) {
        if self.comes_before(second, first, local) {
            let key = local.digest.identity(second) & self.pool.mask();
            self.pool.replace(key, Place::new(unit, second));
        }
    }

    /// Whether libbpf would reach the second of two equal types of a unit before the first.
    fn comes_before(&self, second: LocalId, first: LocalId, local: &mut Local) -> bool {
        let by_graph = self.reader.rules.dedup.typedefs_by_graph;
        if !is_reference(kind_of(local.cu.record(second)[1]), by_graph) {
            return false;
        }
        if local.ranks.is_empty() {
            rank::rank(&local.cu, by_graph, &mut local.ranks);
        }
        local.ranks[second as usize] < local.ranks[first as usize]
    }

    /// What is kept of the unit: functions and variables, with the pool's numbers.
    fn keep(&self, unit: u32, local: &mut Local) -> Kept {
        let Local { cu, pooled, twins, .. } = local;
        let of = |id: LocalId| match id {
            0 => 0,
            id => pooled[id as usize] + 1,
        };
        let mut kept = Kept { count: cu.starts.len() as u32, ..Kept::default() };
        if !self.reader.rules.dedup.compare_in_depth {
            kept.witness.structures = (1..=kept.count)
                .filter(|&id| twins::is_composite(cu.record(id)))
                .map(|id| pooled[id as usize])
                .collect();
            let pooled = |id: LocalId| pooled[id as usize];
            kept.witness.apart.extend(twins.apart.iter().map(|apart| Apart {
                roots: (pooled(apart.roots.0), pooled(apart.roots.1)),
                ..*apart
            }));
        }
        let out = &mut kept.cu;
        out.int = of(cu.int);
        out.has_array = cu.has_array;
        out.name = cu.name;
        out.misplaced = std::mem::take(&mut cu.misplaced);
        out.no_symbol = std::mem::take(&mut cu.no_symbol);
        for tag in &cu.type_tags {
            out.type_tags.push(crate::cu::DeclTag { ty: of(tag.ty), ..*tag });
        }
        for func in cu.funcs.iter().filter(|func| self.is_first(unit, func)) {
            let params = &cu.params[func.params.0 as usize..func.params.1 as usize];
            let tags = &cu.func_tags[func.tags.0 as usize..func.tags.1 as usize];
            let first = out.params.len() as u32;
            let tag = out.func_tags.len() as u32;
            for param in params.iter().filter(|param| !param.dropped) {
                out.params.push(crate::cu::Param { ty: of(param.ty), ..*param });
            }
            out.func_tags.extend(tags);
            out.funcs.push(Func {
                ret: of(func.ret),
                params: (first, out.params.len() as u32),
                tags: (tag, out.func_tags.len() as u32),
                ..func.clone()
            });
        }
        for var in &cu.vars {
            let first = out.var_tags.len() as u32;
            out.var_tags.extend(cu.tags_of_var(var));
            let tags = (first, out.var_tags.len() as u32);
            out.vars.push(crate::cu::Var { ty: of(var.ty), tags, ..var.clone() });
        }
        kept
    }

    /// pahole 1.24 writes the first description of a function; later ones need not be kept.
    fn is_first(&self, unit: u32, func: &Func) -> bool {
        if self.reader.rules.save_functions || self.recording.is_some() {
            return true;
        }
        let Some(index) = self.reader.candidates.function(func.name) else { return true };
        self.first_unit[index as usize].fetch_min(unit, Ordering::Relaxed) >= unit
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Whether libbpf decides on a type of this kind only when it knows what the type refers to.
pub(crate) fn is_reference(kind: u32, typedefs_by_graph: bool) -> bool {
    match kind {
        kind::TYPEDEF => !typedefs_by_graph,
        kind::PTR
        | kind::ARRAY
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC_PROTO
        | kind::TYPE_TAG
        | kind::DECL_TAG
        | kind::FUNC => true,
        _ => false,
    }
}
