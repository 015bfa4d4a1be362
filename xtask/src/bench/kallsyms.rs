//! From a linked image's symbol table to the object of the kallsyms tables.
//!
//! The peers are what link-vmlinux.sh runs: `nm -n | sed -f scripts/mksysmap`, `scripts/kallsyms`, and the
//! compiler as an assembler, with the flags of the recorded link call. vmlinker does it in one process, which
//! runs this program again so that its memory is measured alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use ::kallsyms::{Dialect, Options, Tables};
use anyhow::{Context as _, Result, ensure};
use pipeline::Record;

use super::Setting;
use super::measure::{Cost, Runs, pipeline};
use super::page::{Page, version};
use crate::process;
use crate::progress::{Live, headline, say};

/// The inputs of one conversion.
#[derive(Debug, clap::Args)]
pub struct Convert {
    /// The linked image.
    image: PathBuf,
    /// The source tree.
    srctree: PathBuf,
    /// The object to write.
    object: PathBuf,
    /// Per-CPU symbols are stored as they are.
    #[arg(long)]
    absolute_percpu: bool,
    /// Offsets instead of addresses.
    #[arg(long)]
    base_relative: bool,
    /// Offsets from their own place.
    #[arg(long)]
    pc_relative: bool,
}

/// What vmlinker does for these steps.
pub fn convert(args: &Convert) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let file = File::open(&args.image).with_context(|| args.image.display().to_string())?;
    // SAFETY: the map is read-only, and nothing changes a built kernel while it is measured.
    let data = unsafe { memmap2::Mmap::map(&file)? };
    let elf = image::Elf::parse(&data)?;
    let filter = sysmap::Filter::parse(&read(&args.srctree.join("scripts/mksysmap"))?)?;
    let dialect = Dialect::detect(&read(&args.srctree.join("scripts/kallsyms.c"))?)?;
    let entries = sysmap::system_map(&elf, &filter)?;
    let options = Options {
        all_symbols: true,
        absolute_percpu: args.absolute_percpu,
        base_relative: args.base_relative,
        pc_relative: args.pc_relative,
        ..Options::default()
    };
    let (tables, _) = Tables::build(&entries, &dialect, &options)?;
    fs::write(&args.object, tables.to_object(&elf.header())?)
        .with_context(|| args.object.display().to_string())
}

/// The tools that vmlinker stands for here.
pub(super) const PEERS: &str = "nm, sed, scripts/kallsyms, cc -c";

/// Both sides on one kernel.
pub(super) struct Contest<'a> {
    xtask: &'a Path,
    record: Record,
    image: PathBuf,
    /// Where both sides write.
    scratch: PathBuf,
    /// The arguments of `scripts/kallsyms` that its kernel passes.
    flags: Vec<&'static str>,
}

/// Measures both sides in turns and writes the page.
pub fn run(setting: &Setting) -> Result<()> {
    headline("kallsyms: from the symbol table to the object");
    let build = setting.kernel.directory();
    let scratch = peer_tests::cache().join("bench");
    fs::create_dir_all(&scratch)?;
    let contest = Contest::new(&setting.xtask, build, &setting.image.0, &scratch)?;
    let (theirs, ours) = contest.run(&setting.image.1, setting.runs)?;

    let symbols = fs::read_to_string(contest.file("syms"))?.lines().count();
    let mut page = Page::new(
        "kallsyms: from the symbol table to the object",
        &format!(
            "{symbols} symbols of {}. Both sides read the same linked image and write an object whose \
             section `.rodata` is the same bytes; {} runs of each, in turns, files in the page cache.",
            setting.image.1, setting.runs
        ),
    );
    page.table(&[(PEERS, &theirs), ("vmlinker", &ours)]);
    page.text("The peak is that of the largest single process.");
    page.text(&format!("With {}; {}.", version("nm")?, version("gcc")?));
    page.write(&setting.pages.join("kallsyms.md"))
}

