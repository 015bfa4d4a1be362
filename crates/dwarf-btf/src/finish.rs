//! From the pool to the blob.
//!
//! 1. Every forward declaration is decided on ([`crate::graph`]).
//! 2. Types that refer to others are put together by contents, from what they refer to upwards: a pointer
//!    to a forward declaration becomes one with the pointer to the structure.
//! 3. Variables and, of pahole 1.24, functions are added, unit by unit.
//! 4. What there is then is sorted by where it was met first. Meanwhile the functions of later paholes are added, which
//!    come behind all else.
//! 5. All is numbered and written.

use hashbrown::HashTable;
use image::Endianness;
use rayon::prelude::*;

use crate::addresses::Addresses;
use crate::candidates::Linked;
use crate::cu::{DeclTag, Func, INDEX, info, kind, kind_of};
use crate::digest::{is_named_composite, replace_references};
use crate::explain::Explain;
use crate::graph::{Graph, Map, forwards};
use crate::hash;
use crate::merge::{Doubt, Kept, section};
use crate::output::{StringTable, write};
use crate::pool::{Place, Pool};
use crate::saved::{SavedFunctions, Stream, decl_tag};
use crate::strings::{FirstUse, StrId};
use crate::units::Reader;
use crate::{Encoded, Error, Report};

/// Types put together by contents; a type is known by its number here and 1, 0 being `void`.
#[derive(Default)]
struct Classes<'n> {
    words: Vec<u32>,
    starts: Vec<u32>,
    places: Vec<Place>,
    table: HashTable<u32>,
    /// Where the next type that is added stands.
    next: u64,
    names: Option<&'n FirstUse>,
    name_at: u64,
    /// What is added now comes behind all else, in the order of adding, and has no places.
    ending: bool,
    /// Names that are met for the first time by then, in their order.
    new_names: Vec<StrId>,
    /// No function is added twice.
    functions_once: bool,
    doubt: Option<Doubt>,
}

impl Classes<'_> {
    fn with_capacity(count: usize) -> Self {
        Classes { table: HashTable::with_capacity(count), ..Classes::default() }
    }

    fn get(&self, class: u32) -> &[u32] {
        let at = class as usize - 1;
        let end = self.starts.get(at + 1).map_or(self.words.len(), |&end| end as usize);
        &self.words[self.starts[at] as usize..end]
    }

    fn push(&mut self, record: &[u32], place: Place) -> u32 {
        self.starts.push(self.words.len() as u32);
        self.words.extend_from_slice(record);
        if !self.ending {
            self.places.push(place);
        }
        self.starts.len() as u32
    }

    /// Adds a type by contents.
    fn intern(&mut self, record: &[u32], place: Place) -> u32 {
        let hash = hash::words(record);
        if let Some(&class) = self.table.find(hash, |&class| self.get(class) == record) {
            let Some(known) = self.places.get_mut(class as usize - 1) else { return class };
            if place.unit() == known.unit() && place.local() < section::INT {
                // Two that became equal, both of the unit that has them first.
                self.doubt = self.doubt.or(Some(Doubt::Twice));
            }
            *known = place.min(*known);
            return class;
        }
        let class = self.push(record, place);
        let (words, starts) = (&self.words, &self.starts);
        self.table.insert_unique(hash, class, |&class| {
            let at = class as usize - 1;
            let end = starts.get(at + 1).map_or(words.len(), |&end| end as usize);
            hash::words(&words[starts[at] as usize..end])
        });
        class
    }
}

impl Stream for Classes<'_> {
    fn record(&self, id: u32) -> &[u32] {
        self.get(id)
    }

    fn add(&mut self, record: &[u32]) -> u32 {
        let place = Place(self.next);
        self.next += 1;
        if let Some(names) = &self.names {
            let step = if kind_of(record[1]) == kind::FUNC_PROTO { 2 } else { usize::MAX };
            let rest = record[3..].chunks(step.min(record.len())).map(|item| item[0]);
            let rest = rest.filter(|_| step == 2);
            for name in std::iter::once(record[0]).chain(rest).filter(|&name| name != 0) {
                if !self.ending {
                    names.note(name, self.name_at);
                    self.name_at += 1;
                } else if names.note_behind(name) {
                    self.new_names.push(name);
                }
            }
        }
        match kind_of(record[1]) {
            kind::VAR | kind::DATASEC => self.push(record, place),
            kind::FUNC if self.functions_once => self.push(record, place),
            _ => self.intern(record, place),
        }
    }
}

