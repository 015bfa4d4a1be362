use image::consts::{R_X86_64_64, SHF_STRINGS, SHT_NOTE};
use image::{DataSection, Header, NewSymbol, Relocatable, Relocation};

use super::*;
use crate::testing;

const ALLOC: u64 = SHF_ALLOC.0;
const MERGE: u64 = SHF_MERGE.0;

/// An object with these sections, of 16 bytes each, of which those marked have a relocation.
fn object(header: Header, sections: &[(&'static str, u64, bool)], symbol: &'static str) -> Vec<u8> {
    let relocation = Relocation { offset: 0, symbol: 0, r_type: R_X86_64_64.0, addend: 1 };
    let section = |&(name, flags, relocated): &(&'static str, u64, bool)| DataSection {
        name,
        flags,
        align: 8,
        bytes: b"sixteen of them\0",
        relocations: if relocated { vec![relocation] } else { Vec::new() },
    };
    let sections = sections.iter().map(section).collect();
    let symbols = vec![NewSymbol { name: symbol, section: None, value: 0, size: 0 }];
    Relocatable { header, sections, symbols, rela: true }.write().unwrap()
}

const SECTIONS: [(&str, u64, bool); 7] = [
    (".text", ALLOC, true),
    (".rodata.str1.1", ALLOC | MERGE | SHF_STRINGS.0, false),
    ("__ex_table", ALLOC | MERGE, true),
    (".BTF_ids", ALLOC, false),
    (".comment", MERGE | SHF_STRINGS.0, false),
    (".debug_info", 0, true),
    (".debug_str", MERGE | SHF_STRINGS.0, false),
];

fn hollow(bytes: &[u8], relocations: Relocations) -> Result<Hollow<'_>, Error> {
    Hollow::new(&Input::new("a.o", bytes), relocations)
}

/// The file that the pieces make.
fn written(hollow: &Hollow<'_>) -> Vec<u8> {
    let mut file = vec![0; hollow.len as usize];
    let ends = hollow.pieces.iter().map(|piece| piece.offset + piece.bytes.len() as u64);
    assert!(hollow.pieces.iter().skip(1).zip(ends).all(|(piece, end)| piece.offset >= end));
    for piece in &hollow.pieces {
        file[piece.offset as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    file
}

#[test]
fn headers_and_symbols_stay_and_what_is_only_copied_goes() {
    let whole = object(testing::x86_64(), &SECTIONS, "start_kernel");
    let before = Elf::parse(&whole).unwrap();
    for relocations in [Relocations::Dropped, Relocations::Cleared] {
        let twin = written(&hollow(&whole, relocations).unwrap());
        let after = Elf::parse(&twin).unwrap();
        assert_eq!(before.symbols().unwrap(), after.symbols().unwrap());
        let gone = match relocations {
            Relocations::Dropped => [".rela.text", ".rela.debug_info"].as_slice(),
            Relocations::Cleared => &[".rela.debug_info"],
        };
        let kept = [".rodata.str1.1", ".BTF_ids", ".comment", ".symtab", ".strtab", ".shstrtab"];
        for (old, new) in before.sections().iter().zip(after.sections()) {
            let name = std::str::from_utf8(old.name).unwrap();
            if gone.contains(&name) {
                assert_eq!((new.sh_type, new.size), (SHT_NULL.0, 0), "{name}");
                continue;
            }
            let is_debug = name.starts_with(".debug");
            let size = if is_debug { 0 } else { old.size };
            assert_eq!(Section { offset: new.offset, size, ..*old }, *new);
            let bytes = after.bytes(new).unwrap();
            // Those of the relocated section that could be merged are kept as well.
            if kept.contains(&name) || name == "__ex_table" {
                assert_eq!(bytes, before.bytes(old).unwrap(), "{name}");
            } else {
                assert!(bytes.iter().all(|&byte| byte == 0), "{name}");
            }
        }
        assert_eq!(before.sections().len(), after.sections().len());
    }
}

#[test]
fn notes_and_what_else_is_no_plain_contents_stay() {
    let mut whole = object(testing::x86_64(), &[(".note.x", ALLOC, true)], "x");
    let at = Elf::parse(&whole).unwrap().section_header_offset(1).unwrap() as usize;
    whole[at + 4..at + 8].copy_from_slice(&SHT_NOTE.0.to_le_bytes());
    let twin = written(&hollow(&whole, Relocations::Dropped).unwrap());
    let elf = Elf::parse(&twin).unwrap();
    assert_eq!(elf.bytes(&elf.sections()[1]).unwrap(), b"sixteen of them\0");
    assert_eq!(elf.sections()[2].sh_type, SHT_NULL.0);
}

#[test]
fn what_is_parsed_as_it_is_relocated_stays_with_its_relocations() {
    let whole =
        object(testing::x86_64(), &[(".eh_frame", ALLOC, true), (".text", ALLOC, true)], "x");
    let before = Elf::parse(&whole).unwrap();
    for relocations in [Relocations::Dropped, Relocations::Cleared] {
        let twin = written(&hollow(&whole, relocations).unwrap());
        let after = Elf::parse(&twin).unwrap();
        for index in [1, 2] {
            let [old, new] = [&before, &after].map(|elf| elf.bytes(&elf.sections()[index]));
            assert_eq!(old, new);
        }
    }
}

#[test]
fn what_layout_may_depend_on_is_refused() {
    let refused = |header: Header, section: (&'static str, u64, bool), symbol: &'static str| {
        let bytes = object(header, &[section], symbol);
        hollow(&bytes, Relocations::Dropped).unwrap_err().to_string()
    };
    let of = |name, flags, symbol| refused(testing::x86_64(), (name, flags, false), symbol);
    let parsed = "is parsed by the linker";
    for (name, flags, what) in [
        (".stab", 0, parsed),
        (".gnu.warning.gets", 0, "is a warning"),
        (".text", ALLOC | SHF_GROUP.0, "is in a group"),
        (".debug_info", SHF_COMPRESSED.0, "is compressed"),
        (".tdata", ALLOC | SHF_TLS.0, "is thread-local"),
    ] {
        assert_eq!(of(name, flags, "x"), format!("not supported: a.o: {name} {what}"));
    }
    let got = of(".text", ALLOC, "_GLOBAL_OFFSET_TABLE_");
    assert_eq!(got, "not supported: a.o: it refers to the global offset table");
    for other in [
        Header { class: Class::Elf32, ..testing::x86_64() },
        Header { endian: Endianness::Big, ..testing::x86_64() },
        Header { machine: 183, ..testing::x86_64() },
    ] {
        let error = refused(other, (".text", ALLOC, true), "x");
        assert_eq!(error, "not supported: a.o: it is no relocatable object of x86_64");
    }
}

#[test]
fn symbols_that_make_sections_are_refused() {
    let whole = object(testing::x86_64(), &[(".text", ALLOC, false)], "x");
    let elf = Elf::parse(&whole).unwrap();
    let at = elf.section(".symtab").unwrap().1.offset as usize + SYMBOL + 4;
    for (kind, what) in
        [(STT_GNU_IFUNC.0, "a function is an IFUNC"), (STT_TLS.0, "a symbol is thread-local")]
    {
        let mut whole = whole.clone();
        whole[at] = 1 << 4 | kind;
        let error = hollow(&whole, Relocations::Dropped).unwrap_err().to_string();
        assert_eq!(error, format!("not supported: a.o: {what}"));
    }
}

#[test]
fn broken_input_is_refused_or_used_and_never_a_panic() {
    let whole = object(testing::x86_64(), &SECTIONS, "start_kernel");
    for at in 0..whole.len() {
        for value in [0x00, 0x01, 0x08, 0x7f, 0xff] {
            let mut broken = whole.clone();
            broken[at] = value;
            for relocations in [Relocations::Dropped, Relocations::Cleared] {
                if let Ok(hollow) = hollow(&broken, relocations) {
                    assert!(hollow.len < whole.len() as u64 * 9 + PAGE);
                    written(&hollow);
                }
            }
        }
        let _ = hollow(&whole[..at], Relocations::Dropped);
    }
}
