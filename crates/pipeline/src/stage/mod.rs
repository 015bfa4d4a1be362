//! Running a plan.
//!
//! [`Stage::run`] is the whole final link, top to bottom. It executes the steps of a [`Plan`], each
//! with the engine that the plan names, in the object tree and with the file names of the kernel's own
//! script. The kernel itself is linked under a temporary name and gets its real name last of all, so
//! that at no moment, not even when everything is killed, does a half-made `vmlinux` exist.

mod ahead;
mod apart;
mod btf;
mod compare;
mod debug;
mod follow;
mod hollow;
mod inputs;
mod kernel;
pub(crate) mod link;
mod native;
mod old;
mod timed;
mod types;
mod verify;
mod witness;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use dwarf_btf::Memory;
use image::Elf;

use crate::call::Call;
use crate::cost;
use crate::error::{Error, Result};
use crate::faults::{self, Doomed};
use crate::features::BtfRecipe;
use crate::files;
use crate::jobs::Jobs;
use crate::lock::Lock;
use crate::plan::{Action, DEBUG_FILE, DebugInfo, Engine, Needs, Part, Schedule, Step};
use crate::process;
use crate::remembered::{self, NewFiles};
use crate::say;
use crate::sizes::Sizes;
use crate::timeline::{self, Link, Timeline};
use crate::toolbox::Toolbox;
use crate::tree::Tree;

use ahead::{Ahead, Remember};
use hollow::Twin;
use inputs::Shared;
use old::OldKernel;

pub use hollow::HOLLOW;
pub use old::OLD;

pub use apart::UNFINISHED_DEBUG;

/// Name of the kernel until it is finished.
pub const UNFINISHED: &str = ".tmp_vmlinux.unfinished";

/// What could be taken for a result of a link that failed.
const RESULTS: [&str; 4] = [UNFINISHED, UNFINISHED_DEBUG, DEBUG_FILE, "System.map"];

/// How to link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The schedule, as [`Toolbox::schedule`] has it; the tree's own if not given.
    pub schedule: Option<Schedule>,
    /// Leave `init/version-timestamp.o` as it is, so that two links can be compared.
    pub keep_timestamp: bool,
    /// Link as if this tree had never been linked: what is remembered of its sizes is not used.
    pub cold: bool,
    /// Remember the sizes in the tree for its next link; with `cold`, forget the old ones first.
    pub remember: bool,
    /// Make everything that was filled in once more, out of the finished kernel, and compare.
    pub verify: bool,
    /// Where debug information goes; only the lean schedule can do other than keep it.
    pub debug_info: DebugInfo,
}

/// One final link: what it works on, and how far it is.
pub struct Stage<'a> {
    call: &'a Call,
    tree: &'a Tree,
    toolbox: &'a Toolbox,
    jobs: &'a Jobs,
    options: Options,
    needs: Needs,
    /// The name by which the kernel knows the file of its debug information.
    debug_name: String,
    /// The sizes that the last link of this tree ended with.
    sizes: Option<Sizes>,
    timeline: Arc<Timeline>,
    /// The step that ended last.
    last_step: Option<String>,
    /// Size of the objects that all links take, in bytes, where it is known.
    objects: Option<u64>,
    /// The object that the linker gets where contents are not needed.
    twin: Twin,
    /// The versions of the tools, by their variables.
    tools: BTreeMap<String, String>,
}

impl<'a> Stage<'a> {
    /// A link of `tree` as `call` asks for it, with the engines of `toolbox`.
    pub fn new(
        call: &'a Call,
        tree: &'a Tree,
        toolbox: &'a Toolbox,
        jobs: &'a Jobs,
        options: Options,
    ) -> Self {
        let needs = tree.features.needs(&tree.config, call.output.as_deref());
        let Options { verify, debug_info, .. } = options;
        let needs = Needs { verify, debug_info, ..needs };
        let known = || Sizes::load(&tree.dir, &needs.output);
        let sizes = if options.cold { None } else { known() };
        let needs = Sizes::needed(sizes.as_ref(), needs);
        Stage {
            call,
            tree,
            toolbox,
            jobs,
            options,
            needs,
            debug_name: DEBUG_FILE.to_string(),
            sizes,
            timeline: Arc::new(Timeline::start()),
            last_step: None,
            objects: None,
            twin: Twin::new(call.dir.join(HOLLOW)),
            tools: BTreeMap::new(),
        }
    }

