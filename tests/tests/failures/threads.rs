//! More threads than make wants.
//!
//! What counts is how many threads of the program, and of the linker that it runs, want a processor at the same time: they
//! are counted while it works on a real kernel. The first of them waits for the others, and threads that wait are no harm.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use peer_tests::kernel;
use peer_tests::link::{Recorded, scratch, vmlinker};

use crate::place;

/// Of all moments at which one thread at least ran, the part at which several did; and the number of moments.
fn crowded(command: &mut Command) -> (f64, usize) {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (mut busy, mut crowded) = (0_usize, 0_usize);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // make, or the program itself.
        let program = program_of(child.id()).unwrap_or(child.id());
        let running = running(program);
        busy += usize::from(running > 0);
        crowded += usize::from(running > 1);
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success(), "{command:?}: {status}");
    (crowded as f64 / busy.max(1) as f64, busy)
}

/// The process below `make` that is the program under test.
fn program_of(make: u32) -> Option<u32> {
    let list = fs::read_to_string(format!("/proc/{make}/task/{make}/children")).ok()?;
    let children = list.split_whitespace().filter_map(|word| word.parse().ok());
    children.into_iter().find_map(|child: u32| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        if name.starts_with("vmlinker") { Some(child) } else { program_of(child) }
    })
}

/// How many threads of a process and of its children run or are ready to.
fn running(process: u32) -> usize {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return 0 };
    let of = |task: fs::DirEntry| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let runs = read("stat").rsplit(") ").next().is_some_and(|stat| stat.starts_with('R'));
        let children = read("children");
        let children = children.split_whitespace().filter_map(|word| word.parse().ok());
        usize::from(runs) + children.map(running).sum::<usize>()
    };
    tasks.flatten().map(of).sum()
}

/// `make -jN` of a target whose recipe is this command.
fn make(dir: &Path, jobs: u32, recipe: &str) -> Command {
    fs::write(dir.join("Makefile"), format!("all:\n\t+@{recipe}\n")).unwrap();
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(dir).arg(format!("-j{jobs}"));
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        make.env_remove(name);
    }
    make
}

/// A handful of moments at which work is handed over from one thread to the other is no second thread.
const HANDED_OVER: f64 = 0.1;

fn assert_obeys(dir: &Path, recipe: &str) {
    let (alone, moments) = crowded(&mut make(dir, 1, recipe));
    assert!(moments > 20, "{recipe}: looked at {moments} moments only");
    assert!(alone < HANDED_OVER, "{recipe}: several threads at {alone} of all moments of make -j1");
    // The control: this would show several threads.
    let (two, _) = crowded(&mut make(dir, 2, recipe));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(cores < 2 || two > 2.0 * HANDED_OVER, "{recipe}: at {two} of all moments of make -j2");
}

#[test]
fn a_link_under_make_j1_runs_one_thread() {
    let dir = scratch();
    let out = place(dir.path());
    let build = Recorded::of("6.12-tiny").dir;
    let (program, build, out) = (vmlinker().display(), build.display(), out.display());
    let link = format!("'{program}' relink --cold -C '{build}' --output '{out}/vmlinux'");
    assert_obeys(dir.path(), &link);
}

/// The kernel's makefiles pass `-j` without a number where make was given none, which is all processors.
#[test]
fn a_pahole_that_is_told_to_use_all_processors_is_one_job_of_makes() {
    let dir = scratch();
    let out = place(dir.path());
    let image = kernel("6.12-tiny").join("vmlinux");
    let (program, image, out) = (vmlinker().display(), image.display(), out.display());
    let encode = format!(
        "'{program}' pahole -J -j --btf_features=default --btf_encode_detached='{out}/btf' '{image}'"
    );
    assert_obeys(dir.path(), &encode);
}
