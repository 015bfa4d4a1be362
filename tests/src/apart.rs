//! Images whose debug information is elsewhere, beside objcopy's.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use image::consts::{
    SHF_ALLOC, SHT_NOBITS, SHT_REL, SHT_RELA, SHT_STRTAB, SHT_SYMTAB, STT_SECTION,
};
use image::{Elf, Place, Section, Symbol};

use crate::run;

/// Checks that `debug` holds what `objcopy --only-keep-debug` keeps of the image `whole`: the same sections with the same
/// contents, and symbols of the same meaning; `what` begins the message. Kept relocations are left out.
///
/// # Panics
/// If it does not.
pub fn assert_only_debug(mut objcopy: Command, whole: &Path, debug: &Path, what: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let theirs = dir.path().join("only-debug");
    // No relocations of debug sections, which have been applied: of those of sections without bytes objcopy makes empty ones.
    objcopy.args(["--only-keep-debug", "--remove-relocations=*"]);
    run(objcopy.arg(whole).arg(&theirs));
    let read = |path: &Path| std::fs::read(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let (ours, theirs) = (read(debug), read(&theirs));
    let ours = Elf::parse(&ours).unwrap_or_else(|e| panic!("{what}: {e}"));
    let theirs = Elf::parse(&theirs).expect("objcopy wrote it");
    assert_same_sections(&ours, &theirs, what);
    assert_same_symbols(&ours, &theirs, what);
}

/// What of two sections has to be the same; contents of tables of symbols and names have another order.
fn described<'a>(elf: &Elf<'a>, section: &Section<'a>) -> (&'a [u8], Vec<u64>, Option<&'a [u8]>) {
    let numbers = [section.addr, section.flags, section.align, section.entsize];
    let (kind, table) = (section.sh_type, [SHT_SYMTAB.0, SHT_STRTAB.0]);
    let mut numbers = numbers.to_vec();
    // Of a section without a byte it makes no difference.
    numbers.push(if section.size == 0 { 0 } else { kind.into() });
    let bytes = (!table.contains(&kind)).then(|| {
        numbers.push(section.size);
        elf.bytes(section).expect("a section lies in its file")
    });
    (section.name, numbers, bytes)
}

fn assert_same_sections(ours: &Elf<'_>, theirs: &Elf<'_>, what: &str) {
    let kept = |s: &&Section<'_>| s.sh_type != SHT_RELA.0 && s.sh_type != SHT_REL.0;
    let [mut a, mut b] = [ours, theirs].map(|elf| elf.sections().iter().filter(kept));
    loop {
        match (a.next(), b.next()) {
            (None, None) => break,
            (Some(a), Some(b)) => {
                let name = String::from_utf8_lossy(b.name);
                let (a, b) = (described(ours, a), described(theirs, b));
                assert_eq!((a.0, &a.1), (b.0, &b.1), "{what}: {name}");
                assert!(a.2 == b.2, "{what}: other contents of {name}");
            }
            (a, b) => {
                let name = a.or(b).map(|section| String::from_utf8_lossy(section.name));
                panic!("{what}: only one file has {name:?}");
            }
        }
    }
    let loaded = |s: &&Section<'_>| s.flags & SHF_ALLOC.0 != 0 && s.sh_type != SHT_NOBITS.0;
    let [a, b] = [ours, theirs].map(|elf| elf.sections().iter().filter(loaded).count());
    assert_eq!(a, b, "{what}: sections that are loaded");
}

/// Checks that two files have symbols of the same names, values and sections.
///
/// # Panics
/// If they do not.
pub fn assert_same_symbols(ours: &Elf<'_>, theirs: &Elf<'_>, what: &str) {
    let [ours, theirs] = [ours, theirs].map(|elf| {
        let symbols = elf.symbols().expect("a symbol table");
        let section = |symbol: &Symbol<'_>| match symbol.place {
            Place::Section(index) => {
                String::from_utf8_lossy(elf.sections()[index as usize].name).into_owned()
            }
            other => format!("{other:?}"),
        };
        let meaning = |s: &Symbol<'_>| {
            let name = String::from_utf8_lossy(s.name).into_owned();
            (name, s.value, s.size, s.bind, s.kind, s.other, section(s))
        };
        // Each file may have symbols for its own sections.
        let named = symbols.iter().filter(|symbol| symbol.kind != STT_SECTION.0);
        named.map(meaning).collect::<BTreeSet<_>>()
    });
    let first: Vec<_> = ours.symmetric_difference(&theirs).take(5).collect();
    assert!(first.is_empty(), "{what}: symbols of one file only: {first:?}");
}
