//! `vmlinker btf explain`.
//!
//! The image is encoded again, and what the encoder decided on is told. A function that no unit has which
//! was read may be in a unit of a language that is left out: then the image is encoded once more, with it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use btf::{Btf, Kind};
use dwarf_btf::{Encoded, Flags, Function, Options, PaholeVersion, Reason};
use image::Elf;

use super::input::{self, Blob};
use crate::cmd::files;

/// Say why a function is not part of an image's BTF, or what is; the exit status is 1 if it is not
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The function; without it, all that are left out
    function: Option<String>,
    /// An ELF file with debug information
    #[arg(default_value = "vmlinux")]
    image: PathBuf,
    /// The kernel that a module's types are split on
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// What the kernel passes to pahole
    #[arg(
        long,
        value_name = "FLAGS",
        allow_hyphen_values = true,
        default_value = "--btf_features=default --lang_exclude=rust"
    )]
    flags: String,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let flags = Flags::parse(args.flags.split_whitespace(), PaholeVersion::default())?;
    let base = args.base.as_deref().map(Blob::read).transpose()?;
    let types = base.as_ref().map(Blob::base).transpose()?;
    let options = Options { explain: true, base: types.as_ref(), ..flags.options };
    let named = || args.image.display().to_string();
    let data = files::map(&args.image).with_context(named)?;
    let elf = Elf::parse(&data).with_context(named)?;
    let encoded = dwarf_btf::encode(&elf, &options).with_context(named)?;
    let Some(name) = &args.function else {
        return all(&encoded.report.functions);
    };
    let found = |encoded: &Encoded| {
        encoded.report.functions.iter().find(|function| &function.name == name).cloned()
    };
    let lines = match found(&encoded) {
        Some(Function { reason: Some(reason), .. }) => told(&reason),
        Some(function) => {
            let id = id(&elf, &encoded.btf, base.as_ref(), name, &args.image)?;
            let description = function.description;
            input::print(|out| writeln!(out, "{id}{}", description.prototype))?;
            return Ok(ExitCode::SUCCESS);
        }
        None if encoded.report.no_symbol.binary_search(name).is_ok() => {
            let why = "the image has no symbol for it: it is inline everywhere, or was dropped";
            vec![why.to_owned()]
        }
        None => {
            let options = Options { lang_exclude: Vec::new(), ..options.clone() };
            let whole = dwarf_btf::encode(&elf, &options).with_context(named)?;
            let also = whole.report.no_symbol.binary_search(name).is_ok();
            if found(&whole).is_none() && !also {
                bail!("{}: no unit describes a function {name}", args.image.display());
            }
            vec!["it is only in units of a language that is left out (--lang_exclude)".to_owned()]
        }
    };
    input::print(|out| {
        writeln!(out, "{name} is left out: {}", lines[0])?;
        lines[1..].iter().try_for_each(|line| writeln!(out, "  {line}"))
    })?;
    Ok(ExitCode::FAILURE)
}

/// Two prototypes are easier to compare one below the other.
fn told(reason: &Reason) -> Vec<String> {
    match reason {
        Reason::Inconsistent(a, b) => {
            let head = format!("its prototypes differ between {} and {}", a.unit, b.unit);
            vec![head, format!("{};", a.prototype), format!("{};", b.prototype)]
        }
        other => vec![other.to_string()],
    }
}

fn all(functions: &[Function]) -> anyhow::Result<ExitCode> {
    input::print(|out| {
        for function in functions {
            if let Some(reason) = &function.reason {
                writeln!(out, "{}: {reason}", function.name)?;
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The function's number in the image's own BTF, or in what was made of an image that has none.
fn id(
    elf: &Elf<'_>,
    made: &[u8],
    base: Option<&Blob>,
    name: &str,
    image: &Path,
) -> anyhow::Result<String> {
    let (bytes, whose) = match elf.section(".BTF") {
        Some((_, section)) => (elf.bytes(section)?, ""),
        None => (made, " (not in the file)"),
    };
    let base = base.map(|base| base.parse(None)).transpose()?;
    let types = match &base {
        Some(base) => Btf::parse_split(bytes, base),
        None => Btf::parse(bytes),
    };
    let types = types.with_context(|| format!("{}: .BTF", image.display()))?;
    let is_it = |ty: &btf::Type<'_>| {
        ty.kind == Kind::Func && types.name(ty.name_off).is_ok_and(|own| own == name.as_bytes())
    };
    let found = types.types().find(|(_, ty)| is_it(ty)).map(|(id, _)| id);
    Ok(found.map_or_else(|| "[not in .BTF] ".to_owned(), |id| format!("[{id}]{whose} ")))
}
