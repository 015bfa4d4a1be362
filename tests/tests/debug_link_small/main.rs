//! Debug info put into small images, beside the linker's own link: what kernels have only rarely, and 32-bit.

mod fill;
mod random;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use debug_link::{
    BuildId, Dialect, Error, Input, LinkMap, Linker, Making, Plan, Prepared, ReadAt, Unreadable,
};
use image::consts::SHF_MERGE;
use peer_tests::link::assert_same_bytes;
use peer_tests::run;
use tempfile::TempDir;

/// An address of the machine's width.
const MACRO: &str = "
.macro addr x
.ifdef WIDE
.quad \\x
.else
.long \\x
.endif
.endm
";

/// An object that is read.
#[derive(Debug)]
struct InFile<'f> {
    bytes: &'f [u8],
    /// The same without what is in debug sections and relocations, but for what is merged.
    looked_at: Vec<u8>,
}

impl<'f> InFile<'f> {
    fn new(bytes: &'f [u8]) -> Self {
        let mut looked_at = bytes.to_vec();
        if let Ok(elf) = image::Elf::parse(bytes) {
            let names: [&[u8]; 3] = [b".debug_", b".rel.debug_", b".rela.debug_"];
            for section in elf.sections() {
                let read = names.iter().any(|name| section.name.starts_with(name));
                if read && section.flags & SHF_MERGE.0 == 0 {
                    let rest = looked_at.iter_mut().skip(section.offset as usize);
                    rest.take(section.size as usize).for_each(|byte| *byte = 0xa5);
                }
            }
        }
        InFile { bytes, looked_at }
    }

    fn input<'a>(&'a self, name: &'a str) -> Input<'a> {
        Input { name, data: &self.looked_at, reader: Some(self) }
    }
}

impl ReadAt for InFile<'_> {
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), Unreadable> {
        out.copy_from_slice(&self.bytes[at as usize..][..out.len()]);
        Ok(())
    }
}

/// The image that is planned, with its build ID, written over something else.
fn made(plan: &Plan<'_>) -> Result<Vec<u8>, Error> {
    let made = Mutex::new(vec![0x5a; plan.len() as usize]);
    let making = Making { build_id: true, zeros: true };
    plan.make(&making, |at, part| {
        let mut made = made.lock().expect("no part panics");
        made[at as usize..][..part.len()].copy_from_slice(part);
        Ok::<(), Error>(())
    })?;
    Ok(made.into_inner().expect("no part panics"))
}

/// References to code, to data that is discarded, to nothing, to literals, to strings and within debug info.
const FIRST: &str = "
.text
.globl f
.hidden hidden
.globl hidden
f: nop
hidden: ret
.section .discard.x, \"aw\"
gone: .long 1
.section .rodata.str1.1, \"aMS\", @progbits, 1
.Ltail: .string \"tail\"
.Lliteral: .string \"literal with a tail\"
.section .rodata.str1.8, \"aMS\", @progbits, 1
.balign 8
.Lpadded: .string \"padded\"
.balign 8
.Lpadded2: .string \"a padded\"
.section .debug_info, \"\", @progbits
.long .Lname, .Lpart, .Lline
addr f
addr gone
addr .Ltail
addr .Lliteral + 2
addr .Lpadded
addr .Lpadded2
.weak nowhere
addr nowhere
addr hidden
addr second
.Lwithin: .long .Lwithin
.section .debug_ranges, \"\", @progbits
addr gone
addr gone + 1
addr f
.section .debug_aranges, \"\", @progbits
.balign 16
.long 7
.section .debug_str, \"MS\", @progbits, 1
.Lpart: .string \"int\"
.Lname: .string \"unsigned int\"
.string \"\"
.section .debug_line_str, \"MS\", @progbits, 1
.Lline: .string \"kernel/fork.c\"
.section .modinfo, \"a\"
.string \"license=GPL\"
.globl in_modinfo
in_modinfo:
.byte 0
";

/// Strings that the first object has too, or parts of them, and a section that is all subsumed.
const SECOND: &str = "
.text
.globl second
second: nop
.section .rodata.str1.1, \"aMS\", @progbits, 1
.Lsame: .string \"literal with a tail\"
.section .debug_info, \"\", @progbits
.long .Lint, .Lnew, .Llonger, .Lline
addr .Lsame
addr second
addr f
.section .debug_aranges, \"\", @progbits
.balign 16
.long 8
.section .debug_str, \"MS\", @progbits, 1
.Lint: .string \"int\"
.Lnew: .string \"long unsigned int\"
.Llonger: .string \"point\"
.section .debug_line_str, \"MS\", @progbits, 1
.Lline: .string \"fork.c\"
";

