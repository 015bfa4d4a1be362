//! Loading: a file as [`crate::cache::save`] writes it, with every number checked that is used as an index.

use super::file::{Lists, open};
use super::key::Key;
use super::noted::{FirstTwo, NONE, Notes, Spot};
use crate::cu::{Cu, DeclTag, Func, FuncFacts, INDEX, Param, Var, kind, kind_of, name_positions};
use crate::digest::{is_named_composite, references};
use crate::merge::Kept;
use crate::pool::{Link, Mark, PoolId, SHARDS, SavedShard, parts, pool_id};
use crate::strings::{NUMBERED, SavedStrings, StrId};
use crate::twins::Apart;

/// What was saved.
#[derive(Debug)]
pub(crate) struct Saved<'f> {
    pub strings: SavedStrings<'f>,
    /// By unit.
    pub keys: Vec<Key>,
    pub units: Vec<Option<Kept>>,
    /// Names of the functions that were looked for, ascending.
    pub candidates: &'f [StrId],
    /// The structures of which it is said which units have them.
    pub wanted: &'f [PoolId],
    pub age: u32,
    pub shards: Vec<SavedShard>,
}

/// What is in the file; `None` if it is not ours, or not sound.
pub(crate) fn load(bytes: &[u8], tie: u128) -> Option<Saved<'_>> {
    let mut lists = open(bytes, tie)?;
    let strings = strings(&mut lists)?;
    let keys: Vec<Key> = groups::<u64, 2>(lists.list()?)?
        .iter()
        .map(|&[low, high]| u128::from(low) | u128::from(high) << 64)
        .collect();
    let unit_words = lists.list::<u32>()?;
    let (candidates, wanted) = (lists.list()?, lists.list()?);
    let &[age] = lists.list::<u32>()? else { return None };
    let mut shards = Vec::with_capacity(SHARDS);
    for _ in 0..SHARDS {
        shards.push(types(&mut lists)?);
    }
    let check = Check { counts: shards.iter().map(|shard| shard.marks.len()).collect() };
    for (index, shard) in shards.iter_mut().enumerate() {
        notes(&mut lists, index, shard, keys.len(), &check)?;
    }
    let whole = lists.is_empty()
        && wanted.iter().all(|&id| check.is_type(id))
        && candidates.iter().all(|&name| strings.has(name))
        && shards.iter().all(|shard| records(shard, &strings, &check))
        && no_cycles(&shards);
    let units = units(unit_words, keys.len(), &strings, &check)?;
    whole.then_some(Saved { strings, keys, units, candidates, wanted, age, shards })
}

/// The list by so many at a time.
fn groups<T: Copy, const N: usize>(list: &[T]) -> Option<&[[T; N]]> {
    let (groups, rest) = list.as_chunks::<N>();
    rest.is_empty().then_some(groups)
}

fn strings<'f>(lists: &mut Lists<'f>) -> Option<SavedStrings<'f>> {
    let counts = lists.list::<u32>()?.to_vec();
    let codes = lists.list::<u32>()?.to_vec();
    let lens = lists.list::<u32>()?;
    let mut text = lists.list::<u8>()?;
    let mut strings = Vec::with_capacity(lens.len());
    for &len in lens {
        let (string, rest) = text.split_at_checked(len as usize)?;
        strings.push(string);
        text = rest;
    }
    text.is_empty().then_some(SavedStrings { counts, strings, codes })
}

/// What numbers of types there are.
struct Check {
    counts: Vec<usize>,
}

impl Check {
    fn is_type(&self, id: PoolId) -> bool {
        let (shard, at) = parts(id);
        at < self.counts[shard]
    }

    /// Whether a type is told with 1, or it is none.
    fn is_child(&self, child: u32) -> bool {
        child == 0 || self.is_type(child - 1)
    }
}

fn types(lists: &mut Lists<'_>) -> Option<SavedShard> {
    let hashes = groups::<u64, 2>(lists.list()?)?;
    let small = groups::<u32, 4>(lists.list()?)?;
    let (words, children) = (lists.list::<u32>()?.to_vec(), lists.list::<u32>()?.to_vec());
    if hashes.len() != small.len() {
        return None;
    }
    let marks = hashes.iter().zip(small).map(|(&[key, contents], &[pattern, check, ..])| Mark {
        key,
        contents,
        pattern,
        check,
    });
    let marks = marks.collect();
    let lens = small.iter().map(|&[.., words, children]| (words, children)).collect();
    Some(SavedShard { marks, lens, words, children, ..SavedShard::default() })
}