/// Puts the pool's types together.
struct Builder<'g, 'n> {
    graph: &'g Graph,
    resolved: &'g Map<u32, u32>,
    /// By index: the type's class, 0 where it is not known yet.
    class: Vec<u32>,
    classes: Classes<'n>,
    index: u32,
    /// The record that is being made.
    record: Vec<u32>,
}

impl Builder<'_, '_> {
    fn build(&mut self) {
        // Structures with names first: what refers to them needs their numbers, and not their contents.
        for index in 0..self.graph.len {
            let record = self.graph.record(index);
            if is_named_composite(record) {
                self.class[index as usize] = self.classes.push(record, self.graph.place(index));
            }
        }
        for (&forward, &target) in self.resolved {
            self.class[forward as usize] = self.class_of(target);
        }
        for index in 0..self.graph.len {
            self.class_of(index);
        }
        for index in 0..self.graph.len {
            let record = self.graph.record(index);
            if is_named_composite(record) {
                let class = self.class[index as usize];
                let start = self.classes.starts[class as usize - 1] as usize;
                for (at, &child) in self.graph.children(index).iter().enumerate() {
                    self.classes.words[start + 4 + 3 * at] = self.class_of_child(child);
                }
            }
        }
    }

    /// The class of what a type refers to, by the pool's number.
    fn class_of_child(&mut self, child: u32) -> u32 {
        match child {
            0 => 0,
            INDEX => self.index,
            child => self.class_of(self.graph.index(child - 1)),
        }
    }

    /// The class of a type; depth is bounded by that of the units' own references.
    fn class_of(&mut self, index: u32) -> u32 {
        if self.class[index as usize] != 0 {
            return self.class[index as usize];
        }
        let children = self.graph.children(index);
        for &child in children {
            self.class_of_child(child);
        }
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        record.extend_from_slice(self.graph.record(index));
        let mut children = children.iter();
        replace_references(&mut record, |_| {
            children.next().map_or(0, |&child| self.class_of_child(child))
        });
        let class = self.classes.intern(&record, self.graph.place(index));
        self.class[index as usize] = class;
        self.record = record;
        class
    }
}

/// Makes the blob, or says why it cannot be sure.
pub(crate) fn run(
    linked: &Linked<'_, '_>,
    reader: &Reader<'_>,
    (pool, first_use): (Pool, FirstUse),
    units: Vec<Option<Kept>>,
) -> Result<Result<Encoded, Doubt>, Error> {
    if pool.mask() != u64::MAX {
        // Hashes that were cut are not compared further.
        return Ok(Err(Doubt::Collision));
    }
    let graph = Graph::new(pool.into_shards(), &reader.strings)
        .map_err(|fault| Error::new(".debug_str", fault.offset as u64, fault.cause))?;
    let resolved = match forwards(&graph) {
        Ok(resolved) => resolved,
        Err(doubt) => return Ok(Err(doubt)),
    };
    // Functions come behind the types.
    let functions = linked.symbols.functions.len();
    let mut classes = Classes::with_capacity(graph.len as usize + functions);
    let index = index_class(reader, &graph, &units, &mut classes, &first_use);
    let class = vec![0; graph.len as usize];
    let mut builder =
        Builder { graph: &graph, resolved: &resolved, class, classes, index, record: Vec::new() };
    if let Some(found) = index_node(&graph, &units) {
        builder.index = builder.class_of(found);
    }
    builder.build();
    let Builder { class, mut classes, .. } = builder;
    if let Some(doubt) = classes.doubt {
        return Ok(Err(doubt));
    }
    classes.functions_once = reader.rules.save_functions;
    let mut report = Report::default();
    let place = |id: u32| if id == 0 { 0 } else { class[graph.index(id - 1) as usize] };
    let mut end = Ending {
        reader,
        linked,
        saved: SavedFunctions::default(),
        percpu: Vec::new(),
        written: vec![false; functions],
        explain: Explain::new(reader, linked.elf.header().machine),
    };
    if reader.rules.save_functions {
        end.save(&units, &place, &first_use);
    }
    classes.names = Some(&first_use);
    for (unit, kept) in units.iter().enumerate() {
        if let Some(kept) = kept {
            report.units += 1;
            report.types += kept.count as usize;
            end.unit(unit as u32, kept, &place, &mut classes);
        }
    }
    let places = std::mem::take(&mut classes.places);
    classes.ending = true;
    let (mut layout, ()) = rayon::join(
        || Layout::new(&places, &first_use, reader),
        || end.finish(&mut classes, &mut report),
    );
    if linked.addresses.lost() {
        return Ok(Err(Doubt::Address));
    }
    layout.add_names(&classes.new_names);
    let endian = linked.elf.endian();
    let (btf, ()) = rayon::join(|| layout.write(&classes, endian), || drop((units, class, graph)));
    Ok(Ok(Encoded { btf, report, known: None }))
}

