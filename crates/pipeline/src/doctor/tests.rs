//! Trees that are no kernels, and what a report looks like. Real trees are in `tests/tests/link/doctor.rs`.

use super::*;

fn report(findings: Vec<Finding>) -> Report {
    Report { build: PathBuf::from("/b"), release: Some("6.12.1".to_string()), findings, plan: None }
}

fn finding(level: Level, next: Option<&str>) -> Finding {
    let (what, next) = ("what was found".to_string(), next.map(str::to_string));
    Finding { level, about: "linker", what, next }
}

#[test]
fn the_text_has_a_line_for_each_finding_and_says_what_to_do() {
    let report = report(vec![finding(Level::Ok, None), finding(Level::Note, Some("do this"))]);
    assert!(report.works());
    assert_eq!(
        report.text(),
        "/b: Linux 6.12.1\n\
         \x20 ok       linker     what was found\n\
         \x20 note     linker     what was found\n\
         \x20                     -> do this\n\
         A link would work.\n"
    );
}

#[test]
fn one_problem_is_enough() {
    let report = report(vec![finding(Level::Note, None), finding(Level::Problem, Some("x"))]);
    assert!(!report.works());
    assert!(report.text().ends_with("A link would fail: there is a problem.\n"));
    let json = report.json();
    assert_eq!(json["works"], false);
    assert_eq!(json["findings"][1]["level"], "problem");
    assert_eq!(json["findings"][0].get("next"), None);
}

#[test]
fn a_directory_that_is_no_kernel_tree_is_a_problem_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    for build in [dir.path().to_path_buf(), dir.path().join("none")] {
        let report = examine(&build, &Request::default());
        assert!(!report.works());
        let last = report.findings.last().unwrap();
        assert_eq!((last.level, last.about), (Level::Problem, "tree"));
        assert!(last.next.is_some(), "{last:?}");
    }
}
