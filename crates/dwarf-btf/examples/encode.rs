//! Encodes a file and writes the blob: `encode FILE OUT [1.24|1.32] [exact]`.

use dwarf_btf::{Options, PaholeVersion};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let data = std::fs::read(&args[1])?;
    let start = std::time::Instant::now();
    let elf = image::Elf::parse(&data)?;
    let old = args.get(3).is_some_and(|version| version == "1.24");
    let pahole = if old { PaholeVersion::V1_24 } else { PaholeVersion::V1_32 };
    let exact_dedup = args.get(4).is_some();
    let options = Options { pahole, consistent_functions: !old, exact_dedup, ..Options::default() };
    let encoded = dwarf_btf::encode(&elf, &options)?;
    eprintln!(
        "{:?}: {} units, {} types, {} bytes",
        start.elapsed(),
        encoded.report.units,
        encoded.report.types,
        encoded.btf.len()
    );
    std::fs::write(&args[2], encoded.btf)?;
    Ok(())
}
