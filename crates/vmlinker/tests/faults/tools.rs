//! Tools that fail, die or are not there.

use crate::tree::{Run, Tree, run};

/// The kernel's two messages for a failed BTF step.
const BTF: &str = "Failed to generate BTF for vmlinux\nTry to disable CONFIG_DEBUG_INFO_BTF\n";

/// The kernel's two messages for a failed check of System.map.
const INCONSISTENT: &str =
    "Inconsistent kallsyms data\nTry \"make KALLSYMS_EXTRA_PASS=1\" as a workaround\n";

/// Links with a linker that runs `body` instead of the link of `output`; an old kernel is there.
#[track_caller]
fn link(tree: &Tree, output: &str, body: &str, status: i32, parts: &[&str]) -> Run {
    tree.write("vmlinux", "old");
    tree.write("System.map", "old");
    let result = run(&mut tree.link_with(&tree.linker(output, body)));
    result.fails(status, parts);
    tree.assert_no_result();
    result
}

#[test]
fn a_failing_linker_gives_its_own_status() {
    let tree = Tree::new();
    let failed = "stub-ld failed with exit status";
    for (image, output) in
        [(".tmp_vmlinux1", ".tmp_vmlinux1"), ("vmlinux", ".tmp_vmlinux.unfinished")]
    {
        let step = format!("LD {image}: ");
        link(&tree, output, "exit 1", 1, &[&step, failed, " 1"]);
        // It may have written a part of the kernel before.
        let body = format!("echo half > {output}; exit 42");
        link(&tree, output, &body, 42, &[&step, failed, " 42"]);
    }
}

#[test]
fn a_killed_linker_is_told_from_a_failing_one() {
    let tree = Tree::new();
    let parts = ["LD .tmp_vmlinux2: ", "stub-ld was killed by SIGKILL"];
    let result = link(&tree, ".tmp_vmlinux2", "kill -9 $$", 1, &parts);
    assert!(result.err.contains("memory runs out"), "{}", result.err);
    let parts = ["LD vmlinux: ", "stub-ld was killed by SIGSEGV"];
    link(&tree, ".tmp_vmlinux.unfinished", "kill -SEGV $$", 1, &parts);
}

#[test]
fn a_linker_that_makes_nothing_is_found_out() {
    let tree = Tree::new();
    let parts = ["NM .tmp_vmlinux1.syms: ", "/.tmp_vmlinux1: ", "No such file"];
    link(&tree, ".tmp_vmlinux1", "exit 0", 1, &parts);
}

#[test]
fn a_missing_linker_is_named() {
    let tree = Tree::new();
    let missing = run(&mut tree.link_with("no-such-ld"));
    missing.fails(1, &["LD .tmp_vmlinux1: ", "no-such-ld: no such program"]);
    tree.write("not-executable", "");
    let linker = tree.path("not-executable");
    let refused = run(&mut tree.link_with(linker.to_str().unwrap()));
    refused.fails(1, &["LD .tmp_vmlinux1: ", "not-executable: ", "Permission denied"]);
    tree.assert_no_result();
}

#[test]
fn a_failing_make_ends_the_link_before_it_begins() {
    let tree = Tree::new();
    let result = run(tree.link().env("MAKE", tree.stub("stub-make", "exit 2")));
    result.fails(2, &["MAKE init/version-timestamp.o: ", "stub-make failed with exit status 2"]);
    let result = run(tree.link().env("MAKE", "no-such-make"));
    result.fails(1, &["MAKE init/version-timestamp.o: ", "no-such-make: no such program"]);
    tree.assert_no_result();
}

#[test]
fn a_failing_pahole_is_told_with_the_kernels_words() {
    let tree = Tree::new();
    tree.configure(&["MODULES", "KALLSYMS", "DEBUG_INFO_BTF"]);
    let step = "BTF .tmp_vmlinux1.btf.o: ";
    let cases = [
        ("exit 3", "stub-pahole failed with exit status 3"),
        ("kill -9 $$", "stub-pahole was killed by SIGKILL"),
        ("exit 0", "/.tmp_vmlinux1: pahole wrote no BTF of it"),
    ];
    for engine in ["btf=pahole", "btfobj=kernel"] {
        let link = |pahole: &str| {
            let mut command = tree.link();
            command.env("VMLINKER_FLAGS", format!("--engine {engine}")).env("PAHOLE", pahole);
            run(&mut command)
        };
        for (body, cause) in &cases {
            let result = link(&tree.stub("stub-pahole", body));
            result.fails(1, &[step, cause]);
            assert!(result.err.ends_with(BTF), "{}", result.err);
            tree.assert_no_result();
        }
        let result = link("no-such-pahole");
        result.fails(1, &[step, "no-such-pahole: no such program"]);
        assert!(result.err.ends_with(BTF), "{}", result.err);
        let result = link("");
        result.fails(1, &[step, "$PAHOLE is not set"]);
        assert!(result.err.ends_with(BTF), "{}", result.err);
        tree.assert_no_result();
    }
}

