//! Types that one unit has twice, and whether units agree on which types these are.
//!
//! A compiler may describe one type twice in a unit, mostly a structure without a name or an array that is
//! written twice in the source, with the pointers to it. libbpf's walk over two graphs wants each type of
//! the earlier one to stand for one type of the later. Where the earlier unit has one type for what the
//! later has two *twins* for, libbpf compares the twins: if they fit ([`btf_dedup::twins_fit`]) all is well,
//! and if not, it takes the structures around them for different ones. Contents do not show this, so it is
//! looked for here:
//!
//! - libbpf 1.7 compares twins in depth. Twins that do not fit all the same are a doubt at once.
//! - libbpf 1.1 lets only arrays and structures fit. Pointers and the like that are twins are harmless as
//!   long as every unit has them twice. Call what a structure or union refers to, without passing through
//!   another one, its *region*. The walk goes through pairs of types that are reached on equal paths, and
//!   what one type of the earlier unit stands for is remembered for types of that one unit; so a conflict
//!   needs a unit in which two references end at one type, and a unit in which the same two references end
//!   at twins. If both references are in the region of one structure, the units disagree in the *pattern*
//!   of that region: the order in which twins are met in it. The pattern is made part of the structure's
//!   contents ([`crate::digest`]), and the pool says if a structure was met with two patterns. If they are
//!   in the regions of two structures, the unit reports the pattern of the two together ([`Apart`]); every
//!   unit that has both structures must have reported the same ([`agree`]).
//!
//! Cost: one probe of a small table for structures with names and for types that the thread does not know
//! ([`crate::known`]); the rest only in units that have twins that do not fit.

use btf_dedup::Records;

use crate::cu::{Cu, LocalId, kind, kind_of};
use crate::digest::{Digest, references};
use crate::graph::Map;
use crate::hash::{FixedState, mix};
use crate::pool::PoolId;

/// The memory of a thread.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// Types by identity, at least twice as many places as types; 0 is free.
    table: Vec<LocalId>,
    /// By number: the first of the twins that do not fit that this is one of; 0 for what is none.
    unlike: Vec<LocalId>,
    any: bool,
    /// By number: the last structure in whose region the type was met.
    reached: Vec<LocalId>,
    stack: Vec<LocalId>,
    met: Vec<Meeting>,
    all: Vec<Meeting>,
    pub apart: Vec<Apart>,
}

/// Two structures that meet different ones of some twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Apart {
    /// The twins' identity and which references of the two regions end at the same of them, as a hash.
    pub key: u64,
    /// The structures, by number.
    pub roots: (u32, u32),
}

/// More pairs of structures in one unit are a doubt.
const MAX_APART: usize = 1 << 12;

/// Twins that do not fit where it cannot be told whether other units have one type for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unclear;

impl Records for Cu {
    fn record(&self, id: u32) -> &[u32] {
        Cu::record(self, id)
    }
}

impl Twins {
    /// Finds the unit's twins, and adds the patterns of its structures to their contents.
    ///
    /// `meet` is asked for each type without contents, by its identity. If it knows the type it gives the
    /// first of that identity in the unit, 0 for this one; all of one identity or none are known.
    pub fn find(
        &mut self,
        cu: &Cu,
        digest: &mut Digest,
        options: &btf_dedup::Options,
        meet: impl FnMut(u64, LocalId) -> Option<LocalId>,
    ) -> Result<(), Unclear> {
        self.apart.clear();
        self.pairs(cu, digest, options, meet);
        if !self.any {
            return Ok(());
        }
        if options.compare_in_depth {
            return Err(Unclear);
        }
        let count = cu.starts.len() as u32;
        self.reached.clear();
        self.reached.resize(count as usize + 1, 0);
        self.all.clear();
        for id in (1..=count).filter(|&id| is_composite(cu.record(id))) {
            let pattern = self.pattern(cu, id);
            digest.set_pattern(id, pattern);
            self.all.extend(&self.met);
        }
        self.find_apart(digest)
    }

    /// Lists the structures that meet different ones of some twins.
    fn find_apart(&mut self, digest: &Digest) -> Result<(), Unclear> {
        let Twins { all, apart, met, .. } = self;
        all.sort_unstable_by_key(|meeting| (meeting.first, meeting.root, meeting.edge));
        for twins in all.chunk_by(|a, b| a.first == b.first) {
            let regions: Vec<&[Meeting]> = twins.chunk_by(|a, b| a.root == b.root).collect();
            for (at, one) in regions.iter().enumerate() {
                for other in &regions[at + 1..] {
                    let twin = one[0].twin;
                    if one.iter().chain(*other).all(|meeting| meeting.twin == twin) {
                        continue;
                    }
                    let identity = |region: &[Meeting]| digest.identity(region[0].root);
                    let (first, second) =
                        if identity(one) < identity(other) { (one, other) } else { (other, one) };
                    if identity(first) == identity(second) || apart.len() == MAX_APART {
                        return Err(Unclear);
                    }
                    met.clear();
                    met.extend_from_slice(first);
                    let behind = |m: &Meeting| Meeting { edge: m.edge | 1 << 32, ..*m };
                    met.extend(second.iter().map(behind));
                    let (_, pattern) = group_pattern(met);
                    let key = mix(pattern ^ digest.identity(twins[0].first), PATTERN);
                    apart.push(Apart { key, roots: (first[0].root, second[0].root) });
                }
            }
        }
        Ok(())
    }

