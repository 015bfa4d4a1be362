//! Child processes: the linker, pahole, make, and the kernel's own tools.
//!
//! Every child runs in a process group of its own, which is known here, so that an interrupt ends the
//! whole group: an interrupted link leaves nothing running, and neither does a child that fails.
//! Should vmlinker itself be killed, the kernel ends its direct children (`PR_SET_PDEATHSIG`).
//!
//! What a child has cost is noted when it has ended ([`cost`]).
//!
//! The unsafe code here is what runs between fork and exec.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, TryLockError};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, set_parent_process_death_signal, waitid,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use wait4::Wait4;

use crate::cost::{self, Cost};
use crate::error::{Error, Result};

/// Process groups of the children that run now.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// The signal that interrupted this process; 0 before that.
static INTERRUPTED: AtomicI32 = AtomicI32::new(0);

/// Ends all children when this process gets SIGINT, SIGTERM or SIGHUP. The running step then fails as
/// interrupted, and the link cleans up on its way out. A signal that the caller ignores, as `nohup`
/// does, stays ignored.
///
/// # Errors
/// The handlers cannot be installed.
pub fn watch_signals() -> Result<()> {
    let ignored = ignored_signals();
    let wanted = [SIGHUP, SIGINT, SIGTERM].into_iter();
    let install = Signals::new(wanted.filter(|signal| ignored & (1 << (signal - 1)) == 0));
    let mut signals = install.map_err(|e| Error::new(format!("cannot watch for signals: {e}")))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            INTERRUPTED.store(signal, Ordering::SeqCst);
            kill(&running());
        }
    });
    Ok(())
}

/// Ends all children, for a process that ends now and may not wait for a lock.
pub(crate) fn end_children() {
    match RUNNING.try_lock() {
        Ok(groups) => kill(&groups),
        Err(TryLockError::Poisoned(groups)) => kill(&groups.into_inner()),
        // The system ends the direct ones when this process has ended.
        Err(TryLockError::WouldBlock) => {}
    }
}

