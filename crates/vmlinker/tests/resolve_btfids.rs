//! What `vmlinker resolve_btfids` writes, prints and exits with.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use image::consts::EM_X86_64;
use image::{Class, DataSection, Elf, Endianness, Header, NewSymbol, Relocatable};
use tempfile::TempDir;

const SYMBOLS: [(&str, u64); 2] = [("__BTF_ID__func__found__1", 0), ("__BTF_ID__func__lost__2", 4)];

/// Types `found` (a function, id 1) and no other.
fn types() -> Vec<u8> {
    let mut blob = vec![0x9f, 0xeb, 1, 0];
    for word in [24u32, 0, 12, 12, 7, 1, 12 << 24, 0] {
        blob.extend(word.to_le_bytes());
    }
    blob.extend(b"\0found\0");
    blob
}

/// The function `found` (1) with its prototype (2), as the newer form wants it.
fn sound_types() -> Vec<u8> {
    let mut blob = vec![0x9f, 0xeb, 1, 0];
    for word in [24u32, 0, 24, 24, 7, 1, 12 << 24, 2, 0, 13 << 24, 0] {
        blob.extend(word.to_le_bytes());
    }
    blob.extend(b"\0found\0");
    blob
}

fn file(sections: &[(&str, &[u8])], symbols: &[(&str, u64)]) -> Vec<u8> {
    let (class, endian) = (Class::Elf64, Endianness::Little);
    let (file_type, flags, os_abi, abi_version) = (0, 0, 0, 0);
    let machine = EM_X86_64.0;
    let header = Header { class, endian, file_type, machine, flags, os_abi, abi_version };
    let section =
        |&(name, bytes)| DataSection { name, flags: 2, align: 4, bytes, relocations: vec![] };
    let symbol = |&(name, value)| NewSymbol { name, section: Some(0), value, size: 4 };
    let sections = sections.iter().map(section).collect();
    let symbols = symbols.iter().map(symbol).collect();
    Relocatable { header, sections, symbols, rela: true }.write().unwrap()
}

fn run(options: &[&str], path: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmlinker"));
    let output: Output = command.arg("resolve_btfids").args(options).arg(path).output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn ids(path: &Path) -> Vec<u8> {
    let file = fs::read(path).unwrap();
    let elf = Elf::parse(&file).unwrap();
    elf.bytes(elf.section(".BTF_ids").unwrap().1).unwrap().to_vec()
}

const WARNING: &str = "WARN: resolve_btfids: unresolved symbol lost\n";

#[test]
fn a_warning_is_an_error_only_if_asked_for_and_the_file_is_patched_either_way() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("vmlinux");
    let unresolved = file(&[(".BTF_ids", &[9; 8]), (".BTF", &types())], &SYMBOLS);
    for (options, code) in [(&[][..], 0), (&["--no-fail"], 0), (&["--fatal_warnings"], 255)] {
        fs::write(&path, &unresolved).unwrap();
        assert_eq!(run(options, &path), (Some(code), WARNING.to_owned()));
        assert_eq!(ids(&path), [1, 0, 0, 0, 0, 0, 0, 0]);
    }
    let (code, explained) = run(&["--explain"], &path);
    assert_eq!(code, Some(0));
    assert!(explained.starts_with(WARNING) && explained.contains("BTF has no func 'lost'"));
    let (_, traced) = run(&["-v"], &path);
    assert!(traced.ends_with(&format!("update ok for {}\n", path.display())), "{traced}");
}

#[test]
fn a_file_without_ids_is_left_alone_in_silence_even_if_its_base_is_missing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("module.ko");
    let plain = file(&[(".text", &[0; 4])], &[]);
    fs::write(&path, &plain).unwrap();
    assert_eq!(run(&["-b", "/nowhere/vmlinux"], &path), (Some(0), String::new()));
    assert_eq!(fs::read(&path).unwrap(), plain);
}

#[test]
fn a_failure_exits_with_255_and_leaves_the_file_as_it_was() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("vmlinux");
    let (code, text) = run(&[], &path);
    let cannot = format!("FAILED cannot open {}: ", path.display());
    assert!(code == Some(255) && text.starts_with(&cannot), "{text}");

    let cases = [
        (
            file(&[(".BTF_ids", &[0; 4]), (".BTF", &types())], &SYMBOLS),
            "FAILED patching index 4 out of bounds 4\n",
        ),
        (file(&[(".BTF_ids", &[0; 8])], &SYMBOLS), "FAILED: load BTF from "),
        (file(&[(".BTF_ids", &[0; 8]), (".BTF", b"no types")], &SYMBOLS), "FAILED: load BTF from "),
        (b"text".to_vec(), "FAILED "),
        (vec![], "FAILED "),
    ];
    for (broken, words) in cases {
        fs::write(&path, &broken).unwrap();
        let (code, text) = run(&[], &path);
        assert!(code == Some(255) && text.starts_with(words), "{code:?} {text}");
        assert_eq!(fs::read(&path).unwrap(), broken);
    }
}

