//! Running a recorded link again, by vmlinker or by the tree's own script.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::call::Call;
use crate::error::{Error, Result};
use crate::jobs::Jobs;
use crate::plan::{DEBUG_FILE, EngineRequest};
use crate::record::Record;
use crate::shadow::Shadow;
use crate::stage::{Options, Stage};
use crate::timeline::{Link, Step, Timeline};
use crate::toolbox::Toolbox;
use crate::tree::Tree;
use crate::{files, process, say};

/// Ending of a kernel's debug information, if it is in a file of its own.
const DEBUG: &str = ".debug";

/// Who links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linker {
    /// The tree's own `link-vmlinux.sh`.
    Script,
    /// vmlinker, with these engines.
    Vmlinker(EngineRequest),
}

/// A recorded link to be run again.
#[derive(Debug, Clone)]
pub struct Relink {
    /// The object tree.
    pub build: PathBuf,
    /// Where the kernel goes; System.map goes beside it as `FILE.System.map`, and debug information
    /// that is not to be in it as `FILE.debug`. Without it the tree's own
    /// files are made anew.
    pub output: Option<PathBuf>,
    /// Who links.
    pub linker: Linker,
    /// How vmlinker links.
    pub options: Options,
    /// The linker in place of the recorded one, for either way to link; may be several words.
    pub ld: Option<String>,
}

impl Relink {
    /// Runs the link; gives its timeline.
    ///
    /// # Errors
    /// No record, or whatever the link fails with. An existing output stays as it was then.
    pub fn run(&self, jobs: &Jobs) -> Result<Link> {
        let timeline = Timeline::start();
        let mut record = Record::load(&self.build)?;
        let tree = Tree::open(&record.call.dir, &record.call.srctree())?;
        let tree = if self.options.cold { tree.never_linked() } else { tree };
        if let Some(ld) = &self.ld {
            record.call.ld.clone_from(ld);
            let version = tree.linker.get(ld).unwrap_or_else(|| ld.clone());
            record.tools.insert("LD".to_string(), version);
        }
        if !self.options.keep_timestamp {
            renew_timestamp(&record.call)?;
        }
        let Some(output) = &self.output else {
            return self.link(&record, &tree, jobs, timeline);
        };
        let shadow = Shadow::new(&record.call.dir, output)?;
        let place = record.call.dir.clone();
        record.call = record.call.moved_to(shadow.dir());
        if tree.config.has("AS_IS_LLVM") {
            // clang's assembler notes where it runs.
            let flags = record.call.env.entry("KBUILD_AFLAGS".to_string()).or_default();
            *flags += &format!(" -fdebug-compilation-dir={}", place.display());
        }
        let result = self.link(&record, &tree, jobs, timeline).and_then(|link| {
            take_results(&record.call, &tree, output)?;
            Ok(link)
        });
        match result {
            Err(error) if error.keep_files => {
                let kept = shadow.keep();
                Err(error.advise(format!("the temporary files are in {}", kept.display())))
            }
            other => other,
        }
    }

    fn link(&self, record: &Record, tree: &Tree, jobs: &Jobs, timeline: Timeline) -> Result<Link> {
        let call = &record.call;
        match &self.linker {
            Linker::Script => {
                run_script(call, tree, &timeline)?;
                let tool = |name: &str| record.tools.get(name).cloned();
                let (linker, pahole) = (tool("LD"), tool("PAHOLE"));
                let (schedule, memory) = ("script".to_string(), None);
                Ok(Link { linker, pahole, schedule, memory, threads: 1, ..timeline.finish() })
            }
            Linker::Vmlinker(request) => {
                let mut toolbox = Toolbox::new(tree, Some(call), request)?;
                toolbox.tell_fallbacks();
                let Options { schedule, debug_info, .. } = self.options;
                let schedule = Some(toolbox.schedule(tree, Some(call), schedule, debug_info)?);
                let options = Options { schedule, keep_timestamp: true, ..self.options };
                let stage = Stage::new(call, tree, &toolbox, jobs, options);
                // Debuggers look for the file beside the kernel.
                let own = self.output.as_deref().and_then(|output| {
                    Some(beside(output, DEBUG).file_name()?.to_string_lossy().into_owned())
                });
                let stage = stage.with_debug_name(own.unwrap_or_else(|| DEBUG_FILE.to_string()));
                stage.timed_from(timeline, record.tools.clone()).run()
            }
        }
    }
}

/// Compiles `init/version-timestamp.o` anew, through the tree's own top Makefile.
fn renew_timestamp(call: &Call) -> Result<()> {
    let mut make = process::command("make", &call.dir);
    let result = process::run(make.args(["--no-print-directory", "init/version-timestamp.o"]));
    result.map_err(|error| error.in_step("MAKE init/version-timestamp.o"))
}

/// Runs the kernel's own script. It begins a step with a line, so the lines tell the times.
fn run_script(call: &Call, tree: &Tree, timeline: &Timeline) -> Result<()> {
    let shell = call.tool("CONFIG_SHELL")?.0;
    let mut command = process::command(shell, &call.dir);
    command.arg(&tree.script).args([&call.ld, &call.ldflags, &call.ldflags_vmlinux]);
    command.args(&call.output).envs(&call.env);
    // The script's only use of make is to renew the time stamp, which has been seen to.
    command.env("MAKE", "true");
    let mut step: Option<Step> = None;
    let end_step = |step: &mut Option<Step>| {
        if let Some(step) = step.take() {
            timeline.push(Step { end_us: timeline.now(), ..step });
        }
    };
    let mut told = Ok(());
    let result = process::run_reading(&mut command, |stdout| {
        for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
            // Keep reading if nobody listens any more: the script would wait for ever.
            told = std::mem::replace(&mut told, Ok(())).and_then(|()| say::line(&line));
            let mut words = line.split_whitespace();
            if let (true, Some(verb), Some(output)) =
                (line.starts_with("  "), words.next(), words.next())
            {
                let waited_for = step.iter().map(Step::name).collect();
                end_step(&mut step);
                let (verb, output) = (verb.to_string(), output.to_string());
                let (engine, start_us) = ("script".to_string(), timeline.now());
                step = Some(Step { verb, output, engine, start_us, waited_for, ..Step::default() });
            }
        }
    });
    end_step(&mut step);
    result.and(told).map_err(|error| error.in_step("link-vmlinux.sh"))
}

/// The name of `output` with this ending.
fn beside(output: &Path, ending: &str) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Moves what the link made out of the shadow.
fn take_results(call: &Call, tree: &Tree, output: &Path) -> Result<()> {
    let needs = tree.features.needs(&tree.config, call.output.as_deref());
    let others = [("System.map", ".System.map"), ("vmlinux.map", ".map"), (DEBUG_FILE, DEBUG)];
    for (made, ending) in others {
        let from = call.dir.join(made);
        if from.exists() {
            files::rename(&from, &beside(output, ending))?;
        }
    }
    let kernel = call.dir.join(&needs.output);
    if !kernel.exists() {
        return Err(Error::file(&kernel, "the link succeeded but made no kernel")
            .advise("does the tree's own link-vmlinux.sh write this name?"));
    }
    files::rename(&kernel, output)
}
