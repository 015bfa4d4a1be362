//! The whole stage: the recorded link by the kernel's own script and by vmlinker.
//!
//! Both run through `vmlinker relink`, in a directory beside the tree, with the same linker and the same pahole: those
//! that the tree was recorded with, then ld.lld and the newest pahole with a thread for each core. A later link is
//! one in a view of the tree, where the kernel of the link before is, after a change in `vmlinux.o`.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use anyhow::{Context as _, Result, ensure};
use peer_tests::link::Recorded;
use pipeline::Record;
use serde_json::Value;

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
pub(super) const WARM: Side = ("vmlinker, a later link", "vmlinux", &[]);

pub(super) const LLD: &str = "ld.lld-19";

/// A view of a tree, and who links it with which words more.
pub(super) struct Contest<'a> {
    vmlinker: &'a Path,
    view: &'a Recorded,
    more: &'a [&'a str],
    scratch: &'a Path,
    change: Change,
}

impl<'a> Contest<'a> {
    /// The view gets a `vmlinux.o` of its own.
    pub fn new(
        vmlinker: &'a Path,
        view: &'a Recorded,
        more: &'a [&'a str],
        scratch: &'a Path,
    ) -> Result<Self> {
        Ok(Contest { vmlinker, view, more, scratch, change: Change::new(view)? })
    }

    fn link(&self, side: Side) -> Result<Cost> {
        let mut relink = Command::new(self.vmlinker);
        relink.arg("relink").args(side.2).args(self.more).arg("-C").arg(&self.view.dir);
        if side != WARM {
            // To take apart the kernel of the run before is no part of this one.
            let _ = fs::remove_file(self.kernel(side));
            relink.arg("--output").arg(self.kernel(side));
        }
        relink.stderr(Stdio::null());
        pipeline(&mut [relink], None)
    }

    /// Where a side puts the kernel.
    fn kernel(&self, side: Side) -> PathBuf {
        if side == WARM { self.view.dir.join(side.1) } else { self.scratch.join(side.1) }
    }

    /// Links once, and compares with the kernel of the first side.
    fn check(&self, title: &str, side: Side, first: Side) -> Result<()> {
        self.link(side)?;
        // What this process once held would count as the peak of those that it starts.
        let mut cmp = Command::new("cmp");
        let same = cmp.arg("--silent").args([side, first].map(|side| self.kernel(side)));
        ensure!(same.status()?.success(), "{title}: the kernels {} and {} differ", side.0, first.0);
        Ok(())
    }

    /// All sides in turns, after one run of each that warms the page cache and compares the kernels.
    pub fn run(&self, title: &str, sides: &[Side], runs: usize) -> Result<Vec<Runs>> {
        for &side in sides {
            self.check(title, side, sides[0])?;
        }
        let mut costs = vec![Runs::default(); sides.len()];
        let mut live = Live::new("stage", false);
        for run in 1..=runs {
            live.update(&format!("{title}, run {run} of {runs}"));
            for (&side, costs) in sides.iter().zip(&mut costs) {
                if side == WARM {
                    self.change.toggle()?;
                }
                settle(&self.view.dir)?;
                costs.0.push(self.link(side)?);
            }
        }
        if runs % 2 == 1 {
            self.change.toggle()?;
        }
        self.check(title, WARM, sides[0])?;
        live.finish(&format!("{title}: {runs} runs of each"));
        Ok(costs)
    }
}

