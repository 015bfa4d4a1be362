//! Two linked images, section by section.
//!
//! What: [`compare`] tells of every section whether it is the same bytes, means the same, or differs, and where.
//! "Means the same" is said of what may be written in more than one way: merged strings in another order (every
//! reference to them resolves to the same string), symbol tables whose names lie elsewhere. A build ID that
//! differs is told apart from other differences, since it changes with any byte of the file.
//!
//! Why: an image may be finished in other ways than by one linker run, and `cmp` alone says that a byte differs, but not
//! whether a debugger or the kernel would see it.
//!
//! Cost: bytes are compared at the speed of memory. Only debug sections that differ are decoded, both sides at
//! once, the units in parallel.
//!
//! ```
//! use compare::Verdict;
//!
//! let data = std::fs::read(std::env::current_exe()?)?;
//! let elf = image::Elf::parse(&data)?;
//! let comparison = compare::compare(&elf, &elf)?;
//! assert_eq!(comparison.verdict(), Verdict::Identical);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source of facts: the ELF specification, DWARF 5 (sections 6.2 and 7.5).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bytes;
mod debug;
mod line;
mod notes;
mod symbols;

use std::collections::HashMap;

use image::consts::{SHF_ALLOC, SHF_MERGE, SHF_STRINGS, SHT_NOBITS, SHT_STRTAB, SHT_SYMTAB};
use image::{Elf, Section};
use serde::Serialize;

pub use bytes::Span;
pub use symbols::Symbols;

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Headers or symbols.
    #[error(transparent)]
    Image(#[from] image::Error),
}

/// How much two things are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The same bytes.
    Identical,
    /// Other bytes that mean the same.
    SameMeaning,
    /// Nothing but the build ID differs.
    BuildId,
    /// They differ.
    Different,
}

/// One section of both images.
#[derive(Debug, Clone, Serialize)]
pub struct SectionComparison {
    /// Its name.
    pub name: String,
    /// Whether the running kernel sees it (`SHF_ALLOC`).
    pub loadable: bool,
    /// Sizes in bytes; `None` where the section is absent.
    pub sizes: [Option<u64>; 2],
    /// How much they are the same.
    pub verdict: Verdict,
    /// Bytes that differ, of the part that both have.
    pub differing: u64,
    /// The first places that differ, by their addresses (by their offsets where nothing is loaded).
    pub spans: Vec<Span>,
    /// The reason for the verdict, where bytes differ.
    pub why: Option<String>,
}

/// Two images.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What differs in the ELF header and in the program headers, a clause each.
    pub headers: Vec<String>,
    /// All sections: in the order of the first image, then those of the second alone.
    pub sections: Vec<SectionComparison>,
    /// The symbol tables.
    pub symbols: Symbols,
    /// The build IDs, in hexadecimal.
    pub build_ids: [Option<String>; 2],
    /// The whole files are the same bytes.
    pub same_file: bool,
}

impl Comparison {
    /// The worst of all parts.
    pub fn verdict(&self) -> Verdict {
        let sections = self.sections.iter().map(|section| section.verdict);
        let headers = (!self.headers.is_empty()).then_some(Verdict::Different);
        let file = if self.same_file { Verdict::Identical } else { Verdict::SameMeaning };
        sections.chain(headers).chain([self.symbols.verdict, file]).max().unwrap_or(file)
    }
}

/// Compares two images.
///
/// # Errors
/// A symbol table or a section that lies outside its file. Debug information that cannot be decoded counts as
/// different, with the reason.
pub fn compare(a: &Elf<'_>, b: &Elf<'_>) -> Result<Comparison, Error> {
    let same_file = a.data() == b.data();
    let symbols = symbols::compare(a, b)?;
    let build_ids = [notes::build_id(a)?, notes::build_id(b)?];
    let near = bytes::Near::new(a)?;
    let mut sections = Vec::new();
    for (left, right) in pairs(a, b) {
        sections.push(section([a, b], [left, right], &near, &symbols)?);
    }
    judge_debug(a, b, &mut sections);
    let build_ids = build_ids.map(|id| id.map(|id| hex(id.bytes)));
    Ok(Comparison { headers: bytes::headers(a, b), sections, symbols, build_ids, same_file })
}

/// Sections by name; the second of a name belongs to the second of that name.
fn pairs<'e, 'd>(
    a: &'e Elf<'d>,
    b: &'e Elf<'d>,
) -> Vec<(Option<&'e Section<'d>>, Option<&'e Section<'d>>)> {
    let mut others: HashMap<&[u8], Vec<&Section<'_>>> = HashMap::new();
    for section in b.sections().iter().skip(1).rev() {
        others.entry(section.name).or_default().push(section);
    }
    let mut pairs = Vec::new();
    for section in a.sections().iter().skip(1) {
        let other = others.get_mut(section.name).and_then(Vec::pop);
        pairs.push((Some(section), other));
    }
    let alone = |section: &&Section<'_>| {
        others.get(section.name).is_some_and(|left| left.iter().any(|s| std::ptr::eq(*s, *section)))
    };
    pairs.extend(b.sections().iter().skip(1).filter(alone).map(|section| (None, Some(section))));
    pairs
}

