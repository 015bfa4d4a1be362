//! Keys of units: equal keys, equal contents.

use rayon::prelude::*;

use super::file::{halves, hash};
use crate::cursor::Cursor;
use crate::declarations::pass;
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
fn key(info: Info<'_>, abbrev: &[u8], unit: &Header, lists: bool) -> Option<Key> {
    let Info::Parts(source) = info else { return None };
    let own = source.unit_key(unit.start..unit.end, lists)?;
    let table = table(abbrev, unit.abbrev)?;
    let key = hash(bytemuck::cast_slice(&[halves(own), halves(hash(table))]));
    Some(key)
}

/// The bytes of the table of abbreviations that begins at `start`.
fn table(abbrev: &[u8], start: usize) -> Option<&[u8]> {
    let mut cursor = Cursor::new(abbrev.get(start..)?, 0, false);
    let mut indirect = false;
    while cursor.uleb().ok()? != 0 {
        pass(&mut cursor, |form| indirect |= is_indirect(form)).ok()?;
    }
    if indirect {
        return None;
    }
    abbrev.get(start..start + cursor.pos)
}

/// Whether what stands there leads to a table of the unit's own, or to another unit: then the key does not say all.
fn is_indirect(form: u64) -> bool {
    use gimli::constants as dw;
    let Ok(form) = u16::try_from(form) else { return true };
    let form = gimli::DwForm(form);
    let known = [
        dw::DW_FORM_strx,
        dw::DW_FORM_strx1,
        dw::DW_FORM_strx2,
        dw::DW_FORM_strx3,
        dw::DW_FORM_strx4,
        dw::DW_FORM_addrx,
        dw::DW_FORM_addrx1,
        dw::DW_FORM_addrx2,
        dw::DW_FORM_addrx3,
        dw::DW_FORM_addrx4,
        dw::DW_FORM_loclistx,
        dw::DW_FORM_rnglistx,
        dw::DW_FORM_GNU_str_index,
        dw::DW_FORM_GNU_addr_index,
        dw::DW_FORM_GNU_ref_alt,
        dw::DW_FORM_GNU_strp_alt,
        dw::DW_FORM_ref_addr,
        dw::DW_FORM_ref_sup4,
        dw::DW_FORM_ref_sup8,
        dw::DW_FORM_strp_sup,
        dw::DW_FORM_ref_sig8,
        dw::DW_FORM_indirect,
    ];
    known.contains(&form)
}
