//! `sorttable` beside the kernel's own scripts/sorttable of 6.1, 6.12 and 7.3, byte for byte.
//!
//! Each case is an image that both sort: hand-made ones of every class, byte order and machine, the
//! freestanding images of other architectures, and real kernels before their tables were sorted, also
//! with entries shuffled and doubled. Where the kernel's tool fails, vmlinker must fail too.

#[path = "../../crates/sorttable/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use image::{Class, Elf, Endianness, consts};
use peer_tests::{cross, kernel, source, tool};
use sorttable::{BoundsSource, Dialect, Functions, Options, Row};
use support::{Image, KINDS, MCOUNT, Random};
use tempfile::TempDir;

const SERIES: [&str; 3] = ["6.1", "6.12", "7.3"];

/// One way in which the kernel's tool is compiled: its name in [`tool`], ORC, mcount.
type Build = (&'static str, bool, bool);
const PLAIN: Build = ("sorttable", false, false);
const ORC: Build = ("sorttable-orc", true, false);
const WITH_MCOUNT: Build = ("sorttable-mcount", false, true);
const BOTH: Build = ("sorttable-orc-mcount", true, true);

/// What surrounds an image: the list for `-s`, and System.map.
#[derive(Default, Clone, Copy)]
struct Beside<'a> {
    nm: Option<&'a [u8]>,
    system_map: &'a [u8],
}

/// What came of sorting: the image's bytes, `None` on failure; and the first message.
#[derive(Debug, PartialEq)]
struct Outcome {
    bytes: Option<Vec<u8>>,
    message: Option<String>,
}

fn dialect(series: &str) -> Dialect {
    let tree = source(series);
    let names =
        ["scripts/sorttable.c", "scripts/sorttable.h", "tools/arch/x86/include/asm/orc_types.h"];
    let sources: Vec<Vec<u8>> =
        names.iter().filter_map(|name| fs::read(tree.join(name)).ok()).collect();
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    Dialect::detect(&sources).unwrap()
}

fn ours(series: &str, build: Build, image: &[u8], beside: Beside<'_>) -> Outcome {
    let (_, orc, mcount) = build;
    let dialect = dialect(series);
    let functions = beside.nm.map(Functions::parse);
    let from_map = dialect.mcount_bounds == BoundsSource::SystemMap;
    let mcount_bounds = from_map.then(|| sorttable::bounds_from_system_map(beside.system_map));
    let options = Options { dialect, orc, mcount, functions, mcount_bounds };
    let sorted = Elf::parse(image)
        .map_err(sorttable::Error::from)
        .and_then(|elf| sorttable::sort(&elf, &options));
    match sorted {
        Err(error) => Outcome { bytes: None, message: Some(error.to_string()) },
        Ok(sorted) => {
            let mut bytes = image.to_vec();
            image::apply(&mut bytes, &sorted.patches).unwrap();
            let message = sorted.complaint.map(|complaint| complaint.to_string());
            Outcome { bytes: Some(bytes), message }
        }
    }
}

fn theirs(series: &str, build: Build, image: &[u8], beside: Beside<'_>) -> Outcome {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("vmlinux");
    fs::write(&path, image).unwrap();
    fs::write(dir.path().join("System.map"), beside.system_map).unwrap();
    let mut command = Command::new(tool(series, build.0));
    command.current_dir(&dir);
    if let Some(nm) = beside.nm.filter(|_| dialect(series).mcount_functions) {
        fs::write(dir.path().join("nm"), nm).unwrap();
        command.args(["-s", "nm"]);
    }
    let output = command.arg("vmlinux").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    // The bounds' own messages have no end of line.
    let stderr = stderr.trim_start_matches("get start_mcount_loc error!");
    let stderr = stderr.trim_start_matches("get stop_mcount_loc error!");
    let message = stderr.lines().next().map(|line| line.trim_end_matches(": vmlinux").to_owned());
    let bytes = output.status.success().then(|| fs::read(&path).unwrap());
    Outcome { bytes, message }
}