fn kill(groups: &[Pid]) {
    for &group in groups {
        // The group may have ended by itself just now.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The signals that this process was started to ignore, a bit each; SIGHUP, which is 1, is the lowest.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Fails if an interrupt has come.
pub fn check_interrupt() -> Result<()> {
    match INTERRUPTED.load(Ordering::SeqCst) {
        0 => Ok(()),
        signal => {
            let cause = format!("interrupted by {}", signal_name(signal));
            Err(Error::new(cause).with_status(128 + signal as u8))
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started, it fails, it is killed, or this process is interrupted.
pub fn run(command: &mut Command) -> Result<()> {
    let mut child = Running::start(command)?;
    child.finish()
}

/// Runs a command whose standard output, a pipe, `read` reads to its end.
///
/// # Errors
/// As [`run`].
pub fn run_reading(command: &mut Command, read: impl FnOnce(ChildStdout)) -> Result<()> {
    let mut child = Running::start(command.stdout(Stdio::piped()))?;
    read(child.child.stdout.take().expect("stdout is piped"));
    child.finish()
}

/// Runs a command and keeps what it says on standard error; that is given whether it fails or not.
///
/// It goes to memory and not through a pipe, which a process that outlives the command could hold open.
pub fn run_hushed(command: &mut Command) -> (Result<()>, Vec<u8>) {
    let held = memfd_create("stderr", MemfdFlags::CLOEXEC).map(File::from);
    let copy = held.map_err(io::Error::from).and_then(|held| Ok((held.try_clone()?, held)));
    match copy {
        Ok((copy, mut held)) => {
            let result = run(command.stderr(copy));
            let mut said = Vec::new();
            let read = held.rewind().and_then(|()| held.read_to_end(&mut said));
            (result.and(read.map(drop).map_err(Error::new)), said)
        }
        Err(error) => (Err(Error::new(error)), Vec::new()),
    }
}

/// Runs `first | second > output`.
///
/// # Errors
/// As [`run`], for either command.
pub fn pipe(first: &mut Command, second: &mut Command, output: File) -> Result<()> {
    let mut first = Running::start(first.stdout(Stdio::piped()))?;
    let piped = first.child.stdout.take().expect("stdout is piped");
    let mut second = Running::start(second.stdin(piped).stdout(output))?;
    let second = second.finish();
    first.finish().and(second)
}

/// A running child; killed with its group when it is dropped before its end.
struct Running {
    child: Child,
    program: String,
    group: Pid,
    ended: bool,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        check_interrupt()?;
        let program = command.get_program().to_string_lossy().into_owned();
        command.process_group(0);
        // SAFETY: prctl(2) is async-signal-safe and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| {
                set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)
            });
        }
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(format!("{program}: no such program"))
                .advise("'vmlinker doctor -C BUILD' says which programs a link of a tree needs"),
            _ => Error::new(format!("{program}: cannot be started: {error}")),
        })?;
        let group = Pid::from_child(&child);
        running().push(group);
        let running = Running { child, program, group, ended: false };
        // An interrupt between the check above and the entry in the list has not seen this child.
        check_interrupt()?;
        Ok(running)
    }

    fn finish(&mut self) -> Result<()> {
        if !self.has_succeeded() {
            // It may have started others that go on without it.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        // Off the list before its id is free for another process.
        self.forget();
        let status = self.wait();
        check_interrupt()?;
        let status = status.map_err(|e| Error::new(format!("{}: {e}", self.program)))?;
        succeeded(&self.program, status)
    }

    /// Waits for the end; the process stays a zombie, so that its id still names its group.
    fn has_succeeded(&self) -> bool {
        loop {
            match waitid(WaitId::Pid(self.group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(status) => return status.and_then(|s| s.exit_status()) == Some(0),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Takes the child's status, and notes what it has cost with all that it has waited for.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            match self.child.wait4() {
                Ok(used) => {
                    cost::add(Cost::of_child(&used.rusage));
                    return Ok(used.status);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn forget(&mut self) {
        self.ended = true;
        running().retain(|&group| group != self.group);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let _ = kill_process_group(self.group, Signal::KILL);
            self.forget();
            let _ = self.child.wait();
        }
    }
}

fn running() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn succeeded(program: &str, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    if let Some(signal) = status.signal() {
        let mut error = Error::new(format!("{program} was killed by {}", signal_name(signal)));
        if signal == Signal::KILL.as_raw() {
            error = error.advise("the system kills a process when memory runs out: see dmesg");
        }
        return Err(error);
    }
    let code = status.code().unwrap_or(1);
    let status = u8::try_from(code).unwrap_or(1);
    Err(Error::new(format!("{program} failed with exit status {code}")).with_status(status))
}

fn signal_name(signal: i32) -> String {
    match signal_hook::low_level::signal_name(signal) {
        Some(name) => name.to_string(),
        None if signal == Signal::KILL.as_raw() => "SIGKILL".to_string(),
        None => format!("signal {signal}"),
    }
}

/// The command line of `command` as a shell would read it, for `make V=1` and for messages.
pub fn shell_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<String> = words.map(|word| quote(&word.to_string_lossy())).collect();
    quoted.join(" ")
}

/// `word` in single quotes where a shell would read it otherwise.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `program` under `dir` with nothing to read.
pub fn command(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = command("sh", Path::new("/"));
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_carries_the_programs_own_status() {
        let error = run(&mut sh("exit 3")).unwrap_err();
        assert_eq!(error.to_string(), "sh failed with exit status 3");
        assert_eq!(error.status, 3);
    }

    #[test]
    fn a_killed_program_is_told_from_a_failed_one() {
        let error = run(&mut sh("kill -9 $$")).unwrap_err();
        assert_eq!(error.to_string(), "sh was killed by SIGKILL");
        assert_eq!(error.status, 1);
    }

    #[test]
    fn a_child_is_paid_by_the_thread_that_waited_for_it() {
        let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let (result, spent) = cost::of(|| run(&mut sh(&format!("sh -c '{busy}'; true"))));
        result.unwrap();
        assert!(spent.cpu > std::time::Duration::from_millis(1), "{spent:?}");
        assert!(spent.child_memory > 100_000, "{spent:?}");
        let ((), idle) = cost::of(|| ());
        assert_eq!(idle.child_memory, 0);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut command("/no/such/ld", Path::new("/"))).unwrap_err();
        assert_eq!(error.to_string(), "/no/such/ld: no such program");
    }

    #[test]
    fn a_pipe_fails_with_its_first_command() {
        let out = tempfile::tempfile().unwrap();
        let error = pipe(&mut sh("echo x; exit 4"), &mut sh("cat"), out).unwrap_err();
        assert_eq!(error.status, 4);
    }

    #[test]
    fn a_hushed_program_is_heard_afterwards() {
        let (result, said) =
            run_hushed(&mut sh("echo >&2 first; (sleep 1; echo >&2 late) & exit 3"));
        assert_eq!(result.unwrap_err().status, 3);
        assert_eq!(said, b"first\n");
        let (result, said) = run_hushed(&mut sh("echo >&2 a warning"));
        assert!(result.is_ok());
        assert_eq!(said, b"a warning\n");
    }

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it() {
        assert_eq!(shell_line(&sh("echo 'a b'")), r"sh -c 'echo '\''a b'\'''");
        assert_eq!(quote("-Wl,--script=./x.lds"), "-Wl,--script=./x.lds");
        assert_eq!(quote(""), "''");
    }
}
