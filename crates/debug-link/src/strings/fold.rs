//! The output: suffixes are folded or strings put into their shards, and what is kept is laid out.
//!
//! Suffixes are found by sorting the strings from their ends, with the last 16 bytes as key.

use rayon::prelude::*;

use super::{Kept, Unique};
use crate::error::Error;
use crate::linker::Linker;
use crate::sharded::shard_of;

/// Folds suffixes and says what is kept, and the offset of every string where it will be asked for; `unique` is in the
/// order of first appearance, and comes back in that of the output. There are `asked` such places.
pub(super) fn lay_out(
    sections: &[&[u8]],
    unique: &mut [Unique],
    asked: usize,
    linker: Linker,
) -> Result<(Vec<Kept>, Vec<u32>), Error> {
    let suffix_of = match linker {
        Linker::Gnu => fold(sections, unique),
        Linker::Lld => {
            unique.par_sort_by_key(|string| shard_of(string.hash));
            (0..unique.len() as u32).collect()
        }
    };
    let (mut kept, mut size) = (Vec::new(), 0u64);
    let mut ends = vec![0; unique.len()];
    for (index, &Unique { seen, len, .. }) in unique.iter().enumerate() {
        if suffix_of[index] as usize == index {
            kept.push(Kept { seen, len });
            size += u64::from(len);
            ends[index] = size;
        }
    }
    if size > u64::from(u32::MAX) {
        return Err(Error::unsupported("4 GiB of merged strings"));
    }
    let mut offsets = vec![0; asked];
    for (string, &holder) in unique.iter().zip(&suffix_of) {
        offsets[string.asked as usize] = ends[holder as usize] as u32 - string.len;
    }
    Ok((kept, offsets))
}

/// The kept strings one behind the other.
pub(super) fn put_together(sections: &[&[u8]], kept: &[Kept]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = kept
        .par_chunks(1 << 13)
        .map(|kept| {
            let mut part = Vec::with_capacity(kept.iter().map(|kept| kept.len as usize).sum());
            for &Kept { seen, len } in kept {
                let start = seen.offset();
                let text = &sections[seen.section()][start..start + len as usize - 1];
                part.extend_from_slice(text);
                part.push(0);
            }
            part
        })
        .collect();
    parts.concat()
}

/// For each string the one that it is a suffix of, itself if none.
fn fold(sections: &[&[u8]], unique: &[Unique]) -> Vec<u32> {
    let text = |index: u32| -> &[u8] {
        let string = &unique[index as usize];
        let start = string.seen.offset();
        &sections[string.seen.section()][start..start + string.len as usize - 1]
    };
    let mut order: Vec<(u64, u64, u32)> = (0..unique.len() as u32)
        .into_par_iter()
        .map(|index| {
            let text = text(index);
            (ending(text), ending(&text[..text.len().saturating_sub(8)]), index)
        })
        .collect();
    order.par_sort_unstable_by(|a, b| {
        (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| {
            let (a, b) = (text(a.2), text(b.2));
            let (a, b) = (&a[..a.len().saturating_sub(16)], &b[..b.len().saturating_sub(16)]);
            a.iter().rev().cmp(b.iter().rev())
        })
    });
    let mut suffix_of: Vec<u32> = (0..unique.len() as u32).collect();
    let mut holder: Option<u32> = None;
    for &(_, _, index) in order.iter().rev() {
        match holder {
            Some(holder) if text(holder).ends_with(text(index)) => {
                suffix_of[index as usize] = holder
            }
            _ => holder = Some(index),
        }
    }
    suffix_of
}

/// The last eight bytes of a string as a number, the last byte first; short strings end in zeros.
fn ending(text: &[u8]) -> u64 {
    match text.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => {
            text.iter()
                .rev()
                .fold((0u64, 56u32), |(key, shift), &byte| {
                    (key | u64::from(byte) << shift, shift.saturating_sub(8))
                })
                .0
        }
    }
}
