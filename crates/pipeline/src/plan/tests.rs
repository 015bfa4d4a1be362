//! The plans as tables: all schedules, all four combinations of KALLSYMS and BTF, both engines.

use super::*;
use crate::Config;

fn needs(names: &[&str]) -> Needs {
    Needs::of_config(&Config::from_names(names.iter().copied()))
}

fn plan(names: &[&str], schedule: Schedule, engine: Engine, more_passes: u32) -> Plan {
    Plan::new(&needs(names), schedule, &Engines::all(engine), Start::Cold, more_passes)
}

fn warm(names: &[&str], more_passes: u32) -> Plan {
    let engines = Engines::all(Engine::Native);
    Plan::new(&needs(names), Schedule::Lean, &engines, Start::Warm, more_passes)
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
    let plan = plan(BOTH, Schedule::Separate, Engine::Kernel, 0);
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
    let plan = plan(BOTH, Schedule::Merged, Engine::Kernel, 0);
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
fn debug_information_is_kept_put_elsewhere_or_dropped_by_the_last_step_of_a_lean_plan() {
    let plan = |names: &[&str], debug_info| {
        let needs = Needs { debug_info, ..needs(names) };
        Plan::new(&needs, Schedule::Lean, &Engines::all(Engine::Native), Start::Cold, 0)
    };
    let kept = plan(BOTH, DebugInfo::Keep);
    for (way, line) in
        [(DebugInfo::Separate, "  DEBUG   vmlinux.debug"), (DebugInfo::Drop, "  FILL    vmlinux")]
    {
        let other = plan(BOTH, way);
        let last = other.finish - 1;
        assert_eq!(other.steps[..last], kept.steps[..last]);
        assert_eq!(other.steps[last].line(), line);
        assert_eq!(other.steps[last].output(), "vmlinux");
        assert_eq!(other.steps[other.finish..], kept.steps[kept.finish..]);
        assert_eq!(other.json()["steps"][last]["debug_info"], way.to_string());
        // Where nothing has to be filled in there is still no link with debug information.
        let plain = plan(&[], way);
        assert_eq!(links(&plain), [(".tmp_vmlinux2", true)]);
        assert_eq!(plain.steps[1].line(), line);
    }
    assert_eq!(links(&plan(&[], DebugInfo::Keep)), [("vmlinux", false)]);
    // Whoever makes the types gets a kernel with debug information.
    let needs = Needs { debug_info: DebugInfo::Drop, ..needs(BOTH) };
    let pahole = Engines::all(Engine::Native).with(Part::Btf, Engine::Kernel);
    let plan = Plan::new(&needs, Schedule::Lean, &pahole, Start::Cold, 0);
    assert!(lines(&plan).contains(&"DEBUG .tmp_vmlinux1".to_string()));
}

#[test]
fn the_native_engine_writes_the_kallsyms_object_without_an_assembler() {
    let plan = plan(BOTH, Schedule::Merged, Engine::Native, 0);
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
            let plan = plan(names, schedule, engine, 0);
            assert_eq!(links(&plan), expected, "{names:?} {schedule} {engine}");
        }
    }
}

