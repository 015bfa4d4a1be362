//! What is found in a tree that can be read.

use std::path::Path;

use debug_link::Dialect;
use image::Elf;

use crate::install::{self, State};
use crate::plan::{Engine, Part, Schedule, Start};
use crate::stage::link;
use crate::{files, version};

use super::{Patient, Report, place, programs};

impl Report {
    /// All that a link comes to, in its order.
    pub(super) fn look_at(&mut self, patient: &Patient<'_>) {
        self.makes(patient);
        self.objects(patient);
        self.linker(patient);
        self.schedule(patient);
        self.engines(patient);
        self.pahole(patient);
        self.programs(patient);
        place::look_at(self, patient);
    }

    /// Who does the link that make asks for.
    pub(super) fn installation(&mut self, srctree: &Path) {
        const ABOUT: &str = "make";
        let srctree = &srctree.canonicalize().unwrap_or_else(|_| srctree.to_path_buf());
        let show = srctree.display();
        match install::state(srctree) {
            Ok(State::Kernel) => {
                let what = "runs the kernel's own script: vmlinker is not installed in the sources";
                self.note(ABOUT, what);
                self.next(format!("vmlinker install {show}"));
            }
            Ok(State::Installed(program)) => {
                self.ok(ABOUT, format!("runs {}", program.display()));
            }
            Ok(State::Gone(program)) => {
                let what = format!("runs the kernel's own script: {} is gone", program.display());
                self.note(ABOUT, what);
                self.next(reinstall(srctree));
            }
            Ok(State::Replaced) => {
                let what = "runs a script that has taken the place of the installed one";
                self.note(ABOUT, what);
                let remove = "remove scripts/.link-vmlinux.sh.kernel if the new script is to stay";
                self.next(format!("{remove}, then vmlinker install {show}"));
            }
            Ok(State::Damaged(how)) => {
                self.problem(ABOUT, format!("the installed script is damaged: {how}"));
                self.next(restore(srctree));
            }
            Err(error) => {
                self.problem(ABOUT, error.to_string()).next("make it readable");
            }
        }
    }

    fn makes(&mut self, patient: &Patient<'_>) {
        let needs = &patient.needs;
        let parts = [
            (needs.kallsyms, "kallsyms"),
            (needs.btf, "BTF"),
            (needs.btf_ids, "its ids"),
            (needs.sort_tables, "sorted tables"),
        ];
        let parts: Vec<&str> =
            parts.iter().filter(|(needed, _)| *needed).map(|&(_, name)| name).collect();
        let with =
            if parts.is_empty() { "nothing filled in".to_string() } else { parts.join(", ") };
        self.ok("kernel", format!("{}: {with}", needs.output));
    }

    /// What the linker reads.
    fn objects(&mut self, patient: &Patient<'_>) {
        const ABOUT: &str = "objects";
        let Patient { tree, call, needs, .. } = patient;
        let mut names = vec!["vmlinux.o"];
        if let Some(call) = call {
            let (objects, libs) = link::kernel_objects(call, &tree.config, &tree.features);
            names.extend(objects.into_iter().chain(libs).filter(|name| *name != "vmlinux.o"));
        }
        // make compiles it anew for every link.
        names.retain(|name| *name != "init/version-timestamp.o");
        let mut missing = false;
        for name in names {
            if let Err(error) = files::map(&tree.dir.join(name)) {
                self.problem(ABOUT, format!("{name}: {}", error.cause));
                missing = true;
            }
        }
        if missing {
            self.next("make builds what is missing, and links then");
            return;
        }
        let path = tree.dir.join("vmlinux.o");
        let Ok(map) = files::map(&path) else { return };
        let elf = match Elf::parse(&map) {
            Ok(elf) => elf,
            Err(error) => {
                self.problem(ABOUT, format!("vmlinux.o: {error}"));
                self.next("remove it; make links it anew from vmlinux.a");
                return;
            }
        };
        match (elf.section(".debug_info"), needs.btf) {
            (Some((_, section)), _) => {
                let debug = place::size(section.size);
                let whole = place::size(map.len() as u64);
                self.ok(ABOUT, format!("vmlinux.o: {whole}, of it .debug_info {debug}"));
            }
            (None, true) => {
                let what =
                    "vmlinux.o has no debug information (.debug_info), and BTF is made of it";
                self.problem(ABOUT, what);
                self.next("CONFIG_DEBUG_INFO_BTF needs objects that were compiled with -g and not stripped");
            }
            (None, false) => {
                let whole = place::size(map.len() as u64);
                self.ok(ABOUT, format!("vmlinux.o: {whole}, no debug information"));
            }
        }
    }

    fn linker(&mut self, patient: &Patient<'_>) {
        const ABOUT: &str = "linker";
        let Some(call) = patient.call else { return };
        let program = call.ld.split_whitespace().next().unwrap_or_default();
        let Some(path) = programs::find(program, &patient.tree.dir) else {
            self.problem(ABOUT, format!("{program}: no such program"));
            self.next("install it, or name another: make LD=..., vmlinker relink --ld ...");
            return;
        };
        let Some(version) = version::version(&call.ld) else {
            self.note(ABOUT, format!("{} does not tell its version", path.display()));
            return;
        };
        let what = format!("{}: {version}", path.display());
        if Dialect::detect(&version, []).is_ok() {
            self.ok(ABOUT, what);
        } else {
            self.note(ABOUT, format!("{what}; the lean schedule does not know it"));
            self.next("GNU ld 2.40 and ld.lld 19 are known, for example make LD=ld.lld-19");
        }
    }

