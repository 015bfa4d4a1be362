//! System.map as the kernel's build makes it, without nm and sed.
//!
//! What: the symbols of an image as `nm -n` lists them ([`nm`]), the tree's own `scripts/mksysmap` as a
//! [`Filter`], and the text of both ([`write_map`], [`parse_map`]). [`system_map`] is all of it.
//!
//! Why: the build runs `nm -n vmlinux | sed -f scripts/mksysmap` on each temporary vmlinux and on the
//! final one. The list is the input of kallsyms and must be the same to the byte, because the build
//! compares the last two.
//!
//! Cost: for 186,000 symbols a few milliseconds; memory in proportion to the symbols, whose names
//! are borrowed from the image.
//!
//! ```
//! let map = b"ffffffff81000000 T _text\nffffffff81000040 t helper\n";
//! let entries = sysmap::parse_map(map)?;
//! assert_eq!((entries[1].addr, entries[1].kind), (0xffff_ffff_8100_0040, b't'));
//! assert_eq!(sysmap::write_map(&entries, image::Class::Elf64), map);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source of facts: GNU binutils 2.40 and llvm-nm 14 and 19 (see `letter.rs`); the kernel's
//! `scripts/mksysmap` and `scripts/link-vmlinux.sh` from 6.1 to 7.3; POSIX for regular expressions and
//! the shell's quoting.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod filter;
mod letter;
mod map;
mod nm;
#[cfg(test)]
mod testing;

pub use filter::{Filter, FilterError};
pub use map::{Entry, MapError, parse_map, write_map};
pub use nm::{
    Flavor, SizedEntry, nm, nm_as, nm_sizes, system_map, system_map_as, unsorted_sizes, write_sizes,
};
