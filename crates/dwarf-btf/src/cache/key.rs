//! Keys of units: equal keys, equal contents.

use rayon::prelude::*;

use super::file::{halves, hash};
use crate::cursor::Cursor;
use crate::source::Info;
use crate::unit::Header;

/// Of 128 bits; 0 is that of no unit.
pub(crate) type Key = u128;

/// The keys of units, 0 where a unit has none, with the threads of the current pool. `lists` says whether location lists
/// are read.
pub(crate) fn keys(info: Info<'_>, abbrev: &[u8], units: &[Header], lists: bool) -> Vec<Key> {
    let of = |unit: &Header| key(info, abbrev, unit, lists).unwrap_or(0);
    units.par_iter().with_max_len(16).map(of).collect()
}

/// The key of one unit.
pub(crate) fn key(info: Info<'_>, abbrev: &[u8], unit: &Header, lists: bool) -> Option<Key> {
    let Info::Parts(source) = info else { return None };
    let own = source.unit_key(unit.start..unit.end, lists)?;
    let table = table(abbrev, unit.abbrev)?;
    let key = hash(bytemuck::cast_slice(&[halves(own), halves(hash(table))]));
    Some(key)
}

/// The bytes of the table of abbreviations that begins at `start`.
fn table(abbrev: &[u8], start: usize) -> Option<&[u8]> {
    let mut cursor = Cursor::new(abbrev.get(start..)?, 0, false);
    while cursor.uleb().ok()? != 0 {
        cursor.uleb().ok()?;
        cursor.skip(1).ok()?;
        loop {
            let (attribute, form) = (cursor.uleb().ok()?, cursor.uleb().ok()?);
            if form == u64::from(gimli::DW_FORM_implicit_const.0) {
                cursor.sleb().ok()?;
            }
            if (attribute, form) == (0, 0) {
                break;
            }
        }
    }
    abbrev.get(start..start + cursor.pos)
}
