//! A corpus of real failures: what people who build kernels complain of, reproduced, and what vmlinker answers.
//!
//! | what hurts | test | the answer |
//! |---|---|---|
//! | pahole is killed for memory | `memory` | the step at once, with the signal; no kernel |
//! | encoding BTF takes GB | `memory` | a limit ends it in one line, "out of memory" |
//! | "FAILED: load BTF from vmlinux", minutes after the cause | `late` | BTF is named, nothing is linked after it |
//! | "Inconsistent kallsyms data" | `symbols`, link `variants` | which symbols, where on each side; all files are kept |
//! | kallsyms never settles | `symbols` | a bounded number of passes, the size in each |
//! | "unresolved symbol" without a reason | `types` | the reason, and types of that name |
//! | "failed to validate module BTF: -22" | `types` | which type of the module does not fit, and why |
//! | modules are linked again for nothing | `types` | BTF of a changed function body is the same bytes |
//! | you need another pahole | `types`, `faults::tools` of the program | it is called and named, with the reason |
//! | more than 65,280 sections | `sections` | the bytes of the peer, or a clear line |
//! | too many threads under `make -j1` | `threads`, `faults::make` of the program | as many as make grants |
//! | output that depends on threads | `kernel_btf`, `sysmap`, `encode` | the same bytes with 1, 2, 3 and 8 threads |
//! | a tree that another user built | `places` | a link into a file of one's own, or the file that is refused |
//! | "detected dubious ownership" | `places` | git's words, and the tree as it was |
//! | paths with spaces | `places` | the same bytes |
//! | temporary files of hundreds of MB | `places` | none is left of a lean link |
//! | a kill at any moment | `lean` | the whole kernel or none, and the next link is right |
//! | a full disk | `lean`, `faults::outputs` of the program | the file that could not be written; no kernel |
//! | inputs that change or get shorter | `lean` | the input is named; no kernel |
//! | two links at once in a tree | `lean` | the second is refused before it has touched anything |
//! | sizes of a foreign or broken build | `faults::warm` of the program, link `warm` | a link more and the same bytes |
//!
//! The tests of the program are in `crates/vmlinker/tests`, on trees in miniature; these are on real kernels.

mod late;
mod lean;
mod memory;
mod places;
mod sections;
mod symbols;
mod threads;
mod types;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use peer_tests::link::Recorded;

/// How a command ended and what it said.
#[derive(Debug)]
struct Said {
    /// The exit status; `None` if a signal ended it.
    status: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let status = output.status.code();
        Said { status, out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn by(command: &mut Command) -> Self {
        Said::of(&command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Asserts a failure that vmlinker tells in one line that holds these parts in this order; the first begins it.
    #[track_caller]
    fn refuses(&self, parts: &[&str]) -> &Self {
        assert_eq!(self.status, Some(1), "{self:?}");
        assert!(!self.err.contains("panicked"), "{}", self.err);
        let own = self.err.lines().filter_map(|line| line.strip_prefix("vmlinker: "));
        let own: Vec<&str> = own.collect();
        let [line] = own.as_slice() else { panic!("not one line: {}", self.err) };
        assert!(line.starts_with(parts[0]), "{line}\nhas to begin with {}", parts[0]);
        let mut rest = *line;
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{line}\nlacks {part}"));
            rest = &rest[at + part.len()..];
        }
        self
    }

    /// The steps after `step`, as Kbuild prints them.
    #[track_caller]
    fn steps_after(&self, step: &str) -> Vec<&str> {
        let steps: Vec<&str> = self.out.lines().filter(|line| line.starts_with("  ")).collect();
        let at = steps.iter().position(|line| line.trim_start().starts_with(step));
        steps[at.unwrap_or_else(|| panic!("no step {step}: {steps:?}")) + 1..].to_vec()
    }
}

/// An executable shell script.
fn script(path: &Path, body: &str) -> String {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).expect("a scratch directory is writable");
    let all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, all).expect("a test's own file can be made a program");
    path.to_str().expect("the cache's path is UTF-8").to_owned()
}

/// A view of the kernel `name` in `dir`/build whose pahole is the shell script `body`.
fn with_pahole(name: &str, dir: &Path, body: &str) -> Recorded {
    let pahole = script(&dir.join("a-pahole"), body);
    Recorded::of(name).altered(&dir.join("build"), |record| {
        record["call"]["env"]["PAHOLE"] = pahole.into();
    })
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("a directory can be read").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// A new directory in `dir` for what a link makes.
fn place(dir: &Path) -> PathBuf {
    let out = dir.join("out");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).expect("a scratch directory is writable");
    out
}

/// `command` with an address space of so many KiB.
fn limited(command: &Command, kib: u64) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit -v {kib}; exec \"$0\" \"$@\""));
    shell.arg(command.get_program()).args(command.get_args());
    shell
}
