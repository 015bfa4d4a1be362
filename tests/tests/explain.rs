//! Why functions are left out, beside what the newest pahole says of each with `--verbose`.

use std::collections::BTreeMap;
use std::process::Command;

use dwarf_btf::{Flags, Options, PaholeVersion, Reason};
use image::Elf;
use peer_tests::{cache, kernel};

const FLAGS: [&str; 2] = ["--btf_features=default", "--lang_exclude=rust"];

/// The words behind "due to" in pahole's last line on a function; others say what it met on the way.
const REASONS: [&str; 5] = [
    "ambiguous address",
    "optimized parameters",
    "reordered parameters",
    // Spelled so.
    "inconsistet prototype",
    "unexpected register usage for parameter",
];

fn words(reason: &Reason) -> &'static str {
    REASONS[match reason {
        Reason::Ambiguous(_) => 0,
        Reason::OptimizedAway { .. } => 1,
        Reason::Reordered(_) => 2,
        Reason::Inconsistent(..) => 3,
        Reason::Register { .. } => 4,
        Reason::Uncertain(_) => panic!("pahole 1.32 says this of no function of these kernels"),
    }]
}

#[test]
fn each_function_is_left_out_for_the_reason_that_pahole_gives() {
    for name in ["6.1-tiny", "6.12-tiny", "7.3-tiny"] {
        let image = kernel(name).join("vmlinux");
        let dir = tempfile::tempdir().unwrap();
        let mut pahole = Command::new(cache().join("peers/bin/pahole-1.32"));
        let out = dir.path().join("btf");
        pahole.args(["-J", "--verbose"]).args(FLAGS).arg(&image);
        let output =
            pahole.arg(format!("--btf_encode_detached={}", out.display())).output().unwrap();
        assert!(output.status.success(), "{name}: {}", output.status);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let line = |line: &str| {
            let (left, reason) = line.split_once(": skipping BTF encoding of function due to ")?;
            let function = left.split(' ').next()?.to_owned();
            REASONS.contains(&reason).then(|| (function, reason.to_owned()))
        };
        let theirs: BTreeMap<String, String> = said.lines().filter_map(line).collect();
        assert!(theirs.len() > 100, "{name}: pahole explains {} functions", theirs.len());

        let data = std::fs::read(&image).unwrap();
        let elf = Elf::parse(&data).unwrap();
        let flags = Flags::parse(FLAGS, PaholeVersion::V1_32).unwrap();
        let quiet = dwarf_btf::encode(&elf, &flags.options).unwrap();
        let options = Options { explain: true, ..flags.options };
        let explained = dwarf_btf::encode(&elf, &options).unwrap();
        assert!(explained.btf == quiet.btf, "{name}: explaining changes the bytes");
        assert!(quiet.report.functions.is_empty() && quiet.report.no_symbol.is_empty());
        let functions = &explained.report.functions;
        let ours: BTreeMap<String, String> = functions
            .iter()
            .filter_map(|function| Some((&function.name, function.reason.as_ref()?)))
            .map(|(name, reason)| (name.clone(), words(reason).to_owned()))
            .collect();
        assert_eq!(ours, theirs, "{name}");

        for function in functions {
            match &function.reason {
                Some(Reason::Inconsistent(a, b)) => {
                    assert_ne!((&a.unit, &a.prototype), (&b.unit, &b.prototype));
                    assert!(!a.unit.is_empty() && !b.unit.is_empty(), "{a} {b}");
                }
                Some(Reason::Register { parameter, expected, found, .. }) => {
                    assert!(parameter.0 > 0 && expected != found, "{name} {}", function.name);
                }
                _ => {}
            }
        }
        if name != "6.12-tiny" {
            continue;
        }
        let exact = Options { exact_dedup: true, ..options };
        let exact = dwarf_btf::encode(&elf, &exact).unwrap().report;
        assert!(exact.functions == *functions, "{name}: the exact way explains something else");
        assert_eq!(exact.no_symbol, explained.report.no_symbol, "{name}");
    }
}
