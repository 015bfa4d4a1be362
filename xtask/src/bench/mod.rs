//! `cargo xtask bench`: vmlinker beside the tools whose place it takes, on a large real kernel.
//!
//! The runs of the two sides take turns, so that a slow moment of the machine meets both. Each section writes
//! a page into `docs/bench`, with the machine, the versions, medians, spread and peak memory.

mod btf;
mod growth;
mod kallsyms;
mod measure;
mod page;
mod plot;
mod stage;

use std::path::PathBuf;

use anyhow::Result;

pub use self::btf::read;
pub use self::kallsyms::{Convert, convert};

use crate::kernel::{self, Kernel};
use crate::progress::headline;
use crate::setup::{self, Purpose};
use crate::{record, sources, workspace};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure; everything without it.
    #[arg(value_enum)]
    section: Option<Section>,
    /// Three runs of each side instead of eleven.
    #[arg(long)]
    quick: bool,
    /// The kernel to measure on.
    #[arg(long, value_name = "NAME", default_value = "6.12-defconfig")]
    kernel: String,
    /// Your own source tree instead of Debian's.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Take the symbols for the kallsyms section from this linked image, such as a distribution's vmlinux,
    /// instead of the kernel's own.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Where the pages go; docs/bench of the checkout without it.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// A part of the stage, or the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Section {
    /// From the symbol table to the object of the kallsyms tables.
    Kallsyms,
    /// From debug information to BTF.
    Btf,
    /// From vmlinux.o to vmlinux.
    Stage,
    /// All three against a quarter, a half and the whole of the kernel.
    Growth,
}

/// What all sections share.
pub struct Setting {
    /// The built kernel, with its link call recorded.
    pub kernel: Kernel,
    /// Its name.
    pub name: String,
    /// vmlinker as it is released.
    pub vmlinker: PathBuf,
    /// This program as it is released: it runs vmlinker's side, in processes of its own.
    pub xtask: PathBuf,
    /// The image whose symbols the kallsyms section takes, and what to call it.
    pub image: (PathBuf, String),
    /// Where the pages go.
    pub pages: PathBuf,
    /// How often each side runs.
    pub runs: usize,
}

/// Runs the sections that are wanted.
pub fn run(args: &Args) -> Result<()> {
    setup::run(Purpose::Bench)?;
    if args.tree.is_none() {
        sources::ensure(kernel::recipe(&args.kernel)?.series)?;
    }
    headline(&format!("the kernel: {}", args.kernel));
    let kernel = Kernel::new(&args.kernel, args.tree.as_deref(), false)?;
    kernel.build()?;
    record::record(&kernel)?;
    headline("vmlinker's side, built for release");
    let vmlinker = workspace::release("vmlinker")?;
    let image = match &args.image {
        Some(image) => {
            let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (image.canonicalize()?, name)
        }
        None => (kernel.directory().join(".tmp_vmlinux2"), args.kernel.clone()),
    };
    let setting = Setting {
        image,
        kernel,
        name: args.kernel.clone(),
        xtask: workspace::release("xtask")?,
        vmlinker: vmlinker.clone(),
        pages: args.output.clone().unwrap_or_else(|| workspace::root().join("docs/bench")),
        runs: if args.quick { 3 } else { 11 },
    };
    let wanted = |section| args.section.is_none_or(|only| only == section);
    if wanted(Section::Kallsyms) {
        self::kallsyms::run(&setting)?;
    }
    if wanted(Section::Btf) {
        self::btf::run(&setting, &vmlinker)?;
    }
    if wanted(Section::Stage) {
        self::stage::run(&setting, &vmlinker)?;
    }
    if wanted(Section::Growth) {
        self::growth::run(&setting, &vmlinker)?;
    }
    Ok(())
}
