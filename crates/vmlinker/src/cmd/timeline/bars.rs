//! A timeline as text: a bar for each step.

use std::fmt::Write as _;

use pipeline::timeline::{Link, Links, Step};

use super::view::{
    Doer, Size, bytes, circumstances, date, grouped, kallsyms, pairs, seconds, types,
};

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub width: usize,
    pub colours: bool,
    /// Whether bars may be of other characters than those of ASCII.
    pub unicode: bool,
}

impl Look {
    /// Columns where there is no terminal.
    pub const WIDTH: usize = 100;

    /// What a running and a waiting part of a bar are made of.
    fn fill(self) -> (char, char) {
        if self.unicode { ('█', '░') } else { ('#', '.') }
    }

    fn paint(self, doer: Doer, text: &str) -> String {
        let colour = match doer {
            Doer::Native => 32,
            Doer::Linker => 34,
            Doer::Tool => 33,
        };
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// The longest name of a step that is shown whole, and the least that is left for bars.
const NAME: usize = 32;
const LEAST: usize = 10;

/// What stands behind the bars: time, that of the link before, processor time, engine.
const NUMBERS: usize = 3 * 8 + 2;

/// The longest engine that is shown whole.
const ENGINE: usize = 13;

/// The last link of a tree, step by step, beside the one before.
pub fn bars(links: &Links, look: &Look) -> String {
    let (link, before) = (&links.link, links.previous.as_ref());
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}, {}", shown(&link.output), date(link.began));
    let words = circumstances(link);
    let (how, tools) = words.split_at(1);
    for line in [how, tools].into_iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "{}", shown(&line.join("; ")));
    }
    text.push('\n');
    table(&mut text, link, before, look);
    memory(&mut text, link);
    made(&mut text, link, before, look);
    text
}

