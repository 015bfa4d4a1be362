//! Links that are not the everyday one: another linker, another pahole, a map, the extra pass, symbols that
//! disagree.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use peer_tests::cache;
use peer_tests::link::{Linked, Recorded, assert_same_bytes, scratch};
use serde_json::Value;

/// A linker as Debian names it; it is lld whatever the rest of the machine uses.
pub const LLD: &str = "ld.lld-19";

/// The two lines that the kernel's script prints when System.map and kallsyms disagree.
const INCONSISTENT: &str =
    "Inconsistent kallsyms data\nTry \"make KALLSYMS_EXTRA_PASS=1\" as a workaround\n";

/// Kbuild asks the linker whether it knows this flag; lld does not, so a build with lld has none.
pub fn without_the_flag_of_gnu_ld(record: &mut Value) {
    let flags = record["call"]["ldflags"].as_str().unwrap();
    record["call"]["ldflags"] = flags.replace("--no-warn-rwx-segments", "").into();
}

fn same_with_lld(name: &str) {
    let dir = scratch();
    let kernel = Recorded::of(name).altered(&dir.path().join("build"), without_the_flag_of_gnu_ld);
    let script = kernel.relink(&dir.path().join("script"), &["--ld", LLD, "--script"]);
    lean_is_the_same(&kernel, &script, &["--ld", LLD], name);
    let merged = ["--schedule", "merged", "--ld", LLD];
    let ours = kernel.relink(&dir.path().join("ours"), &merged);
    ours.assert_same(&script, &format!("{name}, linked by {LLD}"));
    // It was lld indeed: it signs what it links.
    let bytes = fs::read(&ours.vmlinux).unwrap();
    let elf = image::Elf::parse(&bytes).unwrap();
    let (_, comment) = elf.section(".comment").expect("a section .comment");
    let comment = String::from_utf8_lossy(elf.bytes(comment).unwrap());
    assert!(comment.contains("LLD"), "{comment:?}");
}

