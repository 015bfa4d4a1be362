//! The strings of one piece, and where each went.

/// Which of 32 bytes of input are the first of a string, and how many strings of the piece start
/// before them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Word {
    pub starts: u32,
    rank: u32,
}

/// Bytes of input for each [`Word`].
pub(super) const BYTES: usize = u32::BITS as usize;

/// The strings of a piece.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    words: Box<[Word]>,
    /// For each string its offset in the output less that in its section; its slot in a table until
    /// that is known.
    pub moves: Box<[u32]>,
    /// Of the piece's bytes; 0 where nobody asks.
    pub hash: u128,
}

impl Chunk {
    /// Of words that say where strings start.
    pub fn new(mut words: Vec<Word>, moves: Vec<u32>, hash: u128) -> Self {
        let mut rank = 0;
        for word in &mut words {
            word.rank = rank;
            rank += word.starts.count_ones();
        }
        Chunk { words: words.into(), moves: moves.into(), hash }
    }

    /// How far the byte at `at` of the piece has moved.
    pub fn moved(&self, at: usize) -> Option<u32> {
        let word = self.words.get(at / BYTES)?;
        let here = word.starts & (u32::MAX >> (BYTES - 1 - at % BYTES));
        // How many strings of the piece start here or before.
        let count = (word.rank + here.count_ones()) as usize;
        self.moves.get(count.checked_sub(1)?).copied()
    }

    /// Turns slots into moves, for a piece that begins at `start` of its section. Slots lead to offsets in the output.
    pub fn move_to(&mut self, offsets: &[u32], start: u32) {
        let mut strings = self.moves.iter_mut();
        for (index, word) in self.words.iter().enumerate() {
            let mut left = word.starts;
            for slot in strings.by_ref().take(word.starts.count_ones() as usize) {
                let offset = start + (index * BYTES) as u32 + left.trailing_zeros();
                *slot = offsets[*slot as usize].wrapping_sub(offset);
                left &= left - 1;
            }
        }
    }

    /// Reads what [`Chunk::moved`] will look up: one number of each line of the cache.
    pub fn read(&self) {
        let words = self.words.iter().step_by(8).fold(0, |sum, word| sum ^ word.rank);
        let moves = self.moves.iter().step_by(16).fold(0, |sum, by| sum ^ by);
        std::hint::black_box((words, moves));
    }
}
