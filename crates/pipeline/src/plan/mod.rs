//! The plan of a link: a list of steps, as data.
//!
//! [`Plan::new`] is a pure function of what to build ([`Needs`]), the schedule, the engines, what is known of
//! sizes ([`Start`]) and the number of kallsyms passes. Printing a plan and running a link use the same value.
//!
//! Three schedules are known. All make the same bytes; they differ in how many kernels are linked on the
//! way, and with or without debug information:
//!
//! ```text
//! separate  LD .tmp_vmlinux.btf -> BTF;  LD .tmp_vmlinux.kallsyms1, 2 -> KSYMS;  LD vmlinux
//! merged    LD .tmp_vmlinux1 -> BTF, KSYMS;  LD .tmp_vmlinux2 -> KSYMS;          LD vmlinux
//! lean      LD .tmp_vmlinux1 -> BTF, KSYMS;  LD .tmp_vmlinux2 -> KSYMS;          DEBUG vmlinux
//! lean, warm        SIZES;  LD .tmp_vmlinux2 -> BTF, KSYMS;                       DEBUG vmlinux
//! ```
//!
//! The last step of the lean ones is another if debug information is not to be in the kernel ([`DebugInfo`]).
//! In the lean schedules the types are read out of the debug information of the kernel's objects; who needs a kernel
//! with it (pahole, the kernel's `resolve_btfids`) gets one by another step, DEBUG .tmp_vmlinux1.
//!
//! Why links repeat at all: kallsyms and BTF are made from a linked kernel and then linked into it.
//! The first kallsyms table has the right size; the kernel linked with it has final addresses; the
//! table made of that one has the final contents. Where both sizes are known from an earlier link
//! ([`Start::Warm`]), the first kernel has final addresses, and nothing is linked twice.
//!
//! Whether the sizes are right is known only after the tables are made. That is not a branch inside the plan:
//! the plan with one pass more begins with the same steps, and the runner continues with it from where it
//! stands ([`Plan::settle`]). So a wrong prediction costs the link that a cold start makes anyway.
//!
//! Source of facts: `scripts/link-vmlinux.sh` of Linux 6.1, 6.12 and 7.3; the merge is Masahiro
//! Yamada's "kbuild: merge temporary vmlinux for BTF and kallsyms" (Linux 6.11).

mod debug_info;
mod engine;
mod print;
mod schedule;
mod step;

pub use debug_info::{DEBUG_FILE, DebugInfo, DebugInfoError};
pub use engine::{Engine, EngineError, EngineRequest, Engines, Part};
pub use schedule::{Schedule, ScheduleError};
pub use step::{Action, Filled, Linked, Step};

use std::ops::RangeInclusive;

use serde::Serialize;

use schedule::Names;

/// What the kernel is to hold, and so what the stage has to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// `CONFIG_KALLSYMS`.
    pub kallsyms: bool,
    /// `CONFIG_DEBUG_INFO_BTF`.
    pub btf: bool,
    /// Whether `.BTF_ids` is to be filled: BTF, and in 6.1 also `CONFIG_BPF`.
    pub btf_ids: bool,
    /// `CONFIG_BUILDTIME_TABLE_SORT`.
    pub sort_tables: bool,
    /// Whether the first link takes an empty kallsyms table (6.11 and later), so that the symbols of
    /// the tables exist from the start. Older trees declare them weak and link without.
    pub empty_kallsyms: bool,
    /// Whether Kbuild's line for BTF names the temporary kernel (7.0 and later) and not the object.
    pub btf_line_names_image: bool,
    /// Whether the finished kernel is to be looked at once more.
    pub verify: bool,
    /// Where debug information goes. Only the lean schedule puts it elsewhere than into the kernel.
    pub debug_info: DebugInfo,
    /// Whether contents may be put in after the linker: the kernel is linked from `vmlinux.o` and no archive, and nothing
    /// is known that forbids it.
    pub hollow: bool,
    /// Name of the kernel that the stage makes: `vmlinux`, or `vmlinux.unstripped` from 6.17 on.
    pub output: String,
}

