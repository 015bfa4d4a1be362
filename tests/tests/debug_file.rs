//! Debug information in a file of its own and the link to it, beside objcopy, on images of all architectures.
//!
//! Whole kernels are in `link`, kernels with kept relocations in `debug_link`.

use std::fs;
use std::path::Path;

use debug_link::DebugFile;
use debug_link::debuglink::{self, WithDebuglink};
use image::Elf;
use peer_tests::apart::assert_only_debug;
use peer_tests::cross::{ARCHES, image};
use peer_tests::run;

/// The debug information of an image as a file.
fn extracted(whole: &[u8]) -> Vec<u8> {
    let elf = Elf::parse(whole).expect("a linker wrote it");
    let layout = DebugFile::of_image(&elf).expect("an image with symbols");
    let mut file = vec![0; layout.len() as usize];
    for (at, piece) in layout.own().chain(layout.pieces(whole)) {
        file[at as usize..][..piece.len()].copy_from_slice(piece);
    }
    file
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn what_is_kept_is_what_objcopy_keeps() {
    for arch in ARCHES {
        let (image, dir) = (image(arch), tempfile::tempdir().unwrap());
        let file = dir.path().join("vmlinux.debug");
        fs::write(&file, extracted(&read(&image.raw()))).unwrap();
        assert_only_debug(image.objcopy(), &image.raw(), &file, arch);
        let said = run(std::process::Command::new("readelf").args(["-SslnW"]).arg(&file));
        assert!(!String::from_utf8_lossy(&said).contains("arning"), "{arch}");
    }
}

#[test]
fn the_link_is_that_of_objcopy() {
    for arch in ARCHES {
        let (image, dir) = (image(arch), tempfile::tempdir().unwrap());
        let path = |name: &str| dir.path().join(name);
        // Names of all lengths, to four bytes.
        for name in ["a.debug", "ab.debug", "abc.debug", "abcd.debug"] {
            let debug = extracted(&read(&image.raw()));
            fs::write(path(name), &debug).unwrap();
            run(image.objcopy().arg("--strip-debug").arg(image.raw()).arg(path("stripped")));
            let stripped = read(&path("stripped"));
            let ours = WithDebuglink::new(&stripped, name, debuglink::crc(&debug)).unwrap();
            let ours = ours.pieces().concat();
            let mut objcopy = image.objcopy();
            objcopy.current_dir(dir.path()).arg(format!("--add-gnu-debuglink={name}"));
            run(objcopy.args(["stripped", "theirs"]));
            let theirs = read(&path("theirs"));
            assert_same_but_for_order(&ours, &theirs, arch);
            let twice = WithDebuglink::new(&ours, name, 0).unwrap_err().to_string();
            assert!(twice.contains("debug link"), "{twice}");
        }
    }
}

/// Checks that two images have sections of the same names and contents, in whatever order.
fn assert_same_but_for_order(ours: &[u8], theirs: &[u8], what: &str) {
    let (ours, theirs) = (Elf::parse(ours).expect(what), Elf::parse(theirs).expect(what));
    assert_eq!(ours.sections().len(), theirs.sections().len(), "{what}");
    let tables = [".symtab", ".strtab", ".shstrtab"];
    for section in theirs.sections() {
        let name = String::from_utf8_lossy(section.name);
        if tables.contains(&&*name) {
            continue;
        }
        let (_, same) = ours.section(&name).unwrap_or_else(|| panic!("{what}: no {name}"));
        let numbers =
            |s: &image::Section<'_>| (s.addr, s.flags, s.align, s.entsize, s.size, s.info);
        assert_eq!(numbers(same), numbers(section), "{what}: {name}");
        let (same, expected) = (ours.bytes(same), theirs.bytes(section));
        assert!(same.expect(what) == expected.expect(what), "{what}: {name}");
    }
    peer_tests::apart::assert_same_symbols(&ours, &theirs, what);
}