fn notes(
    lists: &mut Lists<'_>,
    index: usize,
    shard: &mut SavedShard,
    units: usize,
    check: &Check,
) -> Option<()> {
    let is_unit = |unit: u32| unit == NONE || (unit as usize) < units;
    let ordered = |list: &FirstTwo| {
        let [a, b] = list.spots.map(|spot| spot.unit);
        is_unit(a) && is_unit(b) && (a < b || b == NONE)
    };
    let places = groups::<u32, 7>(lists.list()?)?;
    let types = places.iter().map(|&[a, b, c, d, e, f, bound]| {
        let spot = |unit, local, start| Spot { unit, local, start };
        FirstTwo { spots: [spot(a, b, c), spot(d, e, f)], bound }
    });
    let types: Vec<FirstTwo> = types.collect();
    let hashes = lists.list::<u64>()?;
    let with = groups::<u32, 4>(lists.list()?)?;
    if types.len() != shard.marks.len() || hashes.len() != with.len() {
        return None;
    }
    let mut notes = Notes { types, ..Notes::default() };
    notes.contents.reserve(with.len());
    for (&contents, &[id, first, second, bound]) in hashes.iter().zip(with) {
        let (part, at) = parts(id);
        let units = FirstTwo { spots: [Spot::unit(first), Spot::unit(second)], bound };
        if part != index || !check.is_type(id) || !ordered(&units) {
            return None;
        }
        notes.contents.insert((at as u32, contents), units);
    }
    if !notes.types.iter().all(ordered) {
        return None;
    }
    shard.notes = notes;
    let said = groups::<u64, 2>(lists.list()?)?;
    let links = groups::<u32, 3>(lists.list()?)?;
    if said.len() != links.len() {
        return None;
    }
    let links = said.iter().zip(links).map(|(&[from, contents], &[of, to, named])| {
        let known = check.is_type(of) && check.is_type(to);
        known.then_some(Link { of, contents, from, named: named != 0, to })
    });
    shard.links = links.collect::<Option<_>>()?;
    Some(())
}

/// Whether the records of a part are sound: their lengths, names and children.
fn records(shard: &SavedShard, strings: &SavedStrings<'_>, check: &Check) -> bool {
    let (mut words, mut children) = (&shard.words[..], &shard.children[..]);
    for &(len, count) in &shard.lens {
        let Some((record, rest)) = words.split_at_checked(len as usize) else { return false };
        let Some((own, others)) = children.split_at_checked(count as usize) else { return false };
        (words, children) = (rest, others);
        let named = |at: usize| {
            record[at] == 0 || record[at] & NUMBERED != 0 && strings.has(record[at] & !NUMBERED)
        };
        let sound = is_record(record)
            && references(record).count() == own.len()
            && own.iter().all(|&child| child == INDEX || check.is_child(child))
            && name_positions(record).all(named);
        if !sound {
            return false;
        }
    }
    words.is_empty() && children.is_empty()
}

/// Whether a record is as long as one of its kind.
fn is_record(record: &[u32]) -> bool {
    let Some(rest) = record.len().checked_sub(3) else { return false };
    match kind_of(record[1]) {
        kind::STRUCT | kind::UNION | kind::ENUM64 => rest % 3 == 0,
        kind::ENUM | kind::FUNC_PROTO => rest % 2 == 0,
        kind::ARRAY => rest == 3,
        kind::INT => rest == 1,
        kind::PTR
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::TYPE_TAG
        | kind::FLOAT
        | kind::FWD => rest == 0,
        _ => false,
    }
}

/// References are followed to this depth where no structure with a name is between: no unit's are deeper.
const MAX_DEPTH: u32 = 4000;

/// Whether chains of references end, if they are not followed through structures with names.
fn no_cycles(shards: &[SavedShard]) -> bool {
    let spans: Vec<Vec<(u32, u32)>> = shards.iter().map(spans).collect();
    let record = |id: PoolId| {
        let (shard, at) = parts(id);
        let start = spans[shard][at].0 as usize;
        &shards[shard].words[start..start + shards[shard].lens[at].0 as usize]
    };
    let children = |id: PoolId| {
        let (shard, at) = parts(id);
        let start = spans[shard][at].1 as usize;
        &shards[shard].children[start..start + shards[shard].lens[at].1 as usize]
    };
    // 0 is not known, 1 is being gone through; others are depth and 2.
    let mut depth: Vec<Vec<u32>> = spans.iter().map(|spans| vec![0; spans.len()]).collect();
    let mut stack: Vec<(PoolId, usize)> = Vec::new();
    for (shard, spans) in spans.iter().enumerate() {
        stack.extend((0..spans.len() as u32).map(|at| (pool_id(at, shard), 0)));
        while let Some((id, next)) = stack.pop() {
            let (part, at) = parts(id);
            if next == 0 && depth[part][at] > 1 {
                continue;
            }
            if next == 0 && is_named_composite(record(id)) {
                depth[part][at] = 2;
                continue;
            }
            if next == 0 && depth[part][at] == 1 {
                return false;
            }
            let own = children(id);
            depth[part][at] = 1;
            let open = (next..own.len()).find(|&index| {
                let child = own[index];
                let known = |id: PoolId| depth[parts(id).0][parts(id).1] > 1;
                child != 0 && child != INDEX && !known(child - 1)
            });
            match open {
                Some(index) => {
                    stack.push((id, index + 1));
                    stack.push((own[index] - 1, 0));
                }
                None => {
                    let of = own.iter().filter(|&&child| child != 0 && child != INDEX);
                    let deepest = of.map(|&child| {
                        let (part, at) = parts(child - 1);
                        depth[part][at]
                    });
                    let deepest = deepest.max().unwrap_or(2);
                    if deepest > MAX_DEPTH {
                        return false;
                    }
                    depth[part][at] = deepest + 1;
                }
            }
        }
    }
    true
}

