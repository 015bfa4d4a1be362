//! What was built reads back: every dialect and form, both classes, both byte orders.

use image::consts::*;
use image::{Endianness, Header, Patch, apply};
use sysmap::Entry;

use super::*;
use crate::dialect::tests::{like_6_1, like_6_6, like_6_12, like_7_3};
use crate::{Dialect, Options, Tables as Built};

const TEXT: u64 = 0x4100_0000;

/// A machine for each class and byte order, with and without addends in relocations.
const HEADERS: [(Machine, Class, Endianness); 8] = [
    (EM_X86_64, Class::Elf64, Endianness::Little),
    (EM_RISCV, Class::Elf64, Endianness::Little),
    (EM_S390, Class::Elf64, Endianness::Big),
    (EM_PPC64, Class::Elf64, Endianness::Big),
    (EM_386, Class::Elf32, Endianness::Little),
    (EM_RISCV, Class::Elf32, Endianness::Little),
    (EM_PPC, Class::Elf32, Endianness::Big),
    (EM_ARM, Class::Elf32, Endianness::Big),
];

fn header((machine, class, endian): (Machine, Class, Endianness)) -> Header {
    let flags = 0;
    let machine = machine.0;
    Header { class, endian, file_type: 0, machine, flags, os_abi: 0, abi_version: 0 }
}

/// Every dialect with the options that change how addresses are stored.
fn forms() -> Vec<(Dialect, Options)> {
    let all = Options { all_symbols: true, ..Options::default() };
    let base = Options { base_relative: true, ..all };
    let percpu = Options { absolute_percpu: true, ..base };
    let place = Options { pc_relative: true, ..all };
    vec![
        (like_6_1(), all),
        (like_6_1(), Options { absolute_percpu: true, ..all }),
        (like_6_1(), base),
        (like_6_6(), percpu),
        (like_6_12(), all),
        (like_6_12(), percpu),
        (like_7_3(), place),
        (like_7_3(), all),
    ]
}

fn entries() -> Vec<Entry<'static>> {
    let mut list = vec![
        Entry { addr: TEXT, kind: b'T', name: b"_text" },
        Entry { addr: TEXT, kind: b'T', name: b"_stext" },
        Entry { addr: TEXT + 0x10, kind: b't', name: &[b'x'; 300] },
    ];
    let names = [&b"init_module"[..], b"exit_module", b"__start_init", b"a", b"\xc3\xa9t\xc3\xa9"];
    for index in 0..700u64 {
        let name = names[index as usize % names.len()];
        list.push(Entry {
            addr: TEXT + 0x20 + index * 7,
            kind: b"tTdDbBrR"[index as usize % 8],
            name,
        });
    }
    list.push(Entry { addr: TEXT + 0x10_0000, kind: b'W', name: b"weak" });
    list
}

fn percpu_entries() -> Vec<Entry<'static>> {
    let mut list = vec![
        Entry { addr: 0, kind: b'D', name: b"__per_cpu_start" },
        Entry { addr: 0x40, kind: b'd', name: b"runqueues" },
        Entry { addr: 0x80, kind: b'D', name: b"__per_cpu_end" },
    ];
    list.extend(entries());
    list
}

