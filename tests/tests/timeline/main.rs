//! The timeline of real links, and what is shown of it.
//!
//! - here: what two links of a tree leave there, what is printed of it, trace events, and files that are none.
//! - `page`: the page in headless Chromium.
//! - `progress`: bars on a terminal, and nothing but Kbuild's lines elsewhere.

mod page;
mod progress;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use peer_tests::link::{Recorded, TIMELINE, scratch, vmlinker};
use serde_json::Value;
use tempfile::TempDir;

/// A view of a kernel's tree that was linked twice, by the lean schedule: cold, then with the sizes of the first.
struct Tree {
    dir: TempDir,
}

impl Tree {
    fn linked() -> &'static Self {
        static TREE: OnceLock<Tree> = OnceLock::new();
        TREE.get_or_init(|| {
            let dir = scratch();
            let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |_| ());
            for _ in 0..2 {
                kernel.relink(&dir.path().join("out"), &["--schedule", "lean", "--remember"]);
            }
            Tree { dir }
        })
    }

    fn build(&self) -> String {
        self.dir.path().join("build").to_str().expect("the cache's path is UTF-8").to_owned()
    }

    /// What `vmlinker timeline` prints of the tree with these words.
    fn shown(&self, words: &[&str]) -> String {
        let output = timeline(&[&["-C", &self.build()], words].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && error.is_empty(), "{words:?}: {error}");
        String::from_utf8(output.stdout).expect("it is UTF-8")
    }

    fn record(&self) -> Value {
        serde_json::from_str(&self.shown(&["--json"])).expect("it is JSON")
    }
}

/// `vmlinker timeline` with these words, in an environment without a locale and without a terminal's size.
fn timeline(words: &[&str]) -> Output {
    let mut command = Command::new(vmlinker());
    command.arg("timeline").args(words).env("LC_ALL", "C").env_remove("NO_COLOR");
    command.output().expect("vmlinker was built")
}

