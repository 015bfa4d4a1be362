//! What a link did, when, and what it cost.
//!
//! What: every step of a link with its time, its cost and what it waited for ([`Step`]), the sizes of what was made
//! ([`Contents`]), and who made it: a [`Link`]. The last two links of a tree stand in its file [`TIMELINE`] ([`Links`]).
//!
//! Why: who asks why a link took so long, or longer than the one before, needs no second link to find out.
//!
//! Cost: some system calls for a step; at the end, a pass over the types and the kallsyms object, about 2 ms for
//! 2.4 MB of BTF.

mod contents;
mod file;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::cost::{self, Cost};

pub(crate) use contents::size;
pub use contents::{BtfKind, Contents, Table, Types};
pub use file::{Links, TIMELINE};

/// A link that has ended well. Times are microseconds since its start, sizes are bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Version of vmlinker.
    pub vmlinker: String,
    /// What the linker prints as its version.
    pub linker: Option<String>,
    /// The pahole that makes the types, or that is imitated; which, the step's engine tells.
    pub pahole: Option<String>,
    /// The kernel that was made.
    pub output: String,
    /// `separate`, `merged` or `lean`; `script` for the kernel's own script.
    pub schedule: String,
    /// Whether the sizes of the link before were used.
    pub warm: bool,
    /// The most threads that native steps could have.
    pub threads: usize,
    /// When it began, in seconds since 1970.
    pub began: u64,
    /// Wall time of all.
    pub wall_us: u64,
    /// The most memory that vmlinker itself had at a time.
    pub memory: Option<u64>,
    /// All steps, in the order in which they began.
    pub steps: Vec<Step>,
    /// The units that the types are of, if what they say can be remembered.
    #[serde(default)]
    pub units: Option<Units>,
    /// The sizes of what was made.
    pub contents: Contents,
}

/// How many units there are in the debug information.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    /// Those that types are of.
    pub all: usize,
    /// Those of these that were not read, since what they say was known from the link before.
    pub known: usize,
}

/// A step of a link, or work that was done beside steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Kbuild's word for it, or one of our own.
    pub verb: String,
    /// The file that it made, changed or read.
    pub output: String,
    /// `native`, `kernel`, `linker`, `pahole+native`, `pahole+kernel` or `script`.
    pub engine: String,
    /// Whether it was done in the background or in turn with another, beside steps that run one after the other.
    pub beside: bool,
    /// When it began.
    pub start_us: u64,
    /// When it had ended.
    pub end_us: u64,
    /// Threads of vmlinker that it used; those of children are not known.
    pub threads: Option<usize>,
    /// Processor time, user and system, of all threads and children; that of what was done in turn with it is in it.
    pub cpu_us: Option<u64>,
    /// The most memory that a child had at a time. Never less than what vmlinker had written to when it started it.
    pub child_memory: Option<u64>,
    /// The sizes of the files that it looked at, of all of each.
    pub read: Option<u64>,
    /// The size of the file that it made.
    pub written: Option<u64>,
    /// The names of those whose ends let it begin, or go on.
    pub waited_for: Vec<String>,
    /// How long it stood still for them after it had begun.
    pub blocked_us: u64,
}

impl Step {
    /// The name of the step, as others wait for it.
    pub fn name(&self) -> String {
        name(&self.verb, &self.output)
    }

    /// Wall time.
    pub fn wall_us(&self) -> u64 {
        self.end_us.saturating_sub(self.start_us)
    }
}

/// The name of a step.
pub(crate) fn name(verb: &str, output: &str) -> String {
    format!("{verb} {output}")
}

/// The clock of a link, and its steps so far. Jobs beside each other may use it.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    began: SystemTime,
    steps: Mutex<Vec<Step>>,
}

impl Timeline {
    /// Starts the clock.
    pub fn start() -> Self {
        let (start, began) = (Instant::now(), SystemTime::now());
        Timeline { start, began, steps: Mutex::default() }
    }

    /// Microseconds since the start.
    pub fn now(&self) -> u64 {
        micros(self.start.elapsed())
    }

    /// Does `work` and tells when it was done and what it has cost; it is not among the steps yet.
    pub fn measure<T>(
        &self,
        verb: &str,
        output: &str,
        engine: &str,
        work: impl FnOnce() -> T,
    ) -> (T, Step) {
        let start_us = self.now();
        let (result, cost) = cost::of(work);
        let Cost { cpu, child_memory, threads } = cost;
        let children = child_memory > 0;
        let step = Step {
            verb: verb.to_string(),
            output: output.to_string(),
            engine: engine.to_string(),
            start_us,
            end_us: self.now(),
            threads: (!children || threads > 0).then_some(threads.max(1)),
            cpu_us: Some(micros(cpu)),
            child_memory: children.then_some(child_memory),
            ..Step::default()
        };
        (result, step)
    }

    /// Adds a step.
    pub fn push(&self, step: Step) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// The link, which ends now; what the clock does not know is left as it is by default.
    pub fn finish(&self) -> Link {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        steps.sort_by_key(|step| (step.start_us, step.end_us));
        let began = self.began.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
        Link {
            vmlinker: env!("CARGO_PKG_VERSION").to_string(),
            began,
            wall_us: self.now(),
            memory: peak_memory(),
            steps,
            ..Link::default()
        }
    }
}

/// A time as the timeline has it, in microseconds.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The most memory that this process has had at a time, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_in_the_order_of_their_beginnings_and_lie_in_the_link() {
        let timeline = Timeline::start();
        let ((), outer) = timeline.measure("BTF", "b.o", "native", || {
            std::thread::sleep(Duration::from_millis(2));
            let (number, inner) = timeline.measure("PREP", "vmlinux.o", "native", || 7);
            assert_eq!(number, 7);
            timeline.push(inner);
        });
        timeline.push(outer);
        let link = timeline.finish();
        let names: Vec<String> = link.steps.iter().map(Step::name).collect();
        assert_eq!(names, ["BTF b.o", "PREP vmlinux.o"]);
        assert!(link.steps.iter().all(|step| step.end_us <= link.wall_us), "{link:?}");
        assert!(link.steps[0].wall_us() >= 2000 && link.steps[0].threads == Some(1), "{link:?}");
        assert!(link.memory.is_some_and(|bytes| bytes > 1 << 20), "{link:?}");
        assert!(link.began > 1_600_000_000);
    }
}
