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
//! - Types that a unit has twice do not stand for one that others have once.
//!
//! Otherwise the types of all units are laid out and deduplicated as libbpf does it ([`crate::stream`]).
//!
//! Which of equal types is kept matters for the order of the output. It is the first by number, but for
//! types that only refer to others: libbpf decides on what a type refers to before the type itself, so
//! of two equal pointers in one unit the one that is reached first is kept. This is looked at only where
//! the unit that has a type first has it twice.
//!
//! Cost: two products a member and level for the hashes, one lookup a type. Memory: the pool.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use crate::cu::{Cu, Func, INDEX, LocalId, kind, kind_of};
use crate::digest::{Digest, each_reference, is_leaf, is_named_composite};
use crate::pool::{Met, Place, Pool, PoolId};
use crate::strings::FirstUse;
use crate::units::{Reader, Scratch};
use crate::{Encoded, Error, Options};

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
}

/// Why the result could differ from libbpf's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    TooDeep,
    Collision,
    Definitions,
    Enumerations,
    Twice,
    TooLarge,
}

/// What came of the fast way.
pub(crate) enum Outcome {
    Done(Encoded),
    InDoubt(Doubt),
}

/// All that units are added to.
pub(crate) struct Gathering<'r, 's> {
    pub reader: &'r Reader<'s>,
    pub pool: Pool,
    pub first_use: FirstUse,
    /// pahole 1.24: the first unit that has each function.
    first_unit: Vec<AtomicU32>,
}

/// The memory of a thread.
#[derive(Default)]
struct Local {
    scratch: Scratch,
    cu: Cu,
    digest: Digest,
    ids: Vec<PoolId>,
    /// By pool number: the unit and 1 that last had the type.
    stamps: Vec<u32>,
    ranks: Vec<u32>,
    leaves: Vec<u64>,
    visited: Vec<u32>,
}

/// Makes BTF, or says why it cannot be sure.
pub(crate) fn encode(
    elf: &image::Elf<'_>,
    reader: &Reader<'_>,
    options: &Options<'_>,
) -> Result<Outcome, Error> {
    if reader.merged {
        return Ok(Outcome::InDoubt(Doubt::TooLarge));
    }
    let functions = reader.symbols.functions.len();
    let gathering = Gathering {
        reader,
        pool: Pool::new(options.hash_bits),
        first_use: FirstUse::new(),
        first_unit: (0..functions).map(|_| AtomicU32::new(u32::MAX)).collect(),
    };
    let kept: Vec<Result<Result<Option<Kept>, Doubt>, Error>> = reader
        .headers
        .par_iter()
        .enumerate()
        .map_init(Local::default, |local, (unit, &header)| {
            if !reader.read(header, &mut local.scratch, &mut local.cu)? {
                return Ok(Ok(None));
            }
            Ok(gathering.add(unit as u32, local).map(Some))
        })
        .collect();
    let mut units = Vec::with_capacity(kept.len());
    for kept in kept {
        match kept? {
            Ok(kept) => units.push(kept),
            Err(doubt) => return Ok(Outcome::InDoubt(doubt)),
        }
    }
    crate::finish::run(elf, gathering, units, options)
}

impl Gathering<'_, '_> {
    fn add(&self, unit: u32, local: &mut Local) -> Result<Kept, Doubt> {
        let Local { cu, digest, ids, .. } = local;
        let count = cu.starts.len() as u32;
        if count >= section::INT || cu.words.len() >= section::INT as usize {
            return Err(Doubt::TooLarge);
        }
        digest.make(cu).map_err(|_| Doubt::TooDeep)?;
        ids.clear();
        ids.push(0);
        local.ranks.clear();
        for id in 1..=count {
            self.add_type(unit, id, local);
        }
        if self.pool.collided() {
            return Err(Doubt::Collision);
        }
        Ok(self.keep(unit, local))
    }

    fn add_type(&self, unit: u32, id: LocalId, local: &mut Local) {
        let Local { cu, digest, .. } = &mut *local;
        let record = cu.record(id);
        let place = Place::new(unit, id);
        let named = is_named_composite(record);
        let contents = if named { digest.contents(id) } else { 0 };
        let (node, met) = self.pool.add(digest.identity(id), record, contents, place, |out| {
            each_reference(record, |target| out.push(digest.identity(target)));
        });
        if matches!(met, Met::New | Met::Earlier) {
            self.note_names(unit, cu.starts[id as usize - 1], record);
        }
        if met == Met::New || named && self.pool.new_contents(node, contents) {
            self.link(id, local);
        }
        if let Met::Twice(other) = met {
            self.twice(unit, node, other, id, local);
        }
        local.ids.push(node);
    }

    fn note_names(&self, unit: u32, start: u32, record: &[u32]) {
        let at = |offset: usize| u64::from(unit) << 32 | u64::from(start + offset as u32);
        let mut note = |offset: usize| {
            if record[offset] != 0 {
                self.first_use.note(record[offset], at(offset));
            }
        };
        note(0);
        let step = match kind_of(record[1]) {
            kind::STRUCT | kind::UNION | kind::ENUM64 => 3,
            kind::ENUM | kind::FUNC_PROTO => 2,
            _ => return,
        };
        (3..record.len()).step_by(step).for_each(note);
    }

