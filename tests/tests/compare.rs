//! `vmlinker compare`: merged strings in another order, and single bytes of a kernel changed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::Elf;
use peer_tests::link::{Recorded, scratch, vmlinker};
use peer_tests::run;
use serde_json::Value;

fn compare(words: &[&str], a: &Path, b: &Path) -> Output {
    Command::new(vmlinker()).arg("compare").args(words).arg(a).arg(b).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Two units whose debug information has names that end like others.
const UNITS: [(&str, &str); 2] = [
    (
        "one",
        "struct outer_task { int state; int outer_state; }; struct outer_task shared; int start(void) { return shared.state; }",
    ),
    (
        "two",
        "struct task { int er_state; long state; }; struct task other; int second(void) { return other.er_state; }",
    ),
];

/// The units linked by lld: with `-O2` it folds the ends of strings into longer ones, with `-O1` it does not, and all
/// else is the same where there are no strings but those of debug information.
fn linked(dir: &Path, level: &str) -> PathBuf {
    let objects = UNITS.map(|(name, text)| {
        let source = dir.join(format!("{name}.c"));
        std::fs::write(&source, text).unwrap();
        let object = source.with_extension("o");
        run(Command::new("gcc")
            .args(["-g", "-gdwarf-5", "-ffreestanding", "-c", "-o"])
            .arg(&object)
            .arg(&source));
        object
    });
    let image = dir.join(format!("image{level}"));
    let mut lld = Command::new("ld.lld-19");
    lld.args([level, "-e", "start", "--build-id=sha1", "-o"]).arg(&image).args(&objects);
    run(&mut lld);
    image
}

#[test]
fn strings_in_another_order_mean_the_same_and_one_wrong_reference_does_not() {
    let dir = scratch();
    let images = ["-O1", "-O2"].map(|level| linked(dir.path(), level));
    let [plain, folded] = &images;
    let output = compare(&["--ignore-build-id"], plain, folded);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.ends_with("the same but for the build ID\n"), "{text}");
    for section in [".debug_str: same meaning", ".debug_info: same meaning"] {
        assert!(text.lines().any(|line| line.starts_with(section)), "{section}:\n{text}");
    }
    assert_eq!(compare(&[], plain, folded).status.code(), Some(1));
    let json: Value = serde_json::from_str(&said(&compare(&["--json"], plain, folded))).unwrap();
    assert_eq!(json["symbols"]["verdict"], "identical");

    // One string of the folded image becomes another: whoever refers to it says so.
    let mut bytes = std::fs::read(folded).unwrap();
    let at = {
        let elf = Elf::parse(&bytes).unwrap();
        let (_, section) = elf.section(".debug_str").unwrap();
        let strings = elf.bytes(section).unwrap();
        let name = b"\0outer_task\0";
        let into = strings.windows(name.len()).position(|window| window == name).unwrap();
        section.offset as usize + into + 1
    };
    bytes[at] = b'O';
    let wrong = dir.path().join("wrong");
    std::fs::write(&wrong, &bytes).unwrap();
    let output = compare(&["--ignore-build-id"], plain, &wrong);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = text.lines().find(|line| line.starts_with(".debug_info: ")).unwrap();
    assert!(line.contains("different: another DW_AT_name at 0x"), "{line}");
}

#[test]
fn a_changed_byte_is_named_by_section_address_and_symbol() {
    let image = Recorded::of("7.3-tiny").dir.join("vmlinux.unstripped");
    let whole = std::fs::read(&image).unwrap();
    let elf = Elf::parse(&whole).unwrap();
    let symbols = elf.symbols().unwrap();
    let symbol = symbols.iter().find(|symbol| symbol.name == b"start_kernel").unwrap();
    let (section, offset) = elf.locate(symbol.value + 4, 1).unwrap();
    let section = String::from_utf8_lossy(section.name).into_owned();
    let mut changed = whole.clone();
    changed[offset as usize] ^= 0xff;
    let dir = scratch();
    let path = dir.path().join("changed");
    std::fs::write(&path, &changed).unwrap();
    let output = compare(&[], &image, &path);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with(&format!("{section}: different (")), "{text}");
    let place = format!("    {:#x}, 0x1 bytes start_kernel+0x4\n", symbol.value + 4);
    assert!(text.contains(&place), "{place}{text}");
    assert!(text.ends_with("\ndifferent\n"), "{text}");

    let output = compare(&[], &image, &image);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), "the same bytes\n"));
    let output = compare(&[], &image, &dir.path().join("absent"));
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("absent: No such file"), "{text}");
}
