//! The pool as it was in an earlier run.

use hashbrown::HashTable;

use super::{Doubts, Entry, Link, Place, Pool, SHARDS, Shard};
use crate::cache::{Certainty, FirstTwo, Notes, Spot};
use crate::cu::INDEX;

/// What recognises a type.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    pub key: u64,
    pub contents: u64,
    pub pattern: u32,
    pub check: u32,
}

/// A part of the pool, to be saved or as it was saved. What a type's index is is its place in these lists.
#[derive(Debug, Default)]
pub(crate) struct SavedShard {
    pub marks: Vec<Mark>,
    /// Lengths of each type's words and children.
    pub lens: Vec<(u32, u32)>,
    pub words: Vec<u32>,
    pub children: Vec<u32>,
    pub notes: Notes,
    pub links: Vec<Link>,
}

impl Shard {
    /// The part to be saved, with its records as they are; `None` if nothing was noted.
    pub fn saved(&self) -> Option<SavedShard> {
        let mut marks = vec![Mark::default(); self.spans.len()];
        for entry in &self.table {
            let Entry { key, contents, pattern, check, .. } = *entry;
            marks[entry.at as usize] = Mark { key, contents, pattern, check };
        }
        let end = (self.words.len() as u32, self.children.len() as u32);
        let ends = self.spans.iter().skip(1).copied().chain([end]);
        let lens = self.spans.iter().zip(ends).map(|(a, b)| (b.0 - a.0, b.1 - a.1)).collect();
        Some(SavedShard {
            marks,
            lens,
            words: self.words.clone(),
            children: self.children.clone(),
            notes: self.notes.clone()?,
            links: self.links.clone(),
        })
    }

    /// The part that was saved. Lengths and indexes have been checked.
    fn resume(saved: SavedShard) -> Self {
        let SavedShard { marks, lens, words, children, notes, links } = saved;
        let mut shard = Shard { words, children, links, ..Shard::default() };
        let (mut word, mut child) = (0, 0);
        shard.table = HashTable::with_capacity(marks.len());
        for ((at, mark), (words, children)) in (0..).zip(marks).zip(lens) {
            shard.spans.push((word, child));
            (word, child) = (word + words, child + children);
            let spot = notes.types.get(at as usize).copied().unwrap_or_default().spots[0];
            let Mark { key, contents, pattern, check } = mark;
            let contents_unit = notes.unit_with(at, contents);
            let place = Place::new(spot.unit, spot.local);
            let entry = Entry { key, place, contents, contents_unit, pattern, at, check };
            let hash = |entry: &Entry| entry.key.rotate_left(32);
            shard.table.insert_unique(hash(&entry), entry, hash);
        }
        let keys = shard.keys();
        let other = |(&(at, contents), units): (&(u32, u64), &FirstTwo)| {
            let (key, first) = *keys.get(at as usize)?;
            (first != contents).then_some((contents ^ key, units.spots[0].unit))
        };
        shard.contents = notes.contents.iter().filter_map(other).collect();
        shard.notes = Some(notes);
        shard
    }

    /// Key and first contents of each type.
    fn keys(&self) -> Vec<(u64, u64)> {
        let mut keys = vec![(0, 0); self.spans.len()];
        for entry in &self.table {
            keys[entry.at as usize] = (entry.key, entry.contents);
        }
        keys
    }
}

impl Pool {
    /// A pool that begins with what was saved.
    pub fn resume(shards: Vec<SavedShard>) -> Self {
        let shards = shards.into_iter().map(|saved| Shard::resume(saved).into()).collect();
        Pool { shards, doubts: Doubts::default(), mask: u64::MAX }
    }

    /// Notes where types are met from now on.
    pub fn take_notes(&mut self) {
        for shard in &mut self.shards {
            shard_of(shard).notes = Some(Notes::default());
        }
    }

    /// Tells of every type the record and where it is met first.
    pub fn for_first(&self, mut tell: impl FnMut(Spot, &[u32]) -> Option<()>) -> Option<()> {
        for shard in 0..SHARDS {
            let shard = self.lock(shard);
            let ends = shard.spans.iter().skip(1).map(|span| span.0 as usize);
            let ends = ends.chain([shard.words.len()]);
            let notes = shard.notes.as_ref()?;
            for ((span, end), units) in shard.spans.iter().zip(ends).zip(&notes.types) {
                tell(units.spots[0], &shard.words[span.0 as usize..end])?;
            }
        }
        Some(())
    }

    /// Decides, when all units that were not known have been read, which types there are, and puts each where it is met
    /// first. Types that no unit has any more are taken out, and numbers of types change: by part and index, the
    /// new index. `None` if something is open.
    pub fn settle(&mut self) -> Option<Renumbered> {
        let mut new = Vec::with_capacity(SHARDS);
        for shard in &mut self.shards {
            new.push(shard_of(shard).settle()?);
        }
        let new = Renumbered(new);
        let notes = self.shards.iter_mut().map(|shard| shard_of(shard).notes.take());
        let notes: Vec<Notes> = notes.collect::<Option<_>>()?;
        for (shard, own) in self.shards.iter_mut().zip(&notes) {
            shard_of(shard).renumber(&new, own, &notes)?;
        }
        for ((shard, notes), new) in self.shards.iter_mut().zip(notes).zip(&new.0) {
            let shard = shard_of(shard);
            shard.notes = Some(notes);
            if new.contains(&GONE) {
                shard.take_out(new);
            }
        }
        Some(new)
    }
}

