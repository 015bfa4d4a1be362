//! The compression of the names: which byte pairs become tokens, and the names written with them.
//!
//! # The rule
//! A name with its type letter before it is a string of codes, at first the characters themselves.
//! The codes that no name uses, from 255 down to 0, are given one after another to the pair of adjacent
//! codes that occurs most often in all names as they are now; of equally frequent pairs the one with
//! the lowest `first + (second << 8)` wins. Overlapping occurrences count (`aaa` holds `aa` twice), but
//! are replaced from left to right without overlap. It ends when no pair or no code is left.
//!
//! # The layout
//! A [`Chunk`] holds a share of the names as one flat text, a zero byte before and behind each. The
//! text never moves. A token takes as many bytes as the characters it stands for; its code is written
//! at its first and its last byte and at the byte where its second half began, and what else lies
//! between is never looked at again. So, with the expanded length of each code in a table of 256:
//! - the code after the token at `q` is `text[q + len]`, the code before it is `text[q - 1]`;
//! - a remembered position of a code is still good exactly if the code still stands there, because a
//!   merged token's own code, which is newer, is written over both places where its halves began;
//! - two adjacent bytes that are both characters are a live pair of characters.
//!
//! # The passes
//! 1. Count all pairs into a table of 65,536.
//! 2. Gather the positions of every frequent pair of characters, in one scan of the text. Frequent
//!    means at least a quarter of the best count; when the best has fallen below that, gather again.
//! 3. For each token, visit the occurrences of its pair. A pair of characters has its positions from
//!    pass 2. A pair with a token in it has those of that token, which were noted when it was made (of
//!    two tokens, the rarer one). At each, write the new code and change five counts.
//! 4. Walk the names token by token and write them out.
//!
//! # The cost
//! Each replacement shortens a name by one, so there are fewer replacements than bytes, and each costs
//! a few accesses in ascending order. On a list of 186,009 names (4.0 MB) there are 191 tokens, 1.9
//! million replacements, 3.7 million positions visited, and 3 scans of the text; the kernel's own tool
//! scans all names for each of the 191. Memory: the text, and four bytes for each position.
//!
//! # Why any number of threads gives the same bytes
//! The names do not touch each other, so a chunk is replaced without looking at the others. The only
//! thing that chunks share is the choice of the pair, and that depends on the sum of their counts
//! alone, which is the same however the names are divided.
//!
//! Source of facts: `scripts/kallsyms.c` of Linux 6.1, 6.12 and 7.3, `optimize_token_table` and what it
//! calls.

use rayon::prelude::*;

use crate::Symbol;

/// Number of ordered pairs of codes.
const PAIRS: usize = 1 << 16;
/// A gathering of positions covers the pairs with at least the best count divided by this. Larger means
/// more positions that are never used, smaller means more scans.
const GATHER: i32 = 4;
/// Bytes scanned at a time when positions are gathered.
const BLOCK: usize = 1 << 10;
/// Names are divided among threads only into shares of at least this many bytes.
const MIN_CHUNK: usize = 256 << 10;

/// What the 256 codes stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The characters of each code; empty for a code that is not used.
    pub expansions: Vec<Vec<u8>>,
}

/// The names in compressed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compressed {
    pub tokens: Tokens,
    /// `kallsyms_names`: for each symbol its length in codes (ULEB128, one or two bytes) and its codes.
    pub names: Vec<u8>,
    /// `kallsyms_markers`: where in `names` every 256th symbol begins.
    pub markers: Vec<u32>,
}

/// An ordered pair of adjacent codes, as the tool numbers them: `first + (second << 8)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair(u16);

impl Pair {
    fn new(first: u8, second: u8) -> Self {
        Pair(u16::from_le_bytes([first, second]))
    }

    fn halves(self) -> (u8, u8) {
        let [first, second] = self.0.to_le_bytes();
        (first, second)
    }

    /// Whether it reaches over the end of a name.
    fn is_boundary(self) -> bool {
        let (first, second) = self.halves();
        first == 0 || second == 0
    }
}

/// A table with a place for every pair.
fn per_pair<T: Clone + Default>() -> Box<[T; PAIRS]> {
    match vec![T::default(); PAIRS].try_into() {
        Ok(table) => table,
        Err(_) => unreachable!("the vector was made with this length"),
    }
}

