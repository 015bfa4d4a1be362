//! `vmlinker pahole`, and `vmlinker-pahole`: what kernels ask of pahole, natively.
//!
//! The words that kernels pass are read by [`dwarf_btf::Flags`], which refuses any other by name; options
//! of our own are taken out before. The blob goes into a file of its own or into the image, as a new or
//! replaced section (`encode`, `attach`); files get their names when they are whole (`files`).

mod attach;
mod encode;
mod module;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use dwarf_btf::{Flags, PaholeVersion};

const HELP: &str = "\
What kernels pass to pahole, with its meaning there:
  -J, --btf_encode                        Encode BTF (the only thing that is done here)
  -j[N], --jobs[=N]                       Threads; all processors without a number
  --btf_encode_detached FILE              Write the blob to this file and leave the image alone
  --btf_base FILE                         The file (ELF or BTF) that the types are split on
  --btf_features LIST                     What to encode; unknown names are passed over
  --btf_features_strict LIST              The same; unknown names are an error
  --supported_btf_features                Print the names of the features and exit
  --lang_exclude LIST                     Leave out units in these languages
  --btf_gen_floats, --btf_gen_optimized, --btf_encode_force, --reproducible_build,
  --skip_encoding_btf_vars, --skip_encoding_btf_decl_tag, --skip_encoding_btf_type_tag,
  --skip_encoding_btf_enum64, --skip_encoding_btf_inconsistent_proto
  --version, --numeric_version            Print the version, as pahole does, and exit

Of our own:
  --pahole-version VERSION                Whose bytes to make: 1.24 or 1.32, by default the newest;
                                          a link called vmlinker-pahole-1.24 is another way to say
                                          it, for kernels, which take a program's name and no option
  --explain                               Say which functions are left out, and why
  --exact-dedup                           Deduplicate type by type, as libbpf does; slower, the same
                                          result";

/// Make BTF of a kernel's or module's debug information, as pahole does.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Options of pahole, and files.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
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

/// Options that pahole has not, and those that print something and end.
#[derive(Default)]
struct Own {
    version: Option<PaholeVersion>,
    explain: bool,
    exact_dedup: bool,
    print: Option<Print>,
}

#[derive(Clone, Copy)]
enum Print {
    Version,
    Number,
    Features,
}

/// Runs the command; `called` is what [`called`] gave.
pub fn run(args: &Args, called: Option<String>) -> anyhow::Result<ExitCode> {
    let (own, words) = own(&args.words)?;
    let called = called.filter(|version| !version.is_empty());
    let called = called.map(|name| version(OsStr::new(&name))).transpose()?;
    let version = own.version.or(called).unwrap_or_default();
    if let Some(what) = own.print {
        return print(what, version);
    }
    let mut flags = Flags::parse(words, version)?;
    if !flags.encode {
        bail!("only the encoding of BTF is done here: -J is missing");
    }
    if flags.files.is_empty() {
        bail!("no file to encode");
    }
    flags.options.explain = own.explain;
    flags.options.exact_dedup = own.exact_dedup;
    if flags.detached.is_some() && flags.files.len() > 1 {
        bail!("--btf_encode_detached: one file for the BTF of {} files", flags.files.len());
    }
    pipeline::progress::show();
    encode::all(&flags)
}

/// Takes our own options out of the words; the rest is pahole's.
fn own(words: &[OsString]) -> anyhow::Result<(Own, Vec<OsString>)> {
    const VERSION: &str = "--pahole-version=";
    let mut own = Own::default();
    let mut rest = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--") => {
                rest.push(word.clone());
                rest.extend(words.cloned());
                break;
            }
            Some("--explain") => own.explain = true,
            Some("--exact-dedup") => own.exact_dedup = true,
            Some("--version") => own.print = Some(Print::Version),
            Some("--numeric_version") => own.print = Some(Print::Number),
            Some("--supported_btf_features") => own.print = Some(Print::Features),
            Some("--pahole-version") => {
                let word = words.next().context("--pahole-version: its value is missing")?;
                own.version = Some(version(word)?);
            }
            Some(text) if text.starts_with(VERSION) => {
                own.version = Some(version(OsStr::new(&text[VERSION.len()..]))?);
            }
            _ => rest.push(word.clone()),
        }
    }
    Ok((own, rest))
}

fn version(word: &OsStr) -> anyhow::Result<PaholeVersion> {
    Ok(match word.to_string_lossy().trim_start_matches('v') {
        "1.24" | "124" => PaholeVersion::V1_24,
        "1.32" | "132" => PaholeVersion::V1_32,
        other => bail!("pahole {other} is not imitated: there are 1.24 and 1.32"),
    })
}

fn print(what: Print, version: PaholeVersion) -> anyhow::Result<ExitCode> {
    match what {
        Print::Version => println!("v{version}"),
        Print::Number => println!("{}", version.number()),
        Print::Features => {
            let names = dwarf_btf::supported_features(version);
            let names = names.with_context(|| {
                format!("--supported_btf_features: pahole {version} has no such option")
            })?;
            println!("{}", names.join(","));
        }
    }
    Ok(ExitCode::SUCCESS)
}