const SCRIPT: &str = "
SECTIONS {
  . = 0x100000;
  .text : { *(.text) }
  .rodata : { *(.rodata.*) }
  .notes : { *(.note.*) }
  .debug_aranges 0 : { *(.debug_aranges) }
  .debug_info 0 : { *(.debug_info .gnu.linkonce.wi.*) }
  .debug_line 0 : { *(.debug_line) }
  .debug_str 0 : { *(.debug_str) }
  .debug_ranges 0 : { *(.debug_ranges) }
  .debug_line_str 0 : { *(.debug_line_str) }
  .modinfo : { *(.modinfo) }
  .comment 0 : { *(.comment) }
  .symtab 0 : { *(.symtab) } .strtab 0 : { *(.strtab) } .shstrtab 0 : { *(.shstrtab) }
  /DISCARD/ : { *(.discard.*) *(.note.gnu.property) }
}
";

const BOTH: [Linker; 2] = [Linker::Gnu, Linker::Lld];

/// Objects that are linked in a directory of their own.
struct Small {
    linker: Linker,
    dir: TempDir,
    emulation: &'static str,
    objects: Vec<String>,
}

impl Small {
    fn new(linker: Linker, wide: bool, sources: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("there is room for small files");
        fs::write(dir.path().join("script"), SCRIPT).expect("a temporary directory is writable");
        let mut objects = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let (text, object) = (format!("{index}.s"), format!("{index}.o"));
            fs::write(dir.path().join(&text), format!("{MACRO}{source}")).expect("writable");
            let mut assembler = Command::new("as");
            assembler.current_dir(dir.path()).args(["-o", &object, &text]);
            let width: &[&str] = if wide { &["--64", "--defsym", "WIDE=1"] } else { &["--32"] };
            run(assembler.args(width));
            objects.push(object);
        }
        Small { linker, dir, emulation: if wide { "elf_x86_64" } else { "elf_i386" }, objects }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn link(&self, words: &[&str]) {
        let mut ld = Command::new(match self.linker {
            Linker::Gnu => "ld",
            Linker::Lld => "ld.lld-19",
        });
        ld.current_dir(self.dir.path()).args(["-m", self.emulation, "--build-id=sha1", "-e", "f"]);
        run(ld.args(["--script=script"]).args(words).args(&self.objects));
    }

    /// What is made of the image that these words link without debug info.
    fn made(&self, words: &[&str]) -> Result<Vec<u8>, Error> {
        self.made_with_prepared(words, self.objects.len())
    }

    /// The same, with this many of the inputs made ready before the others are there.
    fn made_with_prepared(&self, words: &[&str], first: usize) -> Result<Vec<u8>, Error> {
        self.link(&[words, &["--strip-debug", "-Map=map", "-o", "stripped"]].concat());
        let read = |name: &str| fs::read(self.path(name)).expect("the linker wrote it");
        let (map, stripped) = (read("map"), read("stripped"));
        let objects: Vec<Vec<u8>> = self.objects.iter().map(|name| read(name)).collect();
        let inputs = self.objects.iter().zip(&objects);
        let inputs: Vec<Input<'_>> = inputs.map(|(name, data)| Input::new(name, data)).collect();
        let (first, later) = inputs.split_at(first);
        let script = read("script");
        let map = LinkMap::parse(self.linker, &map, &script)?;
        let dialect = self.dialect();
        let plan = Prepared::new(first, self.linker)?.plan(later, &stripped, &map, &dialect)?;
        let made_of_memory = made(&plan)?;
        // The same out of files, whose debug sections are not looked at.
        let files: Vec<InFile<'_>> = objects.iter().map(|bytes| InFile::new(bytes)).collect();
        let read = self.objects.iter().zip(&files).map(|(name, file)| file.input(name));
        let read: Vec<Input<'_>> = read.collect();
        let (first, later) = read.split_at(first.len());
        let plan = Prepared::new(first, self.linker)?.plan(later, &stripped, &map, &dialect)?;
        assert!(made(&plan)? == made_of_memory, "{:?} {words:?}: read, it is another", self.linker);
        Ok(made_of_memory)
    }