    fn pairs(
        &mut self,
        cu: &Cu,
        digest: &Digest,
        options: &btf_dedup::Options,
        mut meet: impl FnMut(u64, LocalId) -> Option<LocalId>,
    ) {
        let count = cu.starts.len();
        let places = (count * 2).next_power_of_two().max(2);
        self.table.clear();
        self.table.resize(places, 0);
        let (mut twins, mut unlike) = (Vec::new(), Vec::new());
        for id in 1..=count as u32 {
            let key = digest.identity(id);
            let known = if digest.contents(id) == 0 { meet(key, id) } else { None };
            let first = known.unwrap_or_else(|| self.first(digest, key, id));
            if first != 0 {
                if !fit(cu, first, id, options) {
                    unlike.push(first);
                }
                twins.push((first, id));
            }
        }
        self.any = !unlike.is_empty();
        if !self.any {
            return;
        }
        // Where two do not fit, all of that identity are told apart.
        self.unlike.clear();
        self.unlike.resize(count + 1, 0);
        for &first in &unlike {
            self.unlike[first as usize] = first;
        }
        for (first, twin) in twins {
            self.unlike[twin as usize] = self.unlike[first as usize];
        }
    }

    /// The first type of that identity in the table; 0 if it is this one, which is added.
    fn first(&mut self, digest: &Digest, key: u64, id: LocalId) -> LocalId {
        let last = self.table.len() - 1;
        let mut at = (key >> 20) as usize & last;
        loop {
            match self.table[at] {
                0 => {
                    self.table[at] = id;
                    return 0;
                }
                first if digest.identity(first) == key => return first,
                _ => at = (at + 1) & last,
            }
        }
    }

    /// The order in which twins are met in the region of a structure; 0 where no two of them are.
    fn pattern(&mut self, cu: &Cu, root: LocalId) -> u64 {
        let mut edge = 0;
        self.met.clear();
        self.stack.clear();
        self.stack.push(root);
        while let Some(id) = self.stack.pop() {
            for target in references(cu.record(id)) {
                edge += 1;
                let at = target as usize;
                if target == 0 || at > cu.starts.len() {
                    continue;
                }
                let first = self.unlike[at];
                if first != 0 {
                    self.met.push(Meeting { first, twin: target, root, edge });
                }
                if self.reached[at] != root && !is_composite(cu.record(target)) {
                    self.reached[at] = root;
                    self.stack.push(target);
                }
            }
        }
        self.met.sort_unstable();
        let several = self
            .met
            .chunk_by(|a, b| a.first == b.first)
            .filter(|meetings| meetings.iter().any(|meeting| meeting.twin != meetings[0].twin));
        let mut patterns: Vec<(u64, u64)> = several.map(group_pattern).collect();
        patterns.sort_unstable();
        let all = patterns.iter().flat_map(|&(edge, pattern)| [edge, pattern]);
        all.fold(0, |state, word| mix(state ^ word, PATTERN) | 1)
    }
}

/// A reference within a structure's region that ends at one of several twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Meeting {
    first: LocalId,
    twin: LocalId,
    root: LocalId,
    /// Which reference of the region it is, in the order of going through it.
    edge: u64,
}

/// Which references end at the same of some twins: the first of them, and a hash of all. It does not
/// depend on the twins' numbers.
fn group_pattern(meetings: &[Meeting]) -> (u64, u64) {
    let first_of = |twin| meetings.iter().find(|other| other.twin == twin).map_or(0, |m| m.edge);
    let mut edges: Vec<(u64, u64)> =
        meetings.iter().map(|meeting| (meeting.edge, first_of(meeting.twin))).collect();
    edges.sort_unstable();
    let hash = edges.iter().fold(0, |state, &(edge, same)| mix(state ^ edge << 32 ^ same, PATTERN));
    (edges[0].0, hash)
}

const PATTERN: u64 = 0xd6e8_feb8_6659_fd93;

/// Whether twins fit. libbpf has settled types that refer to nothing before it walks.
fn fit(cu: &Cu, first: LocalId, second: LocalId, options: &btf_dedup::Options) -> bool {
    let settled = |id| {
        matches!(
            kind_of(cu.record(id)[1]),
            kind::INT | kind::FLOAT | kind::FWD | kind::ENUM | kind::ENUM64
        )
    };
    settled(first) || btf_dedup::twins_fit(cu, first, second, options)
}

/// Whether a type is a structure or union, with or without a name.
pub(crate) fn is_composite(record: &[u32]) -> bool {
    matches!(kind_of(record[1]), kind::STRUCT | kind::UNION)
}

/// What a unit says of twins: the structures that it has and the pairs that are apart in it, with the
/// pool's numbers.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub structures: Vec<PoolId>,
    pub apart: Vec<Apart>,
}

/// Whether every unit that has two structures that are apart in some unit has them apart in the same way.
pub(crate) fn agree<'w>(units: impl Iterator<Item = &'w Witness> + Clone) -> bool {
    let mut reports: Map<(u64, (u32, u32)), u32> = Map::with_hasher(FixedState);
    for apart in units.clone().flat_map(|unit| &unit.apart) {
        *reports.entry((apart.key, apart.roots)).or_default() += 1;
    }
    let mut wanted: Map<PoolId, u32> = Map::with_hasher(FixedState);
    for &(_, (one, other)) in reports.keys() {
        wanted.insert(one, 0);
        wanted.insert(other, 0);
    }
    let mut left = reports;
    // Each unit that has both takes one report of the pair away: none may be missing, none be left.
    for (number, unit) in (1..).zip(units) {
        for structure in &unit.structures {
            if let Some(last) = wanted.get_mut(structure) {
                *last = number;
            }
        }
        for (&(_, (one, other)), count) in &mut left {
            if wanted[&one] == number && wanted[&other] == number {
                match count.checked_sub(1) {
                    Some(rest) => *count = rest,
                    None => return false,
                }
            }
        }
    }
    left.values().all(|&count| count == 0)
}
