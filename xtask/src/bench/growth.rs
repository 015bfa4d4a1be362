//! How the cost grows: a quarter, a half and all of a kernel's units.
//!
//! The parts are kernels of their own: so many of the objects behind vmlinux.o are linked to one by Kbuild's own command,
//! objtool included, and vmlinux of that by the stage, which leaves undefined symbols at zero
//! (`--unresolved-symbols=ignore-all`). Such a kernel does not run, but all tools do on it what they do on a whole one.
//! The objects of the architecture, of init and of lib come first, because the linker script names symbols of theirs.
//!
//! The stage is measured with ld.lld and the newest pahole; BTF and the kallsyms object are made of the vmlinux that
//! the kernel's script has linked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use peer_tests::link::Recorded;

use super::measure::{Cost, Runs};
use super::page::{Page, version};
use super::plot::{Curve, Figure, Panel, Point, svg};
use super::{Setting, btf, kallsyms, stage};
use crate::process;
use crate::progress::{headline, say};

/// The parts: how to call them, and which part of all units they are.
const PARTS: [(&str, usize, usize); 3] = [("1/4", 1, 4), ("1/2", 1, 2), ("all", 1, 1)];

/// Directories whose objects every part has.
const FIRST: [&str; 3] = ["arch/", "init/", "lib/"];

/// What is measured of each part.
const TASKS: [&str; 3] = ["the whole stage", "BTF", "the kallsyms object"];

/// A side and its runs.
type Row = (String, Runs);

/// A part, measured.
struct Measured {
    name: &'static str,
    units: usize,
    /// For each of [`TASKS`].
    rows: [Vec<Row>; 3],
}

/// Measures all parts and writes the page and the plot.
pub fn run(setting: &Setting, vmlinker: &Path) -> Result<()> {
    headline("growth: a quarter, a half and all of the units");
    let scratch = peer_tests::cache().join("bench/growth");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    let members = members(setting.kernel.directory())?;
    let mut parts = Vec::new();
    for (name, share, of) in PARTS {
        let units = members.len() * share / of;
        let dir = scratch.join(name.replace('/', "-"));
        fs::create_dir(&dir)?;
        say(&format!("{name}: {units} of {} units", members.len()));
        parts.push(measured(setting, vmlinker, &dir, name, &members[..units])?);
        // Some GB.
        fs::remove_dir_all(&dir)?;
    }
    let plot = format!("growth-{}.svg", setting.name);
    fs::create_dir_all(&setting.pages)?;
    fs::write(setting.pages.join(&plot), svg(&figure(&setting.name, &parts)))?;
    page(setting, &parts, &plot)
}

/// The objects behind vmlinux.o, those first that every part has.
fn members(build: &Path) -> Result<Vec<String>> {
    let listed = process::output(Command::new("ar").arg("t").arg("vmlinux.a").current_dir(build))?;
    let first = |name: &&str| FIRST.iter().any(|directory| name.starts_with(directory));
    let (mut members, rest): (Vec<&str>, Vec<&str>) = listed.lines().partition(first);
    members.extend(rest);
    ensure!(!members.is_empty(), "{}: vmlinux.a is empty", build.display());
    Ok(members.into_iter().map(str::to_owned).collect())
}

