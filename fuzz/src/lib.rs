//! What every parser is fed by the fuzzer, and by the plain test of the corpus.
//!
//! Each target takes any bytes at all. None may panic, hang, or take memory out of proportion. Where a
//! parser wants an ELF file, the file is built around the bytes ([`container`]), so that nothing is spent
//! on what [`image`] reads; what is left are headers of our own making and sections of the fuzzer's.
//!
//! The corpus: `examples/seed.rs` cut the files `c-*` and those of `btf_ids` from a page of C, built for several
//! machines and forms of DWARF; the blobs are what pahole made of them. Others are inputs that once broke something.
//!
//! `cargo xtask fuzz` runs the targets with libFuzzer; `tests/corpus.rs` runs the committed corpus.
#![forbid(unsafe_code)]

pub mod container;

use btf::{Btf, COptions, CheckOptions, HeaderForm};
use dwarf_btf::{Options, PaholeVersion};
use image::Elf;

use container::Container;

/// Runs everything on the calling thread: libFuzzer counts what is reached, and threads would disturb it.
pub fn one_thread() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    // An error means that there is a pool: then that one is used.
    let _ = pool.build_global();
}

/// Debug information, symbols and `.BTF_ids` to BTF, in both ways of deduplicating. What is made must be
/// readable.
pub fn dwarf(data: &[u8]) {
    let container = Container::read(data);
    let file = container.elf();
    let Ok(elf) = Elf::parse(&file) else { return };
    let Ok(base) = container.base().map(dwarf_btf::Base::parse).transpose() else { return };
    let old = container.switch(0);
    let options = Options {
        pahole: if old { PaholeVersion::V1_24 } else { PaholeVersion::V1_32 },
        consistent_functions: !container.switch(1),
        attributes: container.switch(2),
        explain: true,
        base: base.as_ref(),
        ..Options::default()
    };
    let Ok(made) = dwarf_btf::encode(&elf, &options) else { return };
    if options.base.is_none() && !made.btf.is_empty() {
        Btf::parse(&made.btf).expect("what was made is BTF");
    }
    let _ = dwarf_btf::encode(&elf, &Options { exact_dedup: true, ..options });
}

/// A blob, or split BTF behind the blob that it is split on: read, checked, shown, compared, distilled.
///
/// The first two bytes are the length of the base in bytes, 0 for none.
pub fn btf(data: &[u8]) {
    let Some((length, blobs)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(blobs.len());
    let (base, blob) = blobs.split_at(length);
    if base.is_empty() {
        if let Ok(types) = Btf::parse(blob) {
            look(&types);
        }
        return;
    }
    let Ok(base) = Btf::parse(base) else { return };
    if let Ok(types) = Btf::parse_split(blob, &base) {
        look(&types);
        if let Ok(made) = btf::distill(&types, HeaderForm::default()) {
            let base = Btf::parse(&made.base).expect("a distilled base is BTF");
            Btf::parse_split(&made.split, &base).expect("what is split on it is BTF");
        }
    }
}

fn look(types: &Btf<'_>) {
    let mut out = Vec::new();
    for (id, ty) in types.types() {
        btf::raw_type(types, id, &ty, &mut out).expect("memory takes all that is written");
    }
    out.clear();
    btf::json(types, types.types(), &mut out).expect("memory takes all that is written");
    for program in [false, true] {
        btf::check(types, &CheckOptions { program, ..CheckOptions::newest() });
    }
    for unsorted in [false, true] {
        let _ = btf::c_header(types, &COptions { unsorted, ..COptions::default() });
    }
    btf::stat(types, 10);
    if let Ok(found) = btf::diff(types, types) {
        assert!(found.is_empty(), "a blob differs from itself: {}", found[0]);
    }
}

/// Several blobs, each behind its length in two bytes: merged, and deduplicated by the rules of each
/// libbpf. What is left must stay as it is.
pub fn dedup(data: &[u8]) {
    let mut blobs = Vec::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (blob, after) = after.split_at(length);
        blobs.push(blob);
        rest = after;
    }
    let Ok(merged) = btf_dedup::merge(&blobs) else { return };
    let options = [btf_dedup::Options::libbpf_1_1(), btf_dedup::Options::libbpf_1_8()];
    let collide = btf_dedup::Options { collide: true, ..btf_dedup::Options::libbpf_1_8() };
    for options in options.into_iter().chain([collide]) {
        let _ = btf_dedup::dedup(&Default::default(), merged.types.clone(), &options);
    }
    // The first blob's types as the base of the others'.
    if let [first, others @ ..] = &blobs[..]
        && let (Ok(base), Ok(split)) = (btf_dedup::merge(&[first]), btf_dedup::merge(others))
    {
        let _ = btf_dedup::dedup(&base.types, split.types, &options[1]);
    }
}

/// `.BTF_ids`, `.BTF` and symbols: the ids of older kernels, and the BTF of 7.x.
pub fn btf_ids(data: &[u8]) {
    let container = Container::read(data);
    let file = container.elf();
    let Ok(elf) = Elf::parse(&file) else { return };
    let base = container.base().and_then(|base| Btf::parse(base).ok());
    let options = btf_ids::Options { trace: true, explain: true };
    let _ = btf_ids::resolve(&elf, base.as_ref(), &options);
    let Some((_, section)) = elf.section(".BTF") else { return };
    let Ok(bytes) = elf.bytes(section) else { return };
    let types = match &base {
        Some(base) => Btf::parse_split(bytes, base),
        None => Btf::parse(bytes),
    };
    if let Ok(types) = types {
        let distill_base = container.switch(0);
        let options = btf_ids::KernelOptions { distill_base, trace: true, explain: true };
        let _ = btf_ids::kernel_btf(&elf, &types, &options);
    }
}
