//! Deduplication as libbpf does it: all types of all units one behind the other.
//!
//! Every type of every unit is held at the same time, which takes some hundred bytes a type; so this way
//! is taken only where the faster one ([`crate::merge`]) could not be sure of the same result.

use btf_dedup::Types;
use rayon::prelude::*;

use crate::addresses::Addresses;
use crate::base::Base;
use crate::candidates::Linked;
use crate::cu::{Cu, INDEX, LocalId, info, kind, name_positions};
use crate::digest::replace_references;
use crate::explain::Explain;
use crate::output::{StringTable, write};
use crate::saved::{SavedFunctions, Stream, decl_tag};
use crate::strings::StrId;
use crate::units::{Found, Reader, Scratch, at_header};
use crate::{Encoded, Error, Options, Report};

/// Bytes of units that are read at the same time before they are put in order.
const BATCH: usize = 1 << 22;

/// Makes BTF with all types held.
pub(crate) fn encode<'s>(
    linked: &Linked<'_, '_>,
    reader: &Reader<'s>,
    options: &Options<'s>,
) -> Result<Encoded, Error> {
    let mut all = All::new(reader, linked, options.base);
    let mut merged = reader.merged;
    let (mut headers, _) = reader.headers(1);
    let mut buffer = Vec::new();
    while !merged {
        let batch = headers.batch(BATCH).map_err(at_header)?.headers;
        if batch.is_empty() {
            break;
        }
        let window = reader.window(&batch, &mut buffer)?;
        let read: Vec<Result<(Found, Cu), Error>> = batch
            .par_iter()
            .map_init(Scratch::default, |scratch, &header| {
                let mut cu = Cu::default();
                Ok((reader.read(header, window, scratch, &mut cu)?, cu))
            })
            .collect();
        for unit in read {
            match unit? {
                (Found::Unit, cu) => all.add_unit(&cu)?,
                (Found::LeftOut, _) => {}
                (Found::Across, _) => merged = true,
            }
        }
    }
    if merged {
        all = All::new(reader, linked, options.base);
        let (mut scratch, mut cu) = (Scratch::default(), Cu::default());
        reader.read_merged(&mut scratch, &mut cu)?;
        all.add_unit(&cu)?;
    }
    all.finish(options)
}

/// All types so far.
struct All<'r, 's, 'i> {
    reader: &'r Reader<'s>,
    linked: &'r Linked<'r, 'i>,
    base: Option<&'r Base<'s>>,
    types: Types,
    /// Names in the order of their first use.
    names: Vec<StrId>,
    seen: Vec<bool>,
    /// What arrays are indexed by, once a unit has said.
    index: Option<u32>,
    needs_index: bool,
    saved: SavedFunctions,
    /// Functions of pahole 1.24 that are written, by symbol.
    written: Vec<bool>,
    percpu: Vec<[u32; 3]>,
    units: usize,
    explain: Explain<'r, 's>,
}

impl Stream for All<'_, '_, '_> {
    fn record(&self, id: u32) -> &[u32] {
        // Units do not refer to the base: only deduplication finds that they could.
        self.types.record(id as usize - 1 - self.base.map_or(0, |base| base.types.len()))
    }

    fn add(&mut self, record: &[u32]) -> u32 {
        self.types.push(record);
        for at in name_positions(record) {
            self.note(record[at]);
        }
        self.count()
    }
}

impl<'r, 's, 'i> All<'r, 's, 'i> {
    fn new(reader: &'r Reader<'s>, linked: &'r Linked<'r, 'i>, base: Option<&'r Base<'s>>) -> Self {
        All {
            reader,
            linked,
            base,
            types: Types::default(),
            names: Vec::new(),
            seen: Vec::new(),
            index: None,
            needs_index: false,
            saved: SavedFunctions::default(),
            written: vec![false; linked.symbols.functions.len()],
            percpu: Vec::new(),
            units: 0,
            explain: Explain::new(reader, linked.elf.header().machine),
        }
    }

    fn count(&self) -> u32 {
        (self.base.map_or(0, |base| base.types.len()) + self.types.len()) as u32
    }

    fn note(&mut self, name: StrId) {
        let at = name as usize;
        if at >= self.seen.len() {
            self.seen.resize(at + 1, false);
        }
        if name != 0 && !self.seen[at] {
            self.seen[at] = true;
            self.names.push(name);
        }
    }

