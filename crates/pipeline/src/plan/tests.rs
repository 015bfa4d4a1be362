//! The plans as tables: all schedules, all four combinations of KALLSYMS and BTF, both engines.

use super::*;
use crate::Config;

fn needs(names: &[&str]) -> Needs {
    Needs::of_config(&Config::from_names(names.iter().copied()))
}

fn plan(names: &[&str], schedule: Schedule, engine: Engine, passes: Passes) -> Plan {
    Plan::new(&needs(names), schedule, &Engines::all(engine), passes)
}

/// The lines up to the final link, each without its leading blanks.
fn lines(plan: &Plan) -> Vec<String> {
    let words = |step: &Step| format!("{} {}", step.verb(), step.output());
    plan.steps[..plan.finish].iter().map(words).collect()
}

/// Image and whether it is stripped, for every link.
fn links(plan: &Plan) -> Vec<(&str, bool)> {
    let link = |step: &'_ Step| match &step.action {
        Action::Ld { strip_debug, .. } => Some(*strip_debug),
        _ => None,
    };
    plan.steps.iter().filter_map(|step| Some((step.output(), link(step)?))).collect()
}

const BOTH: &[&str] = &["KALLSYMS", "DEBUG_INFO_BTF"];

#[test]
fn separate_with_the_kernels_tools_has_thirteen_steps() {
    let plan = plan(BOTH, Schedule::Separate, Engine::Kernel, Passes::Two);
    let expected = [
        "KSYMS .tmp_vmlinux.kallsyms0.S",
        "AS .tmp_vmlinux.kallsyms0.o",
        "LD .tmp_vmlinux.btf",
        "BTF .btf.vmlinux.bin.o",
        "LD .tmp_vmlinux.kallsyms1",
        "NM .tmp_vmlinux.kallsyms1.syms",
        "KSYMS .tmp_vmlinux.kallsyms1.S",
        "AS .tmp_vmlinux.kallsyms1.o",
        "LD .tmp_vmlinux.kallsyms2",
        "NM .tmp_vmlinux.kallsyms2.syms",
        "KSYMS .tmp_vmlinux.kallsyms2.S",
        "AS .tmp_vmlinux.kallsyms2.o",
        "LD vmlinux",
    ];
    assert_eq!(lines(&plan), expected);
    assert_eq!(plan.summary(), "3 temporary links and the final one");
}

#[test]
fn merged_with_the_kernels_tools_shares_one_temporary_kernel() {
    let plan = plan(BOTH, Schedule::Merged, Engine::Kernel, Passes::Two);
    let expected = [
        "KSYMS .tmp_vmlinux0.kallsyms.S",
        "AS .tmp_vmlinux0.kallsyms.o",
        "LD .tmp_vmlinux1",
        "BTF .tmp_vmlinux1.btf.o",
        "NM .tmp_vmlinux1.syms",
        "KSYMS .tmp_vmlinux1.kallsyms.S",
        "AS .tmp_vmlinux1.kallsyms.o",
        "LD .tmp_vmlinux2",
        "NM .tmp_vmlinux2.syms",
        "KSYMS .tmp_vmlinux2.kallsyms.S",
        "AS .tmp_vmlinux2.kallsyms.o",
        "LD vmlinux",
    ];
    assert_eq!(lines(&plan), expected);
    assert_eq!(plan.summary(), "2 temporary links and the final one");
}

#[test]
fn the_native_engine_writes_the_kallsyms_object_without_an_assembler() {
    let plan = plan(BOTH, Schedule::Merged, Engine::Native, Passes::Two);
    assert!(lines(&plan).contains(&"KSYMS .tmp_vmlinux1.kallsyms.o".to_string()));
    assert!(!plan.steps.iter().any(|step| step.verb() == "AS"));
    assert_eq!(plan.links(), 3);
}

