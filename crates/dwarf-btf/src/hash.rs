//! A hash with a fixed seed: the same on every run, on every machine.
//!
//! It only has to spread; where equality decides, the things themselves are compared.

use std::hash::{BuildHasher, Hasher};

/// Folds a 64 by 64 bit product.
#[inline]
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FixedState;

impl BuildHasher for FixedState {
    type Hasher = Fixed;
    fn build_hasher(&self) -> Fixed {
        Fixed(K0)
    }
}

#[derive(Debug)]
pub(crate) struct Fixed(u64);

impl Hasher for Fixed {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.0 = mix(self.0 ^ u64::from_le_bytes(*word), K1);
        }
        // The last bytes are read as a word that overlaps, where there is one.
        let last =
            match (bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
                _ if rest.is_empty() => 0,
                (Some(last), ..) => u64::from_le_bytes(*last),
                (None, Some(first), Some(last)) => {
                    u64::from(u32::from_le_bytes(*first)) << 32
                        | u64::from(u32::from_le_bytes(*last))
                }
                _ => rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
            };
        self.0 = mix(self.0 ^ last ^ (bytes.len() as u64) << 56, K0);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Hash of bytes.
#[inline]
pub(crate) fn bytes(bytes: &[u8]) -> u64 {
    let mut hasher = FixedState.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Hash of 32-bit words.
#[inline]
pub(crate) fn words(words: &[u32]) -> u64 {
    let mut state = K0 ^ words.len() as u64;
    let mut pairs = words.chunks_exact(2);
    for pair in &mut pairs {
        state = mix(state ^ (u64::from(pair[0]) | u64::from(pair[1]) << 32), K1);
    }
    if let [last] = pairs.remainder() {
        state = mix(state ^ u64::from(*last), K1);
    }
    mix(state, K0)
}
