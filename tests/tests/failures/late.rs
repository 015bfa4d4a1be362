//! Errors that come long after their cause, in other words.

use peer_tests::link::scratch;

use crate::{Said, names, place, with_pahole};

/// The words that people search for.
const MISLEADING: &str = "FAILED: load BTF from ";

/// The script of 6.12 goes on without BTF, links twice more, and fails where the ids are looked up.
#[test]
fn the_step_that_failed_is_named_and_not_the_one_that_missed_its_result() {
    let dir = scratch();
    let quiet = "[ \"$1\" = --version ] && exec pahole \"$@\"\nexit 0";
    let kernel = with_pahole("6.12-tiny", dir.path(), quiet);

    let out = place(dir.path());
    let said = Said::of(&kernel.try_relink(&out.join("vmlinux"), &["--script"]));
    assert!(said.err.contains(MISLEADING), "the kernel's script: {}", said.err);
    let links = said.steps_after("BTF ").iter().filter(|line| line.starts_with("  LD ")).count();
    assert_eq!(links, 2, "the kernel's script: {}", said.out);

    for engine in ["btf=kernel", "btfobj=kernel", "kernel"] {
        let out = place(dir.path());
        let said = Said::of(&kernel.try_relink(&out.join("vmlinux"), &["--engine", engine]));
        said.refuses(&[
            "BTF .tmp_vmlinux1.btf.o: ",
            "/.tmp_vmlinux1: ",
            "pahole wrote no BTF of it",
        ]);
        assert!(!said.err.contains(MISLEADING), "{}", said.err);
        assert_eq!(said.steps_after("BTF "), [""; 0], "{engine}");
        assert_eq!(names(&out), [""; 0], "{engine}");
    }
}
