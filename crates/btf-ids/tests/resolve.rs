//! Every form of symbol, both classes and byte orders, and files that are wrong.

mod made;

use btf::Btf;
use btf_ids::{Error, Options, Resolution, resolve, resolve_with};
use image::{Class, Elf, Patch};
use made::*;

fn run(file: &[u8]) -> Result<Resolution, Error> {
    resolve(&Elf::parse(file).unwrap(), None, &Options::default())
}

fn lines(resolution: &Resolution) -> Vec<String> {
    resolution.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn every_form_of_symbol_in_every_class_and_byte_order() {
    let types = [
        (INT, "int"),
        (FUNC, "late"),
        (STRUCT, "task_struct"),
        (UNION, "thread_union"),
        (TYPEDEF, "pid_t"),
        (FUNC, "early"),
    ];
    // A list of four, an unused word; a set of two; a set8 of two with flags.
    let words = [0, 0, 0, 0, 0x55, 0, 0, 0, 0, 0xf, 0, 0xa, 0, 0xb];
    let symbols = [
        ("__BTF_ID__struct__task_struct__1", 0, 4),
        ("__BTF_ID__union__thread_union__2", 4, 4),
        ("__BTF_ID__typedef__pid_t__3", 8, 4),
        ("__BTF_ID__func__early__4", 12, 4),
        ("list_of_five", 0, 0),
        ("__BTF_ID__set__two", 20, 12),
        ("__BTF_ID__func__early__5", 24, 4),
        ("__BTF_ID__func__late__6", 28, 4),
        ("__BTF_ID__set8__flagged", 32, 24),
        ("__BTF_ID__func__early__7", 40, 4),
        ("__BTF_ID__func__late__8", 48, 4),
    ];
    for target in TARGETS {
        let ids = target.words(&words);
        let file = elf(target, &[(".BTF", &btf(target, 0, &types)), (".BTF_ids", &ids)], &symbols);
        let resolution = run(&file).unwrap();
        assert!(resolution.warnings.is_empty() && resolution.trace.is_empty());
        assert_eq!(
            patched(target, &file, &resolution.patches),
            [3, 4, 5, 6, 0x55, 2, 2, 6, 2, 0xf, 2, 0xb, 6, 0xa],
            "{target:?}"
        );
    }
}

#[test]
fn symbols_of_a_linked_image_are_addresses() {
    for target in TARGETS {
        let addr: u64 = if target.class == Class::Elf32 { 0xc010_0000 } else { 0xffff_8000_0000 };
        let symbols = [("__BTF_ID__func__f__1", addr + 4, 4)];
        let types = btf(target, 0, &[(FUNC, "f")]);
        let mut file = elf(target, &[(".BTF_ids", &[0; 8]), (".BTF", &types)], &symbols);
        assert!(matches!(run(&file), Err(Error::OutOfBounds { size: 8, .. })));
        let header = Elf::parse(&file).unwrap().section_header_offset(1).unwrap();
        let (field, bytes) = match target.class {
            Class::Elf32 => (12, target.words(&[addr as u32])),
            Class::Elf64 => {
                let mut halves = [addr as u32, (addr >> 32) as u32];
                if target.endian == image::Endianness::Big {
                    halves.reverse();
                }
                (16, target.words(&halves))
            }
        };
        image::apply(&mut file, &[Patch { offset: header + field, bytes }]).unwrap();
        let resolution = run(&file).unwrap();
        assert_eq!(patched(target, &file, &resolution.patches), [0, 1]);
    }
}

#[test]
fn unresolved_symbols_are_told_by_kind_and_falling_name_and_become_0() {
    let types = btf(PLAIN, 0, &[(FWD, "b"), (FUNC, "b"), (FUNC, "ok")]);
    let symbols = [
        ("__BTF_ID__func__ok__0", 0, 4),
        ("__BTF_ID__func__y__1", 4, 4),
        ("__BTF_ID__func__z__2", 8, 4),
        ("__BTF_ID__struct__b__3", 12, 4),
        ("__BTF_ID__struct__c__4", 16, 4),
        ("__BTF_ID__union__u__5", 20, 4),
        ("__BTF_ID__struct__b__6", 24, 4),
    ];
    let file = elf(PLAIN, &[(".BTF", &types), (".BTF_ids", &[7; 28])], &symbols);
    let options = Options { explain: true, ..Options::default() };
    let resolution = resolve(&Elf::parse(&file).unwrap(), None, &options).unwrap();
    let expected = ["c", "b", "u", "z", "y"];
    let expected = expected.map(|name| format!("WARN: resolve_btfids: unresolved symbol {name}"));
    assert_eq!(lines(&resolution), expected);
    assert_eq!(patched(PLAIN, &file, &resolution.patches), [3, 0, 0, 0, 0, 0, 0]);
    let help = resolution.warnings[1].help();
    assert_eq!(help, "BTF has no struct 'b', but of that name: FWD 1, FUNC 2");
    assert!(resolution.warnings[3].help().contains("nor another type of that name"));
    assert_eq!(lines(&run(&file).unwrap()), expected);
}

#[test]
fn the_lowest_id_wins_and_each_other_one_is_told() {
    let types =
        [(STRUCT, "s"), (FUNC, "f"), (STRUCT, "s"), (TYPEDEF, "s"), (STRUCT, "s"), (FUNC, "f")];
    let symbols = [
        ("__BTF_ID__struct__s__1", 0, 4),
        ("__BTF_ID__struct__missing__2", 4, 4),
        ("__BTF_ID__func__f__3", 8, 4),
        ("__BTF_ID__func__f__4", 12, 4),
    ];
    let file = elf(PLAIN, &[(".BTF", &btf(PLAIN, 0, &types)), (".BTF_ids", &[0; 16])], &symbols);
    let resolution = run(&file).unwrap();
    let expected = [
        "WARN: multiple IDs found for 's': 1, 3 - using 1",
        "WARN: multiple IDs found for 's': 1, 5 - using 1",
        "WARN: multiple IDs found for 'f': 2, 6 - using 2",
        "WARN: resolve_btfids: unresolved symbol missing",
    ];
    assert_eq!(lines(&resolution), expected);
    assert_eq!(patched(PLAIN, &file, &resolution.patches), [1, 0, 2, 2]);
}

#[test]
fn a_second_type_is_told_of_only_while_a_name_is_missing() {
    let types = [(STRUCT, "s"), (STRUCT, "s"), (STRUCT, "t"), (STRUCT, "s"), (STRUCT, "t")];
    let symbols = [("__BTF_ID__struct__s__1", 0, 4), ("__BTF_ID__struct__t__2", 4, 4)];
    let file = elf(PLAIN, &[(".BTF", &btf(PLAIN, 0, &types)), (".BTF_ids", &[0; 8])], &symbols);
    let resolution = run(&file).unwrap();
    assert_eq!(lines(&resolution), ["WARN: multiple IDs found for 's': 1, 2 - using 1"]);
    assert_eq!(patched(PLAIN, &file, &resolution.patches), [1, 3]);
}

#[test]
fn members_of_a_set_keep_their_flags_and_equal_ids_their_order() {
    let symbols = [
        ("__BTF_ID__set8__s", 0, 40),
        ("__BTF_ID__func__b__1", 8, 4),
        ("__BTF_ID__func__lost__2", 16, 4),
        ("__BTF_ID__func__a__3", 24, 4),
        ("__BTF_ID__func__gone__4", 32, 4),
    ];
    for target in TARGETS {
        let types = btf(target, 0, &[(FUNC, "a"), (FUNC, "b")]);
        let ids = target.words(&[0, 1, 0, 11, 0, 12, 0, 13, 0, 14]);
        let file = elf(target, &[(".BTF", &types), (".BTF_ids", &ids)], &symbols);
        let resolution = run(&file).unwrap();
        let words = patched(target, &file, &resolution.patches);
        assert_eq!(words, [4, 1, 0, 12, 0, 14, 1, 13, 2, 11]);
    }
}

#[test]
fn what_does_not_fit_the_section_is_an_error() {
    let types = btf(PLAIN, 0, &[(FUNC, "f")]);
    let error = |ids: &[u8], symbol: (&str, u64, u64)| {
        run(&elf(PLAIN, &[(".BTF", &types), (".BTF_ids", ids)], &[symbol])).unwrap_err()
    };
    let of = |offset, size| Error::OutOfBounds { offset, size };
    assert_eq!(error(&[0; 8], ("__BTF_ID__func__f__1", 8, 4)), of(8, 8));
    assert_eq!(error(&[0; 6], ("__BTF_ID__func__f__1", 4, 4)), of(4, 6));
    assert_eq!(error(&[], ("__BTF_ID__func__f__1", 0, 4)), of(0, 0));
    assert_eq!(error(&[0; 8], ("__BTF_ID__func__f__1", u64::MAX, 4)), of(u64::MAX, 8));
    assert_eq!(of(8, 8).to_string(), "FAILED patching index 8 out of bounds 8");

    let set = |offset, count| Error::SetBounds { name: "s".into(), offset, count, size: 12 };
    assert_eq!(error(&[0; 12], ("__BTF_ID__set__s", 0, 16)), set(0, 3));
    assert_eq!(error(&[0; 12], ("__BTF_ID__set8__s", 0, 16)), set(0, 1));
    assert_eq!(error(&[0; 12], ("__BTF_ID__set__s", 0, 0)), set(0, u32::MAX));
    assert_eq!(error(&[0; 12], ("__BTF_ID__set__s", 8, 1 << 34)), set(8, u32::MAX));
    assert_eq!(error(&[0; 12], ("__BTF_ID__set__s", 11, 4)), set(11, 0));
    assert_eq!(error(&[0; 12], ("__BTF_ID__set__s", 12, 4)), of(12, 12));
}

#[test]
fn sets_of_one_name_are_an_error() {
    let symbols = [("__BTF_ID__set__s", 0, 4), ("__BTF_ID__set8__s", 4, 8)];
    let file = elf(PLAIN, &[(".BTF", &btf(PLAIN, 0, &[])), (".BTF_ids", &[0; 12])], &symbols);
    assert_eq!(run(&file).unwrap_err(), Error::SetTwice("s".into()));
}

#[test]
fn a_file_without_ids_or_symbols_is_left_alone() {
    let symbol = [("__BTF_ID__func__f__1", 0, 4)];
    let types = btf(PLAIN, 0, &[(FUNC, "f")]);
    assert_eq!(run(&elf(PLAIN, &[(".BTF", &types)], &[])), Ok(Resolution::default()));
    assert_eq!(run(&elf(PLAIN, &[(".BTF_ids", &[0; 4])], &[])), Ok(Resolution::default()));
    assert_eq!(run(&elf(PLAIN, &[(".BTF_ids", &[0; 4])], &symbol)), Err(Error::NoBtf));
    let torn = elf(PLAIN, &[(".BTF_ids", &[0; 4]), (".BTF", &types[..20])], &symbol);
    assert!(matches!(run(&torn), Err(Error::Btf(_))));
}

#[test]
fn a_module_counts_on_from_its_base_and_its_own_base_comes_first() {
    for target in TARGETS {
        let kernel_types = [(STRUCT, "s"), (FUNC, "f"), (FUNC, "k")];
        let kernel = btf(target, 0, &kernel_types);
        let kernel = Btf::parse(&kernel).unwrap();
        let split = btf(target, strings_len(&kernel_types), &[(FUNC, "own"), (FUNC, "f")]);
        let symbols = [("__BTF_ID__func__own__1", 0, 4), ("__BTF_ID__func__f__2", 4, 4)];
        let sections = [(".BTF", &split[..]), (".BTF_ids", &[0; 8])];
        let file = elf(target, &sections, &symbols);
        let module = Elf::parse(&file).unwrap();
        assert!(btf_ids::wants_base(&module));
        let resolution = resolve(&module, Some(&kernel), &Options::default()).unwrap();
        assert_eq!(patched(target, &file, &resolution.patches), [4, 2]);
        let types = Btf::parse_split(&split, &kernel).unwrap();
        assert_eq!(resolve_with(&module, &types, &Options::default()).unwrap(), resolution);

        let base_types = [(STRUCT, "s")];
        let base = btf(target, 0, &base_types);
        let split = btf(target, strings_len(&base_types), &[(FUNC, "f"), (FUNC, "own")]);
        let sections = [(".BTF.base", &base[..]), (".BTF", &split), (".BTF_ids", &[0; 8])];
        let file = elf(target, &sections, &symbols);
        let module = Elf::parse(&file).unwrap();
        assert!(!btf_ids::wants_base(&module));
        for base in [Some(&kernel), None] {
            let resolution = resolve(&module, base, &Options::default()).unwrap();
            assert_eq!(patched(target, &file, &resolution.patches), [3, 2]);
        }
    }
}

#[test]
fn the_trace_has_the_peers_lines_and_the_warnings_in_their_place() {
    let types = btf(PLAIN, 0, &[(FUNC, "f")]);
    let symbols = [
        ("__BTF_ID__set__s", 0, 12),
        ("__BTF_ID__func__f__1", 4, 4),
        ("__BTF_ID__func__no__2", 8, 4),
    ];
    let file = elf(PLAIN, &[(".BTF", &types), (".BTF_ids", &[0; 12])], &symbols);
    let options = Options { trace: true, ..Options::default() };
    let resolution = resolve(&Elf::parse(&file).unwrap(), None, &options).unwrap();
    let expected = [
        "adding symbol s",
        "adding symbol f",
        "adding symbol no",
        "WARN: resolve_btfids: unresolved symbol no",
        "patching addr     8: ID       0 [no]",
        "patching addr     4: ID       1 [f]",
        "patching addr     0: ID       2 [s]",
        "sorting  addr     0: cnt      2 [s]",
    ];
    assert_eq!(resolution.trace, expected);
}

#[test]
fn a_compressed_section_gets_its_alignment() {
    const SHF_COMPRESSED: u8 = 8; // 1 << 11: bit 3 of the second byte.
    for target in TARGETS {
        let types = btf(target, 0, &[(FUNC, "f")]);
        let sections = [(".BTF_ids", &[0; 4][..]), (".BTF", &types), (".debug_info", b"zipped")];
        let mut file = elf(target, &sections, &[("__BTF_ID__func__f__1", 0, 4)]);
        let header = Elf::parse(&file).unwrap().section_header_offset(3).unwrap() as usize;
        let width = target.class.address_size() as usize;
        let field = header + 8;
        let second = match target.endian {
            image::Endianness::Little => field + 1,
            image::Endianness::Big => field + width - 2,
        };
        file[second] |= SHF_COMPRESSED;
        let resolution = run(&file).unwrap();
        let expected = if width == 4 { None } else { Some(8) };
        image::apply(&mut file, &resolution.patches).unwrap();
        let elf = Elf::parse(&file).unwrap();
        assert_eq!(elf.sections()[3].align, expected.unwrap_or(4));
        assert_eq!(resolution.patches.len(), if expected.is_some() { 2 } else { 1 });
    }
}

#[test]
fn ids_from_a_file_must_fill_the_section() {
    let file = elf(PLAIN, &[(".BTF_ids", &[0; 8])], &[]);
    let image = Elf::parse(&file).unwrap();
    let patch = btf_ids::patch_from_file(&image, &[1; 8]).unwrap();
    assert_eq!(patched(PLAIN, &file, &[patch]), [0x0101_0101; 2]);
    let error = btf_ids::patch_from_file(&image, &[1; 7]).unwrap_err();
    assert_eq!(error, Error::SizeMismatch { section: 8, file: 7 });
    let none = elf(PLAIN, &[(".BTF", &[])], &[]);
    let error = btf_ids::patch_from_file(&Elf::parse(&none).unwrap(), &[]).unwrap_err();
    assert_eq!(error, Error::NoIds);
}

#[test]
fn no_byte_of_a_file_can_bring_about_a_panic() {
    for target in TARGETS {
        let types = btf(target, 0, &[(FUNC, "f"), (STRUCT, "s"), (INT, "int")]);
        let symbols = [
            ("__BTF_ID__set8__set", 0, 24),
            ("__BTF_ID__func__f__1", 8, 4),
            ("__BTF_ID__struct__s__2", 16, 4),
        ];
        let file = elf(target, &[(".BTF", &types), (".BTF_ids", &[0; 24])], &symbols);
        let mut changed = file.clone();
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, b'_'] {
                changed[at] = value;
                if let Ok(elf) = Elf::parse(&changed) {
                    let options = Options { trace: true, explain: true };
                    if let Ok(resolution) = resolve(&elf, None, &options) {
                        image::apply(&mut changed.clone(), &resolution.patches).unwrap();
                    }
                }
            }
            changed[at] = file[at];
        }
    }
}
