//! Sorting of hand-made images, with results that can be read off.

mod support;

use image::{Class, Elf, Endian, Endianness, apply, consts};
use sorttable::{BoundsSource, Dialect, Error, Functions, Options, OrcEntry, Sorted, sort};
use support::{INIT_DATA, Image, KINDS, MCOUNT, Random};

/// The dialect of Linux 6.1.
fn old() -> Dialect {
    Dialect {
        loongarch_relative: false,
        zero_extable_relocs: true,
        flag_search: sorttable::FlagSearch::Endless,
        orc_in_elf32: false,
        orc: Some(OrcEntry::X86_SP_REG),
        mcount_bounds: BoundsSource::SystemMap,
        mcount_functions: false,
        mcount_whole_words: false,
        arm64_mcount_relas: false,
        arm64_before_function: false,
        riscv_before_function: false,
        join_hides_errors: true,
    }
}

fn new() -> Dialect {
    Dialect { orc: Some(OrcEntry::X86_TYPE), ..Dialect::default() }
}

fn run(image: &[u8], options: &Options) -> Result<(Vec<u8>, Option<Error>), Error> {
    let Sorted { patches, complaint } = sort(&Elf::parse(image)?, options)?;
    let mut bytes = image.to_vec();
    apply(&mut bytes, &patches).unwrap();
    Ok((bytes, complaint))
}

/// The section's bytes after sorting.
fn sorted(image: &Image, options: &Options, section: &str) -> Vec<u8> {
    let (bytes, complaint) = run(&image.build(), options).unwrap();
    assert_eq!(complaint, None);
    let elf = Elf::parse(&bytes).unwrap();
    elf.bytes(elf.section(section).unwrap().1).unwrap().to_vec()
}

fn words(image: &Image, words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|&word| image.u32(word)).collect()
}

#[test]
fn an_entry_of_12_bytes_keeps_its_third_word() {
    for (class, endian) in KINDS {
        let mut image = Image::new(class, endian, consts::EM_S390.0, vec![]);
        // Instructions at 100, -8 and 100 from the table's start; where to go on at 200, 204, 208.
        let neg = |value: i32| value as u32;
        let table = [100, 196, 1, neg(-20), 188, 2, 76, 180, 3];
        image.section("__ex_table").bytes = [words(&image, &table), vec![9, 9]].concat();
        let wanted = [neg(-8), 200, 2, 88, 184, 1, 76, 180, 3];
        let wanted = [words(&image, &wanted), vec![9, 9]].concat();
        assert_eq!(sorted(&image, &Options::default(), "__ex_table"), wanted);
    }
}

#[test]
fn an_entry_of_8_bytes_is_a_pair_of_distances() {
    for (class, endian) in KINDS {
        let mut image = Image::new(class, endian, consts::EM_PPC64.0, vec![]);
        image.section("__ex_table").bytes = words(&image, &[100, 200, 42, 300]);
        let wanted = words(&image, &[50, 308, 92, 192]);
        assert_eq!(sorted(&image, &Options::default(), "__ex_table"), wanted);
    }
}

#[test]
fn absolute_entries_are_as_wide_as_addresses() {
    for (class, endian) in KINDS {
        let mut image = Image::new(class, endian, consts::EM_MIPS.0, vec![]);
        let table = |image: &Image, words: [u64; 6]| -> Vec<u8> {
            words.iter().flat_map(|&word| image.word(word)).collect()
        };
        image.section("__ex_table").bytes = table(&image, [0x8000_0001, 1, 7, 2, 0x8000_0001, 3]);
        let wanted = table(&image, [7, 2, 0x8000_0001, 1, 0x8000_0001, 3]);
        assert_eq!(sorted(&image, &Options::default(), "__ex_table"), wanted);
    }
}

#[test]
fn the_flag_is_cleared_and_nothing_else_of_its_section() {
    for (class, endian) in KINDS {
        let mut image = Image::new(class, endian, consts::EM_ARM.0, vec![]);
        image.section(".init.data").bytes = vec![7; 12];
        let flag = image.symbols.iter_mut().find(|s| s.name == "main_extable_sort_needed");
        flag.unwrap().value = INIT_DATA + 4;
        let wanted = [7, 7, 7, 7, 0, 0, 0, 0, 7, 7, 7, 7];
        assert_eq!(sorted(&image, &Options::default(), ".init.data"), wanted);
    }
}

#[test]
fn relocation_records_are_zeroed_where_the_dialect_says_so() {
    for (class, endian) in KINDS {
        let mut image = Image::new(class, endian, consts::EM_386.0, vec![]);
        image.push(".rel__ex_table", consts::SHT_REL.0, 0, vec![5; 16]);
        image.section(".rel__ex_table").info = 1;
        let with = |dialect| Options { dialect, ..Options::default() };
        assert_eq!(sorted(&image, &with(old()), ".rel__ex_table"), [0; 16]);
        assert_eq!(sorted(&image, &with(new()), ".rel__ex_table"), [5; 16]);
    }
}

#[test]
fn orc_terminators_go_first_and_real_entries_of_one_address_in_reverse() {
    for endian in [Endianness::Little, Endianness::Big] {
        let mut image = Image::new(Class::Elf64, endian, consts::EM_X86_64.0, vec![]);
        let (real, terminator) = (0x0210, 0x00f0);
        image.orc(&[(40, real), (-8, real), (40, terminator), (40, real), (40, terminator)]);
        let mut options = Options { orc: true, dialect: new(), ..Options::default() };
        let ips = words(&image, &[-8i32 as u32, 36, 32, 28, 24]);
        assert_eq!(sorted(&image, &options, ".orc_unwind_ip"), ips);
        let order = |bytes: Vec<u8>| -> Vec<u32> {
            let number = |entry: &[u8]| endian.read_u32(entry[..4].try_into().unwrap());
            bytes.chunks_exact(6).map(number).collect()
        };
        assert_eq!(order(sorted(&image, &options, ".orc_unwind")), [1, 2, 4, 3, 0]);
        // In the old layout none has an sp_reg and none an end: all are terminators.
        options.dialect = old();
        assert_eq!(order(sorted(&image, &options, ".orc_unwind")), [1, 0, 2, 3, 4]);
    }
}

