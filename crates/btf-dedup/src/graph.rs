//! Structures and unions: by walking their graphs side by side.
//!
//! A structure is compared with each candidate that agrees with it in name, size and members. The walk
//! goes from pair to pair of types that must be the same if the structures are, and remembers for each
//! type of the candidate's graph what it stands for; a type that would have to stand for two different
//! ones ends the walk without success. Forward declarations agree with structures of their name.
//!
//! Of the two graphs only the candidate's may be made of several units (through forward declarations
//! that were found to be structures), so only on its side are forward declarations followed.
//!
//! After a walk that succeeded, forward declarations on either side are mapped to the structures that
//! they met, and structures that were met on the way are mapped along.

use hashbrown::HashMap;

use crate::Error;
use crate::prim::{enums_fit, settle};
use crate::records::{is_composite, kflag, kind, kind_of, name, reference_positions};
use crate::state::{OPEN, State, shallow_equal};
use crate::twins::twins_fit;

/// What the candidate's types would have to stand for.
struct Hypothesis {
    /// By number of the candidate's type.
    stands_for: Vec<u32>,
    /// Those that are set, in the order of the walk.
    set: Vec<u32>,
    /// A type of the base would have to change: the graphs are not the same then.
    changes_base: bool,
    pairs: Vec<(u32, u32)>,
}

/// Decides on structures and unions.
pub(crate) fn run(state: &mut State<'_>) -> Result<(), Error> {
    let mut hypothesis = Hypothesis {
        stands_for: vec![OPEN; state.map.len()],
        set: Vec::new(),
        changes_base: false,
        pairs: Vec::new(),
    };
    for id in state.ids() {
        let kind = state.kind(id);
        let typedef = kind == kind::TYPEDEF && state.options.typedefs_by_graph;
        if state.is_mapped(id) || !is_composite(kind) && !typedef {
            continue;
        }
        structure(state, &mut hypothesis, id)?;
    }
    Ok(())
}

fn structure(state: &mut State<'_>, hypothesis: &mut Hypothesis, id: u32) -> Result<(), Error> {
    let Some(hash) = state.contents_hash(state.record(id)) else { return Ok(()) };
    let candidates: Vec<u32> = state.table.candidates(hash).collect();
    let mut found = None;
    for candidate in candidates {
        if !comparable(state.record(id), state.record(candidate)) {
            continue;
        }
        hypothesis.clear();
        if !hypothesis.walk(state, id, candidate)? {
            continue;
        }
        hypothesis.adopt(state);
        if !hypothesis.changes_base {
            found = Some(candidate);
            break;
        }
    }
    settle(state, id, hash, found);
    Ok(())
}

fn comparable(a: &[u32], b: &[u32]) -> bool {
    match kind_of(a) {
        kind::TYPEDEF => a[..2] == b[..2],
        _ => shallow_equal(a, b),
    }
}

impl Hypothesis {
    fn clear(&mut self) {
        for id in self.set.drain(..) {
            self.stands_for[id as usize] = OPEN;
        }
        self.changes_base = false;
        self.pairs.clear();
    }

