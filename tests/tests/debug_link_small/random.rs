//! Images of random objects: sections, symbols and references in combinations that nobody has thought of.

use std::fmt::Write as _;
use std::fs;

use debug_link::Linker;

use super::{BOTH, SCRIPT, Small, fill};

/// Images for each linker.
const IMAGES: u64 = 40;
/// One in which the symbols of two files' sections are put before the same symbol.
const BEFORE_ONE: u64 = 225;

/// Numbers that are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    /// A string that others are likely to be, to begin or to end as.
    fn text(&mut self) -> String {
        let parts = ["int", "unsigned ", "long ", "kernel/", "fork.c", "x", ""];
        (0..1 + self.below(3)).map(|_| self.of(&parts)).collect()
    }
}

/// Sections of code and data, some of which are thrown away.
const SECTIONS: [&str; 6] = [
    ".text",
    ".section .text.hot, \"ax\"",
    ".section .discard.x, \"aw\"",
    ".data",
    ".section .rodata.plain, \"a\"",
    ".section .discard.text, \"ax\"",
];

/// Sections of strings and constants: the directive, the alignment, and what stands for an entry.
const MERGED: [(&str, u8, &str); 5] = [
    (".section .rodata.str1.1, \"aMS\", @progbits, 1", 1, ".string"),
    (".section .rodata.str1.8, \"aMS\", @progbits, 1", 8, ".string"),
    (".section .init.rodata.str1.1, \"aMS\", @progbits, 1", 1, ".string"),
    (".section .rodata.cst8, \"aM\", @progbits, 8", 8, ".quad"),
    (".section .rodata.cst4, \"aM\", @progbits, 4", 4, ".long"),
];

/// The object `number` of `count`.
fn object(random: &mut Random, number: usize, count: usize) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("memory is there");
    if !random.one_in(3) {
        line(format!(".file \"unit{number}.c\""));
    }
    // Every object has a function that the others may name.
    line(format!(".text\n.globl f{number}\nf{number}: nop"));
    let mut labels = vec![format!("f{}", random.below(count))];
    for symbol in 0..random.below(8) {
        let (section, name) = (random.of(&SECTIONS), format!("s{number}_{symbol}"));
        let bind = random.of(&["", "", ".globl", ".weak", ".hidden"]);
        line(section.to_owned());
        match bind {
            "" => {}
            ".hidden" => line(format!(".globl {name}\n.hidden {name}")),
            bind => line(format!("{bind} {name}")),
        }
        line(format!("{name}: .byte {symbol}, 1, 2"));
        labels.push(name);
    }
    for entry in 0..random.below(12) {
        let (section, align, what) = MERGED[random.below(MERGED.len())];
        line(format!("{section}\n.balign {align}\n.Lm{number}_{entry}:"));
        line(match what {
            ".string" => format!(".string \"{}\"", random.text()),
            what => format!("{what} {}", random.below(4)),
        });
        labels.push(format!(".Lm{number}_{entry}"));
    }
    let mut strings = Vec::new();
    for entry in 0..random.below(20) {
        let section = random.of(&[".debug_str", ".debug_line_str"]);
        line(format!(".section {section}, \"MS\", @progbits, 1"));
        line(format!(".Ld{number}_{entry}: .string \"{}\"", random.text()));
        strings.push(format!(".Ld{number}_{entry}"));
    }
    if random.one_in(4) {
        let name = format!("nowhere{number}");
        line(format!(".weak {name}"));
        labels.push(name);
    }
    for _ in 0..random.below(30) {
        let section = random.of(&[".debug_info", ".debug_info", ".debug_ranges", ".debug_aranges"]);
        line(format!(".section {section}, \"\", @progbits"));
        if section == ".debug_aranges" {
            line(".balign 16".to_owned());
        }
        if random.one_in(2) && !strings.is_empty() {
            let at = random.below(strings.len());
            line(format!(".long {}", strings[at]));
        } else {
            let at = random.below(labels.len());
            line(format!("addr {} + {}", labels[at], random.below(3)));
        }
    }
    text
}

#[test]
fn images_of_random_objects() {
    let script = SCRIPT
        .replace(".text : { *(.text) }", ".text : { *(.text.hot) *(.text) } .data : { *(.data) }")
        .replace("*(.rodata.*)", "*(.rodata.*) *(.init.rodata.*)");
    for linker in BOTH {
        let mut kept = 0;
        for seed in (0..IMAGES).chain([BEFORE_ONE]) {
            let mut random = Random(seed);
            let count = 1 + random.below(5);
            let objects: Vec<String> =
                (0..count).map(|number| object(&mut random, number, count)).collect();
            let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
            let small = Small::new(linker, true, &objects);
            fs::write(small.path("script"), &script).expect("a temporary directory is writable");
            small.assert_same(&["-e", "f0"]);
            let keep = ["-e", "f0", "--emit-relocs", "--discard-none"];
            match small.made(&keep) {
                Ok(_) => {
                    small.assert_same(&keep);
                    kept += 1;
                }
                Err(error) => {
                    let error = error.to_string();
                    let known = error.contains("its symbol in the output is not known");
                    assert!(known && linker == Linker::Gnu, "{linker:?}, seed {seed}: {error}");
                }
            }
        }
        assert!(kept >= IMAGES / 4, "{linker:?}: {kept} with kept relocations");
    }
}

/// The same objects with all references in loaded sections, in every form that an instruction or a table has.
fn loaded(random: &mut Random, number: usize, count: usize) -> String {
    let mut text = String::new();
    for line in object(random, number, count).lines() {
        let line = match line.split_once(' ') {
            Some((".section", name)) if name.starts_with(".debug_str") => {
                ".section .rodata.str1.1, \"aMS\", @progbits, 1".to_owned()
            }
            Some((".section", name)) if name.starts_with(".debug_line_str") => {
                ".section .rodata.str1.8, \"aMS\", @progbits, 1\n.balign 8".to_owned()
            }
            Some((".section", name)) if name.starts_with(".debug") => {
                random.of(&[".text", ".data", ".section .rodata.plain, \"a\""]).to_owned()
            }
            Some((".balign", "16")) => ".balign 4".to_owned(),
            Some((".long" | "addr", target)) => match random.below(6) {
                0 => format!(".quad {target}"),
                1 => format!(".long {target} - ."),
                2 => format!(".quad {target} - ."),
                3 => format!("call {target}"),
                4 => format!("movq ${target}, %rax"),
                _ => format!(".long {target}"),
            },
            _ => line.to_owned(),
        };
        writeln!(text, "{line}").expect("memory is there");
    }
    text
}

#[test]
fn random_images_are_filled() {
    for linker in BOTH {
        let mut filled = 0;
        for seed in 0..IMAGES {
            let mut random = Random(seed ^ 0x5eed);
            let count = 1 + random.below(5);
            let objects: Vec<String> =
                (0..count).map(|number| loaded(&mut random, number, count)).collect();
            let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
            filled += u64::from(fill::small(linker, &objects).is_filled_or_refused());
        }
        assert!(filled >= IMAGES / 3, "{linker:?}: {filled} filled in each way");
    }
}
