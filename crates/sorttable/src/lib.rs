//! Sorting of the tables of a linked kernel, as the kernel's `scripts/sorttable` does it.
//!
//! What: [`sort`] takes a linked image and returns the patches that
//! - sort the exception table `__ex_table` by the address of the faulting instruction,
//! - set `main_extable_sort_needed` to 0, so that the kernel does not sort it again at boot,
//! - sort the ORC unwind tables (`.orc_unwind_ip`, `.orc_unwind`) by instruction address,
//! - zero the ftrace locations outside every function and sort them all (`__start_mcount_loc` ..
//!   `__stop_mcount_loc`).
//!
//! Why: the kernel looks all of these up by binary search, and unsorted ones cost boot time. What
//! differs between kernels is in [`Dialect`]; what is configured is in [`Options`].
//!
//! Ties. The kernel's tool sorts with the C library's `qsort`. glibc's is a stable merge sort in every
//! release (the introsort of 2023 was taken back before 2.39 came out); only when it gets no memory
//! does it fall back to an unstable sort. Other C libraries (musl's smoothsort) are unstable, so there
//! the tool's output for equal keys is whatever the library makes of it. vmlinker gives glibc's order:
//! equal exception entries keep their order; equal ORC entries do not, see `orc.rs`; equal mcount words
//! cannot be told apart.
//!
//! Cost: O(n log n) in the number of entries; the image is only read. ORC tables are sorted beside
//! the others, as keys of 8 bytes. In processor time, the list of functions read: 9 ms for the 130,000
//! ORC entries and 23,000 locations of a small x86_64 kernel, 27 ms for a million and 60,000.
//!
//! ```no_run
//! use sorttable::{Dialect, Options};
//!
//! let mut data = std::fs::read("vmlinux")?;
//! let source = std::fs::read("scripts/sorttable.c")?;
//! let options = Options { dialect: Dialect::detect(&[&source])?, ..Options::default() };
//! let sorted = sorttable::sort(&image::Elf::parse(&data)?, &options)?;
//! image::apply(&mut data, &sorted.patches)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source of facts: `scripts/sorttable.{c,h}` and `tools/arch/*/include/asm/orc_types.h` of Linux 6.1,
//! 6.12 and 7.3, and their behaviour (`tests/tests/sorttable.rs` compares bytes).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod dialect;
mod error;
mod extable;
mod functions;
mod layout;
mod mcount;
mod orc;
mod orc_types;
mod runs;
mod symbols;

use std::ops::Range;

use image::{Class, Elf, Endian, Patch, consts};

pub use dialect::{BoundsSource, Dialect, FlagSearch, Unrecognized};
pub use error::Error;
pub use functions::{Function, Functions, Row};
pub use mcount::bounds_from_system_map;
pub use orc_types::{OrcEntry, OrcTerminator};

use layout::Layout;

/// What to sort, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How the kernel's own `sorttable` does it.
    pub dialect: Dialect,
    /// Whether there are ORC tables: `CONFIG_UNWINDER_ORC=y`, which scripts/Makefile turns into
    /// `-DUNWINDER_ORC_ENABLED`.
    pub orc: bool,
    /// Whether the ftrace locations are sorted: `CONFIG_BUILDTIME_MCOUNT_SORT=y`, which
    /// scripts/Makefile turns into `-DMCOUNT_SORT_ENABLED`.
    pub mcount: bool,
    /// The functions of the kernel (`-s FILE`), used only with [`Dialect::mcount_functions`]. Locations
    /// outside all of them become 0. With none, or an empty list, every location stays.
    pub functions: Option<Functions>,
    /// Addresses of `__start_mcount_loc` and `__stop_mcount_loc` where they come from System.map
    /// ([`BoundsSource::SystemMap`]); see [`bounds_from_system_map`].
    pub mcount_bounds: Option<Range<u64>>,
}

/// What sorting changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted {
    /// The bytes to put into the image; they do not overlap in an image of a kernel.
    pub patches: Vec<Patch>,
    /// What the kernel's tool complains of although it succeeds: see [`Dialect::join_hides_errors`].
    /// The tables named in it are not in `patches`.
    pub complaint: Option<Error>,
}

/// Sorts the tables of `elf`, a linked kernel (`ET_EXEC` or `ET_DYN`).
///
/// # Errors
/// What the kernel's tool fails at, and what would make it read or write outside the file.
pub fn sort(elf: &Elf<'_>, options: &Options) -> Result<Sorted, Error> {
    check_header(elf)?;
    let form = extable::Form::of(elf.header().machine, &options.dialect)?;
    let layout = Layout::find(elf);
    let orc = match options.orc && orc::applies(elf, &options.dialect) {
        true => Some(orc::Tables::find(elf, &layout, &options.dialect)?),
        false => None,
    };
    let (orc_patches, rest) = rayon::join(
        || orc.as_ref().map(|tables| tables.sort()).unwrap_or_default(),
        || Rest::run(elf, &layout, form, options),
    );
    let mut patches = rest.patches;
    patches.extend(orc_patches);
    let complaint = match rest.stop {
        None => None,
        Some(Stop::Fault(error)) => return Err(error),
        Some(Stop::Check(error)) => {
            let joined = orc.is_some() || rest.mcount_sorted;
            if !(joined && options.dialect.join_hides_errors) {
                return Err(error);
            }
            Some(error)
        }
    };
    Ok(Sorted { patches, complaint })
}

