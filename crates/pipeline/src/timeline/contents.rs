//! The sizes of what a link has made, and of what that consists.

use std::fs;
use std::path::Path;

use btf::Btf;
use image::Elf;
use serde::{Deserialize, Serialize};

use crate::files;

/// The sizes of what a link has made, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The kernel.
    pub kernel: Option<u64>,
    /// `System.map`.
    pub system_map: Option<u64>,
    /// The kallsyms tables, in the order of their object; none without kallsyms.
    pub kallsyms: Vec<Table>,
    /// `.BTF`, if the kernel has it.
    pub btf: Option<Types>,
}

/// A kallsyms table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its symbol.
    pub name: String,
    /// Its size in bytes, with the padding behind it.
    pub bytes: u64,
}

/// What `.BTF` consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Types {
    /// Size of all, in bytes.
    pub bytes: u64,
    /// Size of the strings, in bytes.
    pub strings: u64,
    /// How many strings there are.
    pub string_count: u64,
    /// The types by kind; kinds without types are left out.
    pub kinds: Vec<BtfKind>,
}

/// Types of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtfKind {
    /// The kind, as `STRUCT`.
    pub kind: String,
    /// How many types.
    pub types: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

impl Contents {
    /// The sizes of the finished `kernel` with its `map`, and of the kallsyms object that it has. What cannot be read is
    /// left out: the link is done, and other links do not depend on it.
    pub fn of(kernel: &Path, map: &Path, kallsyms: Option<&Path>) -> Self {
        Contents {
            kernel: size(kernel),
            system_map: size(map),
            kallsyms: kallsyms.and_then(tables).unwrap_or_default(),
            btf: types(kernel),
        }
    }
}

/// The size of a file in bytes.
pub fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.len())
}

fn tables(object: &Path) -> Option<Vec<Table>> {
    let tables = kallsyms::table_sizes(&files::map(object).ok()?).ok()?;
    Some(tables.into_iter().map(|(name, bytes)| Table { name, bytes }).collect())
}

fn types(kernel: &Path) -> Option<Types> {
    let map = files::map(kernel).ok()?;
    let elf = Elf::parse(&map).ok()?;
    let blob = elf.bytes(elf.section(".BTF")?.1).ok()?;
    let stat = btf::stat(&Btf::parse(blob).ok()?, 0);
    let kinds = stat.kinds.iter().map(|(kind, count)| BtfKind {
        kind: kind.to_string(),
        types: count.types,
        bytes: count.bytes,
    });
    let (bytes, strings, string_count) = (stat.total, stat.strings, stat.string_count);
    Some(Types { bytes, strings, string_count, kinds: kinds.collect() })
}