/// Leaves the machine to every side in the same state: the files of the run before are on the disk, there is free
/// memory that has just been in use, and the files of the tree are in the page cache.
///
/// A virtual machine may give free pages back to its host within seconds, and a page that comes from there costs
/// several times what another one does: who runs behind a process that has used and freed gigabytes would pay for
/// that. The memory is that of another process, so that it does not count as a peak. And it may drop from the page cache
/// what has not been read for some time, which is most of `vmlinux.o` while a kernel is linked for the third time.
fn settle(tree: &Path) -> Result<()> {
    const MOST: u64 = 4 << 30;
    ensure!(Command::new("sync").status()?.success(), "sync failed");
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let available: u64 = available.context("no MemAvailable in /proc/meminfo")?.parse()?;
    let bytes = MOST.min(available * 1024 / 2);
    let mut dd = Command::new("dd");
    dd.args(["if=/dev/zero", "of=/dev/null", "count=1", "iflag=fullblock"]);
    let status = dd.arg(format!("bs={bytes}")).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "dd cannot have {bytes} bytes of memory");
    for entry in fs::read_dir(tree)? {
        let path = entry?.path();
        if path.is_file() {
            io::copy(&mut fs::File::open(&path)?, &mut io::sink())
                .with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// A letter of a message and one of a variable's name in a view's own copy of `vmlinux.o`, as if their source file had
/// been edited: the name is debug information, by which the file's unit is another one.
struct Change {
    file: fs::File,
    /// Offset of each letter in the file, in bytes.
    letters: [u64; 2],
}

impl Change {
    const MESSAGE: &[u8] = b"Kernel command line: %s\n";
    /// A static variable of init/main.c; in the symbol table a number follows its name.
    const NAME: &[u8] = b"\0tmp_cmdline\0";

    fn new(view: &Recorded) -> Result<Self> {
        let path = view.dir.join("vmlinux.o");
        let original = fs::canonicalize(&path)?;
        fs::remove_file(&path)?;
        fs::copy(original, &path)?;
        let file = fs::File::options().read(true).write(true).open(&path)?;
        let at = |text: &[u8]| {
            find(&file, text)?.with_context(|| {
                let text = text.escape_ascii();
                format!("{}: \"{text}\", which is to be changed, is not there", path.display())
            })
        };
        let letters = [at(Self::MESSAGE)?, at(Self::NAME)? + 1];
        Ok(Change { file, letters })
    }

    /// Changes the letters, or changes them back.
    fn toggle(&self) -> Result<()> {
        for at in self.letters {
            let mut letter = [0];
            self.file.read_exact_at(&mut letter, at)?;
            letter[0] ^= 0x20;
            self.file.write_all_at(&letter, at)?;
        }
        Ok(())
    }
}

/// Where a text begins in a file, in bytes.
fn find(file: &fs::File, text: &[u8]) -> Result<Option<u64>> {
    let mut buffer = vec![0; 1 << 20];
    let (mut start, len) = (0, file.metadata()?.len());
    while start < len {
        let read = file.read_at(&mut buffer, start)?;
        if let Some(at) = memchr::memmem::find(&buffer[..read], text) {
            return Ok(Some(start + at as u64));
        }
        // It may lie across the end.
        start += (buffer.len() - text.len()) as u64;
    }
    Ok(None)
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
    let mut table = |view: &Recorded, more: &[&str], title: &str, sides: &[Side]| -> Result<()> {
        let contest = Contest::new(vmlinker, view, more, &scratch)?;
        let costs = contest.run(title, sides, runs)?;
        fs::remove_dir_all(&view.dir)?;
        page.text(&format!("With {title}:"));
        let rows: Vec<_> =
            sides.iter().zip(&costs).map(|((name, ..), runs)| (*name, runs)).collect();
        page.table(&rows);
        Ok(())
    };
    let own = format!("{} and pahole {}", version(&call.ld)?, version(call.tool("PAHOLE")?.0)?);
    let view = view(build, &scratch.join("recorded"), |_| {})?;
    table(&view, &[], &own, &[SCRIPT, MERGED, COLD, WARM])?;
    let (newest, view) = with_the_newest(build, &scratch)?;
    table(&view, &["--ld", LLD], &newest, &[SCRIPT, COLD, WARM])?;
    page.text(
        "CPU time and peak are those of the processes that were waited for, children included. Before a later link \
         a letter of a message and one of a variable's name were changed in `vmlinux.o`, so that one unit is another; it \
         knows how large kallsyms and BTF were in the link before, what the other units say of types, and most strings, \
         and finds that link's kernel, as every build in a tree does. The others find none: to remove it, which takes \
         0.1 s and more, is not counted. Before each run of every side the files of the run before were written to the \
         disk; half of the available memory, 4 GiB at most, was used and freed, for a virtual machine that gives free \
         pages back to its host pays for them again, which would count for whoever comes next; and the files of the \
         tree were read, for such a machine also drops what nobody has read for a while from the page cache.",
    );
    page.write(&setting.pages.join(format!("stage-{}.md", setting.name)))
}

/// A new view of the tree, with its record changed.
fn view(build: &Path, place: &Path, change: impl FnOnce(&mut Value)) -> Result<Recorded> {
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    Ok(Recorded { dir: build.to_owned() }.altered(place, change))
}

/// The tree as it is configured for LLVM's linker and the newest pahole, and what to call these.
pub(super) fn with_the_newest(build: &Path, scratch: &Path) -> Result<(String, Recorded)> {
    let pahole = peer_tests::cache().join("peers/bin/pahole-1.32");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let flags = format!("-j{threads} {FEATURES} --lang_exclude=rust");
    let view = view(build, &scratch.join("newest"), |record| {
        let call = &mut record["call"];
        call["env"]["PAHOLE"] = pahole.display().to_string().into();
        call["env"]["PAHOLE_FLAGS"] = flags.as_str().into();
        // Kbuild gives this one to GNU ld only.
        let words = call["ldflags"].as_str().unwrap_or_default();
        call["ldflags"] = words.replace("--no-warn-rwx-segments", "").into();
    })?;
    view.configure("PAHOLE_VERSION", "132");
    let title = format!(
        "{} and pahole {} -j{threads}",
        version(LLD)?,
        version(&pahole.display().to_string())?
    );
    Ok((title, view))
}
