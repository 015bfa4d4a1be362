//! Prints what the types of two kernels differ in: `diff OLD NEW`, two ELF files with a section `.BTF`.

use std::error::Error;
use std::ffi::OsString;

use btf::Btf;
use image::Elf;

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [old, new] = names.as_slice() else { return Err("diff OLD NEW".into()) };
    let (old, new) = (std::fs::read(old)?, std::fs::read(new)?);
    let (old, new) = (Btf::parse(types(&old)?)?, Btf::parse(types(&new)?)?);
    let differences = btf::diff(&old, &new)?;
    for difference in &differences {
        println!("{difference}");
    }
    println!("{} differences", differences.len());
    Ok(())
}

/// The section `.BTF` of an ELF file.
fn types(data: &[u8]) -> Result<&[u8], Box<dyn Error>> {
    let elf = Elf::parse(data)?;
    let (_, section) = elf.section(".BTF").ok_or("no section .BTF")?;
    Ok(elf.bytes(section)?)
}
