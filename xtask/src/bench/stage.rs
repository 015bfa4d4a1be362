//! The whole stage: the recorded link by the kernel's own script and by vmlinker.
//!
//! Both run through `vmlinker relink`, in a directory beside the tree, with the same linker and the same pahole: those
//! that the tree was recorded with, then ld.lld and the newest pahole with a thread for each core.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use peer_tests::link::Recorded;
use pipeline::Record;

use super::Setting;
use super::btf::FEATURES;
use super::measure::{Cost, Runs, pipeline};
use super::page::{Page, version};
use crate::progress::{Live, headline};

/// Who links: what to call it, the file it makes, and its words for `vmlinker relink`.
pub(super) type Side = (&'static str, &'static str, &'static [&'static str]);

pub(super) const SCRIPT: Side = ("link-vmlinux.sh", "vmlinux.script", &["--script"]);
const MERGED: Side =
    ("vmlinker --schedule merged", "vmlinux.merged", &["--schedule", "merged", "--cold"]);
pub(super) const COLD: Side = ("vmlinker, the first link", "vmlinux.cold", &["--cold"]);
pub(super) const WARM: Side = ("vmlinker, a later link", "vmlinux.warm", &["--remember"]);

pub(super) const LLD: &str = "ld.lld-19";

/// A tree, and who links it with which words more.
pub(super) struct Contest<'a> {
    pub vmlinker: &'a Path,
    pub build: &'a Path,
    pub more: &'a [&'a str],
    pub scratch: PathBuf,
}

impl Contest<'_> {
    fn link(&self, (_, output, how): Side) -> Result<Cost> {
        // To take apart the kernel of the run before is no part of this one.
        let output = self.scratch.join(output);
        let _ = fs::remove_file(&output);
        let mut relink = Command::new(self.vmlinker);
        relink.arg("relink").args(how).args(self.more).arg("-C").arg(self.build);
        relink.arg("--output").arg(&output).stderr(Stdio::null());
        pipeline(&mut [relink], None)
    }

    /// All sides in turns, after one run of each that warms the page cache and compares the kernels.
    pub fn run(&self, title: &str, sides: &[Side], runs: usize) -> Result<Vec<Runs>> {
        for &side in sides {
            self.link(side)?;
            // What this process once held would count as the peak of those that it starts.
            let mut cmp = Command::new("cmp");
            let files = [side, sides[0]].map(|(_, output, _)| self.scratch.join(output));
            let same = cmp.arg("--silent").args(files).status()?.success();
            ensure!(same, "{title}: the kernels {} and {} differ", side.1, sides[0].1);
        }
        let mut costs = vec![Runs::default(); sides.len()];
        let mut live = Live::new("stage", false);
        for run in 1..=runs {
            live.update(&format!("{title}, run {run} of {runs}"));
            for (&side, costs) in sides.iter().zip(&mut costs) {
                costs.0.push(self.link(side)?);
            }
        }
        live.finish(&format!("{title}: {runs} runs of each"));
        Ok(costs)
    }
}

/// Measures all sides in turns and writes the page.
pub fn run(setting: &Setting, vmlinker: &Path) -> Result<()> {
    headline("the whole stage: vmlinux.o to vmlinux");
    let build = setting.kernel.directory();
    let call = Record::load(build)?.call;
    let scratch = peer_tests::cache().join("bench");
    fs::create_dir_all(&scratch)?;
    let runs = setting.runs.min(5);
    let mut page = Page::new(
        "The whole stage: vmlinux.o to vmlinux",
        &format!(
            "{}, {:.0} MB of vmlinux.o. The recorded link, by the kernel's own script and by vmlinker; all kernels of a \
             table are the same bytes; {runs} runs of each, in turns, files in the page cache.",
            setting.name,
            fs::metadata(build.join("vmlinux.o"))?.len() as f64 / 1e6
        ),
    );
    let mut table = |tree: &Path, more: &[&str], title: &str, sides: &[Side]| -> Result<()> {
        let contest = Contest { vmlinker, build: tree, more, scratch: scratch.clone() };
        let costs = contest.run(title, sides, runs)?;
        page.text(&format!("With {title}:"));
        let rows: Vec<_> =
            sides.iter().zip(&costs).map(|((name, ..), runs)| (*name, runs)).collect();
        page.table(&rows);
        Ok(())
    };
    let own = format!("{} and pahole {}", version(&call.ld)?, version(call.tool("PAHOLE")?.0)?);
    table(build, &[], &own, &[SCRIPT, MERGED, COLD, WARM])?;
    let (newest, view) = with_the_newest(build, &scratch)?;
    table(&view.dir, &["--ld", LLD], &newest, &[SCRIPT, COLD, WARM])?;
    fs::remove_dir_all(&view.dir)?;
    page.text(
        "CPU time and peak are those of the processes that were waited for, children included. A later link knows \
         how large kallsyms and BTF were in the one before.",
    );
    page.write(&setting.pages.join(format!("stage-{}.md", setting.name)))
}

/// The tree as it is configured for LLVM's linker and the newest pahole, and what to call these.
pub(super) fn with_the_newest(build: &Path, scratch: &Path) -> Result<(String, Recorded)> {
    let pahole = peer_tests::cache().join("peers/bin/pahole-1.32");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let flags = format!("-j{threads} {FEATURES} --lang_exclude=rust");
    let place = scratch.join("newest");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    let view = Recorded { dir: build.to_owned() }.altered(&place, |record| {
        let call = &mut record["call"];
        call["env"]["PAHOLE"] = pahole.display().to_string().into();
        call["env"]["PAHOLE_FLAGS"] = flags.as_str().into();
        // Kbuild gives this one to GNU ld only.
        let words = call["ldflags"].as_str().unwrap_or_default();
        call["ldflags"] = words.replace("--no-warn-rwx-segments", "").into();
    });
    view.configure("PAHOLE_VERSION", "132");
    let title = format!(
        "{} and pahole {} -j{threads}",
        version(LLD)?,
        version(&pahole.display().to_string())?
    );
    Ok((title, view))
}
