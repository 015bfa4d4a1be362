//! The plan of a link: a list of steps, as data.
//!
//! [`Plan::new`] is a pure function of what to build ([`Needs`]), the schedule, the engines and the
//! number of kallsyms passes. Printing a plan and running a link use the same value.
//!
//! Three schedules are known. All make the same bytes; they differ in how many kernels are linked on the
//! way, and with or without debug information:
//!
//! ```text
//! separate  LD .tmp_vmlinux.btf -> BTF;  LD .tmp_vmlinux.kallsyms1, 2 -> KSYMS;  LD vmlinux
//! merged    LD .tmp_vmlinux1 -> BTF, KSYMS;  LD .tmp_vmlinux2 -> KSYMS;          LD vmlinux
//! lean      LD .tmp_vmlinux1, DEBUG -> BTF, KSYMS;  LD .tmp_vmlinux2 -> KSYMS;   DEBUG vmlinux
//! ```
//!
//! Why links repeat at all: kallsyms and BTF are made from a linked kernel and then linked into it.
//! The first kallsyms table has the right size; the kernel linked with it has final addresses; the
//! table made of that one has the final contents.
//!
//! Whether a third pass is needed is known only after the second. It is not a branch inside the plan:
//! the plan with three passes begins with the same steps ([`Plan::new`] with [`Passes::Three`]), and
//! the runner continues with it from where it stands.
//!
//! Source of facts: `scripts/link-vmlinux.sh` of Linux 6.1, 6.12 and 7.3; the merge is Masahiro
//! Yamada's "kbuild: merge temporary vmlinux for BTF and kallsyms" (Linux 6.11).

mod engine;
mod print;
mod schedule;
mod step;

pub use engine::{Engine, EngineError, EngineRequest, Engines, Part};
pub use schedule::{Schedule, ScheduleError};
pub use step::{Action, Step};

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
            output: "vmlinux".to_string(),
        }
    }
}

/// How often kallsyms is made from a linked kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// As often as a kernel needs whose tables keep their size.
    Two,
    /// Once more: the tables changed between the first and the second pass, or
    /// `KALLSYMS_EXTRA_PASS` asks for it.
    Three,
}

/// The steps of a link, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which schedule the steps follow.
    pub schedule: Schedule,
    /// All steps; those from [`Plan::finish`] on work on the linked kernel in place.
    pub steps: Vec<Step>,
    /// Index of the step after the last link.
    pub finish: usize,
    /// Index of the step before which the sizes of the two last kallsyms objects are compared: the
    /// link after the second pass. `None` where there is nothing to compare.
    pub settle: Option<Settle>,
}

/// Where a plan asks whether the kallsyms tables have settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// Index of the first step that differs when they have not.
    pub before: usize,
    /// The kallsyms object of the first pass.
    pub first: String,
    /// The kallsyms object of the second pass.
    pub second: String,
}

impl Plan {
    /// The steps that make a kernel with `needs`.
    pub fn new(needs: &Needs, schedule: Schedule, engines: &Engines, passes: Passes) -> Self {
        let (names, steps) = (schedule.names(), Vec::new());
        Builder { needs, schedule, engines, names, steps, last_image: None }.build(passes)
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
    steps: Vec<Step>,
    /// The kernel that kallsyms was last made of, and what was linked into it.
    last_image: Option<(String, Linked)>,
}

/// The objects that the next link takes beside the kernel's own.
#[derive(Debug, Clone, Default)]
struct Linked {
    kallsyms: Option<String>,
    btf: Option<String>,
}

impl Builder<'_> {
    fn build(mut self, passes: Passes) -> Plan {
        let mut linked = Linked::default();
        if self.needs.kallsyms && self.needs.empty_kallsyms {
            linked.kallsyms = Some(self.empty_kallsyms());
        }
        if self.needs.btf {
            linked.btf = Some(self.btf(&linked));
        }
        // Symbol set frozen: whatever is linked in from here on keeps its symbols and its BTF.
        let mut last_map = None;
        let mut settle = None;
        if self.needs.kallsyms {
            let (first, _) = self.kallsyms_pass(1, &linked);
            linked.kallsyms = Some(first.clone());
            let (second, map) = self.kallsyms_pass(2, &linked);
            linked.kallsyms = Some(second.clone());
            settle = Some(Settle { before: self.steps.len(), first, second });
            last_map = Some(map);
            if passes == Passes::Three {
                let (third, map) = self.kallsyms_pass(3, &linked);
                linked.kallsyms = Some(third);
                last_map = Some(map);
            }
        }
        // Sizes stable: the final link only exchanges the contents of the kallsyms tables.
        let output = self.needs.output.clone();
        match (self.schedule, self.last_image.take()) {
            (Schedule::Lean, Some((stripped, objects))) => {
                self.debug(&output, &stripped, &objects, &linked);
            }
            (Schedule::Lean, None) if self.needs.btf => {
                let stripped = self.names.kallsyms_image(2);
                self.link(&stripped, &linked, true, "a kernel with its types and all addresses");
                self.debug(&output, &stripped, &linked, &linked);
            }
            _ => self.link(&output, &linked, false, "the final link, with debug information"),
        }
        // Addresses final: what follows works on the linked kernel in place.
        let finish = self.steps.len();
        self.finish(&output, last_map);
        Plan { schedule: self.schedule, steps: self.steps, finish, settle }
    }

