//! Debug sections before there is an image: what is read of them then, and what becomes of their addresses.

use std::borrow::Cow;
use std::ops::Range;

use debug_link::{Addresses, Input, LinkMap, Linker, Prepared, Provisional};
use dwarf_btf::{DebugSource, Expected, Memory, Options, PaholeVersion, Reading, Unreadable};
use image::Elf;

/// `.debug_info` and the rest, with provisional addresses.
struct Ahead<'p, 'a>(&'p Provisional<'a>);

impl DebugSource for Ahead<'_, '_> {
    fn info_len(&self) -> usize {
        self.0.contents(".debug_info").map_or(0, |info| info.len())
    }

    fn info(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), Unreadable> {
        let info = self.0.contents(".debug_info").ok_or(Unreadable)?;
        info.read(range, out).map_err(|_| Unreadable)
    }

    fn section(&self, name: &str) -> Result<Cow<'_, [u8]>, Unreadable> {
        let section = self.0.contents(name).map(|section| section.all());
        section.unwrap_or(Ok(Cow::Borrowed(&[]))).map_err(|_| Unreadable)
    }
}

/// Types of the first `ours` inputs, read without an image, are those of the linker's own image `whole`; and each address
/// in their `.debug_info` becomes what it is there.
pub(super) fn assert_read_ahead(
    inputs: &[Input<'_>],
    ours: usize,
    (stripped, whole): (&[u8], &[u8]),
    map: &LinkMap<'_>,
    name: &str,
) {
    let (first, later) = inputs.split_at(ours);
    let prepared = Prepared::new(first, map.linker).unwrap_or_else(|e| panic!("{name}: {e}"));
    let provisional = prepared.provisional().unwrap_or_else(|e| panic!("{name}: {e}"));
    let stripped = Elf::parse(stripped).expect("the linker wrote an image");
    let whole = Elf::parse(whole).expect("the linker wrote an image");
    let addresses = provisional.addresses(later, &stripped, map).unwrap();
    let addresses = addresses.unwrap_or_else(|| panic!("{name}: it is put together otherwise"));
    assert_addresses(&provisional, &addresses, &whole, name);

    let source = Ahead(&provisional);
    // Each version of pahole is tried with one of the linkers.
    let pahole = match map.linker {
        Linker::Gnu => PaholeVersion::V1_24,
        Linker::Lld => PaholeVersion::V1_32,
    };
    let options = Options { pahole, ..Options::default() };
    let (functions, percpu) = (provisional.functions(), provisional.percpu());
    let expected = Expected::of_inputs(provisional.inputs(), functions, percpu).unwrap();
    let memory = Memory::default();
    let reading = Reading::begin(&memory, &source, &expected, &options).unwrap();
    let reading = reading.unwrap_or_else(|| panic!("{name}: it cannot be read ahead"));
    let types = reading.finish(&stripped, &|address| addresses.of(address));
    let types = types.unwrap_or_else(|| panic!("{name}: it has to be done in one go"));
    let linked = dwarf_btf::encode(&whole, &options).unwrap();
    assert!(types.btf == linked.btf, "{name}: other types, as pahole {pahole} has them");
    assert_eq!(types.report, linked.report, "{name}");
    // Units of other objects stand among those that were read.
    let (part, rest) = inputs.split_at(ours / 2);
    if part.len() > 1 {
        let part = Prepared::new(part, map.linker).unwrap().provisional().unwrap();
        assert!(part.addresses(rest, &stripped, map).unwrap().is_none(), "{name}");
    }
}

/// Looks at every address of 64 bits in `.debug_info`.
fn assert_addresses(
    provisional: &Provisional<'_>,
    addresses: &Addresses<'_>,
    whole: &Elf<'_>,
    name: &str,
) {
    const R_X86_64_64: u64 = 1;
    let info = provisional.contents(".debug_info").expect("a kernel has debug information");
    let mut before = vec![0; info.len()];
    info.read(0..info.len(), &mut before).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (_, section) = whole.section(".debug_info").unwrap();
    let after = whole.bytes(section).unwrap();
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let (mut base, mut known, mut unknown) = (0, 0u64, 0u64);
    for input in provisional.inputs() {
        let Some((_, section)) = input.section(".debug_info") else { continue };
        let records = input
            .section(".rela.debug_info")
            .map_or(&[][..], |(_, section)| input.bytes(section).unwrap());
        for record in records.chunks(24).filter(|record| word(record, 8) << 32 >> 32 == R_X86_64_64)
        {
            let at = base + word(record, 0) as usize;
            match addresses.of(word(&before, at)) {
                Some(address) => {
                    assert_eq!(address, word(after, at), "{name}: .debug_info+{at:#x}");
                    known += 1;
                }
                None => unknown += 1,
            }
        }
        base += section.size as usize;
    }
    // What the linker script defines has no place in the inputs, and literals are merged.
    assert!(unknown * 10 < known, "{name}: {unknown} addresses are not known, {known} are");
}