impl Needs {
    /// What a current tree needs with `config`, where no tree is at hand.
    pub fn of_config(config: &crate::Config) -> Self {
        let btf = config.has("DEBUG_INFO_BTF");
        Needs {
            kallsyms: config.has("KALLSYMS"),
            btf,
            btf_ids: btf,
            sort_tables: config.has("BUILDTIME_TABLE_SORT"),
            empty_kallsyms: true,
            btf_line_names_image: false,
            verify: false,
            debug_info: DebugInfo::Keep,
            hollow: ["LTO_CLANG", "X86_KERNEL_IBT"].iter().any(|name| config.has(name)),
            output: "vmlinux".to_string(),
        }
    }
}

/// What is known at the start of the sizes of kallsyms and BTF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Nothing: the first link finds out.
    Cold,
    /// Those of the last link of this tree. Only the lean schedule with native engines makes use of them.
    Warm,
}

/// The steps of a link, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which schedule the steps follow.
    pub schedule: Schedule,
    /// Whether they make use of known sizes.
    pub start: Start,
    /// All steps; those from [`Plan::finish`] on work on the linked kernel in place.
    pub steps: Vec<Step>,
    /// Index of the step after the last link.
    pub finish: usize,
    /// Where the runner asks whether one pass more is needed. `None` where there is nothing to compare, and in
    /// the longest plan.
    pub settle: Option<Settle>,
}

/// Where a plan asks whether what was made is as large as what was linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// Index of the first step that differs in the plan with one pass more.
    pub before: usize,
    /// Objects that have to be the same but for their contents: one that the last kernel was linked with, and
    /// the one made of that kernel.
    pub same: Vec<(String, String)>,
}

impl Plan {
    /// The steps that make a kernel with `needs`, with so many kallsyms passes more than a kernel needs whose tables
    /// have the expected sizes (one after [`Plan::settle`] said so, or `KALLSYMS_EXTRA_PASS`).
    pub fn new(
        needs: &Needs,
        schedule: Schedule,
        engines: &Engines,
        start: Start,
        more_passes: u32,
    ) -> Self {
        let (names, steps) = (schedule.names(), Vec::new());
        let mut builder = Builder { needs, schedule, engines, names, steps, start, typed: None };
        if !builder.can_be_warm() {
            builder.start = Start::Cold;
        }
        builder.build(more_passes)
    }

    /// The kallsyms and the BTF object that the finished kernel holds.
    pub fn linked_in(&self) -> (Option<&str>, Option<&str>) {
        match self.steps[..self.finish].last().map(|step| &step.action) {
            Some(Action::Ld { kallsyms, btf, .. }) => (kallsyms.as_deref(), btf.as_deref()),
            Some(Action::Debug { kallsyms, btf, .. }) => {
                (kallsyms.as_ref().map(Filled::object), btf.as_ref().map(Filled::object))
            }
            _ => (None, None),
        }
    }

    /// How many of the steps behind the step `at` can be done beside it, one after the other.
    ///
    /// Objects of known sizes are made beside each other. While types are made, the symbols, which need nothing of them,
    /// are read and made into tables. And while ids are filled into the linked kernel, its symbols are listed and its
    /// tables sorted: each step reads and changes a part of it that no other one does.
    pub fn beside(&self, at: usize) -> usize {
        let native = |step: &&Step| step.engine == Engine::Native;
        let Some(first) = self.steps.get(at).filter(native) else { return 0 };
        let goes: fn(&Step, &Step) -> bool = match first.action {
            Action::Btf { encoder: Engine::Native, .. } => |types, step| {
                let kind = matches!(step.action, Action::Nm { .. } | Action::Ksyms { .. });
                kind && !step.inputs().contains(&types.output())
            },
            Action::Sizes { .. } => |_, step| matches!(step.action, Action::Sizes { .. }),
            Action::Btfids { .. } => {
                |_, step| matches!(step.action, Action::Nm { .. } | Action::Sorttable { .. })
            }
            _ => return 0,
        };
        let settle = self.settle.as_ref().map_or(self.steps.len(), |settle| settle.before);
        let until = if settle > at { settle } else { self.steps.len() };
        let others = self.steps[at + 1..until].iter();
        others.take_while(|step| native(step) && goes(first, step)).count()
    }

    /// How many links the plan contains, the final one included.
    pub fn links(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.action, Action::Ld { .. })).count()
    }

    /// How many of them make a kernel that is not the result.
    pub fn temporary_links(&self) -> usize {
        let last = self.steps[..self.finish].last();
        let finals = last.is_some_and(|step| matches!(step.action, Action::Ld { .. }));
        self.links() - usize::from(finals)
    }
}

