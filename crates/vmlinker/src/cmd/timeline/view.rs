//! What the ways to show a timeline have in common: pairs, lanes, numbers.

use std::collections::HashMap;

use pipeline::timeline::{Link, Step};

/// The kind of an engine, by who does the work: a class of the page, and a colour on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doer {
    /// vmlinker.
    Native,
    /// The linker.
    Linker,
    /// Another program.
    Tool,
}

impl Doer {
    /// Who does a step with this engine.
    pub fn of(step: &Step) -> Self {
        match step.engine.as_str() {
            "native" => Doer::Native,
            "linker" | "native+linker" => Doer::Linker,
            _ => Doer::Tool,
        }
    }
}

/// For each step of `link` the same step of `before`, and the steps that only `before` has. A name that comes several
/// times is paired in its order.
pub fn pairs<'a>(
    link: &'a Link,
    before: Option<&'a Link>,
) -> (Vec<(&'a Step, Option<&'a Step>)>, Vec<&'a Step>) {
    let mut named: HashMap<String, Vec<&Step>> = HashMap::new();
    let old = before.map_or(&[][..], |before| &before.steps);
    for step in old.iter().rev() {
        named.entry(step.name()).or_default().push(step);
    }
    let mut partner = |step: &Step| named.get_mut(&step.name()).and_then(Vec::pop);
    let pairs = link.steps.iter().map(|step| (step, partner(step))).collect();
    let left: Vec<&Step> = old
        .iter()
        .filter(|step| {
            let left = named.get(&step.name());
            left.is_some_and(|left| left.iter().any(|left| std::ptr::eq(*left, *step)))
        })
        .collect();
    (pairs, left)
}

/// The lane of each step: 0 for what runs one after the other, and further ones for what runs beside it. Steps of a
/// lane do not overlap.
pub fn lanes(steps: &[Step]) -> Vec<usize> {
    let mut ends: Vec<u64> = vec![0];
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|&at| (steps[at].start_us, at));
    let mut lanes = vec![0; steps.len()];
    for at in order {
        let step = &steps[at];
        let first = usize::from(step.beside);
        let free = ends.iter().skip(first).position(|&end| end <= step.start_us);
        let lane = free.map_or(ends.len(), |lane| lane + first);
        if lane == ends.len() {
            ends.push(0);
        }
        ends[lane] = step.end_us;
        lanes[at] = lane;
    }
    lanes
}

/// Microseconds as seconds.
pub fn seconds(micros: u64) -> String {
    format!("{:.3}", micros as f64 / 1e6)
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that leaves up to three digits.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.0} MB", bytes as f64 / 1e6),
    }
}

/// Seconds since 1970 as date and time, UTC.
pub fn date(seconds: u64) -> String {
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while year < 9999 && days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", days + 1)
}

/// What a link was, in words: schedule, start, threads and versions.
pub fn circumstances(link: &Link) -> Vec<String> {
    let mut words = vec![match link.schedule.as_str() {
        "script" => "by the kernel's own script".to_string(),
        schedule => {
            let start = if link.warm { "warm" } else { "cold" };
            format!(
                "{schedule}, {start}, up to {} threads, vmlinker {}",
                link.threads, link.vmlinker
            )
        }
    }];
    words.extend(link.linker.clone());
    words.extend(
        link.pahole
            .as_ref()
            .map(|version| format!("BTF of pahole {}", version.trim_start_matches('v'))),
    );
    let units = link.units.map(|units| format!("{} of {} units known", units.known, units.all));
    words.extend(units);
    words
}

/// A kallsyms table or a kind of types: its name, its bytes, and those of the link before.
pub struct Size<'a> {
    pub name: &'a str,
    pub bytes: u64,
    pub before: Option<u64>,
    /// How many, of types and strings.
    pub count: Option<u64>,
}

/// The kallsyms tables.
pub fn kallsyms<'a>(link: &'a Link, before: Option<&Link>) -> Vec<Size<'a>> {
    let old = before.map_or(&[][..], |before| &before.contents.kallsyms);
    let size = |table: &'a pipeline::timeline::Table| Size {
        name: table.name.strip_prefix("kallsyms_").unwrap_or(&table.name),
        bytes: table.bytes,
        before: old.iter().find(|old| old.name == table.name).map(|old| old.bytes),
        count: None,
    };
    link.contents.kallsyms.iter().map(size).collect()
}

/// What BTF consists of, the strings first.
pub fn types<'a>(link: &'a Link, before: Option<&Link>) -> Vec<Size<'a>> {
    let Some(types) = &link.contents.btf else { return Vec::new() };
    let old = before.and_then(|before| before.contents.btf.as_ref());
    let strings = Size {
        name: "strings",
        bytes: types.strings,
        before: old.map(|old| old.strings),
        count: Some(types.string_count),
    };
    let kinds = types.kinds.iter().map(|kind| Size {
        name: &kind.kind,
        bytes: kind.bytes,
        before: old
            .and_then(|old| old.kinds.iter().find(|old| old.kind == kind.kind))
            .map(|old| old.bytes),
        count: Some(kind.types),
    });
    std::iter::once(strings).chain(kinds).collect()
}

