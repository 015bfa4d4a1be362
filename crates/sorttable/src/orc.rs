//! The ORC unwind tables: for each instruction address where the caller's frame is.
//!
//! Two tables of as many entries: `.orc_unwind_ip` holds signed 32-bit distances from each word to the
//! instruction, `.orc_unwind` what holds from there on. They are permuted together.
//!
//! Ties: a terminator ends a region that has no unwind data, and must come before a real entry of the
//! same address, so that a lookup finds the real one. Among terminators the order stays.
//!
//! PARITY: for two real entries of one address the kernel's comparison says "greater" whichever way
//! round it is asked. In a merge sort, which asks whether the left run's entry may go first, that puts
//! the right one first; so real entries of one address come out in reverse. The test `orc_ties` in
//! `tests/tests/sorttable.rs` holds it to that.
//!
//! Cost: an entry is a 64-bit key (address, whether real, index), so that sorting compares and moves
//! whole keys and needs no lookups.

use image::{Class, Elf, Endian, Endianness, Patch, Section};
use rayon::prelude::*;

use crate::layout::Layout;
use crate::{Dialect, Error, OrcEntry};

/// Size of an entry of `.orc_unwind_ip` in bytes.
const IP_SIZE: usize = 4;
/// Bits of a key that hold the index of an entry.
const INDEX_BITS: u32 = 29;
/// The bit of a key that an entry has which is no terminator.
const REAL: u64 = 1 << INDEX_BITS;
const INDEX_MASK: u64 = REAL - 1;

/// Whether the dialect sorts ORC tables in an image of this class.
pub(crate) fn applies(elf: &Elf<'_>, dialect: &Dialect) -> bool {
    elf.class() == Class::Elf64 || dialect.orc_in_elf32
}

/// The two tables of an image, of which the sizes have been checked.
#[derive(Debug)]
pub(crate) struct Tables<'d> {
    endian: Endianness,
    entry: OrcEntry,
    ips: &'d [u8],
    ips_offset: u64,
    entries: &'d [u8],
    entries_offset: u64,
}

impl<'d> Tables<'d> {
    pub fn find(elf: &Elf<'d>, layout: &Layout<'_, '_>, dialect: &Dialect) -> Result<Self, Error> {
        let (Some(ip), Some(orc)) = (layout.orc_ip, layout.orc) else {
            return Err(Error::IncompleteOrc);
        };
        let entry = dialect.orc.filter(|entry| entry.size >= entry.bits_at.saturating_add(2));
        let entry = entry.ok_or(Error::UnknownOrcEntry)?;
        let whole = |section: &Section<'_>, size: usize| {
            section.size.is_multiple_of(size as u64).then(|| section.size / size as u64)
        };
        let count = whole(ip, IP_SIZE).filter(|&count| whole(orc, entry.size) == Some(count));
        // Half a billion entries are a table of 5 GB, more than the kernel's tool can count.
        if count.is_none_or(|count| count > INDEX_MASK) {
            return Err(Error::InconsistentOrc);
        }
        Ok(Tables {
            endian: elf.endian(),
            entry,
            ips: elf.bytes(ip)?,
            ips_offset: ip.offset,
            entries: elf.bytes(orc)?,
            entries_offset: orc.offset,
        })
    }

    /// The patches that sort both tables.
    pub fn sort(&self) -> Vec<Patch> {
        let mut keys: Vec<u64> = (self.ips.par_chunks_exact(IP_SIZE))
            .zip_eq(self.entries.par_chunks_exact(self.entry.size))
            .enumerate()
            .with_min_len(1 << 14)
            .map(|(index, (ip, entry))| self.key(index as u64, ip, entry))
            .collect();
        // A merge sort: the keys come in long ascending runs, one for each section of code.
        keys.par_sort();
        let mut ips = vec![0; self.ips.len()];
        let mut entries = vec![0; self.entries.len()];
        (ips.par_chunks_exact_mut(IP_SIZE))
            .zip_eq(entries.par_chunks_exact_mut(self.entry.size))
            .zip_eq(keys.par_iter())
            .enumerate()
            .with_min_len(1 << 14)
            .for_each(|(index, ((ip, entry), &key))| self.place(index, key, ip, entry));
        vec![
            Patch { offset: self.ips_offset, bytes: ips },
            Patch { offset: self.entries_offset, bytes: entries },
        ]
    }

    /// Address, then terminators before real entries, then the index, falling for real entries.
    fn key(&self, index: u64, ip: &[u8], entry: &[u8]) -> u64 {
        let distance = self.endian.read_i32(ip.try_into().unwrap_or_default());
        let bits = &entry[self.entry.bits_at..self.entry.bits_at + 2];
        let bits = self.endian.read_u16(bits.try_into().unwrap_or_default());
        // From the start of the table, and so that it cannot be negative.
        let address = (i64::from(distance) + (1 << 31)) as u64 + index * IP_SIZE as u64;
        let tie = match bits & self.entry.terminator.0 {
            0 => index,
            _ => REAL | (INDEX_MASK - index),
        };
        address << (INDEX_BITS + 1) | tie
    }

    /// Writes the entry of `key` to its place `index` in the new tables.
    fn place(&self, index: usize, key: u64, ip: &mut [u8], entry: &mut [u8]) {
        let from = match key & REAL {
            0 => key & INDEX_MASK,
            _ => INDEX_MASK - (key & INDEX_MASK),
        } as usize;
        let distance = &self.ips[from * IP_SIZE..(from + 1) * IP_SIZE];
        let distance = self.endian.read_u32(distance.try_into().unwrap_or_default());
        let moved = ((from * IP_SIZE) as u32).wrapping_sub((index * IP_SIZE) as u32);
        ip.copy_from_slice(&self.endian.write_u32(distance.wrapping_add(moved)));
        entry.copy_from_slice(&self.entries[from * self.entry.size..(from + 1) * self.entry.size]);
    }
}
