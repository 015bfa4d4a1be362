//! The page of a section: a table, and what is needed to judge it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::measure::{Cost, Runs};
use crate::process;

/// A page under construction.
#[derive(Debug)]
pub struct Page(String);

impl Page {
    /// Begins with the title, what was measured, and the machine.
    pub fn new(title: &str, what: &str) -> Self {
        Page(format!("# {title}\n\n{what}\n\nMachine: {}.\n\n", machine()))
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push_str("\n\n");
    }

    /// Adds a table with a row for each side; the last column compares wall times with the first row.
    pub fn table(&mut self, sides: &[(&str, &Runs)]) {
        self.0.push_str(
            "| | wall, median | smallest to largest | CPU | peak memory | times faster |\n",
        );
        self.0.push_str("|---|---|---|---|---|---|\n");
        let first = sides.first().map_or(f64::NAN, |(_, runs)| runs.median(|cost| cost.wall));
        for (name, runs) in sides {
            let wall = runs.median(|cost| cost.wall);
            let (least, most) = runs.spread(|cost| cost.wall);
            let cpu = runs.median(|cost| cost.cpu);
            let peak = runs.spread(|cost: &Cost| cost.peak as f64).1 / 1e6;
            // Writing to a string cannot fail.
            let _ = writeln!(
                self.0,
                "| {name} | {wall:.3} s | {least:.3} to {most:.3} s | {cpu:.3} s | {peak:.0} MB | {:.1} |",
                first / wall
            );
        }
        self.0.push('\n');
    }

    /// Writes the page and prints it.
    pub fn write(self, path: &Path) -> Result<()> {
        let directory = path.parent().context("a page lies in a directory")?;
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let text = format!("{}\n", self.0.trim_end());
        fs::write(path, &text).with_context(|| path.display().to_string())?;
        print!("{text}");
        Ok(())
    }
}

/// Processor, cores, memory and system, in one line.
fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| {
            Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kib: f64 = field("/proc/meminfo", "MemTotal")
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(f64::NAN);
    format!(
        "{cores} cores of {}, {:.0} GiB, {}",
        field("/proc/cpuinfo", "model name"),
        kib / 1024.0 / 1024.0,
        field("/etc/os-release", "PRETTY_NAME")
    )
}

/// The first line that `PROGRAM --version` prints.
pub fn version(program: &str) -> Result<String> {
    let text = process::output(Command::new(program).arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