    fn add_unit(&mut self, cu: &Cu) -> Result<(), Error> {
        self.units += 1;
        self.explain.unit(cu);
        let before = self.count();
        let index = self.index.unwrap_or(match cu.int {
            0 => before + cu.starts.len() as u32 + 1,
            int => before + int,
        });
        if cu.int != 0 {
            self.index = self.index.or(Some(index));
        }
        self.needs_index |= cu.has_array;
        let place = |id: LocalId| match id {
            0 => 0,
            INDEX => index,
            id => before + id,
        };
        let mut record = Vec::new();
        for id in 1..=cu.starts.len() as u32 {
            record.clear();
            record.extend_from_slice(cu.record(id));
            replace_references(&mut record, place);
            for at in name_positions(&record) {
                let name = self.reader.strings.of_code(record[at]);
                record[at] =
                    name.map_err(|f| Error::new(".debug_str", f.offset as u64, f.cause))?;
            }
            self.add(&record);
        }
        if self.needs_index && self.index.is_none() {
            let name = self.reader.names.int;
            self.index = Some(self.add(&[name, info(kind::INT, 0, false), 4, 1 << 24 | 32]));
        }
        for tag in &cu.type_tags {
            decl_tag(self, tag.value, place(tag.ty), tag.component);
        }
        if self.reader.rules.save_functions {
            let mut names = Vec::new();
            let linked = self.linked;
            let symbols = &linked.symbols;
            self.saved.save((cu, None), symbols, &mut |id| place(id), &mut |name| names.push(name));
            for name in names {
                self.note(name);
            }
        } else {
            self.write_functions(cu, &place);
        }
        let Reader { strings, rules, .. } = self.reader;
        for var in &cu.vars {
            let percpu = self.linked.symbols.percpu_var(var, var.address, strings, rules);
            let Some(percpu) = percpu else { continue };
            let linkage = u32::from(var.external);
            let record = [percpu.name, info(kind::VAR, 0, false), place(var.ty), linkage];
            let id = self.add(&record);
            for tag in cu.tags_of_var(var) {
                decl_tag(self, tag.value, id, tag.component);
            }
            self.percpu.push([id, percpu.offset, percpu.size]);
        }
        Ok(())
    }

    /// The first description of each function is written at once (pahole 1.24).
    fn write_functions(&mut self, cu: &Cu, place: &dyn Fn(LocalId) -> u32) {
        for func in &cu.funcs {
            if let Some(elf) = self.linked.symbols.function(func.name) {
                let written = &mut self.written[elf as usize];
                if std::mem::replace(written, true) {
                    continue;
                }
            }
            let params = &cu.params[func.params.0 as usize..func.params.1 as usize];
            let count = params.len() as u32 + u32::from(func.variadic);
            let mut proto = vec![0, info(kind::FUNC_PROTO, count, false), place(func.ret)];
            proto.extend(params.iter().flat_map(|param| [param.name, place(param.ty)]));
            if func.variadic {
                proto.extend([0, 0]);
            }
            let proto = self.add(&proto);
            let id = self.add(&[func.name, info(kind::FUNC, 0, false), proto]);
            for tag in &cu.func_tags[func.tags.0 as usize..func.tags.1 as usize] {
                decl_tag(self, tag.value, id, tag.component);
            }
        }
    }

    fn finish(mut self, options: &Options<'_>) -> Result<Encoded, Error> {
        let (reader, linked) = (self.reader, self.linked);
        let strings = &reader.strings;
        let mut report = Report { units: self.units, types: 0, ..Report::default() };
        let saved = std::mem::take(&mut self.saved);
        let explain = std::mem::replace(&mut self.explain, Explain::new(reader, 0));
        let mut explain = options.explain.then_some(explain);
        let decided_by = (&linked.symbols, &Addresses::new(&linked.addresses, reader));
        saved.emit(decided_by, &reader.rules, reader.names, &mut self, &mut explain);
        if let Some(explain) = explain {
            explain.report(&mut report);
        }
        let mut percpu = std::mem::take(&mut self.percpu);
        datasec(&mut percpu, reader.names.percpu, &mut self);
        report.types = self.types.len();
        if self.types.is_empty() {
            return Ok(Encoded { btf: Vec::new(), report, known: None });
        }
        let (types, mut table) = match self.base {
            Some(base) => on_base(base, self.types, &self.names, reader)?,
            None => {
                let done = btf_dedup::dedup(&Types::default(), self.types, &reader.rules.dedup)?;
                (done.types, StringTable::new(strings.len(), [], 0))
            }
        };
        for &name in &self.names {
            table.add(name, strings.get(name));
        }
        let records: Vec<&[u32]> = (0..types.len()).map(|index| types.record(index)).collect();
        let btf = write(&records, |id| id, &table, linked.elf.endian());
        Ok(Encoded { btf, report, known: None })
    }
}

/// Deduplicates types that build on a base, and gives the base's strings their places.
fn on_base(
    base: &Base<'_>,
    mut types: Types,
    names: &[StrId],
    reader: &Reader<'_>,
) -> Result<(Types, StringTable), Error> {
    let strings = &reader.strings;
    let numbers = base.numbers(names, strings.len(), |name| strings.get(name));
    numbers.put_into(&mut types);
    let renamed = base.renamed(&numbers);
    let base_types = renamed.as_ref().unwrap_or(&base.types);
    let mut types = btf_dedup::dedup(base_types, types, &reader.rules.dedup)?.types;
    numbers.take_out_of(&mut types);
    Ok((types, StringTable::new(strings.len(), numbers.shared(), base.string_len())))
}

/// Adds the section of the per-CPU variables, of each the number, offset and size.
pub(crate) fn datasec(percpu: &mut [[u32; 3]], name: StrId, stream: &mut dyn Stream) {
    // PARITY: offsets are compared as signed 32-bit differences (btf_var_secinfo_cmp).
    percpu.sort_by(|a, b| (a[1].wrapping_sub(b[1]) as i32).cmp(&0));
    let Some(last) = percpu.last() else { return };
    let size = last[1].wrapping_add(last[2]);
    let mut record = vec![name, info(kind::DATASEC, percpu.len() as u32, false), size];
    record.extend(percpu.iter().flatten());
    stream.add(&record);
}
