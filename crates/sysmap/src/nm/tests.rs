use image::consts::*;
use image::{Class, Endianness};

use super::*;
use crate::testing::{TestImage, TestSection, TestSymbol};
use crate::write_map;

fn image(machine: Machine, class: Class, endian: Endianness) -> TestImage {
    let section = |name, sh_type, flags: u32, addr| TestSection {
        name,
        sh_type,
        flags: u64::from(flags),
        addr,
    };
    let (alloc, write, exec) = (2, 1, 4);
    let sections = vec![
        section(".text", SHT_PROGBITS, alloc | exec, 0x1000),
        section(".rodata", SHT_PROGBITS, alloc, 0x2000),
        section(".data", SHT_PROGBITS, alloc | write, 0x3000),
        section(".bss", SHT_NOBITS, alloc | write, 0x4000),
        section(".debug_info", SHT_PROGBITS, 0, 0),
        section(".comment", SHT_PROGBITS, 0, 0),
        section(".pdata", SHT_PROGBITS, alloc, 0x5000),
        section(".pdatax", SHT_PROGBITS, write, 0x6000),
        section(".sdata", SHT_PROGBITS, alloc | write, 0x7000),
        section(".sbss", SHT_NOBITS, alloc | write, 0x8000),
    ];
    TestImage { class, endian, machine, file_type: ET_EXEC, sections, symbols: Vec::new() }
}

fn x86() -> TestImage {
    image(EM_X86_64, Class::Elf64, Endianness::Little)
}

fn letters(image: &TestImage, flavor: Flavor) -> String {
    let bytes = image.bytes();
    let entries = nm_as(&Elf::parse(&bytes).unwrap(), flavor).unwrap();
    let letters = entries
        .iter()
        .map(|entry| format!("{}{}", String::from_utf8_lossy(entry.name), char::from(entry.kind)));
    letters.collect::<Vec<_>>().join(" ")
}

fn listing(image: &TestImage, flavor: Flavor) -> String {
    let bytes = image.bytes();
    let elf = Elf::parse(&bytes).unwrap();
    String::from_utf8(write_map(&nm_as(&elf, flavor).unwrap(), elf.class())).unwrap()
}

#[test]
fn the_section_gives_the_letter() {
    let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "A"];
    let mut image = x86();
    let symbols = names.into_iter().zip(1..);
    image.symbols.extend(symbols.map(|(name, at)| TestSymbol::global(name, at, u64::from(at))));
    assert_eq!(letters(&image, Flavor::Gnu), "1T 2R 3D 4B 5N 6N 7P 8? 9D AB");
    assert_eq!(letters(&image, Flavor::Llvm), "1T 2R 3D 4B 5N 6N 7R 8? 9D AB");
    image.machine = EM_PPC64;
    assert_eq!(letters(&image, Flavor::Gnu), "1T 2R 3D 4B 5N 6N 7P 8? 9G AS");
    image.symbols.iter_mut().for_each(|symbol| symbol.bind = STB_LOCAL);
    assert_eq!(letters(&image, Flavor::Gnu), "1t 2r 3d 4b 5N 6n 7p 8? 9g As");
}

#[test]
fn binding_and_type_give_the_letter_before_the_section_does() {
    let symbol =
        |name, bind, kind, shndx| TestSymbol { bind, kind, ..TestSymbol::global(name, shndx, 0) };
    let mut image = x86();
    image.symbols = vec![
        symbol("a", STB_GLOBAL, STT_NOTYPE, 0),
        symbol("b", STB_WEAK, STT_NOTYPE, 0),
        symbol("c", STB_WEAK, STT_OBJECT, 0),
        symbol("d", STB_WEAK, STT_FUNC, 1),
        symbol("e", STB_WEAK, STT_OBJECT, 3),
        symbol("f", STB_GLOBAL, STT_GNU_IFUNC, 1),
        symbol("g", STB_GNU_UNIQUE, STT_OBJECT, 3),
        symbol("h", STB_LOCAL, STT_NOTYPE, SHN_ABS.0),
        symbol("i", STB_GLOBAL, STT_NOTYPE, SHN_ABS.0),
        symbol("j", STB_GLOBAL, STT_OBJECT, SHN_COMMON.0),
        symbol("k", SymbolBind(13), STT_NOTYPE, 1),
        symbol("l", STB_GLOBAL, STT_NOTYPE, 0xff02),
        symbol("m", STB_LOCAL, STT_SECTION, 1),
        symbol("n", STB_LOCAL, STT_FILE, SHN_ABS.0),
        symbol("o", STB_GLOBAL, STT_NOTYPE, 11),
    ];
    assert_eq!(letters(&image, Flavor::Gnu), "aU bw cv dW eV fi gu ha iA jC k? lC oA");
    assert_eq!(letters(&image, Flavor::Llvm), "aU bw cv dW eV fi gu ha iA jC k? l? oN");
}

