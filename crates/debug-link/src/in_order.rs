//! Parts made by all threads, and used one after the other.
//!
//! Why: the hash of a build ID is one sequence, and takes as long as making all that it covers on two
//! threads. Here it is taken while the parts are made, from buffers that are still in the
//! processor's cache, instead of from the finished file behind everything else.
//!
//! How: threads take the parts in their order. Whoever makes the part that is due uses it, and those
//! behind it that have been made meanwhile; others put theirs down and make the next. So no thread
//! waits but for too many parts that have been put down.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Parts for each thread that may be made and not used yet: enough that none waits for one large part, few enough
/// to stay in the cache.
const AHEAD: usize = 8;

/// How far the work is.
struct State<E> {
    /// The next part to be made.
    next: usize,
    /// The next part to be used.
    due: usize,
    /// What has been made, from `due` on.
    made: VecDeque<Option<Vec<u8>>>,
    /// Whether a thread is using parts.
    using: bool,
    /// Buffers for other parts.
    spare: Vec<Vec<u8>>,
    /// Whether no part is begun any more.
    stopped: bool,
    /// The first part that could not be made.
    failed: Option<(usize, E)>,
}

struct Queue<E> {
    count: usize,
    /// How many parts may be between those in use and the next to be made.
    ahead: usize,
    state: Mutex<State<E>>,
    /// A part has been used, or nothing is to be begun any more.
    moved: Condvar,
}

/// Makes `count` parts with all threads of the current pool of rayon, and uses them in their order.
///
/// `make` gets a buffer with the contents of an earlier part, which it may make longer.
///
/// # Errors
/// That of the first part that cannot be made. Parts before it have been used then, or not.
pub(crate) fn in_order<E: Send>(
    count: usize,
    make: impl Fn(usize, &mut Vec<u8>) -> Result<(), E> + Sync,
    using: impl FnMut(usize, &[u8]) + Send,
) -> Result<(), E> {
    let queue = Queue {
        count,
        ahead: AHEAD * rayon::current_num_threads(),
        state: Mutex::new(State {
            next: 0,
            due: 0,
            made: VecDeque::new(),
            using: false,
            spare: Vec::new(),
            stopped: false,
            failed: None,
        }),
        moved: Condvar::new(),
    };
    let using = Mutex::new(using);
    rayon::broadcast(|_| {
        let _stop = StopOnPanic(&queue);
        while let Some((part, mut buffer)) = queue.begin() {
            match make(part, &mut buffer) {
                Ok(()) => queue.put(part, buffer, &using),
                Err(error) => queue.fail(part, error),
            }
        }
    });
    let state = queue.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.failed.map_or(Ok(()), |(_, error)| Err(error))
}

impl<E> Queue<E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next part to be made, with a buffer for it; waits where too many have not been used.
    fn begin(&self) -> Option<(usize, Vec<u8>)> {
        let mut state = self.lock();
        // Somebody is using parts while this waits: the one that is due is made or being made.
        while !state.stopped && state.next < self.count && state.next >= state.due + self.ahead {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped || state.next >= self.count {
            return None;
        }
        state.next += 1;
        Some((state.next - 1, state.spare.pop().unwrap_or_default()))
    }

    /// Puts a part down, and uses what is due if nobody does.
    fn put(&self, part: usize, buffer: Vec<u8>, using: &Mutex<impl FnMut(usize, &[u8])>) {
        let mut state = self.lock();
        let place = part - state.due;
        if state.made.len() <= place {
            state.made.resize_with(place + 1, || None);
        }
        state.made[place] = Some(buffer);
        if state.using {
            return;
        }
        state.using = true;
        while let Some(Some(buffer)) = state.made.front_mut().map(Option::take) {
            let due = state.due;
            drop(state);
            using.lock().unwrap_or_else(PoisonError::into_inner)(due, &buffer);
            state = self.lock();
            state.made.pop_front();
            state.due += 1;
            state.spare.push(buffer);
            self.moved.notify_all();
        }
        state.using = false;
    }

    fn fail(&self, part: usize, error: E) {
        let mut state = self.lock();
        state.stopped = true;
        // All parts before this one have been begun, so the first error is the same however threads run.
        if state.failed.as_ref().is_none_or(|(first, _)| part < *first) {
            state.failed = Some((part, error));
        }
        self.moved.notify_all();
    }
}

/// Lets nobody wait for a thread that has panicked.
struct StopOnPanic<'q, E>(&'q Queue<E>);

impl<E> Drop for StopOnPanic<'_, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().stopped = true;
            self.0.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    #[test]
    fn parts_are_used_in_their_order_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let mut used = Vec::new();
            let made = with_threads(threads, || {
                let make = |part: usize, buffer: &mut Vec<u8>| {
                    buffer.clear();
                    buffer.push(part as u8);
                    Ok::<(), ()>(())
                };
                in_order(200, make, |part, buffer| used.push((part, buffer.to_vec())))
            });
            assert_eq!(made, Ok(()));
            assert!(used.iter().enumerate().all(|(at, (p, b))| at == *p && *b == [at as u8]));
            assert_eq!(used.len(), 200);
        }
    }

    #[test]
    fn the_first_error_is_told_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let make =
                |part: usize, _: &mut Vec<u8>| if part % 50 < 47 { Ok(()) } else { Err(part) };
            let made = with_threads(threads, || in_order(200, make, |_, _| {}));
            assert_eq!(made, Err(47));
        }
    }

    #[test]
    fn a_panic_ends_all_threads() {
        let make = |part: usize, _: &mut Vec<u8>| {
            assert_ne!(part, 20, "as it should be");
            Ok::<(), ()>(())
        };
        let caught =
            std::panic::catch_unwind(|| with_threads(3, || in_order(200, make, |_, _| {})));
        assert!(caught.is_err());
    }
}