/// Both sort `image`: the same bytes, or both fail. The result's bytes, if there are any.
#[track_caller]
fn compare(series: &str, build: Build, image: &[u8], beside: Beside<'_>) -> Option<Vec<u8>> {
    let (ours, theirs) = (ours(series, build, image, beside), theirs(series, build, image, beside));
    let (message, wanted) = (&ours.message, &theirs.message);
    let context = format!("{series} {}: {message:?}, kernel's: {wanted:?}", build.0);
    assert_eq!(ours.bytes.is_some(), theirs.bytes.is_some(), "{context}");
    let (Some(bytes), Some(wanted)) = (ours.bytes, theirs.bytes) else { return None };
    assert_eq!(ours.message, theirs.message, "{context}");
    assert_same(&bytes, &wanted, &context);
    Some(bytes)
}

#[track_caller]
fn assert_same(ours: &[u8], theirs: &[u8], context: &str) {
    assert_eq!(ours.len(), theirs.len(), "{context}");
    let different: Vec<usize> = (0..ours.len()).filter(|&at| ours[at] != theirs[at]).collect();
    let first = different.first();
    assert!(first.is_none(), "{context}: {} bytes differ, first at {first:x?}", different.len());
}

/// An exception table of random words, many of them doubled: `words` of 4 bytes.
fn random_words(random: &mut Random, words: usize, range: u64) -> Vec<u8> {
    (0..words).flat_map(|_| (random.below(range) as u32).to_ne_bytes()).collect()
}

#[test]
fn every_form_class_and_byte_order() {
    let machines = [
        consts::EM_X86_64,
        consts::EM_386,
        consts::EM_AARCH64,
        consts::EM_RISCV,
        consts::EM_S390,
        consts::EM_LOONGARCH,
        consts::EM_PARISC,
        consts::EM_PPC,
        consts::EM_PPC64,
        consts::EM_ARC_COMPACT,
        consts::EM_ARC_COMPACT2,
        consts::EM_ARM,
        consts::EM_MICROBLAZE,
        consts::EM_MIPS,
        consts::EM_XTENSA,
        consts::EM_SPARC,
    ];
    let mut random = Random(1);
    for machine in machines {
        for (class, endian) in KINDS {
            // 1 and 5 words too many for every form; small numbers are often the same.
            for (words, range) in [(0, 1), (24, 1 << 32), (241, 1 << 32), (245, 300 << 24)] {
                let table = random_words(&mut random, words, range);
                let image = Image::new(class, endian, machine.0, table).build();
                for series in SERIES {
                    let sorted = compare(series, PLAIN, &image, Beside::default());
                    assert_eq!(sorted.is_some(), machine != consts::EM_SPARC);
                }
            }
        }
    }
}

#[test]
fn entries_of_one_instruction_keep_their_order() {
    for (machine, words) in [(consts::EM_X86_64, 3), (consts::EM_PPC64, 2), (consts::EM_MIPS, 4)] {
        for (class, endian) in KINDS {
            let mut image = Image::new(class, endian, machine.0, Vec::new());
            let mut table = Vec::new();
            for index in 0..200u32 {
                let at = index * 4 * words;
                // Every entry has one of three instructions, relative or not.
                let key = if machine == consts::EM_MIPS {
                    index % 3
                } else {
                    (index % 3).wrapping_sub(at)
                };
                table.extend(image.u32(key));
                (1..words).for_each(|word| table.extend(image.u32(index << 8 | word)));
            }
            image.section("__ex_table").bytes = table;
            for series in SERIES {
                compare(series, PLAIN, &image.build(), Beside::default()).unwrap();
            }
        }
    }
}

