//! The pool's types as one graph, and what its forward declarations stand for.
//!
//! Every forward declaration is what the one structure of its name is, or, where a name has several
//! definitions, the one that it met: a structure that refers to the declaration in one unit and to a
//! definition in another says that the two are the same.
//!
//! Cost: one step a type and link, and one lookup where a name has several definitions.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use rayon::prelude::*;

use crate::cu::{kind, kind_of, name_positions};
use crate::cursor::Fault;
use crate::digest::is_named_composite;
use crate::hash::FixedState;
use crate::merge::Doubt;
use crate::pool::{Link, Node, Place, PoolId, Shard, parts};
use crate::strings::{StrId, Strings};

pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;

/// The pool's types as one list.
pub(crate) struct Graph {
    shards: Vec<Shard>,
    nodes: Vec<Node>,
    /// By index: the shard.
    shard: Vec<u8>,
    /// Where each shard's types begin in the list.
    starts: Vec<u32>,
    pub len: u32,
}

impl Graph {
    /// Puts the parts together; codes become numbers of strings.
    pub fn new(mut shards: Vec<Shard>, strings: &Strings<'_>) -> Result<Self, Fault> {
        let parts: Vec<Result<Vec<Node>, Fault>> = shards
            .par_iter_mut()
            .map(|shard| {
                let nodes = shard.nodes();
                for node in &nodes {
                    let record = &mut shard.words[node.words.0 as usize..node.words.1 as usize];
                    for at in name_positions(record) {
                        record[at] = strings.of_code(record[at])?;
                    }
                }
                Ok(nodes)
            })
            .collect();
        let len: usize = shards.iter().map(Shard::len).sum();
        let mut starts = Vec::with_capacity(shards.len());
        let (mut nodes, mut shard_of) = (Vec::with_capacity(len), Vec::with_capacity(len));
        for (index, part) in parts.into_iter().enumerate() {
            starts.push(nodes.len() as u32);
            nodes.extend(part?);
            shard_of.resize(nodes.len(), index as u8);
        }
        Ok(Graph { shards, nodes, shard: shard_of, starts, len: len as u32 })
    }

    /// The list's index of a type by the pool's number.
    pub fn index(&self, id: PoolId) -> u32 {
        let (shard, at) = parts(id);
        self.starts[shard] + at as u32
    }

    pub fn record(&self, index: u32) -> &[u32] {
        let (start, end) = self.nodes[index as usize].words;
        &self.shards[usize::from(self.shard[index as usize])].words[start as usize..end as usize]
    }

    pub fn children(&self, index: u32) -> &[u32] {
        let (start, end) = self.nodes[index as usize].children;
        let shard = &self.shards[usize::from(self.shard[index as usize])];
        &shard.children[start as usize..end as usize]
    }

    pub fn place(&self, index: u32) -> Place {
        self.nodes[index as usize].place
    }

    fn links(&self) -> impl Iterator<Item = Link> + '_ {
        self.shards.iter().flat_map(|shard| shard.links.iter().copied())
    }
}

/// A name in one of the three ways in which it can be defined: struct, union or enum.
type Tag = (StrId, u32);

fn tag(record: &[u32]) -> Tag {
    let kind = match kind_of(record[1]) {
        kind::FWD if record[1] >> 31 != 0 => kind::UNION,
        kind::FWD => kind::STRUCT,
        kind::ENUM64 => kind::ENUM,
        kind => kind,
    };
    (record[0], kind)
}

/// Whether a record declares a name without defining it.
fn is_declaration(record: &[u32]) -> bool {
    match kind_of(record[1]) {
        kind::FWD => true,
        kind::ENUM | kind::ENUM64 => record[1] & 0xffff == 0,
        _ => false,
    }
}

/// All that is declared and defined.
struct Names {
    declared: Vec<u32>,
    /// Structures and unions by name; forward declarations are decided on by the name alone.
    composites: Map<StrId, Definitions>,
    enums: Map<StrId, Definitions>,
}

/// What is defined under a name: nearly always one.
enum Definitions {
    One(u32),
    Several(Vec<u32>),
}

