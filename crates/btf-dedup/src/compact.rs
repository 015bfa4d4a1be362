//! What is left, renumbered.

use crate::Deduplicated;
use crate::records::{Types, reference_positions};
use crate::state::State;

/// Keeps the types that stand for themselves, in their order, and renumbers what they refer to.
pub(crate) fn run(state: State<'_>) -> Deduplicated {
    let first = state.first();
    let mut renumbered = vec![0; state.map.len()];
    for id in 0..first {
        renumbered[id as usize] = id;
    }
    let mut next = first;
    for id in state.ids() {
        if state.map[id as usize] == id {
            renumbered[id as usize] = next;
            next += 1;
        }
    }
    let mut types = Types::default();
    for id in state.ids() {
        if state.map[id as usize] != id {
            continue;
        }
        types.push(state.record(id));
        let start = types.starts[types.len() - 1] as usize;
        for at in reference_positions(&types.words[start..]) {
            let target = state.resolve(types.words[start + at]);
            types.words[start + at] = renumbered[target as usize];
        }
    }
    let map =
        (0..state.map.len() as u32).map(|id| renumbered[state.resolve(id) as usize]).collect();
    Deduplicated { types, map }
}