/// Compresses the names of `symbols`, which have no zero bytes.
pub(crate) fn compress(symbols: &[Symbol<'_>]) -> Compressed {
    let shares = rayon::current_num_threads();
    compress_in(symbols, shares, MIN_CHUNK)
}

fn compress_in(symbols: &[Symbol<'_>], shares: usize, min_chunk: usize) -> Compressed {
    let runs = divide(symbols, shares, min_chunk);
    let mut chunks: Vec<Chunk> = runs.into_par_iter().map(Chunk::new).collect();
    let expansions = choose_tokens(&mut chunks);
    let lens = lengths(&expansions);
    let mut next = 0;
    for chunk in &mut chunks {
        chunk.first = next;
        next += chunk.starts.len();
    }
    let parts: Vec<_> = chunks.par_iter().map(|chunk| chunk.encode(&lens)).collect();
    let mut names = Vec::with_capacity(parts.iter().map(|(part, _)| part.len()).sum());
    let mut markers = Vec::with_capacity(symbols.len().div_ceil(256));
    for (part, part_markers) in parts {
        let base = names.len() as u32;
        markers.extend(part_markers.iter().map(|marker| base + marker));
        names.extend_from_slice(&part);
    }
    Compressed { tokens: Tokens { expansions }, names, markers }
}

/// Cuts `symbols` into at most `shares` runs of about the same number of bytes.
fn divide<'s, 'a>(
    symbols: &'s [Symbol<'a>],
    shares: usize,
    min_chunk: usize,
) -> Vec<&'s [Symbol<'a>]> {
    let total: usize = symbols.iter().map(|symbol| symbol.name.len() + 2).sum();
    let share = total.div_ceil(shares.max(1)).max(min_chunk).max(1);
    let mut runs = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, symbol) in symbols.iter().enumerate() {
        bytes += symbol.name.len() + 2;
        if bytes >= share {
            runs.push(&symbols[start..=index]);
            (start, bytes) = (index + 1, 0);
        }
    }
    if start < symbols.len() {
        runs.push(&symbols[start..]);
    }
    runs
}

/// The expanded length of each code, in bytes; 1 for codes that no token uses, so that a walk ends.
fn lengths(expansions: &[Vec<u8>]) -> [u32; 256] {
    let mut lens = [1; 256];
    for (len, expansion) in lens.iter_mut().zip(expansions) {
        *len = expansion.len().max(1) as u32;
    }
    lens
}

/// Gives the free codes to pairs, replaces them in all chunks, and returns what each code stands for.
fn choose_tokens(chunks: &mut [Chunk]) -> Vec<Vec<u8>> {
    let mut expansions = vec![Vec::new(); 256];
    for code in 1..=255u8 {
        if chunks.iter().any(|chunk| chunk.characters[usize::from(code)]) {
            expansions[usize::from(code)] = vec![code];
        }
    }
    let mut choice = Choice::default();
    for code in (0..=255u8).rev() {
        if !expansions[usize::from(code)].is_empty() {
            continue;
        }
        let Some(pair) = choice.best(chunks) else { break };
        let (first, second) = pair.halves();
        let mut expansion = expansions[usize::from(first)].clone();
        expansion.extend_from_slice(&expansions[usize::from(second)]);
        expansions[usize::from(code)] = expansion;
        let lens = lengths(&expansions);
        let merge = Merge { pair, code, lens: &lens };
        for_each(chunks, |chunk| chunk.replace(&merge));
        choice.add_pairs_of(code, chunks);
    }
    expansions
}

/// Runs `work` on every chunk, in parallel if there are several.
fn for_each(chunks: &mut [Chunk], work: impl Fn(&mut Chunk) + Sync + Send) {
    match chunks {
        [chunk] => work(chunk),
        chunks => chunks.par_iter_mut().for_each(work),
    }
}

/// How often `pair` occurs in all names.
fn total(chunks: &[Chunk], pair: Pair) -> i32 {
    chunks.iter().map(|chunk| chunk.counts[usize::from(pair.0)]).sum()
}

/// Finds the most frequent pair without looking at all 65,536 each time.
///
/// The count of a pair only falls, but for the pairs of the newest code. So the pairs that had at
/// least `floor` when all were looked at, and later ones of new codes, contain the best as long as the
/// best has at least `floor`.
#[derive(Debug, Default)]
struct Choice {
    /// The least count of a pair that is looked at; 0 before the first look at all.
    floor: i32,
    /// The pairs looked at.
    pairs: Vec<Pair>,
}

impl Choice {
    /// The most frequent pair, the lowest of several; none if no name has two codes left.
    fn best(&mut self, chunks: &mut [Chunk]) -> Option<Pair> {
        if let Some(pair) = self.best_of_known(chunks) {
            return Some(pair);
        }
        self.look_at_all(chunks);
        self.best_of_known(chunks)
    }

    fn best_of_known(&mut self, chunks: &[Chunk]) -> Option<Pair> {
        let floor = self.floor;
        let mut best: Option<(i32, Pair)> = None;
        self.pairs.retain(|&pair| {
            let count = total(chunks, pair);
            if best.is_none_or(|(most, low)| count > most || (count == most && pair < low)) {
                best = Some((count, pair));
            }
            count >= floor
        });
        best.filter(|&(count, _)| count >= floor).map(|(_, pair)| pair)
    }

