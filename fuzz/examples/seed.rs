//! Writes a seed for the targets `dwarf` and `btf_ids` from a real ELF file: `seed FILE [BASE] > SEED`.

use std::io::Write;

use fuzz::container::{Container, NAMES, Section};
use image::{Class, Elf, Endianness};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let data = std::fs::read(args.next().ok_or("seed FILE [BASE] > SEED")?)?;
    let base = args.next().map(std::fs::read).transpose()?;
    let elf = Elf::parse(&data)?;
    let mut sections = Vec::new();
    for (name, text) in NAMES.iter().enumerate() {
        if let Some((_, section)) = elf.section(text) {
            // SHF_COMPRESSED
            let compressed = section.flags & 0x800 != 0;
            let (address, contents) = (section.addr as u32, elf.bytes(section)?);
            sections.push(Section { name, compressed, address, contents });
        }
    }
    if let Some(base) = &base {
        let name = NAMES.len() - 1;
        sections.push(Section { name, compressed: false, address: 0, contents: base });
    }
    let narrow = elf.class() == Class::Elf32;
    let big = elf.endian() == Endianness::Big;
    let container = Container::new(narrow, big, elf.header().machine, sections);
    std::io::stdout().write_all(&container.write())?;
    Ok(())
}