/// Collects the steps; its fields are what every step may depend on.
struct Builder<'a> {
    needs: &'a Needs,
    schedule: Schedule,
    engines: &'a Engines,
    names: Names,
    start: Start,
    steps: Vec<Step>,
    /// The kernel that the types were made of.
    typed: Option<String>,
}

/// The objects that a link takes beside the kernel's own.
#[derive(Debug, Clone, Default)]
struct Objects {
    kallsyms: Option<String>,
    btf: Option<String>,
}

impl Objects {
    /// The objects of `self`, each with the one of `made` that is not the same file.
    fn beside(&self, made: &Objects) -> Vec<(String, String)> {
        let pairs = [(&self.kallsyms, &made.kallsyms), (&self.btf, &made.btf)];
        let both = pairs.into_iter().filter_map(|(linked, made)| linked.clone().zip(made.clone()));
        both.filter(|(linked, made)| linked != made).collect()
    }
}

impl Builder<'_> {
    fn build(mut self, more_passes: u32) -> Plan {
        let mut made = match self.start {
            Start::Cold => self.cold_start(),
            Start::Warm => self.warm_start(),
        };
        // Symbol set frozen: whatever is linked in from here on keeps its symbols.
        let mut last = None;
        for pass in self.passes(more_passes) {
            let linked = made;
            made = self.pass(pass, &linked);
            last = Some((pass, linked));
        }
        let settle = last.as_ref().and_then(|(pass, linked)| {
            let same = linked.beside(&made);
            let longest = pass == self.passes(u32::MAX).end();
            (!same.is_empty() && !longest).then_some(Settle { before: self.steps.len(), same })
        });
        // Sizes stable: the final link only exchanges contents.
        let output = self.needs.output.clone();
        match &last {
            Some((pass, linked)) if self.schedule == Schedule::Lean => {
                self.debug(&output, &self.names.kallsyms_image(*pass), linked, &made);
            }
            _ => self.link(&output, &made, false, "the final link, with debug information"),
        }
        // Addresses final: what follows works on the linked kernel in place.
        let finish = self.steps.len();
        let last_map = last.filter(|_| self.needs.kallsyms).map(|(pass, _)| self.symbols_of(pass));
        self.finish(&output, last_map);
        Plan { schedule: self.schedule, start: self.start, steps: self.steps, finish, settle }
    }

    /// Whether the lean schedule can be followed with known sizes: what is linked in is an object of our own.
    fn can_be_warm(&self) -> bool {
        let needs = self.needs;
        let native = |part, needed: bool| !needed || self.engines.of(part) == Engine::Native;
        self.schedule == Schedule::Lean
            && (needs.kallsyms || needs.btf)
            && native(Part::Kallsyms, needs.kallsyms)
            && native(Part::Btf, needs.btf)
            && native(Part::Btfobj, needs.btf)
    }

    /// What the kernel with final addresses is linked with, found out by linking once.
    fn cold_start(&mut self) -> Objects {
        let mut linked = Objects::default();
        if self.needs.kallsyms && self.needs.empty_kallsyms {
            linked.kallsyms = Some(self.empty_kallsyms());
        }
        if self.needs.btf {
            let image = self.names.btf_image();
            let why = "types are made of a linked kernel";
            let lean = self.schedule == Schedule::Lean;
            self.link(&image, &linked, lean, why);
            linked.btf = Some(self.btf(&image, &linked));
        }
        match self.needs.kallsyms {
            true => self.pass(1, &linked),
            false => linked,
        }
    }

    /// The same, of the sizes that it had last time and without contents.
    fn warm_start(&mut self) -> Objects {
        let mut room = |needed: bool, of: Part, object: String| {
            needed.then(|| {
                let action = Action::Sizes { object: object.clone(), of };
                self.steps.push(Step {
                    action,
                    engine: Engine::Native,
                    why: "as large as last time",
                });
                object
            })
        };
        let kallsyms = format!("{}.o", self.names.kallsyms(0));
        Objects {
            kallsyms: room(self.needs.kallsyms, Part::Kallsyms, kallsyms),
            btf: room(self.needs.btf, Part::Btf, self.names.btf_room()),
        }
    }

    /// The passes after the start; the first of them links a kernel with final addresses, if all sizes are as expected.
    fn passes(&self, more_passes: u32) -> RangeInclusive<u32> {
        let lean = self.schedule == Schedule::Lean;
        let most = match (self.needs.kallsyms, self.start) {
            (true, Start::Cold) => 3,
            (true, Start::Warm) => 4,
            // Only the size of BTF can be another.
            (false, Start::Warm) => 3,
            (false, Start::Cold) if lean && self.needs.btf => 2,
            (false, Start::Cold) if lean && self.needs.debug_info != DebugInfo::Keep => 2,
            (false, Start::Cold) => 1,
        };
        2..=most.min(more_passes.saturating_add(2))
    }

    /// One pass: a linked kernel (in the cold merged schedule the first is BTF's), its symbols, what is made of them.
    fn pass(&mut self, pass: u32, linked: &Objects) -> Objects {
        let image = self.names.kallsyms_image(pass);
        let mut made = linked.clone();
        let warm = self.start == Start::Warm && pass == 2;
        let shared = pass == 1 && self.schedule != Schedule::Separate && self.needs.btf;
        if !shared {
            let why = match pass {
                1 => "a kernel with all symbols, from which kallsyms gets its size",
                2 if warm => "all sizes are known, so this kernel has the final addresses",
                2 if self.needs.kallsyms => {
                    "kallsyms has its size now, so this kernel has the final addresses"
                }
                2 => "a kernel with its types and all addresses",
                _ => "a size is not what it was, so addresses moved once more",
            };
            self.link(&image, linked, true, why);
        }
        if warm && self.needs.btf {
            made.btf = Some(self.btf(&image, linked));
        }
        if self.needs.kallsyms {
            let map = self.symbols_of(pass);
            let action = Action::Nm { image, map: map.clone() };
            self.push(action, self.engines.of(Part::Sysmap), "the symbols, in order of addresses");
            let why = match pass {
                1 => "the tables at their right size",
                _ => "the tables with the final addresses",
            };
            made.kallsyms = Some(self.kallsyms(map, self.names.kallsyms(pass), false, why));
        }
        made
    }

    /// The symbol list of a pass.
    fn symbols_of(&self, pass: u32) -> String {
        format!("{}.syms", self.names.kallsyms_image(pass))
    }

    fn push(&mut self, action: Action, engine: Engine, why: &'static str) {
        self.steps.push(Step { action, engine, why });
    }

    /// Whether temporary kernels are linked without contents: their symbols, layout and map are the same.
    fn links_hollow(&self) -> bool {
        self.schedule == Schedule::Lean
            && self.needs.hollow
            && self.engines.of(Part::Fill) == Engine::Native
    }

    fn link(&mut self, image: &str, linked: &Objects, strip_debug: bool, why: &'static str) {
        let action = Action::Ld {
            image: image.to_string(),
            kallsyms: linked.kallsyms.clone(),
            btf: linked.btf.clone(),
            strip_debug,
            map: (self.schedule == Schedule::Lean && strip_debug).then(|| map_of(image)),
            build_id: self.schedule != Schedule::Lean || !strip_debug,
            relocations: self.schedule != Schedule::Lean || image != self.names.btf_image(),
            hollow: strip_debug && self.links_hollow(),
            trial: self
                .steps
                .last()
                .is_some_and(|step| matches!(step.action, Action::Sizes { .. })),
        };
        self.push(action, Engine::Kernel, why);
    }

    /// The kernel `image` with debug information, from one that was linked without it and with `linked`; the
    /// contents of tables and types are those of `made`.
    fn debug(&mut self, image: &str, stripped: &str, linked: &Objects, made: &Objects) {
        let filled = |linked: &Option<String>, made: &Option<String>| {
            let contents = made.clone().filter(|made| Some(made) != linked.as_ref());
            linked.clone().map(|linked| Filled { linked, contents })
        };
        let last = image == self.needs.output;
        let debug_info = if last { self.needs.debug_info } else { DebugInfo::Keep };
        let action = Action::Debug {
            image: image.to_string(),
            stripped: stripped.to_string(),
            map: map_of(stripped),
            kallsyms: filled(&linked.kallsyms, &made.kallsyms),
            btf: filled(&linked.btf, &made.btf),
            debug_info,
        };
        let why = match debug_info {
            _ if !last => "who makes the types reads them out of a kernel with debug information",
            DebugInfo::Keep => {
                "the kernel is linked already; tables, types and debug information are put into it"
            }
            DebugInfo::Separate => {
                "tables and types are put into the kernel, debug information into a file of its own"
            }
            DebugInfo::Drop => {
                "the kernel is linked already; tables and types are put into it, and nothing else"
            }
        };
        self.push(action, Engine::Native, why);
    }

    fn empty_kallsyms(&mut self) -> String {
        let why = "an empty table: it defines the symbols that the first link refers to";
        let (map, stem) = (self.names.empty_map(), self.names.kallsyms(0));
        self.kallsyms(map, stem, true, why)
    }

    /// `KSYMS` and, with the kernel's tools, `AS`. Returns the object's name.
    fn kallsyms(&mut self, map: String, stem: String, empty: bool, why: &'static str) -> String {
        let object = format!("{stem}.o");
        let engine = self.engines.of(Part::Kallsyms);
        let output = match engine {
            Engine::Native => object.clone(),
            Engine::Kernel => format!("{stem}.S"),
        };
        self.push(Action::Ksyms { map, output: output.clone(), empty }, engine, why);
        if engine == Engine::Kernel {
            let action = Action::As { source: output, object: object.clone() };
            self.push(action, engine, "the kernel's kallsyms writes assembler text");
        }
        object
    }

    /// Whether the types can be made of a kernel that has no debug information: nobody else looks at it.
    fn reads_objects(&self) -> bool {
        let parts = [Part::Btf, Part::Btfobj, Part::Btfids];
        self.schedule == Schedule::Lean
            && parts.iter().all(|&part| self.engines.of(part) == Engine::Native)
    }

    /// The object with the types of the kernel `image`, which was linked with `objects`.
    fn btf(&mut self, image: &str, objects: &Objects) -> String {
        let (mut image, object) = (image.to_string(), self.names.btf_object());
        let mut linked = None;
        let mut why = "types, deduplicated, as an object to be linked in";
        if self.reads_objects() {
            let Objects { kallsyms, btf } = objects.clone();
            linked = Some(Linked { map: map_of(&image), kallsyms, btf });
            why = "types out of the debug information of all objects, as an object to be linked in";
        } else if self.schedule == Schedule::Lean {
            let stripped = std::mem::replace(&mut image, self.names.btf_image());
            self.debug(&image, &stripped, objects, objects);
        }
        self.typed = Some(image.clone());
        let line_names_image = self.needs.btf_line_names_image;
        let encoder = self.engines.of(Part::Btf);
        let object_name = object.clone();
        let action = Action::Btf { image, linked, object: object_name, encoder, line_names_image };
        self.push(action, self.engines.of(Part::Btfobj), why);
        object
    }

    fn finish(&mut self, output: &str, last_map: Option<String>) {
        let image = output.to_string();
        let typed = self.typed.take();
        if let (true, Some(btf_image)) = (self.needs.btf_ids, typed.clone()) {
            let action = Action::Btfids { image: image.clone(), btf_image };
            let why = "the ids of the types that the kernel refers to";
            self.push(action, self.engines.of(Part::Btfids), why);
        }
        let map = "System.map".to_string();
        let action = Action::Nm { image: image.clone(), map: map.clone() };
        let why = "the final addresses of all symbols";
        self.push(action, self.engines.of(Part::Sysmap), why);
        if self.needs.sort_tables {
            let why = "tables that the kernel would else sort while it boots";
            let image = image.clone();
            self.push(Action::Sorttable { image }, self.engines.of(Part::Sorttable), why);
        }
        if let Some(last) = last_map {
            let why = "kallsyms was made of this very symbol list, or it is wrong";
            self.push(Action::Compare { map, last }, Engine::Native, why);
        }
        if self.needs.verify {
            let why =
                "--verify: all that was filled in is made once more, out of the finished kernel";
            let action = Action::Verify { image, btf_image: typed };
            self.push(action, Engine::Native, why);
        }
    }
}

/// Where the linker says what it put where in `image`.
fn map_of(image: &str) -> String {
    format!("{image}.map")
}

#[cfg(test)]
mod tests;
