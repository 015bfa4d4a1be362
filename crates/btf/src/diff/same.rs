//! Which types are the same, exactly: the coarsest partition in which equal types say the same and refer
//! to equal types.
//!
//! Types refer to each other in circles, so they cannot be compared from the leaves up. All that look
//! alike by themselves begin in one class, and classes are split while their members refer to different
//! classes (partition refinement). A class that is split keeps its number for its largest part, so a type
//! changes its class at most log n times and the whole takes O(m log n) for m references, whatever the
//! blob looks like. Nothing is decided by a hash alone.

use std::ops::Range;

/// Types and their references.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// What each type says by itself, as a number that is equal for types that say the same.
    local: Vec<u32>,
    /// Where the references of each type end in `refs`.
    ends: Vec<usize>,
    refs: Vec<u32>,
}

impl Graph {
    /// Adds a type; its number is the count of those before it.
    pub(super) fn add(&mut self, local: u32, refs: impl Iterator<Item = u32>) {
        self.local.push(local);
        self.refs.extend(refs);
        self.ends.push(self.refs.len());
    }

    pub(super) fn len(&self) -> usize {
        self.local.len()
    }

    fn refs(&self, node: usize) -> &[u32] {
        let start = if node == 0 { 0 } else { self.ends[node - 1] };
        &self.refs[start..self.ends[node]]
    }

    /// The class of each type. References to types that do not exist are skipped.
    pub(super) fn classes(&self) -> Vec<u32> {
        let mut partition = Partition::new(self);
        let users = self.users();
        let mut dirty: Vec<u32> = (0..self.len() as u32).collect();
        while !dirty.is_empty() {
            let moved = partition.split(self, &dirty);
            let using = moved.iter().flat_map(|&node| users.of(node));
            let mut seen = vec![];
            for &user in using {
                if !partition.marked[user as usize] {
                    partition.marked[user as usize] = true;
                    seen.push(user);
                }
            }
            for &user in &seen {
                partition.marked[user as usize] = false;
            }
            dirty = seen;
        }
        partition.class
    }

    /// Who refers to each type.
    fn users(&self) -> Users {
        let count = self.len();
        let valid = |target: &u32| (*target as usize) < count;
        let mut starts = vec![0usize; count + 1];
        for target in self.refs.iter().copied().filter(valid) {
            starts[target as usize + 1] += 1;
        }
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut users = vec![0u32; starts[count]];
        for node in 0..count {
            for target in self.refs(node).iter().copied().filter(valid) {
                users[next[target as usize]] = node as u32;
                next[target as usize] += 1;
            }
        }
        Users { starts, users }
    }
}

struct Users {
    starts: Vec<usize>,
    users: Vec<u32>,
}

impl Users {
    fn of(&self, node: u32) -> &[u32] {
        &self.users[self.starts[node as usize]..self.starts[node as usize + 1]]
    }
}

/// Types in classes: those of a class stand together in `order`.
struct Partition {
    class: Vec<u32>,
    order: Vec<u32>,
    /// Where each type stands in `order`.
    place: Vec<usize>,
    /// Where each class stands in `order`.
    ranges: Vec<Range<usize>>,
    /// Scratch: a type is in the list at hand.
    marked: Vec<bool>,
}

impl Partition {
    /// One class for all types that say the same by themselves.
    fn new(graph: &Graph) -> Self {
        let mut order: Vec<u32> = (0..graph.len() as u32).collect();
        order.sort_by_key(|&node| graph.local[node as usize]);
        let mut partition = Partition {
            class: vec![0; graph.len()],
            place: vec![0; graph.len()],
            ranges: Vec::new(),
            marked: vec![false; graph.len()],
            order: Vec::new(),
        };
        let mut start = 0;
        for run in order.chunk_by(|&a, &b| graph.local[a as usize] == graph.local[b as usize]) {
            partition.ranges.push(start..start + run.len());
            start += run.len();
        }
        partition.order = order;
        for number in 0..partition.ranges.len() {
            partition.number(number as u32);
        }
        partition
    }

    /// Notes class and place of the types in the range of a class.
    fn number(&mut self, number: u32) {
        for place in self.ranges[number as usize].clone() {
            let node = self.order[place] as usize;
            self.class[node] = number;
            self.place[node] = place;
        }
    }

    fn signature(&self, graph: &Graph, node: u32) -> Vec<u32> {
        let class = |&target: &u32| self.class.get(target as usize).copied().unwrap_or(u32::MAX);
        graph.refs(node as usize).iter().map(class).collect()
    }

