//! `vmlinker doctor` on real trees and on what goes wrong with them: it says so, and what to do, and ends with 1 where
//! a link would fail.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use peer_tests::link::{Recorded, vmlinker};
use peer_tests::{run, source};
use serde_json::Value;
use tempfile::TempDir;

/// What the doctor says of a tree.
struct Said {
    status: Option<i32>,
    json: Value,
}

impl Said {
    fn by(command: &mut Command) -> Said {
        let output = command.output().expect("vmlinker was built");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let json = serde_json::from_str(&text);
        let said = String::from_utf8_lossy(&output.stderr);
        let json = json.unwrap_or_else(|e| panic!("{e}: {text}{said}"));
        Said { status: output.status.code(), json }
    }

    fn of(tree: &Path, words: &[&str]) -> Said {
        Said::by(doctor(vmlinker(), tree).args(words))
    }

    /// The findings of that level about that, with what to do.
    fn findings(&self, level: &str, about: &str) -> Vec<String> {
        let findings = self.json["findings"].as_array().expect("findings are a list");
        let found = findings.iter().filter(|f| f["level"] == level && f["about"] == about);
        let text = |f: &Value| format!("{} -> {}", f["what"].as_str().unwrap(), f["next"]);
        found.map(text).collect()
    }

    /// The status says the same as the findings; all that is not as it should be, but for the installation, says
    /// what to do.
    fn works(&self) -> bool {
        let works = self.json["works"].as_bool().expect("works is a truth value");
        assert_eq!(self.status, Some(if works { 0 } else { 1 }), "{:#}", self.json);
        for finding in self.json["findings"].as_array().expect("findings are a list") {
            let told = finding["level"] == "ok" || finding["next"].is_string();
            assert!(told, "no advice: {finding}");
        }
        works
    }

    #[track_caller]
    fn assert_one(&self, level: &str, about: &str, words: &str) {
        let found = self.findings(level, about);
        assert!(found.iter().any(|text| text.contains(words)), "{words}: {:#}", self.json);
        assert_eq!(self.works(), level != "problem");
    }
}

fn doctor(program: &Path, tree: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["doctor", "--json", "-C"]).arg(tree);
    command
}

/// A view of the tree 6.12 with another record.
fn altered(change: impl FnOnce(&mut Value)) -> (TempDir, Recorded) {
    let dir = tempfile::tempdir().unwrap();
    let tree = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), change);
    (dir, tree)
}

/// A view of the tree 6.12 in which the file `name` of its top directory is `bytes`, or is missing.
fn exchanged(name: &str, bytes: Option<&[u8]>) -> (TempDir, Recorded) {
    let (dir, tree) = altered(|_| ());
    let file = tree.dir.join(name);
    if file.symlink_metadata().is_ok() {
        fs::remove_file(&file).unwrap();
    }
    if let Some(bytes) = bytes {
        fs::write(&file, bytes).unwrap();
    }
    (dir, tree)
}

/// Sources of 6.12 with what a link reads there, in which vmlinker may be installed; and a tree built of them, but for
/// its kernel: a small object with debug information takes that place.
fn small() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (sources, build) = (dir.path().join("source"), dir.path().join("build"));
    for at in [sources.join("scripts"), build.join("include/config"), build.join("init")] {
        fs::create_dir_all(at).unwrap();
    }
    let copy = |from: PathBuf, to: PathBuf| run(Command::new("cp").arg("-p").arg(from).arg(to));
    let scripts = ["link-vmlinux.sh", "mksysmap", "kallsyms.c", "sorttable.c", "sorttable.h"];
    for name in
        scripts.map(|name| format!("scripts/{name}")).iter().chain(["Makefile".into()].iter())
    {
        if source("6.12").join(name).exists() {
            copy(source("6.12").join(name), sources.join(name));
        }
    }
    let orc = "tools/arch/x86/include/asm";
    fs::create_dir_all(sources.join(orc)).unwrap();
    let orc = format!("{orc}/orc_types.h");
    copy(source("6.12").join(&orc), sources.join(&orc));
    let built = Recorded::of("6.12-tiny").dir;
    for name in ["auto.conf", "kernel.release"].map(|name| format!("include/config/{name}")) {
        copy(built.join(&name), build.join(&name));
    }
    copy(built.join("init/version-timestamp.o"), build.join("vmlinux.o"));
    std::os::unix::fs::symlink(&sources, build.join("source")).unwrap();
    // Whoever looks at it has to get there.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    (dir, sources, build)
}