#[test]
fn which_links_exist_and_which_are_stripped() {
    use Schedule::{Merged, Separate};
    type Row = (&'static [&'static str], Schedule, &'static [(&'static str, bool)]);
    let table: [Row; 8] = [
        (&[], Separate, &[("vmlinux", false)]),
        (&[], Merged, &[("vmlinux", false)]),
        (&["DEBUG_INFO_BTF"], Separate, &[(".tmp_vmlinux.btf", false), ("vmlinux", false)]),
        (&["DEBUG_INFO_BTF"], Merged, &[(".tmp_vmlinux1", false), ("vmlinux", false)]),
        (
            &["KALLSYMS"],
            Separate,
            &[
                (".tmp_vmlinux.kallsyms1", true),
                (".tmp_vmlinux.kallsyms2", true),
                ("vmlinux", false),
            ],
        ),
        (
            &["KALLSYMS"],
            Merged,
            &[(".tmp_vmlinux1", true), (".tmp_vmlinux2", true), ("vmlinux", false)],
        ),
        (
            BOTH,
            Separate,
            &[
                (".tmp_vmlinux.btf", false),
                (".tmp_vmlinux.kallsyms1", true),
                (".tmp_vmlinux.kallsyms2", true),
                ("vmlinux", false),
            ],
        ),
        (BOTH, Merged, &[(".tmp_vmlinux1", false), (".tmp_vmlinux2", true), ("vmlinux", false)]),
    ];
    for (names, schedule, expected) in table {
        for engine in [Engine::Native, Engine::Kernel] {
            let plan = plan(names, schedule, engine, Passes::Two);
            assert_eq!(links(&plan), expected, "{names:?} {schedule} {engine}");
        }
    }
}

#[test]
fn the_first_temporary_kernel_is_not_linked_without_kallsyms_and_btf() {
    for schedule in [Schedule::Separate, Schedule::Merged] {
        let plan = plan(&["BUILDTIME_TABLE_SORT"], schedule, Engine::Kernel, Passes::Two);
        assert_eq!(lines(&plan), ["LD vmlinux"]);
        assert_eq!(plan.summary(), "no temporary link, only the final one");
        let finish: Vec<_> = plan.steps[plan.finish..].iter().map(Step::verb).collect();
        assert_eq!(finish, ["NM", "SORTTAB"]);
        assert_eq!(plan.settle, None);
    }
}

#[test]
fn the_plan_with_a_third_pass_begins_with_the_same_steps() {
    for schedule in [Schedule::Separate, Schedule::Merged] {
        for engine in [Engine::Native, Engine::Kernel] {
            let two = plan(BOTH, schedule, engine, Passes::Two);
            let three = plan(BOTH, schedule, engine, Passes::Three);
            let settle = two.settle.clone().unwrap();
            assert_eq!(two.settle, three.settle);
            assert_eq!(two.steps[..settle.before], three.steps[..settle.before]);
            assert_eq!(three.links(), two.links() + 1);
            let third = &three.steps[settle.before];
            assert_eq!(third.output(), schedule.names().kallsyms_image(3));
            assert!(matches!(third.action, Action::Ld { strip_debug: true, .. }));
        }
    }
}

#[test]
fn the_final_link_takes_the_tables_of_the_last_pass_and_the_check_its_list() {
    for (passes, last) in [(Passes::Two, 2), (Passes::Three, 3)] {
        let plan = plan(BOTH, Schedule::Merged, Engine::Native, passes);
        let final_link = &plan.steps[plan.finish - 1];
        let kallsyms = format!(".tmp_vmlinux{last}.kallsyms.o");
        assert_eq!(final_link.inputs(), [kallsyms.as_str(), ".tmp_vmlinux1.btf.o"]);
        let check = plan.steps.last().unwrap();
        assert_eq!(check.inputs(), ["System.map", &format!(".tmp_vmlinux{last}.syms")]);
    }
}

#[test]
fn every_temporary_input_is_made_by_an_earlier_step() {
    for schedule in [Schedule::Separate, Schedule::Merged] {
        for names in [&[][..], &["KALLSYMS"], &["DEBUG_INFO_BTF"], BOTH] {
            for engine in [Engine::Native, Engine::Kernel] {
                let plan = plan(names, schedule, engine, Passes::Three);
                let mut made: Vec<&str> = Vec::new();
                for step in &plan.steps {
                    for input in step.inputs() {
                        assert!(made.contains(&input), "{input} of {:?}", step.action);
                    }
                    made.push(step.output());
                }
            }
        }
    }
}

