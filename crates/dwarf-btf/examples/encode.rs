//! Makes BTF of a file's debug information, as pahole would, and writes the blob: `encode FILE OUT [1.24] [exact]`.
//!
//! With `1.24` it is that of pahole 1.24 instead of 1.32; with `exact` it is deduplicated type by type, which is slower
//! and gives the same.

use std::error::Error;
use std::time::Instant;

use dwarf_btf::{Options, PaholeVersion};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, out, how @ ..] = words.as_slice() else { return Err("encode FILE OUT".into()) };
    let has = |word: &str| how.iter().any(|given| given == word);
    let old = has("1.24");
    let pahole = if old { PaholeVersion::V1_24 } else { PaholeVersion::V1_32 };
    let exact_dedup = has("exact");
    let options = Options { pahole, consistent_functions: !old, exact_dedup, ..Options::default() };
    let start = Instant::now();
    let data = std::fs::read(file)?;
    let encoded = dwarf_btf::encode(&image::Elf::parse(&data)?, &options)?;
    let (report, bytes) = (&encoded.report, encoded.btf.len());
    let (units, types, time) = (report.units, report.types, start.elapsed());
    println!("{units} units, {types} types, {bytes} bytes in {time:?}");
    std::fs::write(out, encoded.btf)?;
    Ok(())
}