    /// Splits the classes of `dirty` types by what they refer to now; the types whose class changed.
    ///
    /// The types of a class that are not dirty refer to what they referred to before, all to the same.
    fn split(&mut self, graph: &Graph, dirty: &[u32]) -> Vec<u32> {
        let mut keyed: Vec<(u32, Vec<u32>, u32)> = dirty
            .iter()
            .map(|&node| (self.class[node as usize], self.signature(graph, node), node))
            .collect();
        keyed.sort_unstable();
        let mut moved = Vec::new();
        // What the rest of a class refers to must be asked before any class gets another number.
        let plans: Vec<(usize, Option<Vec<u32>>)> = keyed
            .chunk_by(|a, b| a.0 == b.0)
            .map(|dirty| (dirty.len(), self.front(graph, dirty)))
            .collect();
        let mut rest = &keyed[..];
        for (count, clean) in plans {
            let (dirty, behind) = rest.split_at(count);
            self.split_class(dirty, clean.as_deref(), &mut moved);
            rest = behind;
        }
        moved
    }

    /// Puts the dirty types of one class to its front in their order; what its other types refer to.
    fn front(&mut self, graph: &Graph, dirty: &[(u32, Vec<u32>, u32)]) -> Option<Vec<u32>> {
        let range = self.ranges[dirty.first()?.0 as usize].clone();
        for (to, (_, _, node)) in range.clone().zip(dirty) {
            let from = self.place[*node as usize];
            let other = self.order[to];
            self.order.swap(from, to);
            self.place[other as usize] = from;
            self.place[*node as usize] = to;
        }
        let clean = range.start + dirty.len();
        (clean < range.end).then(|| self.signature(graph, self.order[clean]))
    }

    /// Splits one class, whose dirty types stand at its front; all parts but the largest get new numbers.
    fn split_class(
        &mut self,
        dirty: &[(u32, Vec<u32>, u32)],
        clean: Option<&[u32]>,
        moved: &mut Vec<u32>,
    ) {
        let Some(&(class, _, _)) = dirty.first() else { return };
        let range = self.ranges[class as usize].clone();
        // The dirty types that still agree with the others go behind the rest of the dirty ones.
        let (same, apart): (Vec<_>, Vec<_>) =
            dirty.iter().partition(|(_, signature, _)| Some(&signature[..]) == clean);
        for (place, (_, _, node)) in (range.start..).zip(apart.iter().chain(&same)) {
            self.order[place] = *node;
            self.place[*node as usize] = place;
        }
        let mut parts = Vec::new();
        let mut start = range.start;
        for run in apart.chunk_by(|a, b| a.1 == b.1) {
            parts.push(start..start + run.len());
            start += run.len();
        }
        if start < range.end {
            parts.push(start..range.end);
        }
        let largest = (0..parts.len()).max_by_key(|&i| parts[i].len()).unwrap_or(0);
        self.ranges[class as usize] = parts.swap_remove(largest);
        for part in parts {
            moved.extend_from_slice(&self.order[part.clone()]);
            self.ranges.push(part);
            self.number(self.ranges.len() as u32 - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(types: &[(u32, &[u32])]) -> Vec<u32> {
        let mut graph = Graph::default();
        for (local, refs) in types {
            graph.add(*local, refs.iter().copied());
        }
        graph.classes()
    }

    #[test]
    fn circles_that_say_the_same_are_the_same() {
        // Two structures that point at themselves, and one that points at another structure.
        let found = classes(&[(1, &[1]), (2, &[0]), (1, &[3]), (2, &[2]), (1, &[5]), (3, &[4])]);
        assert_eq!((found[0], found[1]), (found[2], found[3]));
        assert_ne!(found[0], found[4]);
    }

    #[test]
    fn a_difference_travels_along_a_chain_of_any_length() {
        let mut graph = Graph::default();
        let count = 20_000;
        for chain in 0..2 {
            for i in 0..count {
                let last = i + 1 == count;
                let next = (!last).then_some(chain * count + i + 1);
                graph.add(if last { 7 + chain } else { 1 }, next.into_iter());
            }
        }
        let found = graph.classes();
        assert!((0..count as usize).all(|i| found[i] != found[count as usize + i]));
    }

    #[test]
    fn the_order_of_references_counts() {
        let found = classes(&[(1, &[]), (2, &[]), (3, &[0, 1]), (3, &[1, 0]), (3, &[0, 1])]);
        assert_ne!(found[2], found[3]);
        assert_eq!(found[2], found[4]);
    }

    #[test]
    fn a_reference_to_nothing_is_not_one_to_something() {
        let found = classes(&[(1, &[9]), (1, &[0]), (1, &[8])]);
        assert_eq!(found[0], found[2]);
        assert_ne!(found[0], found[1]);
    }
}
