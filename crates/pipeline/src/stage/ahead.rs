//! What is done ahead, while the linker works, by the threads that are to spare.
//!
//! In the lean schedule the kernel's objects are read twice besides the linker: for types, and for debug information.
//! Most of both depends on no link. So beside each link of the plan the next pieces of this work are done, in this order:
//! the objects are made ready (PREP), their units are read for types (UNITS), references to strings, which only debug
//! information needs all of, are looked up (FIND), and what the next link is to know is written beside its place: of strings
//! (SAVE), and of units, for which they get the keys that it knows them by (KEYS). A piece that is not done when the linker
//! ends is left, and the step that needs it does the rest; but PREP, SAVE and KEYS, which have no end in between, go on
//! with all threads.
//!
//! Nothing is decided here: whatever goes wrong is met again by the step that needs it, and told there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Instant;

use dwarf_btf::{Expected, Memory, Options, Reading, ToRemember};

use crate::jobs::Jobs;
use crate::known::KnownUnits;
use crate::remembered::NewFiles;
use crate::strings::STRINGS;
use crate::timeline::{self, Timeline};

use super::inputs::{PREPARATION, Shared};

/// The object that all is about, as the timeline names it.
const OBJECT: &str = PREPARATION.1;
/// The pieces after the preparation.
pub(super) const UNITS: &str = "UNITS";
const FIND: &str = "FIND";
const SAVE: &str = "SAVE";
const KEYS: &str = "KEYS";

/// The work that is done ahead.
pub(super) struct Ahead<'a, 'o> {
    pub(super) shared: &'a Shared<'o>,
    memory: &'a Memory<'a>,
    /// What the types are to be, if they are made here and of objects.
    types: Option<&'a Options<'static>>,
    /// What is known of units, if anything is to be remembered of them.
    known: Option<&'a KnownUnits>,
    /// What is to be remembered, when the kernel is done.
    remember: Mutex<Remember>,
    /// What that is written to, if anything is to be remembered.
    new_files: Option<NewFiles>,
    units: Mutex<Units<'a>>,
    turn: Mutex<Turn>,
    turned: Condvar,
    /// Set when the linker has ended.
    stop: AtomicBool,
}

/// What came of the types' units.
#[derive(Debug, Default)]
pub(super) struct Remember {
    /// What the next link may begin with.
    pub(super) known: Option<ToRemember>,
    /// How many units there are, and were known; if that could be.
    pub(super) units: Option<timeline::Units>,
}

/// Units that are read ahead.
enum Units<'a> {
    NotBegun,
    Begun(Box<Reading<'a>>),
    /// The types are made of them; whether any were read beside a link.
    Taken {
        ahead: bool,
    },
    /// They cannot be read ahead, or it is too late.
    Gone,
}

/// Whose turn it is.
#[derive(Debug, Default)]
struct Turn {
    /// The linker's: something can be done beside it.
    linking: bool,
    /// The piece that is being done, which is to end before the next step begins.
    busy: Option<&'static str>,
    /// How long the preparation was waited for, in microseconds.
    rested: u64,
    /// All is over.
    over: bool,
    /// The step that had ended when the linker began.
    after: Option<String>,
}

/// Ends the work when it is dropped.
pub(super) struct Over<'w, 'a, 'o>(&'w Ahead<'a, 'o>);

impl Drop for Over<'_, '_, '_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
        locked(&self.0.turn).over = true;
        self.0.turned.notify_all();
    }
}

/// Says that nothing is done any more when it is dropped, whatever has ended it.
struct Idle<'w, 'a, 'o>(&'w Ahead<'a, 'o>);

impl Drop for Idle<'_, '_, '_> {
    fn drop(&mut self) {
        locked(&self.0.turn).busy = None;
        self.0.turned.notify_all();
    }
}

