//! The symbol tables beside the kernel's own `scripts/kallsyms`: the text it prints, the bytes that its
//! assembled text gives in a linked image, and the symbols of real kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::Elf;
use kallsyms::{Dialect, Error, Options, Tables, parse_map, reader};
use peer_tests::cross::{self, Debug, Linker};
use peer_tests::{kernel, source, tool};

const SERIES: [&str; 3] = ["6.1", "6.12", "7.3"];

fn dialect(series: &str) -> Dialect {
    let path = source(series).join("scripts/kallsyms.c");
    Dialect::detect(&fs::read(path).unwrap()).unwrap()
}

/// Every combination of the options that the series knows, as arguments and as values.
fn combinations(dialect: &Dialect) -> Vec<(Vec<&'static str>, Options)> {
    let accepts = dialect.accepts;
    let known = [
        ("--all-symbols", true),
        ("--absolute-percpu", accepts.absolute_percpu),
        ("--base-relative", accepts.base_relative),
        ("--lto-clang", accepts.lto_clang),
        ("--pc-relative", accepts.pc_relative),
    ];
    let combination = |bits: u32| {
        let on = |index: usize| bits >> index & 1 == 1;
        let args = (0..5).filter(|&index| on(index)).map(|index| known[index].0).collect();
        let options = Options {
            all_symbols: on(0),
            absolute_percpu: on(1),
            base_relative: on(2),
            lto_clang: on(3),
            pc_relative: on(4),
        };
        (args, options)
    };
    let is_known = |bits: &u32| (0..5).all(|index| bits >> index & 1 == 0 || known[index].1);
    (0..32).filter(is_known).map(combination).collect()
}

/// What the tool and what the crate say to a map: the text, or that there is none, and the messages.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    text: Option<Vec<u8>>,
    messages: String,
}

fn peer_answer(series: &str, args: &[&str], map: &Path) -> Answer {
    let output = Command::new(tool(series, "kallsyms")).args(args).arg(map).output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = output.status.success().then_some(output.stdout);
    Answer { text, messages }
}

fn our_answer(map: &[u8], dialect: &Dialect, options: &Options) -> Answer {
    let mut messages = String::new();
    let mut answer = || -> Result<Vec<u8>, Error> {
        let (entries, warnings) = parse_map(map, dialect)?;
        warnings.iter().for_each(|warning| messages.push_str(&format!("{warning}\n")));
        let warnings = kallsyms::warnings(&entries, dialect);
        warnings.iter().for_each(|warning| messages.push_str(&format!("{warning}\n")));
        let (tables, _) = Tables::build(&entries, dialect, options)?;
        Ok(tables.to_asm())
    };
    match answer() {
        Ok(text) => Answer { text: Some(text), messages },
        Err(Error::LineFormat { .. }) => {
            Answer { text: None, messages: messages + "line format error\n" }
        }
        Err(error) => Answer { text: None, messages: format!("{messages}{error}\n") },
    }
}

fn compare(series: &str, map: &[u8], what: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.map");
    fs::write(&path, map).unwrap();
    let dialect = dialect(series);
    for (args, options) in combinations(&dialect) {
        let (peer, ours) = (peer_answer(series, &args, &path), our_answer(map, &dialect, &options));
        assert_eq!(ours.messages, peer.messages, "{series} {args:?} {what}");
        // The texts have megabytes: not in the message.
        assert!(ours.text == peer.text, "{series} {args:?} {what}: the texts differ");
    }
}

/// The last symbol list of a built kernel.
fn symbol_list(kernel: &Path) -> PathBuf {
    let names = [".tmp_vmlinux.kallsyms2.syms", ".tmp_vmlinux2.syms"];
    let list = names.map(|name| kernel.join(name)).into_iter().find(|path| path.exists());
    list.unwrap_or_else(|| panic!("{}: no symbol list of the second link", kernel.display()))
}

/// A generator of its own: the same maps on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn the_text_is_that_of_the_tool_on_the_lists_of_built_kernels() {
    // Each on its own kernel's list, and all on one that none but 6.12 made.
    let own = SERIES.map(|series| (series, format!("{series}-tiny")));
    let shared = ["6.1", "7.3"].map(|series| (series, "6.12-tiny".to_owned()));
    for (series, name) in own.iter().chain(&shared) {
        let map = fs::read(symbol_list(&kernel(name))).unwrap();
        compare(series, &map, &format!("on the list of {name}"));
    }
}

