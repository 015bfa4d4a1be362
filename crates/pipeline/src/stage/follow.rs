//! Following a plan, and leaving it for another where sizes are not as expected.
//!
//! A plan says where one pass more may be needed; the plan with that pass begins with the same steps, so the runner goes
//! on with it from where it stands. A warm start begins with steps that may fail, because they depend on sizes that
//! may be others by now; a cold start takes over then, from its own beginning.

use dwarf_btf::ToRemember;

use crate::error::{Error, Result};
use crate::files;
use crate::known::KnownUnits;
use crate::plan::{Action, Plan, Settle, Start, Step};
use crate::process;
use crate::remembered::NewFile;
use crate::say;
use crate::sizes::Sizes;
use crate::strings::KnownStrings;

use super::ahead::Ahead;
use super::inputs::Shared;
use super::{Stage, compare};

/// How far a plan was followed.
enum Followed {
    ToItsEnd(Plan),
    /// What it tried has failed, which says nothing of a cold start.
    Trial,
    /// What was made of hollow links does not count.
    Hollow,
}

impl Stage<'_> {
    /// Does the steps; gives the plan that was followed to its end.
    pub(super) fn follow(&mut self, ahead: &Ahead<'_, '_>) -> Result<Plan> {
        let (start, more_passes) = match self.call.var("KALLSYMS_EXTRA_PASS") {
            "" => (Sizes::start(self.sizes.as_ref(), &self.needs), 0),
            _ => (Start::Cold, 1),
        };
        let mut start = start;
        loop {
            match self.follow_from(start, more_passes, ahead)? {
                Followed::ToItsEnd(plan) => return Ok(plan),
                Followed::Trial => start = Start::Cold,
                // The linker gets other objects now, once and for all.
                Followed::Hollow => {}
            }
        }
    }

    /// Does the steps of one start.
    fn follow_from(
        &mut self,
        start: Start,
        mut more_passes: u32,
        ahead: &Ahead<'_, '_>,
    ) -> Result<Followed> {
        let mut plan = self.plan(start, more_passes);
        let mut at = 0;
        loop {
            // Is all that was made as large as what was linked? If not, the plan with one pass more, which is
            // the same up to here, takes over.
            while let Some(settle) = plan.settle.as_ref().filter(|settle| settle.before == at)
                && !self.settled(settle)?
            {
                more_passes += 1;
                plan = self.plan(start, more_passes);
            }
            let Some(step) = plan.steps.get(at) else { break };
            // The commands of make V=1 stand below their lines, so there is one step at a time.
            let beside = if self.call.verbose() { 0 } else { plan.beside(at) };
            let result = match &plan.steps[at + 1..at + 1 + beside] {
                [] => self.step(step, ahead),
                others => self.steps(step, others, ahead),
            };
            match result {
                Err(_) if self.twin.take_refused() => return Ok(Followed::Hollow),
                Err(_) if step.is_trial() && process::check_interrupt().is_ok() => {
                    return Ok(Followed::Trial);
                }
                result => result.map_err(|error| self.with_sizes(&plan, step, error))?,
            }
            at += 1 + beside;
        }
        Ok(Followed::ToItsEnd(plan))
    }

    /// A failed comparison with the sizes of kallsyms in each pass, if they are not the same: where they go on and off
    /// for ever, no further pass helps.
    fn with_sizes(&self, plan: &Plan, step: &Step, error: Error) -> Error {
        if !matches!(step.action, Action::Compare { .. }) {
            return error;
        }
        let empty = |source: &str| {
            plan.steps.iter().any(|step| {
            matches!(&step.action, Action::Ksyms { output, empty: true, .. } if output == source)
        })
        };
        let objects = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Ksyms { output, empty: false, .. } if output.ends_with(".o") => Some(output),
            Action::As { source, object } if !empty(source) => Some(object),
            _ => None,
        });
        let sizes = compare::sizes(objects.map(|object| self.path(object)));
        if sizes.windows(2).all(|pair| pair[0] == pair[1]) {
            return error;
        }
        let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
        let sizes = sizes.join(", then ");
        error.advise(format!("kallsyms did not settle: {sizes} bytes")).advise(
            "its size changes what is linked: look at the symbols above and the linker script",
        )
    }

    fn plan(&self, start: Start, more_passes: u32) -> Plan {
        Plan::new(&self.needs, self.schedule(), &self.toolbox.engines, start, more_passes)
    }

    /// Whether what was made has the layout of what was linked in, so that all addresses stay true.
    fn settled(&self, settle: &Settle) -> Result<bool> {
        for (linked, made) in &settle.same {
            let (linked, made) = (self.path(linked), self.path(made));
            let same = compare::same_layout(&files::map(&linked)?, &files::map(&made)?);
            if !same.map_err(|error| Error::file(&made, error))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is known of units, if anything is to be remembered.
    pub(super) fn known_units(&self) -> Option<KnownUnits> {
        let super::Options { cold, remember, .. } = self.options;
        let known = if cold { KnownUnits::none() } else { KnownUnits::of(&self.tree.dir) };
        (remember || !known.is_empty()).then_some(known)
    }

    /// Remembers what the units of the kernel that is done have said.
    pub(super) fn remember_units(
        &self,
        (known, new): (Option<ToRemember>, NewFile),
        shared: &Shared<'_>,
    ) {
        let save = || {
            let bytes = known.map(|known| self.jobs.run(|| known.into_bytes(shared))).transpose();
            KnownUnits::save(&self.tree.dir, bytes?.as_deref())
        };
        let saved = if new.is_written() { new.finish() } else { save() };
        if let Err(error) = saved {
            // The next link reads all units, which is no fault of this one.
            say::remark(format_args!("vmlinker: types are not remembered: {error}"));
        }
    }

    /// What is known of strings, if anything is to be remembered.
    pub(super) fn known_strings(&self) -> Option<KnownStrings> {
        let super::Options { cold, remember, .. } = self.options;
        let known = if cold { KnownStrings::default() } else { KnownStrings::load(&self.tree.dir) };
        (remember || !known.is_empty()).then_some(known)
    }

    /// Remembers the strings of the kernel that is done.
    pub(super) fn remember_strings(&self, new: NewFile) {
        if let Err(error) = new.finish() {
            // The next link merges all strings, which is no fault of this one.
            say::remark(format_args!("vmlinker: strings are not remembered: {error}"));
        }
    }

    /// Notes the sizes of what was linked into the kernel that is done, and who has linked it.
    pub(super) fn remember(&self, plan: &Plan) {
        if !self.options.remember {
            return;
        }
        let (kallsyms, btf) = plan.linked_in();
        let [kallsyms, btf] = [kallsyms, btf].map(|name| name.map(|name| self.path(name)));
        let sizes = Sizes::of_objects(kallsyms.as_deref(), btf.as_deref());
        let known = self.sizes.is_some_and(|sizes| sizes.filled_by_linker);
        let sizes = Sizes { filled_by_linker: known || self.twin.is_given(), ..sizes };
        if let Err(error) = sizes.save(&self.tree.dir, &self.needs.output) {
            // The next link starts cold, which is no fault of this one.
            say::remark(format_args!("vmlinker: the sizes are not remembered: {error}"));
        }
        if let Err(error) = self.tree.linker.save() {
            // The next link asks once more.
            say::remark(format_args!("vmlinker: the linker is not remembered: {error}"));
        }
    }
}
