//! From a linked image's debug information to BTF.
//!
//! The peers are the newest pahole, with the flags that kernels pass it and as many threads, and pahole 1.24
//! run sequentially, as it gives the same bytes twice only then. vmlinker's side is `vmlinker pahole` with the
//! same words. Both write the types to a file of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::Setting;
use super::measure::{Cost, Runs, pipeline};
use super::page::{Page, version};
use crate::process;
use crate::progress::{Live, headline, say};

/// What `scripts/Makefile.btf` of 6.12 asks of a pahole from 1.26 on.
pub const FEATURES: &str = "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,\
                        optimized_func,consistent_func,decl_tag_kfuncs";

/// What 6.1 and 6.12 ask of pahole 1.24.
const FLOATS: &str = "--btf_gen_floats";
const ONE_THREAD: &str = "vmlinker, 1 thread";

/// One pahole and vmlinker in its place, with the same flags.
pub(super) struct Contest<'a> {
    pub vmlinker: &'a Path,
    /// The program, and whose bytes vmlinker is to make.
    pub pahole: (PathBuf, &'static str),
    pub flags: Vec<&'a str>,
    pub image: &'a Path,
    pub scratch: PathBuf,
}

impl Contest<'_> {
    fn encode(&self, mut command: Command, output: &str) -> Result<Cost> {
        command.args(&self.flags).arg("--lang_exclude=rust");
        let output = self.scratch.join(output);
        // pahole does not cut off a longer file that is there already.
        let _ = fs::remove_file(&output);
        command.arg(format!("--btf_encode_detached={}", output.display())).arg(self.image);
        pipeline(&mut [command], None)
    }

    fn theirs(&self) -> Result<Cost> {
        let mut command = Command::new(&self.pahole.0);
        command.arg("-J");
        self.encode(command, "peer.btf")
    }

    fn ours(&self) -> Result<Cost> {
        let mut command = Command::new(self.vmlinker);
        command.args(["pahole", "-J", "--pahole-version", self.pahole.1]);
        self.encode(command, "native.btf")
    }

    /// Both sides in turns, after one run of each that warms the page cache and compares the bytes.
    pub fn run(&self, title: &str, runs: usize) -> Result<(Runs, Runs)> {
        self.theirs()?;
        self.ours()?;
        let read = |name: &str| fs::read(self.scratch.join(name));
        ensure!(read("peer.btf")? == read("native.btf")?, "{title}: the two blobs differ");
        let (mut theirs, mut ours) = (Runs::default(), Runs::default());
        let mut live = Live::new("btf", false);
        for run in 1..=runs {
            live.update(&format!("{title}, run {run} of {runs}"));
            theirs.0.push(self.theirs()?);
            ours.0.push(self.ours()?);
        }
        live.finish(&format!("{title}: {runs} runs of each"));
        Ok((theirs, ours))
    }
}

/// Measures both sides in turns and writes the page.
pub fn run(setting: &Setting, vmlinker: &Path) -> Result<()> {
    headline("BTF: from debug information to types");
    let scratch = peer_tests::cache().join("bench");
    fs::create_dir_all(&scratch)?;
    let image = &setting.kernel.directory().join(".tmp_vmlinux1");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let newest = peer_tests::cache().join("peers/bin/pahole-1.32");
    let jobs = format!("-j{threads}");
    let many = format!("pahole 1.32 {jobs}");
    let native = format!("vmlinker, {threads} threads");
    let contests = [
        ([many.as_str(), &native], (newest.clone(), "1.32"), vec![jobs.as_str(), FEATURES]),
        (["pahole 1.32, sequential", ONE_THREAD], (newest.clone(), "1.32"), vec![FEATURES]),
        (["pahole 1.24, sequential", ONE_THREAD], ("pahole".into(), "1.24"), vec![FLOATS]),
    ];
    let bytes = debug_info(image)?;
    let mut page = Page::new(
        "BTF: from debug information to types",
        &format!(
            "{}, {:.0} MB of .debug_info. Both sides read the same linked image with the same flags and write the same \
             bytes; {} runs of each, in turns, files in the page cache.",
            setting.name,
            bytes as f64 / 1e6,
            setting.runs
        ),
    );
    for ([peer, native], pahole, flags) in contests {
        let contest = Contest { vmlinker, pahole, flags, image, scratch: scratch.clone() };
        let (theirs, ours) = contest.run(peer, setting.runs)?;
        page.table(&[(peer, &theirs), (native, &ours)]);
    }
    page.text("The peak is the largest resident set, pages of mapped files included.");
    page.text(&reading(setting, &scratch.join("native.btf"))?);
    let newest = version(&newest.display().to_string())?;
    page.text(&format!("With pahole {} and {newest}.", version("pahole")?));
    page.write(&setting.pages.join(format!("btf-{}.md", setting.name)))
}

/// Bytes of `.debug_info`.
fn debug_info(image: &Path) -> Result<u64> {
    let data = pipeline::map_open(&fs::File::open(image)?)?;
    let elf = image::Elf::parse(&data)?;
    Ok(elf.section(".debug_info").map_or(0, |(_, section)| section.size))
}

/// How long it takes to read a blob, by this program as it is released.
fn reading(setting: &Setting, blob: &Path) -> Result<String> {
    let mut read = Command::new(&setting.xtask);
    let text = process::output(read.arg("bench-btf").arg(blob))?.trim_end().to_owned();
    say(&text);
    Ok(text)
}

/// Reads a blob many times and says how long it took: all records checked, their places noted.
pub fn read(blob: &Path) -> Result<()> {
    let bytes = fs::read(blob)?;
    let mut times = Vec::new();
    let mut types = 0;
    for _ in 0..21 {
        let start = Instant::now();
        types = ::btf::Btf::parse(&bytes)?.len();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    println!(
        "`Btf::parse` reads these {:.1} MB, {types} types, in {:.1} ms (median).",
        bytes.len() as f64 / 1e6,
        times[times.len() / 2] * 1e3
    );
    Ok(())
}
