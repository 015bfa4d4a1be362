//! `link-vmlinux.sh clean`: removing what a link makes.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::features::Features;
use crate::install::original_script;
use crate::plan::DEBUG_FILE;
use crate::record::RECORD;
use crate::timeline::TIMELINE;
use crate::{files, remembered, stage};

/// Removes from the object tree `dir` what the `cleanup` of the kernel's own script in `srctree`
/// removes, and what vmlinker leaves there.
///
/// # Errors
/// There is no script; a file cannot be removed.
pub fn clean(dir: &Path, srctree: &Path) -> Result<()> {
    let script = original_script(srctree);
    let features = Features::detect(&files::read_text(&script)?);
    let mut patterns = features.map_err(|error| Error::file(&script, error))?.clean;
    let unfinished = [stage::UNFINISHED, stage::UNFINISHED_DEBUG];
    let ours = [RECORD, TIMELINE, DEBUG_FILE, stage::OLD, stage::HOLLOW];
    let ours = ours.into_iter().chain(remembered::FILES).chain(unfinished);
    patterns.extend(ours.map(str::to_string));
    let entries = fs::read_dir(dir).map_err(|error| Error::file(dir, error.kind()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if patterns.iter().any(|pattern| matches(pattern, &name.to_string_lossy())) {
            files::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether `name` matches a shell pattern whose only special character is a `*` at its end.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_names_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("scripts")).unwrap();
        let script = "if is_enabled CONFIG_X; then\nobjs=vmlinux.o\nfi\nvmlinux_link .tmp_vmlinux1\n\
                      cleanup()\n{\n\trm -f .btf.*\n\trm -f vmlinux\n}\n";
        fs::write(dir.path().join("scripts/link-vmlinux.sh"), script).unwrap();
        let ours = [RECORD, TIMELINE, DEBUG_FILE].into_iter().chain(remembered::FILES);
        for name in [".btf.vmlinux.bin.o", "vmlinux", "vmlinux.o"].into_iter().chain(ours) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        clean(dir.path(), dir.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["scripts", "vmlinux.o"]);
    }
}