    /// Lowers the floor to a part of the best count and gathers the positions of what lies above it.
    fn look_at_all(&mut self, chunks: &mut [Chunk]) {
        let counted: Vec<(i32, Pair)> = (0..=u16::MAX)
            .map(Pair)
            .filter(|pair| !pair.is_boundary())
            .map(|pair| (total(chunks, pair), pair))
            .filter(|&(count, _)| count > 0)
            .collect();
        let most = counted.iter().map(|&(count, _)| count).max().unwrap_or(0);
        self.floor = (most / GATHER).max(1);
        self.pairs.clear();
        self.pairs.extend(
            counted.iter().filter(|&&(count, _)| count >= self.floor).map(|&(_, pair)| pair),
        );
        let pairs = &self.pairs;
        for_each(chunks, |chunk| chunk.gather(pairs));
    }

    /// Adds the pairs that hold the new `code`.
    fn add_pairs_of(&mut self, code: u8, chunks: &[Chunk]) {
        let before = (1..=255).map(|other| Pair::new(other, code));
        let after = (1..=255).filter(|&other| other != code).map(|other| Pair::new(code, other));
        let floor = self.floor;
        self.pairs.extend(
            before.chain(after).filter(|pair| !pair.is_boundary() && total(chunks, *pair) >= floor),
        );
    }
}

/// A replacement: `code` for `pair`.
#[derive(Debug)]
struct Merge<'l> {
    pair: Pair,
    code: u8,
    /// The expanded length of every code, the new one's too.
    lens: &'l [u32; 256],
}

/// A share of the names and all that is known about it. See the head of this file for the layout.
#[derive(Debug)]
struct Chunk {
    /// Index of its first symbol among all.
    first: usize,
    text: Vec<u8>,
    /// Where each name begins in `text`.
    starts: Vec<u32>,
    /// Which characters occur.
    characters: [bool; 256],
    /// How often each pair occurs. Those that reach over the end of a name are counted but not used.
    counts: Box<[i32; PAIRS]>,
    /// For each gathered pair of characters its slot, counted from 1; 0 for all other pairs.
    slots: Box<[u16; PAIRS]>,
    /// Where in `gathered` the positions of each slot begin, from slot 1 on, and where the last end.
    bounds: Vec<u32>,
    /// Positions of the gathered pairs, ascending within a slot.
    gathered: Vec<u32>,
    /// For each token where it was made, ascending.
    made: Vec<Vec<u32>>,
}

