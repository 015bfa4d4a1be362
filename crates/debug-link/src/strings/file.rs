//! What is remembered of strings, as a file: which distinct strings there were, and of which of them each piece is made.
//!
//! The strings themselves are not in it. A piece is known by a hash of its bytes, so a distinct string is where its
//! first piece has it.
//!
//! The file is an array of numbers of four bytes, in the machine's own order: [`MAGIC`], [`FORMAT`], how many groups
//! follow, a zero. A group begins with six numbers: bytes of its sections' name, how many pieces, distinct strings and
//! strings there are, and a checksum, of the name and the rows. Then come the name, padded; a [`StringRow`] for each distinct string,
//! in the order of their first appearance; a [`PieceRow`] for each piece; and for each string the number of the distinct one
//! that it is. Each piece's numbers have a checksum of their own, so they are only read where they are used.

use std::borrow::Cow;

use object::pod;
use twox_hash::XxHash3_64;

/// The first number of a file that a machine with the same byte order has written.
const MAGIC: u32 = u32::from_le_bytes(*b"vmls");
const FORMAT: u32 = 1;

/// Bytes of a piece by which it is looked for, if it has that many.
pub(super) const HEAD: usize = 32;

/// A distinct string: length with the NUL in bytes, hash (two numbers), the piece where it is first and its offset there.
pub(super) type StringRow = [u32; 5];

/// A piece: length in bytes, how many strings it has, hash of its bytes (four numbers) and of the first [`HEAD`] (two), checksum
/// of its strings' numbers (two).
pub(super) type PieceRow = [u32; 10];

/// The two or four numbers of a hash.
pub(super) fn halves<const N: usize>(hash: u128) -> [u32; N] {
    std::array::from_fn(|index| (hash >> (32 * index)) as u32)
}

fn joined(halves: &[u32]) -> u128 {
    halves.iter().rev().fold(0, |hash, &half| hash << 32 | u128::from(half))
}

/// What is remembered of one group of sections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'k> {
    pub(super) strings: &'k [StringRow],
    pub(super) pieces: &'k [PieceRow],
    pub(super) numbers: &'k [u32],
}

impl Known<'_> {
    /// The same, to be written again.
    pub(crate) fn again(&self) -> ToRemember {
        let (strings, pieces) = (self.strings.to_vec(), self.pieces.to_vec());
        ToRemember { strings, pieces, numbers: vec![self.numbers.into()] }
    }
}

/// A row, read.
pub(super) struct KnownString {
    pub len: u32,
    pub hash: u64,
    pub piece: usize,
    pub offset: u32,
}

impl KnownString {
    pub fn of(&[len, low, high, piece, offset]: &StringRow) -> Self {
        KnownString { len, hash: joined(&[low, high]) as u64, piece: piece as usize, offset }
    }
}

/// A row, read.
pub(super) struct KnownPiece {
    pub len: usize,
    pub strings: usize,
    pub hash: u128,
    pub head: u64,
    check: u64,
}

impl KnownPiece {
    pub fn of(row: &PieceRow) -> Self {
        KnownPiece {
            len: row[0] as usize,
            strings: row[1] as usize,
            hash: joined(&row[2..6]),
            head: joined(&row[6..8]) as u64,
            check: joined(&row[8..10]) as u64,
        }
    }

    /// Whether these are its strings' numbers.
    pub fn has(&self, numbers: &[u32]) -> bool {
        numbers.len() == self.strings
            && XxHash3_64::oneshot(pod::bytes_of_slice(numbers)) == self.check
    }
}

/// Reads what was remembered of the sections `name`; `None` if nothing was, or the file is of another kind.
pub(crate) fn known<'k>(file: &'k [u8], name: &[u8]) -> Option<Known<'k>> {
    let (&[magic, format, groups, _], mut rest) = pod::from_bytes::<[u32; 4]>(file).ok()?;
    if (magic, format) != (MAGIC, FORMAT) {
        return None;
    }
    for _ in 0..groups {
        let (&[name_len, pieces, strings, numbers, low, high], checked) =
            pod::from_bytes::<[u32; 6]>(rest).ok()?;
        let name_words = (name_len as usize).div_ceil(size_of::<u32>());
        let (padded, after) = pod::slice_from_bytes::<u32>(checked, name_words).ok()?;
        let (strings, after) = pod::slice_from_bytes(after, strings as usize).ok()?;
        let (pieces, after) = pod::slice_from_bytes(after, pieces as usize).ok()?;
        let (numbers, next) = pod::slice_from_bytes(after, numbers as usize).ok()?;
        if pod::bytes_of_slice(padded).get(..name_len as usize)? == name {
            let hash = XxHash3_64::oneshot(&checked[..checked.len() - after.len()]);
            let sound = u128::from(hash) == joined(&[low, high]);
            return sound.then_some(Known { strings, pieces, numbers });
        }
        rest = next;
    }
    None
}

/// What is to be remembered of one group of sections.
#[derive(Debug)]
pub(crate) struct ToRemember {
    pub(super) strings: Vec<StringRow>,
    pub(super) pieces: Vec<PieceRow>,
    /// Those of some pieces each.
    pub(super) numbers: Vec<Box<[u32]>>,
}

impl ToRemember {
    /// The row of a piece.
    pub(super) fn piece(bytes: &[u8], hash: u128, numbers: &[u32]) -> PieceRow {
        let mut row = [0; 10];
        row[0] = bytes.len() as u32;
        row[1] = numbers.len() as u32;
        row[2..6].copy_from_slice(&halves::<4>(hash));
        row[6..8].copy_from_slice(&halves::<2>(head(bytes).into()));
        let check = XxHash3_64::oneshot(pod::bytes_of_slice(numbers));
        row[8..10].copy_from_slice(&halves::<2>(check.into()));
        row
    }

    /// Appends the parts of a file that say it, of the sections `name`.
    fn parts<'p>(&'p self, name: &[u8], out: &mut Vec<Cow<'p, [u8]>>) {
        let mut rows = name.to_vec();
        rows.resize(name.len().next_multiple_of(size_of::<u32>()), 0);
        rows.extend_from_slice(pod::bytes_of_slice(&self.strings));
        rows.extend_from_slice(pod::bytes_of_slice(&self.pieces));
        let numbers: usize = self.numbers.iter().map(|numbers| numbers.len()).sum();
        let [low, high] = halves(XxHash3_64::oneshot(&rows).into());
        let counts = [name.len(), self.pieces.len(), self.strings.len(), numbers];
        let [name, pieces, strings, numbers] = counts.map(|count| count as u32);
        let head = [name, pieces, strings, numbers, low, high];
        out.push(Cow::Owned(pod::bytes_of(&head).to_vec()));
        out.push(Cow::Owned(rows));
        out.extend(self.numbers.iter().map(|piece| Cow::Borrowed(pod::bytes_of_slice(piece))));
    }
}

/// A hash of the first bytes of a piece.
pub(super) fn head(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(&bytes[..bytes.len().min(HEAD)])
}

/// The parts of a file that says all of it, each group with the name of its sections.
pub(crate) fn parts<'p>(groups: &[(&[u8], &'p ToRemember)]) -> Vec<Cow<'p, [u8]>> {
    let begin = [MAGIC, FORMAT, groups.len() as u32, 0];
    let mut parts = vec![Cow::Owned(pod::bytes_of(&begin).to_vec())];
    groups.iter().for_each(|(name, group)| group.parts(name, &mut parts));
    parts
}