fn section(
    elves: [&Elf<'_>; 2],
    pair: [Option<&Section<'_>>; 2],
    near: &bytes::Near<'_>,
    symbols: &Symbols,
) -> Result<SectionComparison, Error> {
    let any = pair[0].or(pair[1]);
    let mut made = SectionComparison {
        name: any.map(|s| String::from_utf8_lossy(s.name).into_owned()).unwrap_or_default(),
        loadable: any.is_some_and(|s| s.flags & SHF_ALLOC.0 != 0),
        sizes: pair.map(|section| section.map(|section| section.size)),
        verdict: Verdict::Different,
        differing: 0,
        spans: Vec::new(),
        why: None,
    };
    let [Some(a), Some(b)] = pair else {
        made.why = Some(format!(
            "only the {} image has it",
            if pair[0].is_some() { "first" } else { "second" }
        ));
        return Ok(made);
    };
    if let Some(why) = header_difference(a, b) {
        made.why = Some(why);
        return Ok(made);
    }
    let [left, right] = [elves[0].bytes(a)?, elves[1].bytes(b)?];
    if left == right {
        made.verdict = Verdict::Identical;
        return Ok(made);
    }
    let found = bytes::spans(left, right, a, near);
    (made.differing, made.spans) = (found.bytes, found.spans);
    if a.sh_type == SHT_SYMTAB.0 || a.sh_type == SHT_STRTAB.0 {
        // Names are compared through the symbols and through the section headers, both of them resolved.
        made.verdict = symbols.verdict.max(Verdict::SameMeaning);
        made.why = Some("names and numbers are compared resolved".to_owned());
    } else if notes::only_build_ids_differ(elves, left, right) {
        made.verdict = Verdict::BuildId;
        made.why = Some("the build ID".to_owned());
    } else if unreferenced_strings(a) && bytes::same_strings(left, right) {
        made.verdict = Verdict::SameMeaning;
        made.why = Some("the same strings".to_owned());
    } else if a.size != b.size {
        made.why = Some("of another size".to_owned());
    }
    Ok(made)
}

/// Merged strings that nothing refers to (`.comment`): only which there are matters.
fn unreferenced_strings(section: &Section<'_>) -> bool {
    let strings = SHF_MERGE.0 | SHF_STRINGS.0;
    let unloaded = section.flags & (strings | SHF_ALLOC.0) == strings;
    unloaded && !section.name.starts_with(b".debug_")
}

/// What the section headers tell apart, file offsets and the indexes of other sections left out.
fn header_difference(a: &Section<'_>, b: &Section<'_>) -> Option<String> {
    let fields = [
        ("address", a.addr, b.addr),
        ("type", a.sh_type.into(), b.sh_type.into()),
        ("flags", a.flags, b.flags),
        ("alignment", a.align, b.align),
        ("entry size", a.entsize, b.entsize),
    ];
    let differs = fields.iter().find(|(_, a, b)| a != b);
    if let Some((what, a, b)) = differs {
        return Some(format!("{what} {a:#x} and {b:#x}"));
    }
    let nobits = a.sh_type == SHT_NOBITS.0 && a.size != b.size;
    nobits.then(|| format!("{:#x} and {:#x} bytes", a.size, b.size))
}

/// Debug sections that are other bytes: do they mean the same?
fn judge_debug(a: &Elf<'_>, b: &Elf<'_>, sections: &mut [SectionComparison]) {
    let differs = |name: &str, sections: &[SectionComparison]| {
        sections.iter().any(|s| s.name == name && s.verdict == Verdict::Different)
    };
    if !sections.iter().any(|s| s.name.starts_with(".debug_") && differs(&s.name, sections)) {
        return;
    }
    let sides = [debug::Side::new(a), debug::Side::new(b)];
    let mut references_resolve = true;
    for (name, check) in debug::CHECKS {
        let strings_differ = debug::STRINGS.iter().any(|name| differs(name, sections));
        let Some(at) = sections.iter().position(|s| s.name == *name) else { continue };
        // References of equal bytes into strings that differ have to be followed too.
        if !differs(name, sections) && !strings_differ {
            continue;
        }
        match check(&sides[0], &sides[1]) {
            Ok(()) if sections[at].verdict == Verdict::Different => {
                sections[at].verdict = Verdict::SameMeaning;
                sections[at].why =
                    Some("every value and every string it refers to is the same".into());
            }
            Ok(()) => {}
            Err(difference) => {
                references_resolve = false;
                sections[at].verdict = Verdict::Different;
                sections[at].why = Some(difference);
            }
        }
    }
    // Whatever else refers to strings is not followed, and so has to be absent.
    let unfollowed = [".debug_macro", ".debug_names", ".debug_types"];
    let unfollowed = unfollowed.iter().any(|name| sections.iter().any(|s| s.name == *name));
    for section in sections.iter_mut().filter(|s| debug::STRINGS.contains(&s.name.as_str())) {
        if section.verdict == Verdict::Different && references_resolve && !unfollowed {
            section.verdict = Verdict::SameMeaning;
            section.why = Some("every reference resolves to the same string".into());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