#[test]
fn orc_tables_must_be_there_and_agree() {
    let mut image = Image::new(Class::Elf64, Endianness::Little, consts::EM_X86_64.0, vec![]);
    let options = Options { orc: true, dialect: new(), ..Options::default() };
    assert_eq!(run(&image.build(), &options), Err(Error::IncompleteOrc));
    image.orc(&[(4, 0), (0, 0)]);
    let unknown = Options { dialect: Dialect::default(), ..options.clone() };
    assert_eq!(run(&image.build(), &unknown), Err(Error::UnknownOrcEntry));
    image.section(".orc_unwind").bytes.pop();
    assert_eq!(run(&image.build(), &options), Err(Error::InconsistentOrc));
}

#[test]
fn mcount_locations_outside_functions_become_zero() {
    for (class, endian) in KINDS {
        let mut image = Image::new(class, endian, consts::EM_X86_64.0, vec![]);
        image.mcount(&[0x300, 0x200, 0x104, 0x100]);
        let functions = Some(Functions::parse(b"0100 8 T a\n0300 4 t b\n0200 0 T none\n"));
        let options = Options { mcount: true, functions, ..Options::default() };
        let wanted: Vec<u8> =
            [0, 0x100, 0x104, 0x300].iter().flat_map(|&value| image.word(value)).collect();
        assert_eq!(sorted(&image, &options, ".init.data")[8..], wanted);
        // The old tool knows no functions, and has its bounds from System.map.
        let stop = MCOUNT + 4 * class.address_size();
        let options = Options { dialect: old(), mcount_bounds: Some(MCOUNT..stop), ..options };
        let wanted: Vec<u8> =
            [0x100, 0x104, 0x200, 0x300].iter().flat_map(|&value| image.word(value)).collect();
        assert_eq!(sorted(&image, &options, ".init.data")[8..], wanted);
    }
}

#[test]
fn arm64_locations_are_addends() {
    let mut image = Image::new(Class::Elf64, Endianness::Little, consts::EM_AARCH64.0, vec![]);
    image.mcount(&[0, 0]);
    image.relas(&[(MCOUNT, 0x403, 0x2f8), (0x10, 0x101, 7), (MCOUNT + 8, 0x403, 0x100)]);
    let functions = Some(Functions::parse(b"0100 8 T a\n0300 4 t b\n"));
    let options = Options { mcount: true, functions, ..Options::default() };
    let bytes = sorted(&image, &options, ".rela.dyn");
    let read = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!([16, 40, 64].map(read), [0x100, 7, 0x2f8]);
    assert_eq!(sorted(&image, &options, ".init.data")[8..], [0; 16]);
}

#[test]
fn a_system_map_gives_the_last_bounds_of_a_name() {
    let map = b"0010 D __start_mcount_loc\n0020 D __stop_mcount_loc\n0030 t my_stop_mcount_x\n";
    assert_eq!(sorttable::bounds_from_system_map(map), 0x10..0x30);
    assert_eq!(sorttable::bounds_from_system_map(b"0010 T _text\n"), 0..0);
}

#[test]
fn a_failed_check_is_a_complaint_once_a_sort_has_begun() {
    let mut image = Image::new(Class::Elf64, Endianness::Little, consts::EM_X86_64.0, vec![]);
    image.orc(&[(4, 0x100), (0, 0x100)]);
    image.symbols.retain(|symbol| symbol.name != "main_extable_sort_needed");
    let mut options = Options { dialect: new(), ..Options::default() };
    assert_eq!(run(&image.build(), &options), Err(Error::NoFlag));
    options.orc = true;
    let (bytes, complaint) = run(&image.build(), &options).unwrap();
    assert_eq!(complaint, Some(Error::NoFlag));
    assert_ne!(bytes, image.build());
    options.dialect.join_hides_errors = false;
    assert_eq!(run(&image.build(), &options), Err(Error::NoFlag));
    // Where the kernel's tool searches on for ever, it dies; that is a failure in any case.
    options.dialect = old();
    assert_eq!(run(&image.build(), &options), Err(Error::NoFlag));
}

#[test]
fn damaged_images_are_errors_or_sorted_and_never_panics() {
    let mut image = Image::new(Class::Elf64, Endianness::Little, consts::EM_AARCH64.0, vec![1; 50]);
    image.mcount(&[3, 2, 1]);
    image.orc(&[(4, 0x100), (0, 0x100)]);
    image.relas(&[(MCOUNT, 0x403, 1), (MCOUNT + 8, 0x403, 2), (MCOUNT + 16, 0x403, 0)]);
    let good = image.build();
    let options = Options { orc: true, mcount: true, dialect: new(), ..Options::default() };
    let old =
        Options { dialect: old(), mcount_bounds: Some(MCOUNT..MCOUNT + 24), ..options.clone() };
    for len in 0..good.len() {
        let _ = run(&good[..len], &options);
    }
    let mut random = Random(8);
    for _ in 0..5_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random.below(3) {
            let at = random.below(good.len() as u64) as usize;
            bytes[at] = [0, 1, 0x7f, 0xff, random.below(256) as u8][random.below(5) as usize];
        }
        let _ = run(&bytes, &options);
        let _ = run(&bytes, &old);
    }
}
