//! Memory that runs out: of pahole's, and of vmlinker's own.

use std::process::Command;

use peer_tests::kernel;
use peer_tests::link::{Recorded, scratch, vmlinker};

use crate::{Said, limited, names, place, with_pahole};

const BTF: &str = "BTF .tmp_vmlinux1.btf.o: ";

/// What the kernel's own script says where it notices.
const KERNELS_WORDS: &str =
    "Failed to generate BTF for vmlinux\nTry to disable CONFIG_DEBUG_INFO_BTF\n";

#[test]
fn a_pahole_that_the_system_kills_is_named_with_its_signal() {
    let dir = scratch();
    let kernel = with_pahole("6.12-tiny", dir.path(), "kill -9 $$");
    for engine in ["btf=kernel", "kernel"] {
        let out = place(dir.path());
        let said = Said::of(&kernel.try_relink(&out.join("vmlinux"), &["--engine", engine]));
        said.refuses(&[BTF, "a-pahole was killed by SIGKILL"]);
        assert!(said.err.contains("the system kills a process when memory runs out: see dmesg\n"));
        assert!(said.err.ends_with(KERNELS_WORDS), "{}", said.err);
        assert_eq!(said.steps_after("BTF"), [""; 0]);
        assert_eq!(names(&out), [""; 0]);
    }
}

/// The real one, with less than it takes: it ends by itself, in words of its own.
#[test]
fn a_pahole_that_gets_no_memory_ends_the_link() {
    let dir = scratch();
    let starved = "[ \"$1\" = --version ] || ulimit -v 120000\nexec pahole \"$@\"";
    let kernel = with_pahole("6.12-tiny", dir.path(), starved);
    let out = place(dir.path());
    let said = Said::of(&kernel.try_relink(&out.join("vmlinux"), &["--engine", "btf=kernel"]));
    said.refuses(&[BTF, "a-pahole "]);
    assert_eq!(said.steps_after("BTF"), [""; 0]);
    assert_eq!(names(&out), [""; 0]);
}

/// Fewer MB than a tool takes, from nothing to enough: a result, or one line that says what is missing.
#[test]
fn the_encoder_without_memory_says_so() {
    let dir = scratch();
    let whole = kernel("6.12-tiny").join("vmlinux");
    let (mut refused, mut made) = (0, 0);
    for mib in [40, 120, 140, 180, 240, 300, 2000] {
        let out = place(dir.path());
        let mut encode = Command::new(vmlinker());
        encode.args(["pahole", "-J", "-j2", "--pahole-version=1.24", "--btf_gen_floats"]);
        encode.arg(format!("--btf_encode_detached={}", out.join("btf").display())).arg(&whole);
        let said = Said::by(&mut limited(&encode, mib << 10));
        if said.status == Some(0) {
            assert_eq!((said.err.as_str(), names(&out)), ("", vec!["btf".to_owned()]));
            made += 1;
            continue;
        }
        refused += 1;
        assert_no_memory(&said, &format!("{mib} MiB"));
        assert_eq!(names(&out), [""; 0], "{mib} MiB");
    }
    assert!(refused > 2 && made > 0, "{refused} refused, {made} made");
}

/// The same for the whole link.
#[test]
fn a_link_without_memory_says_so_and_leaves_nothing() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny");
    let (mut refused, mut made) = (0, 0);
    for mib in [300, 500, 700, 900, 1100, 8000] {
        let out = place(dir.path());
        let link = kernel.command(&out.join("vmlinux"), &["--cold", "-j2"]);
        let said = Said::by(&mut limited(&link, mib << 10));
        if said.status == Some(0) {
            assert_eq!(names(&out), ["vmlinux", "vmlinux.System.map"]);
            made += 1;
            continue;
        }
        refused += 1;
        assert_no_memory(&said, &format!("{mib} MiB"));
        assert_eq!(names(&out), [""; 0], "{mib} MiB: {}", said.err);
    }
    assert!(refused > 2 && made > 0, "{refused} refused, {made} made");
}

/// One line of vmlinker that tells what there was too little of; a linker without memory has its own.
#[track_caller]
fn assert_no_memory(said: &Said, limit: &str) {
    assert!(!said.err.contains("panicked"), "{limit}: {}", said.err);
    let line = said.err.lines().find_map(|line| line.strip_prefix("vmlinker: "));
    let line = line.unwrap_or_else(|| panic!("{limit}: not a word of vmlinker: {said:?}"));
    let words = ["out of memory", "Cannot allocate memory", "cannot start", "ld failed", "ld was"];
    assert!(words.iter().any(|words| line.contains(words)), "{limit}: {}", said.err);
}
