//! `vmlinker btf dump`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use btf::{Btf, COptions, TypeId};

use super::input::{self, Blob};

/// Print the types of a file
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An ELF file with a section .BTF, or a BTF blob
    file: PathBuf,
    /// The file that split BTF (a module's) goes on from
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// raw: a line for each type; c: a C header; json
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,
    /// Only the types of this name; with --format c also what they need
    #[arg(long)]
    name: Option<String>,
    /// A C header in the order of the ids
    #[arg(long)]
    unsorted: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Raw,
    C,
    Json,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let base_blob = args.base.as_deref().map(Blob::read).transpose()?;
    let base = base_blob.as_ref().map(|blob| blob.parse(None)).transpose()?;
    let blob = Blob::read(&args.file)?;
    let btf = blob.parse(base.as_ref())?;
    let ids = wanted(&btf, args.name.as_deref());
    if let (Some(name), true) = (&args.name, ids.is_empty()) {
        bail!("{}: no type {name}", args.file.display());
    }
    let header = match args.format {
        Format::C => {
            let roots = if args.name.is_some() { &ids[..] } else { &[] };
            let pointer_size = blob.pointer_size;
            let options = COptions { roots, pointer_size, unsorted: args.unsorted };
            let named = || args.file.display().to_string();
            btf::c_header(&btf, &options).with_context(named)?
        }
        _ => Vec::new(),
    };
    input::print(|out| match args.format {
        Format::Raw => write_raw(&btf, &ids, out),
        Format::Json => btf::json(&btf, types(&btf, &ids), out).and_then(|()| writeln!(out)),
        Format::C => out.write_all(&header),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The types to print: all of its own, or those of a name, the base's included.
fn wanted(btf: &Btf<'_>, name: Option<&str>) -> Vec<TypeId> {
    let Some(name) = name else { return btf.types().map(|(id, _)| id).collect() };
    let named = |id: &TypeId| {
        let ty = btf.get(*id);
        ty.and_then(|ty| btf.name(ty.name_off).ok()) == Some(name.as_bytes())
    };
    (1..=btf.last_id().0).map(TypeId).filter(named).collect()
}

fn types<'a, 'd>(
    btf: &'a Btf<'d>,
    ids: &'a [TypeId],
) -> impl Iterator<Item = (TypeId, btf::Type<'d>)> + use<'a, 'd> {
    ids.iter().filter_map(|&id| Some((id, btf.get(id)?)))
}

fn write_raw(btf: &Btf<'_>, ids: &[TypeId], out: &mut impl Write) -> std::io::Result<()> {
    for (id, ty) in types(btf, ids) {
        btf::raw_type(btf, id, &ty, out)?;
    }
    Ok(())
}