/// Links by the lean schedule, cold and then from the sizes of that link, and compares with the kernel's script.
fn lean_is_the_same(kernel: &Recorded, script: &Linked, words: &[&str], name: &str) {
    let dir = scratch();
    for (pass, links) in [(&["--cold", "--remember"][..], 2), (&[], 1)] {
        let words = [&["--schedule", "lean"], pass, words].concat();
        let what = format!("{name}, relink {}", words.join(" "));
        let lean = dir.path().join("lean");
        let output = kernel.try_relink(&lean, &words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {said}");
        // Neither another schedule nor a link with debug information.
        assert!(!said.contains("not lean") && !said.contains("once more"), "{what}: {said}");
        let steps = String::from_utf8_lossy(&output.stdout);
        let linked = steps.lines().filter(|line| line.starts_with("  LD ")).count();
        assert_eq!(linked, links, "{what}: {steps}");
        assert_same_bytes(&lean, &script.vmlinux, &what);
    }
}

/// In a tree of `LLVM=1` clang assembles the tables, and adds a line number program that names them.
#[test]
fn tables_from_clangs_assembler_have_debug_information() {
    let dir = scratch();
    let (lean, own) = (&["--schedule", "lean"][..], &["--schedule", "separate"][..]);
    let merged = &["--schedule", "merged"][..];
    // 6.1 has another name for the file of the tables, which only its own schedule gives it.
    let not_lean = "the schedule is separate, not lean: clang's assembler names the tables' file";
    let kernels = [("6.12-tiny", merged, ""), ("6.1-tiny", own, not_lean)];
    for (name, own, reason) in kernels {
        let kernel = Recorded::of(name).altered(&dir.path().join(name), |record| {
            let env = &mut record["call"]["env"];
            env["CC"] = "clang-19".into();
            env["KBUILD_AFLAGS"] = "-D__ASSEMBLY__ -fno-PIE -m64 -g -gdwarf-5".into();
        });
        kernel.enable("AS_IS_LLVM");
        let script = kernel.relink(&dir.path().join("script"), &["--script"]);
        for (words, reason) in [(lean, reason), (own, "")] {
            let (ours, what) = (dir.path().join("ours"), format!("{name}, {words:?}"));
            let output = kernel.try_relink(&ours, words);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{what}: {said}");
            assert!(said.contains("'kallsyms': clang's assembler adds debug"), "{what}: {said}");
            assert_eq!(said.contains("not lean"), !reason.is_empty(), "{what}: {said}");
            assert!(!said.contains("once more") && said.contains(reason), "{what}: {said}");
            assert_same_bytes(&ours, &script.vmlinux, &what);
        }
    }
}

/// Where the lean schedule cannot be followed, the tree's own is, and the reason is said.
#[test]
fn lean_gives_way_to_the_trees_own_schedule_where_it_is_not_known() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny");
    let said = |kernel: &Recorded, words: &[&str]| {
        let words = [&["--schedule", "lean"], words].concat();
        let output = kernel.try_relink(&dir.path().join("out"), &words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let steps = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(steps.contains("  LD      vmlinux\n"), "{steps}");
        said
    };
    let line = "vmlinker: the schedule is merged, not lean: ";
    let other = linker_of_another_version(dir.path());
    let words = ["--ld", other.to_str().unwrap()];
    let of_lld = kernel.altered(&dir.path().join("lld"), without_the_flag_of_gnu_ld);
    let cause = "not supported: the linker LLD 99.1.7";
    assert!(said(&of_lld, &words).contains(&format!("{line}{cause}")));
    let mapped = kernel.altered(&dir.path().join("mapped"), |_| ());
    mapped.enable("VMLINUX_MAP");
    assert!(said(&mapped, &[]).contains(&format!("{line}CONFIG_VMLINUX_MAP ")));
}

/// It says that it is another version than it is.
fn linker_of_another_version(dir: &Path) -> PathBuf {
    let path = dir.join("another-ld");
    let text = format!(
        "#!/bin/sh\n\
         case \"$*\" in\n\
         *--version*|-v) echo 'LLD 99.1.7 (compatible with GNU linkers)';;\n\
         *) exec {LLD} \"$@\";;\n\
         esac\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn lld_links_6_1_to_the_same_bytes() {
    same_with_lld("6.1-tiny");
}

#[test]
fn lld_links_6_12_to_the_same_bytes() {
    same_with_lld("6.12-tiny");
}

#[test]
fn lld_links_7_3_to_the_same_bytes() {
    same_with_lld("7.3-tiny");
}

/// As x86 links where the kernel can be moved.
#[test]
fn lld_links_6_12_with_kept_relocations_to_the_same_bytes() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |record| {
        without_the_flag_of_gnu_ld(record);
        let flags = record["call"]["ldflags_vmlinux"].as_str().unwrap();
        let flags = format!("{flags} --emit-relocs --discard-none");
        record["call"]["ldflags_vmlinux"] = flags.into();
    });
    let script = kernel.relink(&dir.path().join("script"), &["--ld", LLD, "--script"]);
    lean_is_the_same(&kernel, &script, &["--ld", LLD], "6.12-tiny with --emit-relocs");
}

/// A tree as Kbuild configures it with the newest pahole: the flags are those of `scripts/Makefile.btf`.
fn same_with_the_newest_pahole(name: &str, features: &str) {
    let pahole = cache().join("peers/bin/pahole-1.32");
    let dir = scratch();
    let kernel = Recorded::of(name).altered(&dir.path().join("build"), |record| {
        record["call"]["env"]["PAHOLE"] = pahole.to_str().unwrap().into();
        record["call"]["env"]["PAHOLE_FLAGS"] =
            format!("-j --btf_features={features} --lang_exclude=rust").into();
    });
    kernel.configure("PAHOLE_VERSION", "132");
    let script = kernel.relink(&dir.path().join("script"), &["--script"]);
    for words in [&[][..], &["--engine", "btf=pahole"], &["--engine", "btfids=kernel"]] {
        let ours = kernel.relink(&dir.path().join("ours"), words);
        ours.assert_same(&script, &format!("{name}, pahole 1.32, {}", words.join(" ")));
        ours.discard();
    }
}

#[test]
fn the_newest_pahole_makes_6_12_of_the_same_bytes() {
    same_with_the_newest_pahole(
        "6.12-tiny",
        "encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func,decl_tag_kfuncs",
    );
}

#[test]
fn the_newest_pahole_makes_7_3_of_the_same_bytes() {
    same_with_the_newest_pahole(
        "7.3-tiny",
        "encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func",
    );
}

