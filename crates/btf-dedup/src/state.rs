//! What the passes share.

use crate::records::{self, Types, kind, kind_of, name_positions};
use crate::table::{Table, hash};
use crate::{Error, Options};

/// A type that no pass has decided on yet.
pub(crate) const OPEN: u32 = u32::MAX;
/// A type that is being decided on.
pub(crate) const BUSY: u32 = u32::MAX - 1;

pub(crate) struct State<'b> {
    pub base: &'b Types,
    pub types: Types,
    pub options: Options,
    /// By number: what the type is mapped to, itself if it stands for itself.
    pub map: Vec<u32>,
    pub table: Table,
}

impl<'b> State<'b> {
    pub fn new(base: &'b Types, types: Types, options: Options) -> Self {
        let count = base.len() + types.len() + 1;
        let mut map = vec![OPEN; count];
        map[0] = 0;
        let mut state = State { base, types, options, map, table: Table::default() };
        let met = Names::of(&state.types);
        for id in 1..=base.len() as u32 {
            // All of the base stands for itself.
            state.map[id as usize] = id;
            let record = base.record(id as usize - 1);
            if !options.collide && !met.may_be_in(record) {
                if !matches!(kind_of(record), kind::VAR | kind::DATASEC) {
                    state.table.count();
                }
                continue;
            }
            // PARITY: libbpf 1.6 and 1.7 hash a base's typedefs with what they refer to, but look for
            // them without, so that they are never found (btf_dedup_prep).
            let hash = match kind_of(record) {
                kind::TYPEDEF if options.typedefs_by_graph && options.base_typedefs_unseen => {
                    Some(hash(record.iter().copied()))
                }
                _ => state.contents_hash(record),
            };
            if let Some(hash) = hash {
                state.table.add(hash, id);
            }
        }
        for id in state.first()..count as u32 {
            if matches!(state.kind(id), kind::VAR | kind::DATASEC) {
                state.map[id as usize] = id;
            }
        }
        state
    }

    /// Number of the first type that is not the base's.
    pub fn first(&self) -> u32 {
        self.base.len() as u32 + 1
    }

    pub fn ids(&self) -> std::ops::Range<u32> {
        self.first()..self.map.len() as u32
    }

    pub fn record(&self, id: u32) -> &[u32] {
        let index = id as usize - 1;
        match index.checked_sub(self.base.len()) {
            None => self.base.record(index),
            Some(index) => self.types.record(index),
        }
    }

    pub fn record_mut(&mut self, id: u32) -> &mut [u32] {
        let (start, end) = self.types.range(id as usize - 1 - self.base.len());
        &mut self.types.words[start..end]
    }

    /// The kind of a type; 0 for `void`.
    pub fn kind(&self, id: u32) -> u32 {
        if id == 0 { 0 } else { records::kind_of(self.record(id)) }
    }

    pub fn is_mapped(&self, id: u32) -> bool {
        self.map[id as usize] < BUSY
    }

    /// What a type is mapped to in the end.
    pub fn resolve(&self, mut id: u32) -> u32 {
        while self.is_mapped(id) && self.map[id as usize] != id {
            id = self.map[id as usize];
        }
        id
    }

    /// The hash by which candidates for a type are found, once what it refers to is settled.
    pub fn contents_hash(&self, record: &[u32]) -> Option<u64> {
        let kind = records::kind_of(record);
        Some(self.squash(match kind {
            kind::VAR | kind::DATASEC => return None,
            kind::STRUCT | kind::UNION => shallow_hash(record),
            kind::TYPEDEF if self.options.typedefs_by_graph => hash(record[..2].iter().copied()),
            kind::ENUM | kind::ENUM64 => hash([kind::ENUM, record[0]].into_iter()),
            _ => hash(record.iter().copied()),
        }))
    }

    pub fn squash(&self, hash: u64) -> u64 {
        if self.options.collide { 0 } else { hash }
    }

    pub fn loop_at(&self, id: u32) -> Error {
        Error::Loop(id)
    }
}

/// The names that types have.
struct Names {
    /// A bit for each number below [`Names::LIMIT`].
    bits: Vec<u64>,
}

impl Names {
    /// Of larger numbers nothing is known. No blob has strings of more bytes.
    const LIMIT: u32 = 1 << 28;

    fn of(types: &Types) -> Self {
        let mut names = Names { bits: vec![1] };
        for index in 0..types.len() {
            let record = types.record(index);
            for at in name_positions(record).filter(|&at| record[at] < Self::LIMIT) {
                let (word, bit) = (record[at] as usize / 64, record[at] % 64);
                if word >= names.bits.len() {
                    names.bits.resize(word + 1, 0);
                }
                names.bits[word] |= 1 << bit;
            }
        }
        names
    }

    fn has(&self, name: u32) -> bool {
        let word = self.bits.get(name as usize / 64).copied().unwrap_or(0);
        word >> (name % 64) & 1 != 0 || name >= Self::LIMIT
    }

    /// Whether one of the types can be found to be that of the record: then it has all of its names, but for those of
    /// an enumeration's values. Most types of a kernel have a name that a module does not know.
    fn may_be_in(&self, record: &[u32]) -> bool {
        match records::is_enum(records::kind_of(record)) {
            true => self.has(record[0]),
            false => name_positions(record).all(|at| self.has(record[at])),
        }
    }
}

/// A structure's hash: everything but the types of its members.
fn shallow_hash(record: &[u32]) -> u64 {
    let members = record[3..].chunks_exact(3).flat_map(|member| [member[0], member[2]]);
    hash(record[..3].iter().copied().chain(members))
}

/// Whether two structures agree in everything but the types of their members.
pub(crate) fn shallow_equal(a: &[u32], b: &[u32]) -> bool {
    a.len() == b.len()
        && a[..3] == b[..3]
        && a[3..]
            .chunks_exact(3)
            .zip(b[3..].chunks_exact(3))
            .all(|(a, b)| a[0] == b[0] && a[2] == b[2])
}

impl crate::twins::Records for State<'_> {
    fn record(&self, id: u32) -> &[u32] {
        State::record(self, id)
    }
}