#[test]
fn a_link_of_each_tree_would_work_and_the_plan_is_the_one_of_plan() {
    for (name, release) in [("6.1-tiny", "6.1."), ("6.12-tiny", "6.12."), ("7.3-tiny", "7.3.")] {
        let tree = Recorded::of(name).dir;
        let said = Said::of(&tree, &[]);
        assert!(said.works(), "{:#}", said.json);
        assert!(said.json["release"].as_str().unwrap().starts_with(release));
        assert_eq!(said.json["plan"]["schedule"], "lean");
        let plan = run(Command::new(vmlinker()).args(["plan", "--json", "-C"]).arg(&tree));
        let plan: Value = serde_json::from_slice(&plan).unwrap();
        assert_eq!(said.json["plan"], plan, "{name}");
        assert_eq!(said.findings("ok", "linker").len(), 1);
        assert_eq!(said.findings("ok", "pahole").len(), 1);

        // The kernel's own tools are there too.
        let said = Said::of(&tree, &["--engine", "kernel"]);
        assert!(said.works(), "{name}: {:#}", said.json);
        let programs = said.findings("ok", "programs").concat();
        let expected = ["scripts/kallsyms", "pahole", "resolve_btfids", "scripts/sorttable", "nm"];
        expected.iter().for_each(|word| assert!(programs.contains(word), "{name}: {programs}"));
    }
}

#[test]
fn the_text_is_short_and_aligned() {
    let tree = Recorded::of("6.12-tiny").dir;
    let text = run(Command::new(vmlinker()).args(["doctor", "-C"]).arg(&tree));
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() < 20, "{text}");
    assert!(lines[0].ends_with(&format!("/6.12-tiny: Linux {}", release(&tree))), "{text}");
    assert_eq!(lines.last(), Some(&"A link would work."), "{text}");
    for line in &lines[1..lines.len() - 1] {
        let begin = ["  ok       ", "  note     ", "                      -> "];
        assert!(begin.iter().any(|begin| line.starts_with(begin)), "{line}");
    }
}

fn release(tree: &Path) -> String {
    fs::read_to_string(tree.join("include/config/kernel.release")).unwrap().trim().to_owned()
}

#[test]
fn a_linker_that_is_not_known_is_a_note_and_one_that_is_missing_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    let ld = dir.path().join("ld");
    fs::write(&ld, "#!/bin/sh\necho 'GNU ld (GNU Binutils) 2.99'\n").unwrap();
    fs::set_permissions(&ld, fs::Permissions::from_mode(0o755)).unwrap();
    let named = |ld: &Path| altered(|record| record["call"]["ld"] = ld.to_str().unwrap().into());
    let (_dir, tree) = named(&ld);
    let said = Said::of(&tree.dir, &[]);
    said.assert_one("note", "linker", "2.99; the lean schedule does not know it");
    said.assert_one("note", "schedule", "merged: 2 temporary links and the final one; not lean");
    assert_eq!(said.json["plan"]["schedule"], "merged");
    let said = Said::of(&tree.dir, &["--debug-info", "drop"]);
    said.assert_one("problem", "schedule", "--debug-info=drop is the lean schedule's");
    let (_dir, tree) = named(&dir.path().join("gone"));
    Said::of(&tree.dir, &[]).assert_one("problem", "linker", "gone: no such program");
}

#[test]
fn objects_that_are_missing_or_without_dwarf_are_problems() {
    let (_dir, tree) = exchanged("vmlinux.o", None);
    Said::of(&tree.dir, &[]).assert_one("problem", "objects", "vmlinux.o: No such file");
    let (_dir, tree) = exchanged("vmlinux.o", Some(b"no object"));
    Said::of(&tree.dir, &[]).assert_one("problem", "objects", "vmlinux.o: ");
    let (_dir, tree) = exchanged(".vmlinux.export.o", None);
    Said::of(&tree.dir, &[]).assert_one("problem", "objects", ".vmlinux.export.o: No such file");

    let (_dir, tree) = exchanged("vmlinux.o", None);
    let object = Recorded::of("6.12-tiny").dir.join("init/version-timestamp.o");
    let mut strip = Command::new("objcopy");
    run(strip.arg("--strip-debug").arg(object).arg(tree.dir.join("vmlinux.o")));
    Said::of(&tree.dir, &[]).assert_one("problem", "objects", "no debug information (.debug_info)");
}

#[test]
fn a_record_that_is_missing_or_foreign_is_a_note() {
    let (_dir, tree) = exchanged(".vmlinker.json", None);
    let said = Said::of(&tree.dir, &[]);
    said.assert_one("note", "record", "no link has been recorded");
    said.assert_one("note", "schedule", "no link has been recorded in this tree");
    let (_dir, tree) = exchanged(".vmlinker.json", Some(b"{}"));
    Said::of(&tree.dir, &[]).assert_one("note", "record", "not a record of a link");
}