    fn push(&mut self, action: Action, engine: Engine, why: &'static str) {
        self.steps.push(Step { action, engine, why });
    }

    fn link(&mut self, image: &str, linked: &Linked, strip_debug: bool, why: &'static str) {
        let action = Action::Ld {
            image: image.to_string(),
            kallsyms: linked.kallsyms.clone(),
            btf: linked.btf.clone(),
            strip_debug,
            map: (self.schedule == Schedule::Lean && strip_debug).then(|| map_of(image)),
            relocations: self.schedule != Schedule::Lean || image != self.names.btf_image(),
        };
        self.push(action, Engine::Kernel, why);
    }

    /// The kernel `image` with debug information, from one that was linked without it and with `objects`; the
    /// kallsyms tables are those of `linked`.
    fn debug(&mut self, image: &str, stripped: &str, objects: &Linked, linked: &Linked) {
        let action = Action::Debug {
            image: image.to_string(),
            stripped: stripped.to_string(),
            map: map_of(stripped),
            kallsyms: objects.kallsyms.clone(),
            exchange: linked.kallsyms.clone().filter(|new| Some(new) != objects.kallsyms.as_ref()),
            btf: objects.btf.clone(),
        };
        let why = match image == stripped {
            true => "the types are read out of the debug information of all objects",
            false => "the kernel is linked already; tables and debug information are put into it",
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

    fn btf(&mut self, linked: &Linked) -> String {
        let (image, object) = (self.names.btf_image(), self.names.btf_object());
        let why = "types are read out of a linked kernel's debug information";
        let lean = self.schedule == Schedule::Lean;
        self.link(&image, linked, lean, why);
        if lean {
            self.debug(&image, &image, linked, linked);
        }
        let line_names_image = self.needs.btf_line_names_image;
        let encoder = self.engines.of(Part::Btf);
        let action = Action::Btf { image, object: object.clone(), encoder, line_names_image };
        let why = "types, deduplicated, as an object to be linked in";
        self.push(action, self.engines.of(Part::Btfobj), why);
        object
    }

    /// One pass: a linked kernel (in the merged schedule the first is BTF's), its symbols, the tables
    /// made of them. Returns the object and the symbol list.
    fn kallsyms_pass(&mut self, pass: u32, linked: &Linked) -> (String, String) {
        let image = self.names.kallsyms_image(pass);
        let shared = pass == 1 && self.schedule != Schedule::Separate && self.needs.btf;
        if !shared {
            let why = match pass {
                1 => "a kernel with all symbols, from which kallsyms gets its size",
                2 => "kallsyms has its size now, so this kernel has the final addresses",
                _ => "kallsyms changed its size, so addresses moved once more",
            };
            self.link(&image, linked, true, why);
        }
        self.last_image = Some((image.clone(), linked.clone()));
        let map = format!("{image}.syms");
        let action = Action::Nm { image, map: map.clone() };
        self.push(action, self.engines.of(Part::Sysmap), "the symbols, in order of addresses");
        let why = match pass {
            1 => "the tables at their right size",
            _ => "the tables with the final addresses",
        };
        let object = self.kallsyms(map.clone(), self.names.kallsyms(pass), false, why);
        (object, map)
    }

    fn finish(&mut self, output: &str, last_map: Option<String>) {
        let image = output.to_string();
        if self.needs.btf_ids {
            let action = Action::Btfids { image: image.clone(), btf_image: self.names.btf_image() };
            let why = "the ids of the types that the kernel refers to";
            self.push(action, self.engines.of(Part::Btfids), why);
        }
        let map = "System.map".to_string();
        let action = Action::Nm { image: image.clone(), map: map.clone() };
        let why = "the final addresses of all symbols";
        self.push(action, self.engines.of(Part::Sysmap), why);
        if self.needs.sort_tables {
            let why = "tables that the kernel would else sort while it boots";
            self.push(Action::Sorttable { image }, self.engines.of(Part::Sorttable), why);
        }
        if let Some(last) = last_map {
            let why = "kallsyms was made of this very symbol list, or it is wrong";
            self.push(Action::Compare { map, last }, Engine::Native, why);
        }
    }
}

/// Where the linker says what it put where in `image`.
fn map_of(image: &str) -> String {
    format!("{image}.map")
}

#[cfg(test)]
mod tests;