#[test]
fn the_first_temporary_kernel_is_not_linked_without_kallsyms_and_btf() {
    for schedule in [Schedule::Separate, Schedule::Merged] {
        let plan = plan(&["BUILDTIME_TABLE_SORT"], schedule, Engine::Kernel, 0);
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
            let two = plan(BOTH, schedule, engine, 0);
            let three = plan(BOTH, schedule, engine, 1);
            let settle = two.settle.clone().unwrap();
            let object = |pass| format!("{}.o", schedule.names().kallsyms(pass));
            assert_eq!(settle.same, [(object(1), object(2))]);
            assert_eq!(three.settle, None);
            assert_eq!(plan(BOTH, schedule, engine, 2), three, "no kernel has a fourth pass");
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
    for (passes, last) in [(0, 2), (1, 3)] {
        let plan = plan(BOTH, Schedule::Merged, Engine::Native, passes);
        let final_link = &plan.steps[plan.finish - 1];
        let kallsyms = format!(".tmp_vmlinux{last}.kallsyms.o");
        assert_eq!(final_link.inputs(), [kallsyms.as_str(), ".tmp_vmlinux1.btf.o"]);
        let check = plan.steps.last().unwrap();
        assert_eq!(check.inputs(), ["System.map", &format!(".tmp_vmlinux{last}.syms")]);
    }
}

/// Every temporary file that a step reads is made by a step before it.
fn assert_in_order(plan: &Plan) {
    let mut made: Vec<&str> = Vec::new();
    for step in &plan.steps {
        for input in step.inputs() {
            // A link makes its map beside what it links.
            let beside = input.strip_suffix(".map").filter(|_| input != "System.map");
            let file = beside.unwrap_or(input);
            assert!(made.contains(&file), "{input} of {:?}", step.action);
        }
        made.push(step.output());
    }
}

#[test]
fn every_temporary_input_is_made_by_an_earlier_step() {
    for names in [&[][..], &["KALLSYMS"], &["DEBUG_INFO_BTF"], BOTH] {
        for more_passes in 0..3 {
            for schedule in [Schedule::Separate, Schedule::Merged, Schedule::Lean] {
                for engine in [Engine::Native, Engine::Kernel] {
                    assert_in_order(&plan(names, schedule, engine, more_passes));
                }
            }
            assert_in_order(&warm(names, more_passes));
        }
    }
}

#[test]
fn the_text_ends_with_the_number_of_links() {
    let plan = plan(BOTH, Schedule::Merged, Engine::Kernel, 0);
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
    let plan = plan(BOTH, Schedule::Lean, Engine::Native, 0);
    let expected = [
        "KSYMS .tmp_vmlinux0.kallsyms.o",
        "LD .tmp_vmlinux1",
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
    let linkers_id = |step: &Step| matches!(step.action, Action::Ld { build_id: true, .. });
    assert!(!plan.steps.iter().any(linkers_id), "who writes the kernel computes its build ID");
    let merged = self::plan(BOTH, Schedule::Merged, Engine::Native, 0);
    assert_eq!(merged.steps.iter().filter(|step| linkers_id(step)).count(), 3);
    assert!(self::plan(&[], Schedule::Lean, Engine::Native, 0).steps.iter().any(linkers_id));
    let last = &plan.steps[plan.finish - 1];
    let tables = [".tmp_vmlinux1.kallsyms.o", ".tmp_vmlinux2.kallsyms.o"];
    let expected = [&[".tmp_vmlinux2", ".tmp_vmlinux2.map"], &tables[..], &[".tmp_vmlinux1.btf.o"]];
    assert_eq!(last.inputs(), expected.concat());
}

#[test]
fn only_a_temporary_kernel_of_one_object_is_linked_hollow() {
    let hollow = |names: &[&str], schedule, engines: &Engines| -> Vec<bool> {
        let plan = Plan::new(&needs(names), schedule, engines, Start::Cold, 0);
        let hollow = |step: &Step| match step.action {
            Action::Ld { hollow, .. } => Some(hollow),
            _ => None,
        };
        plan.steps.iter().filter_map(hollow).collect()
    };
    let native = Engines::all(Engine::Native);
    let one = ["KALLSYMS", "DEBUG_INFO_BTF", "X86_KERNEL_IBT"];
    assert_eq!(hollow(&one, Schedule::Lean, &native), [true, true]);
    assert_eq!(hollow(&one[1..], Schedule::Lean, &native), [true, true]);
    assert_eq!(hollow(&["KALLSYMS", "LTO_CLANG"], Schedule::Lean, &native), [true, true]);
    assert_eq!(hollow(&["X86_KERNEL_IBT"], Schedule::Lean, &native), [false]);
    assert_eq!(hollow(BOTH, Schedule::Lean, &native), [false, false], "an archive");
    assert!(!hollow(&one, Schedule::Merged, &native).contains(&true));
    let linkers = native.with(Part::Fill, Engine::Kernel);
    assert_eq!(hollow(&one, Schedule::Lean, &linkers), [false, false]);
}

/// Whoever looks at the kernel besides the encoder gets one with debug information.
#[test]
fn lean_writes_debug_information_for_the_types_only_where_it_is_read_from_a_file() {
    let types = |plan: &Plan| -> Vec<(String, Vec<String>)> {
        let steps = plan.steps.iter().filter(|step| {
            matches!(step.action, Action::Debug { .. } | Action::Btf { .. } | Action::Btfids { .. })
        });
        let inputs = |step: &Step| step.inputs().into_iter().map(str::to_string).collect();
        steps.map(|step| (step.verb().to_string(), inputs(step))).collect()
    };
    let needs = needs(&["DEBUG_INFO_BTF"]);
    for part in [Part::Btf, Part::Btfids] {
        let engines = Engines::all(Engine::Native).with(part, Engine::Kernel);
        let plan = Plan::new(&needs, Schedule::Lean, &engines, Start::Cold, 0);
        let inputs = [".tmp_vmlinux1", ".tmp_vmlinux1.map"].map(str::to_string).to_vec();
        let found = types(&plan);
        assert_eq!(found[0], ("DEBUG".to_string(), inputs), "{part:?}");
        assert_eq!(found[1], ("BTF".to_string(), vec![".tmp_vmlinux1".to_string()]), "{part:?}");
    }
    let warm = types(&warm(BOTH, 0));
    let objects = [".tmp_vmlinux0.kallsyms.o", ".tmp_vmlinux0.btf.o"];
    let read = [&[".tmp_vmlinux2", ".tmp_vmlinux2.map"], &objects[..]].concat();
    assert_eq!(warm[0], ("BTF".to_string(), read.into_iter().map(str::to_string).collect()));
    let ids = ["vmlinux", ".tmp_vmlinux2"].map(str::to_string).to_vec();
    assert_eq!(warm[2], ("BTFIDS".to_string(), ids));
}

#[test]
fn lean_with_a_third_pass_continues_from_the_second() {
    let two = plan(BOTH, Schedule::Lean, Engine::Native, 0);
    let three = plan(BOTH, Schedule::Lean, Engine::Native, 1);
    let settle = two.settle.unwrap();
    assert_eq!(two.steps[..settle.before], three.steps[..settle.before]);
    let inputs = [
        ".tmp_vmlinux3",
        ".tmp_vmlinux3.map",
        ".tmp_vmlinux2.kallsyms.o",
        ".tmp_vmlinux3.kallsyms.o",
        ".tmp_vmlinux1.btf.o",
    ];
    let last = &three.steps[three.finish - 1];
    assert!(last.replaces_link());
    assert_eq!(last.inputs(), inputs);
}

#[test]
fn lean_without_kallsyms_or_without_btf() {
    let without_kallsyms = plan(&["DEBUG_INFO_BTF"], Schedule::Lean, Engine::Native, 0);
    let expected =
        ["LD .tmp_vmlinux1", "BTF .tmp_vmlinux1.btf.o", "LD .tmp_vmlinux2", "DEBUG vmlinux"];
    assert_eq!(lines(&without_kallsyms), expected);
    let without_btf = plan(&["KALLSYMS"], Schedule::Lean, Engine::Native, 0);
    assert_eq!(links(&without_btf), [(".tmp_vmlinux1", true), (".tmp_vmlinux2", true)]);
    let neither = plan(&[], Schedule::Lean, Engine::Native, 0);
    assert_eq!(lines(&neither), ["LD vmlinux"]);
    assert_eq!(neither.summary(), "no temporary link, only the final one");
}

#[test]
fn a_warm_start_links_once() {
    let plan = warm(BOTH, 0);
    let expected = [
        "SIZES .tmp_vmlinux0.kallsyms.o",
        "SIZES .tmp_vmlinux0.btf.o",
        "LD .tmp_vmlinux2",
        "BTF .tmp_vmlinux1.btf.o",
        "NM .tmp_vmlinux2.syms",
        "KSYMS .tmp_vmlinux2.kallsyms.o",
        "DEBUG vmlinux",
    ];
    assert_eq!(lines(&plan), expected);
    assert_eq!(plan.summary(), "1 link without debug information and no final one");
    assert_eq!((plan.start, &plan.json()["start"]), (Start::Warm, &"warm".into()));
    let filled = [
        ".tmp_vmlinux2",
        ".tmp_vmlinux2.map",
        ".tmp_vmlinux0.kallsyms.o",
        ".tmp_vmlinux2.kallsyms.o",
        ".tmp_vmlinux0.btf.o",
        ".tmp_vmlinux1.btf.o",
    ];
    assert_eq!(plan.steps[plan.finish - 1].inputs(), filled);
    let holds = (Some(".tmp_vmlinux2.kallsyms.o"), Some(".tmp_vmlinux1.btf.o"));
    assert_eq!(plan.linked_in(), holds);
    let trial: Vec<bool> = plan.steps.iter().map(Step::is_trial).collect();
    assert_eq!(trial[..4], [true, true, true, false]);
    assert!(!trial[4..].contains(&true));
    // The kernel is kept, so relocations are.
    assert!(matches!(plan.steps[2].action, Action::Ld { relocations: true, .. }));
}

#[test]
fn symbols_are_read_beside_types_where_this_process_makes_both() {
    let names = ["KALLSYMS", "DEBUG_INFO", "DEBUG_INFO_BTF"];
    let beside = |plan: &Plan| -> Vec<String> {
        let all = 0..plan.steps.len();
        let behind = all.flat_map(|at| &plan.steps[at + 1..at + 1 + plan.beside(at)]);
        behind.map(|step| step.line().trim().to_string()).collect()
    };
    let lean = plan(&names, Schedule::Lean, Engine::Native, 0);
    let symbols = ["NM      .tmp_vmlinux1.syms", "KSYMS   .tmp_vmlinux1.kallsyms.o"];
    assert_eq!(beside(&lean), [&symbols[..], &["NM      System.map"]].concat());
    let room = ["SIZES   .tmp_vmlinux0.btf.o"];
    let symbols = ["NM      .tmp_vmlinux2.syms", "KSYMS   .tmp_vmlinux2.kallsyms.o"];
    let expected = [&room[..], &symbols, &["NM      System.map"]].concat();
    assert_eq!(beside(&warm(&names, 0)), expected);
    assert!(beside(&plan(&names, Schedule::Merged, Engine::Kernel, 0)).is_empty());
}

#[test]
fn the_linked_kernel_is_finished_by_steps_beside_each_other_where_all_are_native() {
    let needs = needs(&["KALLSYMS", "DEBUG_INFO_BTF", "BUILDTIME_TABLE_SORT"]);
    let beside = |engines: &Engines| {
        let plan = Plan::new(&needs, Schedule::Merged, engines, Start::Cold, 0);
        let verbs: Vec<_> = plan.steps[plan.finish..].iter().map(Step::verb).collect();
        assert_eq!(verbs, ["BTFIDS", "NM", "SORTTAB", "CMP"]);
        (plan.finish..plan.steps.len()).map(|at| plan.beside(at)).collect::<Vec<_>>()
    };
    let native = Engines::all(Engine::Native);
    assert_eq!(beside(&native), [2, 0, 0, 0]);
    assert_eq!(beside(&native.with(Part::Btfids, Engine::Kernel)), [0, 0, 0, 0]);
    assert_eq!(beside(&native.with(Part::Sysmap, Engine::Kernel)), [0, 0, 0, 0]);
    assert_eq!(beside(&native.with(Part::Sorttable, Engine::Kernel)), [1, 0, 0, 0]);
}

#[test]
fn a_wrong_prediction_is_mended_by_the_pass_that_a_cold_start_makes() {
    let (once, twice, thrice) = (warm(BOTH, 0), warm(BOTH, 1), warm(BOTH, 2));
    let settle = once.settle.unwrap();
    let pair = |linked: &str, made: &str| (format!("{linked}.o"), format!("{made}.o"));
    let kallsyms = pair(".tmp_vmlinux0.kallsyms", ".tmp_vmlinux2.kallsyms");
    assert_eq!(settle.same, [kallsyms, pair(".tmp_vmlinux0.btf", ".tmp_vmlinux1.btf")]);
    assert_eq!(once.steps[..settle.before], twice.steps[..settle.before]);
    let mended: Vec<String> = lines(&twice).split_off(settle.before);
    let expected = [
        "LD .tmp_vmlinux3",
        "NM .tmp_vmlinux3.syms",
        "KSYMS .tmp_vmlinux3.kallsyms.o",
        "DEBUG vmlinux",
    ];
    assert_eq!(mended, expected);
    let inputs = [".tmp_vmlinux2.kallsyms.o", ".tmp_vmlinux1.btf.o"];
    assert_eq!(twice.steps[settle.before].inputs(), inputs);
    assert!(!twice.steps[settle.before].is_trial());
    // And once more, as after a cold start.
    let settle = twice.settle.unwrap();
    assert_eq!(settle.same, [pair(".tmp_vmlinux2.kallsyms", ".tmp_vmlinux3.kallsyms")]);
    assert_eq!(twice.steps[..settle.before], thrice.steps[..settle.before]);
    assert_eq!((thrice.links(), &thrice.settle), (3, &None));
    assert_eq!(warm(BOTH, 3), thrice);
}

#[test]
fn a_warm_start_without_kallsyms_or_without_btf() {
    let types = warm(&["DEBUG_INFO_BTF"], 0);
    let expected = [
        "SIZES .tmp_vmlinux0.btf.o",
        "LD .tmp_vmlinux2",
        "BTF .tmp_vmlinux1.btf.o",
        "DEBUG vmlinux",
    ];
    assert_eq!(lines(&types), expected);
    let mended = warm(&["DEBUG_INFO_BTF"], 1);
    assert_eq!(lines(&mended)[3..], ["LD .tmp_vmlinux3", "DEBUG vmlinux"]);
    assert_eq!(mended.settle, None);
    let tables = warm(&["KALLSYMS"], 0);
    assert_eq!(links(&tables), [(".tmp_vmlinux2", true)]);
    assert_eq!(warm(&[], 0), plan(&[], Schedule::Lean, Engine::Native, 0));
}

#[test]
fn a_warm_start_takes_the_lean_schedule_and_native_engines() {
    let warm = |schedule, engines: &Engines| {
        Plan::new(&needs(BOTH), schedule, engines, Start::Warm, 0).start == Start::Warm
    };
    let native = Engines::all(Engine::Native);
    assert!(warm(Schedule::Lean, &native));
    assert!(!warm(Schedule::Merged, &native) && !warm(Schedule::Separate, &native));
    for part in Part::ALL {
        let other = native.with(part, Engine::Kernel);
        let makes = [Part::Kallsyms, Part::Btf, Part::Btfobj].contains(&part);
        assert_eq!(warm(Schedule::Lean, &other), !makes, "{part:?}");
    }
}
