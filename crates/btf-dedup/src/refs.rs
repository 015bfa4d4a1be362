//! Types that refer to others: by contents, once what they refer to is settled.
//!
//! What a type refers to is decided on first, wherever it stands; so among equal types the one that is
//! reached first is kept, which need not be the one of the lowest number.

use crate::Error;
use crate::prim::settle;
use crate::records::{kind, reference_positions};
use crate::state::{BUSY, State};

/// A step of the walk: a type is entered, or left when all that it refers to is settled.
#[derive(Clone, Copy)]
enum Step {
    Enter(u32),
    Leave(u32),
}

/// Decides on all types that are left.
pub(crate) fn run(state: &mut State<'_>) -> Result<(), Error> {
    let mut steps = Vec::new();
    for id in state.ids() {
        steps.push(Step::Enter(id));
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter(id) if state.map[id as usize] == BUSY => return Err(state.loop_at(id)),
                Step::Enter(id) if state.is_mapped(id) => {}
                Step::Enter(id) => {
                    state.map[id as usize] = BUSY;
                    steps.push(Step::Leave(id));
                    let start = steps.len();
                    let record = state.record(id);
                    steps.extend(reference_positions(record).map(|at| Step::Enter(record[at])));
                    steps[start..].reverse();
                }
                Step::Leave(id) => leave(state, id)?,
            }
        }
    }
    Ok(())
}

fn leave(state: &mut State<'_>, id: u32) -> Result<(), Error> {
    let kind = state.kind(id);
    let known = (kind::PTR..=kind::TYPE_TAG).contains(&kind);
    if !known || matches!(kind, kind::STRUCT | kind::UNION | kind::ENUM | kind::FWD | kind::FLOAT) {
        return Err(Error::Kind { id, kind });
    }
    let settled: Vec<(usize, u32)> = reference_positions(state.record(id))
        .map(|at| (at, state.resolve(state.record(id)[at])))
        .collect();
    let record = state.record_mut(id);
    for (at, target) in settled {
        record[at] = target;
    }
    let record = state.record(id);
    let Some(hash) = state.contents_hash(record) else { return Ok(()) };
    let found = state.table.candidates(hash).find(|&other| state.record(other) == record);
    settle(state, id, hash, found);
    Ok(())
}
