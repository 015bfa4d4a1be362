//! Signals at every kind of step: vmlinker ends soon, with the signal's status, and takes along what it
//! had started.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::tree::{Run, Tree, under};

/// Longer than any step takes on a busy machine, and much shorter than what the tools here sleep.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tool that starts a child, says who they are, and hangs.
pub const HANG: &str = "sleep 1000 &\necho $$ $! > hanging.new\nmv hanging.new hanging\nwait";

/// Before that: a tool that tells its version, which is asked for first of all.
const VERSION: &str = "[ \"$1\" != --version ] || exit 0\n";

/// Waits until `ready` gives something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs; one that has ended but was not waited for does not.
fn runs(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !"ZX".contains(state))
}

/// A link that hangs in one of its tools.
pub struct Hanging {
    vmlinker: Child,
    /// The tool and the process that it has started.
    tools: Vec<i32>,
}

impl Hanging {
    /// Starts it, and waits until it hangs.
    pub fn start(tree: &Tree, mut link: Command) -> Self {
        let _ = fs::remove_file(tree.path("hanging"));
        let link = link.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let vmlinker = link.spawn().unwrap();
        let mut hanging = Hanging { vmlinker, tools: Vec::new() };
        let path = tree.path("hanging");
        let text = wait_for("the tool hangs", || fs::read_to_string(&path).ok());
        hanging.tools = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        assert!(hanging.tools.iter().all(|&tool| runs(tool)));
        hanging
    }

    /// Sends the signal to vmlinker alone.
    pub fn signal(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.vmlinker), signal).unwrap();
        wait_for("vmlinker ends", || self.vmlinker.try_wait().unwrap())
    }

    /// What vmlinker has said, after its end.
    pub fn said(&mut self) -> Run {
        let text = |pipe: Option<&mut dyn std::io::Read>| {
            let mut text = String::new();
            pipe.unwrap().read_to_string(&mut text).unwrap();
            text
        };
        let out = text(self.vmlinker.stdout.as_mut().map(|pipe| pipe as _));
        let err = text(self.vmlinker.stderr.as_mut().map(|pipe| pipe as _));
        let status = self.vmlinker.wait().unwrap().code().expect("vmlinker ends by itself");
        Run { status, out, err }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = self.vmlinker.kill();
        let _ = self.vmlinker.wait();
        for &tool in self.tools.iter().filter(|&&tool| runs(tool)) {
            let _ = kill_process(Pid::from_raw(tool).unwrap(), Signal::KILL);
        }
    }
}

/// Interrupts a link that hangs in `step`, by each signal that asks a program to end.
#[track_caller]
fn interrupted(tree: &Tree, step: &str, link: impl Fn() -> Command) {
    let signals = [
        (Signal::INT, 130, "SIGINT"),
        (Signal::TERM, 143, "SIGTERM"),
        (Signal::HUP, 129, "SIGHUP"),
    ];
    for (signal, status, name) in signals {
        tree.write("vmlinux", "old");
        tree.write("System.map", "old");
        // A test run in the background may have been started to ignore signals.
        let heard = ["--default-signal=INT,TERM,HUP"];
        let mut hanging = Hanging::start(tree, under("env", &heard, &link()));
        hanging.signal(signal);
        let result = hanging.said();
        result.fails(status, &[&format!("{step}: interrupted by {name}")]);
        assert_eq!(result.err.lines().count(), 1, "{}", result.err);
        for &tool in &hanging.tools {
            wait_for("the tools end", || (!runs(tool)).then_some(()));
        }
        tree.assert_no_result();
    }
}

#[test]
fn an_interrupt_while_make_renews_the_time_stamp() {
    let tree = Tree::new();
    let make = tree.stub("stub-make", HANG);
    interrupted(&tree, "MAKE init/version-timestamp.o", || {
        let mut link = tree.link();
        link.env("MAKE", &make);
        link
    });
}

#[test]
fn an_interrupt_in_the_first_link() {
    let tree = Tree::new();
    let linker = tree.linker(".tmp_vmlinux1", HANG);
    interrupted(&tree, "LD .tmp_vmlinux1", || tree.link_with(&linker));
}