fn steps(link: &Value) -> &Vec<Value> {
    link["steps"].as_array().expect("a link has steps")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn name(step: &Value) -> String {
    let word = |key: &str| step[key].as_str().expect("a text").to_owned();
    format!("{} {}", word("verb"), word("output"))
}

#[test]
fn a_link_records_its_steps_and_the_link_before() {
    let tree = Tree::linked();
    let record = tree.record();
    assert_eq!(record["link"]["warm"], true);
    assert_eq!(record["previous"]["warm"], false);
    for link in [&record["link"], &record["previous"]] {
        check_link(link);
    }
    let links = |link: &Value| steps(link).iter().filter(|step| step["verb"] == "LD").count();
    assert_eq!((links(&record["link"]), links(&record["previous"])), (1, 2));
    let kernel = fs::metadata(tree.dir.path().join("out")).expect("the link's output").len();
    assert_eq!(number(&record["link"]["contents"]["kernel"]), kernel);
    // What both made is the same.
    assert_eq!(record["link"]["contents"], record["previous"]["contents"]);
}

fn check_link(link: &Value) {
    let wall = number(&link["wall_us"]);
    let names: HashSet<String> = steps(link).iter().map(name).collect();
    let mut last = 0;
    for step in steps(link) {
        let (start, end) = (number(&step["start_us"]), number(&step["end_us"]));
        assert!(start <= end && end <= wall, "{step}");
        if step["beside"] == false {
            assert!(last <= start, "steps that run one after the other do not overlap: {step}");
            last = end;
        }
        let waited_for = step["waited_for"].as_array().expect("a list");
        // Types wait for the step before, and for the units that were read ahead.
        let ahead = waited_for.iter().any(|other| other == "UNITS vmlinux.o");
        let one = waited_for.len() == 1 || step["verb"] == "READ";
        assert!(one || ahead || number(&step["blocked_us"]) > 0, "{step}");
        for other in waited_for {
            assert!(names.contains(other.as_str().expect("a name")), "{step}");
        }
    }
    // What runs beside a step may end after it.
    let span = |step: &Value| (number(&step["start_us"]), number(&step["end_us"]));
    let mut spans: Vec<(u64, u64)> = steps(link).iter().map(span).collect();
    spans.sort_unstable();
    let (mut reach, mut covered) = (0, 0);
    for (start, end) in spans {
        covered += end.saturating_sub(start.max(reach));
        reach = reach.max(end);
    }
    assert!(covered * 10 > wall * 9, "steps are {covered} of {wall} us: {link:#}");
    for verb in ["LD", "BTF", "NM", "KSYMS", "DEBUG", "SORTTAB", "CMP", "SAVE"] {
        assert!(steps(link).iter().any(|step| step["verb"] == verb), "{verb}: {link:#}");
    }
    let of = |verb: &str| steps(link).iter().find(|step| step["verb"] == verb).expect("there");
    let (ld, debug, btf) = (of("LD"), of("DEBUG"), of("BTF"));
    assert!(number(&ld["child_memory"]) > 1 << 20 && number(&ld["cpu_us"]) > 1000, "{ld}");
    assert!(number(&ld["read"]) > 100 << 20 && number(&ld["written"]) > 1 << 20, "{ld}");
    assert_eq!(debug["written"], link["contents"]["kernel"]);
    assert!(number(&btf["cpu_us"]) > 1000 && number(&btf["threads"]) >= 1, "{btf}");
    assert!(number(&link["memory"]) > 1 << 20);
    assert!(link["linker"].as_str().is_some_and(|version| version.contains("ld")), "{link:#}");
    check_contents(&link["contents"]);
}

fn check_contents(contents: &Value) {
    let btf = &contents["btf"];
    let kinds = btf["kinds"].as_array().expect("kinds");
    let types: u64 = kinds.iter().map(|kind| number(&kind["bytes"])).sum();
    // The header is 24 bytes.
    assert_eq!(number(&btf["bytes"]), 24 + types + number(&btf["strings"]));
    let tables = contents["kallsyms"].as_array().expect("tables");
    for name in ["names", "token_table", "token_index", "markers", "offsets", "seqs_of_names"] {
        let name = format!("kallsyms_{name}");
        let table = tables.iter().find(|table| table["name"] == *name);
        assert!(table.is_some_and(|table| number(&table["bytes"]) > 0), "{name}: {tables:?}");
    }
}

#[test]
fn the_terminal_gets_a_line_for_each_step_and_plain_text_where_it_is_none() {
    let tree = Tree::linked();
    let (text, record) = (tree.shown(&[]), tree.record());
    assert!(text.is_ascii() && !text.contains('\x1b'), "{text}");
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("step ")).collect();
    for (at, step) in steps(&record["link"]).iter().enumerate() {
        let verb = step["verb"].as_str().expect("a word");
        assert!(table[at + 1].starts_with(verb) && table[at + 1].contains('#'), "{step}: {text}");
    }
    // What only the first link did is there too.
    assert!(text.contains("LD      .tmp_vmlinux1 "), "{text}");
    for words in ["before", "together", "kallsyms ", "strings ", "STRUCT ", "memory, at most: "] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn trace_events_nest() {
    let tree = Tree::linked();
    let file = tree.dir.path().join("trace.json");
    let printed = tree.shown(&["--trace", file.to_str().expect("UTF-8")]);
    assert_eq!(printed, "");
    let text = fs::read_to_string(file).expect("it was written");
    let trace: Value = serde_json::from_str(&text).expect("it is JSON");
    let mut threads: BTreeMap<(u64, u64), Vec<(u64, u64)>> = BTreeMap::new();
    for event in trace["traceEvents"].as_array().expect("events") {
        let thread = (number(&event["pid"]), number(&event["tid"]));
        match event["ph"].as_str() {
            Some("X") => {
                let start = number(&event["ts"]);
                let times = (start, start + number(&event["dur"]));
                threads.entry(thread).or_default().push(times);
            }
            Some("M") => assert!(event["args"]["name"].is_string(), "{event}"),
            _ => panic!("{event}"),
        }
    }
    let record = tree.record();
    let all: usize = threads.values().map(Vec::len).sum();
    // The links themselves are events too.
    assert_eq!(all, 2 + steps(&record["link"]).len() + steps(&record["previous"]).len());
    for ((pid, tid), mut times) in threads {
        // What begins at the same time and ends later is around the other.
        times.sort_by_key(|&(start, end)| (start, std::cmp::Reverse(end)));
        let mut open: Vec<u64> = Vec::new();
        for (start, end) in times {
            open.retain(|&around| around > start);
            assert!(open.iter().all(|&around| end <= around), "{pid}/{tid}: {start} to {end}");
            open.push(end);
        }
    }
}

/// The only line on standard error of a call that fails with status 1.
fn refused(words: &[&str]) -> String {
    let output = timeline(words);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{words:?}: {error}");
    error
}

#[test]
fn what_is_no_timeline_is_refused_in_a_line() {
    let record = fs::read(Path::new(&Tree::linked().build()).join(TIMELINE)).expect("a record");
    let dir = scratch();
    let build = dir.path().to_str().expect("UTF-8");
    let none = refused(&["-C", build]);
    assert!(none.contains("no link of this tree has left its timeline"), "{none}");
    assert!(none.contains("vmlinker relink"), "it says what to do: {none}");
    let file = dir.path().join(TIMELINE);
    let cases: [(&[u8], &str); 5] = [
        (b"", "not a timeline: "),
        (&record[..record.len() / 2], "not a timeline: "),
        (b"\x7fELF\x02\x01\x01", "not a timeline: "),
        (b"{\"format\": 99}", "form 99 of the timeline"),
        (b"[1, 2, 3]", "not a timeline: "),
    ];
    for (bytes, words) in cases {
        fs::write(&file, bytes).expect("a scratch directory is writable");
        let said = refused(&["-C", build]);
        assert!(said.lines().count() == 1 && said.contains(words), "{said}");
        let said = refused(&["--file", file.to_str().expect("UTF-8"), "--html", "/dev/null"]);
        assert!(said.lines().count() == 1 && said.contains(words), "{said}");
    }
}

#[test]
fn a_timeline_that_cannot_be_written_fails_no_link() {
    let dir = scratch();
    let kernel = Recorded::of("6.12-tiny").altered(&dir.path().join("build"), |_| ());
    fs::create_dir_all(kernel.dir.join(TIMELINE).join("taken")).expect("the view is writable");
    let (output, timings) = (dir.path().join("out"), dir.path().join("timings"));
    let timings = timings.to_str().expect("UTF-8");
    let linked = kernel.try_relink(&output, &["--remember", "--timings", timings]);
    let said = String::from_utf8_lossy(&linked.stderr);
    assert!(linked.status.success() && output.exists(), "{said}");
    assert!(said.contains("vmlinker: the timeline is not recorded: "), "{said}");
    // It was asked for in a file too.
    let shown = timeline(&["--file", timings, "--beside", timings]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("DEBUG   vmlinux ") && shown.contains("before"), "{shown}");
}