impl Definitions {
    fn add(map: &mut Map<StrId, Self>, name: StrId, index: u32) {
        match map.entry(name) {
            Entry::Vacant(vacant) => drop(vacant.insert(Definitions::One(index))),
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Definitions::Several(indexes) => indexes.push(index),
                &mut Definitions::One(first) => {
                    entry.insert(Definitions::Several(vec![first, index]));
                }
            },
        }
    }
}

impl Names {
    fn new(graph: &Graph) -> Self {
        let mut names = Names {
            declared: Vec::new(),
            composites: Map::with_hasher(FixedState),
            enums: Map::with_hasher(FixedState),
        };
        for index in 0..graph.len {
            let record = graph.record(index);
            if is_declaration(record) {
                names.declared.push(index);
            } else if is_named_composite(record) {
                Definitions::add(&mut names.composites, record[0], index);
            } else if matches!(kind_of(record[1]), kind::ENUM | kind::ENUM64) {
                Definitions::add(&mut names.enums, record[0], index);
            }
        }
        names
    }

    fn definitions(&self, (name, kind): Tag) -> &[u32] {
        let map = if kind == kind::ENUM { &self.enums } else { &self.composites };
        match map.get(&name) {
            None => &[],
            Some(Definitions::One(index)) => std::slice::from_ref(index),
            Some(Definitions::Several(indexes)) => indexes,
        }
    }
}

/// Decides on declarations: by index, what each one is.
pub(crate) fn forwards(graph: &Graph) -> Result<Map<u32, u32>, Doubt> {
    let names = Names::new(graph);
    let met = meetings(graph, &names)?;
    let mut resolved = Map::with_hasher(FixedState);
    let mut first_enum: Map<StrId, u32> = Map::with_hasher(FixedState);
    let mut declared = names.declared.clone();
    declared.sort_unstable_by_key(|&index| graph.place(index));
    for index in declared {
        let tag = tag(graph.record(index));
        let is_enum = tag.1 == kind::ENUM;
        let target = match names.definitions(tag) {
            [only] if is_enum => Some(*only),
            [] if is_enum => Some(*first_enum.entry(tag.0).or_insert(index)),
            _ if is_enum => return Err(Doubt::Enumerations),
            [only] => Some(*only).filter(|&only| self::tag(graph.record(only)) == tag),
            [] => None,
            _ => met.get(&index).copied(),
        };
        if let Some(target) = target.filter(|&target| target != index) {
            resolved.insert(index, target);
        }
    }
    Ok(resolved)
}

/// Of names with several definitions: which definition each forward declaration has met.
fn meetings(graph: &Graph, names: &Names) -> Result<Map<u32, u32>, Doubt> {
    // By structure and name: declaration and definition.
    let mut seen: Map<(u64, Tag), (Option<u32>, Option<u32>)> = Map::with_hasher(FixedState);
    // Whether the structure has a name, for those that refer to two definitions.
    let mut torn: Map<(u64, Tag), bool> = Map::with_hasher(FixedState);
    for Link { from, named, to, .. } in graph.links() {
        let target = graph.index(to);
        let record = graph.record(target);
        let tag = tag(record);
        if names.definitions(tag).len() < 2 {
            continue;
        }
        let entry = seen.entry((from, tag)).or_default();
        if is_declaration(record) {
            entry.0 = Some(target);
        } else if entry.1.is_some_and(|known| known != target) {
            torn.insert((from, tag), named);
        } else {
            entry.1 = Some(target);
        }
    }
    // A structure with a name that refers to two definitions is two structures. Without a name it is told
    // apart by what it refers to, unless a forward declaration could be either.
    for (name, named) in torn {
        if named || seen.get(&name).is_some_and(|entry| entry.0.is_some()) {
            return Err(Doubt::Definitions);
        }
    }
    let mut met: Map<u32, u32> = Map::with_hasher(FixedState);
    for &(forward, definition) in seen.values() {
        if let (Some(forward), Some(definition)) = (forward, definition)
            && met.insert(forward, definition).is_some_and(|known| known != definition)
        {
            return Err(Doubt::Definitions);
        }
    }
    Ok(met)
}
