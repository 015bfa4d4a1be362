//! BTF from a file: the section `.BTF` of an ELF file, or a blob as the kernel shows it in
//! `/sys/kernel/btf`.

use std::fs;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

/// The bytes of a blob, and what is known of the machine it was made for.
pub struct Blob {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Size of a pointer in bytes, where the file is ELF.
    pub pointer_size: Option<u32>,
}

impl Blob {
    /// Reads a blob.
    pub fn read(path: &Path) -> anyhow::Result<Blob> {
        let named = || path.display().to_string();
        let file = fs::File::open(path).with_context(named)?;
        if !file.metadata().with_context(named)?.is_file() {
            // Nothing that can be mapped: a pipe.
            return Blob::of(path, &fs::read(path).with_context(named)?);
        }
        let map = pipeline::map_open(&file).with_context(named)?;
        Blob::of(path, &map)
    }

    fn of(path: &Path, data: &[u8]) -> anyhow::Result<Blob> {
        let named = || path.display().to_string();
        let path = path.to_path_buf();
        if !data.starts_with(b"\x7fELF") {
            return Ok(Blob { path, bytes: data.to_vec(), pointer_size: None });
        }
        let elf = image::Elf::parse(data).with_context(named)?;
        let (_, section) =
            elf.section(".BTF").ok_or_else(|| anyhow!("no section .BTF")).with_context(named)?;
        let bytes = elf.bytes(section).with_context(named)?.to_vec();
        Ok(Blob { path, bytes, pointer_size: Some(elf.class().address_size() as u32) })
    }

    /// The blob as what an encoder splits types on.
    pub fn base(&self) -> anyhow::Result<dwarf_btf::Base<'_>> {
        dwarf_btf::Base::parse(&self.bytes).with_context(|| self.path.display().to_string())
    }

    /// Parses the blob, on its base where it has one.
    pub fn parse<'a>(&'a self, base: Option<&'a btf::Btf<'a>>) -> anyhow::Result<btf::Btf<'a>> {
        let parsed = match base {
            Some(base) => btf::Btf::parse_split(&self.bytes, base),
            None => btf::Btf::parse(&self.bytes),
        };
        parsed.with_context(|| format!("{}: .BTF", self.path.display()))
    }
}

/// Prints what `write` writes. Whoever reads may stop reading when they have seen enough.
pub fn print(
    write: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output"),
    }
}
