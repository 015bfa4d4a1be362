//! What a person sees while something long runs: headlines, and one live line with the elapsed time.
//!
//! Everything goes to standard error, so that the standard output of a command stays its result. On a
//! terminal the live line rewrites itself; in a log it is printed now and then instead.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often a live line is repeated when standard error is not a terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(20);
/// How often a live line is redrawn on a terminal.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(100);
/// A live line longer than this would wrap on a common terminal.
const WIDTH: usize = 100;

/// Starts a part of the work.
pub fn headline(text: &str) {
    eprintln!("\n==> {text}");
}

/// Says one fact or step.
pub fn say(text: &str) {
    eprintln!("    {text}");
}

/// A duration as `3.2 s` or `4 min 05 s`.
pub fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// One line that tells how far something long has come.
#[derive(Debug)]
pub struct Live {
    name: String,
    start: Instant,
    drawn: Option<Instant>,
    terminal: bool,
    quiet: bool,
}

impl Live {
    /// Starts the clock. A `quiet` line draws nothing.
    pub fn new(name: &str, quiet: bool) -> Self {
        Live {
            name: name.to_owned(),
            start: Instant::now(),
            drawn: None,
            terminal: std::io::stderr().is_terminal(),
            quiet,
        }
    }

    /// The time since the start.
    pub fn time(&self) -> Duration {
        self.start.elapsed()
    }

    /// Shows `state`, unless the line was drawn a moment ago.
    pub fn update(&mut self, state: &str) {
        let interval = if self.terminal { TERMINAL_INTERVAL } else { LOG_INTERVAL };
        if self.quiet || self.drawn.is_some_and(|at| at.elapsed() < interval) {
            return;
        }
        self.drawn = Some(Instant::now());
        let text = format!("    {}: {}, {state}", self.name, elapsed(self.time()));
        if self.terminal {
            let text: String = text.chars().take(WIDTH).collect();
            eprint!("\r\x1b[K{text}");
            // A progress line that cannot be shown must not stop the work.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{text}");
        }
    }

    /// Replaces the line by its last word.
    pub fn finish(self, state: &str) {
        if self.quiet {
            return;
        }
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}    {}: {}, {state}", self.name, elapsed(self.time()));
    }
}
