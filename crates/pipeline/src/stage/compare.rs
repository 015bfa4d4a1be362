//! Comparing symbol lists, and saying what differs.
//!
//! The kernel's script says «Inconsistent kallsyms data» and deletes the evidence. Here the symbols
//! that differ are named.

use std::collections::BTreeMap;

use image::Elf;
use image::consts::SHF_ALLOC;
use sysmap::Entry;

use crate::error::Result;
use crate::files;

/// How many differing symbols are named before the rest is only counted.
const NAMED: usize = 10;

/// The kernel's own words for a failed check.
pub const INCONSISTENT: [&str; 2] =
    ["Inconsistent kallsyms data", "Try \"make KALLSYMS_EXTRA_PASS=1\" as a workaround"];

/// What differs between two symbol lists, a line each: a symbol's name with its address in `last`
/// (from which kallsyms was made) and in `map` (the linked kernel).
pub fn differences(last: &[Entry<'_>], map: &[Entry<'_>]) -> Vec<String> {
    let (old, new) = (by_name(last), by_name(map));
    let mut names: Vec<&[u8]> = old.keys().chain(new.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let mut differing: Vec<&[u8]> =
        names.into_iter().filter(|name| old.get(name) != new.get(name)).collect();
    // Symbols that come or go move others: these are the cause, those the consequence.
    differing.sort_by_key(|name| old.contains_key(name) && new.contains_key(name));
    let mut lines: Vec<String> = differing
        .iter()
        .take(NAMED)
        .map(|name| {
            let side = |side: &Addresses<'_>| match side.get(name) {
                Some(found) => {
                    found.iter().map(|(a, k)| format!("{a:x} {k}")).collect::<Vec<_>>().join(", ")
                }
                None => "absent".to_string(),
            };
            format!(
                "  {}: {} in kallsyms, {} in vmlinux",
                String::from_utf8_lossy(name),
                side(&old),
                side(&new)
            )
        })
        .collect();
    if differing.len() > NAMED {
        let moved =
            differing.iter().filter(|&&name| old.contains_key(name) && new.contains_key(name));
        let (moved, more) = (moved.count(), differing.len() - NAMED);
        lines.push(format!("  and {more} more symbols; {moved} of all only moved"));
    }
    if differing.is_empty() {
        lines.push("  the same symbols in another order".to_string());
    }
    lines
}

type Addresses<'a> = BTreeMap<&'a [u8], Vec<(u64, char)>>;

fn by_name<'a>(entries: &[Entry<'a>]) -> Addresses<'a> {
    let mut map = Addresses::new();
    for entry in entries {
        map.entry(entry.name).or_default().push((entry.addr, char::from(entry.kind)));
    }
    map
}

/// Whether two objects have loadable sections of the same sizes and define the same symbols at the same places, so
/// that a kernel linked with the one has the layout of a kernel linked with the other.
pub fn same_layout(first: &[u8], second: &[u8]) -> std::result::Result<bool, image::Error> {
    Ok(first.len() == second.len() && layout(first)? == layout(second)?)
}

/// Sections and symbols of an object, as far as addresses depend on them.
type Layout<'a> = (Vec<(&'a [u8], u64, u64)>, Vec<(u64, u64, &'a [u8])>);

fn layout(object: &[u8]) -> std::result::Result<Layout<'_>, image::Error> {
    let elf = Elf::parse(object)?;
    let loadable = elf.sections().iter().filter(|section| section.flags & SHF_ALLOC.0 != 0);
    let sections = loadable.map(|section| (section.name, section.size, section.align)).collect();
    let symbols = elf.symbols()?.into_iter();
    let mut symbols: Vec<_> =
        symbols.map(|symbol| (symbol.value, symbol.size, symbol.name)).collect();
    symbols.sort_unstable();
    Ok((sections, symbols))
}

/// The sizes of the loadable sections of objects, in bytes; of objects that cannot be read, nothing.
pub fn sizes(objects: impl Iterator<Item = std::path::PathBuf>) -> Vec<u64> {
    let size = |path: std::path::PathBuf| {
        let object = files::map(&path).ok()?;
        let (sections, _) = layout(&object).ok()?;
        Some(sections.iter().map(|(_, size, _)| size).sum())
    };
    objects.filter_map(size).collect()
}

/// The entries of a symbol list.
pub fn parse(text: &[u8]) -> Result<Vec<Entry<'_>>> {
    sysmap::parse_map(text).map_err(crate::Error::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.lines().map(str::to_string).collect()
    }

    fn lines(last: &str, map: &str) -> Vec<String> {
        differences(&parse(last.as_bytes()).unwrap(), &parse(map.as_bytes()).unwrap())
    }

    const LAST: &str = "ffffffff81000000 T _text\nffffffff81000010 t moved\n";

    #[test]
    fn moved_new_and_lost_symbols_are_named_with_both_addresses() {
        let map = "ffffffff81000000 T _text\nffffffff81000020 t moved\nffffffff81000030 D fresh\n";
        assert_eq!(
            lines(LAST, map),
            list(
                "  fresh: absent in kallsyms, ffffffff81000030 D in vmlinux\n  \
                 moved: ffffffff81000010 t in kallsyms, ffffffff81000020 t in vmlinux"
            )
        );
    }

    #[test]
    fn a_long_list_is_counted() {
        let many: String = (0..25).map(|i| format!("{i:016x} t f{i}\n")).collect();
        let lines = lines(&many, LAST);
        assert_eq!(lines.len(), NAMED + 1);
        assert_eq!(lines[NAMED], "  and 17 more symbols; 0 of all only moved");
    }

    #[test]
    fn symbols_that_come_or_go_stand_before_those_that_moved() {
        let last: String = (0..25).map(|i| format!("{i:016x} t f{i}\n")).collect();
        let map: String = (0..25).map(|i| format!("{:016x} t f{i}\n", i + 1)).collect();
        let lines = lines(&last, &format!("{map}{:016x} t z\n", 1));
        assert_eq!(lines[0], "  z: absent in kallsyms, 1 t in vmlinux");
        assert_eq!(lines[NAMED], "  and 16 more symbols; 25 of all only moved");
    }

    #[test]
    fn an_exchanged_order_is_told() {
        let exchanged = "0000000000000001 t b\n0000000000000001 t a\n";
        let ordered = "0000000000000001 t a\n0000000000000001 t b\n";
        assert_eq!(lines(exchanged, ordered), ["  the same symbols in another order"]);
    }
}
