//! Debug sections that differ in their bytes: do they say the same?
//!
//! Linkers merge the strings of debug information, and each has its own order. So two images of one kernel may
//! differ in `.debug_str` and in every reference to it, and no debugger sees a difference. Here both sides are
//! decoded at once and each value compared, a string by its bytes.

use gimli::{
    AttributeValue, DebugAbbrev, DebugInfo, DebugInfoUnitHeadersIter, DebugLine, DebugLineStr,
    DebugStr, EndianSlice, Reader as _, RunTimeEndian, UnitHeader,
};
use image::{Elf, Endian as _};
use rayon::prelude::*;

use crate::line;

/// The bytes of a section.
pub type Bytes<'data> = EndianSlice<'data, RunTimeEndian>;
/// Compares one section of two images; the error says where they differ.
pub type Check = fn(&Side<'_>, &Side<'_>) -> Result<(), String>;

/// Sections of strings: they have no meaning but through references.
pub const STRINGS: [&str; 2] = [".debug_str", ".debug_line_str"];
/// Sections that refer to strings.
pub const CHECKS: &[(&str, Check)] =
    &[(".debug_info", info), (".debug_line", line::check), (".debug_str_offsets", str_offsets)];

/// The debug information of one image.
pub struct Side<'data> {
    info: DebugInfo<Bytes<'data>>,
    abbrev: DebugAbbrev<Bytes<'data>>,
    /// Line number programs.
    pub line: DebugLine<Bytes<'data>>,
    line_bytes: &'data [u8],
    strings: DebugStr<Bytes<'data>>,
    line_strings: DebugLineStr<Bytes<'data>>,
    str_offsets: Bytes<'data>,
}

impl<'data> Side<'data> {
    /// The sections of `elf`; absent ones are empty.
    pub fn new(elf: &Elf<'data>) -> Self {
        let endian = match elf.endian().is_big_endian() {
            true => RunTimeEndian::Big,
            false => RunTimeEndian::Little,
        };
        let bytes = |name: &str| -> &'data [u8] {
            let section = elf.section(name).and_then(|(_, section)| elf.bytes(section).ok());
            section.unwrap_or_default()
        };
        Side {
            info: DebugInfo::new(bytes(".debug_info"), endian),
            abbrev: DebugAbbrev::new(bytes(".debug_abbrev"), endian),
            line: DebugLine::new(bytes(".debug_line"), endian),
            line_bytes: bytes(".debug_line"),
            strings: DebugStr::new(bytes(".debug_str"), endian),
            line_strings: DebugLineStr::new(bytes(".debug_line_str"), endian),
            str_offsets: EndianSlice::new(bytes(".debug_str_offsets"), endian),
        }
    }

    /// Bytes of `.debug_line`.
    pub fn line_len(&self) -> usize {
        self.line_bytes.len()
    }

    /// The string that a value is or refers to; `None` for what is no string.
    pub fn string(
        &self,
        value: &AttributeValue<Bytes<'data>>,
    ) -> gimli::Result<Option<Bytes<'data>>> {
        match value {
            AttributeValue::DebugStrRef(offset) => self.strings.get_str(*offset).map(Some),
            AttributeValue::DebugLineStrRef(offset) => self.line_strings.get_str(*offset).map(Some),
            AttributeValue::String(string) => Ok(Some(*string)),
            _ => Ok(None),
        }
    }
}

/// Whether two values say the same.
pub fn same_value<'a, 'b>(
    sides: (&Side<'a>, &Side<'b>),
    a: &AttributeValue<Bytes<'a>>,
    b: &AttributeValue<Bytes<'b>>,
) -> gimli::Result<bool> {
    if let Some(left) = sides.0.string(a)? {
        let right = sides.1.string(b)?;
        return Ok(right.is_some_and(|right| left.slice() == right.slice()));
    }
    Ok(a == b)
}

fn info(a: &Side<'_>, b: &Side<'_>) -> Result<(), String> {
    let (left, right) = (headers(a.info.units())?, headers(b.info.units())?);
    if left.len() != right.len() {
        return Err(format!("{} and {} units", left.len(), right.len()));
    }
    let differs = left.par_iter().zip(&right).find_map_first(|(x, y)| unit((a, b), x, y).err());
    differs.map_or(Ok(()), Err)
}

