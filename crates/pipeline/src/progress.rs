//! A bar for work that takes its time, for people who wait for it.
//!
//! It is drawn on standard error, if that is a terminal and the program was not started by make: there and in logs
//! are Kbuild's lines and nothing else. It has no colours. Work that is done within half a second has no bar.
//!
//! Who works only counts, in one atomic number; a thread of its own draws it now and then. Cores know nothing of it:
//! what is counted is what they ask the edge to read and to write.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long work takes before it gets a bar; `$VMLINKER_PROGRESS_MS` is another number of milliseconds, for tests.
const AFTER: Duration = Duration::from_millis(500);

/// How often a bar is drawn.
const INTERVAL: Duration = Duration::from_millis(100);

/// Whether bars are wanted.
static WANTED: AtomicBool = AtomicBool::new(false);

/// The bar that is on the screen.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Asks for bars; there are none all the same if nobody would see them, or under make.
pub fn show() {
    let made = std::env::var_os("MAKELEVEL").is_some();
    WANTED.store(!made && std::io::stderr().is_terminal(), Ordering::Relaxed);
}

/// Does `print` with the bar out of its way.
pub fn aside<T>(print: impl FnOnce() -> T) -> T {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// Work whose progress is counted. Its bar goes when it is dropped.
#[derive(Debug)]
pub struct Progress {
    done: Arc<AtomicU64>,
    drawing: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Begins work that is done when `total` bytes are; `verb` is Kbuild's word for it.
    pub fn new(verb: &'static str, total: u64) -> Self {
        Progress::of(verb, total, Arc::default())
    }

    /// The same of work of which so much is `done`; that is counted elsewhere too.
    pub fn of(verb: &'static str, total: u64, done: Arc<AtomicU64>) -> Self {
        let drawing = WANTED.load(Ordering::Relaxed).then(|| {
            let (sender, ended) = channel();
            let counter = done.clone();
            let draw = move || {
                let over = |wait| ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
                if !over(after()) {
                    draw(verb, total, &counter, || over(INTERVAL));
                }
            };
            (sender, std::thread::spawn(draw))
        });
        Progress { done, drawing }
    }

    /// Counts bytes more.
    pub fn add(&self, bytes: usize) {
        self.done.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.drawing.take() {
            drop(ended);
            // A bar that could not be drawn is no fault of the work's.
            let _ = thread.join();
        }
    }
}

fn after() -> Duration {
    let asked = std::env::var("VMLINKER_PROGRESS_MS").ok().and_then(|text| text.parse().ok());
    asked.map_or(AFTER, Duration::from_millis)
}

/// Draws the bar until the work is over.
fn draw(verb: &'static str, total: u64, done: &AtomicU64, over: impl Fn() -> bool) {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let form = "  {prefix:7} [{bar:40}] {percent:>3}% of {total_bytes}, {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(verb);
    let shown = |bar| *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    shown(Some(bar.clone()));
    loop {
        // What is read twice counts twice.
        bar.set_position(done.load(Ordering::Relaxed).min(total));
        bar.tick();
        if over() {
            break;
        }
    }
    shown(None);
    bar.finish_and_clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_nothing_is_drawn_and_no_thread_is_started() {
        let progress = Progress::new("BTF", 100);
        progress.add(30);
        progress.add(90);
        assert!(progress.drawing.is_none());
        assert_eq!(progress.done.load(Ordering::Relaxed), 120);
        assert_eq!(aside(|| 7), 7);
    }

    #[test]
    fn a_bar_is_drawn_until_the_work_is_over() {
        let (done, rounds) = (AtomicU64::new(0), AtomicU64::new(0));
        // Standard error of a test is no terminal, so the bar is hidden; what is drawn is the tests' of the program.
        draw("BTF", 100, &done, || {
            done.fetch_add(40, Ordering::Relaxed);
            rounds.fetch_add(1, Ordering::Relaxed) == 3
        });
        assert_eq!(rounds.load(Ordering::Relaxed), 4);
        assert!(SHOWN.lock().unwrap().is_none());
    }
}
