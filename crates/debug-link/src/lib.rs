//! The debug sections of a kernel, linked into an image that was linked without them.
//!
//! What: [`Plan::new`] takes the linker's input objects, the image that it wrote with
//! `--strip-debug` and the map of that link (`-Map`); [`Plan::make`] makes the file that the
//! linker would have written with debug info, byte for byte: the debug sections with relocations
//! applied and strings merged, the symbol table, the names, the headers, and the build ID by the
//! linker's own rule ([`build_id`]). [`Prepared`] is the part of it that can be done before the
//! link. [`Prepared::sections`] gives single debug sections without an image, and
//! [`Prepared::provisional`] gives them before there are addresses.
//!
//! The image itself need not have contents: [`hollow`] makes objects by which the linker only lays it out, and a
//! [`Filler`] puts in what it would have written of the true ones, kept relocations and all: into the image, or on the
//! way into the output ([`Filler::plan`]).
//!
//! Why: a link with debug info reads, relocates and merges hundreds of megabytes on one thread, and
//! the loadable part is the same without. Here that work is parallel, is done once, and goes
//! part by part straight into the output file.
//!
//! # What is known of GNU ld 2.40
//!
//! Seen with x86_64 kernels 6.1, 6.12 and 7.3 linked with and without `--strip-debug`, and in its
//! source:
//! - Addresses, file offsets of what is loaded, program headers, `.symtab`, `.strtab` and
//!   `.comment` are the same, but that symbols behind the debug sections have other section indexes
//!   (`.modinfo` in 7.3).
//! - The order of sections is that of the linker script's output sections; the map has them all
//!   ([`LinkMap`]).
//! - Debug sections of `vmlinux.o` have relocations against section symbols mostly, against global
//!   symbols, and some against local labels. About four of five in `.debug_info` are offsets into
//!   `.debug_str`, which `ld -r` leaves unmerged. x86_64 uses `R_X86_64_32` and `R_X86_64_64` only.
//! - DWARF 5 lists (`.debug_rnglists`, `.debug_loclists`) and `.debug_aranges` are just put
//!   together; nothing in them is rewritten but by relocation.
//! - References to what was thrown away (`.discard.addressable`, `.exitcall.exit`) become 0; in
//!   `.debug_ranges` 1.
//! - About 10,000 references go to string literals, whose sections are merged too (`entries`).
//! - `.debug_str` and `.debug_line_str` are merged in the order of first appearance; suffixes are
//!   folded (`strings`).
//! - With `--emit-relocs` every relocation is kept, those of debug sections too, and each output
//!   section has a symbol; the indexes of all other symbols grow by the number of debug sections.
//! - The build ID covers everything but file offsets and the tables of symbols and names ([`build_id`]).
//!
//! # What is known of ld.lld 19
//!
//! Seen with the same kernels, and in its source (`lld/ELF`). What is different is in `linker` and
//! in the modules named here:
//! - Loadable bytes, their offsets and the program headers are the same with and without
//!   `--strip-debug`, as are the symbols and their names.
//! - The map lists neither what was thrown away, nor which sections were merged into one, nor the output
//!   sections that stayed empty. The linker script has the order and the patterns (`script`,
//!   `unlisted`); an input section that the map could have and has not was thrown away.
//! - What is not loaded lies in the order of the section headers, each at the next multiple of its alignment, the
//!   tables of symbols and names where the script has them. `.shstrtab` has each name once, in
//!   that order; nothing is folded.
//! - Merged strings are kept once, in 32 shards by their XXH3 hash, without folding, at `-O1`, which is
//!   the default (`sharded`). Sections with the same flags, entry size and alignment are merged within one
//!   output section.
//! - References to what was thrown away and to what is defined nowhere become 0; in `.debug_ranges`
//!   and `.debug_loc` 1, in `.debug_names` -1, whatever the addend.
//! - With `--emit-relocs` relocations are sections of their own behind all others, in the order in which the inputs
//!   first have some (`order`); the symbol of an output section stands among the local symbols of the file
//!   that leads there (`section_symbols`). A relocation against a section that was thrown away becomes
//!   nothing and keeps its addend.
//! - The build ID covers the whole file; `sha1` is 20 bytes of BLAKE3 ([`build_id`]).
//!
//! # What is not followed
//!
//! Each is an [`Error`], after which the caller links the ordinary way: other versions of the linkers,
//! compressed debug sections, COMDAT groups, local symbols in debug sections (arm64's `$d`), kept
//! relocations without addends, debug sections that no output section of the script takes (orphans),
//! `--gc-sections` of archives, relaxation, relocations that debug info does not use. Of ld.lld also
//! levels of optimization other than `-O1`, identical code folding, `-z dead-reloc-in-nonalloc`,
//! `--emit-relocs` without `--discard-none`, and linker scripts with `EXCLUDE_FILE` or patterns for files.
//!
//! The other machines in the table of relocations (arm64, arm, i386, riscv, s390x, ppc64) follow
//! the same path; of them only i386 has been compared with its linkers.
//!
//! # Cost
//!
//! `vmlinker timeline` shows what each step of a link costs, and `cargo xtask bench` the whole of it, on a kernel with 1 GB
//! of `vmlinux.o` and 899 MB of image. What bounds it there:
//! - [`Prepared`] is bound by merging strings, ten million of them: for each a hash, a look-up and a comparison, and two
//!   waits for memory. What is remembered of the last link ([`Prepared::resume`]) spares all that for
//!   strings that are the same; what remains is a hash of all bytes.
//! - [`Plan::make`] is bound by the processor as long as there are two threads. With more of them GNU ld's build ID is the
//!   bound: SHA-1 depends on itself from block to block. It is taken
//!   while parts are made (`in_order`). ld.lld's is not a sequence.
//! - Look-ups of strings, a wait for the cache each, are remembered. Beside the linker ([`Prepared::look_ahead`]) they
//!   cost no time.
//! - What is read once is read, not mapped ([`ReadAt`]): to map a page and give it back takes longer than to copy it.
//! - [`Filler::fill`] reads each relocation once, and works at the speed of memory.
//!
//! The page cache is as fast as memory only where memory is at hand. A virtual machine that reports
//! free pages to its host gets each back by a fault, which takes far longer than to fill it. And on ext4 to
//! rename a file over another, or to cut one off and write it anew, begins to write it to the disk at once.
//!
//! Memory: the image without debug info (105 MB; what is filled on the way takes no room), what inputs are read at the
//! time, and what [`Prepared`] keeps: the symbols, the merged strings, for the unmerged strings two bits for each byte and
//! four bytes for each string, and four bytes for each relocation of `.debug_info`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod buffer;
pub mod build_id;
mod carve;
mod contents;
mod debug_file;
pub mod debuglink;
mod dialect;
mod emit;
mod entries;
mod error;
mod fields;
mod fill;
mod filled;
mod filling;
mod frame;
pub mod hollow;
mod how;
mod in_order;
mod kept;
mod keys;
mod layout;
mod linker;
mod locals;
mod lookups;
mod make;
mod map;
mod map_lld;
mod merge;
mod names;
mod object;
mod order;
mod part;
mod plan;
mod prepare;
mod provisional;
mod record;
mod refill;
mod relocate;
mod runs;
mod script;
mod section_symbols;
mod sections;
mod seen;
mod sharded;
mod strings;
mod targets;
#[cfg(test)]
mod testing;
mod unlisted;

pub use contents::Contents;
pub use debug_file::DebugFile;
pub use dialect::{BuildId, Dialect};
pub use error::{Error, Unreadable};
pub use fill::Filler;
pub use linker::Linker;
pub use make::Making;
pub use map::{LinkMap, Listed, Statement};
pub use object::{Input, ReadAt};
pub use plan::Plan;
pub use prepare::Prepared;
pub use provisional::{Addresses, Provisional};
pub use refill::{Exchange, refill};
pub use sections::DebugSections;