impl Chunk {
    fn new(symbols: &[Symbol<'_>]) -> Self {
        let size = symbols.iter().map(|symbol| symbol.name.len() + 2).sum::<usize>() + 1;
        let mut text = Vec::with_capacity(size);
        let mut starts = Vec::with_capacity(symbols.len());
        text.push(0);
        for symbol in symbols {
            starts.push(text.len() as u32);
            text.push(symbol.kind);
            text.extend_from_slice(symbol.name);
            text.push(0);
        }
        let mut counts: Box<[i32; PAIRS]> = per_pair();
        for bytes in text.windows(2) {
            counts[usize::from(Pair::new(bytes[0], bytes[1]).0)] += 1;
        }
        let mut characters = [false; 256];
        for (index, &count) in counts.iter().enumerate() {
            characters[index & 0xff] |= count > 0;
        }
        let (slots, made) = (per_pair(), vec![Vec::new(); 256]);
        let (bounds, gathered) = (Vec::new(), Vec::new());
        Chunk { first: 0, text, starts, characters, counts, slots, bounds, gathered, made }
    }

    /// Gathers the positions of those of `pairs` that consist of characters.
    ///
    /// Whether a byte begins such a pair is as good as random, so the scan does not branch on it: it
    /// writes every position down and moves on only behind those that it keeps. A block at a time, they
    /// are then put into their slots.
    fn gather(&mut self, pairs: &[Pair]) {
        self.slots.fill(0);
        let mut next = vec![0u32];
        let mut end = 1;
        self.bounds.clear();
        for &pair in pairs {
            let (first, second) = pair.halves();
            if self.characters[usize::from(first)] && self.characters[usize::from(second)] {
                self.slots[usize::from(pair.0)] = next.len() as u16;
                next.push(end);
                self.bounds.push(end);
                end += self.counts[usize::from(pair.0)].max(0) as u32;
            }
        }
        self.bounds.push(end);
        self.gathered.resize(end as usize, 0);
        let mut kept = [(0u32, 0u16); BLOCK];
        let pairs = self.text.len() - 1;
        for start in (0..pairs).step_by(BLOCK) {
            let block = &self.text[start..=(start + BLOCK).min(pairs)];
            let mut count = 0;
            for (into, bytes) in block.windows(2).enumerate() {
                let slot = self.slots[usize::from(Pair::new(bytes[0], bytes[1]).0)];
                kept[count] = ((start + into) as u32, slot);
                count += usize::from(slot != 0);
            }
            for &(position, slot) in &kept[..count] {
                let place = &mut next[usize::from(slot)];
                self.gathered[*place as usize] = position;
                *place += 1;
            }
        }
    }

    /// The gathered positions of a slot other than 0.
    fn gathered_of(&self, slot: u16) -> std::ops::Range<usize> {
        let slot = usize::from(slot);
        self.bounds[slot - 1] as usize..self.bounds[slot] as usize
    }

    /// Replaces every occurrence of a pair, in ascending order, and keeps the counts right.
    fn replace(&mut self, merge: &Merge<'_>) {
        let (first, second) = merge.pair.halves();
        let slot = self.slots[usize::from(merge.pair.0)];
        let expected = self.counts[usize::from(merge.pair.0)].max(0) as usize;
        let mut made = Vec::with_capacity(expected);
        let (firsts, seconds) = (&self.made[usize::from(first)], &self.made[usize::from(second)]);
        let by_first = !firsts.is_empty() && (seconds.is_empty() || firsts.len() <= seconds.len());
        let range = if slot == 0 { 0..0 } else { self.gathered_of(slot) };
        let site = Site { text: &mut self.text, counts: &mut self.counts, merge, first, second };
        if slot != 0 {
            site.visit(self.gathered[range].iter().copied(), &mut made);
        } else if by_first {
            site.visit(firsts.iter().copied(), &mut made);
        } else {
            let back = merge.lens[usize::from(first)];
            let starts = seconds.iter().filter_map(|&position| position.checked_sub(back));
            site.visit_ends(starts, &mut made);
        }
        self.made[usize::from(merge.code)] = made;
    }

    /// The names in compressed form, and where those begin whose index is a multiple of 256.
    fn encode(&self, lens: &[u32; 256]) -> (Vec<u8>, Vec<u32>) {
        let mut names = Vec::with_capacity(self.text.len() / 2 + 16);
        let mut markers = Vec::with_capacity(self.starts.len() / 256 + 1);
        let ends = self.starts.iter().skip(1).copied().chain([self.text.len() as u32]);
        for (index, (&start, end)) in self.starts.iter().zip(ends).enumerate() {
            if (self.first + index) & 0xff == 0 {
                markers.push(names.len() as u32);
            }
            let length_at = names.len();
            names.push(0);
            let mut position = start;
            while position + 1 < end {
                let code = self.text[position as usize];
                names.push(code);
                position += lens[usize::from(code)];
            }
            let len = names.len() - length_at - 1;
            if len <= 0x7f {
                names[length_at] = len as u8;
            } else {
                names[length_at] = len as u8 & 0x7f | 0x80;
                names.insert(length_at + 1, (len >> 7) as u8);
            }
        }
        (names, markers)
    }
}

/// Where a replacement is made.
struct Site<'c, 'm> {
    text: &'c mut [u8],
    counts: &'c mut [i32; PAIRS],
    merge: &'m Merge<'m>,
    first: u8,
    second: u8,
}

impl Site<'_, '_> {
    /// Replaces at those of `positions` where the pair stands, and notes them in `made`.
    fn visit(mut self, positions: impl Iterator<Item = u32>, made: &mut Vec<u32>) {
        let len = self.merge.lens[usize::from(self.first)] as usize;
        for position in positions {
            let at = position as usize;
            if self.text[at] == self.first && self.text[at + len] == self.second {
                self.replace_at(at);
                made.push(position);
            }
        }
    }

    /// The same for positions that were found by the second half: it is there if its code is, and the
    /// first half is if its code ends right before.
    fn visit_ends(mut self, positions: impl Iterator<Item = u32>, made: &mut Vec<u32>) {
        let len = self.merge.lens[usize::from(self.first)] as usize;
        for position in positions {
            let at = position as usize;
            if self.text[at + len] == self.second && self.text[at + len - 1] == self.first {
                self.replace_at(at);
                made.push(position);
            }
        }
    }

    fn replace_at(&mut self, at: usize) {
        let (first, second, code) = (self.first, self.second, self.merge.code);
        let middle = at + self.merge.lens[usize::from(first)] as usize;
        let end = at + self.merge.lens[usize::from(code)] as usize;
        let (before, after) = (self.text[at - 1], self.text[end]);
        self.text[at] = code;
        self.text[middle] = code;
        self.text[end - 1] = code;
        self.add(before, first, -1);
        self.add(first, second, -1);
        self.add(second, after, -1);
        self.add(before, code, 1);
        self.add(code, after, 1);
    }

    fn add(&mut self, first: u8, second: u8, change: i32) {
        self.counts[usize::from(Pair::new(first, second).0)] += change;
    }
}

#[cfg(test)]
mod tests;