#[test]
fn an_interrupt_in_the_final_link() {
    let tree = Tree::new();
    let half = format!("echo half > .tmp_vmlinux.unfinished\n{HANG}");
    let linker = tree.linker(".tmp_vmlinux.unfinished", &half);
    interrupted(&tree, "LD vmlinux", || tree.link_with(&linker));
}

#[test]
fn an_interrupt_while_pahole_runs() {
    let tree = Tree::new();
    tree.configure(&["MODULES", "KALLSYMS", "DEBUG_INFO_BTF"]);
    let pahole = tree.stub("stub-pahole", &format!("{VERSION}{HANG}"));
    interrupted(&tree, "BTF .tmp_vmlinux1.btf.o", || {
        let mut link = tree.link();
        link.env("PAHOLE", &pahole).env("VMLINKER_FLAGS", "--engine btf=pahole");
        link
    });
}

#[test]
fn an_interrupt_in_a_pipe_of_the_kernels_tools() {
    let tree = Tree::new();
    let nm = tree.stub("stub-nm", &format!("{VERSION}{HANG}"));
    interrupted(&tree, "NM .tmp_vmlinux1.syms", || {
        let mut link = tree.link();
        link.env("NM", &nm).env("VMLINKER_FLAGS", "--engine sysmap=kernel");
        link
    });
}

#[test]
fn an_interrupt_while_the_tools_versions_are_asked_for() {
    let tree = Tree::new();
    let linker = tree.stub("stub-ld", HANG);
    interrupted(&tree, "MAKE init/version-timestamp.o", || tree.link_with(&linker));
}

#[test]
fn a_tool_that_ignores_signals_ends_too() {
    let tree = Tree::new();
    let body = format!("trap '' INT TERM HUP\n{HANG}");
    let linker = tree.linker(".tmp_vmlinux1", &body);
    interrupted(&tree, "LD .tmp_vmlinux1", || tree.link_with(&linker));
}

#[test]
fn a_hangup_that_the_caller_ignores_does_not_end_the_link() {
    let tree = Tree::new();
    let linker = tree.linker(
        ".tmp_vmlinux1",
        &HANG.replace("wait", "while ! [ -e go ]; do sleep 0.1; done\nkill $!"),
    );
    let ignoring = ["-c", "trap '' HUP; exec \"$0\" \"$@\""];
    let mut hanging = Hanging::start(&tree, under("sh", &ignoring, &tree.link_with(&linker)));
    kill_process(Pid::from_child(&hanging.vmlinker), Signal::HUP).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    tree.write("go", "");
    wait_for("vmlinker ends", || hanging.vmlinker.try_wait().unwrap());
    hanging.said().succeeds();
    assert!(tree.has("vmlinux"));
}

#[test]
fn a_killed_vmlinker_takes_its_tool_along_and_leaves_no_kernel() {
    let tree = Tree::new();
    let half = format!("echo half > .tmp_vmlinux.unfinished\n{HANG}");
    let linker = tree.linker(".tmp_vmlinux.unfinished", &half);
    tree.write("vmlinux", "old");
    let mut hanging = Hanging::start(&tree, tree.link_with(&linker));
    let status = hanging.signal(Signal::KILL);
    assert_eq!(status.signal(), Some(9));
    let tool = hanging.tools[0];
    wait_for("the linker ends", || (!runs(tool)).then_some(()));
    assert!(!tree.has("vmlinux"));
    // The next link is not disturbed by what was left.
    crate::tree::run(&mut tree.link()).succeeds();
    assert!(!tree.has(".tmp_vmlinux.unfinished"));
}

#[test]
fn what_a_failed_tool_left_running_ends_with_it() {
    let tree = Tree::new();
    for (last, status) in [("exit 3", 3), ("kill -9 $$", 1)] {
        let body = HANG.replace("wait", last);
        let linker = tree.linker(".tmp_vmlinux1", &body);
        let result = crate::tree::run(&mut tree.link_with(&linker));
        result.fails(status, &["LD .tmp_vmlinux1: "]);
        let hanging = tree.read("hanging");
        let left: i32 = hanging.split_whitespace().nth(1).unwrap().parse().unwrap();
        wait_for("what the tool left ends", || (!runs(left)).then_some(()));
    }
    tree.assert_no_result();
}