#[test]
fn relocation_records() {
    for (class, endian) in KINDS {
        let table = random_words(&mut Random(2), 24, 1 << 32);
        let mut image = Image::new(class, endian, consts::EM_X86_64.0, table);
        for (name, sh_type, info) in [
            (".rela__ex_table", consts::SHT_RELA, 1),
            (".rel__ex_table", consts::SHT_REL, 1),
            (".rela.init.data", consts::SHT_RELA, 2),
            (".rela.dyn", consts::SHT_RELA, 0),
        ] {
            image.push(name, sh_type.0, 0, vec![0x55; 48]);
            image.section(name).info = info;
        }
        for series in SERIES {
            compare(series, PLAIN, &image.build(), Beside::default()).unwrap();
        }
        // In front of the exception table, records without a target count as its own.
        let dyn_relocs = image.sections.pop().unwrap();
        image.sections.truncate(2);
        image.sections.insert(0, dyn_relocs);
        image.symbols.iter_mut().for_each(|symbol| symbol.section += 1);
        for series in SERIES {
            compare(series, PLAIN, &image.build(), Beside::default()).unwrap();
        }
    }
}

/// An x86_64 image with everything that can be sorted.
fn x86_64() -> Image {
    let mut random = Random(3);
    let table = random_words(&mut random, 90, 1 << 32);
    let mut image = Image::new(Class::Elf64, Endianness::Little, consts::EM_X86_64.0, table);
    image.mcount(&(0..100).map(|_| 0x1000 + random.below(0x1000)).collect::<Vec<_>>());
    let entries: Vec<_> =
        (0..1000).map(|_| (random.below(400) as i32 - 200, random.below(1 << 12) as u16)).collect();
    image.orc(&entries);
    image
}

/// The System.map lines that 6.1 looks for.
fn system_map(image: &Image) -> Vec<u8> {
    let bounds = image.symbols.iter().filter(|symbol| symbol.name.contains("mcount_loc"));
    bounds.flat_map(|s| format!("{:016x} D {}\n", s.value, s.name).into_bytes()).collect()
}

#[test]
fn orc_ties() {
    let mut random = Random(4);
    for (addresses, bits) in [(1, 2), (3, 16), (40, 1 << 12), (1 << 31, 1 << 16)] {
        for count in [0, 1, 2, 7, 1000, 5000] {
            let mut image =
                Image::new(Class::Elf64, Endianness::Little, consts::EM_X86_64.0, vec![0; 24]);
            let entries: Vec<_> = (0..count)
                .map(|_| {
                    let bits = random.below(bits) as u16;
                    // Half of them terminators, in the old layout, the new one or both.
                    let mask = [0xffff, 0xfbf0, 0xf8ff, 0xf8f0][random.below(4) as usize];
                    (random.below(addresses) as i32, bits & mask)
                })
                .collect();
            image.orc(&entries);
            for series in SERIES {
                compare(series, ORC, &image.build(), Beside::default()).unwrap();
            }
        }
    }
}

#[test]
fn everything_at_once() {
    let image = x86_64();
    let map = system_map(&image);
    let nm = b"0000000000001000 0000000000000800 T low\n0000000000001a00 0000000000000100 t high\n";
    for series in SERIES {
        for nm in [None, Some(&nm[..])] {
            for build in [PLAIN, ORC, WITH_MCOUNT, BOTH] {
                let beside = Beside { nm, system_map: &map };
                compare(series, build, &image.build(), beside).unwrap();
            }
        }
    }
}

#[test]
fn mcount_functions() {
    let mut random = Random(5);
    let functions: Vec<String> = (0..120)
        .map(|_| {
            // Overlapping ones, of one address and without a size.
            let (addr, size) = (0x1000 + 32 * random.below(64), 16 * random.below(6));
            format!("{addr:016x} {size:016x} {} f\n", ["t", "T", "W"][random.below(3) as usize])
        })
        .collect();
    let nm = functions.concat();
    for machine in [consts::EM_X86_64, consts::EM_AARCH64, consts::EM_RISCV, consts::EM_MIPS] {
        for (class, endian) in KINDS {
            let mut image = Image::new(class, endian, machine.0, vec![0; 48]);
            let locations: Vec<u64> = (0..300).map(|_| 0x0ff0 + random.below(0x900)).collect();
            image.mcount(&locations);
            let map = system_map(&image);
            for series in SERIES {
                for nm in [&b""[..], nm.as_bytes()] {
                    let beside = Beside { nm: Some(nm), system_map: &map };
                    compare(series, WITH_MCOUNT, &image.build(), beside).unwrap();
                }
            }
        }
    }
}

