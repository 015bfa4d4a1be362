//! The debug sections before there is an image.
//!
//! Where the linker puts what is loaded is known only when it has ended, but of debug information only addresses
//! depend on that. So the debug sections can be put together before, with *provisional* addresses: every loaded section
//! of the inputs lies somewhere, at a place of its own, and nothing overlaps. Who reads them learns all but
//! addresses; those that matter are asked for when there is an image ([`Provisional::addresses`]).
//!
//! What the script does with debug sections is not known either. Those of one name are put together input by input, as
//! every kernel's script has it; that it was so is checked with the map.
//!
//! Cost: a table of the global symbols. The checks are a pass over the sections and the image's symbols.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use image::consts::{SHF_ALLOC, SHF_EXECINSTR, STB_LOCAL, STB_WEAK, STT_FUNC, STT_OBJECT};
use image::{Elf, Place as Defined, Section, Symbol};
use rayon::prelude::*;

use crate::contents::Contents;
use crate::error::Error;
use crate::layout::{DebugSection, Layout, Place};
use crate::map::LinkMap;
use crate::merge::Merged;
use crate::object::{Input, Object, is_debug};
use crate::prepare::Prepared;
use crate::sections::DebugSections;
use crate::seen::Seen;
use crate::targets::{Target, has_debug_relocations};

/// What has no place of its own: undefined and absolute symbols, and what is not loaded.
const NOWHERE: u64 = 0x0800_0000;
/// The first provisional address. All of them fit into 31 bits.
const FIRST: u64 = 0x1000_0000;
const LAST: u64 = 0x7fff_ffff;
/// Between the sections, so that the end of one is not the beginning of another.
const GAP: u64 = 64;

/// The section of per-CPU variables, and how the names of those begin that come into it.
const PERCPU: &str = ".data..percpu";

/// Debug sections of the first inputs of a link, with provisional addresses.
#[derive(Debug)]
pub struct Provisional<'a> {
    sections: DebugSections<'a>,
    /// In the order of their addresses, those of per-CPU variables first.
    spans: Vec<Span>,
    percpu: Range<u64>,
    /// Where global symbols are.
    globals: HashMap<&'a [u8], u64>,
}

/// A loaded section of an input.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// Its provisional address, and its end.
    start: u64,
    end: u64,
    /// Index of the input, and of the section within it.
    input: u32,
    section: u32,
}

/// What has become of provisional addresses in an image.
#[derive(Debug)]
pub struct Addresses<'p> {
    spans: &'p [Span],
    /// Of each span; `None` where it is not known.
    starts: Vec<Option<Final>>,
}

/// The final place of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Final {
    At(u64),
    Discarded,
}

impl Addresses<'_> {
    /// The final address of a provisional one: 0 if it was thrown away, `None` if it is not known.
    pub fn of(&self, provisional: u64) -> Option<u64> {
        let after = self.spans.partition_point(|span| span.start <= provisional);
        let index = after.checked_sub(1)?;
        let into = provisional - self.spans[index].start;
        let inside = provisional <= self.spans[index].end;
        match self.starts[index].filter(|_| inside)? {
            Final::At(start) => Some(start.wrapping_add(into)),
            Final::Discarded => Some(0),
        }
    }
}

impl<'a> Prepared<'a> {
    /// Links the debug sections of these inputs for provisional addresses.
    ///
    /// # Errors
    /// Anything that cannot be followed exactly, and more than 2 GiB that are loaded.
    pub fn provisional(&self) -> Result<Provisional<'a>, Error> {
        Provisional::new(self)
    }
}

impl<'a> Provisional<'a> {
    fn new(prepared: &Prepared<'a>) -> Result<Self, Error> {
        let objects = prepared.objects_with(&[])?;
        let linker = prepared.linker;
        let mut layout = Layout::by_names(&objects, linker)?;
        let (spans, percpu) = spread(&objects)?;
        for span in &spans {
            layout.places[span.input as usize][span.section as usize] = Place::At(span.start);
        }
        let mut merged = Vec::new();
        for group in &layout.groups {
            let known = prepared.strings(&group.members);
            let unknown = || Error::unsupported("debug strings that were not merged");
            merged.push(Merged::Strings(known.ok_or_else(unknown)??));
        }
        crate::merge::set_sizes(&mut layout, &merged);
        let globals = globals(&objects, &layout);
        let targets = targets(&objects, &layout, &globals);
        let lookups = Some(prepared.lookups.clone());
        let seen = Seen::default();
        let sections = DebugSections { linker, objects, layout, merged, targets, seen, lookups };
        Ok(Provisional { sections, spans, percpu, globals })
    }