#[test]
fn an_empty_map_and_maps_of_one_line_are_read_as_the_tool_reads_them() {
    let maps: [&[u8]; 12] = [
        b"",
        b"\n",
        b"0000000000001000 T _text\n",
        b"0000000000001000 T _text",
        b"0000000000001000 A __gp\n",
        b"0000000000001000 a absolute\n",
        b"what\n",
        b"0x10 T _text\n",
        b"-1 T minus\n",
        b"fffffffffffffffff T too_large\n",
        b"0000000000001000 T\n",
        b"0000000000001000 T _text\n\n0000000000002000 T b\n",
    ];
    for series in SERIES {
        for map in maps {
            compare(series, map, &format!("on {:?}", String::from_utf8_lossy(map)));
        }
    }
}

#[test]
fn long_names_are_skipped_with_the_words_of_the_tool() {
    for series in SERIES {
        for len in [126, 127, 128, 255, 510, 511, 512, 513, 2047, 2048] {
            let name = "n".repeat(len);
            let map = format!("0000000000001000 T _text\n0000000000001004 T {name}\n");
            compare(series, map.as_bytes(), &format!("with a name of {len} bytes"));
        }
    }
}

#[test]
fn perturbed_maps_are_read_as_the_tool_reads_them() {
    let whole = fs::read(symbol_list(&kernel("6.12-tiny"))).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    let mut random = Random(0x1234_5678_9abc_def1);
    for round in 0..24 {
        // Some hundred lines, in any order, of any type, at few addresses, so that there are ties.
        let mut map = Vec::new();
        for _ in 0..200 + random.below(300) {
            let mut line = lines[random.below(lines.len())].to_vec();
            match random.below(6) {
                0 => line[15] = b'0',
                1 => line[..16].copy_from_slice(b"ffffffff81000000"),
                2 => line[17] = b"tTwWvVaAuUnNdD"[random.below(14)],
                _ => {}
            }
            map.extend_from_slice(&line);
        }
        map.extend_from_slice(b"ffffffff81000000 T _stext\nffffffff81000000 T _text\n");
        for name in ["__start_x", "__x_end", "w.llvm.123", "w", "_x_veneer", "__efistub_x"] {
            map.extend_from_slice(format!("ffffffff8100{round:04x} T {name}\n").as_bytes());
        }
        map.extend_from_slice(b"ffffffff81000010 T _etext\n");
        if round % 3 == 0 {
            map.truncate(map.len() - random.below(60));
            // Of such a line the tool reads on in what its buffer held before.
            if map.ends_with(b" ") {
                map.pop();
            }
        }
        for series in SERIES {
            compare(series, &map, &format!("on perturbed map {round}"));
        }
    }
}

/// Links the image with both objects and compares, with each form of the tables of each series.
fn compare_links(arch: &str, linkers: &[Linker]) {
    let image = cross::image(arch);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // An object with local symbols gives its file name to the linked symbol table: both have the same.
    for folder in ["peer", "ours"] {
        fs::create_dir(at(folder)).unwrap();
    }
    let nm = image.nm().arg("-n").arg(image.raw()).output().unwrap().stdout;
    let map: Vec<u8> = nm
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| !line.starts_with(b" "))
        .flatten()
        .copied()
        .collect();
    let header = Elf::parse(&fs::read(&image.objects()[0]).unwrap()).unwrap().header();
    for series in SERIES {
        let dialect = dialect(series);
        for (args, options) in combinations(&dialect).into_iter().filter(|(_, o)| o.all_symbols) {
            let (entries, _) = parse_map(&map, &dialect).unwrap();
            let Ok((tables, _)) = Tables::build(&entries, &dialect, &options) else { continue };
            fs::write(at("k.S"), tables.to_asm()).unwrap();
            image.assemble(&at("k.S"), &at("peer/kallsyms.o"));
            fs::write(at("ours/kallsyms.o"), tables.to_object(&header).unwrap()).unwrap();
            for &linker in linkers {
                for debug in [Debug::Keep, Debug::Strip] {
                    image.link(&[&at("peer/kallsyms.o")], &at("peer/vmlinux"), linker, debug);
                    image.link(&[&at("ours/kallsyms.o")], &at("ours/vmlinux"), linker, debug);
                    let same = fs::read(at("peer/vmlinux")).unwrap()
                        == fs::read(at("ours/vmlinux")).unwrap();
                    assert!(same, "{arch} {series} {args:?} {linker:?} {debug:?}");
                }
            }
            let linked = fs::read(at("ours/vmlinux")).unwrap();
            let found = reader::read(&Elf::parse(&linked).unwrap()).unwrap();
            assert_eq!(found.len(), tables.symbols().len(), "{arch} {series} {args:?}");
        }
    }
}

