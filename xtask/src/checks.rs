//! Rules for the files of the checkout that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::workspace;

/// A source file has fewer lines than this.
const MAX_LINES: usize = 600;

/// Directories that are not the project's.
const FOREIGN: [&str; 2] = ["target", ".git"];

/// Registries, as name and top level, so that this file does not break its own rule.
const REGISTRIES: [(&str, &str); 8] = [
    ("debian", "org"),
    ("ubuntu", "com"),
    ("crates", "io"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("golang", "org"),
    ("docker", "io"),
];

/// Every file of code is short enough to be read at once.
pub fn length() -> Result<()> {
    let broken = each_file(&["rs"], |text| {
        let lines = text.lines().count();
        (lines >= MAX_LINES).then(|| format!("{lines} lines"))
    })?;
    ensure!(broken.is_empty(), "longer than {MAX_LINES} lines:\n{}", broken.join("\n"));
    Ok(())
}

/// No host name of a registry: mirrors come from the machine's own configuration.
pub fn hosts() -> Result<()> {
    let broken = each_file(&["rs", "toml", "sh", "config", "run", "c", "h", "S"], |text| {
        text.lines().find(|line| names_host(line)).map(|line| line.trim().to_owned())
    })?;
    ensure!(broken.is_empty(), "a registry's host name:\n{}", broken.join("\n"));
    Ok(())
}

fn names_host(line: &str) -> bool {
    REGISTRIES.iter().any(|(name, top)| {
        let host = format!("{name}.{top}");
        line.match_indices(&host).any(|(at, _)| line[..at].ends_with(['.', '/']))
    })
}

/// What `check` says against each file with one of the `endings` (or a name that is one).
fn each_file(endings: &[&str], check: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let root = workspace::root();
    let mut broken = Vec::new();
    for file in files(&root)? {
        let ending = file.extension().or(file.file_name()).and_then(|ending| ending.to_str());
        if !ending.is_some_and(|ending| endings.contains(&ending)) {
            continue;
        }
        let text = fs::read(&file).with_context(|| file.display().to_string())?;
        if let Some(cause) = check(&String::from_utf8_lossy(&text)) {
            let name = file.strip_prefix(&root).unwrap_or(&file);
            broken.push(format!("{}: {cause}", name.display()));
        }
    }
    Ok(broken)
}

/// All files below `directory` that are the project's, in order.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    let mut files_below = Vec::new();
    for path in paths {
        if path.is_symlink() {
            continue;
        }
        if !path.is_dir() {
            files_below.push(path);
        } else if !FOREIGN.iter().any(|name| path.ends_with(name)) {
            files_below.extend(files(&path)?);
        }
    }
    Ok(files_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_told_from_plain_names() {
        let host = ["deb.", "debian", ".org"].concat();
        assert!(names_host(&format!("let mirror = \"http://{host}/debian\";")));
        assert!(!names_host("a mirror of Debian, http://mirror.invalid/debian"));
    }
}
