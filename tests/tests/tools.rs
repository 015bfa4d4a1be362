//! The kernel's own tools can be had for every series, and are what they say.

use std::process::Command;

use peer_tests::tool;

const NAMES: [&str; 7] = [
    "kallsyms",
    "sorttable",
    "sorttable-mcount",
    "sorttable-orc",
    "sorttable-orc-mcount",
    "resolve_btfids",
    "bpftool",
];

#[test]
fn every_tool_of_every_series_compiles_and_runs() {
    for series in ["6.1", "6.12", "7.3"] {
        for name in NAMES {
            let path = tool(series, name);
            // Without arguments each prints its usage; none of them can have done any work.
            let output = Command::new(&path).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
            assert!(text.contains("usage"), "{series} {name}: {text}");
            assert_eq!(tool(series, name), path);
        }
    }
}

#[test]
fn two_that_ask_at_the_same_time_get_the_same_tool() {
    let ask = || std::thread::spawn(|| tool("6.12", "kallsyms"));
    let (first, second) = (ask(), ask());
    let first = first.join().unwrap();
    assert_eq!(first, second.join().unwrap());
    assert!(first.exists());
}
