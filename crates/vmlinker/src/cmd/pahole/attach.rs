//! Sections put into an image.
//!
//! [`attach`]: what is there stays where it is. New contents, a new table of section names and a new table of
//! section headers are put behind the end, and the file header is pointed at them. A section that exists is
//! given the new contents in place of its own.
//!
//! [`replace`], for an object file: all is laid out anew, section behind section, as libelf does.

use anyhow::{Context, bail};
use image::{Class, Elf, Endianness};

/// What is to be written in the place of an image's first bytes, and behind its last ones.
#[derive(Debug)]
pub struct Attached {
    /// The file header.
    pub head: Vec<u8>,
    /// Contents, names and section headers.
    pub tail: Vec<u8>,
}

/// The image with these sections, by name and contents.
pub fn attach(elf: &Elf<'_>, sections: &[(&str, Vec<u8>)]) -> anyhow::Result<Attached> {
    let data = elf.data();
    let format = Format::of(elf);
    let size = format.at(40, 64);
    let mut headers = headers(elf, format)?;
    if headers.len() + sections.len() >= 0xff00 {
        bail!("a file of {} sections cannot be given more", headers.len());
    }
    let names_at = format.get(data, format.at(50, 62), 2)? as usize;
    let names = elf.sections().get(names_at).context("the file has no section names")?;
    let mut names = elf.bytes(names)?.to_vec();

    let mut tail = Vec::new();
    for (name, contents) in sections {
        let offset = pad(data.len(), &mut tail, 8);
        tail.extend_from_slice(contents);
        let index = match elf.section(name) {
            Some((index, _)) => index as usize,
            None => {
                let mut header = vec![0; size];
                format.put(&mut header, 0, 4, names.len() as u64);
                names.extend_from_slice(name.as_bytes());
                names.push(0);
                format.put(&mut header, 4, 4, u64::from(image::consts::SHT_PROGBITS.0));
                format.put(&mut header, format.at(32, 48), format.at(4, 8), 1);
                headers.push(header);
                headers.len() - 1
            }
        };
        format.place(&mut headers[index], offset, contents.len());
    }
    let offset = pad(data.len(), &mut tail, 1);
    tail.extend(names.iter());
    format.place(&mut headers[names_at], offset, names.len());
    let table = pad(data.len(), &mut tail, 8);
    headers.iter().for_each(|header| tail.extend_from_slice(header));
    Ok(Attached { head: head(elf, format, table, headers.len())?, tail })
}

/// The object file with other contents in the sections of these indices.
///
/// PARITY: the layout of libelf's `elf_update`, by which pahole writes into a module that has BTF already
/// (tests/tests/modules.rs).
pub fn replace(elf: &Elf<'_>, replaced: &[(usize, &[u8])]) -> anyhow::Result<Attached> {
    let format = Format::of(elf);
    let mut headers = headers(elf, format)?;
    let before = format.at(52, 64);
    let mut tail = Vec::with_capacity(elf.data().len());
    for (index, section) in elf.sections().iter().enumerate().skip(1) {
        let align = usize::try_from(section.align.max(1))?;
        if align > elf.data().len() {
            bail!("a section is to be aligned to {align} bytes");
        }
        let offset = pad(before, &mut tail, align);
        let size = if section.sh_type == image::consts::SHT_NOBITS.0 {
            usize::try_from(section.size)?
        } else {
            let other = replaced.iter().find(|(other, _)| *other == index);
            let contents = other.map_or_else(|| elf.bytes(section), |(_, bytes)| Ok(bytes))?;
            tail.extend_from_slice(contents);
            contents.len()
        };
        format.place(&mut headers[index], offset, size);
    }
    let table = pad(before, &mut tail, format.at(4, 8));
    headers.iter().for_each(|header| tail.extend_from_slice(header));
    Ok(Attached { head: head(elf, format, table, headers.len())?, tail })
}

/// The section headers as they stand.
fn headers(elf: &Elf<'_>, format: Format) -> anyhow::Result<Vec<Vec<u8>>> {
    let data = elf.data();
    let size = format.at(40, 64);
    let table = format.get(data, format.at(32, 40), format.at(4, 8))? as usize;
    let count = elf.sections().len();
    if count == 0 || count >= 0xff00 {
        bail!("a file of {count} sections cannot be given more");
    }
    let header = |index: usize| data.get(table.checked_add(index * size)?..)?.get(..size);
    (0..count)
        .map(|index| Ok(header(index).context("the section headers are cut off")?.to_vec()))
        .collect()
}

/// The file header, pointed at the section headers.
fn head(elf: &Elf<'_>, format: Format, table: usize, count: usize) -> anyhow::Result<Vec<u8>> {
    let head = elf.data().get(..format.at(52, 64));
    let mut head = head.context("the file header is cut off")?.to_vec();
    format.put(&mut head, format.at(32, 40), format.at(4, 8), table as u64);
    format.put(&mut head, format.at(48, 60), 2, count as u64);
    Ok(head)
}

/// Pads what stands behind `before` bytes, and returns the offset in the file that it ends at.
fn pad(before: usize, tail: &mut Vec<u8>, align: usize) -> usize {
    let end = (before + tail.len()).next_multiple_of(align);
    tail.resize(end - before, 0);
    end
}

/// How numbers stand in the file.
#[derive(Clone, Copy)]
struct Format {
    wide: bool,
    big: bool,
}

impl Format {
    fn of(elf: &Elf<'_>) -> Self {
        Format { wide: elf.class() == Class::Elf64, big: elf.endian() == Endianness::Big }
    }

    fn at(self, narrow: usize, wide: usize) -> usize {
        if self.wide { wide } else { narrow }
    }

    fn get(self, bytes: &[u8], at: usize, size: usize) -> anyhow::Result<u64> {
        let field = bytes.get(at..at + size).context("the file header is cut off")?;
        let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        Ok(if self.big { field.iter().fold(0, add) } else { field.iter().rev().fold(0, add) })
    }

    fn put(self, bytes: &mut [u8], at: usize, size: usize, value: u64) {
        for index in 0..size {
            let shift = 8 * if self.big { size - 1 - index } else { index };
            bytes[at + index] = (value >> shift) as u8;
        }
    }

    /// Sets a section header's offset and size.
    fn place(self, header: &mut [u8], offset: usize, size: usize) {
        let width = self.at(4, 8);
        self.put(header, self.at(16, 24), width, offset as u64);
        self.put(header, self.at(20, 32), width, size as u64);
    }
}