#[test]
fn nm_lists() {
    let mut image = x86_64();
    image.sections.truncate(2);
    let lists = [
        "0000000000001000 T text_start\n0000000000001100 0000000000000100 T foo\n",
        "0000000000001000 T t\n0000000000001100 0000000000000100 T foo\n0000000000001400 0000000000000200 T bar\n",
        "                 w weak\n0000000000001000 0000000000001080 T this\n0000000000001400 0000000000000200 T bar\n",
        "                 U a_long_undefined_name_to_cut\n0000000000001000 0000000000000080 T foo\n",
        "0000000000001000 0000000000000400 D data\n0x1200 0X100 W foo\n1400 80 t\tx\n\n",
        "1000 100 T foo\nzz yy T nonsense\n1g00 200 t bar",
        "1000 100 T",
        "1000 100",
        "\n\n",
    ];
    for list in lists {
        for series in ["6.12", "7.3"] {
            let beside = Beside { nm: Some(list.as_bytes()), system_map: b"" };
            compare(series, WITH_MCOUNT, &image.build(), beside).unwrap();
        }
    }
}

/// The rows of a list that `nm -S` wrote, in another order.
fn rows(nm: &str) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = nm
        .lines()
        .map(|line| {
            let hex = |word: &str| u64::from_str_radix(word, 16).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            let (kind, name) = (words[words.len() - 2].as_bytes()[0], words[words.len() - 1]);
            let addr = (words.len() > 2).then(|| hex(words[0]));
            let size = if words.len() > 3 { hex(words[1]) } else { 0 };
            Row { addr, size, kind, name: name.as_bytes() }
        })
        .collect();
    // Same names stay in order, as they do in the symbol table.
    let mut random = Random(9);
    let places: std::collections::HashMap<&[u8], u64> =
        rows.iter().map(|row| (row.name, random.below(1 << 32))).collect();
    rows.sort_by_key(|row| places[row.name]);
    rows
}

#[test]
fn symbols_give_the_functions_that_their_list_gives() {
    let kernels = ["6.1-tiny", "6.12-tiny", "7.3-tiny"]
        .map(|name| (Command::new("nm"), kernel(name).join("vmlinux")));
    let images = cross::ARCHES.map(cross::image);
    let images = images.iter().map(|image| (image.nm(), image.raw()));
    for (mut nm, path) in kernels.into_iter().chain(images) {
        let output = nm.env("LC_ALL", "C").arg("-S").arg(&path).output().unwrap();
        let list = String::from_utf8(output.stdout).unwrap();
        let (parsed, functions) =
            (Functions::parse(list.as_bytes()), Functions::from_rows(&rows(&list)));
        assert!(!parsed.is_empty(), "{}", path.display());
        assert_eq!(functions, parsed, "{}", path.display());
        // The same with a symbol that takes a word of the next.
        let list = format!("{list}                 w zzz_undefined\n00000010 T zzzz\n");
        assert_eq!(Functions::from_rows(&rows(&list)), Functions::parse(list.as_bytes()));
    }
}

