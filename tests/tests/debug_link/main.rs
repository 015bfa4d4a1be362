//! Debug info put into an image that was linked without, beside the linker's own link with it.
//!
//! For each kernel the linker, GNU ld or ld.lld, links twice from the very same objects: with debug info, and without it but with a
//! map. From the second the first is made, and `cmp` decides, build ID and all.

mod ahead;
mod fill;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use debug_link::{DebugFile, Dialect, Error, Input, LinkMap, Making, Plan, build_id};
use peer_tests::apart::assert_only_debug;
use peer_tests::link::{Recorded, assert_same_bytes, scratch};
use peer_tests::run;
use serde_json::Value;

const GNU: &str = "ld";
const LLD: &str = "ld.lld-19";
const SCRIPT: &str = "arch/x86/kernel/vmlinux.lds";

/// A kernel, the objects of its link, and those that earlier steps left in its tree.
struct Kernel {
    ld: &'static str,
    dir: PathBuf,
    call: Value,
    whole: [&'static str; 3],
    made: [&'static str; 2],
    /// Flags beyond those that the kernel is linked with.
    more: &'static [&'static str],
}

impl Kernel {
    fn new(name: &str) -> Self {
        let dir = Recorded::of(name).dir;
        let record = fs::read_to_string(dir.join(".vmlinker.json")).expect("a record is text");
        let record: Value = serde_json::from_str(&record).expect("a record is JSON");
        let archive = name.starts_with("6.1-");
        let kernel = if archive { "vmlinux.a" } else { "vmlinux.o" };
        let whole = [kernel, ".vmlinux.export.o", "init/version-timestamp.o"];
        let made = match archive {
            true => [".tmp_vmlinux.kallsyms2.o", ".btf.vmlinux.bin.o"],
            false => [".tmp_vmlinux2.kallsyms.o", ".tmp_vmlinux1.btf.o"],
        };
        Kernel { ld: GNU, dir, call: record["call"].clone(), whole, made, more: &[] }
    }

    fn word(&self, name: &str) -> &str {
        self.call[name].as_str().expect("a record has the linker's flags")
    }

    /// Links as the kernel's script does.
    fn link(&self, output: &Path, more: &[&OsStr]) {
        self.link_with(self.flags().map(Cow::Borrowed), output, more);
    }

    /// Links as the lean schedule does: without debug info, and with room for a build ID.
    fn link_lean(&self, output: &Path, map: &Path) {
        let linker = self.dialect().linker;
        let flags = self.flags().map(|flag| build_id::reserving(flag, linker));
        let more = [OsStr::new("-Map"), map.as_os_str(), OsStr::new("--strip-debug")];
        self.link_with(flags, output, &more);
    }

    fn link_with<'f>(
        &self,
        flags: impl Iterator<Item = Cow<'f, str>>,
        output: &Path,
        more: &[&OsStr],
    ) {
        let mut ld = Command::new(self.ld);
        ld.current_dir(&self.dir).args(flags.map(Cow::into_owned));
        ld.arg(format!("--script={SCRIPT}")).args(more).arg("-o").arg(output);
        ld.arg("--whole-archive").args(self.whole).arg("--no-whole-archive").args(self.made);
        run(&mut ld);
    }

    /// The linker's flags.
    fn flags(&self) -> impl Iterator<Item = &str> {
        let flags = [self.word("ldflags"), self.word("ldflags_vmlinux")];
        let flags = flags.into_iter().flat_map(str::split_whitespace);
        // Kbuild asks the linker whether it knows this one; ld.lld does not.
        let known = |flag: &&str| self.ld == GNU || *flag != "--no-warn-rwx-segments";
        flags.filter(known).chain(self.more.iter().copied())
    }

    /// The rules of its link.
    fn dialect(&self) -> Dialect {
        let version = run(Command::new(self.ld).arg("--version"));
        let version = String::from_utf8_lossy(&version);
        Dialect::detect(version.lines().next().unwrap_or_default(), self.flags())
            .expect("a linker whose rules are followed")
    }

    /// All objects in the order of the link: the names that the linker's map has for them, and their paths.
    fn objects(&self) -> Vec<(String, PathBuf)> {
        let mut objects = Vec::new();
        let linker = self.dialect().linker;
        for name in self.whole.into_iter().chain(self.made) {
            if name.ends_with(".a") {
                let members = run(Command::new("ar").args(["t", name]).current_dir(&self.dir));
                let members = String::from_utf8(members).expect("names of objects are ASCII");
                let prefix = format!("{}/", self.dir.display());
                objects.extend(members.lines().map(|member| {
                    let path = member.strip_prefix(&prefix).unwrap_or(member);
                    (linker.thin_member(name, path), self.dir.join(path))
                }));
            } else {
                objects.push((name.to_owned(), self.dir.join(name)));
            }
        }
        objects
    }