/// The pool's type that arrays are indexed by: the first unit's `int`, if the unit has it before any
/// unit needs one that has none.
fn index_node(graph: &Graph, units: &[Option<Kept>]) -> Option<u32> {
    let mut needed = false;
    for kept in units.iter().flatten() {
        needed |= kept.cu.has_array;
        if kept.cu.int != 0 {
            return Some(graph.index(kept.cu.int - 1));
        }
        if needed {
            return None;
        }
    }
    None
}

/// The class of an `int` that no unit has: pahole adds one behind the types of the unit that needs it.
fn index_class(
    reader: &Reader<'_>,
    graph: &Graph,
    units: &[Option<Kept>],
    classes: &mut Classes<'_>,
    first_use: &FirstUse,
) -> u32 {
    if index_node(graph, units).is_some() {
        return 0;
    }
    let needs = |kept: &Option<Kept>| kept.as_ref().is_some_and(|kept| kept.cu.has_array);
    let Some(unit) = units.iter().position(needs) else { return 0 };
    first_use.note(reader.names.int, (unit as u64) << 32 | u64::from(section::INT));
    let record = [reader.names.int, info(kind::INT, 0, false), 4, 1 << 24 | 32];
    classes.intern(&record, Place::new(unit as u32, section::INT))
}

/// Functions and variables.
struct Ending<'r, 's, 'i> {
    reader: &'r Reader<'s>,
    linked: &'r Linked<'r, 'i>,
    saved: SavedFunctions,
    percpu: Vec<[u32; 3]>,
    written: Vec<bool>,
    explain: Explain<'r, 's>,
}