#[test]
fn arm64_relocations() {
    let locations: Vec<u64> = (0..100).map(|index| 0x1000 + index * 7919 % 0x1000).collect();
    let records = |info: u64| -> Vec<(u64, u64, u64)> {
        let record = |(index, &value)| (MCOUNT + 8 * index as u64, info, value);
        locations.iter().enumerate().map(record).collect()
    };
    let outside = [(MCOUNT - 8, 0x403, 5), (MCOUNT + 800, 0x101, 6)];
    let good = records(0x403);
    let nm = b"0000000000001100 0000000000000800 T foo\n";
    let map = format!(
        "{:016x} D __start_mcount_loc\n{:016x} D __stop_mcount_loc\n",
        MCOUNT,
        MCOUNT + 800
    );
    // All of them, some of them, one too many, one of another type, none.
    let cases = [
        ([&good[..], &outside].concat(), true),
        ([&outside[..], &good[..50], &outside, &good[50..]].concat(), true),
        (good[1..].to_vec(), false),
        ([&good[..], &good[..1]].concat(), false),
        ([&good[1..], &records(0x101)[..1]].concat(), false),
        (outside.to_vec(), true),
    ];
    for (records, ok) in cases {
        for machine in [consts::EM_AARCH64, consts::EM_RISCV] {
            for endian in [Endianness::Little, Endianness::Big] {
                let mut image = Image::new(Class::Elf64, endian, machine.0, vec![0; 48]);
                image.mcount(&[0; 100]);
                image.relas(&records);
                for series in SERIES {
                    let beside = Beside { nm: Some(nm), system_map: map.as_bytes() };
                    let sorted = compare(series, WITH_MCOUNT, &image.build(), beside);
                    let relas = machine == consts::EM_AARCH64 && series != "6.1";
                    assert_eq!(sorted.is_some(), ok || !relas);
                }
            }
        }
    }
}

/// The image without the section: it is renamed, so that indices stay.
fn without(image: &Image, section: &str) -> Vec<u8> {
    let mut bytes = image.build();
    let names = [&b"\0"[..], section.as_bytes(), b"\0"].concat();
    let at = bytes.windows(names.len()).rposition(|window| window == names);
    bytes[at.unwrap() + 2] = b'?';
    bytes
}

#[test]
fn what_is_missing_is_missed_alike() {
    let image = x86_64();
    let map = system_map(&image);
    let beside = Beside { nm: None, system_map: &map };
    let sections =
        ["__ex_table", ".symtab", ".strtab", ".init.data", ".orc_unwind_ip", ".orc_unwind"];
    for series in SERIES {
        for build in [PLAIN, ORC, WITH_MCOUNT, BOTH] {
            for section in sections {
                compare(series, build, &without(&image, section), beside);
            }
            for symbol in ["main_extable_sort_needed", "__start_mcount_loc", "__stop_mcount_loc"] {
                let mut image = image.clone();
                image.symbols.retain(|other| other.name != symbol);
                let map = system_map(&image);
                compare(series, build, &image.build(), Beside { nm: None, system_map: &map });
            }
        }
    }
}

#[test]
fn the_last_symbol() {
    let mut image = x86_64();
    image.symbols.retain(|symbol| symbol.name != "_end");
    let flag = image.symbols.iter().position(|s| s.name == "main_extable_sort_needed").unwrap();
    let flag = image.symbols.remove(flag);
    image.symbols.push(flag);
    for series in SERIES {
        for build in [PLAIN, ORC] {
            compare(series, build, &image.build(), Beside::default());
        }
    }
}

#[test]
fn sizes_that_do_not_fit() {
    let image = x86_64();
    let map = system_map(&image);
    for series in SERIES {
        for build in [PLAIN, BOTH] {
            for (section, cut) in [
                (".orc_unwind_ip", 4),
                (".orc_unwind_ip", 1),
                (".orc_unwind", 6),
                (".orc_unwind", 5),
            ] {
                let mut image = image.clone();
                let bytes = &mut image.section(section).bytes;
                bytes.truncate(bytes.len() - cut);
                compare(series, build, &image.build(), Beside { nm: None, system_map: &map });
            }
            for cut in [1, 3, 4, 7] {
                let mut image = image.clone();
                let stop = image.symbols.iter_mut().find(|s| s.name == "__stop_mcount_loc");
                stop.unwrap().value -= cut;
                let map = system_map(&image);
                compare(series, build, &image.build(), Beside { nm: None, system_map: &map });
            }
        }
    }
}

#[test]
fn headers_that_are_not_of_a_linked_kernel() {
    let good = x86_64().build();
    // Magic, class, byte order, version, type (twice), machine, header size.
    for (at, value) in [(1, b'F'), (4, 3), (5, 3), (6, 2), (16, 1), (16, 4), (18, 1), (52, 60)] {
        let mut image = good.clone();
        image[at] = value;
        for series in SERIES {
            assert_eq!(compare(series, PLAIN, &image, Beside::default()), None);
        }
    }
}