    /// The map that the linker wrote.
    fn map<'m>(&self, text: &'m [u8], script: &'m [u8]) -> LinkMap<'m> {
        LinkMap::parse(self.dialect().linker, text, script).expect("a map of the linker")
    }
}

/// With both linkers.
fn debug_info_comes_out_as_the_linker_writes_it(name: &str) {
    assert_comes_out(name, &Kernel::new(name));
    assert_comes_out(&format!("{name}, {LLD}"), &Kernel { ld: LLD, ..Kernel::new(name) });
}

fn assert_comes_out(name: &str, kernel: &Kernel) {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    kernel.link(&path("whole"), &[]);
    kernel.link_lean(&path("stripped"), &path("map"));
    assert_signed(kernel, &path("stripped"), &path("signed"), name);

    let read = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let objects = kernel.objects();
    let objects: Vec<(&str, Vec<u8>)> =
        objects.iter().map(|(name, path)| (&name[..], read(path))).collect();
    let inputs: Vec<Input<'_>> =
        objects.iter().map(|(name, data)| Input::new(name, data)).collect();
    let (stripped, map) = (read(&path("stripped")), read(&path("map")));
    let script = read(&kernel.dir.join(SCRIPT));
    let map = kernel.map(&map, &script);
    let plan = Plan::new(&inputs, &stripped, &map, &kernel.dialect())
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let whole = read(&path("whole"));
    assert_contents(&plan, &whole, name);
    let ours = inputs.len() - kernel.made.len();
    ahead::assert_read_ahead(&inputs, ours, (&stripped, &whole), &map, name);
    let made = made(&plan).unwrap_or_else(|e| panic!("{name}: {e}"));
    // The ID of the finished file, read once more, is the one that was computed on the way.
    let mut again = made.clone();
    build_id::set(&mut again, map.linker).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(again == made, "{name}: the build ID of the finished file is another");
    fs::write(path("made"), &made).expect("a scratch directory is writable");
    assert_same_bytes(&path("made"), &path("whole"), name);
    assert_apart(&plan, &made, &path("made"), name);
}

/// The image that is planned, part by part, as a file is written: padding stays what it was.
fn made(plan: &Plan<'_>) -> Result<Vec<u8>, Error> {
    let made = Mutex::new(vec![0; plan.len() as usize]);
    let making = Making { build_id: true, zeros: false };
    plan.make(&making, |at, part| {
        made.lock().expect("no part panics")[at as usize..][..part.len()].copy_from_slice(part);
        Ok::<(), Error>(())
    })?;
    Ok(made.into_inner().expect("no part panics"))
}

/// A kernel with room for a build ID becomes the one with the linker's.
fn assert_signed(kernel: &Kernel, reserved: &Path, signed: &Path, name: &str) {
    kernel.link(signed, &[OsStr::new("--strip-debug")]);
    let mut ours = fs::read(reserved).expect("a kernel was linked");
    let note = build_id::locate(&image::Elf::parse(&ours).expect("an image")).expect("notes");
    let note = note.expect("a kernel has a build ID");
    assert!(ours[note.id..note.end].iter().all(|&byte| byte == 0), "{name}: an ID was computed");
    build_id::set(&mut ours, kernel.dialect().linker).unwrap_or_else(|e| panic!("{name}: {e}"));
    let theirs = fs::read(signed).expect("a kernel was linked");
    assert!(ours == theirs, "{name}: the kernel is not the one with the linker's own build ID");
}

