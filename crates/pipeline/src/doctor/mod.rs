//! What a link of a tree would do, and what would stop it, without linking.
//!
//! [`examine`] asks the same values that a link is made of ([`Tree`], [`Toolbox`], [`Plan`], [`Sizes`], the record of
//! the last call) and says what they say, with what a person can do about it. Nothing is decided here: where the
//! report says that a step falls back to the kernel's tool, a link decides so for the same reason.
//!
//! Cost: the headers of `vmlinux.o` and the versions of linker and pahole, some 10 ms.

mod findings;
mod place;
mod programs;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use crate::call::Call;
use crate::error::Error;
use crate::files;
use crate::plan::{DebugInfo, EngineRequest, Needs, Plan, Schedule};
use crate::record::{RECORD, Record};
use crate::sizes::Sizes;
use crate::toolbox::Toolbox;
use crate::tree::{Tree, sources_of};

/// How a link is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The engines.
    pub engines: EngineRequest,
    /// The schedule.
    pub schedule: Option<Schedule>,
    /// Whether remembered sizes are left unused.
    pub cold: bool,
    /// Whether the finished kernel is to be looked at once more.
    pub verify: bool,
    /// Where debug information goes.
    pub debug_info: DebugInfo,
}

/// What a finding means for a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A link works, but slower, or otherwise than one may expect.
    Note,
    /// A link would fail.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it means.
    pub level: Level,
    /// What was looked at, in a word.
    pub about: &'static str,
    /// What was found.
    pub what: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What is known of a tree.
#[derive(Debug, Clone)]
pub struct Report {
    /// The object tree.
    pub build: PathBuf,
    /// The kernel's release.
    pub release: Option<String>,
    /// What was found, in the order in which a link comes to it.
    pub findings: Vec<Finding>,
    /// What a link would do; `None` if that cannot be said.
    pub plan: Option<Plan>,
}

impl Report {
    /// Whether a link would work, as far as can be seen without one.
    pub fn works(&self) -> bool {
        self.problems() == 0
    }

    fn problems(&self) -> usize {
        self.findings.iter().filter(|finding| finding.level == Level::Problem).count()
    }

    /// The report for people: a line for each finding, with what to do under it.
    pub fn text(&self) -> String {
        let mut text = self.build.display().to_string();
        if let Some(release) = &self.release {
            text += &format!(": Linux {release}");
        }
        text.push('\n');
        for Finding { level, about, what, next } in &self.findings {
            let level = match level {
                Level::Ok => "ok",
                Level::Note => "note",
                Level::Problem => "problem",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {level:<8} {about:<10} {what}");
            if let Some(next) = next {
                let _ = writeln!(text, "  {:<19} -> {next}", "");
            }
        }
        text += &match self.problems() {
            0 => "A link would work.\n".to_string(),
            1 => "A link would fail: there is a problem.\n".to_string(),
            count => format!("A link would fail: there are {count} problems.\n"),
        };
        text
    }

    /// The report for programs.
    pub fn json(&self) -> Value {
        json!({
            "vmlinker": env!("CARGO_PKG_VERSION"),
            "build": self.build,
            "release": self.release,
            "works": self.works(),
            "findings": self.findings,
            "plan": self.plan.as_ref().map(Plan::json),
        })
    }

    fn add(&mut self, level: Level, about: &'static str, what: impl Into<String>) {
        self.findings.push(Finding { level, about, what: what.into(), next: None });
    }

    fn ok(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(Level::Ok, about, what);
    }

    fn note(&mut self, about: &'static str, what: impl Into<String>) -> &mut Self {
        self.add(Level::Note, about, what);
        self
    }

    fn problem(&mut self, about: &'static str, what: impl Into<String>) -> &mut Self {
        self.add(Level::Problem, about, what);
        self
    }

    /// What to do about the last finding.
    fn next(&mut self, next: impl Into<String>) {
        if let Some(last) = self.findings.last_mut() {
            last.next = Some(next.into());
        }
    }
}

/// A tree with what a link of it knows.
struct Patient<'a> {
    tree: &'a Tree,
    call: Option<&'a Call>,
    toolbox: Toolbox,
    needs: Needs,
    plan: Plan,
    /// Why the schedule is not lean, if it was to be.
    not_lean: Option<String>,
}

/// Looks at the object tree `build`: what would a link do that is asked for like this?
pub fn examine(build: &Path, request: &Request) -> Report {
    let release = files::read_text(&build.join("include/config/kernel.release")).ok();
    let release = release.map(|release| release.trim().to_string());
    let mut report =
        Report { build: build.to_path_buf(), release, findings: Vec::new(), plan: None };
    let sources = sources_of(build).inspect(|srctree| report.installation(srctree));
    let tree = match sources.and_then(|srctree| Tree::open(build, &srctree)) {
        Ok(tree) => tree,
        Err(error) => {
            report.problem("tree", error.to_string());
            error.advice.first().into_iter().for_each(|advice| report.next(advice.clone()));
            return report;
        }
    };
    let record = report.record(&tree);
    let call = record.as_ref().map(|record| &record.call);
    if let Some(patient) = patient(&tree, call, request, &mut report) {
        report.look_at(&patient);
        report.plan = Some(patient.plan);
    }
    report
}

/// What a link would work with; `None`, and a problem is reported, if there can be none.
fn patient<'a>(
    tree: &'a Tree,
    call: Option<&'a Call>,
    request: &Request,
    report: &mut Report,
) -> Option<Patient<'a>> {
    let mut failed = |about: &'static str, error: Error| {
        report.problem(about, error.to_string());
        error.advice.first().into_iter().for_each(|advice| report.next(advice.clone()));
    };
    let toolbox = Toolbox::new(tree, call, &request.engines);
    let mut toolbox = toolbox.map_err(|error| failed("engines", error)).ok()?;
    let Request { schedule, verify, debug_info, .. } = *request;
    let chosen = toolbox.choose_schedule(tree, call, schedule, debug_info);
    let (schedule, not_lean) = chosen.map_err(|error| failed("schedule", error)).ok()?;
    let output = call.and_then(|call| call.output.as_deref());
    let needs = tree.features.needs(&tree.config, output.or(tree.features.default_output()));
    let needs = Needs { verify, debug_info, ..needs };
    let known = Sizes::load(&tree.dir, &needs.output).filter(|_| !request.cold);
    let needs = Sizes::needed(known.as_ref(), needs);
    let start = Sizes::start(known.as_ref(), &needs);
    let plan = Plan::new(&needs, schedule, &toolbox.engines, start, 0);
    Some(Patient { tree, call, toolbox, needs, plan, not_lean })
}

impl Report {
    /// The record of the last link, if this release can read it.
    fn record(&mut self, tree: &Tree) -> Option<Record> {
        if !tree.dir.join(RECORD).exists() {
            let what = "no link has been recorded: the linker and its flags are not known yet";
            self.note("record", what);
            self.next("link once with vmlinker (make, after vmlinker install), then look again");
            return None;
        }
        match Record::load(&tree.dir) {
            Ok(record) => {
                self.ok("record", format!("{RECORD}, by vmlinker {}", record.vmlinker));
                if !record.call.srctree().join("Makefile").exists() {
                    let gone = record.call.srctree();
                    let what = format!("it names sources that are gone: {}", gone.display());
                    self.note("record", what);
                    self.next("link once through make; until then vmlinker relink fails");
                }
                Some(record)
            }
            Err(error) => {
                self.note("record", error.to_string());
                self.next("remove it; the next link by make writes another");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
