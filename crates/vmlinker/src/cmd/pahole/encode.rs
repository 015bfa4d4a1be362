//! The files of a call: read, encoded, written.
//!
//! A call may name many modules. Their base is read and checked once; the modules are encoded at the same
//! time on the pool that also reads the units of each, and are written as they are done, so that no more
//! of them are in memory than there are threads.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use btf::{Btf, HeaderForm};
use dwarf_btf::{Base, Encoded, Flags, Function, Options};
use image::Elf;
use pipeline::progress::Progress;
use pipeline::{Jobs, say};
use rayon::prelude::*;

use super::{attach, module};
use crate::cmd::files;

/// What a file gave: the functions, if they are to be explained.
type Done = anyhow::Result<Vec<Function>>;

/// Encodes all files, with no more threads than are asked for and make grants. One that fails does not keep the others from being done.
pub fn all(flags: &Flags) -> anyhow::Result<ExitCode> {
    let jobs = Jobs::from_env().at_most(flags.jobs);
    let base_file = flags.base.as_deref().map(|path| anyhow::Ok((path, read_base(path)?)));
    let base_file = base_file.transpose()?;
    let base = base_file.as_ref().map(|(path, bytes)| parse_base(path, bytes)).transpose()?;
    let options = Options { base: base.as_ref().map(|base| &base.types), ..flags.options.clone() };
    let one = |file: &std::path::PathBuf| {
        let read = base.as_ref().map(|base| &base.read);
        one(flags, file, &options, read).with_context(|| file.display().to_string())
    };
    let done: Vec<Done> = jobs.run(|| flags.files.par_iter().map(one).collect())?;
    let mut status = ExitCode::SUCCESS;
    for (file, done) in flags.files.iter().zip(done) {
        match done {
            Ok(functions) => {
                let several = flags.files.len() > 1;
                let file = if several { format!("{}: ", file.display()) } else { String::new() };
                for function in functions {
                    if let Some(reason) = function.reason {
                        let name = function.name;
                        say::remark(format_args!("{file}{name}: left out: {reason}"));
                    }
                }
            }
            Err(error) => {
                say::remark(format_args!("vmlinker: {error:#}"));
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}

/// The blob of a base: a plain one, or that of an image.
fn read_base(path: &Path) -> anyhow::Result<Vec<u8>> {
    let read = || {
        let data = files::map(path)?;
        if !data.starts_with(b"\x7fELF") {
            return Ok(data.to_vec());
        }
        let elf = Elf::parse(&data)?;
        let (_, section) = elf.section(".BTF").context(".BTF: the file has no BTF")?;
        anyhow::Ok(elf.bytes(section)?.to_vec())
    };
    read().with_context(|| path.display().to_string())
}

/// What modules are encoded on top of.
struct BaseTypes<'b> {
    /// To tell what a module refers to, and to distil that.
    read: Btf<'b>,
    /// As the encoder wants them.
    types: Base<'b>,
}

fn parse_base<'b>(path: &Path, bytes: &'b [u8]) -> anyhow::Result<BaseTypes<'b>> {
    let parse = || anyhow::Ok(BaseTypes { read: Btf::parse(bytes)?, types: Base::parse(bytes)? });
    parse().with_context(|| format!("{}: .BTF", path.display()))
}

fn one(flags: &Flags, path: &Path, options: &Options<'_>, base: Option<&Btf<'_>>) -> Done {
    let file = File::open(path)?;
    let data = pipeline::map_open(&file)?;
    let elf = Elf::parse(&data)?;
    if base.is_some_and(|base| base.endian() != elf.endian()) {
        bail!("its byte order is not that of the base");
    }
    let read_at = pipeline::reader_at(&file);
    let info = elf.section(".debug_info").map_or(0, |(_, section)| section.size);
    // Modules are small, and several are done at a time.
    let progress = (flags.files.len() == 1).then(|| Progress::new("BTF", info));
    let read_at = |at: u64, out: &mut [u8]| {
        progress.iter().for_each(|progress| progress.add(out.len()));
        read_at(at, out)
    };
    let options = Options { read_at: Some(&read_at), ..options.clone() };
    let Encoded { btf, report, .. } = dwarf_btf::encode(&elf, &options)?;
    if btf.is_empty() {
        return Ok(report.functions);
    }
    if let Some(out) = &flags.detached {
        files::replace(out, &[&btf]).with_context(|| out.display().to_string())?;
        return Ok(report.functions);
    }
    let mut sections = vec![(".BTF", btf)];
    if let Some(base) = base.filter(|_| flags.distilled_base) {
        let split = Btf::parse_split(&sections[0].1, base)?;
        let distilled = btf::distill(&split, HeaderForm::default())?;
        sections = vec![(".BTF", distilled.split), (".BTF.base", distilled.base)];
    }
    if let Some(objcopy) = module::objcopy(&elf) {
        module::embed(&objcopy, path, &elf, &sections)?;
        return Ok(report.functions);
    }
    let attached = attach::attach(&elf, &sections)?;
    let rest = &data[attached.head.len()..];
    let parts = [&attached.head[..], rest, &attached.tail[..]];
    files::replace(path, &parts).context("cannot be written")?;
    Ok(report.functions)
}
