//! ELF images as kernels have them.
//!
//! What: one view of an ELF file for both classes and both byte orders ([`Elf`]), its symbols
//! ([`Elf::symbols`]), changes to it as data ([`Patch`]), and small relocatable objects
//! ([`Relocatable`]) such as the one that holds the kallsyms tables.
//!
//! Why: the cores of vmlinker (`sysmap`, `kallsyms`, `btf-ids`, `sorttable`) ask the same few
//! questions of a kernel image and must give the same answers for a 32-bit big-endian kernel as for
//! x86_64. The class is dispatched once, while the headers are decoded; the byte order is a value.
//!
//! Cost: [`Elf::parse`] decodes the section headers only; nothing is copied. A symbol table of
//! 186,000 entries decodes in a few milliseconds.
//!
//! ```
//! use image::Elf;
//!
//! let data = std::fs::read(std::env::current_exe()?)?;
//! let elf = Elf::parse(&data)?;
//! let (index, text) = elf.section(".text").ok_or("no .text")?;
//! println!("section {index}: {} bytes at {:#x}", elf.bytes(text)?.len(), text.addr);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source of facts: the ELF specification (gABI); decoding and encoding of the file format itself is
//! done by the `object` crate.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod archive;
mod elf;
mod error;
mod patch;
mod relocatable;
mod symbols;

pub use archive::{Member, members};
pub use elf::{Class, Elf, Header, Section};
pub use error::Error;
pub use object::{Endian, Endianness};
pub use patch::{Patch, PatchError, apply};
pub use relocatable::{DataSection, EmptySection, Extras, NewSymbol, Relocatable, Relocation};
pub use symbols::{Place, Symbol};

/// The constants of the ELF specification, under their own names (`SHT_SYMTAB`, `EM_X86_64`, ...).
pub use object::elf as consts;