    /// The section of that name; `None` if there is none.
    pub fn contents(&self, name: &str) -> Option<Contents<'_, 'a>> {
        self.sections.contents(name)
    }

    /// The provisional addresses of the sections of per-CPU variables.
    pub fn percpu(&self) -> Range<u64> {
        self.percpu.clone()
    }

    /// The inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &Elf<'a>> + Clone {
        self.sections.objects.iter().map(|object| &object.elf)
    }

    /// The names of all functions of the inputs, some of them more than once.
    pub fn functions(&self) -> Vec<&'a [u8]> {
        let all = self.sections.objects.iter().flat_map(|object| &object.symbols);
        let functions = all.filter(|symbol| symbol.kind == STT_FUNC.0);
        functions.map(|symbol| symbol.name).collect()
    }

    /// What has become of the addresses in `image`, of which these inputs are the first; `None` if its debug sections
    /// are not put together as it was expected.
    ///
    /// # Errors
    /// Anything that cannot be followed exactly; see [`Error`].
    pub fn addresses(
        &self,
        later: &[Input<'a>],
        image: &Elf<'_>,
        map: &LinkMap<'a>,
    ) -> Result<Option<Addresses<'_>>, Error> {
        let first = &self.sections.objects;
        if map.linker != self.sections.linker
            || first.iter().any(|object| !object.is_for(image.header()))
        {
            return Ok(None);
        }
        let later = Object::parse_all(later)?.into_iter().map(Arc::new);
        let objects: Vec<_> = first.iter().cloned().chain(later).collect();
        let layout = Layout::new(&objects, map)?;
        let starts = self.spans.iter().map(|span| {
            match layout.places[span.input as usize][span.section as usize] {
                Place::At(start) => Some(Final::At(start)),
                Place::Discarded => Some(Final::Discarded),
                Place::Unknown | Place::Resized | Place::Merged { .. } => None,
            }
        });
        let addresses = Addresses { spans: &self.spans, starts: starts.collect() };
        let symbols = image.symbols()?;
        let expected = self.is_put_together(&layout)
            && self.globals_are_at(&addresses, &symbols)
            && self.lists_are_whole(&addresses)
            && self.percpu_is_apart(&addresses, image, &symbols);
        Ok(expected.then_some(addresses))
    }

    /// Whether debug sections are made of the same parts in the same order.
    fn is_put_together(&self, layout: &Layout<'_>) -> bool {
        let own = &self.sections.layout;
        own.debug.iter().all(|expected| {
            let found = layout.debug.iter().find(|found| found.name == expected.name);
            let parts = |layout: &Layout<'_>, debug: &DebugSection<'_>| -> Vec<(u32, u32, u64)> {
                match debug.group {
                    Some(group) => {
                        let members = layout.groups[group as usize].members.iter();
                        members.map(|member| (member.input, member.section, 0)).collect()
                    }
                    None => {
                        let pieces = debug.pieces.iter();
                        pieces.map(|piece| (piece.input, piece.section, piece.offset)).collect()
                    }
                }
            };
            found.is_some_and(|found| parts(layout, found) == parts(own, expected))
        })
    }

    /// Whether global symbols are where their definitions went.
    fn globals_are_at(&self, addresses: &Addresses<'_>, symbols: &[Symbol<'_>]) -> bool {
        let is_defined =
            |symbol: &&Symbol<'_>| symbol.bind != STB_LOCAL.0 && symbol.place != Defined::Undefined;
        // Each is a look-up that waits for memory.
        symbols.par_iter().filter(is_defined).all(|symbol| {
            let known = self.globals.get(symbol.name).and_then(|&at| addresses.of(at));
            known.is_none_or(|at| at == symbol.value)
        })
    }

    /// Whether no list of locations is cut off, as those of DWARF 4 are where code was thrown away.
    fn lists_are_whole(&self, addresses: &Addresses<'_>) -> bool {
        let gone = |(span, place): (&Span, &Option<Final>)| {
            *place == Some(Final::Discarded)
                && self.section(span).flags & SHF_EXECINSTR.0 != 0
                && span.end > span.start
        };
        self.contents(".debug_loc").is_none_or(|section| section.len() == 0)
            || !self.spans.iter().zip(&addresses.starts).any(gone)
    }

    /// Whether nothing else can be taken for a per-CPU variable: nothing else lies in their section, and if that begins
    /// at 0, nothing that was thrown away and so is at 0 too has the name of one.
    fn percpu_is_apart(
        &self,
        addresses: &Addresses<'_>,
        image: &Elf<'_>,
        symbols: &[Symbol<'_>],
    ) -> bool {
        let Some((index, section)) = image.section(PERCPU) else { return true };
        let within = section.addr..section.addr.saturating_add(section.size);
        let mut gone: HashSet<(u32, u32)> = HashSet::new();
        for (span, place) in self.spans.iter().zip(&addresses.starts) {
            match place {
                _ if self.percpu.contains(&span.start) => {}
                Some(Final::At(start)) if span.end > span.start && within.contains(start) => {
                    return false;
                }
                Some(Final::Discarded) => {
                    gone.insert((span.input, span.section));
                }
                Some(Final::At(_)) | None => {}
            }
        }
        if section.addr != 0 || gone.is_empty() {
            return true;
        }
        let ours = symbols.iter().filter(|symbol| symbol.place == Defined::Section(index));
        let names: HashSet<&[u8]> = ours.map(|symbol| symbol.name).collect();
        let objects = (0..).zip(&self.sections.objects);
        let mut all = objects.flat_map(|(input, object)| {
            object.symbols.iter().map(move |symbol: &Symbol<'_>| (input, symbol))
        });
        !all.any(|(input, symbol)| match symbol.place {
            Defined::Section(section) => {
                symbol.kind == STT_OBJECT.0
                    && gone.contains(&(input, section))
                    && names.contains(symbol.name)
            }
            _ => false,
        })
    }

    fn section(&self, span: &Span) -> &Section<'a> {
        &self.sections.objects[span.input as usize].elf.sections()[span.section as usize]
    }
}

