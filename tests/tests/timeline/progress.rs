//! Progress: bars on a terminal and only there, and Kbuild's lines as ever.
//!
//! `script` gives the program a terminal of its own. A bar appears after half a second; here, at once.

use std::process::Command;

use peer_tests::link::{Recorded, scratch, vmlinker};
use peer_tests::run;

/// What a link prints on a terminal, standard error included, with these words and variables.
fn on_a_terminal(words: &str, variables: &[(&str, &str)]) -> String {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").dir;
    let (program, output) = (vmlinker().display(), dir.path().join("out"));
    let (kernel, output) = (kernel.display(), output.display());
    let line = format!("'{program}' relink -C '{kernel}' --output '{output}' --cold {words}");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    plain(&mut script, variables);
    String::from_utf8_lossy(&run(script.env("TERM", "xterm-256color"))).into_owned()
}

/// No make around it, and bars at once.
fn plain(command: &mut Command, variables: &[(&str, &str)]) {
    for name in ["MAKELEVEL", "MAKEFLAGS", "MFLAGS", "NO_COLOR", "KBUILD_VERBOSE"] {
        command.env_remove(name);
    }
    command.env("VMLINKER_PROGRESS_MS", "0").envs(variables.iter().copied());
}

/// Whether a bar was drawn for this step.
fn has_bar(text: &str, verb: &str) -> bool {
    text.contains(&format!("  {verb:7} ["))
}

/// The lines of steps alone; what the kernel's tools warn of is told also elsewhere.
fn step_lines(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.trim_end_matches('\r'));
    let verbs = ["AS", "BTF", "BTFIDS", "DEBUG", "KSYMS", "LD", "NM", "SORTTAB"];
    lines
        .filter(|line| verbs.iter().any(|verb| line.starts_with(&format!("  {verb:<7} "))))
        .collect()
}

#[test]
fn long_work_has_a_bar_on_a_terminal() {
    let text = on_a_terminal("", &[]);
    assert!(has_bar(&text, "BTF") && has_bar(&text, "DEBUG"), "{text:?}");
    assert!(text.contains('%') && text.contains("=>"), "{text:?}");
    // Bars are taken away before the next line, and leave none behind.
    assert!(
        text.contains("\r\n  BTFIDS  vmlinux\r\n") || text.contains("  BTFIDS  vmlinux\r\n"),
        "{text:?}"
    );
    // Nothing is coloured: a sequence for that ends in an m.
    let coloured = text.split("\x1b[").skip(1).any(|rest| {
        rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
    });
    assert!(!coloured, "{text:?}");
}

#[test]
fn under_make_and_when_it_is_to_be_quiet_there_is_none() {
    let text = on_a_terminal("", &[("MAKELEVEL", "1")]);
    assert!(!text.contains('\x1b') && !text.contains('%'), "{text:?}");
    let steps = step_lines(&text);
    assert!(
        steps.contains(&"  DEBUG   vmlinux") && steps.contains(&"  NM      System.map"),
        "{text:?}"
    );
    let text = on_a_terminal("--quiet", &[]);
    assert!(!text.contains('\x1b') && !text.contains('%'), "{text:?}");
    assert_eq!(step_lines(&text), [""; 0]);
}

#[test]
fn without_a_terminal_there_are_kbuilds_lines_alone() {
    let dir = scratch();
    let mut relink = Command::new(vmlinker());
    relink.arg("relink").arg("-C").arg(Recorded::of("6.12-tiny").dir);
    relink.arg("--output").arg(dir.path().join("out")).arg("--cold");
    plain(&mut relink, &[]);
    let output = relink.output().expect("vmlinker was built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert_eq!(step_lines(&out).len(), out.lines().count(), "{out}");
    assert!(!err.contains('\x1b') && !err.contains('%') && !err.contains(" ["), "{err}");
}

#[test]
fn a_pahole_by_hand_has_a_bar_too() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").dir.join("vmlinux");
    let (program, blob) = (vmlinker().display(), dir.path().join("btf"));
    let line = format!(
        "'{program}' pahole -J --btf_encode_detached='{}' '{}'",
        blob.display(),
        kernel.display()
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    plain(&mut script, &[]);
    let text = run(script.env("TERM", "xterm-256color"));
    let text = String::from_utf8_lossy(&text);
    assert!(has_bar(&text, "BTF"), "{text:?}");
}