#[test]
fn types_that_are_no_btf_are_refused() {
    let tree = Tree::new();
    tree.configure(&["MODULES", "KALLSYMS", "DEBUG_INFO_BTF"]);
    let body = "for w; do case $w in --btf_encode_detached=*) echo junk > ${w#*=};; esac; done";
    let mut link = tree.link();
    link.env("VMLINKER_FLAGS", "--engine btf=pahole").env("PAHOLE", tree.stub("stub-pahole", body));
    let result = run(&mut link);
    result.fails(1, &["BTF .tmp_vmlinux1.btf.o: ", "/.tmp_vmlinux1: ", "pahole wrote no BTF"]);
    tree.assert_no_result();
    assert!(!tree.has(".tmp_vmlinux1.BTF.pahole"));
}

#[test]
fn a_kernel_without_debug_information_has_no_types() {
    let tree = Tree::new();
    tree.configure(&["MODULES", "KALLSYMS", "DEBUG_INFO_BTF"]);
    let result = run(&mut tree.link());
    result.fails(1, &["BTF .tmp_vmlinux1.btf.o: ", "/.tmp_vmlinux1: "]);
    assert!(result.err.contains("CONFIG_DEBUG_INFO"), "{}", result.err);
    assert!(result.err.ends_with(BTF), "{}", result.err);
    tree.assert_no_result();
}

#[test]
fn a_pahole_that_is_not_imitated_is_called_and_named() {
    let tree = Tree::new();
    tree.configure(&["MODULES", "KALLSYMS", "DEBUG_INFO_BTF"]);
    let cases = [
        ("CONFIG_PAHOLE_VERSION=124", "CONFIG_PAHOLE_VERSION=130", "", "pahole 1.30 are not known"),
        ("", "", "--no_such_flag", "$PAHOLE_FLAGS: "),
    ];
    for (from, to, flags, reason) in cases {
        let config = tree.read("include/config/auto.conf");
        tree.write("include/config/auto.conf", config.replace(from, to));
        let mut link = tree.link();
        link.env("PAHOLE", tree.stub("stub-pahole", "exit 3")).env("PAHOLE_FLAGS", flags);
        let result = run(&mut link);
        let lines: Vec<&str> = result.err.lines().collect();
        let told = lines[0].strip_prefix("vmlinker: the kernel's own tool does 'btf': ");
        assert!(told.is_some_and(|told| told.contains(reason)), "{}", result.err);
        assert!(lines[1].starts_with("vmlinker: BTF .tmp_vmlinux1.btf.o: "), "{}", result.err);
        assert!(lines[1].ends_with("stub-pahole failed with exit status 3"), "{}", result.err);
        let result = run(link.env("VMLINKER_FLAGS", "--engine btf=native"));
        result.fails(1, &["the native engine cannot do 'btf': ", reason]);
        tree.write("include/config/auto.conf", config);
    }
}

/// A linker that gives the symbol `drifting` one address in the temporary links, another in the last.
fn drifting_linker(tree: &Tree) -> String {
    let last = "*'-o .tmp_vmlinux.unfinished '*";
    let body = format!(
        "at=0x1000 late=; case \"$*\" in {last}) at=0x2000 late=--defsym=late=0x3000;; esac\n\
         exec ld --defsym=drifting=$at $late \"$@\""
    );
    tree.stub("stub-ld", &body)
}

#[test]
fn symbols_that_moved_in_the_last_link_are_named_and_the_evidence_is_kept() {
    let tree = Tree::new();
    let linker = drifting_linker(&tree);
    tree.write("vmlinux", "old");
    let result = run(&mut tree.link_with(&linker));
    result.fails(1, &["CMP System.map: ", "symbols are not those that kallsyms holds"]);
    assert!(result.err.contains(INCONSISTENT), "{}", result.err);
    let drifted = "  drifting: 1000 A in kallsyms, 2000 A in vmlinux\n";
    assert!(result.err.contains(drifted), "{}", result.err);
    assert!(result.err.contains("  late: absent in kallsyms, 3000 A in vmlinux\n"));
    assert!(!tree.has("vmlinux"));
    for kept in [".tmp_vmlinux.unfinished", ".tmp_vmlinux2", ".tmp_vmlinux2.syms", "System.map"] {
        assert!(tree.has(kept), "{kept} is gone");
    }
    assert!(result.err.contains(".tmp_vmlinux.unfinished"), "{}", result.err);
    tree.assert_nothing_half_written();
}

#[test]
fn the_kernels_own_tools_fail_as_clearly() {
    let tree = Tree::new();
    let link = |part: &str, variable: &str, value: &str| {
        let mut command = tree.link();
        run(command.env("VMLINKER_FLAGS", format!("--engine {part}=kernel")).env(variable, value))
    };
    let nm = tree.stub("stub-nm", "exit 5");
    let result = link("sysmap", "NM", &nm);
    result.fails(5, &["NM .tmp_vmlinux1.syms: ", "stub-nm failed with exit status 5"]);
    let result = link("kallsyms", "LANG", "C");
    result.fails(1, &["KSYMS .tmp_vmlinux0.kallsyms.S: ", "scripts/kallsyms: no such program"]);
    tree.stub("scripts/kallsyms", "exit 0");
    let cc = tree.stub("stub-cc", "exit 6");
    let result = link("kallsyms", "CC", &cc);
    result.fails(6, &["AS .tmp_vmlinux0.kallsyms.o: ", "stub-cc failed with exit status 6"]);
    tree.assert_no_result();
}