#[test]
fn order_is_undefined_then_address_then_name_then_the_table() {
    let mut image = x86();
    image.symbols = vec![
        TestSymbol::global("z", 1, 0x1000),
        TestSymbol { bind: STB_LOCAL, size: 8, ..TestSymbol::global("same", 3, 0x1000) },
        TestSymbol { size: 4, ..TestSymbol::global("same", 1, 0x1000) },
        TestSymbol::global("A", 1, 0xffff_ffff_8100_0000),
        TestSymbol::global("late", 0, 0),
        TestSymbol::global("early", 0, 0),
    ];
    let gnu = "                 U early\n                 U late\n\
        0000000000001000 d same\n0000000000001000 T same\n0000000000001000 T z\n\
        ffffffff81000000 T A\n";
    assert_eq!(listing(&image, Flavor::Gnu), gnu);
    let llvm = gnu.replace(
        "0000000000001000 d same\n0000000000001000 T same\n",
        "0000000000001000 T same\n0000000000001000 d same\n",
    );
    assert_eq!(listing(&image, Flavor::Llvm), llvm);
}

#[test]
fn every_class_and_byte_order_lists_alike() {
    for endian in [Endianness::Little, Endianness::Big] {
        let mut image = image(EM_ARM, Class::Elf32, endian);
        let thumb = TestSymbol { kind: STT_FUNC, ..TestSymbol::global("thumb", 1, 0xc010_0001) };
        image.symbols = vec![
            thumb,
            TestSymbol::global("odd", 3, 0x3001),
            TestSymbol::global("$a", 1, 0),
            TestSymbol::global("$a.7", 1, 0),
            TestSymbol::global("$abc", 1, 0xd000_0000),
        ];
        let text = "00003001 D odd\nc0100000 T thumb\nd0000000 T $abc\n";
        assert_eq!(listing(&image, Flavor::Gnu), text);
        assert_eq!(listing(&image, Flavor::Llvm), &text[..text.len() - "d0000000 T $abc\n".len()]);
    }
    for endian in [Endianness::Little, Endianness::Big] {
        let mut image = image(EM_S390, Class::Elf64, endian);
        image.symbols = vec![TestSymbol::global("_text", 1, 0x10_0000)];
        assert_eq!(listing(&image, Flavor::Gnu), "0000000000100000 T _text\n");
    }
}

#[test]
fn an_object_adds_the_address_of_the_section() {
    let mut image = x86();
    image.file_type = ET_REL;
    image.symbols = vec![
        TestSymbol::global("in_text", 1, 0x10),
        TestSymbol::global("absolute", SHN_ABS.0, 0x10),
        TestSymbol { size: 0x20, ..TestSymbol::global("common", SHN_COMMON.0, 8) },
    ];
    let text = "0000000000000010 A absolute\n0000000000000020 C common\n\
        0000000000001010 T in_text\n";
    assert_eq!(listing(&image, Flavor::Gnu), text);
    assert_eq!(listing(&image, Flavor::Llvm), text);
}

#[test]
fn the_sizes_are_by_name_and_an_empty_one_is_left_out_by_gnu() {
    let mut image = x86();
    image.symbols = vec![
        TestSymbol { size: 0x1c, ..TestSymbol::global("b", 1, 0x1000) },
        TestSymbol::global("a", 1, 0x2000),
        TestSymbol::global("c", 0, 0),
    ];
    let bytes = image.bytes();
    let elf = Elf::parse(&bytes).unwrap();
    let text = |flavor| {
        let text = write_sizes(&nm_sizes(&elf, flavor).unwrap(), elf.class(), flavor);
        String::from_utf8(text).unwrap()
    };
    let gnu = "0000000000002000 T a\n0000000000001000 000000000000001c T b\n                 U c\n";
    assert_eq!(text(Flavor::Gnu), gnu);
    let llvm = "0000000000002000 0000000000000000 T a\n0000000000001000 000000000000001c T b\n\
        \x20                                 U c\n";
    assert_eq!(text(Flavor::Llvm), llvm);
}

#[test]
fn no_truncation_of_an_image_panics() {
    let mut image = x86();
    image.symbols = vec![TestSymbol::global("a", 1, 1), TestSymbol::global("b", 0xff10, 1)];
    let bytes = image.bytes();
    assert_eq!(letters(&image, Flavor::Gnu), "aT bA");
    for len in 0..bytes.len() {
        if let Ok(elf) = Elf::parse(&bytes[..len]) {
            let _ = nm(&elf);
        }
    }
}