    /// Notes which structures and forward declarations a structure refers to.
    fn link(&self, id: LocalId, local: &mut Local) {
        let Local { cu, digest, leaves, visited, .. } = local;
        let record = cu.record(id);
        let root = match kind_of(record[1]) {
            kind::STRUCT | kind::UNION if is_named_composite(record) => digest.identity(id),
            kind::STRUCT | kind::UNION => digest.outline(id),
            kind::TYPEDEF if self.reader.rules.dedup.typedefs_by_graph => digest.outline(id),
            _ => return,
        };
        leaves.clear();
        visited.clear();
        each_reference(record, |target| visited.push(target));
        while let Some(target) = visited.pop() {
            if target == 0 || target == INDEX {
                continue;
            }
            let record = cu.record(target);
            if is_leaf(record) {
                leaves.push(digest.identity(target) & self.pool.mask());
            } else {
                each_reference(record, |target| visited.push(target));
            }
        }
        leaves.sort_unstable();
        leaves.dedup();
        self.pool.link(root, leaves);
    }

    /// A unit has a type twice, under `first` and under `second`: the one that libbpf would reach first
    /// is to be kept.
    fn twice(&self, unit: u32, node: PoolId, first: LocalId, second: LocalId, local: &mut Local) {
        let by_graph = self.reader.rules.dedup.typedefs_by_graph;
        if !is_reference(kind_of(local.cu.record(second)[1]), by_graph) {
            return;
        }
        if local.ranks.is_empty() {
            rank(&local.cu, by_graph, &mut local.ranks);
        }
        if local.ranks[second as usize] < local.ranks[first as usize] {
            self.pool.replace(node, Place::new(unit, second));
        }
    }

    /// What is kept of the unit: functions and variables, with the pool's numbers.
    fn keep(&self, unit: u32, local: &mut Local) -> Kept {
        let Local { cu, ids, .. } = local;
        let of = |id: LocalId| if id == 0 { 0 } else { ids[id as usize] + 1 };
        let mut kept = Kept { count: cu.starts.len() as u32, ..Kept::default() };
        let out = &mut kept.cu;
        out.int = of(cu.int);
        out.has_array = cu.has_array;
        let mut at = 0;
        let mut note = |name: u32, section: u32| {
            self.first_use.note(name, u64::from(unit) << 32 | u64::from(section + at));
            at += 1;
        };
        for tag in &cu.type_tags {
            note(tag.value, section::TYPE_TAGS);
            out.type_tags.push(crate::cu::DeclTag { ty: of(tag.ty), ..*tag });
        }
        for func in cu.funcs.iter().filter(|func| self.is_first(unit, func)) {
            let params = &cu.params[func.params.0 as usize..func.params.1 as usize];
            let tags = &cu.func_tags[func.tags.0 as usize..func.tags.1 as usize];
            let first = out.params.len() as u32;
            let tag = out.func_tags.len() as u32;
            for param in params.iter().filter(|param| !param.dropped) {
                if self.reader.rules.save_functions {
                    note(param.name, section::FUNCTIONS);
                }
                out.params.push(crate::cu::Param { ty: of(param.ty), ..*param });
            }
            for tag in tags {
                if self.reader.rules.save_functions {
                    note(tag.value, section::FUNCTIONS);
                }
                out.func_tags.push(*tag);
            }
            out.funcs.push(Func {
                ret: of(func.ret),
                params: (first, out.params.len() as u32),
                tags: (tag, out.func_tags.len() as u32),
                ..func.clone()
            });
        }
        for var in &cu.vars {
            note(var.name, section::VARS);
            out.vars.push(crate::cu::Var { ty: of(var.ty), ..var.clone() });
        }
        kept
    }

    /// pahole 1.24 writes the first description of a function; later ones need not be kept.
    fn is_first(&self, unit: u32, func: &Func) -> bool {
        if self.reader.rules.save_functions {
            return true;
        }
        let Some(elf) = self.reader.symbols.function(func.name) else { return true };
        self.first_unit[elf as usize].fetch_min(unit, Ordering::Relaxed) >= unit
    }
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

/// The order in which libbpf decides on a unit's references.
fn rank(cu: &Cu, typedefs_by_graph: bool, ranks: &mut Vec<u32>) {
    let count = cu.starts.len();
    ranks.resize(count + 1, 0);
    let mut entered = vec![false; count + 1];
    let mut next = 1;
    // Positive to enter a type, negative to leave it.
    let mut steps: Vec<i64> = Vec::new();
    for id in 1..=count as i64 {
        steps.push(id);
        while let Some(step) = steps.pop() {
            let id = step.unsigned_abs() as usize;
            let record = cu.record(id as u32);
            if step < 0 {
                ranks[id] = next;
                next += 1;
                continue;
            }
            let reference = is_reference(kind_of(record[1]), typedefs_by_graph);
            if !reference || std::mem::replace(&mut entered[id], true) {
                continue;
            }
            steps.push(-step);
            let start = steps.len();
            each_reference(record, |target| {
                if target != 0 && target != INDEX {
                    steps.push(i64::from(target));
                }
            });
            steps[start..].reverse();
        }
    }
}
