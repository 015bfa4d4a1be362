//! `vmlinker pahole`, and `vmlinker-pahole`: what kernels ask of pahole, natively.
//!
//! Kernels pass pahole a fixed set of options; these are taken under their own names, and any other is
//! refused by name. The blob goes into a file of its own or into the image, as a new or replaced section.

mod attach;
mod features;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use btf::{Btf, HeaderForm};
use clap::Parser;
use dwarf_btf::{Encoded, Language, Options, PaholeVersion};
use image::Elf;
use memmap2::Mmap;

/// Make BTF of a kernel's or module's debug information, as pahole does.
// 6.12 passes `-j` twice where no time stamp is fixed: as with pahole, the last one counts.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// Encode BTF (the only thing that is done here).
    #[arg(short = 'J', long = "btf_encode")]
    encode: bool,
    /// Threads; all processors without a number.
    #[arg(short = 'j', long = "jobs", num_args = 0..=1, require_equals = false, value_name = "N",
          default_missing_value = "0")]
    jobs: Option<String>,
    /// Write the blob to this file and leave the image alone.
    #[arg(long = "btf_encode_detached", value_name = "FILE")]
    detached: Option<PathBuf>,
    /// The file (ELF or plain BTF) that the types are split on.
    #[arg(long = "btf_base", value_name = "FILE")]
    base: Option<PathBuf>,
    /// What to encode, by pahole's names; what is not known is passed over.
    #[arg(long = "btf_features", value_name = "FEATURES")]
    features: Vec<String>,
    /// The same; what is not known is an error.
    #[arg(long = "btf_features_strict", value_name = "FEATURES")]
    features_strict: Vec<String>,
    /// Print the names of the features and exit.
    #[arg(long = "supported_btf_features")]
    supported: bool,
    #[arg(long = "btf_gen_floats")]
    floats: bool,
    /// Accepted: functions with changed names are always looked for.
    #[arg(long = "btf_gen_optimized")]
    optimized: bool,
    #[arg(long = "btf_encode_force")]
    force: bool,
    #[arg(long = "skip_encoding_btf_inconsistent_proto")]
    consistent: bool,
    #[arg(long = "skip_encoding_btf_vars")]
    skip_vars: bool,
    #[arg(long = "skip_encoding_btf_decl_tag")]
    skip_decl_tags: bool,
    #[arg(long = "skip_encoding_btf_type_tag")]
    skip_type_tags: bool,
    #[arg(long = "skip_encoding_btf_enum64")]
    skip_enum64: bool,
    /// Leave out units in these languages, names separated by commas.
    #[arg(long = "lang_exclude", value_name = "LANGUAGES")]
    lang_exclude: Option<String>,
    /// Whose bytes to make: 1.24 or 1.32, by default the newest. A link called vmlinker-pahole-1.24 is another
    /// way to say it, for kernels, which take the name of a program and no option.
    #[arg(long = "pahole-version", value_name = "VERSION")]
    version: Option<String>,
    /// Print the version, as pahole does, and exit.
    #[arg(long = "version")]
    print_version: bool,
    /// Print the version as a number and exit.
    #[arg(long = "numeric_version")]
    print_number: bool,
    /// Say which functions are left out, and why.
    #[arg(long)]
    explain: bool,
    /// Deduplicate type by type, as libbpf does; slower, the same result.
    #[arg(long = "exact-dedup")]
    exact_dedup: bool,
    /// Kernels or modules.
    files: Vec<PathBuf>,
}

/// `vmlinker-pahole`: the command alone, under pahole's name.
#[derive(Debug, Parser)]
#[command(name = "vmlinker-pahole", disable_version_flag = true)]
pub struct Alone {
    #[command(flatten)]
    pub args: Args,
}

/// The name that the binary is called by for this command alone.
const NAME: &str = "vmlinker-pahole";

/// What stands behind [`NAME`] in the name that the binary was called by: nothing or a version.
///
/// The name and no variable of the environment: Kconfig keeps pahole's version and asks again when
/// `PAHOLE` has another value, but not when the same program says another version.
pub fn called() -> Option<String> {
    let program = std::env::args_os().next()?;
    let name = Path::new(&program).file_name()?.to_str()?;
    let rest = name.strip_prefix(NAME)?;
    rest.strip_prefix('-').or((rest.is_empty()).then_some("")).map(str::to_owned)
}