#[test]
fn the_object_links_to_the_same_bytes_on_x86_64() {
    compare_links("x86_64", &[Linker::Gnu, Linker::Lld]);
}

#[test]
fn the_object_links_to_the_same_bytes_on_aarch64() {
    compare_links("aarch64", &[Linker::Gnu, Linker::Lld]);
}

#[test]
fn the_object_links_to_the_same_bytes_on_riscv64() {
    compare_links("riscv64", &[Linker::Gnu, Linker::Lld]);
}

#[test]
fn the_object_links_to_the_same_bytes_on_s390x() {
    compare_links("s390x", &[Linker::Gnu]);
}

#[test]
fn the_object_links_to_the_same_bytes_on_arm() {
    compare_links("arm", &[Linker::Gnu, Linker::Lld]);
}

#[test]
fn the_object_links_to_the_same_bytes_on_powerpc64() {
    compare_links("powerpc64", &[Linker::Gnu]);
}

#[test]
fn the_object_of_a_real_kernel_has_the_size_and_the_data_of_the_assembled_one() {
    let dir = kernel("6.12-tiny");
    let dialect = dialect("6.12");
    let peer = fs::read(dir.join(".tmp_vmlinux2.kallsyms.o")).unwrap();
    let peer_elf = Elf::parse(&peer).unwrap();
    let map = fs::read(symbol_list(&dir)).unwrap();
    let (entries, _) = parse_map(&map, &dialect).unwrap();
    let config = fs::read_to_string(dir.join("include/config/auto.conf")).unwrap();
    let options = Options {
        all_symbols: config.contains("CONFIG_KALLSYMS_ALL=y"),
        absolute_percpu: config.contains("CONFIG_KALLSYMS_ABSOLUTE_PERCPU=y"),
        ..Options::default()
    };
    let (tables, _) = Tables::build(&entries, &dialect, &options).unwrap();
    let ours = tables.to_object(&peer_elf.header()).unwrap();
    let our_elf = Elf::parse(&ours).unwrap();
    assert_eq!(ours.len(), peer.len());
    for (ours, peers) in our_elf.sections().iter().zip(peer_elf.sections()) {
        assert_eq!(ours, peers);
        // The linker takes strings by their offsets, and their order is the assembler's own affair.
        if ours.name == b".rodata" || ours.name == b".rela.rodata" {
            assert!(our_elf.bytes(ours).unwrap() == peer_elf.bytes(peers).unwrap());
        }
    }
    assert_eq!(our_elf.symbols().unwrap(), peer_elf.symbols().unwrap());
}

#[test]
fn the_symbols_of_real_kernels_are_those_of_their_lists() {
    for name in ["6.1-tiny", "6.12-tiny", "7.3-tiny"] {
        let dir = kernel(name);
        let unstripped = dir.join("vmlinux.unstripped");
        let vmlinux = if unstripped.exists() { unstripped } else { dir.join("vmlinux") };
        let data = fs::read(vmlinux).unwrap();
        let symbols = reader::read(&Elf::parse(&data).unwrap()).unwrap();
        let mut found: Vec<_> = symbols.iter().map(|s| (s.addr, s.name.as_slice())).collect();
        let map = fs::read(symbol_list(&dir)).unwrap();
        // All that kallsyms drops with --all-symbols are absolute symbols, and 6.1 its own tables.
        let dialect = dialect(name.split('-').next().unwrap());
        let (entries, _) = parse_map(&map, &dialect).unwrap();
        let kept = entries
            .iter()
            .filter(|e| !matches!(e.kind, b'a' | b'A') && !dialect.ignored.matches(e.name));
        let mut expected: Vec<_> = kept.map(|e| (e.addr, e.name)).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert!(found == expected, "{name}: {} and {} symbols", found.len(), expected.len());
    }
}
