//! The steps of a link with their times, and two links beside each other.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// A step, as `vmlinker relink --timings` writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    verb: String,
    output: String,
    engine: String,
    seconds: f64,
}

/// Reads the steps of a link.
pub fn read(path: &Path) -> Result<Vec<Step>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

impl Step {
    /// What the step is for: the same for the script's assembler text and for vmlinker's object.
    fn name(&self) -> (&str, &str) {
        let output = match self.output.strip_suffix(".S") {
            Some(stem) => stem,
            None => self.output.strip_suffix(".o").unwrap_or(&self.output),
        };
        (&self.verb, output)
    }
}

/// A table of the script's steps and vmlinker's: a step that both have is one row.
pub fn side_by_side(script: &[Step], ours: &[Step]) -> String {
    let mut table = format!("  {:44} {:>8} {:>9}  by\n", "step", "script", "vmlinker");
    for (left, right) in pair(script, ours) {
        let Some(step) = right.or(left) else { continue };
        let seconds = |step: Option<&Step>| match step {
            Some(step) => format!("{:.2}", step.seconds),
            None => "-".to_owned(),
        };
        let name = format!("{:7} {}", step.verb, step.output);
        let engine = right.map_or("", |step| &step.engine);
        let (left, right) = (seconds(left), seconds(right));
        // Writing to a string cannot fail.
        let _ = writeln!(table, "  {name:44} {left:>8} {right:>9}  {engine}");
    }
    let total = |steps: &[Step]| steps.iter().map(|step| step.seconds).sum::<f64>();
    let (left, right) = (total(script), total(ours));
    let _ = writeln!(table, "  {:44} {left:>8.2} {right:>9.2}", "together");
    table
}

/// Both lists in one order, equal names together.
fn pair<'a>(script: &'a [Step], ours: &'a [Step]) -> Vec<(Option<&'a Step>, Option<&'a Step>)> {
    let mut rows = Vec::new();
    let mut rest = ours.iter();
    for left in script {
        let place = rest.as_slice().iter().position(|step| step.name() == left.name());
        for _ in 0..place.unwrap_or(0) {
            rows.push((None, rest.next()));
        }
        rows.push((Some(left), place.and_then(|_| rest.next())));
    }
    rows.extend(rest.map(|right| (None, Some(right))));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str) -> Step {
        let (verb, output) = name.split_once(' ').unwrap();
        Step {
            verb: verb.to_owned(),
            output: output.to_owned(),
            engine: "native".to_owned(),
            seconds: 0.25,
        }
    }

    #[test]
    fn text_for_the_assembler_and_an_object_are_one_step() {
        let (script, ours) = ([step("KSYMS k.S"), step("AS k.o")], [step("KSYMS k.o")]);
        assert!(matches!(pair(&script, &ours)[..], [(Some(_), Some(_)), (Some(_), None)]));
    }

    #[test]
    fn equal_steps_share_a_row_and_the_others_keep_their_order() {
        let script = ["LD a", "AS b", "LD c"].map(step);
        let ours = ["LD a", "SYM x", "LD c", "END y"].map(step);
        let rows: Vec<(bool, bool)> = pair(&script, &ours)
            .into_iter()
            .map(|(left, right)| (left.is_some(), right.is_some()))
            .collect();
        assert_eq!(rows, [(true, true), (true, false), (false, true), (true, true), (false, true)]);
        let table = side_by_side(&script, &ours);
        assert!(table.ends_with("0.75      1.00\n"), "{table}");
    }
}