#[test]
fn the_text_ends_with_the_number_of_links() {
    let plan = plan(BOTH, Schedule::Merged, Engine::Kernel, Passes::Two);
    let text = plan.text(false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 13);
    assert_eq!(lines[2], "  LD      .tmp_vmlinux1");
    assert_eq!(
        lines[12],
        "2 temporary links and the final one; then BTFIDS vmlinux, NM System.map"
    );
    assert_eq!(plan.json()["temporary_links"], 2);
}

#[test]
fn lean_links_twice_without_debug_information_and_never_with() {
    let plan = plan(BOTH, Schedule::Lean, Engine::Native, Passes::Two);
    let expected = [
        "KSYMS .tmp_vmlinux0.kallsyms.o",
        "LD .tmp_vmlinux1",
        "DEBUG .tmp_vmlinux1",
        "BTF .tmp_vmlinux1.btf.o",
        "NM .tmp_vmlinux1.syms",
        "KSYMS .tmp_vmlinux1.kallsyms.o",
        "LD .tmp_vmlinux2",
        "NM .tmp_vmlinux2.syms",
        "KSYMS .tmp_vmlinux2.kallsyms.o",
        "DEBUG vmlinux",
    ];
    assert_eq!(lines(&plan), expected);
    assert_eq!(links(&plan), [(".tmp_vmlinux1", true), (".tmp_vmlinux2", true)]);
    assert_eq!(plan.summary(), "2 links without debug information and no final one");
    let kept = plan.steps.iter().filter_map(|step| match step.action {
        Action::Ld { relocations, .. } => Some(relocations),
        _ => None,
    });
    assert!(kept.eq([false, true]), "relocations are kept in what is kept");
    let last = &plan.steps[plan.finish - 1];
    let tables = [".tmp_vmlinux1.kallsyms.o", ".tmp_vmlinux2.kallsyms.o"];
    let expected = [&[".tmp_vmlinux2", ".tmp_vmlinux2.map"], &tables[..], &[".tmp_vmlinux1.btf.o"]];
    assert_eq!(last.inputs(), expected.concat());
}

#[test]
fn lean_with_a_third_pass_continues_from_the_second() {
    let two = plan(BOTH, Schedule::Lean, Engine::Native, Passes::Two);
    let three = plan(BOTH, Schedule::Lean, Engine::Native, Passes::Three);
    let settle = two.settle.unwrap();
    assert_eq!(two.steps[..settle.before], three.steps[..settle.before]);
    let Action::Debug { stripped, kallsyms, exchange, .. } = &three.steps[three.finish - 1].action
    else {
        panic!("the last step before the finish puts debug information in");
    };
    assert_eq!(stripped, ".tmp_vmlinux3");
    assert_eq!(kallsyms.as_deref(), Some(".tmp_vmlinux2.kallsyms.o"));
    assert_eq!(exchange.as_deref(), Some(".tmp_vmlinux3.kallsyms.o"));
}

#[test]
fn lean_without_kallsyms_or_without_btf() {
    let without_kallsyms = plan(&["DEBUG_INFO_BTF"], Schedule::Lean, Engine::Native, Passes::Two);
    let expected = [
        "LD .tmp_vmlinux1",
        "DEBUG .tmp_vmlinux1",
        "BTF .tmp_vmlinux1.btf.o",
        "LD .tmp_vmlinux2",
        "DEBUG vmlinux",
    ];
    assert_eq!(lines(&without_kallsyms), expected);
    let without_btf = plan(&["KALLSYMS"], Schedule::Lean, Engine::Native, Passes::Two);
    assert_eq!(links(&without_btf), [(".tmp_vmlinux1", true), (".tmp_vmlinux2", true)]);
    let neither = plan(&[], Schedule::Lean, Engine::Native, Passes::Two);
    assert_eq!(lines(&neither), ["LD vmlinux"]);
    assert_eq!(neither.summary(), "no temporary link, only the final one");
}