    /// The same with a kernel that knows the file of its debug information, if it has one, by this name.
    pub fn with_debug_name(self, debug_name: String) -> Self {
        Stage { debug_name, ..self }
    }

    /// Links the kernel; its timeline is recorded in the tree if sizes are remembered there.
    ///
    /// # Errors
    /// The first step that fails; no `vmlinux` is left then, and none of the temporary files is
    /// removed that tell why.
    pub fn run(mut self) -> Result<Link> {
        let _lock = Lock::take(&self.call.dir)
            .map_err(|error| error.in_step(format!("LD {}", self.needs.output)))?;
        let doomed = RESULTS.into_iter().chain([OLD, HOLLOW]);
        let _doomed: Vec<Doomed> = doomed.map(|name| Doomed::new(self.path(name))).collect();
        let result = self.run_steps();
        if result.as_ref().is_err_and(|error| !error.keep_files) {
            // Nothing that could be taken for a result; its absence is all that matters here.
            for unfinished in RESULTS {
                let _ = files::remove(&self.path(unfinished));
            }
        }
        result
    }

    fn run_steps(&mut self) -> Result<Link> {
        // From here on there is no vmlinux until a whole one can take the name.
        let last_link = format!("LD {}", self.needs.output);
        let output = self.path(&self.needs.output);
        let lean = self.schedule() == Schedule::Lean;
        let old = self.timed("RM", &self.needs.output.clone(), |stage| match lean {
            true => OldKernel::take(&output, stage.path(OLD)),
            false => files::remove(&output).map(|()| None),
        });
        let old = old.and_then(|old| self.remove_debug_files().map(|()| old));
        let old = old.map_err(|error| error.in_step(&last_link))?;
        self.version_timestamp()?;
        self.update_tracepoints()?;
        let objects = self.timed("OPEN", "vmlinux.o", |stage| {
            stage.check_inputs()?;
            let witness = stage.witness()?;
            Ok((if lean { stage.own_objects()? } else { Vec::new() }, witness))
        });
        let (objects, witness) = objects.map_err(|error| error.in_step(&last_link))?;

        if self.options.cold && self.options.remember {
            let forgotten = remembered::forget(&self.tree.dir);
            forgotten.map_err(|error| error.in_step(&last_link))?;
        }

        let strings = self.known_strings().filter(|_| lean);
        let shared = Shared::new(&objects, self.followed_linker(), old, strings);
        self.objects = if lean { Some(shared.size()) } else { self.size_of_objects() };
        let toolbox = self.toolbox;
        let types = lean && self.needs.btf && toolbox.engines.of(Part::Btf) == Engine::Native;
        let (memory, types) = (Memory::default(), toolbox.btf.as_ref().filter(|_| types));
        let known = types.and_then(|_| self.known_units());
        let new_files = self.options.remember.then(|| NewFiles::of(&self.tree.dir));
        let mut ahead = Ahead::new(&shared, &memory, types, known.as_ref(), new_files);
        let (jobs, timeline) = (self.jobs, self.timeline.clone());
        let plan = std::thread::scope(|scope| {
            let _over = lean.then(|| ahead.start(scope, jobs, timeline));
            self.follow(&ahead)
        })?;
        let Remember { known: to_remember, units } = ahead.take_remembered();
        let contents = self.timed("SAVE", &self.needs.output.clone(), |stage| {
            witness.check()?;
            // Sizes stable, addresses final, tables filled: this is the kernel.
            stage.publish()?;
            stage.remember(&plan);
            ahead.write_strings();
            if let Some(NewFiles { types, strings }) = ahead.take_new_files() {
                if known.is_some() {
                    stage.remember_units((to_remember, types), &shared);
                }
                stage.remember_strings(strings);
            }
            Ok(stage.contents(&plan))
        });
        let contents = contents.map_err(|error| error.in_step(last_link))?;
        Ok(self.recorded(&plan, contents, units))
    }

    fn schedule(&self) -> Schedule {
        self.options.schedule.unwrap_or(self.tree.features.schedule)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.call.dir.join(name)
    }

