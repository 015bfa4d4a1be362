//! The steps of a link with their times, and two links beside each other.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use pipeline::timeline::{Link, Links, Step};

/// What vmlinker does besides the script's steps is shown if it took as long as this, in microseconds.
const NOTICEABLE: u64 = 5000;

/// Reads what `vmlinker relink --timings` wrote.
pub fn read(path: &Path) -> Result<Link> {
    Ok(Links::read(path)?.link)
}

/// What a step is for: the same for the script's assembler text and for vmlinker's object.
fn purpose(step: &Step) -> (&str, &str) {
    let output = match step.output.strip_suffix(".S") {
        Some(stem) => stem,
        None => step.output.strip_suffix(".o").unwrap_or(&step.output),
    };
    (&step.verb, output)
}

/// A table of the script's steps and vmlinker's: a step that both have is one row.
pub fn side_by_side(script: &Link, ours: &Link) -> String {
    let mut table = format!("  {:44} {:>8} {:>9}  by\n", "step", "script", "vmlinker");
    for (left, right) in pair(&script.steps, &ours.steps) {
        let Some(step) = right.or(left) else { continue };
        if left.is_none() && step.wall_us() < NOTICEABLE {
            continue;
        }
        let time = |step: Option<&Step>| match step {
            Some(step) => seconds(step.wall_us()),
            None => "-".to_owned(),
        };
        let name = format!("{:7} {}", step.verb, step.output);
        let engine = right.map_or("", |step| &step.engine);
        let (left, right) = (time(left), time(right));
        // Writing to a string cannot fail.
        let _ = writeln!(table, "  {name:44} {left:>8} {right:>9}  {engine}");
    }
    let (left, right) = (seconds(script.wall_us), seconds(ours.wall_us));
    let _ = writeln!(table, "  {:44} {left:>8} {right:>9}", "together");
    table
}

fn seconds(micros: u64) -> String {
    format!("{:.2}", micros as f64 / 1e6)
}

/// Both lists in one order, equal names together.
fn pair<'a>(script: &'a [Step], ours: &'a [Step]) -> Vec<(Option<&'a Step>, Option<&'a Step>)> {
    let mut rows = Vec::new();
    let mut rest = ours.iter();
    for left in script {
        let place = rest.as_slice().iter().position(|step| purpose(step) == purpose(left));
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

    fn link<const N: usize>(names: [&str; N]) -> Link {
        let steps = names.iter().zip(0..).map(|(name, at)| {
            let (verb, output) = name.split_once(' ').unwrap();
            let (start_us, end_us) = (at * 250_000, (at + 1) * 250_000);
            let (verb, output) = (verb.to_owned(), output.to_owned());
            Step { verb, output, start_us, end_us, ..Step::default() }
        });
        let steps: Vec<Step> = steps.collect();
        Link { wall_us: steps.last().unwrap().end_us, steps, ..Link::default() }
    }

    #[test]
    fn text_for_the_assembler_and_an_object_are_one_step() {
        let (script, ours) = (link(["KSYMS k.S", "AS k.o"]), link(["KSYMS k.o"]));
        let rows = pair(&script.steps, &ours.steps);
        assert!(matches!(rows[..], [(Some(_), Some(_)), (Some(_), None)]));
    }

    #[test]
    fn equal_steps_share_a_row_and_the_others_keep_their_order() {
        let (script, mut ours) =
            (link(["LD a", "AS b", "LD c"]), link(["LD a", "SYM x", "LD c", "END y"]));
        let rows: Vec<(bool, bool)> = pair(&script.steps, &ours.steps)
            .into_iter()
            .map(|(left, right)| (left.is_some(), right.is_some()))
            .collect();
        assert_eq!(rows, [(true, true), (true, false), (false, true), (true, true), (false, true)]);
        ours.steps[1].end_us = ours.steps[1].start_us + 10;
        let table = side_by_side(&script, &ours);
        assert!(table.ends_with("0.75      1.00\n"), "{table}");
        assert!(table.contains("END") && !table.contains("SYM"), "{table}");
    }
}