#[test]
fn the_base_may_be_plain_types_or_a_kernel() {
    let dir = TempDir::new().unwrap();
    let (path, base) = (dir.path().join("module.ko"), dir.path().join("base"));
    // No type of its own, and the name at the base's offset.
    let mut own = vec![0x9f, 0xeb, 1, 0];
    for word in [24u32, 0, 0, 0, 1] {
        own.extend(word.to_le_bytes());
    }
    own.push(0);
    for bytes in [types(), file(&[(".BTF", &types())], &[])] {
        fs::write(&base, bytes).unwrap();
        fs::write(&path, file(&[(".BTF_ids", &[0; 4]), (".BTF", &own)], &SYMBOLS[..1])).unwrap();
        let result = run(&["-b", base.to_str().unwrap()], &path);
        assert_eq!(result, (Some(0), String::new()));
        assert_eq!(ids(&path), [1, 0, 0, 0]);
    }
    let (code, text) = run(&["-b", "/nowhere/vmlinux"], &path);
    assert_eq!(code, Some(255));
    assert!(text.starts_with("FAILED cannot open /nowhere/vmlinux: "), "{text}");
}

#[test]
fn ids_can_be_put_in_place_from_a_file() {
    let dir = TempDir::new().unwrap();
    let (path, blob) = (dir.path().join("vmlinux"), dir.path().join("vmlinux.BTF_ids"));
    let unresolved = file(&[(".BTF_ids", &[0; 8])], &[]);
    fs::write(&path, &unresolved).unwrap();
    fs::write(&blob, [7; 9]).unwrap();
    let options = ["--patch_btfids", blob.to_str().unwrap()];
    let (code, text) = run(&options, &path);
    assert!(code == Some(255) && text.contains("size mismatch"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), unresolved);
    fs::write(&blob, [7; 8]).unwrap();
    assert_eq!(run(&options, &path), (Some(0), String::new()));
    assert_eq!(ids(&path), [7; 8]);
}

#[test]
fn with_types_from_a_file_the_sections_are_written_beside_the_image() {
    let dir = TempDir::new().unwrap();
    let (path, blob) = (dir.path().join("vmlinux"), dir.path().join("vmlinux.BTF.1"));
    let beside = |section: &str| dir.path().join(format!("vmlinux{section}"));
    let image = file(&[(".BTF_ids", &[9; 8])], &SYMBOLS);
    fs::write(&path, &image).unwrap();
    fs::write(&blob, sound_types()).unwrap();
    let options = ["--btf", blob.to_str().unwrap()];
    // A warning is no failure in this form, whatever is asked for.
    for more in [None, Some("--fatal_warnings"), Some("--distill_base")] {
        let options: Vec<&str> = options.into_iter().chain(more).collect();
        assert_eq!(run(&options, &path), (Some(0), WARNING.to_owned()));
        assert_eq!(fs::read(&path).unwrap(), image);
        assert_eq!(fs::read(beside(".BTF_ids")).unwrap(), [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fs::read(beside(".BTF")).unwrap().len(), sound_types().len());
        assert!(!beside(".BTF.base").exists());
    }
    let (_, traced) = run(&[&options[..], &["-v"]].concat(), &path);
    let dumped = format!("Dumped 8 bytes of data to {}.BTF_ids\n", path.display());
    assert!(traced.contains(&dumped), "{traced}");
}

#[test]
fn a_module_gets_a_base_of_its_own_if_asked_to() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    // A pointer to `void`: it needs nothing of the base.
    let mut own = vec![0x9f, 0xeb, 1, 0];
    for word in [24u32, 0, 12, 12, 0, 0, 2 << 24, 0] {
        own.extend(word.to_le_bytes());
    }
    fs::write(path("base"), sound_types()).unwrap();
    fs::write(path("own"), &own).unwrap();
    fs::write(path("m.ko"), file(&[(".text", &[0; 4])], &[])).unwrap();
    let (own, base) = (path("own"), path("base"));
    let options = ["--btf", own.to_str().unwrap(), "-b", base.to_str().unwrap(), "--distill_base"];
    assert_eq!(run(&options, &path("m.ko")), (Some(0), String::new()));
    assert!(path("m.ko.BTF").exists() && path("m.ko.BTF.base").exists());
    assert!(!path("m.ko.BTF_ids").exists());
}

#[test]
fn a_failure_of_the_new_form_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let (path, blob) = (dir.path().join("vmlinux"), dir.path().join("types"));
    fs::write(&path, file(&[(".BTF_ids", &[9; 8])], &SYMBOLS)).unwrap();
    let from = format!("FAILED: load BTF from {}: ", blob.display());
    let mut dangling = sound_types();
    dangling[32..36].copy_from_slice(&7u32.to_le_bytes());
    for bad in [b"".to_vec(), b"no types at all".to_vec(), sound_types()[..40].to_vec(), dangling] {
        fs::write(&blob, bad).unwrap();
        let (code, text) = run(&["--btf", blob.to_str().unwrap()], &path);
        assert!(code == Some(255) && text.starts_with(&from), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert!(!dir.path().join("vmlinux.BTF").exists());
    }
    let (code, text) = run(&["--btf", "/nowhere/types"], &path);
    assert!(code == Some(255) && text.starts_with("FAILED cannot open /nowhere/types: "), "{text}");
}