/// Runs the command; `called` is what [`called`] gave.
pub fn run(args: &Args, called: Option<String>) -> anyhow::Result<ExitCode> {
    let version = args.version.clone().or(called.filter(|version| !version.is_empty()));
    let pahole = match version.as_deref().map(|version| version.trim_start_matches('v')) {
        None => PaholeVersion::default(),
        Some("1.24" | "124") => PaholeVersion::V1_24,
        Some("1.32" | "132") => PaholeVersion::V1_32,
        Some(other) => bail!("pahole {other} is not imitated: there are 1.24 and 1.32"),
    };
    if args.print_version || args.print_number {
        let number = if pahole == PaholeVersion::V1_24 { "24" } else { "32" };
        let text = if args.print_number { format!("1{number}") } else { format!("v1.{number}") };
        println!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    if args.supported {
        println!("{}", features::NAMES.join(","));
        return Ok(ExitCode::SUCCESS);
    }
    if !args.encode && args.detached.is_none() {
        bail!("only the encoding of BTF is done here: -J is missing");
    }
    let (threads, files) = threads_and_files(args)?;
    let mut options = options(args, pahole)?;
    let distil = features::distil(args.features.iter().chain(&args.features_strict));
    let base = args.base.as_deref().map(read_base).transpose()?;
    options.base = base.as_deref();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    for file in files {
        pool.install(|| one(args, file, &options, distil))
            .with_context(|| file.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `-j` takes a number or none: what stands behind it and is no number is the first file.
fn threads_and_files(args: &Args) -> anyhow::Result<(usize, Vec<&Path>)> {
    let mut files: Vec<&Path> = args.files.iter().map(PathBuf::as_path).collect();
    let threads = match args.jobs.as_deref() {
        None => 1,
        Some(text) => text.parse().unwrap_or_else(|_| {
            files.insert(0, Path::new(text));
            0
        }),
    };
    if files.is_empty() {
        bail!("no file to encode");
    }
    Ok((threads, files))
}

fn options(args: &Args, pahole: PaholeVersion) -> anyhow::Result<Options<'static>> {
    let mut options = Options {
        pahole,
        floats: args.floats,
        vars: !args.skip_vars,
        decl_tags: !args.skip_decl_tags,
        type_tags: !args.skip_type_tags,
        enum64: !args.skip_enum64,
        consistent_functions: args.consistent,
        kfunc_tags: false,
        lang_exclude: languages(args.lang_exclude.as_deref().unwrap_or_default())?,
        explain: args.explain,
        exact_dedup: args.exact_dedup,
        ..Options::default()
    };
    if !args.features.is_empty() || !args.features_strict.is_empty() {
        features::clear(&mut options);
    }
    for list in &args.features {
        features::enable(&mut options, list, false)?;
    }
    for list in &args.features_strict {
        features::enable(&mut options, list, true)?;
    }
    Ok(options)
}

fn languages(list: &str) -> anyhow::Result<Vec<Language>> {
    let names = list.split(',').filter(|name| !name.is_empty());
    names
        .map(|name| {
            Language::by_name(name).with_context(|| format!("--lang_exclude: no language {name}"))
        })
        .collect()
}

/// The blob of a base: a plain one, or that of an image.
fn read_base(path: &Path) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let data = map(path)?;
        if !data.starts_with(b"\x7fELF") {
            return Ok(data.to_vec());
        }
        let elf = Elf::parse(&data)?;
        let (_, section) = elf.section(".BTF").context(".BTF: the file has no BTF")?;
        anyhow::Ok(elf.bytes(section)?.to_vec())
    };
    read().with_context(|| path.display().to_string())
}

fn map(path: &Path) -> anyhow::Result<Mmap> {
    Ok(pipeline::map_open(&File::open(path)?)?)
}

fn one(args: &Args, path: &Path, options: &Options<'_>, distil: bool) -> anyhow::Result<()> {
    let data = map(path)?;
    let elf = Elf::parse(&data)?;
    let release = |range: std::ops::Range<u64>| release(&data, range);
    let options = Options { release: Some(&release), ..options.clone() };
    let Encoded { btf, report } = dwarf_btf::encode(&elf, &options)?;
    for (function, reason) in &report.left_out {
        eprintln!("{function}: left out, since {reason}");
    }
    if btf.is_empty() {
        return Ok(());
    }
    if let Some(out) = &args.detached {
        return fs::write(out, &btf).with_context(|| out.display().to_string());
    }
    let mut sections = vec![(".BTF", btf)];
    if let Some(base) = options.base.filter(|_| distil) {
        let base = Btf::parse(base)?;
        let split = Btf::parse_split(&sections[0].1, &base)?;
        let distilled = btf::distill(&split, HeaderForm::default())?;
        sections = vec![(".BTF", distilled.split), (".BTF.base", distilled.base)];
    }
    let image = attach::attach(&elf, &sections)?;
    drop(elf);
    drop(data);
    fs::write(path, image).context("cannot be written")
}

/// Gives the pages of a part of the file that is not read any more back.
fn release(data: &Mmap, range: std::ops::Range<u64>) {
    const PAGE: usize = 4096;
    // Pages that others read too may be among them: they come back from the page cache.
    let start = range.start as usize / PAGE * PAGE;
    let end = range.end as usize / PAGE * PAGE;
    if start < end && end <= data.len() {
        // SAFETY: the map is of a file and is not written to, so the pages read the same again.
        let advice = memmap2::UncheckedAdvice::DontNeed;
        let _ = unsafe { data.unchecked_advise_range(advice, start, end - start) };
    }
}
