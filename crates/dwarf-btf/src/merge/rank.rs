//! Which of equal types of one unit libbpf decides on first.

use super::is_reference;
use crate::cu::{Cu, INDEX, kind_of};
use crate::digest::references;

/// The order in which libbpf decides on a unit's references.
pub(super) fn rank(cu: &Cu, typedefs_by_graph: bool, ranks: &mut Vec<u32>) {
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
            let targets = references(record).filter(|&target| target != 0 && target != INDEX);
            steps.extend(targets.map(i64::from));
            steps[start..].reverse();
        }
    }
}
