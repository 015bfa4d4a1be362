//! DWARF to deduplicated BTF, byte for byte what pahole makes of a kernel.
//!
//! ```no_run
//! use dwarf_btf::{Options, PaholeVersion};
//!
//! let data = std::fs::read("vmlinux")?;
//! let elf = image::Elf::parse(&data)?;
//! let options = Options { pahole: PaholeVersion::V1_32, ..Options::default() };
//! let encoded = dwarf_btf::encode(&elf, &options)?;
//! println!("{} units, {} bytes of BTF", encoded.report.units, encoded.btf.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The way from an image to a blob:
//! 1. `sections`: the debug sections, unpacked or relocated where they have to be; or those of a
//!    [`DebugSource`], which gives `.debug_info` some units at a time (`source`).
//! 2. `unit` and `abbrev`: unit headers, and abbreviations compiled to read and skip programs.
//! 3. `walk`: one pass over a unit's entries, keeping types, functions and variables.
//! 4. `resolve` and `funcs`: references become numbers; a `cu::Cu` is what pahole would have
//!    written for the unit.
//! 5. Deduplication, in one of two ways. `merge` recognises types that were seen in an earlier unit by
//!    their contents, in any order of units, and keeps only what is new; it knows when that could differ
//!    from libbpf's walk over graphs. `stream` is that walk, over all types of all units
//!    ([`btf_dedup`]), and is used then.
//! 6. `saved`: functions, which can only be decided on when all units are known.
//!
//! Steps 1 to 5 need no image but for what may be written of functions and variables (`candidates`). So they can be
//! done before there is one: [`Reading`] (`phases`).
//!
//! Units are read in parallel; what is kept of a unit does not depend on which were read before, and the
//! order of everything put out is that of the units, so the result is the same for any number of threads.
//!
//! Source of facts: pahole 1.24 and 1.31 (dwarf_loader.c, btf_encoder.c), libbpf 1.1.2 and 1.7.0 (btf.c).
//! Where their behaviour is kept though it is not what one would choose, the place is marked `PARITY:`.
//! `tests/tests/pahole.rs` compares with both on real kernels, to the byte.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::sync::atomic::AtomicBool;

mod abbrev;
mod addresses;
mod base;
mod cache;
mod candidates;
mod compressed;
mod cu;
mod cursor;
mod declarations;
mod digest;
mod error;
mod explain;
mod finish;
mod flags;
mod form;
mod funcs;
mod graph;
mod hash;
mod known;
mod location;
mod merge;
mod options;
mod output;
mod packed;
mod phases;
mod pool;
mod relocate;
mod resolve;
mod saved;
mod sections;
mod source;
mod stream;
mod strings;
mod symbols;
#[cfg(test)]
mod tests;
mod twins;
mod unit;
mod units;
mod usual;
mod walk;

pub use base::Base;
pub use cache::ToRemember;
pub use candidates::{Address, Expected};
use candidates::{FinalAddresses, Linked};
pub use error::Error;
pub use explain::{Description, Function, Reason};
pub use flags::{FlagError, Flags, supported_features};
use merge::{Gathering, Outcome};
use options::Rules;
pub use options::{Language, Options, PaholeVersion, ReadAt};
pub use phases::{Memory, Reading, Remembered};
pub use source::{DebugSource, Unreadable};
use symbols::Unsorted;
use units::Reader;
pub use units::lto_note;

/// What was made.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    /// The blob, in the image's byte order; empty if there was nothing to encode.
    pub btf: Vec<u8>,
    /// What was met on the way.
    pub report: Report,
    /// What a later run can begin with, if that was asked for ([`Reading::resume`]) and there is something.
    pub known: Option<ToRemember>,
}

/// What was met on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Units of `.debug_info`.
    pub units: usize,
    /// Units of these that were not read, since what they say was remembered.
    pub known: usize,
    /// Types before deduplication.
    pub types: usize,
    /// What became of every function of pahole 1.25 and later, by name; with [`Options::explain`].
    pub functions: Vec<Function>,
    /// Functions that are not considered, since the image has no symbol for them: those that are inline
    /// everywhere, and those that the linker dropped; sorted, with [`Options::explain`].
    pub no_symbol: Vec<String>,
}

/// Makes BTF of an image's debug information, on the current rayon pool.
///
/// # Errors
/// No debug information, or debug information that is not sound or not supported.
pub fn encode<'d>(elf: &image::Elf<'d>, options: &Options<'d>) -> Result<Encoded, Error> {
    encode_dwarf(elf, &sections::Dwarf::load(elf, options.read_at)?, options)
}

/// The same of debug information that stands elsewhere; the image has the symbols.
///
/// # Errors
/// As those of [`encode`], and sections that cannot be had.
pub fn encode_from<'d>(
    elf: &image::Elf<'d>,
    source: &'d dyn DebugSource,
    options: &Options<'d>,
) -> Result<Encoded, Error> {
    let dwarf = sections::Dwarf::of_source(elf.endian(), source, &Rules::new(options))?;
    encode_dwarf(elf, &dwarf, options)
}

fn encode_dwarf<'d>(
    elf: &image::Elf<'d>,
    dwarf: &sections::Dwarf<'d>,
    options: &Options<'d>,
) -> Result<Encoded, Error> {
    let rules = Rules::new(options);
    let arena = strings::Arena::default();
    let unsorted = Unsorted::of(elf, &rules)?;
    // Units are read while symbols are sorted.
    let begin = || {
        let (reader, names) = Reader::new(elf, dwarf, &arena, rules.clone(), &unsorted);
        if !phases::is_split(options) || reader.merged {
            return (names, Err(reader));
        }
        let gathering = Gathering::new(reader, options.hash_bits);
        gathering.work(&AtomicBool::new(false));
        (names, Ok(gathering))
    };
    let ((names, begun), symbols) = rayon::join(begin, || unsorted.sorted(elf, &rules));
    drop(unsorted);
    let linked = |reader: &Reader<'_>| {
        let mut symbols = symbols?;
        symbols.number(&names, reader.strings.len());
        Ok::<_, Error>(Linked { elf, symbols, addresses: FinalAddresses::are_known() })
    };
    match begun {
        Err(reader) => stream::encode(&linked(&reader)?, &reader, options),
        Ok(gathering) => {
            let linked = linked(&gathering.reader)?;
            match phases::finish(gathering, &linked)? {
                Outcome::Done(encoded) => Ok(encoded),
                Outcome::InDoubt(reader, _) => stream::encode(&linked, &reader, options),
            }
        }
    }
}