/// Where each type's words and children begin.
fn spans(shard: &SavedShard) -> Vec<(u32, u32)> {
    let mut next = (0, 0);
    let start = |&(words, children): &(u32, u32)| {
        let start = next;
        next = (next.0 + words, next.1 + children);
        start
    };
    shard.lens.iter().map(start).collect()
}

/// What is left of the words of units.
struct Words<'c, 'f> {
    words: &'f [u32],
    strings: &'c SavedStrings<'f>,
    check: &'c Check,
}

impl Words<'_, '_> {
    fn take<const N: usize>(&mut self) -> Option<[u32; N]> {
        let (words, rest) = self.words.split_first_chunk::<N>()?;
        self.words = rest;
        Some(*words)
    }

    /// A number of things that have at least so many words each.
    fn count(&mut self, words: usize) -> Option<usize> {
        let [count] = self.take()?;
        (count as usize <= self.words.len() / words).then_some(count as usize)
    }

    fn long(&mut self) -> Option<u64> {
        let [low, high] = self.take()?;
        Some(u64::from(low) | u64::from(high) << 32)
    }

    fn is_name(&self, name: StrId) -> Option<StrId> {
        self.strings.has(name).then_some(name)
    }

    fn is_child(&self, child: u32) -> Option<u32> {
        self.check.is_child(child).then_some(child)
    }

    fn is_type(&self, id: PoolId) -> Option<PoolId> {
        self.check.is_type(id).then_some(id)
    }

    /// Adds tags, and says where they are.
    fn tags(&mut self, out: &mut Vec<DeclTag>) -> Option<(u32, u32)> {
        let first = out.len() as u32;
        for _ in 0..self.count(3)? {
            let [value, ty, component] = self.take()?;
            let (value, ty) = (self.is_name(value)?, self.is_child(ty)?);
            out.push(DeclTag { value, ty, component: component as i32 });
        }
        Some((first, out.len() as u32))
    }
}

fn units(
    words: &[u32],
    count: usize,
    strings: &SavedStrings<'_>,
    check: &Check,
) -> Option<Vec<Option<Kept>>> {
    let mut words = Words { words, strings, check };
    let mut units = Vec::new();
    for _ in 0..count {
        units.push(match words.take()? {
            [0] => None,
            [1] => Some(unit(&mut words)?),
            _ => return None,
        });
    }
    words.words.is_empty().then_some(units)
}

fn unit(words: &mut Words<'_, '_>) -> Option<Kept> {
    let mut kept = Kept::default();
    let [count, int, has_array] = words.take()?;
    kept.count = count;
    kept.cu.int = words.is_child(int)?;
    kept.cu.has_array = has_array != 0;
    words.tags(&mut kept.cu.type_tags)?;
    for _ in 0..words.count(6)? {
        func(words, &mut kept.cu)?;
    }
    for _ in 0..words.count(9)? {
        let [name, own_name, ty, external, size, address_at] = words.take()?;
        let displacement = words.long()?;
        let tags = words.tags(&mut kept.cu.var_tags)?;
        kept.cu.vars.push(Var {
            name: words.is_name(name)?,
            own_name: words.is_name(own_name)?,
            ty: words.is_child(ty)?,
            external: external != 0,
            address: 0,
            address_at,
            displacement,
            size,
            tags,
        });
    }
    for _ in 0..words.count(1)? {
        let [id] = words.take()?;
        kept.witness.structures.push(words.is_type(id)?);
    }
    for _ in 0..words.count(4)? {
        let key = words.long()?;
        let [one, other] = words.take()?;
        let roots = (words.is_type(one)?, words.is_type(other)?);
        kept.witness.apart.push(Apart { key, roots });
    }
    Some(kept)
}

fn func(words: &mut Words<'_, '_>, cu: &mut Cu) -> Option<()> {
    let [name, ret, flags, low_pc_at] = words.take()?;
    let first = cu.params.len() as u32;
    for _ in 0..words.count(2)? {
        let [name, ty] = words.take()?;
        let (name, ty) = (words.is_name(name)?, words.is_child(ty)?);
        cu.params.push(Param { name, ty, dropped: false });
    }
    let params = (first, cu.params.len() as u32);
    let tags = words.tags(&mut cu.func_tags)?;
    let flag = |bit: u32| flags >> bit & 1 != 0;
    let facts = FuncFacts {
        unexpected_reg: flag(1),
        optimized_parms: flag(2),
        reordered_parm: flag(3),
        uncertain_parm_loc: flag(4),
        signature_changed: flag(5),
    };
    cu.funcs.push(Func {
        name: words.is_name(name)?,
        ret: words.is_child(ret)?,
        params,
        variadic: flag(0),
        low_pc: 0,
        low_pc_at,
        facts,
        tags,
    });
    Some(())
}
