//! "Inconsistent kallsyms data", and kallsyms that never settles.

use std::fs;
use std::path::Path;

use peer_tests::link::{Recorded, scratch};
use peer_tests::run;

use crate::{Said, names, place, script};

/// What the kernel's own script says, and all that it says.
const INCONSISTENT: &str =
    "Inconsistent kallsyms data\nTry \"make KALLSYMS_EXTRA_PASS=1\" as a workaround\n";

/// The number of symbols that come and go.
const FICKLE: usize = 500;

/// A linker that links an object more in every other of its links: kallsyms grows and shrinks by it.
fn oscillating_linker(dir: &Path) -> String {
    let labels: String =
        (0..FICKLE).map(|i| format!(".globl vmlinker_test_{i}\nvmlinker_test_{i}:\n")).collect();
    let (source, object) = (dir.join("fickle.s"), dir.join("fickle.o"));
    fs::write(&source, format!(".text\n{labels}.section .note.GNU-stack,\"\"\n")).unwrap();
    run(std::process::Command::new("as").arg("-o").arg(&object).arg(&source));
    let (object, count) = (object.display(), dir.join("count").display().to_string());
    script(
        &dir.join("oscillating-ld"),
        &format!(
            "case \"$*\" in *--version*|-v) exec ld \"$@\";; esac\n\
             echo >> '{count}'\n\
             [ $(($(wc -l < '{count}') % 2)) = 1 ] || set -- \"$@\" '{object}'\n\
             exec ld \"$@\""
        ),
    )
}

/// Three passes are as many as there are, for the kernel's script too. It does not say that they are the trouble.
#[test]
fn a_size_that_never_settles_ends_after_three_passes_with_the_size_of_each() {
    let dir = scratch();
    let linker = oscillating_linker(dir.path());
    let kernel = Recorded::of("6.12-tiny");
    for words in [&["--schedule", "merged"][..], &["--cold"]] {
        let _ = fs::remove_file(dir.path().join("count"));
        let out = place(dir.path());
        let words = [&["--ld", linker.as_str()], words].concat();
        let said = Said::of(&kernel.try_relink(&out.join("vmlinux"), &words));
        assert_eq!(said.status, Some(1), "{words:?}: {said:?}");
        assert!(said.err.contains(INCONSISTENT), "{words:?}: {}", said.err);
        let line = |begin: &str| {
            let found = said.err.lines().find_map(|line| line.strip_prefix(begin));
            found.unwrap_or_else(|| panic!("no line {begin:?} in:\n{}", said.err)).to_owned()
        };
        let sizes = line("kallsyms did not settle: ");
        let sizes: Vec<u64> =
            sizes.trim_end_matches(" bytes").split(", then ").map(|n| n.parse().unwrap()).collect();
        let [small, large, again] = sizes[..] else { panic!("{words:?}: {sizes:?}") };
        assert!(small < large && small == again, "{words:?}: {sizes:?}");
        // The symbols that come and go, before all those that they move.
        assert!(line("  vmlinker_test_0: ").starts_with("absent in kallsyms, "));
        assert!(line("  and ").ends_with(" of all only moved"));
        let links = said.out.lines().filter(|line| line.starts_with("  LD ")).count();
        assert!(links <= 4, "{words:?}: {}", said.out);
        let kept = line("the temporary files are in ");
        assert!(Path::new(&kept).join(".tmp_vmlinux3.syms").exists(), "{kept}");
        assert_eq!(names(&out).len(), 1, "{words:?}: only what is kept");
    }
}

/// One symbol that the last link has elsewhere; link `variants` has this with the native engines.
#[test]
fn the_kernels_own_tools_leave_the_same_evidence() {
    let dir = scratch();
    let linker = script(
        &dir.path().join("fickle-ld"),
        "at=0xffffffff81000100\n\
         case \"$*\" in *'-o .tmp_vmlinux.unfinished '*) at=0xffffffff81000200;; esac\n\
         exec ld \"$@\" --defsym=vmlinker_test_moves=$at",
    );
    let out = place(dir.path());
    let kernel = Recorded::of("6.12-tiny");
    let words = ["--ld", linker.as_str(), "--engine", "kernel"];
    let said = Said::of(&kernel.try_relink(&out.join("vmlinux"), &words));
    assert!(said.err.contains(INCONSISTENT), "{}", said.err);
    let moved =
        "  vmlinker_test_moves: ffffffff81000100 A in kallsyms, ffffffff81000200 A in vmlinux\n";
    assert!(said.err.contains(moved), "{}", said.err);
    // It is no matter of sizes.
    assert!(!said.err.contains("settle"), "{}", said.err);
    assert!(!out.join("vmlinux").exists());
}
