//! resolve_btfids: fills `.BTF_ids` of a linked kernel or module, and makes the kernel's BTF of pahole's.
//!
//! What: C code names types and functions that BPF programs may use with `BTF_ID(kind, name)`. Each
//! leaves four zero bytes in `.BTF_ids` and a local symbol that carries kind and name. After BTF has
//! been made the bytes become the type's id, and the sets among them (`BTF_SET_START`,
//! `BTF_KFUNCS_START`) get their count and are sorted for the kernel's binary search. [`resolve`]
//! returns this as patches of the image. From Linux 7.0 on the tool also rewrites the types: [`kernel_btf`]
//! returns the contents of the sections, and [`patch_from_file`] puts the ids into the final image.
//!
//! Why: the kernel's tool parses the BTF into its own tables, walks a tree by name for every type and
//! writes through libelf. Here only the wanted names are hashed and the types are passed over once.
//!
//! Cost: one pass over the symbols and one over the types; about a millisecond for each megabyte of
//! BTF, no copy of it. Threads do not pay at that size: on two busy cores they made it slower.
//!
//! Source of facts: `tools/bpf/resolve_btfids/main.c` and `include/linux/btf_ids.h` of Linux 6.1.192,
//! 6.12.117 and 7.3.4. The form that works in place is the same in the first two. It brings a word of a
//! foreign byte order into that order through libelf; here every word is written in the image's
//! order, which gives what a native run of the tool gives. Limits of the tool that are not kept: at
//! most 100 symbols for one name, and 65,279 sections.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod collect;
mod error;
mod find;
mod kernel;
mod patch;
mod warning;

use btf::Btf;
use image::{Elf, Patch};

pub use collect::Target;
pub use error::Error;
pub use kernel::{KernelBtf, KernelOptions, kernel_btf, kernel_btf_of};
pub use warning::{Namesake, Warning};

/// The section that holds the ids.
const IDS: &str = ".BTF_ids";
/// The section that holds the types.
const TYPES: &str = ".BTF";
/// The section that holds what a module's types are split on, in place of the whole kernel's.
const BASE: &str = ".BTF.base";

/// How to resolve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Fill [`Resolution::trace`] with the lines that the peer prints with `-v`.
    pub trace: bool,
    /// Look for types that share the name of an unresolved symbol, for [`Warning::help`]: another pass
    /// over the types if a symbol is unresolved.
    pub explain: bool,
}

/// What resolving an image gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// What changes in the file; empty if it has no `.BTF_ids` or no symbols.
    pub patches: Vec<Patch>,
    /// In the order in which the peer prints them.
    pub warnings: Vec<Warning>,
    /// With [`Options::trace`]: every line that the peer prints with `-v`, the warnings among them.
    pub trace: Vec<String>,
}

/// Whether [`resolve`] makes use of a base: the image has ids to resolve, and no base of its own.
///
/// A module with `.BTF.base` (6.11 and later) is resolved against that section, whatever the caller
/// names as its base.
pub fn wants_base(elf: &Elf<'_>) -> bool {
    elf.section(IDS).is_some() && elf.section(BASE).is_none()
}

/// Resolves the ids of `elf` from its own `.BTF`.
///
/// `base` is the kernel's BTF for a module, `None` for a kernel.
///
/// # Errors
/// No or malformed `.BTF`; a symbol of `.BTF_ids` that cannot be parsed or lies outside the section.
pub fn resolve(
    elf: &Elf<'_>,
    base: Option<&Btf<'_>>,
    options: &Options,
) -> Result<Resolution, Error> {
    let Some(wanted) = collect::collect(elf)? else {
        return Ok(Resolution::default());
    };
    let own_base = match elf.section(BASE) {
        Some((_, section)) => Some(Btf::parse(elf.bytes(section)?)?),
        None => None,
    };
    let (_, section) = elf.section(TYPES).ok_or(Error::NoBtf)?;
    let bytes = elf.bytes(section)?;
    let types = match own_base.as_ref().or(base) {
        Some(base) => Btf::parse_split(bytes, base)?,
        None => Btf::parse(bytes)?,
    };
    finish(elf, wanted, &types, options)
}

/// Resolves the ids of `elf` from `types`, wherever they come from.
///
/// For a module `types` is a split BTF; ids count from the base's first type.
///
/// # Errors
/// A symbol of `.BTF_ids` that cannot be parsed or lies outside the section.
pub fn resolve_with(
    elf: &Elf<'_>,
    types: &Btf<'_>,
    options: &Options,
) -> Result<Resolution, Error> {
    match collect::collect(elf)? {
        Some(wanted) => finish(elf, wanted, types, options),
        None => Ok(Resolution::default()),
    }
}

fn finish(
    elf: &Elf<'_>,
    wanted: collect::Wanted<'_>,
    types: &Btf<'_>,
    options: &Options,
) -> Result<Resolution, Error> {
    let mut log = warning::Log::new(options.trace);
    log.added(&wanted);
    let bytes = resolved(elf, wanted, types, options.explain, &mut log)?;
    let mut patches = patch::compressed_alignments(elf);
    let (_, section) = elf.section(IDS).ok_or(Error::NoIds)?;
    patches.push(Patch { offset: section.offset, bytes });
    let (warnings, trace) = log.finish();
    Ok(Resolution { patches, warnings, trace })
}

/// The contents of `.BTF_ids` with the ids of `types`.
fn resolved(
    elf: &Elf<'_>,
    mut wanted: collect::Wanted<'_>,
    types: &Btf<'_>,
    explain: bool,
    log: &mut warning::Log,
) -> Result<Vec<u8>, Error> {
    find::find(&mut wanted, types, log)?;
    let namesakes = match explain {
        true => find::namesakes(&wanted, types),
        false => find::Namesakes::new(),
    };
    patch::ids(elf, &wanted, &namesakes, log)
}

/// Puts `ids` in the place of the contents of `.BTF_ids`: `resolve_btfids --patch_btfids` (7.0+).
///
/// # Errors
/// No `.BTF_ids`, or one of another size.
pub fn patch_from_file(elf: &Elf<'_>, ids: &[u8]) -> Result<Patch, Error> {
    let (_, section) = elf.section(IDS).ok_or(Error::NoIds)?;
    let bytes = elf.bytes(section)?;
    if bytes.len() != ids.len() {
        return Err(Error::SizeMismatch { section: bytes.len(), file: ids.len() });
    }
    Ok(Patch { offset: section.offset, bytes: ids.to_vec() })
}
