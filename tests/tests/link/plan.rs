//! The plan on the command line. That the plan of a tree names what its script does is in `engines`.

use std::process::Command;

use peer_tests::link::{Recorded, vmlinker};
use peer_tests::run;

fn plan(words: &[&str]) -> Vec<String> {
    let mut command = Command::new(vmlinker());
    command.arg("plan").args(words).env_remove("KALLSYMS_EXTRA_PASS");
    String::from_utf8(run(&mut command)).unwrap().lines().map(str::to_owned).collect()
}

const BOTH: [&str; 4] = ["--config", "KALLSYMS,DEBUG_INFO_BTF", "--engine", "kernel"];

#[test]
fn the_separate_schedule_has_thirteen_steps_and_three_temporary_links() {
    let expected = "  KSYMS   .tmp_vmlinux.kallsyms0.S
  AS      .tmp_vmlinux.kallsyms0.o
  LD      .tmp_vmlinux.btf
  BTF     .btf.vmlinux.bin.o
  LD      .tmp_vmlinux.kallsyms1
  NM      .tmp_vmlinux.kallsyms1.syms
  KSYMS   .tmp_vmlinux.kallsyms1.S
  AS      .tmp_vmlinux.kallsyms1.o
  LD      .tmp_vmlinux.kallsyms2
  NM      .tmp_vmlinux.kallsyms2.syms
  KSYMS   .tmp_vmlinux.kallsyms2.S
  AS      .tmp_vmlinux.kallsyms2.o
  LD      vmlinux
3 temporary links and the final one; then BTFIDS vmlinux, NM System.map";
    let lines = plan(&[&BOTH[..], &["--schedule", "separate"]].concat());
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
}

#[test]
fn the_merged_schedule_has_two_temporary_links() {
    let expected = "  KSYMS   .tmp_vmlinux0.kallsyms.S
  AS      .tmp_vmlinux0.kallsyms.o
  LD      .tmp_vmlinux1
  BTF     .tmp_vmlinux1.btf.o
  NM      .tmp_vmlinux1.syms
  KSYMS   .tmp_vmlinux1.kallsyms.S
  AS      .tmp_vmlinux1.kallsyms.o
  LD      .tmp_vmlinux2
  NM      .tmp_vmlinux2.syms
  KSYMS   .tmp_vmlinux2.kallsyms.S
  AS      .tmp_vmlinux2.kallsyms.o
  LD      vmlinux
2 temporary links and the final one; then BTFIDS vmlinux, NM System.map";
    let lines = plan(&[&BOTH[..], &["--schedule", "merged"]].concat());
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
}

#[test]
fn every_step_of_a_tree_has_a_reason_and_json_has_the_same_steps() {
    let tree = Recorded::of("6.12-tiny").dir;
    let tree = tree.to_str().unwrap();
    let why = plan(&["-C", tree, "--why"]);
    let reasoned = |line: &&String| ["native)", "linker)"].iter().any(|end| line.ends_with(end));
    let steps: Vec<&String> = why.iter().filter(|line| line.starts_with("  ")).collect();
    assert!(steps.iter().all(reasoned), "{why:#?}");
    let json: serde_json::Value =
        serde_json::from_str(&plan(&["-C", tree, "--json"]).concat()).unwrap();
    assert_eq!(json["temporary_links"], 2);
    assert_eq!(json["schedule"], "lean");
}