fn shard_of(shard: &mut std::sync::Mutex<Shard>) -> &mut Shard {
    shard.get_mut().unwrap_or_else(|e| e.into_inner())
}

/// A type that no unit has any more.
const GONE: u32 = u32::MAX;

/// New indexes of types, by part and index.
#[derive(Debug)]
pub(crate) struct Renumbered(Vec<Vec<u32>>);

impl Renumbered {
    /// The new number of a type; `None` if it is gone.
    pub fn of(&self, id: u32) -> Option<u32> {
        let (shard, at) = super::parts(id);
        let new = self.0.get(shard)?.get(at).copied().filter(|&new| new != GONE)?;
        Some(super::pool_id(new, shard))
    }

    /// The new number and 1 of a type that is told with 1; 0 and [`INDEX`] stay.
    pub fn child(&self, child: u32) -> Option<u32> {
        match child {
            0 | INDEX => Some(child),
            child => Some(self.of(child - 1)? + 1),
        }
    }
}

impl Shard {
    /// Settles what is noted; gives the new indexes.
    fn settle(&mut self) -> Option<Vec<u32>> {
        let notes = self.notes.as_mut()?;
        notes.types.resize(self.spans.len(), FirstTwo::default());
        let mut next = 0;
        let mut new = Vec::with_capacity(self.spans.len());
        for units in &mut notes.types {
            new.push(match units.settle() {
                Certainty::Known => {
                    next += 1;
                    next - 1
                }
                Certainty::Gone => GONE,
                Certainty::Open => return None,
            });
        }
        if notes.contents.values().any(|units| units.presence() == Certainty::Open) {
            return None;
        }
        notes.contents.retain(|_, units| units.presence() == Certainty::Known);
        for entry in &mut self.table {
            let units = &notes.types[entry.at as usize];
            entry.place = Place::new(units.spots[0].unit, units.spots[0].local);
            // What the type refers to was kept of units with these contents.
            let stale = entry.contents != 0
                && units.is_somewhere()
                && notes.unit_with(entry.at, entry.contents) == crate::cache::NONE;
            if stale {
                return None;
            }
        }
        Some(new)
    }

    /// Renumbers what types refer to. `notes` are those of all parts, `own` this one's.
    fn renumber(&mut self, new: &Renumbered, own: &Notes, notes: &[Notes]) -> Option<()> {
        // A link is there if the contents are that said so.
        let is_there = |link: &Link| {
            let (shard, at) = super::parts(link.of);
            notes[shard].is_somewhere(at as u32, link.contents)
        };
        self.links.retain(is_there);
        for link in &mut self.links {
            (link.of, link.to) = (new.of(link.of)?, new.of(link.to)?);
        }
        // Children of what is gone may be gone too, and are taken out with it.
        let ends = self.spans.iter().skip(1).map(|span| span.1).chain([self.children.len() as u32]);
        for ((units, span), end) in own.types.iter().zip(&self.spans).zip(ends) {
            if units.is_somewhere() {
                for child in &mut self.children[span.1 as usize..end as usize] {
                    *child = new.child(*child)?;
                }
            }
        }
        Some(())
    }

    /// Takes out what is gone.
    fn take_out(&mut self, new: &[u32]) {
        let spans = std::mem::take(&mut self.spans);
        let end = (self.words.len() as u32, self.children.len() as u32);
        let ends = spans.iter().skip(1).copied().chain([end]);
        let (mut words, mut children) = (Vec::new(), Vec::new());
        for ((&start, end), _) in spans.iter().zip(ends).zip(new).filter(|&(_, &at)| at != GONE) {
            self.spans.push((words.len() as u32, children.len() as u32));
            words.extend_from_slice(&self.words[start.0 as usize..end.0 as usize]);
            children.extend_from_slice(&self.children[start.1 as usize..end.1 as usize]);
        }
        (self.words, self.children) = (words, children);
        let gone = |at: u32| new[at as usize] == GONE;
        // Other contents than the first are told by a hash, and not asked for any more.
        self.table.retain(|entry| !gone(entry.at));
        for entry in &mut self.table {
            entry.at = new[entry.at as usize];
        }
        if let Some(notes) = &mut self.notes {
            let mut at = 0;
            notes.types.retain(|_| {
                at += 1;
                !gone(at - 1)
            });
            let contents = std::mem::take(&mut notes.contents);
            let stayed = contents.into_iter().filter(|&((at, _), _)| !gone(at));
            notes.contents = stayed
                .map(|((at, contents), units)| ((new[at as usize], contents), units))
                .collect();
        }
    }
}
