//! Types that refer to no others: by their contents.

use crate::records::{is_enum, kind, kind_of, name, vlen};
use crate::state::State;

/// Decides on integers, floats, enumerations and forward declarations.
pub(crate) fn run(state: &mut State<'_>) {
    for id in state.ids() {
        match state.kind(id) {
            kind::INT | kind::FWD | kind::FLOAT => by_contents(state, id),
            kind::ENUM | kind::ENUM64 => enumeration(state, id),
            _ => {}
        }
    }
}

fn by_contents(state: &mut State<'_>, id: u32) {
    let record = state.record(id);
    let Some(hash) = state.contents_hash(record) else { return };
    let found = state.table.candidates(hash).find(|&other| state.record(other) == record);
    settle(state, id, hash, found);
}

/// An enumeration without values stands for any other of its name.
fn enumeration(state: &mut State<'_>, id: u32) {
    let record = state.record(id);
    let Some(hash) = state.contents_hash(record) else { return };
    let mut found = None;
    let mut completed = Vec::new();
    for other in state.table.candidates(hash) {
        let candidate = state.record(other);
        if candidate == record {
            found = Some(other);
            break;
        }
        if enums_fit(record, candidate) {
            if vlen(record) == 0 {
                found = Some(other);
                break;
            }
            completed.push(other);
        }
    }
    for other in completed {
        state.map[other as usize] = id;
    }
    settle(state, id, hash, found);
}

/// Whether two enumerations may be the same: equal, or of one name and one of them without values.
pub(crate) fn enums_fit(a: &[u32], b: &[u32]) -> bool {
    if vlen(a) != 0 && vlen(b) != 0 || !is_enum(kind_of(a)) || !is_enum(kind_of(b)) {
        return a == b;
    }
    name(a) == name(b)
}

pub(crate) fn settle(state: &mut State<'_>, id: u32, hash: u64, found: Option<u32>) {
    state.map[id as usize] = found.unwrap_or(id);
    if found.is_none() {
        state.table.add(hash, id);
    }
}
