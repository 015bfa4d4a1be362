//! Cutting a buffer into the parts that are made by themselves.

use crate::error::Error;

/// What is just copied is copied in parts of so many bytes.
const COPY: usize = 1 << 20;

/// The parts of `buffer` at `places`, each an offset and a length, in their order.
///
/// # Errors
/// Places that overlap or do not lie within the buffer.
pub(crate) fn carve<'b>(
    buffer: &'b mut [u8],
    places: &[(u64, usize)],
) -> Result<Vec<&'b mut [u8]>, Error> {
    let mut order: Vec<usize> = (0..places.len()).filter(|&index| places[index].1 != 0).collect();
    order.sort_unstable_by_key(|&index| places[index].0);
    let mut parts: Vec<&'b mut [u8]> = Vec::new();
    parts.resize_with(places.len(), Default::default);
    let (mut rest, mut at) = (buffer, 0u64);
    for index in order {
        let (start, len) = places[index];
        let gap = start.checked_sub(at).and_then(|gap| usize::try_from(gap).ok());
        let taken = gap.and_then(|gap| {
            let (_, behind) = std::mem::take(&mut rest).split_at_mut_checked(gap)?;
            behind.split_at_mut_checked(len)
        });
        let outside = || Error::disagree(format!("sections overlap or end at {start:#x}"));
        let (part, behind) = taken.ok_or_else(outside)?;
        (rest, at) = (behind, start + len as u64);
        parts[index] = part;
    }
    Ok(parts)
}

/// What is left of `copies`, each an offset and what goes there, without the places of others.
pub(crate) fn gaps<'c>(
    copies: Vec<(u64, &'c [u8])>,
    places: &[(u64, usize)],
) -> Vec<(u64, &'c [u8])> {
    let range = |&(at, len): &(u64, usize)| (at, at.saturating_add(len as u64));
    let mut taken: Vec<(u64, u64)> =
        places.iter().filter(|place| place.1 != 0).map(range).collect();
    taken.sort_unstable();
    let mut left = Vec::new();
    for (at, bytes) in copies {
        let end = at.saturating_add(bytes.len() as u64);
        let mut add = |from: u64, to: u64| {
            if from < to {
                let part = &bytes[(from - at) as usize..(to - at) as usize];
                let offsets = (from..).step_by(COPY);
                left.extend(offsets.zip(part.chunks(COPY)));
            }
        };
        let mut from = at;
        let first = taken.partition_point(|&(_, behind)| behind <= at);
        for &(start, behind) in taken[first..].iter().take_while(|(start, _)| *start < end) {
            add(from, start);
            from = from.max(behind);
        }
        add(from, end);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_the_order_of_their_places() {
        let mut buffer = *b"0123456789";
        let parts = carve(&mut buffer, &[(6, 3), (9, 0), (1, 2), (100, 0)]).unwrap();
        assert_eq!(parts, [&b"678"[..], b"", b"12", b""]);
    }

    #[test]
    fn places_that_overlap_or_lie_outside_are_refused() {
        for places in [&[(0, 3), (2, 1)][..], &[(8, 3)], &[(u64::MAX, 1)], &[(1, usize::MAX)]] {
            assert!(carve(&mut [0; 10], places).is_err(), "{places:?}");
        }
    }

    #[test]
    fn copies_are_what_lies_between_places() {
        let left =
            gaps(vec![(0, b"0123456789"), (20, b"abcd")], &[(4, 2), (0, 1), (8, 14), (3, 0)]);
        assert_eq!(left, [(1, &b"123"[..]), (6, b"67"), (22, b"cd")]);
        let large = vec![7; COPY + 5];
        let left = gaps(vec![(9, &large)], &[]);
        assert_eq!(
            left.iter().map(|(at, part)| (*at, part.len())).collect::<Vec<_>>(),
            [(9, COPY), (9 + COPY as u64, 5)]
        );
    }
}
