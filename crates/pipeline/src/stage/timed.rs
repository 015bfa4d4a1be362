//! What the stage tells its timeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::plan::{Action, Engine, Part, Plan, Start, Step};
use crate::say;
use crate::timeline::{self, Contents, Link, Links, Timeline, Units, size};

use super::ahead::{self, Ahead, UNITS};
use super::inputs::PREPARATION;
use super::{Stage, link};

/// Who waits for less than this has not waited, in microseconds.
const NOTICEABLE: u64 = 500;

impl Stage<'_> {
    /// This link with the clock `timeline`, which was started when the tree began to be read, and with what its tools
    /// say of their versions.
    pub fn timed_from(mut self, timeline: Timeline, tools: BTreeMap<String, String>) -> Self {
        self.timeline = Arc::new(timeline);
        self.tools = tools;
        let mut read = timeline::Step {
            verb: "READ".to_string(),
            output: "scripts".to_string(),
            engine: "native".to_string(),
            ..timeline::Step::default()
        };
        read.end_us = self.timeline.now();
        self.push(read);
        self
    }

    /// Does work that is no step of the plan, and puts it on the timeline.
    pub(super) fn timed<T>(
        &mut self,
        verb: &str,
        output: &str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.timed_by("native", verb, output, work)
    }

    /// The same for work that another engine does.
    pub(super) fn timed_by<T>(
        &mut self,
        engine: &str,
        verb: &str,
        output: &str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let timeline = self.timeline.clone();
        let (result, timed) = timeline.measure(verb, output, engine, || work(self));
        self.push(timed);
        result
    }

    /// Puts a step of the plan on the timeline.
    pub(super) fn note(
        &mut self,
        mut timed: timeline::Step,
        step: &Step,
        ahead: &Ahead<'_, '_>,
        succeeded: bool,
    ) {
        timed.read = self.size_of_inputs(step);
        if succeeded && makes_a_file(&step.action) {
            timed.written = size(&self.path(self.working_name(step.output())));
        }
        note_waiting(&mut timed, ahead);
        let units = ahead::units();
        let read_before = ahead.has_read() && self.last_step.as_ref() != Some(&units);
        if matches!(step.action, Action::Btf { .. }) && read_before {
            timed.waited_for.push(units);
        }
        self.push(timed);
    }

    /// Reads units for types with all threads, as far as they can be read before the types are asked for.
    pub(super) fn read_units(&mut self, ahead: &Ahead<'_, '_>) -> Result<()> {
        let read = || self.jobs.run(|| ahead.read_all());
        let (read, mut timed) = self.timeline.measure(UNITS, PREPARATION.1, "native", read);
        if read? {
            timed.read = Some(ahead.shared.size());
            note_waiting(&mut timed, ahead);
            self.push(timed);
        }
        Ok(())
    }

    /// Steps run one after the other, so one waits for the one before.
    fn push(&mut self, mut step: timeline::Step) {
        let before = self.last_step.replace(step.name());
        step.waited_for.splice(0..0, before);
        self.timeline.push(step);
    }

    /// The sizes of all files that a step reads, if they are known.
    fn size_of_inputs(&self, step: &Step) -> Option<u64> {
        let objects = match &step.action {
            Action::Ld { .. } | Action::Debug { .. } | Action::Btf { linked: Some(_), .. } => {
                self.objects?
            }
            _ => 0,
        };
        let inputs = step.inputs().into_iter();
        let sizes = inputs.map(|input| size(&self.path(self.working_name(input))));
        sizes.sum::<Option<u64>>().map(|made| made + objects)
    }

    /// The size of the objects that every link takes; a thin archive does not tell that of its members.
    pub(super) fn size_of_objects(&self) -> Option<u64> {
        let (config, features) = (&self.tree.config, &self.tree.features);
        if !features.links_single_object(config) {
            return None;
        }
        let (objects, _) = link::kernel_objects(self.call, config, features);
        objects.into_iter().map(|object| size(&self.path(object))).sum()
    }

    /// The sizes of what was made.
    pub(super) fn contents(&self, plan: &Plan) -> Contents {
        let (kallsyms, _) = plan.linked_in();
        let kallsyms = kallsyms.map(|object| self.path(object));
        let [kernel, map] = [&self.needs.output, "System.map"].map(|name| self.path(name));
        Contents::of(&kernel, &map, kallsyms.as_deref())
    }

    /// The link, which is done, as it is also recorded in the tree.
    pub(super) fn recorded(&self, plan: &Plan, contents: Contents, units: Option<Units>) -> Link {
        let link = Link {
            linker: self.tools.get("LD").cloned(),
            pahole: self.pahole_version(),
            output: self.needs.output.clone(),
            schedule: plan.schedule.to_string(),
            warm: plan.start == Start::Warm,
            threads: self.jobs.most(),
            units,
            contents,
            ..self.timeline.finish()
        };
        if self.options.remember
            && let Err(error) = Links::save(link.clone(), &self.tree.dir)
        {
            // The kernel is as good without.
            say::remark(format_args!("vmlinker: the timeline is not recorded: {error}"));
        }
        link
    }

    fn pahole_version(&self) -> Option<String> {
        if !self.needs.btf {
            return None;
        }
        match (self.toolbox.engines.of(Part::Btf), &self.toolbox.btf) {
            (Engine::Native, Some(options)) => Some(options.pahole.to_string()),
            _ => self.tools.get("PAHOLE").cloned(),
        }
    }
}

/// Notes how long the preparation was waited for.
fn note_waiting(timed: &mut timeline::Step, ahead: &Ahead<'_, '_>) {
    // It could have begun when that was waited for.
    let rested = ahead.take_rested();
    timed.start_us = timed.start_us.saturating_sub(rested);
    let waited = (ahead.shared.take_waited() + rested).min(timed.wall_us());
    if waited >= NOTICEABLE {
        timed.blocked_us = waited;
        timed.waited_for.push(timeline::name(PREPARATION.0, PREPARATION.1));
    }
}

/// Whether a step makes a file; others change one in place, or only read.
fn makes_a_file(action: &Action) -> bool {
    !matches!(
        action,
        Action::Btfids { .. }
            | Action::Sorttable { .. }
            | Action::Compare { .. }
            | Action::Verify { .. }
    )
}