impl Ending<'_, '_, '_> {
    /// Saves the functions of all units.
    fn save(
        &mut self,
        units: &[Option<Kept>],
        place: &(dyn Fn(u32) -> u32 + Sync),
        first_use: &FirstUse,
    ) {
        const CHUNK: usize = 64;
        let linked = self.linked;
        let some = |(chunk, units): (usize, &[Option<Kept>])| {
            let mut saved = SavedFunctions::default();
            for (unit, kept) in (chunk * CHUNK..).zip(units) {
                let Some(kept) = kept else { continue };
                let mut at = (unit as u64) << 32 | u64::from(section::FUNCTIONS);
                let mut note = |name| {
                    first_use.note(name, at);
                    at += 1;
                };
                let unit = (&kept.cu, kept.not_read);
                saved.save(unit, &linked.symbols, &mut |id| place(id), &mut note);
            }
            saved
        };
        let chunks = units.par_chunks(CHUNK).enumerate();
        let parts: Vec<SavedFunctions> = chunks.map(some).collect();
        self.saved.append_all(parts);
    }

    fn unit(
        &mut self,
        unit: u32,
        kept: &Kept,
        place: &dyn Fn(u32) -> u32,
        classes: &mut Classes<'_>,
    ) {
        let cu = &kept.cu;
        self.explain.unit(cu);
        let start = |section| u64::from(unit) << 32 | u64::from(section);
        classes.next = start(section::TYPE_TAGS);
        classes.name_at = start(section::TYPE_TAGS);
        for tag in &cu.type_tags {
            decl_tag(classes, tag.value, place(tag.ty), tag.component);
        }
        classes.next = start(section::FUNCTIONS);
        classes.name_at = start(section::FUNCTIONS);
        if !self.reader.rules.save_functions {
            for func in &cu.funcs {
                self.function(cu.params_of(func), cu.tags_of(func), func, place, classes);
            }
        }
        classes.next = start(section::VARS);
        classes.name_at = start(section::VARS);
        let (Linked { symbols, addresses, .. }, Reader { strings, rules, .. }) =
            (self.linked, self.reader);
        for var in &cu.vars {
            let address = addresses.get(var.address);
            let Some(percpu) = symbols.percpu_var(var, address, strings, rules) else { continue };
            let linkage = u32::from(var.external);
            let record = [percpu.name, info(kind::VAR, 0, false), place(var.ty), linkage];
            let id = classes.add(&record);
            for tag in cu.tags_of_var(var) {
                decl_tag(classes, tag.value, id, tag.component);
            }
            self.percpu.push([id, percpu.offset, percpu.size]);
        }
    }

    /// pahole 1.24: the first description of a function is written.
    fn function(
        &mut self,
        params: &[crate::cu::Param],
        tags: &[DeclTag],
        func: &Func,
        place: &dyn Fn(u32) -> u32,
        classes: &mut Classes<'_>,
    ) {
        let known = match self.linked.symbols.function(func.name) {
            Some(elf) => std::mem::replace(&mut self.written[elf as usize], true),
            None => !self.written.is_empty(),
        };
        if known {
            return;
        }
        let count = params.len() as u32 + u32::from(func.variadic);
        let mut proto = vec![0, info(kind::FUNC_PROTO, count, false), place(func.ret)];
        proto.extend(params.iter().flat_map(|param| [param.name, place(param.ty)]));
        if func.variadic {
            proto.extend([0, 0]);
        }
        let proto = classes.add(&proto);
        let id = classes.add(&[func.name, info(kind::FUNC, 0, false), proto]);
        for tag in tags {
            decl_tag(classes, tag.value, id, tag.component);
        }
    }

    fn finish(mut self, classes: &mut Classes<'_>, report: &mut Report) {
        let Reader { rules, names, .. } = self.reader;
        let mut explain = rules.explain.then_some(self.explain);
        let addresses = Addresses::new(&self.linked.addresses, self.reader);
        let decided_by = (&self.linked.symbols, &addresses);
        self.saved.emit(decided_by, rules, *names, classes, &mut explain);
        if let Some(explain) = explain {
            explain.report(report);
        }
        crate::stream::datasec(&mut self.percpu, names.percpu, classes);
    }
}

/// The order of all but what comes at the end.
struct Layout<'s> {
    /// Types in the order of their places.
    order: Vec<(Place, u32)>,
    /// By type: its number in the blob. Types that come at the end have theirs already.
    numbers: Vec<u32>,
    /// The bytes of all strings.
    all: Vec<&'s [u8]>,
    strings: StringTable,
}

impl<'s> Layout<'s> {
    /// Of types at these places, with the strings that they use.
    fn new(places: &[Place], first_use: &FirstUse, reader: &Reader<'s>) -> Self {
        let ((order, numbers), (all, strings)) = rayon::join(
            || {
                let order = in_order(places);
                let mut numbers = vec![0; order.len() + 1];
                for (number, &(_, class)) in (1..).zip(&order) {
                    numbers[class as usize] = number;
                }
                (order, numbers)
            },
            || {
                let all = reader.strings.all();
                let mut strings = StringTable::new(all.len(), [], 0);
                for id in first_use.order() {
                    strings.add(id, all[id as usize]);
                }
                (all, strings)
            },
        );
        Layout { order, numbers, all, strings }
    }

    /// Adds strings behind those that there are.
    fn add_names(&mut self, names: &[StrId]) {
        for &id in names {
            self.strings.add(id, self.all[id as usize]);
        }
    }

    fn write(&self, classes: &Classes<'_>, endian: Endianness) -> Vec<u8> {
        if classes.starts.is_empty() {
            return Vec::new();
        }
        let first_new = self.numbers.len() as u32;
        let new = (first_new..=classes.starts.len() as u32).into_par_iter();
        let all = self.order.par_iter().map(|&(_, class)| class).chain(new);
        let records: Vec<&[u32]> = all.map(|class| classes.get(class)).collect();
        let number = |class: u32| self.numbers.get(class as usize).copied().unwrap_or(class);
        write(&records, number, &self.strings, endian)
    }
}

/// The classes in the order of their places.
fn in_order(places: &[Place]) -> Vec<(Place, u32)> {
    let mut order: Vec<(Place, u32)> = places.iter().copied().zip(1..).collect();
    order.par_sort_unstable();
    order
}
