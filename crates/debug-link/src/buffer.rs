//! Buffers for what is read of inputs. Each thread keeps those that it has used, so they stay in its part of the
//! processor's cache.

use std::cell::RefCell;

use object::pod;

/// A buffer that is larger is not kept, in bytes.
const LARGEST: usize = 1 << 20;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u64>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer for bytes, which begin where a number of eight bytes may stand.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u64>);

impl Buffer {
    pub(crate) fn new() -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
        Buffer(spare.ok().flatten().unwrap_or_default())
    }

    /// So many bytes of it, of any value.
    pub(crate) fn bytes(&mut self, len: usize) -> &mut [u8] {
        let words = len.div_ceil(size_of::<u64>());
        if self.0.len() < words {
            self.0.resize(words, 0);
        }
        &mut pod::bytes_of_slice_mut(&mut self.0)[..len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.0.len() * size_of::<u64>() <= LARGEST {
            let buffer = std::mem::take(&mut self.0);
            // At the end of a thread there is nothing to keep it for.
            let _ = SPARE.try_with(|spare| spare.borrow_mut().push(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_two_at_a_time_are_two() {
        let (mut one, mut other) = (Buffer::new(), Buffer::new());
        one.bytes(100).fill(1);
        other.bytes(9).fill(2);
        assert_eq!((one.bytes(3), other.bytes(9)), (&mut [1; 3][..], &mut [2; 9][..]));
        drop(other);
        assert_eq!(Buffer::new().bytes(1), [2]);
    }
}