    fn schedule(&mut self, patient: &Patient<'_>) {
        const ABOUT: &str = "schedule";
        let plan = &patient.plan;
        let what = format!("{}: {}", plan.schedule, plan.summary());
        match (&patient.not_lean, plan.schedule) {
            (Some(reason), _) => {
                self.note(ABOUT, format!("{what}; not lean: {reason}"));
                self.next("nothing has to be done: the bytes are the same, the links take longer");
            }
            (None, Schedule::Lean) if plan.start == Start::Warm => {
                self.ok(ABOUT, format!("{what}; all sizes are known from the last link"));
            }
            (None, Schedule::Lean) => {
                self.ok(ABOUT, format!("{what}; no sizes of a last link are known"));
            }
            (None, _) => self.ok(ABOUT, what),
        }
    }

    /// Who does what, and why it is not vmlinker where it is not.
    fn engines(&mut self, patient: &Patient<'_>) {
        const ABOUT: &str = "engines";
        let toolbox = &patient.toolbox;
        for (part, reason) in &toolbox.fallbacks {
            self.note(ABOUT, format!("{}: the kernel's own tool: {reason}", part.name()));
            self.next(match part {
                Part::Btf | Part::Btfobj => {
                    "a kernel that is configured with make PAHOLE=vmlinker-pahole needs no pahole"
                }
                _ => "nothing has to be done: the kernel's tool makes the same, only slower",
            });
        }
        let by = |engine| {
            let parts = Part::ALL.into_iter().filter(|&part| toolbox.engines.of(part) == engine);
            parts.map(Part::name).collect::<Vec<_>>().join(", ")
        };
        match (by(Engine::Native), by(Engine::Kernel)) {
            (all, none) if none.is_empty() => self.ok(ABOUT, format!("native: {all}")),
            (none, all) if none.is_empty() => self.ok(ABOUT, format!("the kernel's: {all}")),
            (native, kernel) => {
                self.ok(ABOUT, format!("native: {native}; the kernel's: {kernel}"));
            }
        }
    }

    /// The pahole that the tree was configured with, and the one that is there.
    fn pahole(&mut self, patient: &Patient<'_>) {
        const ABOUT: &str = "pahole";
        if !patient.needs.btf {
            return;
        }
        let Some(configured) = patient.tree.config.number("PAHOLE_VERSION") else {
            self.note(ABOUT, "the configuration does not tell its version (CONFIG_PAHOLE_VERSION)");
            self.next("make olddefconfig, with a pahole in $PATH or PAHOLE=vmlinker-pahole");
            return;
        };
        let name = |number: u64| format!("{}.{:02}", number / 100, number % 100);
        let known = patient.toolbox.btf.is_some();
        let known = if known { "its bytes are known" } else { "its bytes are not known" };
        let what = format!("the tree was configured with {}: {known}", name(configured));
        let program = patient.call.map_or("", |call| call.var("PAHOLE"));
        let there = version::version(program).and_then(|version| number(&version));
        match there {
            Some(there) if there != configured => {
                self.note(ABOUT, format!("{what}; {program} is {} now", name(there)));
                self.next("make olddefconfig takes up the new one");
            }
            _ => self.ok(ABOUT, what),
        }
    }

    /// The programs that steps run which are not vmlinker's own.
    fn programs(&mut self, patient: &Patient<'_>) {
        let missing = programs::missing(patient);
        for (step, program) in &missing {
            self.problem("programs", format!("{step} needs {program}: no such program"));
            self.next(match program.contains('/') {
                true => "make builds the kernel's own tools (make prepare), or leave the step to vmlinker",
                false => "install it, or leave the step to vmlinker (--engine native)",
            });
        }
        let needed = programs::needed(patient);
        if missing.is_empty() && !needed.is_empty() {
            let names: Vec<&str> = needed.iter().map(|(_, program)| program.as_str()).collect();
            self.ok("programs", format!("all there: {}", names.join(", ")));
        }
    }
}

/// What brings an installed script back that is lost or broken.
fn restore(srctree: &Path) -> String {
    let kept = srctree.join("scripts/.link-vmlinux.sh.kernel");
    match kept.exists() {
        true => format!(
            "mv {} {}, then vmlinker install {}",
            kept.display(),
            srctree.join("scripts/link-vmlinux.sh").display(),
            srctree.display()
        ),
        false => "bring scripts/link-vmlinux.sh back from the kernel's sources (git checkout)"
            .to_string(),
    }
}

fn reinstall(srctree: &Path) -> String {
    format!("vmlinker uninstall {0}, then vmlinker install {0}", srctree.display())
}

/// `v1.24` as Kconfig has it: 124.
fn number(version: &str) -> Option<u64> {
    let (major, minor) = version.trim().strip_prefix('v')?.split_once('.')?;
    let (major, minor): (u64, u64) = (major.parse().ok()?, minor.parse().ok()?);
    major.checked_mul(100)?.checked_add(minor)
}