fn same_map(name: &str) {
    let dir = scratch();
    let kernel = Recorded::of(name).altered(&dir.path().join("build"), |_| ());
    kernel.enable("VMLINUX_MAP");
    let script = kernel.relink(&dir.path().join("script"), &["--script"]);
    let ours = kernel.relink(&dir.path().join("ours"), &[]);
    ours.assert_same(&script, &format!("{name} with CONFIG_VMLINUX_MAP"));
    assert_same_bytes(&ours.map, &script.map, &format!("{name}, the linker's map"));
    assert!(fs::metadata(&ours.map).unwrap().len() > 100_000);
}

#[test]
fn the_linkers_map_of_6_12_is_the_same() {
    same_map("6.12-tiny");
}

#[test]
fn the_linkers_map_of_7_3_is_the_same() {
    same_map("7.3-tiny");
}

#[test]
fn the_extra_pass_links_once_more_to_the_same_bytes() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny");
    let extra = kernel.altered(&dir.path().join("build"), |record| {
        record["call"]["env"]["KALLSYMS_EXTRA_PASS"] = "1".into();
    });
    let plain = kernel.relink(&dir.path().join("plain"), &[]);
    assert!(!plain.stdout.contains("3"), "{}", plain.stdout);
    let script = extra.relink(&dir.path().join("script"), &["--script"]);
    plain.assert_same(&script, "the kernel's script with KALLSYMS_EXTRA_PASS=1");
    let thirds = [
        ("merged", ".tmp_vmlinux3"),
        ("separate", ".tmp_vmlinux.kallsyms3"),
        ("lean", ".tmp_vmlinux3"),
    ];
    for (schedule, third) in thirds {
        let ours = extra.relink(&dir.path().join("ours"), &["--schedule", schedule]);
        let line = format!("  LD      {third}");
        assert!(ours.steps().contains(&line.as_str()), "{schedule}: {}", ours.stdout);
        ours.assert_same(&script, &format!("KALLSYMS_EXTRA_PASS=1, {schedule}"));
    }
}

/// A linker for which the last link moves one symbol and has another that no earlier link had.
fn fickle_linker(dir: &Path) -> PathBuf {
    let path = dir.join("fickle-ld");
    let text = "#!/bin/sh\n\
                address=0xffffffff81000100\n\
                for word; do\n\
                \tcase $word in\n\
                \t.tmp_vmlinux.unfinished|vmlinux)\n\
                \t\taddress=0xffffffff81000200\n\
                \t\tset -- \"$@\" --defsym=vmlinker_test_late=0xffffffff81000123;;\n\
                \tesac\n\
                done\n\
                exec ld \"$@\" --defsym=vmlinker_test_moves=$address\n";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn symbols_that_disagree_are_named_and_no_kernel_is_left() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny");
    let ld = fickle_linker(dir.path());
    let ld = ld.to_str().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();

    let script = kernel.try_relink(&out.join("script"), &["--ld", ld, "--script"]);
    let said = String::from_utf8_lossy(&script.stderr).into_owned();
    assert_eq!(script.status.code(), Some(1), "{said}");
    assert!(said.contains(INCONSISTENT), "the kernel's script: {said}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "the script's attempt left something");

    // The lean schedule has no last link that could disagree.
    let ours = kernel.try_relink(&out.join("ours"), &["--ld", ld, "--schedule", "merged"]);
    let said = String::from_utf8_lossy(&ours.stderr).into_owned();
    assert_eq!(ours.status.code(), Some(1), "{said}");
    assert!(said.contains(INCONSISTENT), "{said}");
    for line in [
        "  vmlinker_test_late: absent in kallsyms, ffffffff81000123 A in vmlinux",
        "  vmlinker_test_moves: ffffffff81000100 A in kallsyms, ffffffff81000200 A in vmlinux",
    ] {
        assert!(said.lines().any(|said| said == line), "{line:?} is not in:\n{said}");
    }

    let kept = said.lines().find_map(|line| line.strip_prefix("the temporary files are in "));
    let kept = Path::new(kept.unwrap_or_else(|| panic!("no word of the temporary files:\n{said}")));
    for name in [".tmp_vmlinux1", ".tmp_vmlinux2", ".tmp_vmlinux2.syms", "System.map"] {
        assert!(kept.join(name).exists(), "{name} is not kept");
    }
    assert!(!kept.join("vmlinux").exists() && !out.join("ours").exists());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "only the kept files are there");
}
