//! resolve_btfids of Linux 7.x: from the encoder's BTF to the kernel's, and its ids.
//!
//! What: the tool no longer works in place. It takes the linked image and the BTF that pahole wrote to a
//! file, and writes the contents of three sections to files:
//! 1. `kfuncs`: the functions that BPF programs may call, by the image's `.BTF_ids`;
//! 2. `rewrite`: their types, as the kernel's verifier wants them;
//! 3. `strings`, and `btf_dedup` for the types: what has become equal is merged;
//! 4. a base of its own for a module of another tree (`.BTF.base`), from `btf::distill`;
//! 5. `sort`: the types by name, so that the kernel can search them;
//! 6. the ids, as in older kernels, from the types as they are now.
//!
//! For vmlinux the script links `.BTF` into the next image and puts `.BTF_ids` into the last one; into a
//! module objcopy adds the sections.
//!
//! Cost: a few passes over the types as words, a hash of all strings and a sort of the named types.
//!
//! Source of facts: tools/bpf/resolve_btfids/main.c, tools/lib/bpf/btf.c and scripts/gen-btf.sh of Linux
//! 7.3.4. A tree has this form if its main.c calls `btf__dedup`; the tool of 7.0 to 7.2 does not, and finds
//! kfuncs by tags that pahole made: another result, which is not made here. Kept are the peer's messages and its bytes, but not its limit of 100 symbols for one name.

mod draft;
mod kfuncs;
mod rewrite;
mod sort;
mod store;
mod strings;
#[cfg(test)]
mod tests;

use btf::{Btf, HeaderForm, StrOff};
use btf_dedup::Types;
use image::Elf;

use crate::collect::{self, Wanted};
use crate::warning::{Log, Warning};
use crate::{Error, IDS, resolved};
use draft::Draft;

/// How to make the kernel's BTF.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelOptions {
    /// Make a base of its own for split BTF: `--distill_base`, which `scripts/Makefile.btf` passes for
    /// modules outside the tree (`KBUILD_EXTMOD`). Nothing for BTF without base.
    pub distill_base: bool,
    /// Fill [`KernelBtf::trace`] with the lines that the peer prints with `-v`.
    pub trace: bool,
    /// As [`Options::explain`](crate::Options::explain).
    pub explain: bool,
}

/// What the sections of an image are to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelBtf {
    /// `.BTF`.
    pub btf: Vec<u8>,
    /// `.BTF.base`, with [`KernelOptions::distill_base`].
    pub base: Option<Vec<u8>>,
    /// `.BTF_ids`, if the image has such a section and symbols; of the section's size.
    pub ids: Option<Vec<u8>>,
    /// In the order in which the peer prints them.
    pub warnings: Vec<Warning>,
    /// With [`KernelOptions::trace`]: every line that the peer prints with `-v`, the warnings among them.
    pub trace: Vec<String>,
}

/// Makes the BTF of the linked kernel or module `elf` from `types`, which pahole made of it.
///
/// For a module `types` is split on the kernel's BTF.
///
/// # Errors
/// Malformed BTF; a symbol of `.BTF_ids` that cannot be parsed or lies outside the section; kfuncs whose
/// types cannot be what their flags say.
pub fn kernel_btf(
    elf: &Elf<'_>,
    types: &Btf<'_>,
    options: &KernelOptions,
) -> Result<KernelBtf, Error> {
    let wanted = collect::collect(elf)?;
    let mut log = Log::new(options.trace);
    let mut draft = Draft::read(types)?;
    if let Some(wanted) = &wanted {
        log.added(wanted);
        let (_, section) = elf.section(IDS).ok_or(Error::NoIds)?;
        let ids = (elf.bytes(section)?, elf.endian());
        let kfuncs = kfuncs::collect(wanted, ids, &draft, &mut log)?;
        rewrite::run(&mut draft, &kfuncs, &mut log)?;
    }
    let strings = strings::dedup(&mut draft)?;
    let own = std::mem::take(&mut draft.types);
    let merged = btf_dedup::dedup(&draft.base, own, &btf_dedup::Options::libbpf_1_8());
    let merged = merged.map_err(Error::Dedup)?.types;
    drop(draft);
    if options.distill_base && types.base().is_some() {
        let whole = store::blob(types, &merged, &strings)?;
        let distilled = distill(types, &whole)?;
        let base = Btf::parse(&distilled.base)?;
        let split = Btf::parse_split(&distilled.split, &base)?;
        let own = Draft::read(&split)?.types;
        let btf = sorted(&split, &own, split.string_section())?;
        let made = ids(elf, wanted, &Btf::parse_split(&btf, &base)?, options, log)?;
        return Ok(KernelBtf { btf, base: Some(distilled.base), ..made });
    }
    let btf = sorted(types, &merged, &strings)?;
    let split = match types.base() {
        Some(base) => Btf::parse_split(&btf, base)?,
        None => Btf::parse(&btf)?,
    };
    let made = ids(elf, wanted, &split, options, log)?;
    Ok(KernelBtf { btf, ..made })
}

/// [`kernel_btf`] from the bytes of the files: the image, its types, and for a module the kernel's.
///
/// # Errors
/// As [`kernel_btf`]; an image or a blob that cannot be read.
pub fn kernel_btf_of(
    image: &[u8],
    types: &[u8],
    base: Option<&[u8]>,
    options: &KernelOptions,
) -> Result<KernelBtf, Error> {
    let elf = Elf::parse(image)?;
    let base = base.map(Btf::parse).transpose()?;
    let types = match &base {
        Some(base) => Btf::parse_split(types, base)?,
        None => Btf::parse(types)?,
    };
    kernel_btf(&elf, &types, options)
}

fn distill(like: &Btf<'_>, whole: &[u8]) -> Result<btf::Distilled, Error> {
    let whole = match like.base() {
        Some(base) => Btf::parse_split(whole, base)?,
        None => Btf::parse(whole)?,
    };
    // The peer's libbpf has the layout in its header, and writes none into what it makes anew.
    Ok(btf::distill(&whole, HeaderForm::Long)?)
}

/// The blob of `types` by name, whose own strings are `strings`; all else as in `like`.
fn sorted(like: &Btf<'_>, types: &Types, strings: &[u8]) -> Result<Vec<u8>, Error> {
    let first = like.first_string().0;
    let name = |offset: u32| match offset.checked_sub(first) {
        // The base's, whose reader has checked that its strings end there.
        None => like.name(StrOff(offset)).unwrap_or(b""),
        Some(at) => {
            let string = strings.get(at as usize..).unwrap_or(&[]);
            string.split(|&byte| byte == 0).next().unwrap_or(&[])
        }
    };
    store::blob(like, &sort::by_name(types, like.first_id().0, name), strings)
}

/// The ids by the types as they are now, and all that was to be told.
fn ids(
    elf: &Elf<'_>,
    wanted: Option<Wanted<'_>>,
    types: &Btf<'_>,
    options: &KernelOptions,
    mut log: Log,
) -> Result<KernelBtf, Error> {
    let ids = wanted.map(|wanted| resolved(elf, wanted, types, options.explain, &mut log));
    let ids = ids.transpose()?;
    let (warnings, trace) = log.finish();
    Ok(KernelBtf { ids, warnings, trace, ..KernelBtf::default() })
}
