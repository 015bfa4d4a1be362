//! What work costs: processor time, memory of children, threads.
//!
//! Work is done by the thread that asks for it, by a pool that it asks, and by child processes that it waits for. All
//! that is added up for this thread, so the costs of jobs that run beside each other are told apart.
//!
//! Cost: two system calls for a piece of work, and waking a pool's threads once more to ask for their clocks.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wait4::ResourceUsage;

/// What a piece of work has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Processor time, user and system, of all threads and children.
    pub cpu: Duration,
    /// The most memory that a child had at a time, in bytes; 0 without children. Linux counts what this process itself
    /// had written to when it started the child, so it is never less than that.
    pub child_memory: u64,
    /// Threads of the largest pool; 0 if none was asked for.
    pub threads: usize,
}

impl Cost {
    /// That of a child, as the system has counted it.
    pub fn of_child(used: &ResourceUsage) -> Self {
        Cost { cpu: used.utime + used.stime, child_memory: used.maxrss, threads: 0 }
    }

    fn and(self, other: Cost) -> Cost {
        Cost {
            cpu: self.cpu + other.cpu,
            child_memory: self.child_memory.max(other.child_memory),
            threads: self.threads.max(other.threads),
        }
    }
}

thread_local! {
    /// What pools and children have cost that this thread has asked for.
    static SPENT: Cell<Cost> = const { Cell::new(Cost { cpu: Duration::ZERO, child_memory: 0, threads: 0 }) };
}

/// Adds what a pool or a child has cost that this thread has waited for.
pub fn add(cost: Cost) {
    SPENT.set(SPENT.get().and(cost));
}

/// Does `work` and tells what it has cost.
pub fn of<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let before = SPENT.take();
    let start = of_this_thread();
    let result = work();
    let own = of_this_thread().saturating_sub(start);
    let spent = SPENT.get().and(Cost { cpu: own, ..Cost::default() });
    SPENT.set(before.and(spent));
    (result, spent)
}

/// The processor time that this thread has had since it was started.
pub fn of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_inside_work_counts_for_both_and_nothing_else_does() {
        let child = |bytes| Cost { cpu: Duration::from_secs(1), child_memory: bytes, threads: 0 };
        add(child(9000));
        let ((), outer) = of(|| {
            add(child(100));
            let ((), inner) = of(|| add(Cost { threads: 3, ..child(50) }));
            assert!(inner.cpu >= Duration::from_secs(1) && inner.cpu < Duration::from_secs(2));
            assert_eq!((inner.child_memory, inner.threads), (50, 3));
        });
        assert!(outer.cpu >= Duration::from_secs(2) && outer.cpu < Duration::from_secs(3));
        assert_eq!((outer.child_memory, outer.threads), (100, 3));
    }
}