fn measured(
    setting: &Setting,
    vmlinker: &Path,
    dir: &Path,
    name: &'static str,
    members: &[String],
) -> Result<Measured> {
    let build = setting.kernel.directory();
    let whole = name == "all";
    let object = if whole { build.join("vmlinux.o") } else { part(build, dir, members)? };
    let part = Recorded { dir: build.to_owned() }.altered(&dir.join("part"), |record| {
        let flags = &mut record["call"]["ldflags_vmlinux"];
        let words = flags.as_str().unwrap_or_default();
        if !whole {
            *flags = format!("--unresolved-symbols=ignore-all {words}").into();
        }
    });
    let place = part.dir.join("vmlinux.o");
    fs::remove_file(&place)?;
    std::os::unix::fs::symlink(object, &place)?;
    let (_, view) = stage::with_the_newest(&part.dir, dir)?;

    let links = stage::Contest::new(vmlinker, &view, &["--ld", stage::LLD], dir)?;
    let sides = [stage::SCRIPT, stage::COLD, stage::WARM];
    let costs = links.run(name, &sides, setting.runs.div_ceil(4).min(3))?;
    let stage = sides.iter().map(|(side, ..)| (*side).to_owned()).zip(costs).collect();

    let image = dir.join(stage::SCRIPT.1);
    let runs = setting.runs.min(5);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = format!("-j{threads}");
    let types = btf::Contest {
        vmlinker,
        pahole: (newest(), "1.32"),
        flags: vec![&jobs, btf::FEATURES],
        image: &image,
        scratch: dir.to_owned(),
    };
    let (theirs, ours) = types.run(name, runs)?;
    let types = vec![
        (format!("pahole 1.32 {jobs}"), theirs),
        (format!("vmlinker, {threads} threads"), ours),
    ];

    let tables = kallsyms::Contest::new(&setting.xtask, &view.dir, &image, dir)?;
    let (theirs, ours) = tables.run(name, runs)?;
    let tables = vec![(kallsyms::PEERS.to_owned(), theirs), ("vmlinker".to_owned(), ours)];
    Ok(Measured { name, units: members.len(), rows: [stage, types, tables] })
}

/// Links these objects as Kbuild links all of them to vmlinux.o; gives the place of the result.
fn part(build: &Path, dir: &Path, members: &[String]) -> Result<PathBuf> {
    let (archive, object) = (dir.join("part.a"), dir.join("part.o"));
    let mut ar = Command::new("ar");
    // A thin archive has the names of its members from its own place.
    ar.arg("cDPrST").arg(&archive).args(members.iter().map(|name| build.join(name)));
    process::run(&mut ar)?;
    let saved = build.join(".vmlinux.o.cmd");
    let text = fs::read_to_string(&saved).with_context(|| saved.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("savedcmd_vmlinux.o := "));
    let line = line.with_context(|| format!("{}: no command", saved.display()))?;
    let words = line.split_whitespace().map(|word| match word {
        "vmlinux.a" => archive.display().to_string(),
        "vmlinux.o" => object.display().to_string(),
        other => other.to_owned(),
    });
    let command: Vec<String> = words.collect();
    let mut shell = Command::new("sh");
    // objtool warns of calls to what is not there.
    shell.arg("-ec").arg(command.join(" ")).current_dir(build).stderr(std::process::Stdio::null());
    process::run(&mut shell)?;
    Ok(object)
}

fn newest() -> PathBuf {
    peer_tests::cache().join("peers/bin/pahole-1.32")
}

fn page(setting: &Setting, parts: &[Measured], plot: &str) -> Result<()> {
    let mut page = Page::new(
        "Growth: a quarter, a half and all of the units",
        &format!(
            "The cost of the stage, of BTF and of the kallsyms object against the number of units (objects behind \
             vmlinux.o) of {}. The parts are kernels of their own, made of so many of its objects by Kbuild's own command \
             and linked with undefined symbols at zero; the objects of arch, init and lib are in each. Both sides make \
             the same bytes, in turns, files in the page cache.",
            setting.name
        ),
    );
    page.text(&format!("![Wall time and peak memory against units]({plot})"));
    for (index, task) in TASKS.iter().enumerate() {
        for part in parts {
            let rows = &part.rows[index];
            let runs = rows.first().map_or(0, |(_, runs)| runs.0.len());
            let units = format!("{} units ({})", part.units, part.name);
            page.text(&format!("{task}, {units}, {runs} runs of each:"));
            page.table(&rows.iter().map(|(side, runs)| (side.as_str(), runs)).collect::<Vec<_>>());
        }
    }
    page.text(&growth(parts));
    page.text("The peak is that of the largest process, pages of mapped files included.");
    let tools = [version(stage::LLD)?, version("nm")?, version("gcc")?].join("; ");
    page.text(&format!(
        "With pahole {}; {tools}; {}.",
        version(&newest().display().to_string())?,
        version(&setting.vmlinker.display().to_string())?
    ));
    page.write(&setting.pages.join(format!("growth-{}.md", setting.name)))
}