/// Gives all loaded sections their places, and tells where the per-CPU variables are.
fn spread(objects: &[Arc<Object<'_>>]) -> Result<(Vec<Span>, Range<u64>), Error> {
    let mut spans = Vec::new();
    let mut next = FIRST;
    let mut percpu_end = FIRST;
    for percpu in [true, false] {
        for (input, object) in (0..).zip(objects) {
            for (index, section) in (0..).zip(object.elf.sections()) {
                let taken = section.flags & SHF_ALLOC.0 != 0 && !is_debug(section);
                if !taken || section.name.starts_with(PERCPU.as_bytes()) != percpu {
                    continue;
                }
                let align = section.align.clamp(GAP, 1 << 16);
                let start = next.checked_next_multiple_of(align);
                let end = start.and_then(|start| start.checked_add(section.size));
                let (Some(start), Some(end)) = (start, end.filter(|&end| end < LAST - GAP)) else {
                    return Err(Error::unsupported("more than 2 GiB that are loaded"));
                };
                spans.push(Span { start, end, input, section: index });
                next = end + GAP;
            }
        }
        if percpu {
            percpu_end = next;
        }
    }
    Ok((spans, FIRST..percpu_end))
}

/// Where the definitions of global symbols are, of several the strong one.
fn globals<'a>(objects: &[Arc<Object<'a>>], layout: &Layout<'_>) -> HashMap<&'a [u8], u64> {
    let mut globals = HashMap::new();
    for weak in [false, true] {
        for (places, object) in layout.places.iter().zip(objects) {
            for symbol in object.symbols.iter().filter(|symbol| symbol.bind != STB_LOCAL.0) {
                if (symbol.bind == STB_WEAK.0) == weak && symbol.place != Defined::Undefined {
                    globals.entry(symbol.name).or_insert_with(|| place_of(symbol, places));
                }
            }
        }
    }
    globals
}

/// The provisional address of what a symbol defines.
fn place_of(symbol: &Symbol<'_>, places: &[Place]) -> u64 {
    let Defined::Section(section) = symbol.place else { return NOWHERE };
    match places.get(section as usize) {
        Some(Place::At(start)) => start.wrapping_add(symbol.value),
        _ => NOWHERE,
    }
}