fn table(text: &mut String, link: &Link, before: Option<&Link>, look: &Look) {
    let (pairs, left) = pairs(link, before);
    let steps = || pairs.iter().map(|pair| pair.0).chain(left.iter().copied());
    let longest = |of: &dyn Fn(&Step) -> String| steps().map(|s| of(s).chars().count()).max();
    let name = longest(&label).unwrap_or(0).min(NAME);
    let engine = longest(&|step| shown(&step.engine)).unwrap_or(0).min(ENGINE);
    let width = look.width.saturating_sub(name + NUMBERS + engine + 3).max(LEAST);
    let mut row = |name_: &str, bar: &str, [time, old, cpu]: [&str; 3], by: &str| {
        let line = format!("{name_:name$} {bar}{time:>8}{old:>8}{cpu:>8}  {by}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    let heading = before.map_or("", |_| "before");
    row("step", &" ".repeat(width), ["s", heading, "CPU"], "by");
    let time = |step: Option<&Step>| step.map_or("-".to_string(), |step| seconds(step.wall_us()));
    for (step, old) in pairs {
        let bar = look.paint(Doer::of(step), &bar(step, link.wall_us, width, *look));
        let old = if before.is_some() { time(old) } else { String::new() };
        let cpu = step.cpu_us.map_or("-".to_string(), seconds);
        row(
            &cut(&label(step), name),
            &bar,
            [&time(Some(step)), &old, &cpu],
            &cut(&shown(&step.engine), engine),
        );
    }
    for step in left {
        let (label, engine) = (cut(&label(step), name), cut(&shown(&step.engine), engine));
        row(&label, &" ".repeat(width), ["-", &time(Some(step)), ""], &engine);
    }
    let all = |link: &Link| seconds(link.wall_us);
    let cpu = link.steps.iter().filter_map(|step| step.cpu_us).reduce(|sum, cpu| sum + cpu);
    let (old, cpu) = (before.map(all).unwrap_or_default(), cpu.map_or("-".to_string(), seconds));
    row("together", &" ".repeat(width), [&all(link), &old, &cpu], "");
}

/// The bar of a step, as wide as its link.
fn bar(step: &Step, wall: u64, width: usize, look: Look) -> String {
    let (run, wait) = look.fill();
    let wall = wall.max(1) as f64;
    let column = |time: u64| time as f64 / wall * width as f64;
    let start = (column(step.start_us) as usize).min(width.saturating_sub(1));
    let end = (column(step.end_us).ceil() as usize).clamp(start + 1, width.max(start + 1));
    let waited = (column(step.blocked_us).round() as usize).min(end - start - 1);
    let repeated = |character: char, times: usize| character.to_string().repeat(times);
    let spaces = |times: usize| " ".repeat(times);
    let (running, behind) = (end - start - waited, width.saturating_sub(end));
    spaces(start) + &repeated(wait, waited) + &repeated(run, running) + &spaces(behind)
}

fn memory(text: &mut String, link: &Link) {
    let child = link.steps.iter().filter(|step| step.child_memory.is_some());
    let child = child.max_by_key(|step| step.child_memory);
    let own = link.memory.map(|memory| format!("vmlinker {}", bytes(memory)));
    let child = child
        .and_then(|step| Some(format!("{} {}", shown(&step.name()), bytes(step.child_memory?))));
    let words: Vec<String> = own.into_iter().chain(child).collect();
    if !words.is_empty() {
        let _ = writeln!(text, "\nmemory, at most: {}", words.join("; "));
    }
    for step in link.steps.iter().filter(|step| step.blocked_us > 0) {
        let waited = step.waited_for.last().map_or("another", String::as_str);
        let time = seconds(step.blocked_us);
        let _ = writeln!(text, "waiting: {} {time} s for {}", shown(&step.name()), shown(waited));
    }
}

/// What was made, in bytes, and what it consists of.
fn made(text: &mut String, link: &Link, before: Option<&Link>, look: &Look) {
    let contents = |link: &Link| {
        let tables = &link.contents.kallsyms;
        let kallsyms = (!tables.is_empty()).then(|| tables.iter().map(|table| table.bytes).sum());
        let btf = link.contents.btf.as_ref().map(|types| types.bytes);
        [link.contents.kernel, link.contents.system_map, kallsyms, btf]
    };
    let (now, old) = (contents(link), before.map_or([None; 4], contents));
    let parts: [Vec<Size<'_>>; 4] = [vec![], vec![], kallsyms(link, before), types(link, before)];
    let names = [&*link.output, "System.map", "kallsyms", "BTF"];
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    text.push('\n');
    for (((name, now), old), mut parts) in names.into_iter().zip(now).zip(old).zip(parts) {
        let Some(now) = now else { continue };
        let _ = writeln!(
            text,
            "{:width$} {:>13} bytes{}",
            shown(name),
            grouped(now),
            changed(now, old)
        );
        parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        let parts: Vec<String> = parts.iter().map(part).collect();
        wrap(text, &parts, look.width);
    }
}

fn part(size: &Size<'_>) -> String {
    format!("{} {}{}", shown(size.name), grouped(size.bytes), changed(size.bytes, size.before))
}

/// By how much a size is another than before.
fn changed(now: u64, before: Option<u64>) -> String {
    match before {
        None => String::new(),
        Some(before) if before == now => String::new(),
        Some(before) if before < now => format!(" (+{})", grouped(now - before)),
        Some(before) => format!(" (-{})", grouped(before - now)),
    }
}

/// Words with commas in lines of at most `width` columns.
fn wrap(text: &mut String, words: &[String], width: usize) {
    const INDENT: &str = "           ";
    let mut line = String::new();
    for (at, word) in words.iter().enumerate() {
        let comma = if at + 1 < words.len() { "," } else { "" };
        if !line.is_empty() && INDENT.len() + line.len() + word.len() + 2 > width {
            let _ = writeln!(text, "{INDENT}{line}");
            line.clear();
        }
        let space = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{space}{word}{comma}");
    }
    if !line.is_empty() {
        let _ = writeln!(text, "{INDENT}{line}");
    }
}

/// The name of a step as Kbuild prints it.
fn label(step: &Step) -> String {
    format!("{:7} {}", shown(&step.verb), shown(&step.output))
}

/// Text without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Text of at most `width` columns; what is cut off shows as a `~`.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    text.chars().take(width.saturating_sub(1)).chain(['~']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{hostile, link, links, step};
    use super::*;

    const PLAIN: Look = Look { width: 100, colours: false, unicode: false };

    #[test]
    fn bars_lie_where_the_steps_lie_in_the_link() {
        let text = bars(&links(), &PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "vmlinux, 2026-11-23 00:00:43 UTC");
        assert_eq!(lines[1], "lean, cold, up to 2 threads, vmlinker 0.1.0");
        assert_eq!(lines[2], "GNU ld 2.40; BTF of pahole 1.24");
        let steps = &lines[4..];
        assert!(steps[0].starts_with("step ") && steps[0].ends_with("CPU  by"), "{text}");
        let bar = |line: &str| {
            let first = line.find('#').unwrap();
            (first, line.rfind('#').unwrap() - first + 1)
        };
        // Names have 21 columns and engines 6, so bars have 44.
        let bars: Vec<(usize, usize)> = [1, 2, 4].map(|at| bar(steps[at])).to_vec();
        assert!(text.contains("LD      .tmp_vmlinux1 ##########"), "{text}");
        assert_eq!(bars[0].0, bars[1].0, "{text}");
        assert!(bars[1].1 > bars[0].1 && bars[2].0 > bars[1].0 + bars[1].1, "{text}");
        assert!(steps[3].contains("....####"), "waiting: {text}");
        assert!(steps[3].contains("  0.500   1.000"), "the link before: {text}");
        assert!(
            steps[5].starts_with("NM      gone.syms") && steps[5].contains("-   0.010"),
            "{text}"
        );
        assert!(steps[6].starts_with("together") && steps[6].contains("1.000   2.000"), "{text}");
        assert!(text.contains("waiting: BTF b.o 0.100 s for PREP vmlinux.o\n"), "{text}");
        assert!(text.contains("memory, at most: vmlinker 127 MB\n"), "{text}");
        assert!(text.contains("names 608,896 (-10)"), "{text}");
        assert!(text.contains("BTF            2,432,507 bytes\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.is_ascii() && !text.contains(" \n"), "{text}");
    }

    #[test]
    fn no_bar_leaves_its_place() {
        let wall = 1_000_000;
        for width in [1, 2, 10, 300] {
            for (start, end) in
                [(0, 0), (0, wall), (wall, wall), (999_999, wall), (3, 4), (wall / 2, wall)]
            {
                let mut step = step("A a", start, end);
                for blocked in [0, (end - start) / 2, end - start] {
                    step.blocked_us = blocked;
                    let bar = bar(&step, wall, width, PLAIN);
                    assert_eq!(bar.chars().count(), width, "{start} {end} {blocked}");
                    assert!(bar.contains('#'), "{start} {end} {blocked}");
                }
            }
        }
        assert_eq!(bar(&step("A a", 0, 0), 0, 4, PLAIN), "#   ");
    }

    #[test]
    fn colours_and_blocks_only_where_they_are_asked_for() {
        let text = bars(&links(), &Look { colours: true, unicode: true, ..PLAIN });
        assert!(
            text.contains("\x1b[34m███") && text.contains("░░█") && !text.contains('#'),
            "{text}"
        );
        assert_eq!(text.matches("\x1b[0m").count(), 4);
    }

    #[test]
    fn nothing_in_a_record_reaches_the_terminal_as_a_command() {
        let text = bars(&hostile(), &PLAIN);
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(text.lines().count() < 30, "{text}");
    }

    #[test]
    fn a_first_link_and_one_without_types_have_nothing_beside_them() {
        let mut alone = link();
        alone.contents = Default::default();
        let text = bars(&Links::new(alone), &Look { width: 20, ..PLAIN });
        assert!(!text.contains("BTF   ") || text.contains("BTF     b.o"), "{text}");
        assert!(!text.contains("bytes"), "{text}");
    }
}