/// Why the steps after the ORC tables ended early.
#[derive(Debug)]
enum Stop {
    /// A check of the kernel's tool, which ends the file's processing; whether that is a failure
    /// depends on [`Dialect::join_hides_errors`].
    Check(Error),
    /// A failure in any case.
    Fault(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Fault(error.into())
    }
}

/// All that is not ORC, in the order of the kernel's tool, and how far it got.
#[derive(Debug, Default)]
struct Rest {
    patches: Vec<Patch>,
    mcount_sorted: bool,
    stop: Option<Stop>,
}

impl Rest {
    fn run(elf: &Elf<'_>, layout: &Layout<'_, '_>, form: extable::Form, options: &Options) -> Self {
        let mut rest = Rest::default();
        rest.stop = rest.steps(elf, layout, form, options).err();
        rest
    }

    fn steps(
        &mut self,
        elf: &Elf<'_>,
        layout: &Layout<'_, '_>,
        form: extable::Form,
        options: &Options,
    ) -> Result<(), Stop> {
        let dialect = &options.dialect;
        let from_map = dialect.mcount_bounds == BoundsSource::SystemMap;
        if options.mcount && from_map {
            self.mcount(elf, layout, options, options.mcount_bounds.clone())?;
        }
        let extable = layout.extable.ok_or(Stop::Check(Error::NoExtable))?;
        let symtab = layout.symtab.ok_or(Stop::Check(Error::NoSymtab))?;
        let strtab = layout.strtab.ok_or(Stop::Check(Error::NoStrtab))?;
        let table = symbols::Table::new(elf, symtab, strtab)?;
        if options.mcount && !from_map {
            self.mcount(elf, layout, options, table.mcount_bounds())?;
        }
        self.patches.push(extable::sort(elf, extable, form)?);
        if let Some(relocs) = layout.extable_relocs.filter(|_| dialect.zero_extable_relocs) {
            let len = elf.bytes(relocs)?.len();
            self.patches.push(Patch { offset: relocs.offset, bytes: vec![0; len] });
        }
        self.patches.push(clear_flag(elf, layout, &table, dialect.flag_search)?);
        Ok(())
    }

    fn mcount(
        &mut self,
        elf: &Elf<'_>,
        layout: &Layout<'_, '_>,
        options: &Options,
        bounds: Option<Range<u64>>,
    ) -> Result<(), Stop> {
        let bounds = bounds.filter(|bounds| bounds.start != 0 && bounds.end != 0);
        let incomplete = Stop::Check(Error::IncompleteMcount);
        let (Some(init_data), Some(bounds)) = (layout.init_data, bounds) else {
            return Err(incomplete);
        };
        self.patches.extend(mcount::sort(elf, init_data, bounds, options)?);
        self.mcount_sorted = true;
        Ok(())
    }
}

/// The patch that sets `main_extable_sort_needed` (4 bytes) to 0.
fn clear_flag(
    elf: &Elf<'_>,
    layout: &Layout<'_, '_>,
    table: &symbols::Table<'_>,
    search: FlagSearch,
) -> Result<Patch, Stop> {
    let flag = match table.find_flag(search) {
        Some(flag) => flag,
        // The search of the kernel's tool has no end here: it dies of a fault.
        None if search == FlagSearch::Endless => return Err(Stop::Fault(Error::NoFlag)),
        None => return Err(Stop::Check(Error::NoFlag)),
    };
    let section = table.section_of(&flag, elf, layout.symtab_shndx)?;
    let offset = flag.value.wrapping_sub(section.addr).wrapping_add(section.offset);
    layout::range(elf, section, offset, 4)?;
    Ok(Patch { offset, bytes: vec![0; 4] })
}

/// Linked, and with the header size of its class.
fn check_header(elf: &Elf<'_>) -> Result<(), Error> {
    let (at, size) = match elf.class() {
        Class::Elf32 => (40, 52),
        Class::Elf64 => (52, 64),
    };
    let ehsize = elf.data().get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
    let ehsize = ehsize.map(|bytes| elf.endian().read_u16(bytes));
    let linked = [consts::ET_EXEC.0, consts::ET_DYN.0].contains(&elf.header().file_type);
    if linked && ehsize == Some(size) { Ok(()) } else { Err(Error::FileType) }
}
