//! The lean schedule on a real kernel, disturbed: killed at any moment, without room, with inputs that change, with
//! another link beside it. There is the whole kernel afterwards, or none and the reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use peer_tests::link::{Linked, Recorded, assert_same_bytes, scratch, vmlinker};
use peer_tests::run;

use crate::{Said, names, place, script};

const KERNEL: &str = "6.12-tiny";

/// A view of the kernel's tree in `dir` in which a link can run as through make, and the kernel that it has to make.
fn tree(dir: &Path) -> (Recorded, Linked) {
    let shared = Recorded::of(KERNEL);
    let reference = shared.relink(&dir.join("reference"), &[]);
    let tree = shared.altered(&dir.join("build"), |_| ());
    for name in names(&tree.dir) {
        let made = ["vmlinux", "System.map", ".vmlinux.d"].contains(&name.as_str());
        if made || name.starts_with(".tmp_vmlinux") || name.starts_with(".btf.") {
            fs::remove_file(tree.dir.join(name)).unwrap();
        }
    }
    (tree, reference)
}

/// The link in the tree itself.
fn link(tree: &Recorded, words: &[&str]) -> Command {
    let mut command = Command::new(vmlinker());
    command.args(["relink", "-C"]).arg(&tree.dir).args(words);
    command
}

/// Gives the tree a vmlinux.o of its own, which may be changed.
fn own_object(tree: &Recorded) -> PathBuf {
    let object = tree.dir.join("vmlinux.o");
    let shared = fs::read_link(&object).unwrap();
    fs::remove_file(&object).unwrap();
    run(Command::new("cp").args(["-p", "--reflink=auto"]).arg(shared).arg(&object));
    object
}