/// For each input the targets of its symbols, the null symbol first; nothing for inputs without debug info.
fn targets(
    objects: &[Arc<Object<'_>>],
    layout: &Layout<'_>,
    globals: &HashMap<&[u8], u64>,
) -> Vec<Vec<Target>> {
    let of = |(places, object): (&Vec<Place>, &Arc<Object<'_>>)| {
        if !has_debug_relocations(object) {
            return Vec::new();
        }
        let target = |symbol: &Symbol<'_>| {
            if symbol.bind != STB_LOCAL.0 {
                return Target::Value(globals.get(symbol.name).copied().unwrap_or(NOWHERE));
            }
            match symbol.place {
                Defined::Section(section) => match places.get(section as usize) {
                    Some(&Place::Merged { group, member }) if symbol.value == 0 => {
                        Target::Merged { group, member }
                    }
                    _ => Target::Value(place_of(symbol, places)),
                },
                _ => Target::Value(NOWHERE),
            }
        };
        let own = object.symbols.iter().map(target);
        std::iter::once(Target::Value(0)).chain(own).collect()
    };
    layout.places.iter().zip(objects).map(of).collect()
}

#[cfg(test)]
mod tests {
    use image::{DataSection, NewSymbol, Relocatable, Relocation};

    use super::*;
    use crate::linker::Linker;
    use crate::map::{Listed, Statement};
    use crate::testing;

    const LOADED: u64 = SHF_ALLOC.0;
    const CODE: u64 = SHF_ALLOC.0 | SHF_EXECINSTR.0;

