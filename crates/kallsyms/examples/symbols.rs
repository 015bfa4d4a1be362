//! Prints the symbols that a linked kernel will show in `/proc/kallsyms`: `symbols VMLINUX`.

use std::error::Error;
use std::io::{Write, stdout};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("symbols VMLINUX")?;
    let data = std::fs::read(path)?;
    let elf = image::Elf::parse(&data)?;
    let symbols = kallsyms::reader::read(&elf)?;
    stdout().write_all(&kallsyms::reader::write_list(&symbols, elf.class()))?;
    Ok(())
}
