//! What a package has beside the program: manual pages that formatters take without a warning, and completions that
//! their shells take.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peer_tests::link::vmlinker;
use peer_tests::run;

fn text(command: &mut Command) -> String {
    String::from_utf8(run(command)).expect("text")
}

fn completions(shell: &str) -> String {
    text(Command::new(vmlinker()).args(["completions", shell]))
}

/// The names of the commands, as `--help` has them.
fn commands() -> Vec<String> {
    let help = text(Command::new(vmlinker()).arg("--help"));
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list = list.take_while(|line| !line.is_empty());
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    list.filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(first)
        .collect()
}

fn pages(dir: &Path) -> Vec<PathBuf> {
    run(Command::new(vmlinker()).arg("man").arg(dir));
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.collect()
}

#[test]
fn groff_and_mandoc_take_every_page_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let pages = pages(dir.path());
    assert!(pages.len() > 20, "{pages:?}");
    for page in pages {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-ww", "-K", "utf8", "-z"]).arg(&page);
        let output = groff.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", page.display());
        let mut mandoc = Command::new("mandoc");
        let said = mandoc.args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert_eq!(said, "", "{}", page.display());
    }
}

#[test]
fn the_pages_of_all_commands_are_there() {
    let dir = tempfile::tempdir().unwrap();
    pages(dir.path());
    let names = commands();
    assert!(names.len() > 12 && names.contains(&"doctor".to_owned()), "{names:?}");
    for name in names.iter().filter(|name| *name != "help") {
        assert!(dir.path().join(format!("vmlinker-{name}.1")).exists(), "{name}");
    }
    assert!(dir.path().join("vmlinker-btf-diff.1").exists());
}

#[test]
fn bash_completes_commands_options_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vmlinker.bash");
    fs::write(&file, completions("bash")).unwrap();
    let complete = |words: &[&str]| {
        let last = words.len() - 1;
        let line = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={last}; \
             _vmlinker vmlinker \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{}]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.display(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            last - 1
        );
        let text = text(Command::new("bash").args(["--norc", "-c", &line]));
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let offered = complete(&["vmlinker", ""]);
    commands().iter().for_each(|name| assert!(offered.contains(name), "{name}: {offered:?}"));
    assert_eq!(complete(&["vmlinker", "doc"]), ["doctor"]);
    assert_eq!(complete(&["vmlinker", "relink", "--out"]), ["--output"]);
    assert_eq!(complete(&["vmlinker", "btf", "di"]), ["diff", "distill"]);
}

#[test]
fn zsh_and_fish_take_their_completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["zsh", "fish"] {
        let file = dir.path().join(shell);
        fs::write(&file, completions(shell)).unwrap();
        let output = Command::new(shell).arg("-n").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{shell}: {said}");
    }
}

#[test]
fn the_version_names_the_commit_and_that_of_pahole_is_paholes() {
    let version = text(Command::new(vmlinker()).arg("--version"));
    let git = text(
        Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")),
    );
    let (plain, commit) = (env!("CARGO_PKG_VERSION"), &git[..12]);
    assert_eq!(version, format!("vmlinker {plain} ({commit})\n"));
    let dir = tempfile::tempdir().unwrap();
    let pahole = dir.path().join("vmlinker-pahole");
    std::os::unix::fs::symlink(vmlinker(), &pahole).unwrap();
    assert_eq!(text(Command::new(pahole).arg("--version")), "v1.32\n");
}