/// How many times as much the whole costs as a quarter, for each side.
fn growth(parts: &[Measured]) -> String {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return String::new() };
    let mut lines = vec![format!(
        "From {} to {} units, {:.1} times as many, wall time grows",
        first.units,
        last.units,
        last.units as f64 / first.units as f64
    )];
    for (index, task) in TASKS.iter().enumerate() {
        let sides = first.rows[index].iter().zip(&last.rows[index]);
        let times: Vec<String> = sides
            .map(|((side, small), (_, large))| {
                let times = large.median(|cost| cost.wall) / small.median(|cost| cost.wall);
                format!("{times:.1} times ({side})")
            })
            .collect();
        lines.push(format!("- {task}: {}", times.join(", ")));
    }
    lines.join("\n")
}

fn figure(kernel: &str, parts: &[Measured]) -> Figure {
    let time: (&str, fn(&Cost) -> f64) = ("wall time, seconds", |cost| cost.wall);
    let memory: (&str, fn(&Cost) -> f64) = ("peak memory, MB", |cost| cost.peak as f64 / 1e6);
    let mut panels = Vec::new();
    for (index, task) in TASKS.iter().enumerate() {
        for (y_label, value) in [time, memory] {
            let sides = parts.first().map_or(0, |part| part.rows[index].len());
            let curve = |side: usize| Curve {
                name: parts[0].rows[index][side].0.clone(),
                points: parts
                    .iter()
                    .map(|part| point(part.units, &part.rows[index][side].1, value))
                    .collect(),
            };
            let curves = (0..sides).map(curve).collect();
            panels.push(Panel { title: (*task).to_owned(), y_label: y_label.to_owned(), curves });
        }
    }
    Figure {
        title: format!("Cost against units: {kernel}"),
        x_label: "units".to_owned(),
        columns: 2,
        panels,
    }
}

fn point(units: usize, runs: &Runs, value: fn(&Cost) -> f64) -> Point {
    let (least, most) = runs.spread(value);
    Point { x: units as f64, y: runs.median(value), least, most }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(wall: f64) -> Runs {
        Runs(vec![Cost { wall, cpu: wall, peak: 1_000_000 }; 3])
    }

    fn parts() -> Vec<Measured> {
        let part = |name, units: usize| {
            let rows = || {
                let wall = units as f64;
                vec![("theirs".to_owned(), runs(wall)), ("ours".to_owned(), runs(wall / 10.0))]
            };
            Measured { name, units, rows: [rows(), rows(), rows()] }
        };
        vec![part("1/4", 25), part("1/2", 50), part("all", 100)]
    }

    #[test]
    fn the_figure_has_time_and_memory_of_each_task() {
        let figure = figure("a kernel", &parts());
        assert_eq!(figure.panels.len(), 6);
        let (time, memory) = (&figure.panels[0], &figure.panels[1]);
        assert_eq!((&*time.curves[1].name, time.curves[1].points[2].y), ("ours", 10.0));
        assert_eq!(memory.curves[0].points[0].y, 1.0);
    }

    #[test]
    fn growth_is_told_for_each_side() {
        let text = growth(&parts());
        assert!(text.starts_with("From 25 to 100 units, 4.0 times as many, wall time grows\n"));
        assert_eq!(text.matches("4.0 times (theirs), 4.0 times (ours)").count(), 3, "{text}");
    }
}