    /// Calls `look` with the plan of the image that was linked last.
    fn with_plan(&self, look: impl FnOnce(&Plan<'_>)) {
        let read = |name: &str| fs::read(self.path(name)).expect("the linker wrote it");
        let (map, stripped) = (read("map"), read("stripped"));
        let objects: Vec<Vec<u8>> = self.objects.iter().map(|name| read(name)).collect();
        let inputs = self.objects.iter().zip(&objects);
        let inputs: Vec<Input<'_>> = inputs.map(|(name, data)| Input::new(name, data)).collect();
        let script = read("script");
        let map = LinkMap::parse(self.linker, &map, &script).expect("a map of the linker");
        let plan = Plan::new(&inputs, &stripped, &map, &self.dialect());
        look(&plan.expect("its rules are followed"));
    }

    fn dialect(&self) -> Dialect {
        let (linker, build_id) = (self.linker, BuildId::Sha1);
        Dialect { linker, build_id, keeps_relocations: false, discards_none: false }
    }

    fn assert_same(&self, words: &[&str]) {
        self.link(&[words, &["-o", "whole"]].concat());
        let made = self
            .made(words)
            .unwrap_or_else(|e| panic!("{:?} {} {words:?}: {e}", self.linker, self.emulation));
        fs::write(self.path("made"), made).expect("a temporary directory is writable");
        let what = format!("{:?} {} {words:?}", self.linker, self.emulation);
        assert_same_bytes(Path::new(&self.path("made")), &self.path("whole"), &what);
    }
}

#[test]
fn a_64_bit_image_with_and_without_kept_relocations() {
    let kept = ["--emit-relocs", "--discard-none"];
    let first = FIRST.replace(".weak nowhere\naddr nowhere\n", "");
    // And an object whose debug section has none to keep.
    let bare = ".section .debug_info\n.long 1";
    for linker in BOTH {
        let small = Small::new(linker, true, &[FIRST, SECOND]);
        small.assert_same(&[]);
        match linker {
            // The linker shows an undefined symbol just because a kept relocation needs it.
            Linker::Gnu => {
                let error = small.made(&kept).unwrap_err().to_string();
                assert!(error.contains("its symbol in the output is not known"), "{error}");
            }
            Linker::Lld => small.assert_same(&kept),
        }
        Small::new(linker, true, &[&first, bare, SECOND]).assert_same(&kept);
    }
}

#[test]
fn a_32_bit_image_whose_addends_stand_in_the_fields() {
    for linker in BOTH {
        let small = Small::new(linker, false, &[FIRST, SECOND]);
        small.assert_same(&[]);
        let error = small.made(&["--emit-relocs"]).err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains(".rel.debug_info with --emit-relocs"), "{linker:?}: {error}");
    }
}

/// What was merged before the map was known is used where the map agrees, and made again where it does not.
#[test]
fn inputs_that_are_made_ready_before_the_link() {
    let together = SCRIPT.replace("*(.debug_str)", "*(.debug_str .debug_line_str)");
    for (linker, script) in
        [(BOTH[0], SCRIPT), (BOTH[0], &together), (BOTH[1], SCRIPT), (BOTH[1], &together)]
    {
        let small = Small::new(linker, true, &[FIRST, SECOND]);
        fs::write(small.path("script"), script).expect("a temporary directory is writable");
        small.assert_same(&[]);
        let all = small.made(&[]).expect("it is the same as the linker's");
        for first in 0..2 {
            assert!(small.made_with_prepared(&[], first).expect("some are later") == all);
        }
    }
}