    /// The name under which `image` exists while the link runs.
    fn working_name<'s>(&self, image: &'s str) -> &'s str {
        if image == self.needs.output { UNFINISHED } else { image }
    }

    fn step(&mut self, step: &Step, ahead: &Ahead<'_, '_>) -> Result<()> {
        process::check_interrupt()?;
        let name = format!("{} {}", step.verb(), step.output());
        if !matches!(step.action, Action::Compare { .. }) {
            say::line(step.line()).map_err(|error| error.in_step(&name))?;
        }
        faults::in_step(&name);
        ahead.rest();
        let (verb, output, engine) = (step.verb(), step.output(), step.engine_name());
        let (result, timed) =
            self.timeline.measure(verb, output, engine, || self.execute(step, ahead));
        self.note(timed, step, ahead, result.is_ok());
        result.map_err(|error| error.in_step(name))
    }

    /// Does a step, and others beside it one after the other, in the same threads.
    fn steps(&mut self, step: &Step, others: &[Step], ahead: &Ahead<'_, '_>) -> Result<()> {
        process::check_interrupt()?;
        let named = |step: &Step| format!("{} {}", step.verb(), step.output());
        for step in std::iter::once(step).chain(others) {
            say::line(step.line()).map_err(|error| error.in_step(named(step)))?;
        }
        faults::in_step(&named(step));
        ahead.rest();
        if matches!(step.action, Action::Btf { .. }) {
            // Much of what is left of types then is for one thread, and the others have time.
            self.read_units(ahead).map_err(|error| error.in_step(named(step)))?;
        }
        let stage = &*self;
        let done = |step: &Step| {
            let (verb, output, engine) = (step.verb(), step.output(), step.engine_name());
            let (result, timed) =
                stage.timeline.measure(verb, output, engine, || stage.execute(step, ahead));
            (result.map_err(|error| error.in_step(named(step))), timed)
        };
        let in_turn = || {
            let mut all = Vec::new();
            for step in others {
                all.push(done(step));
                if all.last().is_some_and(|(result, _)| result.is_err()) {
                    break;
                }
            }
            all
        };
        let (both, cost) = cost::of(|| stage.jobs.run(|| rayon::join(|| done(step), in_turn)));
        let ((first, mut timed), rest) = both?;
        // Threads go from one to the other, so only what all took together is known.
        (timed.cpu_us, timed.threads) = (Some(timeline::micros(cost.cpu)), Some(cost.threads));
        let before = self.last_step.clone();
        self.note(timed, step, ahead, first.is_ok());
        let first_done = std::mem::replace(&mut self.last_step, before);
        let mut result = first;
        for ((done, timed), step) in rest.into_iter().zip(others) {
            let timed = timeline::Step { cpu_us: None, threads: None, beside: true, ..timed };
            self.note(timed, step, ahead, done.is_ok());
            result = result.and(done);
        }
        self.last_step = first_done;
        result
    }

    fn execute(&self, step: &Step, ahead: &Ahead<'_, '_>) -> Result<()> {
        use Engine::{Kernel, Native};
        let result = match (&step.action, step.engine) {
            (
                Action::Ld {
                    image,
                    kallsyms,
                    btf,
                    strip_debug,
                    map,
                    relocations,
                    hollow,
                    build_id,
                    trial,
                },
                _,
            ) => {
                let link = link::Link {
                    kallsyms: kallsyms.as_deref(),
                    btf: btf.as_deref(),
                    strip_debug: *strip_debug,
                    map: map.as_deref(),
                    relocations: *relocations,
                    reserves_id: (!build_id).then(|| self.followed_linker()),
                    ..self.link_of(image)
                };
                let run = || match *hollow && self.link_hollow(&link, ahead.shared)? {
                    true => Ok(()),
                    false if *trial => self.try_link(&link),
                    false => self.link(&link),
                };
                ahead.beside(self.last_step.clone(), run)
            }
            (Action::Debug { image, stripped, map, kallsyms, btf, debug_info }, _) => {
                let step = debug::Debug {
                    image: self.working_name(image),
                    name: image,
                    stripped,
                    map,
                    kallsyms: kallsyms.as_ref(),
                    btf: btf.as_ref(),
                    info: *debug_info,
                };
                self.put_debug_in(&step, ahead.shared)
            }
            (Action::Sizes { object, of: Part::Kallsyms }, _) => self.kallsyms_room(object),
            (Action::Sizes { object, .. }, _) => self.btf_room(object),
            (Action::Ksyms { map, output, empty }, engine) => {
                if *empty {
                    files::write(&self.path(map), b"")?;
                }
                match engine {
                    Native => self.native_kallsyms(map, output),
                    Kernel => self.kernel_kallsyms(map, output),
                }
            }
            (Action::As { source, object }, _) => self.assemble(source, object),
            (Action::Btf { image, linked, object, encoder, .. }, Native) => {
                self.native_btf_object(image, object, *encoder, linked.as_ref(), ahead)
            }
            (Action::Btf { image, object, .. }, Kernel) => self.kernel_btf_object(image, object),
            (Action::Nm { image, map }, Native) => self.native_map(self.working_name(image), map),
            (Action::Nm { image, map }, Kernel) => self.kernel_map(self.working_name(image), map),
            (Action::Btfids { image, btf_image }, Native) => {
                self.native_btf_ids(self.working_name(image), btf_image)
            }
            (Action::Btfids { image, btf_image }, Kernel) => {
                self.kernel_btf_ids(self.working_name(image), btf_image)
            }
            (Action::Sorttable { image }, Native) => self.native_sort(self.working_name(image)),
            (Action::Sorttable { image }, Kernel) => self.kernel_sort(self.working_name(image)),
            (Action::Compare { map, last }, _) => self.compare(map, last),
            (Action::Verify { image, btf_image }, _) => {
                self.verify(self.working_name(image), btf_image.as_deref())
            }
        };
        result.map_err(|error| with_kernels_words(&step.action, error))
    }

    /// Rebuilds `init/version-timestamp.o`: the kernel's version string holds the time of this link.
    fn version_timestamp(&mut self) -> Result<()> {
        if self.options.keep_timestamp {
            return Ok(());
        }
        let (make, arguments) = self.call.tool("MAKE")?;
        let mut command = process::command(make, &self.call.dir);
        command.args(arguments).arg("-f").arg(self.in_srctree("scripts/Makefile.build"));
        command.args(["obj=init", "init/version-timestamp.o"]);
        let stamp = "init/version-timestamp.o";
        let result =
            self.timed_by("kernel", "MAKE", stamp, |stage| stage.run_command(&mut command));
        result.map_err(|error| error.in_step("MAKE init/version-timestamp.o"))
    }

    fn update_tracepoints(&self) -> Result<()> {
        let wanted = self.call.var("WARN_ON_UNUSED_TRACEPOINTS").contains('1');
        if !wanted || !self.tree.features.tracepoint_update {
            return Ok(());
        }
        let program = format!("{}/scripts/tracepoint-update", self.call.var("objtree"));
        let mut command = process::command(&program, &self.call.dir);
        self.run_command(command.arg("vmlinux.o"))
    }

    /// Looks at what the linker is about to read, so that a missing or damaged file is named here and
    /// not after minutes.
    fn check_inputs(&self) -> Result<()> {
        let (call, tree) = (self.call, self.tree);
        let (objects, libs) = link::kernel_objects(call, &tree.config, &tree.features);
        let arch = link::arch_object(call, &tree.config, &tree.features);
        for name in objects.iter().chain(&libs).copied().chain(arch.as_deref()) {
            files::map(&self.path(name))?;
        }
        let kernel = self.path("vmlinux.o");
        let bytes = files::map(&kernel)?;
        let elf = Elf::parse(&bytes).map_err(|error| Error::file(&kernel, error))?;
        for section in elf.sections() {
            elf.bytes(section).map_err(|error| Error::file(&kernel, error))?;
        }
        self.check_machine(&elf)
    }

    /// `init/version-timestamp.o` was compiled a moment ago, so it is of the kernel's own machine.
    fn check_machine(&self, kernel: &Elf<'_>) -> Result<()> {
        let stamp = files::map(&self.path("init/version-timestamp.o"))?;
        // With LTO it is the compiler's own format and says nothing.
        let Ok(stamp) = Elf::parse(&stamp) else { return Ok(()) };
        let kind = |elf: &Elf<'_>| (elf.class(), elf.endian(), elf.header().machine);
        if kind(kernel) == kind(&stamp) {
            return Ok(());
        }
        let describe = |elf: &Elf<'_>| {
            format!("{:?} {:?}-endian machine {}", elf.class(), elf.endian(), elf.header().machine)
        };
        let (found, wanted) = (describe(kernel), describe(&stamp));
        let cause = format!("{found}, but init/version-timestamp.o is {wanted}");
        Err(Error::file(self.path("vmlinux.o"), cause)
            .advise("was the tree built for another ARCH?"))
    }

    /// A link of `image`, the final one under its temporary name, as the tree does it.
    fn link_of<'s>(&self, image: &'s str) -> link::Link<'s> {
        let output = self.working_name(image);
        link::Link { name: image, output, last: output == UNFINISHED, ..link::Link::default() }
    }

    /// Runs the linker.
    fn link(&self, link: &link::Link<'_>) -> Result<()> {
        self.run_command(&mut self.linker(link)?)?;
        let tree = self.tree;
        match link::map_file(link, &tree.config, &tree.features) {
            Some(map) if link.last => self.rename_in_map(&map, link.name),
            _ => Ok(()),
        }
    }

    /// Runs the linker; what it complains of is heard only if it succeeds. Otherwise it will say so again.
    fn try_link(&self, link: &link::Link<'_>) -> Result<()> {
        let (result, said) = self.link_hushed(link)?;
        if result.is_ok() {
            say::passed_on(&said);
        }
        result
    }

    /// Runs the linker; what it complains of is not heard, but given.
    fn link_hushed(&self, link: &link::Link<'_>) -> Result<(Result<()>, Vec<u8>)> {
        let mut command = self.linker(link)?;
        command.envs(&self.call.env);
        self.show_command(&command);
        Ok(process::run_hushed(&mut command))
    }

    fn linker(&self, link: &link::Link<'_>) -> Result<Command> {
        let (call, tree) = (self.call, self.tree);
        let words = link::command_line(link, call, &tree.config, &tree.features)?;
        let (program, arguments) =
            words.split_first().ok_or_else(|| Error::new("no linker is named"))?;
        let mut command = process::command(program, &call.dir);
        command.args(arguments);
        Ok(command)
    }

    /// GNU ld's map names the output file; it has to name the file as it will be called.
    fn rename_in_map(&self, map: &str, image: &str) -> Result<()> {
        let path = self.path(map);
        let text = files::read_text(&path)?;
        let renamed =
            text.replacen(&format!("OUTPUT({UNFINISHED} "), &format!("OUTPUT({image} "), 1);
        files::write(&path, renamed.as_bytes())
    }

    /// Compares System.map with the list that kallsyms was made of.
    fn compare(&self, map: &str, last: &str) -> Result<()> {
        let (map, last) = (files::read(&self.path(map))?, files::read(&self.path(last))?);
        if map == last {
            return Ok(());
        }
        let differences = compare::differences(&compare::parse(&last)?, &compare::parse(&map)?);
        let mut error = Error::new("the linked kernel's symbols are not those that kallsyms holds");
        error.advice.extend(compare::INCONSISTENT.map(str::to_string));
        let kept = format!("these symbols differ; {UNFINISHED} and the other files are kept:");
        error.advice.push(kept);
        error.advice.extend(differences);
        error.keep_files = true;
        Err(error)
    }

    /// The finished kernel takes its name; make learns what it depends on.
    fn publish(&self) -> Result<()> {
        let output = &self.needs.output;
        let depends = format!("{output}: {}\n", self.call.script);
        files::write(&self.path(&format!(".{output}.d")), depends.as_bytes())?;
        if self.needs.debug_info == DebugInfo::Separate {
            files::rename(&self.path(UNFINISHED_DEBUG), &self.path(DEBUG_FILE))?;
        }
        files::rename(&self.path(UNFINISHED), &self.path(output))
    }

    fn in_srctree(&self, file: &str) -> String {
        format!("{}/{file}", self.call.var("srctree"))
    }

    /// Runs a command, printed first with `make V=1`.
    fn run_command(&self, command: &mut Command) -> Result<()> {
        command.envs(&self.call.env);
        self.show_command(command);
        process::run(command)
    }

    fn show_command(&self, command: &Command) {
        if self.call.verbose() {
            say::remark(format_args!("+ {}", process::shell_line(command)));
        }
    }

    /// With `make V=1`, the command that does by itself what a native step does.
    fn show_native(&self, words: &[&str]) {
        if self.call.verbose() {
            let quoted: Vec<String> = words.iter().map(|word| process::quote(word)).collect();
            say::remark(format_args!("+ vmlinker {}", quoted.join(" ")));
        }
    }

    fn detached_btf(&self) -> bool {
        self.tree.features.btf == BtfRecipe::Detached
    }
}

/// What the kernel's script says when a step fails, and the status with which it ends then. An
/// interrupt is no fault of the step's.
fn with_kernels_words(action: &Action, error: Error) -> Error {
    let words: &[&str] = match action {
        _ if process::check_interrupt().is_err() => return error,
        Action::Btf { .. } => {
            &["Failed to generate BTF for vmlinux", "Try to disable CONFIG_DEBUG_INFO_BTF"]
        }
        Action::Sorttable { .. } => &["Failed to sort kernel tables"],
        _ => return error,
    };
    words.iter().fold(error.with_status(1), |error, line| error.advise(*line))
}
