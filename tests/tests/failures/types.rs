//! BTF that is missed, does not fit, is another than it was, or has another maker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peer_tests::link::{Recorded, assert_same_bytes, scratch, vmlinker};
use peer_tests::{kernel, run};

use crate::{Said, place};

/// The kernel of the tests names a type that its configuration does not have, as many do.
#[test]
fn an_unresolved_symbol_has_a_reason() {
    let dir = scratch();
    let unresolved = "WARN: resolve_btfids: unresolved symbol bpf_crypto_ctx\n";
    let reason = "  BTF has no struct 'bpf_crypto_ctx', nor another type of that name: no object that was linked defines it\n";
    let kernel = Recorded::of("6.12-tiny");
    let out = place(dir.path());
    for (engine, more) in [("kernel", ""), ("native", reason)] {
        let words = ["--engine", &format!("btfids={engine}")];
        let said = Said::of(&kernel.try_relink(&out.join(engine), &words));
        assert_eq!(said.status, Some(0), "{said:?}");
        assert_eq!(said.err, format!("{unresolved}{more}"), "{engine}");
    }
    assert_same_bytes(&out.join("native"), &out.join("kernel"), "resolve_btfids");
}

/// A module that was built before vmlinux was configured anew: the kernel says "failed to validate module BTF: -22".
#[test]
fn a_module_of_another_kernel_is_refused_with_the_reason() {
    let module = kernel("6.12-tiny").join("drivers/net/dummy.ko");
    let check = |base: &Path| {
        Said::by(Command::new(vmlinker()).args(["btf", "check", "--base"]).arg(base).arg(&module))
    };
    let said = check(&kernel("6.12-tiny").join("vmlinux"));
    assert_eq!((said.status, said.out.as_str()), (Some(0), "ok\n"), "{said:?}");
    let other = kernel("6.1-tiny").join("vmlinux");
    let said = check(&other);
    assert_eq!(said.status, Some(1), "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines.len() > 1 && lines[0].starts_with('[') && lines[0].contains(": "), "{said:?}");
    let last = format!(
        "the kernel refuses this BTF: was it made for another kernel than {}?",
        other.display()
    );
    assert_eq!(lines.last(), Some(&last.as_str()));
}

/// A relocatable file with debug information, and the file of its types.
fn types_of(dir: &Path, name: &str, source: &str) -> PathBuf {
    let (unit, object) = (dir.join("unit.c"), dir.join(name).with_extension("o"));
    fs::write(&unit, source).unwrap();
    let mut gcc = Command::new("gcc");
    run(gcc.args(["-g", "-O2", "-ffreestanding", "-c", "-o"]).arg(&object).arg(&unit));
    let types = dir.join(name);
    let mut encode = Command::new(vmlinker());
    encode.args(["pahole", "-J", "--btf_features=default,optimized_func,consistent_func"]);
    run(encode.arg(format!("--btf_encode_detached={}", types.display())).arg(&object));
    types
}

/// What would have to be linked again is what depends on other bytes; link `warm` has this on a kernel through make.
#[test]
fn another_body_of_a_function_is_no_other_btf() {
    let dir = scratch();
    let unit = |body: &str, more: &str| {
        format!(
            "struct item {{ struct item *next; long key;{more} }};\n\
             long find(struct item *list, long key)\n{{\n{body}\treturn list->key;\n}}\n"
        )
    };
    let before = types_of(dir.path(), "before", &unit("", ""));
    let body = "\twhile (list->next && list->key != key)\n\t\tlist = list->next;\n";
    let body = types_of(dir.path(), "body", &unit(body, ""));
    assert_same_bytes(&before, &body, "another body");
    let member = types_of(dir.path(), "member", &unit("", " int state;"));
    assert_ne!(fs::read(member).unwrap(), fs::read(before).unwrap());
}

/// A tree that was configured with a pahole whose bytes are not known.
#[test]
fn another_pahole_does_its_own_work_and_is_named() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |_| ());
    let out = place(dir.path());
    let native = kernel.try_relink(&out.join("native"), &[]);
    assert!(native.status.success());
    kernel.configure("PAHOLE_VERSION", "130");
    let said = Said::of(&kernel.try_relink(&out.join("theirs"), &[]));
    assert_eq!(said.status, Some(0), "{said:?}");
    let told = said.err.lines().next().unwrap_or_default();
    let begin = "vmlinker: the kernel's own tool does 'btf': ";
    assert!(told.starts_with(begin) && told.contains("pahole 1.30"), "{}", said.err);
    // It is pahole 1.24 for all that the configuration says.
    assert_same_bytes(&out.join("theirs"), &out.join("native"), "BTF by pahole");
    let refused = kernel.try_relink(&out.join("refused"), &["--engine", "btf=native"]);
    Said::of(&refused).refuses(&["the native engine cannot do 'btf': ", "pahole 1.30"]);
}