#[test]
fn freestanding_images() {
    for arch in cross::ARCHES {
        let image = cross::image(arch);
        let bytes = fs::read(image.raw()).unwrap();
        let nm = image.nm().arg("-S").arg(image.raw()).output().unwrap().stdout;
        let map = image.nm().arg("-n").arg(image.raw()).output().unwrap().stdout;
        for series in SERIES {
            let builds: &[Build] = if arch == "x86_64" {
                &[PLAIN, ORC, WITH_MCOUNT, BOTH]
            } else {
                &[PLAIN, WITH_MCOUNT]
            };
            for &build in builds {
                let beside = Beside { nm: Some(&nm), system_map: &map };
                let sorted = compare(series, build, &bytes, beside);
                assert!(sorted.is_some_and(|sorted| sorted != bytes), "{arch}: nothing was sorted");
            }
        }
    }
}

/// The last temporary image of a kernel's build: linked like vmlinux, without debug information, its
/// tables not sorted.
fn unsorted(dir: &Path) -> Vec<u8> {
    let names = [".tmp_vmlinux2", ".tmp_vmlinux.kallsyms2"];
    let path = names.iter().map(|name| dir.join(name)).find(|path| path.exists());
    fs::read(path.expect("the build has no temporary image")).unwrap()
}

/// Shuffles the entries of a section's table, and makes one in sixteen a copy of another.
fn perturb(image: &mut [u8], name: &str, entry: usize, random: &mut Random) {
    let section = *Elf::parse(image).unwrap().section(name).unwrap().1;
    let (start, count) = (section.offset as usize, section.size / entry as u64);
    for index in 0..count {
        let other = random.below(count);
        let (a, b) = (start + index as usize * entry, start + other as usize * entry);
        let kept = image[a..a + entry].to_vec();
        image.copy_within(b..b + entry, a);
        if random.below(16) > 0 {
            image[b..b + entry].copy_from_slice(&kept);
        }
    }
}

#[test]
fn real_kernels() {
    for (name, series) in [("6.1-tiny", "6.1"), ("6.12-tiny", "6.12"), ("7.3-tiny", "7.3")] {
        let dir = kernel(name);
        let image = unsorted(&dir);
        let map = fs::read(dir.join("System.map")).unwrap();
        let nm = Command::new("nm").arg("-S").arg(dir.join("vmlinux")).output().unwrap().stdout;
        let conf = fs::read_to_string(dir.join("include/config/auto.conf")).unwrap();
        assert!(conf.contains("CONFIG_UNWINDER_ORC=y"));
        let build = if conf.contains("CONFIG_BUILDTIME_MCOUNT_SORT=y") { BOTH } else { ORC };
        let beside = Beside { nm: Some(&nm), system_map: &map };
        let sorted = compare(series, build, &image, beside).unwrap();
        assert_tables_of_vmlinux(&dir, &sorted);

        let mut random = Random(6);
        for (section, entry) in [("__ex_table", 12), (".orc_unwind_ip", 4), (".orc_unwind", 6)] {
            let mut image = image.clone();
            perturb(&mut image, section, entry, &mut random);
            compare(series, build, &image, beside).unwrap();
        }
    }
}

/// That the tables of `sorted` are those of the vmlinux that the kernel's own build has made.
fn assert_tables_of_vmlinux(dir: &Path, sorted: &[u8]) {
    let names = ["vmlinux.unstripped", "vmlinux"];
    let path = names.iter().map(|name| dir.join(name)).find(|path| path.exists()).unwrap();
    let vmlinux = fs::read(&path).unwrap();
    let (ours, theirs) = (Elf::parse(sorted).unwrap(), Elf::parse(&vmlinux).unwrap());
    for name in ["__ex_table", ".orc_unwind_ip", ".orc_unwind", ".init.data"] {
        let bytes = |elf: &Elf<'_>| elf.bytes(elf.section(name).unwrap().1).unwrap().to_vec();
        assert_same(&bytes(&ours), &bytes(&theirs), &format!("{}: {name}", path.display()));
    }
}
