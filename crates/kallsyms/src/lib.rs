//! The kernel's symbol table: what `scripts/kallsyms` makes, and what the kernel reads.
//!
//! What: from the symbols of a linked kernel ([`sysmap::Entry`]) to the tables by which the running
//! kernel turns addresses into names and names into addresses ([`Tables::build`]); the tables as an
//! object file ([`Tables::to_object`]), so that no assembler is needed, and as the assembler text that
//! the kernel's own tool prints ([`Tables::to_asm`]); and back from a linked kernel to its symbols
//! ([`reader::read`]).
//!
//! Why: the kernel's build runs `nm | sed | scripts/kallsyms | cc -c` at least twice, 3.2 s each time on
//! two cores for 186,009 symbols, most of it printing numbers as text and reading them again. From a list
//! of that length to the object it takes 61 ms on the same two cores, and 86 ms on one.
//!
//! # From input to output
//! ```text
//! entries ──select──▶ symbols, in the order of addresses ──┬─ offsets ──▶ kallsyms_offsets, _relative_base
//!                                                          ├─ compress ─▶ kallsyms_names, _markers,
//!                                                          │              _token_table, _token_index
//!                                                          └─ by_name ──▶ kallsyms_seqs_of_names
//! ```
//! 1. `select` drops what the rules drop and sorts what is nearly sorted: linear.
//! 2. `compress` finds the 256 tokens and rewrites the names: most of the time. Its own head describes
//!    the algorithm.
//! 3. `by_name` sorts the names: the rest of the time.
//! 4. `to_object` copies about six bytes per symbol and eight per name, and the relocations: three bytes
//!    per byte in kernels before 7.0, 24 bytes per symbol since.
//!
//! Names borrow from the caller's bytes throughout. The process that made the object of those 186,009
//! symbols from the text of their list (8 MB) had 60 MB at most.
//!
//! The result does not depend on the number of threads: parallel parts either sort by a total order or
//! work on names that do not touch each other, and are put together in the order of the symbols.
//!
//! What differs between kernels is a [`Dialect`]; what a configuration chooses is [`Options`].
//!
//! # A kernel's symbols, read back
//! ```no_run
//! let data = std::fs::read("vmlinux")?;
//! let elf = image::Elf::parse(&data)?;
//! for symbol in kallsyms::reader::read(&elf)? {
//!     let (addr, kind) = (symbol.addr, char::from(symbol.kind));
//!     println!("{addr:016x} {kind} {}", String::from_utf8_lossy(&symbol.name));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source of facts: `scripts/kallsyms.c`, `kernel/kallsyms.c` and `kernel/kallsyms_internal.h` of Linux
//! 6.1, 6.12 and 7.3.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod asm;
mod by_name;
mod compress;
mod dialect;
mod error;
mod machine;
mod map;
mod object;
pub mod reader;
mod select;
mod sizes;
mod tables;

pub use compress::Tokens;
pub use dialect::{Accepts, Addressing, Dialect, Ignored};
pub use error::{Error, Warning};
pub use machine::supports;
pub use map::parse_map;
pub use select::warnings;
pub use sizes::{Sizes, table_sizes};
pub use tables::{Options, Symbol, Tables};
