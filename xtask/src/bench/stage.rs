//! The whole stage: the recorded link by the kernel's own script and by vmlinker.
//!
//! Both run through `vmlinker relink`, in a directory beside the tree, with the same linker and the same
//! pahole.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use pipeline::Record;

use super::Setting;
use super::measure::{Cost, Runs, pipeline};
use super::page::{Page, version};
use crate::progress::{Live, headline};

/// Who links: what to call it, the file it makes, and its words for `vmlinker relink`.
const SIDES: [(&str, &str, &[&str]); 4] = [
    ("link-vmlinux.sh", "vmlinux.script", &["--script"]),
    ("vmlinker, the tree's own schedule", "vmlinux.native", &[]),
    ("vmlinker --schedule lean --cold", "vmlinux.cold", &["--schedule", "lean", "--cold"]),
    ("vmlinker --schedule lean, warm", "vmlinux.warm", &["--schedule", "lean", "--remember"]),
];

/// Measures all sides in turns and writes the page.
pub fn run(setting: &Setting, vmlinker: &Path) -> Result<()> {
    headline("the whole stage: vmlinux.o to vmlinux");
    let build = setting.kernel.directory();
    let call = Record::load(build)?.call;
    let scratch = peer_tests::cache().join("bench");
    fs::create_dir_all(&scratch)?;
    let link = |output: &str, how: &[&str]| -> Result<Cost> {
        // To take apart the kernel of the run before is no part of this one.
        let output = scratch.join(output);
        let _ = fs::remove_file(&output);
        let mut relink = Command::new(vmlinker);
        relink.arg("relink").args(how).arg("-C").arg(build);
        relink.arg("--output").arg(&output).stderr(std::process::Stdio::null());
        pipeline(&mut [relink], None)
    };
    // The first run of each warms the page cache; a contest between different results means nothing.
    for (_, output, how) in SIDES {
        link(output, how)?;
        let same = fs::read(scratch.join(output))? == fs::read(scratch.join(SIDES[0].1))?;
        ensure!(same, "the kernels {output} and {} differ", SIDES[0].1);
    }
    let runs = setting.runs.min(5);
    let mut costs = SIDES.map(|_| Runs::default());
    let mut live = Live::new("stage", false);
    for run in 1..=runs {
        live.update(&format!("run {run} of {runs}"));
        for ((_, output, how), costs) in SIDES.iter().zip(&mut costs) {
            costs.0.push(link(output, how)?);
        }
    }
    live.finish(&format!("{runs} runs of each"));
    let mut page = Page::new(
        "The whole stage: vmlinux.o to vmlinux",
        &format!(
            "{}, {:.0} MB of vmlinux.o. The recorded link, by the kernel's own script and by vmlinker; all kernels are \
             the same bytes; {runs} runs of each, in turns, files in the page cache.",
            setting.name,
            fs::metadata(build.join("vmlinux.o"))?.len() as f64 / 1e6
        ),
    );
    let rows: Vec<_> = SIDES.iter().zip(&costs).map(|((name, ..), costs)| (*name, costs)).collect();
    page.table(&rows);
    page.text(
        "CPU time and peak are those of the processes that were waited for, children included. A warm link knows the \
         sizes of the one before.",
    );
    page.text(&format!("With {}; {}.", version(&call.ld)?, version(call.tool("PAHOLE")?.0)?));
    page.write(&setting.pages.join(format!("stage-{}.md", setting.name)))
}
