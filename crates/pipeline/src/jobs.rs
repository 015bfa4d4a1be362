//! How many threads native work may use.
//!
//! Under make this stage is one job. More threads are used only while make's jobserver has tokens to
//! spare, and given back after each piece of work; `make -j1` gets one thread. Outside of make all
//! cores are used.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};

use jobserver::{Acquired, Client};

use crate::cost::{self, Cost};
use crate::error::{Error, Result};

/// Make's jobserver, for [`give_back`].
static SERVER: OnceLock<Client> = OnceLock::new();

/// How many of its tokens this process has.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The threads that may be used.
#[derive(Debug)]
pub enum Jobs {
    /// This many.
    Fixed(usize),
    /// One, and one more for every token of make's jobserver, up to this many in all.
    Shared(Client, usize),
}

impl Jobs {
    /// What make grants, or all cores where there is no make.
    pub fn from_env() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let Ok(flags) = std::env::var("MAKEFLAGS") else {
            return Jobs::Fixed(cores);
        };
        // SAFETY: called at the start of the process, before it opens files of its own, so the
        // descriptors that MAKEFLAGS names are make's.
        match unsafe { Client::from_env() } {
            Some(client) => {
                SERVER.get_or_init(|| client.clone());
                Jobs::Shared(client, cores)
            }
            None if unlimited(&flags) => Jobs::Fixed(cores),
            None => Jobs::Fixed(1),
        }
    }

    /// These, but not more than are asked for. What make grants is a limit too: a program that is told to use all
    /// processors is still one job of make's.
    pub fn at_most(self, threads: Option<NonZero<usize>>) -> Self {
        let Some(asked) = threads.map(NonZero::get) else { return self };
        match self {
            // Outside of make whoever asks for more than there are cores gets them.
            Jobs::Fixed(_) if std::env::var_os("MAKEFLAGS").is_none() => Jobs::Fixed(asked),
            Jobs::Fixed(threads) => Jobs::Fixed(threads.min(asked)),
            Jobs::Shared(client, most) => Jobs::Shared(client, most.min(asked)),
        }
    }

    /// Runs `work` in a pool of as many threads as there are to be had now; what is in a pool already stays there.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        if rayon::current_thread_index().is_some() {
            return Ok(work());
        }
        let (threads, tokens) = self.acquire();
        in_pool(threads, work, tokens)
    }

    /// Runs `work` in the threads that are to spare while this process waits for another, which is one
    /// job, and in one thread more when `waiting`, which waits for that, has returned. `None`, and nothing is done, if
    /// there are none. `waiting` is waited for, so it has to return when the work is done too.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn run_beside<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
        waiting: impl FnOnce() + Send,
    ) -> Result<Option<T>> {
        let (threads, tokens) = self.acquire();
        if threads == 1 {
            return Ok(None);
        }
        let with_one_waiting = || {
            rayon::scope(|scope| {
                let (has_begun, begun) = mpsc::channel();
                scope.spawn(move |_| {
                    let _ = has_begun.send(());
                    waiting();
                });
                // It is another thread that waits: this one would never get to the work.
                let _ = begun.recv();
                work()
            })
        };
        in_pool(threads, with_one_waiting, tokens).map(Some)
    }

    /// The most threads that there can be.
    pub fn most(&self) -> usize {
        match self {
            Jobs::Fixed(most) | Jobs::Shared(_, most) => *most,
        }
    }

    fn acquire(&self) -> (usize, Tokens) {
        let (client, most) = match self {
            Jobs::Fixed(threads) => return (*threads, Tokens(Vec::new())),
            Jobs::Shared(client, most) => (client, *most),
        };
        // A jobserver that does not answer is no reason to fail: one thread does it too.
        let tokens: Vec<Acquired> =
            (1..most).map_while(|_| client.try_acquire().ok().flatten()).collect();
        HELD.fetch_add(tokens.len(), Ordering::SeqCst);
        (1 + tokens.len(), Tokens(tokens))
    }
}

/// Tokens of make's jobserver; given back when dropped.
#[derive(Debug)]
struct Tokens(Vec<Acquired>);

impl Drop for Tokens {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

/// Gives all tokens back, for a process that ends now and drops nothing.
pub(crate) fn give_back() {
    let Some(server) = SERVER.get() else { return };
    for _ in 0..HELD.swap(0, Ordering::SeqCst) {
        // Without it make has one job less until its end.
        let _ = server.release_raw();
    }
}

/// Runs `work` in a pool of that many threads; the tokens for them are given back after it.
fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send, _tokens: Tokens) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| Error::new(format!("cannot start {threads} threads: {e}")))?;
    let result = pool.install(work);
    // The threads are as old as the pool, so their clocks tell what it has cost.
    let cpu = pool.broadcast(|_| cost::of_this_thread()).into_iter().sum();
    cost::add(Cost { cpu, threads, ..Cost::default() });
    Ok(result)
}

/// `make -j` without a number: as many jobs as there are, and no jobserver.
fn unlimited(makeflags: &str) -> bool {
    let mut words = makeflags.split_whitespace();
    let first = words.next().unwrap_or("");
    let short = !first.starts_with('-') && !first.contains('=') && first.contains('j');
    short || makeflags.split_whitespace().any(|word| word == "-j")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_j_is_unlimited() {
        assert!(unlimited("rRj -- V=1"));
        assert!(unlimited(" -j --no-print-directory"));
        assert!(!unlimited("rR --no-print-directory -- V=1"));
        assert!(!unlimited("rR -j4 --jobserver-auth=3,4"));
        assert!(!unlimited(""));
    }

    #[test]
    fn work_runs_with_the_given_number_of_threads() {
        assert_eq!(Jobs::Fixed(3).run(rayon::current_num_threads).unwrap(), 3);
        let inside = || Jobs::Fixed(5).run(rayon::current_num_threads).unwrap();
        assert_eq!(Jobs::Fixed(2).run(inside).unwrap(), 2);
        let beside = |jobs: Jobs| jobs.run_beside(rayon::current_num_threads, || ()).unwrap();
        assert_eq!(beside(Jobs::Fixed(3)), Some(3));
        assert_eq!(beside(Jobs::Fixed(1)), None);
    }
}