/// Any part of a debug section is what stands in the image that the linker writes.
#[test]
fn parts_of_debug_sections() {
    for (linker, wide) in BOTH.into_iter().flat_map(|linker| [(linker, true), (linker, false)]) {
        let small = Small::new(linker, wide, &[FIRST, SECOND]);
        small.link(&["-o", "whole"]);
        small.link(&["--strip-debug", "-Map=map", "-o", "stripped"]);
        small.with_plan(|plan| {
            let whole = fs::read(small.path("whole")).expect("the linker wrote it");
            let elf = image::Elf::parse(&whole).expect("an image");
            for name in [".debug_info", ".debug_ranges", ".debug_aranges", ".debug_str"] {
                let expected = elf.bytes(elf.section(name).expect(name).1).expect(name);
                let contents = plan.sections().contents(name).expect(name);
                assert_eq!(contents.all().expect(name), expected, "{name}");
                let mut bytes = vec![0xaa; expected.len() + 1];
                assert!(contents.read(0..bytes.len(), &mut bytes).is_err(), "{name}");
                for start in (0..expected.len()).filter(|_| name != ".debug_str") {
                    for end in start..=expected.len() {
                        let part = &mut bytes[..end - start];
                        contents.read(start..end, part).expect(name);
                        assert_eq!(*part, expected[start..end], "{name} {start}..{end}");
                    }
                }
            }
            assert!(plan.sections().contents(".debug_loc").is_none());
        });
    }
}

/// Relocations that are not in the order of their offsets, over more than one of the parts that are made at a time.
#[test]
fn relocations_in_any_order() {
    let numbers: String = (0..40_000).map(|at| format!(".quad .text + {at}\n")).collect();
    let source = format!(".globl f\n.text\nf: nop\n.section .debug_info, \"\"\n{numbers}");
    for linker in BOTH {
        let small = Small::new(linker, true, &[&source]);
        let object = small.path("0.o");
        let mut bytes = fs::read(&object).expect("the assembler wrote it");
        let elf = image::Elf::parse(&bytes).expect("an object");
        let (_, records) = elf.section(".rela.debug_info").expect("it has relocations");
        let range = records.offset as usize..(records.offset + records.size) as usize;
        let reversed: Vec<u8> = bytes[range.clone()].rchunks(24).flatten().copied().collect();
        bytes[range].copy_from_slice(&reversed);
        fs::write(&object, bytes).expect("a temporary directory is writable");
        small.assert_same(&[]);
        // Part by part they are refused, by one part or another.
        small.with_plan(|plan| {
            let contents = plan.sections().contents(".debug_info").expect("it has debug info");
            let read =
                |start: usize, end: usize| contents.read(start..end, &mut vec![0; end - start]);
            let halves = [0, contents.len() / 2, contents.len()];
            let errors = halves.windows(2).filter_map(|half| read(half[0], half[1]).err());
            let errors: Vec<String> = errors.map(|error| error.to_string()).collect();
            let cause = "its relocations are not in the order of their offsets";
            assert!(errors.iter().any(|error| error.ends_with(cause)), "{errors:?}");
        });
    }
}

/// Bytes that are changed or missing, in an object, the image, the map or the script: an error or other debug info, no panic.
#[test]
fn what_is_broken_never_panics() {
    for linker in BOTH {
        break_everything(linker);
    }
}

fn break_everything(linker: Linker) {
    let small = Small::new(linker, true, &[FIRST, SECOND]);
    small.link(&["--strip-debug", "-Map=map", "-o", "stripped"]);
    let read = |name: &str| fs::read(small.path(name)).expect("it was written");
    let files = ["0.o", "stripped", "map", "script"].map(read);
    let second = read("1.o");
    let attempt = |[object, image, map, script]: [&[u8]; 4]| -> Result<(), Error> {
        let inputs = [("0.o", object), ("1.o", &second)].map(|(name, data)| Input::new(name, data));
        let map = LinkMap::parse(small.linker, map, script)?;
        let plan = Plan::new(&inputs, image, &map, &small.dialect())?;
        if plan.len() < 1 << 20 {
            made(&plan)?;
        }
        Ok(())
    };
    attempt(files.each_ref().map(|file| &file[..])).expect("the files are whole");
    with_broken(&files, |file| (0..file.len()).step_by(3).collect(), attempt);
}

/// Attempts something with files of which one is cut off, or has other bits, at one of the `offsets`.
fn with_broken<T, const N: usize>(
    files: &[Vec<u8>; N],
    offsets: impl Fn(&[u8]) -> Vec<usize>,
    attempt: impl Fn([&[u8]; N]) -> T,
) {
    let whole = files.each_ref().map(|file| &file[..]);
    for (which, file) in files.iter().enumerate() {
        for at in offsets(file) {
            let mut attempted = whole;
            attempted[which] = &file[..at];
            attempt(attempted);
            for change in [0x01, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] ^= change;
                let mut attempted = whole;
                attempted[which] = &changed;
                attempt(attempted);
            }
        }
    }
}

