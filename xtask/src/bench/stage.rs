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

/// Measures both sides in turns and writes the page.
pub fn run(setting: &Setting, vmlinker: &Path) -> Result<()> {
    headline("the whole stage: vmlinux.o to vmlinux");
    let build = setting.kernel.directory();
    let call = Record::load(build)?.call;
    let scratch = peer_tests::cache().join("bench");
    fs::create_dir_all(&scratch)?;
    let (script, native) = (scratch.join("vmlinux.script"), scratch.join("vmlinux.native"));
    let link = |output: &Path, how: &[&str]| -> Result<Cost> {
        let mut relink = Command::new(vmlinker);
        relink.arg("relink").args(how).arg("-C").arg(build).arg("--output").arg(output);
        relink.stderr(std::process::Stdio::null());
        pipeline(&mut [relink], None)
    };
    // The first run of each warms the page cache; a contest between different results means nothing.
    link(&script, &["--script"])?;
    link(&native, &[])?;
    ensure!(fs::read(&script)? == fs::read(&native)?, "the two kernels differ");
    let runs = setting.runs.min(5);
    let (mut theirs, mut ours) = (Runs::default(), Runs::default());
    let mut live = Live::new("stage", false);
    for run in 1..=runs {
        live.update(&format!("run {run} of {runs}"));
        theirs.0.push(link(&script, &["--script"])?);
        ours.0.push(link(&native, &[])?);
    }
    live.finish(&format!("{runs} runs of each"));
    let mut page = Page::new(
        "The whole stage: vmlinux.o to vmlinux",
        &format!(
            "{}, {:.0} MB of vmlinux.o. The recorded link, by the kernel's own script and by vmlinker, with the \
             tree's own schedule; the two kernels are the same bytes; {runs} runs of each, in turns, files in \
             the page cache.",
            setting.name,
            fs::metadata(build.join("vmlinux.o"))?.len() as f64 / 1e6
        ),
    );
    page.table(&[("link-vmlinux.sh", &theirs), ("vmlinker", &ours)]);
    page.text(
        "CPU time and peak are those of the processes that were waited for, children included.",
    );
    page.text(&format!("With {}; {}.", version(&call.ld)?, version(call.tool("PAHOLE")?.0)?));
    page.write(&setting.pages.join(format!("stage-{}.md", setting.name)))
}
