//! The programs that a link runs, and where they are.
//!
//! They follow from the plan: a step with the kernel's engine runs what `stage::kernel` runs for it.

use std::env;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::features::{BtfRecipe, MksysmapForm};
use crate::plan::{Action, Engine, Step};

use super::Patient;

/// What the link runs beside the linker: each program once, with the first step that needs it.
pub(super) fn needed(patient: &Patient<'_>) -> Vec<(String, String)> {
    let mut needed: Vec<(String, String)> = Vec::new();
    let mut add = |step: &str, program: &str| {
        let known = needed.iter().any(|(_, known)| known == program);
        if !program.is_empty() && !known {
            needed.push((step.to_string(), program.to_string()));
        }
    };
    if let Some(call) = patient.call {
        for name in ["MAKE", "CC"] {
            add("init/version-timestamp.o", first(call.var(name)));
        }
    }
    for step in &patient.plan.steps {
        let name = format!("{} {}", step.verb(), step.output());
        of_step(patient, step).into_iter().for_each(|program| add(&name, &program));
    }
    needed
}

/// Those of them that are not there, or not executable.
pub(super) fn missing(patient: &Patient<'_>) -> Vec<(String, String)> {
    let mut needed = needed(patient);
    needed.retain(|(_, program)| find(program, &patient.tree.dir).is_none());
    needed
}

/// Where `program` is, called in `dir`: found as execvp(3) finds it.
pub(super) fn find(program: &str, dir: &Path) -> Option<PathBuf> {
    let runs = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return Some(dir.join(program)).filter(|path| runs(path));
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|place| place.join(program)).find(|path| runs(path))
}

/// What a step runs.
fn of_step(patient: &Patient<'_>, step: &Step) -> Vec<String> {
    let features = &patient.tree.features;
    let var = |name: &str| patient.call.map_or("", |call| first(call.var(name))).to_string();
    let objtree = patient.call.map_or(".", |call| call.var("objtree"));
    let pahole = |encoder: Engine| (encoder == Engine::Kernel).then(|| var("PAHOLE"));
    match (&step.action, step.engine) {
        (Action::Btf { encoder, .. }, Engine::Native) => pahole(*encoder).into_iter().collect(),
        (Action::Btf { encoder, .. }, Engine::Kernel) => {
            let mut programs: Vec<String> = pahole(*encoder).into_iter().collect();
            programs.push(var("OBJCOPY"));
            if features.btf == BtfRecipe::Detached {
                programs.extend([var("CC"), var("RESOLVE_BTFIDS")]);
            }
            programs
        }
        (_, Engine::Native) => Vec::new(),
        (Action::Ksyms { .. }, Engine::Kernel) => vec!["scripts/kallsyms".to_string()],
        (Action::As { .. }, Engine::Kernel) => vec![var("CC")],
        (Action::Nm { .. }, Engine::Kernel) => match features.mksysmap {
            MksysmapForm::Sed => vec![var("NM"), "sed".to_string()],
            MksysmapForm::Shell => vec![var("CONFIG_SHELL"), var("NM")],
        },
        (Action::Btfids { .. }, Engine::Kernel) => vec![var("RESOLVE_BTFIDS")],
        (Action::Sorttable { .. }, Engine::Kernel) => {
            let nm = features.sorttable_functions.then(|| var("NM"));
            [format!("{objtree}/scripts/sorttable")].into_iter().chain(nm).collect()
        }
        _ => Vec::new(),
    }
}

fn first(words: &str) -> &str {
    words.split_whitespace().next().unwrap_or_default()
}