/// The flags that link-vmlinux.sh passes for this configuration, where the tree's tool knows them.
fn flags(build: &Path) -> Result<Vec<&'static str>> {
    let config = fs::read_to_string(build.join("include/config/auto.conf"))?;
    let on = |name: &str| config.lines().any(|line| line == format!("CONFIG_{name}=y"));
    let tool = fs::read(build.join("scripts/kallsyms"))?;
    let knows = |flag: &str| tool.windows(flag.len()).any(|window| window == flag.as_bytes());
    let wanted = [
        ("absolute-percpu", on("KALLSYMS_ABSOLUTE_PERCPU")),
        ("base-relative", on("KALLSYMS_BASE_RELATIVE")),
        ("pc-relative", on("64BIT") || on("RELOCATABLE")),
    ];
    let passed = wanted.into_iter().filter(|&(flag, on)| on && knows(flag)).map(|(flag, _)| flag);
    Ok(passed.collect())
}

impl<'a> Contest<'a> {
    /// Both sides on this image of the recorded tree `build`.
    pub fn new(xtask: &'a Path, build: &Path, image: &Path, scratch: &Path) -> Result<Self> {
        let (record, flags) = (Record::load(build)?, flags(build)?);
        let (image, scratch) = (image.to_owned(), scratch.to_owned());
        Ok(Contest { xtask, record, image, scratch, flags })
    }

    /// Both sides in turns, after one run of each that compares what they make.
    pub fn run(&self, title: &str, runs: usize) -> Result<(Runs, Runs)> {
        self.check()?;
        let (mut theirs, mut ours) = (Runs::default(), Runs::default());
        let mut live = Live::new("kallsyms", false);
        for run in 1..=runs {
            live.update(&format!("{title}, run {run} of {runs}"));
            theirs.0.push(self.peers()?);
            ours.0.push(self.native()?);
        }
        live.finish(&format!("{title}: {runs} runs of each"));
        Ok((theirs, ours))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn options(&self) -> impl Iterator<Item = String> {
        self.flags.iter().map(|flag| format!("--{flag}"))
    }

    /// The kernel's own steps.
    fn peers(&self) -> Result<Cost> {
        let call = &self.record.call;
        let srctree = call.srctree();
        let (syms, assembly) = (self.file("syms"), self.file("kallsyms.S"));
        let mut nm = Command::new(call.tool("NM")?.0);
        nm.arg("-n").arg(&self.image).env("LC_ALL", "C");
        let mut sed = Command::new("sed");
        sed.arg("-f").arg(srctree.join("scripts/mksysmap")).env("LC_ALL", "C");
        let mut kallsyms = Command::new(call.dir.join("scripts/kallsyms"));
        kallsyms.arg("--all-symbols").args(self.options()).arg(&syms);
        let mut cc = Command::new(call.tool("CC")?.0);
        for flags in [
            "NOSTDINC_FLAGS",
            "LINUXINCLUDE",
            "KBUILD_CPPFLAGS",
            "KBUILD_AFLAGS",
            "KBUILD_AFLAGS_KERNEL",
        ] {
            cc.args(call.var(flags).split_whitespace());
        }
        cc.arg("-c").arg("-o").arg(self.file("peer.o")).arg(&assembly).current_dir(&call.dir);
        let listed = pipeline(&mut [nm, sed], Some(&syms))?;
        let written = pipeline(&mut [kallsyms], Some(&assembly))?;
        Ok(listed.then(written).then(pipeline(&mut [cc], None)?))
    }

    /// vmlinker's.
    fn native(&self) -> Result<Cost> {
        let mut convert = Command::new(self.xtask);
        convert.arg("bench-kallsyms").args(self.options()).arg(&self.image);
        convert.arg(self.record.call.srctree()).arg(self.file("native.o"));
        pipeline(&mut [convert], None)
    }

    /// Both sides make the same: a contest between different work would mean nothing. It also warms the page cache.
    fn check(&self) -> Result<()> {
        self.peers()?;
        self.native()?;
        let contents = |object: &str| {
            let raw = self.file("raw");
            let mut objcopy = Command::new("objcopy");
            objcopy.args(["-O", "binary", "--only-section=.rodata"]);
            process::run(objcopy.arg(self.file(object)).arg(&raw))?;
            anyhow::Ok(fs::read(&raw)?)
        };
        let (theirs, ours) = (contents("peer.o")?, contents("native.o")?);
        ensure!(theirs == ours, "the two objects differ in .rodata: {}", self.scratch.display());
        say(&format!("both write the same {} bytes of tables", ours.len()));
        Ok(())
    }
}
