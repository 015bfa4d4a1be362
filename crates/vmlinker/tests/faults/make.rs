//! Under a real make: its status, and its jobserver.

use std::process::Command;

use crate::tree::{Run, Tree, VARIABLES, VMLINKER, run};

/// Set for this test program where a recipe runs it as a probe; says what to measure.
const PROBE: &str = "VMLINKER_TEST_PROBE";

/// Not a test of its own: what the recipes below run to see what vmlinker would see.
#[test]
fn probe() {
    // SAFETY: the descriptors that MAKEFLAGS names are make's; nothing else was opened here.
    let client = || unsafe { jobserver::Client::from_env() };
    match std::env::var(PROBE).as_deref() {
        Ok("tokens") => println!("tokens={}", client().expect("a jobserver").available().unwrap()),
        Ok("threads") => {
            let threads = pipeline::Jobs::from_env().run(rayon::current_num_threads).unwrap();
            println!("threads={threads}");
        }
        _ => {}
    }
}

/// Runs make with a Makefile of one recipe of these lines, in which `@PROBE@` stands for the probe and
/// `@LINK@` for the link.
fn make(tree: &Tree, flags: &[&str], lines: &[&str]) -> Run {
    let program = std::env::current_exe().unwrap();
    let probe = format!("'{}' --exact make::probe --nocapture", program.display());
    let link = format!("'{VMLINKER}' link ld '' '-z noexecstack'");
    let recipe: String = lines
        .iter()
        .map(|line| format!("\t+@{}\n", line.replace("@PROBE@", &probe).replace("@LINK@", &link)))
        .collect();
    tree.write("Makefile", format!("vmlinux: force\n{recipe}force:\n.PHONY: force\n"));
    let mut command = Command::new("make");
    command.arg("-r").args(flags).current_dir(tree.dir());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("LC_ALL", "C");
    run(command.envs(VARIABLES).env("MAKE", "true"))
}

/// What the probes have said, in their order.
fn measured(run: &Run, what: &str) -> Vec<usize> {
    let name = format!("{what}=");
    // Rust's test harness writes a line of its own before.
    let found = run.out.split(&name).skip(1);
    let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok());
    found.filter_map(number).collect()
}

#[test]
fn one_job_is_one_thread() {
    let tree = Tree::new();
    let lines = [format!("{PROBE}=threads @PROBE@"), "@LINK@".to_string()];
    let lines = lines.each_ref().map(String::as_str);
    for flags in [&["-j1"][..], &[]] {
        let result = make(&tree, flags, &lines);
        assert_eq!(measured(&result, "threads"), [1], "{result:?}");
        assert_eq!(result.status, 0, "{}", result.err);
        assert!(tree.has("vmlinux"));
    }
}

#[test]
fn tokens_are_returned_after_a_good_and_after_a_failed_link() {
    let tree = Tree::new();
    let tokens = format!("{PROBE}=tokens @PROBE@");
    for link in ["@LINK@", "! KBUILD_LDS=missing.lds @LINK@"] {
        let result = make(&tree, &["-j3"], &[&tokens, link, &tokens]);
        assert_eq!(result.status, 0, "{result:?}");
        assert_eq!(measured(&result, "tokens"), [2, 2], "{result:?}");
    }
}

#[test]
fn threads_are_as_many_as_make_has_tokens() {
    let tree = Tree::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    let result = make(&tree, &["-j2"], &[&format!("{PROBE}=threads @PROBE@")]);
    assert_eq!(measured(&result, "threads"), [cores.min(2)], "{result:?}");
}

#[test]
fn make_stops_at_a_failed_link() {
    let tree = Tree::new();
    let result = make(&tree, &[], &["KBUILD_LDS=missing.lds @LINK@", "echo went on"]);
    assert_eq!(result.status, 2);
    assert!(result.err.contains("LD .tmp_vmlinux1: ld failed with exit status 1"), "{result:?}");
    assert!(!result.out.contains("went on"));
    tree.assert_no_result();
}