    /// An object with these sections of so many bytes, and a global symbol at byte 4 of each that is loaded.
    fn object(sections: &[(&'static str, u64, usize)], debug: &'static str) -> Vec<u8> {
        let header = testing::x86_64();
        let zeros = [0; 64];
        let loaded = (0..).zip(sections).map(|(index, section)| NewSymbol {
            name: &section.0[1..],
            section: Some(index),
            value: 4,
            size: 0,
        });
        // R_X86_64_64, with an addend of 1.
        let references = (0..).zip(sections).map(|(symbol, _)| Relocation {
            offset: u64::from(symbol) * 8,
            symbol,
            r_type: 1,
            addend: 1,
        });
        let section = |name, flags, bytes, relocations| DataSection {
            name,
            flags,
            align: 1,
            bytes,
            relocations,
        };
        let plain = sections
            .iter()
            .map(|&(name, flags, len)| section(name, flags, &zeros[..len], Vec::new()));
        let mut all: Vec<_> = plain.collect();
        all.push(section(debug, 0, &zeros[..8 * sections.len().max(1)], references.collect()));
        let symbols = loaded.collect();
        Relocatable { header, sections: all, symbols, rela: true }.write().unwrap()
    }

    fn listed(section: &'static str, addr: u64, size: u64) -> Listed<'static> {
        let (section, file) = (section.as_bytes(), &b"a.o"[..]);
        Listed { section, addr, size, input_size: size, align: None, file }
    }

    fn map(inputs: Vec<Listed<'static>>, discarded: Vec<Listed<'static>>) -> LinkMap<'static> {
        let statement = |name: &'static str, inputs| Statement {
            name: name.as_bytes(),
            patterns: vec![vec![name.as_bytes()]],
            inputs,
        };
        let debug = [".debug_info", ".debug_loc"].map(|name| statement(name, Vec::new()));
        let statements = std::iter::once(statement(".text", inputs)).chain(debug).collect();
        LinkMap { linker: Linker::Gnu, discarded, statements }
    }

    const SECTIONS: [(&str, u64, usize); 4] = [
        (".text", CODE, 16),
        (".gone", CODE, 16),
        (".data..percpu", LOADED, 16),
        (".lost", LOADED, 16),
    ];

    /// Where each symbol of `object` is found to be with such a map, if all is as expected.
    fn found(object: &[u8], map: &LinkMap<'_>, image: &[u8]) -> Option<[Option<u64>; 4]> {
        let first = [Input::new("a.o", object)];
        let prepared = Prepared::new(&first, Linker::Gnu).unwrap();
        let provisional = prepared.provisional().unwrap();
        let image = Elf::parse(image).unwrap();
        let addresses = provisional.addresses(&[], &image, map).unwrap()?;
        let mut references = [0; 32];
        let name =
            if provisional.contents(".debug_loc").is_some() { ".debug_loc" } else { ".debug_info" };
        provisional.contents(name).unwrap().read(0..32, &mut references).unwrap();
        let (references, _) = references.as_chunks::<8>();
        let percpu = u64::from_le_bytes(references[2]);
        assert!(provisional.percpu().contains(&percpu));
        assert!(!provisional.percpu().contains(&u64::from_le_bytes(references[0])));
        let of = |index: usize| addresses.of(u64::from_le_bytes(references[index]));
        assert_eq!(addresses.of(percpu + 11), of(2).map(|at| at + 11));
        assert_eq!([percpu + 12, NOWHERE, 0].map(|at| addresses.of(at)), [None; 3]);
        Some([0, 1, 2, 3].map(of))
    }

    /// An image with these sections, whose symbols are at byte 4 of each.
    fn image(sections: &[(&'static str, u64, usize)]) -> Vec<u8> {
        object(sections, ".comment")
    }

    #[test]
    fn an_address_is_that_of_its_section_and_what_was_thrown_away_is_at_0() {
        let object = object(&SECTIONS, ".debug_info");
        let inputs = vec![listed(".text", 0x1000, 16), listed(".data..percpu", 0x2000, 16)];
        let map = map(inputs, vec![listed(".gone", 0, 16)]);
        let found = found(&object, &map, &image(&[]));
        assert_eq!(found, Some([Some(0x1005), Some(0), Some(0x2005), None]));
    }

    #[test]
    fn what_is_not_as_expected_is_noticed() {
        let kernel = object(&SECTIONS, ".debug_info");
        let map_of = |text| map(vec![listed(".text", text, 16)], vec![listed(".gone", 0, 16)]);
        let ask = |object: &[u8], map: &LinkMap<'_>, image: &[u8]| {
            let first = [Input::new("a.o", object)];
            let prepared = Prepared::new(&first, Linker::Gnu).unwrap();
            let provisional = prepared.provisional().unwrap();
            let image = Elf::parse(image).unwrap();
            provisional.addresses(&[], &image, map).unwrap().is_some()
        };
        // The image's symbol of .text is at 4, so .text is at 0; or the definition that counts is another.
        let with_text = image(&[(".text", CODE, 16)]);
        assert!(ask(&kernel, &map_of(0), &with_text));
        assert!(!ask(&kernel, &map_of(0x1000), &with_text));
        assert!(ask(&kernel, &map_of(0x1000), &image(&[])));
        // Something else lies in the section of per-CPU variables, which is at 0 here.
        let with_percpu = image(&[(".data..percpu", LOADED, 64)]);
        assert!(!ask(&kernel, &map_of(0x20), &with_percpu));
        assert!(ask(&kernel, &map_of(0x1000), &with_percpu));
        // Code was thrown away, and lists of locations end where it did.
        let lists = object(&SECTIONS, ".debug_loc");
        assert!(!ask(&lists, &map_of(0x1000), &image(&[])));
        let map = map(vec![listed(".text", 0x1000, 16), listed(".gone", 0x2000, 16)], Vec::new());
        assert!(ask(&lists, &map, &image(&[])));
    }

    #[test]
    fn a_later_input_with_debug_information_is_not_expected() {
        let (first, later) = (object(&SECTIONS, ".debug_info"), object(&[], ".debug_info"));
        let prepared = Prepared::new(&[Input::new("a.o", &first)], Linker::Gnu).unwrap();
        let provisional = prepared.provisional().unwrap();
        let image = image(&[]);
        let (elf, map) = (Elf::parse(&image).unwrap(), map(Vec::new(), Vec::new()));
        let later = [Input::new("b.o", &later)];
        assert!(provisional.addresses(&later, &elf, &map).unwrap().is_none());
        assert!(provisional.addresses(&[], &elf, &map).unwrap().is_some());
        let lld = LinkMap { linker: Linker::Lld, ..map };
        assert!(provisional.addresses(&[], &elf, &lld).unwrap().is_none());
    }
}