/// Waits until `ready`.
fn wait_for(what: &str, child: &mut Child, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(child.try_wait().unwrap().is_none(), "{what}: the link has ended");
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many moments of a link it is killed at.
const MOMENTS: u32 = 12;

#[test]
fn a_kill_at_any_moment_leaves_the_whole_kernel_or_none() {
    let dir = scratch();
    let (tree, reference) = tree(dir.path());
    let start = Instant::now();
    run(&mut link(&tree, &["--cold"]));
    let whole = start.elapsed();
    let vmlinux = tree.dir.join("vmlinux");
    let mut killed = 0;
    for moment in 0..MOMENTS {
        // There is a kernel of the link before, which is not to be taken for this one's when it ends half-way.
        if !vmlinux.exists() {
            fs::copy(&reference.vmlinux, &vmlinux).unwrap();
        }
        let words = if moment % 2 == 0 { &["--cold"][..] } else { &[] };
        let mut child =
            link(&tree, words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Not at the very beginning, when the old kernel rightly is there.
        wait_for("the old kernel is away", &mut child, || !vmlinux.exists());
        std::thread::sleep(whole * moment / MOMENTS);
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        if vmlinux.exists() {
            assert_same_bytes(&vmlinux, &reference.vmlinux, &format!("moment {moment}"));
        }
    }
    assert!(killed > MOMENTS / 2, "{killed} of {MOMENTS} links were killed");
    // What they have left disturbs nobody, and is no more than one link leaves.
    run(&mut link(&tree, &[]));
    assert_same_bytes(&vmlinux, &reference.vmlinux, "after all the kills");
    let left = names(&tree.dir);
    let unfinished = [".tmp_vmlinux.unfinished", ".tmp_vmlinux.old"];
    assert!(!left.iter().any(|name| unfinished.contains(&name.as_str())), "{left:?}");
    assert!(!left.iter().any(|name| name.ends_with(".whole")), "{left:?}");
}

/// No file may be longer than a kernel without debug information, which the kernel is to be several times.
#[test]
fn a_full_disk_while_debug_information_is_written() {
    let dir = scratch();
    let kernel = Recorded::of(KERNEL);
    let out = place(dir.path());
    let command = kernel.command(&out.join("vmlinux"), &["--schedule", "lean", "--cold"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 80000; exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(command.get_args());
    Said::by(&mut limited).refuses(&[
        "DEBUG vmlinux: ",
        "/.tmp_vmlinux2.whole: ",
        "File too large",
    ]);
    assert_eq!(names(&out), [""; 0]);
}

/// The same on a small disk of its own, where this user may mount one: the room ends in the middle of a file.
#[test]
fn a_full_disk_of_its_own() {
    let dir = scratch();
    let kernel = Recorded::of(KERNEL);
    let out = place(dir.path());
    let command = kernel.command(&out.join("vmlinux"), &["--schedule", "lean", "--cold"]);
    let inside = |size: &str, then: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        let mount = format!("mount -t tmpfs -o size={size} tmpfs '{}' || exit 77", out.display());
        unshare.arg(format!("{mount}\n{then}")).arg(command.get_program()).args(command.get_args());
        Said::by(&mut unshare)
    };
    let listing = format!("\"$0\" \"$@\"; status=$?; ls -A '{}'; exit $status", out.display());
    if inside("1m", "exit 0").status != Some(0) {
        // A system without user namespaces: the limit of the test above stands for it.
        return;
    }
    let said = inside("80m", &listing);
    said.refuses(&["DEBUG vmlinux: ", "/.tmp_vmlinux2.whole: ", "No space left on device"]);
    assert_eq!(said.steps_after("DEBUG"), [""; 0]);
    assert!(said.out.ends_with("  DEBUG   vmlinux\n"), "something is left: {}", said.out);
    let said = inside("10m", &listing);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(said.err.contains("vmlinker: LD .tmp_vmlinux1: "), "{}", said.err);
}

/// The linker is the one who has time for it: `what` is done to vmlinux.o while the first temporary kernel is linked.
fn disturbed(what: &str, words: &[&str]) -> Said {
    let dir = scratch();
    let (tree, _) = tree(dir.path());
    let object = own_object(&tree);
    let once = dir.path().join("once");
    let linker = script(
        &dir.path().join("disturbing-ld"),
        &format!(
            "case \"$*\" in *'-o .tmp_vmlinux'*) [ -e '{once}' ] || {{ : > '{once}'; {what} '{object}'; }};; esac\n\
             exec ld \"$@\"",
            once = once.display(),
            object = object.display()
        ),
    );
    let said = Said::by(&mut link(&tree, &[&["--ld", linker.as_str()], words].concat()));
    for name in ["vmlinux", "System.map", ".tmp_vmlinux.unfinished", ".tmp_vmlinux.old"] {
        assert!(!tree.dir.join(name).exists(), "{what}: {name} is left; {said:?}");
    }
    said
}

#[test]
fn an_input_that_gets_shorter_is_named() {
    let said = disturbed("truncate -s 100000000", &[]);
    said.refuses(&["", "/vmlinux.o: it was cut off while it was read"]);
    // Where nothing has been mapped yet it is the linker who finds out.
    let said = disturbed("truncate -s 100000000", &["--schedule", "merged"]);
    said.refuses(&["LD .tmp_vmlinux1: ", "-ld failed with exit status 1"]);
}

/// Another make compiles something and puts vmlinux.o together again: what was linked before is of the old one.
#[test]
fn an_input_that_is_exchanged_is_named() {
    for words in [&[][..], &["--schedule", "merged"]] {
        let said = disturbed("touch", words);
        said.refuses(&["LD vmlinux: ", "/vmlinux.o: it was changed while the kernel was linked"]);
        assert!(said.err.contains("does another make work in this tree?\n"), "{}", said.err);
    }
}

#[test]
fn the_second_of_two_links_at_once_is_refused() {
    let dir = scratch();
    let (tree, reference) = tree(dir.path());
    let (waits, go) = (dir.path().join("waits"), dir.path().join("go"));
    let linker = script(
        &dir.path().join("waiting-ld"),
        &format!(
            "case \"$*\" in *'-o .tmp_vmlinux1 '*) : > '{}'; while ! [ -e '{}' ]; do sleep 0.05; done;; esac\n\
             exec ld \"$@\"",
            waits.display(),
            go.display()
        ),
    );
    let mut first =
        link(&tree, &["--cold", "--ld", &linker]).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the first link waits", &mut first, || waits.exists());
    let before = names(&tree.dir);
    let second = Said::by(&mut link(&tree, &[]));
    second.refuses(&["LD vmlinux: ", "/build: another link works in this tree now"]);
    assert_eq!(names(&tree.dir), before);
    // A file of its own is a place of its own.
    let out = place(dir.path());
    let beside = tree.relink(&out.join("beside"), &[]);
    beside.assert_same(&reference, "a link into another file, beside a link");
    fs::write(&go, "").unwrap();
    assert!(first.wait().unwrap().success());
    assert_same_bytes(&tree.dir.join("vmlinux"), &reference.vmlinux, "the first of two links");
}
