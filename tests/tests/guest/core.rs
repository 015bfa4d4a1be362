//! A BPF program whose relocations are against the kernel's BTF, and bpftool, in the guest.
//!
//! The program of `bpf/core.c` knows `struct task_struct` only by its members' names. libbpf, in bpftool, sets
//! its offsets and constants from `/sys/kernel/btf/vmlinux`; the kernel's verifier then allows its loads only
//! where the same BTF has a member. It runs at each switch of tasks and says what it found in global
//! variables, and bpftool prints these with the program's own BTF.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf::{Btf, Kind};
use image::Elf;
use peer_tests::boot::{BootReport, with_libraries};
use peer_tests::run;
use serde_json::Value;

const CLANG: &str = "clang-19";
const BPFTOOL: &str = "/usr/sbin/bpftool";

/// What the guest does with them. The task that the program looks for gives itself its name, says its number
/// and sleeps, so that it is switched to.
pub const SCRIPT: &str = r#"
mount -t bpf bpf /sys/fs/bpf
bpftool -j btf list 2>&1 | text btf-list
bpftool btf dump file /sys/kernel/btf/vmlinux | sha256sum | text btf-dump
bpftool prog load /bpf/missing.o /sys/fs/bpf/missing 2>&1 | text missing
bpftool prog load /bpf/core.o /sys/fs/bpf/core 2>&1 | text core
attach /sys/fs/bpf/core sh -c 'echo -n core > /proc/self/comm; echo $$; usleep 50000; usleep 50000' | text task
bpftool prog dump xlated name on_switch 2>&1 | text xlated
bpftool -j map dump name core.data 2>&1 | text data
"#;

/// bpftool with its libraries, and the programs, compiled into `dir`: what the guest needs for [`SCRIPT`].
pub fn files(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut files = with_libraries(Path::new(BPFTOOL)).unwrap();
    let source = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf").join(name).with_extension("c")
    };
    for name in ["core", "missing"] {
        let object = dir.join(format!("{name}.o"));
        let mut clang = Command::new(CLANG);
        clang.args(["-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-c"]);
        run(clang.arg(source(name)).arg("-o").arg(&object));
        files.push((format!("bpf/{name}.o"), object));
    }
    let attach = dir.join("attach");
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O2", "-Wall", "-Werror"]).arg(source("attach"));
    run(gcc.arg("-o").arg(&attach));
    files.push(("bin/attach".to_owned(), attach));
    files
}

/// Checks what the guest said against the BTF of `vmlinux`.
pub fn check(report: &BootReport, vmlinux: &Path) {
    let text = |name: &str| report.texts[name].trim();
    let data = fs::read(vmlinux).unwrap();
    let elf = Elf::parse(&data).unwrap();
    let blob = elf.bytes(elf.section(".BTF").unwrap().1).unwrap();

    let objects: Value = serde_json::from_str(text("btf-list")).expect("bpftool prints JSON");
    let listed = |name: &str| {
        let object = objects.as_array().unwrap().iter().find(|object| object["name"] == name);
        object.unwrap_or_else(|| panic!("bpftool btf list has no {name}: {objects}"))["size"]
            .clone()
    };
    assert_eq!(listed("vmlinux"), blob.len());
    assert!(listed("dummy").as_u64().unwrap() > 100);
    // The same program prints the same text, so it has read the same types.
    let dump = "\"$0\" btf dump file \"$1\" | sha256sum";
    let dump = run(Command::new("sh").args(["-c", dump, BPFTOOL]).arg(vmlinux));
    assert_eq!(text("btf-dump"), String::from_utf8_lossy(&dump).trim());

    assert_eq!(text("core"), "", "the program was refused");
    let refused = text("missing");
    assert!(refused.contains("failed to load"), "a missing member was found: {refused}");

    let seen = variables(text("data"));
    let task: i64 = text("task").parse().expect("a task's number");
    let expected = expected(&Btf::parse(blob).unwrap(), task);
    for (name, value) in &expected {
        assert_eq!(seen.get(*name), Some(value), "{name}: {seen:?}, expected {expected:?}");
    }
    let pid = expected["pid_offset"];
    assert!(pid > 0, "the offset in the program is the kernel's by chance");
    let load = format!(" +{pid})");
    assert!(text("xlated").contains(&load), "no load from {pid}: {}", text("xlated"));
}

/// The global variables that `bpftool -j map dump` shows.
fn variables(json: &str) -> BTreeMap<String, i64> {
    let dump: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
    let sections = dump[0]["formatted"]["value"].as_object().expect("a section of variables");
    let variables = sections.values().filter_map(Value::as_array).flatten();
    let pairs = variables.filter_map(Value::as_object).flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_i64().unwrap())).collect()
}

/// What the program must find in this kernel, and in the task of that number.
fn expected(btf: &Btf<'_>, task: i64) -> BTreeMap<&'static str, i64> {
    let named = |kind: Kind, name: &str| {
        let wanted = |ty: &btf::Type<'_>| {
            ty.kind == kind && btf.name(ty.name_off).unwrap() == name.as_bytes()
        };
        btf.types().map(|(_, ty)| ty).find(wanted).unwrap_or_else(|| panic!("no {name}"))
    };
    let task_struct = named(Kind::Struct, "task_struct");
    let member = |name: &str| {
        let wanted = |member: &btf::Member| btf.name(member.name_off).unwrap() == name.as_bytes();
        let member = task_struct.members().find(wanted).unwrap_or_else(|| panic!("no {name}"));
        i64::from(member.bit_offset / 8)
    };
    let pid_type = named(Kind::Enum, "pid_type");
    let sid = pid_type.values().find(|value| btf.name(value.name_off).unwrap() == b"PIDTYPE_SID");
    BTreeMap::from([
        ("pid_offset", member("pid")),
        ("pid_size", 4),
        ("comm_offset", member("comm")),
        ("task_size", i64::from(task_struct.size().unwrap())),
        ("sid_value", sid.expect("PIDTYPE_SID").value),
        ("none_exists", 0),
        ("member_exists", 0),
        ("seen_pid", task),
        ("seen_tgid", task),
        ("leader_pid", task),
    ])
}