    /// Whether the graph of `id` is that of `candidate`.
    fn walk(&mut self, state: &State<'_>, id: u32, candidate: u32) -> Result<bool, Error> {
        self.pairs.push((id, candidate));
        while let Some((id, candidate)) = self.pairs.pop() {
            if state.resolve(id) == state.resolve(candidate) {
                continue;
            }
            let candidate = followed(state, candidate);
            let known = self.stands_for[candidate as usize];
            if known != OPEN {
                if known == id || twins_fit(state, known, id, &state.options) {
                    continue;
                }
                return Ok(false);
            }
            self.stands_for[candidate as usize] = id;
            self.set.push(candidate);
            if !self.agree(state, id, candidate)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether two types agree apart from what they refer to; the pairs of that are put on the list.
    fn agree(&mut self, state: &State<'_>, id: u32, candidate: u32) -> Result<bool, Error> {
        if id == 0 || candidate == 0 {
            // `void` has neither name nor kind; it agrees with nothing but itself.
            return Ok(false);
        }
        let (a, b) = (state.record(id), state.record(candidate));
        let (kind_a, kind_b) = (kind_of(a), kind_of(b));
        if name(a) != name(b) {
            return Ok(false);
        }
        if kind_a != kind_b {
            return Ok(match (kind_a, kind_b) {
                (kind::FWD, _) => declared(a) == kind_b,
                (_, kind::FWD) => {
                    let fits = declared(b) == kind_a;
                    self.changes_base |= fits && candidate < state.first();
                    fits
                }
                _ => false,
            });
        }
        let agree = match kind_a {
            kind::INT | kind::FWD | kind::FLOAT => return Ok(a == b),
            kind::ENUM | kind::ENUM64 => return Ok(enums_fit(a, b)),
            kind::STRUCT | kind::UNION => shallow_equal(a, b),
            kind::ARRAY => a[1..3] == b[1..3] && a[5] == b[5],
            kind::FUNC_PROTO => {
                a[1] == b[1] && a[3..].chunks(2).zip(b[3..].chunks(2)).all(|(a, b)| a[0] == b[0])
            }
            kind::CONST
            | kind::VOLATILE
            | kind::RESTRICT
            | kind::PTR
            | kind::TYPEDEF
            | kind::FUNC
            | kind::TYPE_TAG => a[1] == b[1],
            kind => return Err(Error::Kind { id, kind }),
        };
        if agree {
            let start = self.pairs.len();
            self.pairs.extend(reference_positions(a).map(|at| (a[at], b[at])));
            if kind_a == kind::ARRAY {
                // libbpf compares the type of the index first.
                self.pairs[start..].reverse();
            }
            self.pairs[start..].reverse();
        }
        Ok(agree)
    }

    /// Makes what the walk has found permanent.
    fn adopt(&self, state: &mut State<'_>) {
        for &candidate in &self.set {
            let target = state.resolve(self.stands_for[candidate as usize]);
            let candidate = state.resolve(candidate);
            let (target_kind, kind) = (state.kind(target), state.kind(candidate));
            if target_kind != kind::FWD && kind == kind::FWD {
                state.map[candidate as usize] = target;
            }
            if self.changes_base {
                continue;
            }
            if target_kind == kind::FWD && kind != kind::FWD {
                state.map[target as usize] = candidate;
            }
            if is_composite(target_kind)
                && kind != kind::FWD
                && state.is_mapped(candidate)
                && !state.is_mapped(target)
            {
                state.map[target as usize] = candidate;
            }
        }
    }
}

/// The kind that a forward declaration declares.
fn declared(record: &[u32]) -> u32 {
    if kflag(record) { kind::UNION } else { kind::STRUCT }
}

/// What a forward declaration was found to be, if it was.
fn followed(state: &State<'_>, id: u32) -> u32 {
    if state.kind(id) != kind::FWD {
        return id;
    }
    let target = state.resolve(id);
    if state.kind(target) == kind::FWD { id } else { target }
}

/// Maps the forward declarations whose name one structure alone has to it.
pub(crate) fn resolve_forwards(state: &mut State<'_>) {
    let mut by_name: HashMap<u32, u32> = HashMap::new();
    for id in 1..state.map.len() as u32 {
        if is_composite(state.kind(id)) && state.map[id as usize] == id {
            by_name.entry(name(state.record(id))).and_modify(|found| *found = 0).or_insert(id);
        }
    }
    for id in state.ids() {
        let record = state.record(id);
        if kind_of(record) != kind::FWD || state.map[id as usize] != id {
            continue;
        }
        let Some(&found) = by_name.get(&name(record)) else { continue };
        if found != 0 && state.kind(found) == declared(record) {
            state.map[id as usize] = found;
        }
    }
}
