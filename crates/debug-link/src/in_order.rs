//! Parts made by all threads, passed on by one at a time, and used one after the other.
//!
//! Why: the hash of a build ID is one sequence, and takes as long as making all that it covers on two
//! threads. Here it is taken while the parts are made, from buffers that are still in the
//! processor's cache, instead of from the finished file behind everything else. And a file is written by one thread
//! at a time, whatever the others do: the system lets them wait for each other, spinning.
//!
//! How: threads take the parts in their order. A part that is made is put down; whoever has put one down
//! passes parts on if nobody does, uses those that are due if nobody does, and makes the next if there is
//! neither to do. So no thread waits but for too many parts that have been put down.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Parts for each thread that may be made and not used yet: enough that none waits for one large part, few enough
/// to stay in the cache.
const AHEAD: usize = 8;

/// What is done with a part, each by one thread at a time.
pub(crate) trait Consumer<E> {
    /// Passes a part on, in any order.
    ///
    /// # Errors
    /// It cannot be passed on.
    fn pass(&self, part: usize, buffer: &[u8]) -> Result<(), E>;

    /// Uses a part that has been passed on, in their order.
    fn consume(&self, part: usize, buffer: &[u8]);
}

/// How far the work is.
struct State<E> {
    /// The next part to be made.
    next: usize,
    /// What has been made and not passed on.
    made: VecDeque<(usize, Vec<u8>)>,
    /// Whether a thread is passing a part on.
    passing: bool,
    /// The next part to be used.
    due: usize,
    /// What has been passed on, from `due` on.
    passed: VecDeque<Option<Vec<u8>>>,
    /// Whether a thread is using a part.
    using: bool,
    /// Buffers for other parts.
    spare: Vec<Vec<u8>>,
    /// Whether no part is begun any more.
    stopped: bool,
    /// The first part that failed.
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

/// Makes `count` parts with all threads of the current pool of rayon, and has them consumed.
///
/// `make` gets a buffer with the contents of an earlier part, which it may make longer.
///
/// # Errors
/// That of the first part that cannot be made, or of one that cannot be passed on. Parts before it have been used then,
/// or not.
pub(crate) fn in_order<E: Send>(
    count: usize,
    make: impl Fn(usize, &mut Vec<u8>) -> Result<(), E> + Sync,
    consumer: &(impl Consumer<E> + Sync),
) -> Result<(), E> {
    let queue = Queue {
        count,
        ahead: AHEAD * rayon::current_num_threads(),
        state: Mutex::new(State {
            next: 0,
            made: VecDeque::new(),
            passing: false,
            due: 0,
            passed: VecDeque::new(),
            using: false,
            spare: Vec::new(),
            stopped: false,
            failed: None,
        }),
        moved: Condvar::new(),
    };
    rayon::broadcast(|_| {
        let _stop = StopOnPanic(&queue);
        while let Some((part, mut buffer)) = queue.begin() {
            match make(part, &mut buffer) {
                Ok(()) => queue.lock().made.push_back((part, buffer)),
                Err(error) => queue.fail(part, error),
            }
            while queue.pass_one(consumer) || queue.use_one(consumer) {}
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
        // The part that is due is being made, passed on or used by another thread while this one waits.
        while !state.stopped && state.next < self.count && state.next >= state.due + self.ahead {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped || state.next >= self.count {
            return None;
        }
        state.next += 1;
        Some((state.next - 1, state.spare.pop().unwrap_or_default()))
    }

    /// Passes a part on if there is one and nobody else does.
    fn pass_one(&self, consumer: &impl Consumer<E>) -> bool {
        let mut state = self.lock();
        if state.passing {
            return false;
        }
        let Some((part, buffer)) = state.made.pop_front() else { return false };
        state.passing = true;
        drop(state);
        let passed = consumer.pass(part, &buffer);
        let mut state = self.lock();
        state.passing = false;
        match passed {
            Ok(()) => {
                let place = part - state.due;
                if state.passed.len() <= place {
                    state.passed.resize_with(place + 1, || None);
                }
                state.passed[place] = Some(buffer);
            }
            Err(error) => {
                drop(state);
                self.fail(part, error);
            }
        }
        true
    }

    /// Uses the part that is due if it is there and nobody else does.
    fn use_one(&self, consumer: &impl Consumer<E>) -> bool {
        let mut state = self.lock();
        if state.using {
            return false;
        }
        let Some(buffer) = state.passed.front_mut().and_then(Option::take) else { return false };
        state.using = true;
        let due = state.due;
        drop(state);
        consumer.consume(due, &buffer);
        let mut state = self.lock();
        state.using = false;
        state.passed.pop_front();
        state.due += 1;
        state.spare.push(buffer);
        self.moved.notify_all();
        true
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
    use std::panic::AssertUnwindSafe;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    /// Notes what comes; passing on a part of `bad` fails.
    #[derive(Default)]
    struct Notes {
        passing: AtomicUsize,
        passed: Mutex<Vec<usize>>,
        used: Mutex<Vec<(usize, Vec<u8>)>>,
        bad: Option<usize>,
    }

    impl Consumer<usize> for Notes {
        fn pass(&self, part: usize, _: &[u8]) -> Result<(), usize> {
            assert_eq!(self.passing.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
            self.passed.lock().unwrap().push(part);
            self.passing.fetch_sub(1, Ordering::SeqCst);
            if self.bad == Some(part) { Err(part) } else { Ok(()) }
        }

        fn consume(&self, part: usize, buffer: &[u8]) {
            assert!(self.passed.lock().unwrap().contains(&part));
            self.used.lock().unwrap().push((part, buffer.to_vec()));
        }
    }

    fn made(part: usize, buffer: &mut Vec<u8>) -> Result<(), usize> {
        buffer.clear();
        buffer.push(part as u8);
        Ok(())
    }

    #[test]
    fn parts_are_passed_on_once_and_used_in_their_order_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let notes = Notes::default();
            assert_eq!(with_threads(threads, || in_order(200, made, &notes)), Ok(()));
            let used = notes.used.into_inner().unwrap();
            assert!(used.iter().enumerate().all(|(at, (p, b))| at == *p && *b == [at as u8]));
            let mut passed = notes.passed.into_inner().unwrap();
            passed.sort_unstable();
            assert!(passed.into_iter().eq(0..200));
            assert_eq!(used.len(), 200);
        }
    }

    #[test]
    fn the_first_error_is_told_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let make =
                |part: usize, _: &mut Vec<u8>| if part % 50 < 47 { Ok(()) } else { Err(part) };
            assert_eq!(with_threads(threads, || in_order(200, make, &Notes::default())), Err(47));
        }
    }

    #[test]
    fn what_cannot_be_passed_on_ends_the_work() {
        for threads in [1, 2, 5] {
            let notes = Notes { bad: Some(31), ..Notes::default() };
            assert_eq!(with_threads(threads, || in_order(200, made, &notes)), Err(31));
            assert!(notes.used.into_inner().unwrap().len() <= 31);
        }
    }

    #[test]
    fn a_panic_ends_all_threads() {
        let make = |part: usize, _: &mut Vec<u8>| {
            assert_ne!(part, 20, "as it should be");
            Ok(())
        };
        let notes = Notes::default();
        let caught = std::panic::catch_unwind(AssertUnwindSafe(|| {
            with_threads(3, || in_order(200, make, &notes))
        }));
        assert!(caught.is_err());
    }
}
