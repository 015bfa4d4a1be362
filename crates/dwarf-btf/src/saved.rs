//! Functions, decided on when all units are known (pahole 1.25 and later).
//!
//! A function has as many descriptions as there are units that compiled it, and two in a unit where it
//! was both inlined and compiled. All descriptions under one name are taken together: the function is
//! written once, or left out if a tracer could be misled by any of them.
//!
//! Source of facts: btf_encoder.c of pahole 1.31 (`btf_encoder__add_saved_funcs` and what it calls).

use rayon::prelude::*;

use crate::Rules;
use crate::addresses::{Addresses, LowPc, NotRead};
use crate::cu::{Cu, DeclTag, Func, FuncFacts, Misplaced, info, kind, kind_of};
use crate::explain::Explain;
use crate::strings::StrId;
use crate::symbols::{ElfFunction, Symbols, is_optimized};
use crate::units::OwnNames;

/// One description of a function; types are numbers of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    /// The place in [`SavedFunctions::all`].
    index: u32,
    elf: u32,
    low_pc: LowPc,
    /// The final address, 0 if there is none or nothing depends on it.
    address: u64,
    pub ret: u32,
    /// Name and type of each parameter, in [`SavedFunctions::params`].
    params: (u32, u32),
    tags: (u32, u32),
    pub facts: FuncFacts,
    /// The description whose prototype differs from this one's, an index into [`SavedFunctions::all`].
    pub inconsistent: Option<u32>,
    /// The symbol at its address says that its parameters were changed, if that decides anything.
    optimized_symbol: bool,
    /// The unit's name and what is out of place there, if functions are to be explained.
    pub unit: StrId,
    misplaced: (u32, u32),
}

/// Why a function is left out, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Ambiguous,
    Changed,
    Reordered,
    Uncertain,
    Inconsistent,
    Register,
}

/// What is decided on a function, and by what.
pub(crate) struct Decision<'d> {
    pub saved: &'d SavedFunctions,
    pub function: &'d ElfFunction<'d>,
    /// Address and full name of each of its symbols.
    pub symbols: Entries<'d>,
    /// Its descriptions by unit; the first has what is known of all.
    pub group: &'d [Saved],
    /// The one that is written.
    pub chosen: &'d Saved,
    /// If several reasons hold, the first is told if functions are to be explained, and else any.
    pub why: Option<Why>,
}

