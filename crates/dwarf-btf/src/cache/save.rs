//! Saving: the state when all units have been read, as a file.

use rayon::prelude::*;

use super::file::{Writer, halves};
use super::key::Key;
use super::noted::FirstTwo;
use crate::cu::{DeclTag, name_positions};
use crate::merge::Kept;
use crate::pool::{Pool, PoolId, SHARDS, SavedShard, pool_id};
use crate::strings::{Mark, NUMBERED, SavedStrings, StrId, Strings};

/// The state.
pub(crate) struct State<'g, 's> {
    pub strings: &'g Strings<'s>,
    /// The strings that are saved.
    pub met: &'g Mark,
    pub pool: &'g Pool,
    /// By unit.
    pub units: &'g [Option<Kept>],
    pub keys: &'g [Key],
    /// Names of the functions that were looked for.
    pub candidates: Vec<StrId>,
    /// Structures that are apart in some unit, besides those that units say.
    pub wanted: Vec<PoolId>,
    /// How many runs there were since all units were read.
    pub age: u32,
    pub tie: u128,
}

/// The file but for its checksum, and where the keys stand in it, in bytes; `None` if it would be too large, or something is not sound.
pub(crate) fn save(state: &State<'_, '_>) -> Option<(Vec<u8>, usize)> {
    let mut shards: Vec<SavedShard> = Vec::with_capacity(SHARDS);
    for shard in 0..SHARDS {
        shards.push(state.pool.lock(shard).saved()?);
    }
    // Names are numbers of strings, which stay.
    shards
        .par_iter_mut()
        .map(|shard| number_names(shard, state.strings))
        .collect::<Option<()>>()?;
    let mut file = Writer::with_capacity(16 << 20);
    strings(&mut file, &state.strings.saved(state.met));
    let wanted = wanted(state);
    let keys = units(&mut file, state, &wanted);
    let mut sorted = state.candidates.clone();
    sorted.sort_unstable();
    file.list(&sorted);
    file.list(&wanted);
    file.list(&[state.age]);
    shards.iter().for_each(|shard| types(&mut file, shard));
    (0..).zip(&shards).for_each(|(index, shard)| notes(&mut file, index, shard));
    Some((file.finish(state.tie)?, keys))
}

fn number_names(shard: &mut SavedShard, strings: &Strings<'_>) -> Option<()> {
    let mut words = &mut shard.words[..];
    for &(len, _) in &shard.lens {
        let (record, rest) = words.split_at_mut(len as usize);
        words = rest;
        for at in name_positions(record) {
            if record[at] != 0 {
                record[at] = strings.of_code(record[at]).ok()? | NUMBERED;
            }
        }
    }
    Some(())
}

fn strings(file: &mut Writer, saved: &SavedStrings<'_>) {
    file.list(&saved.counts);
    file.list(&saved.codes);
    let lens: Vec<u32> = saved.strings.iter().map(|text| text.len() as u32).collect();
    file.list(&lens);
    file.list(&saved.strings.concat());
}

/// The structures that some unit has apart: of others it is not asked which units have them.
fn wanted(state: &State<'_, '_>) -> Vec<PoolId> {
    let apart = state.units.iter().flatten().flat_map(|kept| &kept.witness.apart);
    let mut wanted = state.wanted.clone();
    wanted.extend(apart.flat_map(|apart| [apart.roots.0, apart.roots.1]));
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// Returns where the keys stand, in bytes.
fn units(file: &mut Writer, state: &State<'_, '_>, wanted: &[PoolId]) -> usize {
    let keys: Vec<u64> = state.keys.iter().flat_map(|&key| halves(key)).collect();
    let keys = file.list(&keys);
    let mut words: Vec<u32> = Vec::new();
    for kept in state.units {
        words.push(u32::from(kept.is_some()));
        if let Some(kept) = kept {
            unit(&mut words, kept, wanted);
        }
    }
    file.list(&words);
    keys
}

fn long(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn unit(out: &mut Vec<u32>, kept: &Kept, wanted: &[PoolId]) {
    let cu = &kept.cu;
    let tags = |out: &mut Vec<u32>, tags: &[DeclTag]| {
        out.push(tags.len() as u32);
        tags.iter().for_each(|tag| out.extend([tag.value, tag.ty, tag.component as u32]));
    };
    out.extend([kept.count, cu.int, u32::from(cu.has_array)]);
    tags(out, &cu.type_tags);
    out.push(cu.funcs.len() as u32);
    for func in &cu.funcs {
        let facts = func.facts;
        let flags = [
            func.variadic,
            facts.unexpected_reg,
            facts.optimized_parms,
            facts.reordered_parm,
            facts.uncertain_parm_loc,
            facts.signature_changed,
        ];
        let flags = flags.iter().rev().fold(0, |bits, &flag| bits << 1 | u32::from(flag));
        out.extend([func.name, func.ret, flags, func.low_pc_at]);
        let params = cu.params_of(func);
        out.push(params.len() as u32);
        params.iter().for_each(|param| out.extend([param.name, param.ty]));
        tags(out, cu.tags_of(func));
    }
    out.push(cu.vars.len() as u32);
    for var in &cu.vars {
        out.extend([var.name, var.own_name, var.ty, u32::from(var.external), var.size]);
        out.push(var.address_at);
        out.extend(long(var.displacement));
        tags(out, cu.tags_of_var(var));
    }
    let witness = &kept.witness;
    let structures = witness.structures.iter().filter(|id| wanted.binary_search(id).is_ok());
    let structures: Vec<u32> = structures.copied().collect();
    out.push(structures.len() as u32);
    out.extend(structures);
    out.push(witness.apart.len() as u32);
    for apart in &witness.apart {
        out.extend(long(apart.key));
        out.extend([apart.roots.0, apart.roots.1]);
    }
}

fn types(file: &mut Writer, shard: &SavedShard) {
    let hashes: Vec<[u64; 2]> = shard.marks.iter().map(|mark| [mark.key, mark.contents]).collect();
    file.list(hashes.as_flattened());
    let small = shard.marks.iter().zip(&shard.lens);
    let small: Vec<[u32; 4]> =
        small.map(|(mark, lens)| [mark.pattern, mark.check, lens.0, lens.1]).collect();
    file.list(small.as_flattened());
    file.list(&shard.words);
    file.list(&shard.children);
}

fn places(units: &FirstTwo) -> [u32; 7] {
    let [a, b] = units.spots;
    [a.unit, a.local, a.start, b.unit, b.local, b.start, units.bound]
}

fn notes(file: &mut Writer, index: usize, shard: &SavedShard) {
    let types: Vec<[u32; 7]> = shard.notes.types.iter().map(places).collect();
    file.list(types.as_flattened());
    let mut contents: Vec<_> = shard.notes.contents.iter().collect();
    contents.sort_unstable_by_key(|&(&key, _)| key);
    let hashes: Vec<u64> = contents.iter().map(|&(&(_, contents), _)| contents).collect();
    file.list(&hashes);
    let units = contents.iter().map(|&(&(at, _), units)| {
        [pool_id(at, index), units.spots[0].unit, units.spots[1].unit, units.bound]
    });
    file.list(units.collect::<Vec<[u32; 4]>>().as_flattened());
    let said: Vec<[u64; 2]> = shard.links.iter().map(|link| [link.from, link.contents]).collect();
    file.list(said.as_flattened());
    let links = shard.links.iter().map(|link| [link.of, link.to, u32::from(link.named)]);
    file.list(links.collect::<Vec<[u32; 3]>>().as_flattened());
}
