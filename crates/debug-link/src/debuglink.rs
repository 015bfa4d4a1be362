//! The section `.gnu_debuglink`: where the debug information of an image is.
//!
//! It holds the name of the file, without directories, padded with zeros to four bytes, and the CRC-32 of the file's
//! bytes. Debuggers look for a file of that name beside the image (gdb's manual, "Separate Debug Files"). It is what
//! `objcopy --add-gnu-debuglink` adds. Here it is the last section of all, so that no section gets another index.

use image::consts::{SHT_NOBITS, SHT_PROGBITS};
use image::{Elf, Endianness, Section};
use rayon::prelude::*;

use crate::error::Error;
use crate::fields::{Fields, FileField, SectionField};
use crate::layout::{aligned, too_large};

/// Name of the section.
const NAME: &[u8] = b".gnu_debuglink";

/// Bytes that one thread takes at a time.
const CHUNK: usize = 1 << 20;

/// The CRC-32 of a file, as a debug link has it, with as many threads as the current pool of rayon has.
pub fn crc(file: &[u8]) -> u32 {
    let hashed = file.par_chunks(CHUNK).map(|chunk| {
        let mut hash = crc32fast::Hasher::new();
        hash.update(chunk);
        hash
    });
    let joined = hashed.reduce(crc32fast::Hasher::new, |mut before, behind| {
        before.combine(&behind);
        before
    });
    joined.finalize()
}

/// An image with a debug link, as pieces that follow one another.
#[derive(Debug)]
pub struct WithDebuglink<'a> {
    /// The file header.
    header: Vec<u8>,
    /// What stays.
    body: &'a [u8],
    /// The link, the names of sections, the section headers.
    tail: Vec<u8>,
}

impl<'a> WithDebuglink<'a> {
    /// `image` with a link to the debug information in the file `name` of this `crc`.
    ///
    /// # Errors
    /// An image that does not end in its section headers, or that has a debug link already.
    pub fn new(image: &'a [u8], name: &str, crc: u32) -> Result<Self, Error> {
        let elf = Elf::parse(image)?;
        let fields = Fields::of(elf.header());
        if elf.section(&String::from_utf8_lossy(NAME)).is_some() {
            return Err(Error::unsupported("an image with a debug link"));
        }
        let mut header = image.get(..fields.file_header()).unwrap_or(&[]).to_vec();
        let names_index = fields.file(&header, FileField::NamesSection).ok_or_else(too_large)?;
        let names = elf.sections().get(names_index as usize);
        let names = names.ok_or_else(|| Error::unsupported("an image without .shstrtab"))?;
        let end = elf.section_header_offset(0).ok_or_else(too_large)?;
        let ends = |s: &Section<'_>| match s.sh_type == SHT_NOBITS.0 {
            true => 0,
            false => s.offset.saturating_add(s.size),
        };
        if elf.sections().iter().any(|section| ends(section) > end) {
            return Err(Error::unsupported("an image that does not end in its section headers"));
        }
        // What is last of all makes room.
        let mut others =
            elf.sections().iter().enumerate().filter(|(i, _)| *i as u64 != names_index);
        let last = others.all(|(_, section)| ends(section) <= names.offset);
        let body_end = if last { names.offset } else { end };
        let body = image.get(header.len()..body_end as usize);
        let body = body.ok_or_else(|| Error::unsupported("an image that is cut off"))?;

        let little = elf.endian() == Endianness::Little;
        let link = contents(name, crc, little);
        let mut table = elf.bytes(names)?.to_vec();
        let name_at = table.len() as u64;
        table.extend_from_slice(NAME);
        table.push(0);
        let link_at = aligned(body_end, 4)?;
        let table_at = link_at + link.len() as u64;
        let headers_at = aligned(table_at + table.len() as u64, fields.alignment())?;
        let count = elf.sections().len();
        let old = headers(&elf, fields, count)?;
        let mut new = old.to_vec();
        let names_header = new.chunks_exact_mut(fields.section_header()).nth(names_index as usize);
        let names_header = names_header.ok_or_else(too_large)?;
        fields.set_section(names_header, SectionField::Offset, table_at)?;
        fields.set_section(names_header, SectionField::Size, table.len() as u64)?;
        new.extend(link_header(fields, name_at, link_at, link.len() as u64)?);
        fields.set_file(&mut header, FileField::SectionHeaders, headers_at)?;
        fields.set_file(&mut header, FileField::SectionCount, count as u64 + 1)?;

        let mut tail = vec![0; (link_at - body_end) as usize];
        tail.extend(link);
        tail.extend(table);
        tail.resize((headers_at - body_end) as usize, 0);
        tail.extend(new);
        Ok(WithDebuglink { header, body, tail })
    }

    /// The pieces of the file, one behind the other.
    pub fn pieces(&self) -> [&[u8]; 3] {
        [&self.header, self.body, &self.tail]
    }
}

/// The contents of the section.
fn contents(name: &str, crc: u32, little: bool) -> Vec<u8> {
    let mut link = name.as_bytes().to_vec();
    link.push(0);
    link.resize(link.len().next_multiple_of(4), 0);
    link.extend(if little { crc.to_le_bytes() } else { crc.to_be_bytes() });
    link
}

fn link_header(fields: Fields, name: u64, offset: u64, size: u64) -> Result<Vec<u8>, Error> {
    let mut header = vec![0; fields.section_header()];
    let values = [
        (SectionField::Name, name),
        (SectionField::Type, SHT_PROGBITS.0.into()),
        (SectionField::Offset, offset),
        (SectionField::Size, size),
        (SectionField::Align, 4),
    ];
    for (field, value) in values {
        fields.set_section(&mut header, field, value)?;
    }
    Ok(header)
}

/// The section headers of an image.
fn headers<'a>(elf: &Elf<'a>, fields: Fields, count: usize) -> Result<&'a [u8], Error> {
    let at = elf.section_header_offset(0).ok_or_else(too_large)? as usize;
    let end = at.saturating_add(count * fields.section_header());
    elf.data().get(at..end).ok_or_else(too_large)
}