/// Address and full name of each symbol of a function.
type Entries<'d> = &'d [(u64, &'d [u8])];

/// The descriptions met so far.
#[derive(Debug, Default)]
pub(crate) struct SavedFunctions {
    all: Vec<Saved>,
    params: Vec<(StrId, u32)>,
    tags: Vec<DeclTag>,
    misplaced: Vec<Misplaced>,
}

/// Types to compare and to add to.
pub(crate) trait Stream: Sync {
    /// The record of a type.
    fn record(&self, id: u32) -> &[u32];
    /// Adds a record at the end and returns its number.
    fn add(&mut self, record: &[u32]) -> u32;
}

const KF_FASTCALL: u32 = 1 << 12;
const KF_ARENA_RET: u32 = 1 << 13;
const KF_ARENA_ARG1: u32 = 1 << 14;
const KF_ARENA_ARG2: u32 = 1 << 15;

impl SavedFunctions {
    /// Saves a unit's functions, whose addresses may not have been read; `place` turns the unit's types into the
    /// stream's, `name` is told each string in the order in which pahole would add it.
    pub fn save(
        &mut self,
        (cu, not_read): (&Cu, Option<NotRead>),
        symbols: &Symbols<'_>,
        place: &mut dyn FnMut(u32) -> u32,
        name: &mut dyn FnMut(StrId),
    ) {
        for (index, func) in cu.funcs.iter().enumerate() {
            let Some(elf) = symbols.function(func.name) else { continue };
            let first = self.misplaced.len() as u32;
            let of_func = cu.misplaced.iter().filter(|other| other.func == index as u32);
            self.misplaced.extend(of_func);
            let low_pc = LowPc::new(func, not_read);
            let mut saved = self.one(cu, func, (elf, low_pc), place, name);
            saved.misplaced = (first, self.misplaced.len() as u32);
            self.all.push(saved);
        }
    }

    fn one(
        &mut self,
        cu: &Cu,
        func: &Func,
        (elf, low_pc): (u32, LowPc),
        place: &mut dyn FnMut(u32) -> u32,
        name: &mut dyn FnMut(StrId),
    ) -> Saved {
        let first = self.params.len() as u32;
        for param in &cu.params[func.params.0 as usize..func.params.1 as usize] {
            if !param.dropped {
                name(param.name);
                self.params.push((param.name, place(param.ty)));
            }
        }
        if func.variadic {
            self.params.push((0, 0));
        }
        let tag = self.tags.len() as u32;
        for tag in &cu.func_tags[func.tags.0 as usize..func.tags.1 as usize] {
            name(tag.value);
            self.tags.push(*tag);
        }
        Saved {
            index: self.all.len() as u32,
            elf,
            low_pc,
            address: 0,
            ret: place(func.ret),
            params: (first, self.params.len() as u32),
            tags: (tag, self.tags.len() as u32),
            facts: func.facts,
            inconsistent: None,
            optimized_symbol: false,
            unit: cu.name,
            misplaced: (0, 0),
        }
    }

    /// Adds what was saved of later units, in their order.
    pub fn append_all(&mut self, parts: Vec<Self>) {
        self.all.reserve(parts.iter().map(|part| part.all.len()).sum());
        self.params.reserve(parts.iter().map(|part| part.params.len()).sum());
        parts.into_iter().for_each(|part| self.append(part));
    }

    fn append(&mut self, later: Self) {
        let [all, params, tags, misplaced] =
            [self.all.len(), self.params.len(), self.tags.len(), self.misplaced.len()]
                .map(|len| len as u32);
        let shift = |(start, end): (u32, u32), by| (start + by, end + by);
        self.all.extend(later.all.into_iter().map(|saved| Saved {
            index: saved.index + all,
            params: shift(saved.params, params),
            tags: shift(saved.tags, tags),
            misplaced: shift(saved.misplaced, misplaced),
            ..saved
        }));
        self.params.extend(later.params);
        self.tags.extend(later.tags);
        self.misplaced.extend(later.misplaced);
    }

    /// Name and type of each parameter.
    pub fn params(&self, saved: &Saved) -> &[(StrId, u32)] {
        &self.params[saved.params.0 as usize..saved.params.1 as usize]
    }

    fn tags(&self, saved: &Saved) -> &[DeclTag] {
        &self.tags[saved.tags.0 as usize..saved.tags.1 as usize]
    }

    /// The parameters that are not where they should be.
    pub fn misplaced(&self, saved: &Saved) -> &[Misplaced] {
        &self.misplaced[saved.misplaced.0 as usize..saved.misplaced.1 as usize]
    }

    /// A description by its index.
    pub fn get(&self, index: u32) -> Option<&Saved> {
        self.all.get(index as usize)
    }

    /// Writes the functions by name. `explain` is told of each what became of it.
    pub fn emit(
        self,
        (symbols, addresses): (&Symbols<'_>, &Addresses<'_, '_>),
        rules: &Rules,
        names: OwnNames,
        stream: &mut dyn Stream,
        explain: &mut Option<Explain<'_, '_>>,
    ) {
        // The order of saving is kept among those of one function.
        let mut order: Vec<(u32, u32)> =
            self.all.iter().enumerate().map(|(at, saved)| (saved.elf, at as u32)).collect();
        order.par_sort_unstable();
        let groups: Vec<&[(u32, u32)]> = order.chunk_by(|a, b| a.0 == b.0).collect();
        // All prototypes are there, so what is written does not change what is decided.
        let known = &*stream;
        let decided: Vec<(Option<Why>, u32)> = groups
            .par_iter()
            .with_min_len(256)
            .map_init(Vec::new, |group, same| {
                let function = &symbols.functions[same[0].0 as usize];
                let entries = (symbols.entries(function), addresses);
                let decision = self.decide(same, (function, entries), rules, group, known);
                (decision.why, decision.chosen.index)
            })
            .collect();
        let (mut group, mut proto) = (Vec::new(), Vec::new());
        for (same, (why, chosen)) in groups.iter().zip(decided) {
            let function = &symbols.functions[same[0].0 as usize];
            if let Some(explain) = explain {
                let entries = (symbols.entries(function), addresses);
                let decision = self.decide(same, (function, entries), rules, &mut group, stream);
                explain.decided(&decision, stream);
            }
            if why.is_none() {
                let saved = &self.all[chosen as usize];
                self.write(saved, function, rules, names, (&mut *stream, &mut proto));
            }
        }
    }

    /// Decides on a function by its descriptions, which are copied into `group`.
    fn decide<'d>(
        &'d self,
        same: &[(u32, u32)],
        (function, (symbols, addresses)): (&'d ElfFunction<'d>, (Entries<'d>, &Addresses<'_, '_>)),
        rules: &Rules,
        group: &'d mut Vec<Saved>,
        stream: &dyn Stream,
    ) -> Decision<'d> {
        group.clear();
        group.extend(same.iter().map(|&(_, at)| self.all[at as usize].clone()));
        self.combine(group, stream);
        let left_out = left_out(function, &group[0], rules);
        // Where it is left out anyway, what else speaks against it is only of interest to people.
        if left_out.is_none() || rules.explain {
            self.locate(group, (function, symbols), addresses, rules.explain);
        }
        let chosen = choose(group, symbols);
        let why = match left_out {
            Some(Why::Ambiguous) => left_out,
            _ if is_changed(chosen) => Some(Why::Changed),
            _ => left_out,
        };
        Decision { saved: self, function, symbols, group, chosen, why }
    }

    /// Finds out where descriptions of a function are, as far as what is written depends on it: an address may have to
    /// be read, and most functions have one description, or several that say the same. With `all`, of all of them: what
    /// is told of a function names the unit of the description that was chosen.
    fn locate(
        &self,
        group: &mut [Saved],
        (function, symbols): (&ElfFunction<'_>, Entries<'_>),
        addresses: &Addresses<'_, '_>,
        all: bool,
    ) {
        // Only of names that have a suffix, which is cut off, the bytes are to be read.
        let optimized = |name: &[u8]| name.len() != function.text.len() && is_optimized(name);
        let some_optimized = symbols.iter().any(|&(_, name)| optimized(name));
        let by_symbol = |saved: &Saved| saved.facts.optimized_parms && some_optimized;
        let may_be_changed = |saved: &Saved| {
            saved.facts.optimized_parms && (saved.facts.signature_changed || some_optimized)
        };
        let differ = match &*group {
            [] | [_] => false,
            [first, others @ ..] => {
                group.iter().any(may_be_changed)
                    || others.iter().any(|other| !self.says_the_same(first, other))
            }
        };
        for saved in group.iter_mut().filter(|saved| all || differ || by_symbol(saved)) {
            saved.address = addresses.of(saved.low_pc);
            let at = |&(at, name): &(u64, &[u8])| at == saved.address && optimized(name);
            saved.optimized_symbol = saved.address != 0 && some_optimized && symbols.iter().any(at);
        }
    }

    /// Whether the same is written of a function whichever of two descriptions is chosen.
    fn says_the_same(&self, a: &Saved, b: &Saved) -> bool {
        a.ret == b.ret && self.params(a) == self.params(b) && self.tags(a) == self.tags(b)
    }

    /// Shares what is known among the descriptions of one function.
    fn combine(&self, group: &mut [Saved], stream: &dyn Stream) {
        let Some((first, others)) = group.split_first_mut() else { return };
        for other in others {
            first.facts.unexpected_reg |= other.facts.unexpected_reg;
            first.facts.reordered_parm |= other.facts.reordered_parm;
            first.facts.uncertain_parm_loc |= other.facts.uncertain_parm_loc;
            let decided = first.facts.unexpected_reg
                || first.inconsistent.is_some()
                || first.facts.reordered_parm;
            if !decided && !self.matches(first, other, stream) {
                first.inconsistent = Some(other.index);
            }
        }
    }

    fn matches(&self, a: &Saved, b: &Saved, stream: &dyn Stream) -> bool {
        let (first, second) = (self.params(a), self.params(b));
        first.len() == second.len()
            && types_match(stream, a.ret, b.ret, 0)
            && first.iter().zip(second).all(|(a, b)| types_match(stream, a.1, b.1, 0))
    }

    fn write(
        &self,
        saved: &Saved,
        function: &ElfFunction<'_>,
        rules: &Rules,
        names: OwnNames,
        (stream, proto): (&mut dyn Stream, &mut Vec<u32>),
    ) {
        let params = self.params(saved);
        proto.clear();
        proto.extend([0, info(kind::FUNC_PROTO, params.len() as u32, false), saved.ret]);
        params.iter().for_each(|&(name, ty)| proto.extend_from_slice(&[name, ty]));
        if let Some(flags) = function.kfunc.filter(|_| rules.attributes && rules.kfunc_tags) {
            arena(flags, proto, names, stream);
        }
        let proto = stream.add(proto);
        let id = stream.add(&[function.name, info(kind::FUNC, 0, false), proto]);
        for tag in self.tags(saved) {
            decl_tag(stream, tag.value, id, tag.component);
        }
        if let Some(flags) = function.kfunc
            && rules.kfunc_tags
            && rules.decl_tags
        {
            decl_tag(stream, names.kfunc, id, -1);
            if flags & KF_FASTCALL != 0 {
                decl_tag(stream, names.fastcall, id, -1);
            }
        }
    }
}

pub(crate) fn decl_tag(stream: &mut dyn Stream, value: StrId, id: u32, component: i32) {
    stream.add(&[value, info(kind::DECL_TAG, 0, false), id, component as u32]);
}

/// Marks in a kfunc's prototype what it takes from or returns to an arena.
fn arena(flags: u32, proto: &mut [u32], names: OwnNames, stream: &mut dyn Stream) {
    for (bit, at) in [(KF_ARENA_RET, 2), (KF_ARENA_ARG1, 4), (KF_ARENA_ARG2, 6)] {
        if let Some(ty) = proto.get_mut(at).filter(|_| flags & bit != 0)
            && *ty != 0
            && kind_of(stream.record(*ty)[1]) == kind::PTR
        {
            let target = stream.record(*ty)[2];
            let tagged = stream.add(&[names.arena, info(kind::TYPE_TAG, 0, true), target]);
            *ty = stream.add(&[0, info(kind::PTR, 0, false), tagged]);
        }
    }
}

/// The compiler changed what the function takes, and so its description does not hold.
pub(crate) fn is_changed(saved: &Saved) -> bool {
    saved.facts.optimized_parms && (saved.facts.signature_changed || saved.optimized_symbol)
}

/// Why a function is left out wherever its descriptions are; `first` has what is known of all of them.
fn left_out(function: &ElfFunction<'_>, first: &Saved, rules: &Rules) -> Option<Why> {
    let facts = first.facts;
    let inconsistent = rules.consistent_functions && first.inconsistent.is_some();
    let reasons = [
        (function.ambiguous, Why::Ambiguous),
        (facts.reordered_parm, Why::Reordered),
        (facts.uncertain_parm_loc, Why::Uncertain),
        (inconsistent, Why::Inconsistent),
        (facts.unexpected_reg, Why::Register),
    ];
    reasons.into_iter().find_map(|(holds, why)| holds.then_some(why))
}

/// The description that a symbol's address speaks for.
fn choose<'a>(group: &'a [Saved], symbols: Entries<'_>) -> &'a Saved {
    if let [only] = group {
        return only;
    }
    let placed = || group.iter().filter(|saved| symbols.iter().any(|s| s.0 == saved.address));
    placed().find(|saved| !is_changed(saved)).or_else(|| placed().next()).unwrap_or(&group[0])
}

/// Whether two types are alike as far as prototypes are compared: by names of structures, and `const` on
/// one side does not matter.
fn types_match(stream: &dyn Stream, a: u32, b: u32, depth: u32) -> bool {
    const MAX_DEPTH: u32 = 64;
    const MAX_STEPS: u32 = 1024;
    let (mut a, mut b) = (a, b);
    for _ in 0..MAX_STEPS {
        if a == b {
            return true;
        }
        if a == 0 || b == 0 || depth > MAX_DEPTH {
            return false;
        }
        let (first, second) = (stream.record(a), stream.record(b));
        let (kind, other) = (declared_kind(first), declared_kind(second));
        if kind != other {
            if kind == kind::CONST {
                a = first[2];
                continue;
            }
            if other == kind::CONST {
                b = second[2];
                continue;
            }
            return false;
        }
        match kind {
            kind::INT => return first[0] == second[0] && first[2..] == second[2..],
            kind::FLOAT => return first[0] == second[0] && first[2] == second[2],
            kind::TYPEDEF | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 => {
                return first[0] == second[0];
            }
            kind::PTR | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                (a, b) = (first[2], second[2]);
            }
            kind::ARRAY => {
                if first[5] != second[5] {
                    return false;
                }
                (a, b) = (first[3], second[3]);
            }
            kind::FUNC_PROTO => {
                return first.len() == second.len()
                    && types_match(stream, first[2], second[2], depth + 1)
                    && first[3..]
                        .chunks_exact(2)
                        .zip(second[3..].chunks_exact(2))
                        .all(|(a, b)| types_match(stream, a[1], b[1], depth + 1));
            }
            _ => return false,
        }
    }
    false
}

fn declared_kind(record: &[u32]) -> u32 {
    match kind_of(record[1]) {
        kind::FWD if record[1] >> 31 != 0 => kind::UNION,
        kind::FWD => kind::STRUCT,
        kind => kind,
    }
}
