//! Running a chain of commands and measuring it: wall time, CPU time and peak memory.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use wait4::Wait4 as _;

use crate::process;

/// What one run cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Wall time in seconds.
    pub wall: f64,
    /// User and system time in seconds, of all processes.
    pub cpu: f64,
    /// The largest resident set of any one process, in bytes.
    pub peak: u64,
}

/// Runs one pipeline: each command reads what the one before writes; the last writes to `output`, if given.
pub fn pipeline(commands: &mut [Command], output: Option<&Path>) -> Result<Cost> {
    let start = Instant::now();
    let mut children = Vec::new();
    let last = commands.len().saturating_sub(1);
    let mut input = Stdio::null();
    for (index, command) in commands.iter_mut().enumerate() {
        command.stdin(input);
        match output {
            _ if index < last => command.stdout(Stdio::piped()),
            Some(path) => command.stdout(File::create(path)?),
            None => command.stdout(Stdio::null()),
        };
        let line = process::shown(command);
        let mut child = command.spawn().with_context(|| format!("cannot start: {line}"))?;
        // The command keeps its end of a pipe open until it gets another input.
        command.stdin(Stdio::null());
        input = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
        children.push((line, child));
    }
    let mut cost = Cost::default();
    for (line, mut child) in children {
        let used = child.wait4()?;
        ensure!(used.status.success(), "{}: {line}", used.status);
        cost.cpu += (used.rusage.utime + used.rusage.stime).as_secs_f64();
        cost.peak = cost.peak.max(used.rusage.maxrss);
    }
    cost.wall = start.elapsed().as_secs_f64();
    Ok(cost)
}

impl Cost {
    /// One after the other.
    pub fn then(self, next: Cost) -> Cost {
        Cost {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak: self.peak.max(next.peak),
        }
    }
}

/// Many runs of one side.
#[derive(Debug, Clone, Default)]
pub struct Runs(pub Vec<Cost>);

impl Runs {
    /// The median of one figure.
    pub fn median(&self, figure: impl Fn(&Cost) -> f64) -> f64 {
        let values = self.sorted(figure);
        match values.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => values[len / 2],
            len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
        }
    }

    /// The smallest and the largest of one figure.
    pub fn spread(&self, figure: impl Fn(&Cost) -> f64) -> (f64, f64) {
        let values = self.sorted(figure);
        let at = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        (at(values.first()), at(values.last()))
    }

    fn sorted(&self, figure: impl Fn(&Cost) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.0.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spread() {
        let runs = |walls: &[f64]| {
            Runs(walls.iter().map(|&wall| Cost { wall, ..Cost::default() }).collect())
        };
        assert_eq!(runs(&[3.0, 1.0, 2.0]).median(|cost| cost.wall), 2.0);
        assert_eq!(runs(&[4.0, 1.0, 2.0, 3.0]).median(|cost| cost.wall), 2.5);
        assert_eq!(runs(&[4.0, 1.0, 2.0]).spread(|cost| cost.wall), (1.0, 4.0));
    }

    #[test]
    fn a_pipeline_passes_its_output_on_and_reports_a_failure() {
        let out = std::env::temp_dir().join(format!("xtask-pipeline-{}", std::process::id()));
        let mut commands = [Command::new("echo"), Command::new("tr")];
        commands[0].arg("abc");
        commands[1].args(["a-c", "x-z"]);
        let cost = pipeline(&mut commands, Some(&out)).unwrap();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "xyz\n");
        assert!(cost.wall > 0.0 && cost.peak > 0);
        std::fs::remove_file(&out).unwrap();
        assert!(pipeline(&mut [Command::new("false")], None).is_err());
    }
}