/// Applies the relocations of `.rodata`, which stays at address 0.
fn link(object: &mut [u8], text: u64) {
    let copy = object.to_vec();
    let elf = Elf::parse(&copy).unwrap();
    let (_, rodata) = elf.section(".rodata").unwrap();
    let endian = elf.endian();
    let is_64 = elf.class() == Class::Elf64;
    let machine = crate::machine::Machine::of(&elf.header()).unwrap();
    let Some((_, relocations)) =
        elf.section(if machine.rela { ".rela.rodata" } else { ".rel.rodata" })
    else {
        return;
    };
    let symbols = elf.symbols().unwrap();
    let words = |bytes: &[u8]| -> Vec<u64> {
        match is_64 {
            true => bytes.as_chunks().0.iter().map(|&word| endian.read_u64(word)).collect(),
            false => bytes.as_chunks().0.iter().map(|&word| endian.read_u32(word).into()).collect(),
        }
    };
    let mut image = copy.clone();
    for entry in words(elf.bytes(relocations).unwrap()).chunks(2 + usize::from(machine.rela)) {
        let (symbol, r_type) = match is_64 {
            true => (entry[1] >> 32, entry[1] as u32),
            false => (entry[1] >> 8, entry[1] as u32 & 0xff),
        };
        let symbol = symbols[symbol as usize - 1];
        let value = if symbol.name == b"_text" { text } else { symbol.value };
        let place = entry[0];
        let at = (rodata.offset + place) as usize;
        let size = if r_type == machine.address && is_64 { 8 } else { 4 };
        let stored = match endian {
            Endianness::Little => {
                image[at..at + size].iter().rev().fold(0, |v, &b| v << 8 | u64::from(b))
            }
            Endianness::Big => image[at..at + size].iter().fold(0, |v, &b| v << 8 | u64::from(b)),
        };
        let target = value.wrapping_add(entry.get(2).copied().unwrap_or(stored));
        let result = match machine.distance {
            _ if r_type == machine.address => target,
            crate::machine::Distance::AddSub(add, _) if r_type == add => {
                stored.wrapping_add(target)
            }
            crate::machine::Distance::AddSub(..) => stored.wrapping_sub(target),
            crate::machine::Distance::One(_) => target.wrapping_sub(place),
        };
        let bytes = match (endian, size) {
            (Endianness::Little, _) => result.to_le_bytes()[..size].to_vec(),
            (Endianness::Big, _) => result.to_be_bytes()[8 - size..].to_vec(),
        };
        apply(&mut image, &[Patch { offset: at as u64, bytes }]).unwrap();
    }
    object.copy_from_slice(&image);
}

#[test]
fn what_was_built_reads_back() {
    for (dialect, options) in forms() {
        let entries = if options.absolute_percpu { percpu_entries() } else { entries() };
        let (built, _) = Built::build(&entries, &dialect, &options).unwrap();
        // 64-bit kernels are always given --pc-relative.
        let low = dialect.accepts.pc_relative && !options.pc_relative;
        for machine in HEADERS.into_iter().filter(|&(_, class, _)| !low || class == Class::Elf32) {
            let mut object = built.to_object(&header(machine)).unwrap();
            link(&mut object, TEXT);
            let found = read(&Elf::parse(&object).unwrap()).unwrap();
            assert_eq!(found.len(), built.symbols().len());
            for (found, symbol) in found.iter().zip(built.symbols()) {
                let found = (found.addr, found.kind, found.name.as_slice());
                let expected = (symbol.addr, symbol.kind, symbol.name);
                assert_eq!(found, expected, "{machine:?} {options:?} {dialect:?}");
            }
        }
    }
}

#[test]
fn empty_tables_read_back() {
    for dialect in [like_6_12(), like_7_3()] {
        let (built, _) = Built::build(&[], &dialect, &Options::default()).unwrap();
        for machine in HEADERS {
            let object = built.to_object(&header(machine)).unwrap();
            assert_eq!(read(&Elf::parse(&object).unwrap()).unwrap(), []);
        }
    }
}

#[test]
fn an_unknown_machine_is_left_to_the_assembler() {
    let (built, _) = Built::build(&[], &like_6_12(), &Options::default()).unwrap();
    let header = header((EM_MIPS, Class::Elf32, Endianness::Big));
    let error = built.to_object(&header).unwrap_err();
    assert_eq!(error, Error::UnknownMachine { machine: 8, bits: 32 });
}

#[test]
fn damaged_tables_are_errors_and_never_a_panic() {
    let (built, _) = Built::build(&entries(), &like_6_12(), &forms()[4].1).unwrap();
    let whole = built.to_object(&header(HEADERS[0])).unwrap();
    for at in (0..whole.len()).step_by(41) {
        for value in [0, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            if let Ok(elf) = Elf::parse(&damaged) {
                let _ = read(&elf);
            }
        }
        if let Ok(elf) = Elf::parse(&whole[..at]) {
            let _ = read(&elf);
        }
    }
}

#[test]
fn a_list_is_printed_as_the_kernel_prints_it() {
    let symbol = KernelSymbol { addr: 0xc010_0000, kind: b'T', name: b"_text".to_vec() };
    let symbols = [symbol];
    assert_eq!(write_list(&symbols, Class::Elf32), b"c0100000 T _text\n");
    assert_eq!(write_list(&symbols, Class::Elf64), b"00000000c0100000 T _text\n");
}