/// Debug information by itself is the same, whether the image is `whole` or only planned.
fn assert_apart(plan: &Plan<'_>, whole: &[u8], path: &Path, name: &str) {
    let elf = image::Elf::parse(whole).expect("an image");
    let (planned, taken) = (DebugFile::of_plan(plan).unwrap(), DebugFile::of_image(&elf).unwrap());
    let mut file = vec![0; taken.len() as usize];
    for (at, piece) in taken.own().chain(taken.pieces(whole)) {
        file[at as usize..][..piece.len()].copy_from_slice(piece);
    }
    let made = Mutex::new(vec![0; planned.len() as usize]);
    let put = |at: u64, piece: &[u8]| {
        made.lock().expect("no part panics")[at as usize..][..piece.len()].copy_from_slice(piece);
    };
    planned.own().for_each(|(at, piece)| put(at, piece));
    let making = Making { build_id: true, ..Making::default() };
    plan.make(&making, |at, part| {
        planned.route(at, part).for_each(|(at, piece)| put(at, piece));
        Ok::<(), Error>(())
    })
    .unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(made.into_inner().expect("no part panics") == file, "{name}: not the same debug file");
    let debug = path.with_extension("debug");
    fs::write(&debug, &file).expect("a scratch directory is writable");
    assert_only_debug(Command::new("objcopy"), path, &debug, name);
}

/// Debug sections are read part by part as they stand in the image `whole`.
fn assert_contents(plan: &Plan<'_>, whole: &[u8], what: &str) {
    let elf = image::Elf::parse(whole).expect("the linker wrote an image");
    for name in [".debug_info", ".debug_abbrev", ".debug_loclists", ".debug_loc", ".debug_line_str"]
    {
        let Some((_, section)) = elf.section(name) else { continue };
        let expected = elf.bytes(section).expect("the linker wrote the section");
        let contents = plan.sections().contents(name).expect("the image has it");
        if name.ends_with("_str") {
            assert!(contents.all().expect(name) == expected, "{what}: {name}");
            continue;
        }
        let mut bytes = Vec::new();
        for (index, part) in expected.chunks(100_003).enumerate() {
            let start = index * 100_003;
            bytes.resize(part.len(), 0xaa);
            contents.read(start..start + part.len(), &mut bytes).expect(name);
            assert!(bytes == part, "{what}: {name} from {start:#x} on");
        }
    }
}

#[test]
fn vmlinux_a_of_6_1() {
    debug_info_comes_out_as_the_linker_writes_it("6.1-tiny");
}

#[test]
fn vmlinux_o_of_6_12() {
    debug_info_comes_out_as_the_linker_writes_it("6.12-tiny");
}

#[test]
fn vmlinux_o_of_7_3() {
    debug_info_comes_out_as_the_linker_writes_it("7.3-tiny");
}

/// As x86 links where the kernel can be moved (`CONFIG_X86_NEED_RELOCS`).
fn assert_comes_out_with_kept_relocations(name: &str) {
    let more = &["--emit-relocs", "--discard-none"];
    assert_comes_out(name, &Kernel { more, ..Kernel::new(name) });
    assert_comes_out(&format!("{name}, {LLD}"), &Kernel { ld: LLD, more, ..Kernel::new(name) });
}

#[test]
fn vmlinux_o_of_6_12_with_kept_relocations() {
    assert_comes_out_with_kept_relocations("6.12-tiny");
}

#[test]
fn vmlinux_a_of_6_1_with_kept_relocations() {
    assert_comes_out_with_kept_relocations("6.1-tiny");
}

/// A link with another input than the map tells of is noticed.
fn an_image_of_another_kernel_is_refused(kernel: &Kernel) {
    let dir = scratch();
    let (map, image) = (dir.path().join("map"), dir.path().join("image"));
    kernel.link(&image, &[OsStr::new("-Map"), map.as_os_str(), OsStr::new("--strip-debug")]);
    let objects = kernel.objects();
    let read = |path: &Path| fs::read(path).expect("a built kernel has its objects");
    let objects: Vec<(&str, Vec<u8>)> =
        objects.iter().map(|(name, path)| (&name[..], read(path))).collect();
    let (map, mut image) = (fs::read(map).unwrap(), fs::read(image).unwrap());
    let script = fs::read(kernel.dir.join(SCRIPT)).expect("a built kernel has its linker script");
    let map = kernel.map(&map, &script);
    let inputs: Vec<Input<'_>> =
        objects.iter().map(|(name, data)| Input::new(name, data)).collect();
    // A string literal that has changed since.
    let at = memchr_of(&image, b"Kernel panic - not syncing");
    image[at] = b'k';
    let error = Plan::new(&inputs, &image, &map, &kernel.dialect()).unwrap_err().to_string();
    assert!(error.contains("merged .rodata.str"), "{error}");
}

#[test]
fn a_changed_string_literal_is_noticed() {
    for ld in [GNU, LLD] {
        an_image_of_another_kernel_is_refused(&Kernel { ld, ..Kernel::new("6.12-tiny") });
    }
}

fn memchr_of(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).position(|window| window == text).expect("the kernel has this text")
}