impl<'a, 'o: 'a> Ahead<'a, 'o> {
    /// `types` are the encoder's options, if types are to be made of the objects; what is `known` of their units need not
    /// be read, and if that is something, even if it is nothing yet, it is told what to remember. That is written to `new_files`.
    pub(super) fn new(
        shared: &'a Shared<'o>,
        memory: &'a Memory<'a>,
        types: Option<&'a Options<'static>>,
        known: Option<&'a KnownUnits>,
        new_files: Option<NewFiles>,
    ) -> Self {
        Ahead {
            shared,
            memory,
            types,
            known,
            remember: Mutex::default(),
            new_files,
            units: Mutex::new(Units::NotBegun),
            turn: Mutex::default(),
            turned: Condvar::new(),
            stop: AtomicBool::new(false),
        }
    }

    /// Starts the thread that does the work, which ends when the result is dropped.
    pub(super) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        jobs: &'scope Jobs,
        timeline: Arc<Timeline>,
    ) -> Over<'scope, 'a, 'o> {
        let work = move || {
            while let Some(after) = self.wait_for_linker() {
                let idle = Idle(self);
                self.work(jobs, &timeline, after);
                drop(idle);
                // What the linker left no time for is done beside the next one.
                let mut turn = locked(&self.turn);
                while turn.linking && !turn.over {
                    turn = self.turned.wait(turn).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        // Without a thread the steps that need it do it.
        let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        Over(self)
    }

    /// Runs the linker, beside which work is done; what of that is still being done then, is to be waited for by
    /// [`Ahead::rest`]. `after` is the step that has just ended.
    pub(super) fn beside<T>(&self, after: Option<String>, link: impl FnOnce() -> T) -> T {
        self.stop.store(false, Ordering::Relaxed);
        let mut turn = locked(&self.turn);
        (turn.linking, turn.after) = (true, after);
        self.turned.notify_all();
        drop(turn);
        let result = link();
        self.stop.store(true, Ordering::Relaxed);
        let mut turn = locked(&self.turn);
        turn.linking = false;
        self.turned.notify_all();
        result
    }

    /// Waits until nothing is done any more, so that the threads are to be had again.
    pub(super) fn rest(&self) {
        let asked = Instant::now();
        let mut turn = locked(&self.turn);
        // The others end at once, or soon.
        let preparing = turn.busy == Some(PREPARATION.0);
        while turn.busy.is_some() {
            turn = self.turned.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        if preparing && self.shared.prepare().is_ok() {
            turn.rested = timeline::micros(asked.elapsed());
        }
    }

    /// How long the preparation was waited for since this was last asked, in microseconds.
    pub(super) fn take_rested(&self) -> u64 {
        std::mem::take(&mut locked(&self.turn).rested)
    }

    /// What has been read ahead of the units, if there is any; it is the caller's then.
    pub(super) fn take_units(&self) -> Option<Box<Reading<'a>>> {
        let mut units = locked(&self.units);
        match std::mem::replace(&mut *units, Units::Gone) {
            Units::Begun(reading) => {
                *units = Units::Taken { ahead: true };
                Some(reading)
            }
            // There was no time to begin, but what is known is worth it.
            Units::NotBegun if self.known.is_some() && self.types.is_some() => {
                let reading = self.first_units()?;
                *units = Units::Taken { ahead: false };
                Some(reading)
            }
            Units::NotBegun | Units::Taken { .. } | Units::Gone => None,
        }
    }

    /// Notes what is to be remembered of units, and how many were known and read.
    pub(super) fn remember(&self, known: Option<ToRemember>, units: timeline::Units) {
        *locked(&self.remember) = Remember { known, units: Some(units) };
    }

    /// What is to be remembered.
    pub(super) fn take_remembered(&self) -> Remember {
        std::mem::take(&mut *locked(&self.remember))
    }

    /// Reads all units that are left, with the threads of the current pool; whether there were any.
    pub(super) fn read_all(&self) -> bool {
        let _progress = self.shared.show_units();
        self.stop.store(false, Ordering::Relaxed);
        self.has_units() && self.read()
    }

    /// Whether the types are made of units that were read ahead.
    pub(super) fn has_read(&self) -> bool {
        matches!(*locked(&self.units), Units::Taken { ahead: true })
    }

    /// Completes and writes what is to be remembered of units; whether there was anything to write.
    fn write_types(&self) -> bool {
        let Some(new) = &self.new_files else { return false };
        let known = locked(&self.remember).known.take();
        let bytes = known.map(|known| known.into_bytes(self.shared));
        bytes.is_some_and(|bytes| {
            new.types.write(&[&bytes]);
            true
        })
    }

    /// Writes what the next link is to know of strings, if it would not know that and it is not written yet; whether there
    /// was anything to write.
    pub(super) fn write_strings(&self) -> bool {
        let new = self.new_files.as_ref().filter(|new| !new.strings.is_written());
        let Some((new, parts)) = new.zip(self.shared.strings_to_remember()) else { return false };
        new.strings.write(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        true
    }

    /// The files, to be finished.
    pub(super) fn take_new_files(&mut self) -> Option<NewFiles> {
        self.new_files.take()
    }

    /// Waits until the linker works; `None` at the end.
    fn wait_for_linker(&self) -> Option<Option<String>> {
        let mut turn = locked(&self.turn);
        while !turn.linking && !turn.over {
            turn = self.turned.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        (!turn.over).then(|| turn.after.take())
    }

    /// Does pieces until all are done, or the linker has ended.
    fn work(&self, jobs: &Jobs, timeline: &Timeline, mut after: Option<String>) {
        let mut piece = |(verb, output): (&str, &str), work: &(dyn Fn() -> bool + Sync)| {
            let is_done = AtomicBool::new(false);
            let work = || {
                let done = work();
                is_done.store(true, Ordering::Relaxed);
                let _turn = locked(&self.turn);
                self.turned.notify_all();
                done
            };
            let waiting = || self.wait_while_linking(&is_done);
            let (done, mut step) =
                timeline.measure(verb, output, "native", || jobs.run_beside(work, waiting));
            if let Ok(Some(true)) = done {
                step.beside = true;
                step.waited_for.extend(after.replace(step.name()));
                step.read = (verb != SAVE).then(|| self.shared.size());
                timeline.push(step);
            }
        };
        if !self.shared.is_prepared() && self.begin(PREPARATION.0) {
            piece(PREPARATION, &|| self.shared.prepare().is_ok());
        }
        if self.shared.is_prepared() && self.has_units() && self.begin(UNITS) {
            piece((UNITS, OBJECT), &|| self.read());
        }
        if self.shared.is_prepared() && self.begin(FIND) {
            piece((FIND, OBJECT), &|| self.look_up());
        }
        if self.shared.is_prepared() && self.begin(SAVE) {
            piece((SAVE, STRINGS), &|| self.write_strings());
        }
        if self.shared.is_prepared() && self.begin(KEYS) {
            piece((KEYS, OBJECT), &|| self.write_types());
        }
    }

    /// Waits until the linker has ended, or a piece is done.
    fn wait_while_linking(&self, is_done: &AtomicBool) {
        let mut turn = locked(&self.turn);
        while turn.linking && !turn.over && !is_done.load(Ordering::Relaxed) {
            turn = self.turned.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether there is time for one more piece.
    fn begin(&self, piece: &'static str) -> bool {
        let mut turn = locked(&self.turn);
        turn.busy = (turn.linking && !turn.over).then_some(piece);
        turn.busy.is_some()
    }

    /// Whether units can be read ahead.
    fn has_units(&self) -> bool {
        let begun = matches!(*locked(&self.units), Units::NotBegun | Units::Begun(_));
        self.types.is_some() && begun
    }

    /// Reads units; whether any were there to be read.
    fn read(&self) -> bool {
        let mut units = locked(&self.units);
        let begun = matches!(*units, Units::NotBegun);
        if begun {
            *units = self.first_units().map_or(Units::Gone, Units::Begun);
        }
        let Units::Begun(reading) = &*units else { return false };
        let left = begun || !reading.is_read();
        reading.work(&self.stop);
        left
    }

    fn first_units(&self) -> Option<Box<Reading<'a>>> {
        let (shared, options) = (self.shared, self.types?);
        let provisional = shared.provisional()?;
        let (functions, percpu) = (provisional.functions(), provisional.percpu());
        let expected = Expected::of_inputs(provisional.inputs(), functions, percpu)?;
        let known = self.known.and_then(KnownUnits::remembered);
        let reading = Reading::resume(self.memory, shared, &expected, options, known);
        // Of what was only looked at, little is released at once.
        self.shared.pages().forget_all();
        reading.ok()?.map(Box::new)
    }

    /// Looks up where references lead; whether there is anything to look up.
    fn look_up(&self) -> bool {
        self.shared.prepare().is_ok_and(|known| known.look_ahead(&self.stop))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of the step that reads units.
pub(super) fn units() -> String {
    timeline::name(UNITS, OBJECT)
}

#[cfg(test)]
mod tests {
    use debug_link::Linker;

    use super::*;

    /// Two links, of no objects; the steps that were noted, and whether something was ready when the first had ended.
    fn steps(threads: usize) -> (Vec<timeline::Step>, bool) {
        let shared = Shared::new(&[], Linker::Gnu, None, None);
        let memory = Memory::default();
        let ahead = Ahead::new(&shared, &memory, None, None, None);
        let (jobs, timeline) = (Jobs::Fixed(threads), Arc::new(Timeline::start()));
        let ready = std::thread::scope(|scope| {
            let _over = ahead.start(scope, &jobs, timeline.clone());
            let wait = || {
                let start = std::time::Instant::now();
                while !shared.is_prepared() && start.elapsed().as_millis() < 2000 && threads > 1 {
                    std::thread::yield_now();
                }
                shared.is_prepared()
            };
            let ready = ahead.beside(Some("KSYMS a.o".to_owned()), wait);
            assert!(ahead.take_units().is_none() && !ahead.has_read());
            ahead.rest();
            ahead.beside(None, || ());
            ready
        });
        (timeline.finish().steps, ready)
    }

    #[test]
    fn objects_are_made_ready_beside_the_first_link() {
        let (steps, ready) = steps(2);
        assert!(ready);
        let [step] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!((step.name().as_str(), step.beside), ("PREP vmlinux.o", true));
        assert_eq!((&step.waited_for[..], step.threads), (&["KSYMS a.o".to_owned()][..], Some(2)));
    }

    #[test]
    fn without_a_thread_to_spare_nothing_is_done_ahead() {
        let (steps, ready) = steps(1);
        assert!(!ready && steps.is_empty(), "{steps:?}");
    }

    #[test]
    fn a_link_that_never_comes_is_not_waited_for() {
        let shared = Shared::new(&[], Linker::Gnu, None, None);
        let memory = Memory::default();
        let ahead = Ahead::new(&shared, &memory, None, None, None);
        let jobs = Jobs::Fixed(2);
        std::thread::scope(|scope| drop(ahead.start(scope, &jobs, Arc::new(Timeline::start()))));
        assert!(!shared.is_prepared());
    }
}
