//! The kernel's own tools, compiled from the source packages: the peers of the cores.
//!
//! A tool of a series is compiled when a test first asks for it (a second for most, 20 s for
//! `resolve_btfids` with its libraries) and kept below `cache()/tools/SERIES`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::made::{fnv1a, once, run, version};
use crate::{cache, source};

/// The executable of a tool of the kernel `series` (`6.1`, `6.12`, `7.3`).
///
/// | name | what |
/// |---|---|
/// | `kallsyms` | `scripts/kallsyms` |
/// | `sorttable` | `scripts/sorttable`, the exception table only |
/// | `sorttable-mcount` | the same with `MCOUNT_SORT_ENABLED` |
/// | `sorttable-orc` | the same with `UNWINDER_ORC_ENABLED`, the ORC format of x86 |
/// | `sorttable-orc-mcount` | the same with both, as x86 with ftrace has it |
/// | `resolve_btfids` | `tools/bpf/resolve_btfids` |
/// | `bpftool` | `tools/bpf/bpftool`, its bootstrap version: `btf dump` and `gen` only |
/// | `libbpf.a` | `tools/lib/bpf` as that bpftool has it, to link small programs with |
///
/// # Panics
/// If the name is none of these, the source is not unpacked, or the compiler fails.
pub fn tool(series: &str, name: &str) -> PathBuf {
    let tree = source(series);
    let parent = cache().join("tools").join(series).join(name);
    static GCC: OnceLock<String> = OnceLock::new();
    let gcc = GCC.get_or_init(|| version("gcc"));
    let recipe = format!("{gcc}\n{}\n", digest(&tree, inputs(name)));
    let dir = once(&parent, &recipe, |fresh| match name {
        "kallsyms" => kallsyms(&tree, fresh),
        "resolve_btfids" => by_makefile(&tree, fresh, "resolve_btfids", &[], name),
        "bpftool" => by_makefile(&tree, fresh, "bpftool", &BOOTSTRAP, "bootstrap/bpftool"),
        "libbpf.a" => by_makefile(&tree, fresh, "bpftool", &BOOTSTRAP, "bootstrap/libbpf/libbpf.a"),
        _ => sorttable(&tree, fresh, name),
    });
    dir.join(name)
}

/// The files of the tree that stand for all sources of a tool; the tree itself is never edited.
fn inputs(name: &str) -> &'static [&'static str] {
    match name {
        "kallsyms" => &["scripts/kallsyms.c"],
        "resolve_btfids" => &["Makefile", "tools/bpf/resolve_btfids/main.c"],
        "bpftool" | "libbpf.a" => {
            &["Makefile", "tools/bpf/bpftool/btf.c", "tools/lib/bpf/btf_dump.c"]
        }
        "sorttable" | "sorttable-mcount" | "sorttable-orc" | "sorttable-orc-mcount" => {
            &["scripts/sorttable.c", "scripts/sorttable.h", "scripts/elf-parse.c"]
        }
        _ => panic!("the kernel has no tool {name} that the tests know"),
    }
}

/// A line per file with its length and a hash; a file that this series lacks counts as empty.
fn digest(tree: &Path, files: &[&str]) -> String {
    let line = |file: &&str| {
        let bytes = fs::read(tree.join(file)).unwrap_or_default();
        format!("{file} {} {:016x}", bytes.len(), fnv1a(&bytes))
    };
    files.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn kallsyms(tree: &Path, out: &Path) {
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-I"]).arg(tree.join("scripts/include"));
    gcc.arg("-o").arg(out.join("kallsyms")).arg(tree.join("scripts/kallsyms.c"));
    run(&mut gcc);
}

fn sorttable(tree: &Path, out: &Path, name: &str) {
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-I"]).arg(tree.join("tools/include"));
    if name.contains("-orc") {
        gcc.arg("-DUNWINDER_ORC_ENABLED").arg("-I").arg(tree.join("tools/arch/x86/include"));
    }
    if name.contains("-mcount") {
        gcc.arg("-DMCOUNT_SORT_ENABLED");
    }
    gcc.arg("-o").arg(out.join(name)).arg(tree.join("scripts/sorttable.c"));
    let elf_parse = tree.join("scripts/elf-parse.c");
    if elf_parse.exists() {
        gcc.arg(elf_parse);
    }
    run(gcc.arg("-lpthread"));
}

/// The bpftool that others are built with; the libraries that it does without are not asked for.
const BOOTSTRAP: [&str; 4] = ["bootstrap", "SKIP_CRYPTO=1", "SKIP_LLVM=1", "SKIP_LIBBFD=1"];

/// Builds with the tool's own Makefile, objects outside the tree, and keeps the executable alone.
fn by_makefile(tree: &Path, out: &Path, dir: &str, targets: &[&str], built: &str) {
    let objects = out.join("objects");
    fs::create_dir(&objects).unwrap_or_else(|e| panic!("{}: {e}", objects.display()));
    let mut make = Command::new("make");
    make.args(["-s", "-j2", "-C"]).arg(tree.join("tools/bpf").join(dir));
    make.arg(format!("OUTPUT={}/", objects.display())).args(targets);
    // A test may itself run under make: its flags and job slots are not this make's.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "O", "OUTPUT"] {
        make.env_remove(name);
    }
    run(&mut make);
    let built = objects.join(built);
    let name = built.file_name().unwrap_or_default();
    fs::copy(&built, out.join(name)).unwrap_or_else(|e| panic!("{}: {e}", built.display()));
    fs::remove_dir_all(&objects).unwrap_or_else(|e| panic!("{}: {e}", objects.display()));
}