#[test]
fn a_pahole_that_is_not_imitated_is_a_note_and_a_missing_one_a_problem() {
    let (_dir, tree) = altered(|_| ());
    tree.configure("PAHOLE_VERSION", "125");
    let said = Said::of(&tree.dir, &[]);
    said.assert_one("note", "engines", "btf: the kernel's own tool: the bytes of pahole 1.25");
    said.assert_one(
        "note",
        "pahole",
        "configured with 1.25: its bytes are not known; pahole is 1.24 now",
    );

    let (_dir, tree) = altered(|record| record["call"]["env"]["PAHOLE"] = "/no/pahole".into());
    assert!(Said::of(&tree.dir, &[]).works(), "nobody runs it");
    let said = Said::of(&tree.dir, &["--engine", "btf=pahole"]);
    said.assert_one("problem", "programs", "needs /no/pahole: no such program");
}

#[test]
fn the_kernels_own_tools_are_missed_only_where_they_are_needed() {
    let (_dir, tree) = altered(|_| ());
    tree.exchange_tool("scripts", "sorttable", "");
    let tool = tree.dir.join("scripts/sorttable");
    fs::remove_file(tool).unwrap();
    assert!(Said::of(&tree.dir, &[]).works());
    let said = Said::of(&tree.dir, &["--engine", "sorttable=kernel"]);
    said.assert_one("problem", "programs", "SORTTAB vmlinux needs ./scripts/sorttable");
}

#[test]
fn an_installed_script_is_found_whole_broken_replaced_or_without_its_program() {
    let (dir, sources, build) = small();
    let script = sources.join("scripts/link-vmlinux.sh");
    Said::of(&build, &[]).assert_one("note", "make", "vmlinker is not installed");
    let program = dir.path().join("vmlinker");
    fs::copy(vmlinker(), &program).unwrap();
    run(Command::new(&program).arg("install").arg(&sources));
    Said::of(&build, &[]).assert_one("ok", "make", program.to_str().unwrap());

    let whole = fs::read_to_string(&script).unwrap();
    fs::write(&script, &whole[..whole.len() / 2]).unwrap();
    Said::of(&build, &[]).assert_one("problem", "make", "is not as vmlinker wrote it");
    fs::remove_file(&script).unwrap();
    Said::of(&build, &[]).assert_one("problem", "make", "there is no scripts/link-vmlinux.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    Said::of(&build, &[]).assert_one("note", "make", "a script that has taken the place");
    fs::write(&script, &whole).unwrap();
    fs::remove_file(&program).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Said::of(&build, &[]).assert_one("note", "make", "vmlinker is gone");
    fs::remove_file(sources.join("scripts/.link-vmlinux.sh.kernel")).unwrap();
    Said::of(&build, &[]).assert_one("problem", "make", "the kernel's own script is not at");
}

#[test]
fn a_tree_of_another_user_is_a_problem() {
    let (dir, _, build) = small();
    // A program that anybody can reach; the test's own may be below a home directory.
    let program = dir.path().join("vmlinker");
    fs::copy(vmlinker(), &program).unwrap();
    assert!(Said::of(&build, &[]).works());
    // Root may write anywhere: as root it has to be somebody else.
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let root = run(Command::new("id").arg("-u")) == b"0\n";
    let said = if root {
        let mut setpriv = Command::new(as_nobody[0]);
        setpriv.args(&as_nobody[1..]).arg(&program).args(["doctor", "--json", "-C"]).arg(&build);
        Said::by(&mut setpriv)
    } else {
        fs::set_permissions(&build, fs::Permissions::from_mode(0o555)).unwrap();
        Said::of(&build, &[])
    };
    let words = if root { "it belongs to user 0, you are user 65534" } else { "is not writable" };
    said.assert_one("problem", "rights", words);
}

#[test]
fn what_is_no_kernel_tree_is_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    Said::of(dir.path(), &[]).assert_one("problem", "tree", "no kernel sources found");
    let (_dir, _, build) = small();
    fs::remove_file(build.join("include/config/auto.conf")).unwrap();
    Said::of(&build, &[]).assert_one("problem", "tree", "auto.conf: No such file");
    let said = Said::of(&Recorded::of("6.12-tiny").dir, &["--engine", "btf=native,btfobj=kernel"]);
    said.assert_one("problem", "engines", "runs pahole itself");
}
