//! More than 65,280 sections: their number stands elsewhere then, and so does a symbol's section (`SHN_XINDEX`).
//!
//! Kernels come near it with `-ffunction-sections` before their linker script has merged what belongs together. Each
//! tool gets an image of 66,000 sections with one symbol each, debug information, an id and a table to sort.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::Endian as _;
use peer_tests::link::{assert_same_bytes, scratch, vmlinker};
use peer_tests::{run, source, tool};

use crate::Said;

const SECTIONS: usize = 66_000;

const UNIT: &str = r#"
struct item { int key; struct item *next; };
typedef unsigned long u64;
unsigned int main_extable_sort_needed = 1;
int _start(struct item *item, u64 flags) { return item->key + (int)flags; }
__asm__(".pushsection .BTF_ids,\"a\"\n.type __BTF_ID__struct__item__1, STT_OBJECT\n"
	".size __BTF_ID__struct__item__1, 4\n__BTF_ID__struct__item__1: .zero 4\n.popsection\n"
	".pushsection __ex_table,\"a\"\n.globl __start___ex_table\n__start___ex_table:\n"
	".long f9 - .\n.long f9 - .\n.long 3\n.long f0 - .\n.long f0 - .\n.long 1\n"
	".globl __stop___ex_table\n__stop___ex_table:\n.popsection\n");
"#;

/// An executable of so many sections.
fn image(dir: &Path) -> PathBuf {
    let functions: String = (0..SECTIONS)
        .map(|i| format!(".section s{i},\"ax\",@progbits\n.globl f{i}\nf{i}: .long {i}\n"))
        .collect();
    fs::write(dir.join("many.s"), functions + ".section .note.GNU-stack,\"\"\n").unwrap();
    fs::write(dir.join("unit.c"), UNIT).unwrap();
    let image = dir.join("image");
    let at = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(dir);
        command
    };
    run(at("as").args(["-o", "many.o", "many.s"]));
    let flags = ["-g", "-O1", "-ffreestanding", "-fno-pic", "-fno-asynchronous-unwind-tables"];
    run(at("gcc").args(flags).args(["-c", "-o", "unit.o", "unit.c"]));
    run(at("ld").args(["-e", "_start", "-o", "image", "unit.o", "many.o"]));
    let bytes = fs::read(&image).unwrap();
    assert!(image::Elf::parse(&bytes).unwrap().sections().len() > SECTIONS);
    image
}

/// A copy of a file, in its directory.
fn copy(of: &Path, name: &str) -> PathBuf {
    let copy = of.with_file_name(name);
    fs::copy(of, &copy).unwrap();
    copy
}

fn ours(words: &[&str]) -> Command {
    let mut command = Command::new(vmlinker());
    command.args(words);
    command
}

/// The word in `.BTF_ids`.
fn id(file: &Path) -> u32 {
    let bytes = fs::read(file).unwrap();
    let elf = image::Elf::parse(&bytes).unwrap();
    let (_, section) = elf.section(".BTF_ids").unwrap();
    elf.endian().read_u32(elf.bytes(section).unwrap().try_into().unwrap())
}

#[test]
fn every_tool_reads_an_image_of_so_many_sections() {
    let dir = scratch();
    let image = image(dir.path());
    let path = |name: &str| dir.path().join(name);
    let scripts = source("6.12").join("scripts");

    let listed = run(ours(&["sysmap", "--nm-only"]).arg(&image));
    let theirs = run(Command::new("nm").arg("-n").arg(&image).env("LC_ALL", "C"));
    assert!(listed == theirs && listed.len() > 10 * SECTIONS, "nm");

    let bounds = "0000000000400000 T _text\n0000000000400000 T _stext\n";
    let list = [bounds.as_bytes(), &listed, b"0000000000900000 T _end\n"].concat();
    fs::write(path("map"), list).unwrap();
    let dialect = scripts.join("kallsyms.c");
    let tables =
        run(ours(&["kallsyms", "--all-symbols", "--dialect-from"]).arg(dialect).arg(path("map")));
    let theirs = run(Command::new(tool("6.12", "kallsyms")).arg("--all-symbols").arg(path("map")));
    assert!(tables == theirs, "kallsyms");

    let detached = |name: &str| format!("--btf_encode_detached={}", path(name).display());
    let version = "--pahole-version=1.24";
    run(ours(&["pahole", "-J", version, &detached("ours.btf")]).arg(&image));
    run(Command::new("pahole").args(["-J", &detached("theirs.btf")]).arg(&image));
    assert_same_bytes(&path("ours.btf"), &path("theirs.btf"), "pahole");

    let sorted = [copy(&image, "ours.sorted"), copy(&image, "theirs.sorted")];
    run(ours(&["sorttable", "--dialect-from"]).arg(scripts.join("sorttable.c")).arg(&sorted[0]));
    run(Command::new(tool("6.12", "sorttable")).arg(&sorted[1]));
    assert_same_bytes(&sorted[0], &sorted[1], "sorttable");
    let said = Said::by(ours(&["compare"]).args([&image, &sorted[0]]));
    assert!(said.status == Some(1) && said.out.contains("__ex_table"), "{said:?}");
    assert_eq!(Said::by(ours(&["compare"]).args([&image, &image])).out, "the same bytes\n");

    // The kernel's tool takes the symbol's section for another and says that all is well; the id stays 0.
    let typed = path("typed");
    let added = format!(".BTF={}", path("ours.btf").display());
    run(Command::new("objcopy").args(["--add-section", &added]).args([&image, &typed]));
    let resolved = [copy(&typed, "ours.ids"), copy(&typed, "theirs.ids")];
    run(ours(&["resolve_btfids"]).arg(&resolved[0]));
    run(Command::new(tool("6.12", "resolve_btfids")).arg(&resolved[1]));
    assert!(id(&resolved[0]) > 0, "resolve_btfids");
    assert_eq!(id(&resolved[1]), 0, "the tool of 6.12 has learned it");

    // To put a section into such an image is left to objcopy.
    let said = Said::by(ours(&["pahole", "-J", version]).arg(copy(&image, "embedded")));
    said.refuses(&["", "embedded: a file of 66", " sections cannot be given more"]);
    assert_same_bytes(&path("embedded"), &image, "a refused image");
}
