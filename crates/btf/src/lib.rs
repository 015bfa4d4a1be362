//! BTF, the type format of the kernel: reading, writing, showing, comparing and checking it.
//!
//! What: a blob is a header, the types one behind the other (`struct btf_type` and what its kind adds), an
//! optional layout section (Linux 7.1) and the strings. Types are numbered from 1 by their position; 0 is
//! `void`. Split BTF goes on from the ids and strings of a base.
//!
//! - [`Btf`] reads a blob of either byte order without copying; [`Type`] and its views are what is in it.
//! - [`Def`] is a type by value, and [`Builder`] makes a blob of them; [`distill()`] makes a base for a
//!   module; [`to_object`] makes an object file for the linker.
//! - [`raw_type`], [`json`] and [`c_header`] show types as bpftool does; [`stat()`] counts them.
//! - [`diff()`] compares two blobs by meaning; [`check()`] says what the kernel would refuse.
//!
//! Why: a kernel's blob is in the target's byte order, and every tool around it (`resolve_btfids`, the
//! encoder, the comparison, the dumps) asks the same questions.
//!
//! Cost: [`Btf::parse`] makes one pass over the type section to find where each type begins, four bytes
//! of index a type: 2 ms for the 6 MB of a kernel. Names are borrowed from the blob.
//!
//! ```
//! use btf::{Btf, Builder, Def, Endianness, Int};
//!
//! /// `int`, and a typedef of it.
//! fn types(typedef: &str) -> Result<Vec<u8>, btf::WriteError> {
//!     let mut builder = Builder::new(Endianness::Little);
//!     let signed = Int { encoding: Int::SIGNED, offset: 0, bits: 32 };
//!     let int = builder.add(&Def::Int(b"int", 4, signed))?;
//!     builder.add(&Def::Typedef(typedef.as_bytes(), int))?;
//!     builder.finish()
//! }
//!
//! let (old, new) = (types("pid_t")?, types("tid_t")?);
//! let found = btf::diff(&Btf::parse(&old)?, &Btf::parse(&new)?)?;
//! for difference in &found {
//!     println!("{difference}");
//! }
//! assert_eq!(found.len(), 2, "one is gone, one is new");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source of facts: include/uapi/linux/btf.h and Documentation/bpf/btf.rst of Linux 6.1 to 7.3;
//! tools/lib/bpf/btf.c (what libbpf accepts), kernel/bpf/btf.c (what the kernel accepts).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod check;
mod describe;
mod diff;
mod distill;
mod dump_c;
mod dump_json;
mod dump_raw;
mod error;
mod header;
mod kind;
mod model;
mod object;
mod read;
mod stat;
#[cfg(test)]
mod testing;
mod view;
mod write;

use std::fmt;

pub use check::{CheckOptions, Fault, MemberRule, Rule, SectionRule, check};
pub use diff::{Change, Difference, Section, diff};
pub use distill::{DistillError, Distilled, distill};
pub use dump_c::{COptions, DumpError, c_header, pointer_size};
pub use dump_json::json;
pub use dump_raw::raw_type;
pub use error::{Cause, Error, Part};
pub use header::{HEADER_LEN, HEADER_LEN_LAYOUT, Header, MAGIC};
pub use image::Endianness;
pub use kind::{Kind, Layout};
pub use model::{Composite, DeclTag, Def, Enum, NamedMember};
pub use object::to_object;
pub use read::Btf;
pub use stat::{KindStat, Stat, stat};
pub use view::{Array, EnumValue, Int, Member, Param, Type, VarSecinfo};
pub use write::{Builder, HeaderForm, WriteError};

/// Number of a type: 0 is `void`, the first type of a blob without base is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);

impl TypeId {
    /// `void`.
    pub const VOID: TypeId = TypeId(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Offset of a string in bytes; 0 is the empty string. In split BTF the base's strings come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StrOff(pub u32);