#[cfg(test)]
pub mod tests {
    use pipeline::timeline::{BtfKind, Contents, Links, Table, Types};

    use super::*;

    pub fn step(name: &str, start_us: u64, end_us: u64) -> Step {
        let (verb, output) = name.split_once(' ').unwrap();
        let (verb, output, engine) = (verb.to_string(), output.to_string(), "native".to_string());
        Step { verb, output, engine, start_us, end_us, ..Step::default() }
    }

    /// A link of 1 s with work beside it, which the second step waits for.
    pub fn link() -> Link {
        let mut steps = vec![
            step("LD .tmp_vmlinux1", 0, 400_000),
            step("PREP vmlinux.o", 1000, 500_000),
            step("BTF b.o", 400_000, 900_000),
            step("LD .tmp_vmlinux1", 900_000, 1_000_000),
        ];
        steps[0].engine = "linker".to_string();
        steps[1].beside = true;
        steps[2].waited_for = vec![steps[0].name(), steps[1].name()];
        steps[2].blocked_us = 100_000;
        let kallsyms = vec![
            Table { name: "kallsyms_names".to_string(), bytes: 608_896 },
            Table { name: "kallsyms_offsets".to_string(), bytes: 187_504 },
        ];
        let kinds = vec![BtfKind { kind: "STRUCT".to_string(), types: 4502, bytes: 376_644 }];
        let btf = Types { bytes: 2_432_507, strings: 1_020_175, string_count: 57_565, kinds };
        let (kernel, system_map) = (Some(103_283_328), Some(1_955_227));
        Link {
            vmlinker: "0.1.0".to_string(),
            linker: Some("GNU ld 2.40".to_string()),
            pahole: Some("1.24".to_string()),
            output: "vmlinux".to_string(),
            schedule: "lean".to_string(),
            threads: 2,
            began: 1_795_392_043,
            wall_us: 1_000_000,
            memory: Some(127_082_496),
            steps,
            contents: Contents { kernel, system_map, kallsyms, btf: Some(btf) },
            ..Link::default()
        }
    }

    /// That link, and one before it that was half as fast and had one step that it has not.
    pub fn links() -> Links {
        let mut before = link();
        before.wall_us *= 2;
        for step in &mut before.steps {
            (step.start_us, step.end_us) = (step.start_us * 2, step.end_us * 2);
        }
        before.steps.push(step("NM gone.syms", 1_990_000, 2_000_000));
        before.contents.kallsyms[0].bytes += 10;
        let mut links = Links::new(link());
        links.previous = Some(before);
        links
    }

    /// A link whose texts are what a page or a terminal must not take at their word.
    pub fn hostile() -> Links {
        let mut links = links();
        let evil = "</script><script>alert('1')</script>\"&\x1b[2J\n";
        for link in [&mut links.link].into_iter().chain(links.previous.as_mut()) {
            link.output = evil.to_string();
            link.linker = Some(evil.to_string());
            link.pahole = Some(evil.to_string());
            link.schedule = evil.to_string();
            link.contents.kallsyms[0].name = evil.to_string();
            link.contents.btf.as_mut().unwrap().kinds[0].kind = evil.to_string();
            link.steps.iter_mut().for_each(|step| {
                step.verb = evil.to_string();
                step.output = evil.to_string();
                step.engine = evil.to_string();
                step.waited_for = vec![evil.to_string()];
            });
        }
        links
    }

    #[test]
    fn steps_of_one_name_are_paired_in_their_order() {
        let links = links();
        let (pairs, left) = pairs(&links.link, links.previous.as_ref());
        let starts: Vec<Option<u64>> =
            pairs.iter().map(|(_, before)| before.map(|before| before.start_us)).collect();
        assert_eq!(starts, [Some(0), Some(2000), Some(800_000), Some(1_800_000)]);
        assert_eq!(left.iter().map(|step| step.name()).collect::<Vec<_>>(), ["NM gone.syms"]);
        let (pairs, left) = super::pairs(&links.link, None);
        assert!(pairs.iter().all(|pair| pair.1.is_none()) && left.is_empty());
    }

    #[test]
    fn what_overlaps_has_a_lane_of_its_own() {
        assert_eq!(lanes(&link().steps), [0, 1, 0, 0]);
        let three =
            [step("A a", 0, 10), step("B b", 0, 10), step("C c", 5, 20), step("D d", 10, 11)];
        assert_eq!(lanes(&three), [0, 1, 2, 0]);
        assert_eq!(lanes(&[]), [0_usize; 0]);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([seconds(0), seconds(99_999), seconds(2_345_678)], ["0.000", "0.100", "2.346"]);
        assert_eq!(
            [grouped(7), grouped(1234), grouped(103_283_328)],
            ["7", "1,234", "103,283,328"]
        );
        assert_eq!(
            [bytes(7), bytes(8_500), bytes(2_432_507), bytes(1 << 30)],
            ["7 B", "8 kB", "2.4 MB", "1074 MB"]
        );
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(date(1_795_392_043), "2026-11-23 00:00:43 UTC");
        assert_eq!(date(1_767_225_599), "2025-12-31 23:59:59 UTC");
        assert!(date(u64::MAX).starts_with("9999-"));
    }
}
