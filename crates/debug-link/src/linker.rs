//! What the linkers do differently, side by side.
//!
//! GNU ld 2.40 and ld.lld 19 put debug info together in the same way but for the rules here, for the
//! order of merged strings ([`crate::strings`], [`crate::entries`], [`crate::sharded`]), the places of section
//! symbols ([`crate::section_symbols`]) and the hash of the build ID ([`crate::build_id`]). Sources of facts are
//! in the head of the crate.

use crate::error::{Error, lossy};
use crate::map::Listed;
use crate::map_lld::INTERNAL;

/// A linker whose rules are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linker {
    /// GNU ld 2.40.
    Gnu,
    /// ld.lld 19.
    Lld,
}

/// Where a section that is not loaded gets its place in the file: lower turns first, in a turn by the
/// order of the section headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// Debug sections, `.comment` and the like.
    Contents,
    /// `.symtab`.
    Symbols,
    /// `.strtab`.
    Strings,
    /// Relocations that are kept.
    Relocations,
    /// `.shstrtab`.
    Names,
}

impl Linker {
    /// The name that the linker's map has for a member of a thin archive, a file at `path`.
    ///
    /// `archive` and `path` are as seen from where the linker runs.
    pub fn thin_member(self, archive: &str, path: &str) -> String {
        match self {
            Linker::Gnu => path.to_owned(),
            Linker::Lld => format!("{archive}({path})"),
        }
    }

    /// Whether `--strip-debug` leaves out a section of that name which GNU ld takes for one of debug info.
    pub(crate) fn strips(self, name: &[u8]) -> bool {
        self == Linker::Gnu || name.starts_with(b".debug")
    }

    /// Refuses a listed section of no input where what is not listed counts as thrown away.
    pub(crate) fn check_unknown(self, listed: &Listed<'_>) -> Result<(), Error> {
        match self {
            // It lists what it has made like any other.
            Linker::Gnu => Ok(()),
            Linker::Lld if listed.file == INTERNAL => Ok(()),
            Linker::Lld => {
                let (file, section) = (lossy(listed.file), lossy(listed.section));
                Err(Error::disagree(format!("no input is the map's {file}:({section})")))
            }
        }
    }

    /// What a field of the debug section `name` becomes that refers to something thrown away.
    ///
    /// 0 would end a list of ranges; 1 does not (`_bfd_clear_contents`; `relocateNonAlloc`).
    pub(crate) fn tombstone(self, name: &[u8]) -> u64 {
        match (self, name) {
            // PARITY: debug_link_small.rs, a_64_bit_image_with_and_without_kept_relocations.
            (_, b".debug_ranges") | (Linker::Lld, b".debug_loc") => 1,
            (Linker::Lld, b".debug_names") => u64::MAX,
            _ => 0,
        }
    }

    /// Whether a kept relocation against something thrown away becomes nothing (`R_*_NONE`), with an addend of 0.
    ///
    /// ld.lld keeps the addend; and it keeps one against a symbol with a name as it is, with that symbol if it
    /// is in the output (`copyRelocations`).
    pub(crate) fn clears_kept(self) -> bool {
        self == Linker::Gnu
    }

    /// Whether a symbol that is defined nowhere is to debug info like one that was thrown away, or is 0, with the
    /// addend added.
    pub(crate) fn undefined_is_discarded(self) -> bool {
        self == Linker::Lld
    }

    /// Whether an output section without a byte stays if an input has it.
    pub(crate) fn keeps_empty_sections(self) -> bool {
        self == Linker::Lld
    }

    /// Whether the name of a section that ends another section's name is a part of it.
    pub(crate) fn folds_names(self) -> bool {
        self == Linker::Gnu
    }

    /// The turn in which a section gets its place: ld.lld goes by the order of the headers alone.
    pub(crate) fn turn(self, turn: Turn) -> Turn {
        match self {
            Linker::Gnu => turn,
            Linker::Lld => Turn::Contents,
        }
    }
}