fn headers(
    mut units: DebugInfoUnitHeadersIter<Bytes<'_>>,
) -> Result<Vec<UnitHeader<Bytes<'_>>>, String> {
    let mut headers = Vec::new();
    while let Some(header) = units.next().map_err(|error| error.to_string())? {
        headers.push(header);
    }
    Ok(headers)
}

fn unit<'a, 'b>(
    sides: (&Side<'a>, &Side<'b>),
    x: &UnitHeader<Bytes<'a>>,
    y: &UnitHeader<Bytes<'b>>,
) -> Result<(), String> {
    let start = x.debug_info_offset().map_or(0, |offset| offset.0);
    let at = |entry: usize, what: &str| Err(format!("{what} at {:#x}", start + entry));
    let broken = |error: gimli::Error| format!("unit at {start:#x}: {error}");
    let same = x.encoding() == y.encoding()
        && x.unit_length() == y.unit_length()
        && x.debug_info_offset() == y.debug_info_offset();
    if !same {
        return at(0, "another unit header");
    }
    let abbreviations = (x.abbreviations(&sides.0.abbrev), y.abbreviations(&sides.1.abbrev));
    let abbreviations = (abbreviations.0.map_err(broken)?, abbreviations.1.map_err(broken)?);
    let mut left = x.entries_raw(&abbreviations.0, None).map_err(broken)?;
    let mut right = y.entries_raw(&abbreviations.1, None).map_err(broken)?;
    while !left.is_empty() {
        let entry = left.next_offset().0;
        if right.is_empty() || right.next_offset().0 != entry {
            return at(entry, "another structure");
        }
        let kinds = (left.read_abbreviation(), right.read_abbreviation());
        let (p, q) = match (kinds.0.map_err(broken)?, kinds.1.map_err(broken)?) {
            (None, None) => continue,
            (Some(p), Some(q)) => (p, q),
            _ => return at(entry, "another structure"),
        };
        if p.tag() != q.tag() || p.attributes().len() != q.attributes().len() {
            return at(entry, "another entry");
        }
        for (s, t) in p.attributes().iter().zip(q.attributes()) {
            let values = (left.read_attribute(*s), right.read_attribute(*t));
            let (v, w) = (values.0.map_err(broken)?, values.1.map_err(broken)?);
            let same = s.name() == t.name()
                && same_value(sides, &v.raw_value(), &w.raw_value()).map_err(broken)?;
            if !same {
                return at(entry, &format!("another {}", s.name()));
            }
        }
    }
    match right.is_empty() {
        true => Ok(()),
        false => at(right.next_offset().0, "another structure"),
    }
}

/// `.debug_str_offsets`: units of a length, a version and offsets (DWARF 5, section 7.26).
fn str_offsets(a: &Side<'_>, b: &Side<'_>) -> Result<(), String> {
    let (mut left, mut right) = (a.str_offsets, b.str_offsets);
    let broken = |error: gimli::Error| error.to_string();
    while !left.is_empty() {
        let (length, format) = left.read_initial_length().map_err(broken)?;
        let other = right.read_initial_length().map_err(broken)?;
        if other != (length, format) {
            return Err("another unit".to_owned());
        }
        let (mut x, mut y) =
            (left.split(length).map_err(broken)?, right.split(length).map_err(broken)?);
        if x.read_u32().map_err(broken)? != y.read_u32().map_err(broken)? {
            return Err("another version".to_owned());
        }
        while !x.is_empty() {
            let (p, q) =
                (x.read_offset(format).map_err(broken)?, y.read_offset(format).map_err(broken)?);
            let p = a.strings.get_str(gimli::DebugStrOffset(p)).map_err(broken)?;
            let q = b.strings.get_str(gimli::DebugStrOffset(q)).map_err(broken)?;
            if p.slice() != q.slice() {
                return Err(format!("another string: {}", p.to_string_lossy()));
            }
        }
    }
    match right.is_empty() {
        true => Ok(()),
        false => Err("another unit".to_owned()),
    }
}