/// What compilers write less often: lists and names of DWARF 4 and 5 that lead nowhere, an empty section, constants, wide
/// strings, symbols that are seen in one file only, a file without symbols of its own.
const RARE: &str = "
.text
.globl g
.hidden inner
.globl inner
g: nop
inner: nop
local: nop
.section .discard.y, \"aw\"
gone: .long 1
.section .rodata.cst16, \"aM\", @progbits, 16
.balign 16
.Lone: .octa 1
.Ltwo: .octa 2
.section .rodata.cst16.more, \"aM\", @progbits, 16
.balign 16
.Lsame: .octa 2
.Lthree: .octa 3
.section .rodata.str2.2, \"aMS\", @progbits, 2
.balign 2
.Lwide: .short 65, 66, 0
.Lempty: .short 0
.section .init.rodata.str1.1, \"aMS\", @progbits, 1
.Lelsewhere: .string \"literal with a tail\"
.section .debug_loc, \"\", @progbits
addr gone + 1
addr g
.section .debug_names, \"\", @progbits
addr gone
.long gone
.section .debug_info, \"\", @progbits
addr .Lone
addr .Ltwo + 8
addr .Lsame
addr .Lthree
addr .Lwide + 2
addr .Lempty
addr .Lelsewhere
addr inner
addr local
addr hidden + 4
.section .debug_macro, \"\", @progbits
.section .debug_line, \"\", @progbits
.balign 32
.byte 1
";

#[test]
fn what_compilers_write_less_often() {
    let rare = SCRIPT
        .replace("  .debug_line 0", "  .debug_macro 0 : { *(.debug_macro) }\n  .debug_line 0")
        .replace("  .debug_str 0", "  .debug_loc 0 : { *(.debug_loc) }\n  .debug_str 0")
        .replace("  .modinfo", "  .debug_names 0 : { *(.debug_names) }\n  .modinfo")
        .replace("*(.rodata.*)", "*(.rodata.str1.8) *(.rodata.*) *(.init.rodata.*)");
    let bare = ".globl bare\n.section .debug_info\n.long 1\n.text\nbare: nop";
    for linker in BOTH {
        let small = Small::new(linker, true, &[FIRST, RARE, bare, SECOND]);
        fs::write(small.path("script"), &rare).expect("a temporary directory is writable");
        small.assert_same(&[]);
        if linker == Linker::Lld {
            small.assert_same(&["--emit-relocs", "--discard-none"]);
        }
    }
}

#[test]
fn what_is_not_followed_is_refused() {
    for linker in BOTH {
        refuses(linker);
    }
}

fn refuses(linker: Linker) {
    let refused = |source: &str| Small::new(linker, true, &[FIRST, SECOND, source]).made(&[]);
    let cases = [
        (".section .debug_info\nnamed: .long 1", "2.o: symbol named in a debug section"),
        (".section .debug_sup\n.long 1", "no output section of the linker script takes .debug_sup"),
        (".section .debug_str, \"\", @progbits\n.string \"x\"", "2.o: .debug_str has other flags"),
        (
            ".section .debug_info,\"G\",@progbits,g,comdat\n.long 1",
            "2.o: .debug_info is in a COMDAT group",
        ),
    ];
    let comdat = "
.section .text.c,\"axG\",@progbits,c,comdat
.globl c
c: nop
.section .debug_info
.quad .text.c
";
    let small = Small::new(linker, true, &[FIRST, SECOND, comdat, comdat]);
    let error = small.made(&[]).unwrap_err().to_string();
    assert!(error.contains("3.o: .debug_info+0x0: the place of symbol"), "{error}");
    for (source, cause) in cases {
        let error = refused(source).expect_err(cause).to_string();
        assert!(error.contains(cause), "{error}");
    }
    // ld.lld keeps it in an image without debug info.
    if linker == Linker::Lld {
        let error = refused(".section .line\n.long 1").unwrap_err().to_string();
        assert!(error.contains(".line, which the linker keeps"), "{error}");
        let small = Small::new(linker, true, &[FIRST, SECOND]);
        let script = SCRIPT.replace(".debug_info 0 :", ".debug_info 0x10 :");
        fs::write(small.path("script"), script).expect("a temporary directory is writable");
        let error = small.made(&[]).unwrap_err().to_string();
        assert!(error.contains(".debug_info at another address"), "{error}");
    }
}
