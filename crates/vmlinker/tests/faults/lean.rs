//! The lean schedule: a full disk, a linker that misinforms, a linker that is not known.

use std::fs;
use std::process::Command;

use crate::outputs::run_limited;
use crate::tree::{Tree, run};

const SAYS_ITS_VERSION: &str =
    "[ \"$1\" = --version ] && echo 'GNU ld (GNU Binutils for Debian) 2.40' && exit";

/// A tree for which the lean schedule is known.
pub fn tree() -> Tree {
    let tree = Tree::new();
    tree.configure(&["MODULES", "KALLSYMS", "X86_64"]);
    tree
}

/// A link that `linker`, a shell script before the real one, does.
pub fn lean(tree: &Tree, before: &str, after: &str) -> Command {
    let body = format!("{SAYS_ITS_VERSION}\n{before}\nld \"$@\" || exit\n{after}");
    let mut link = tree.link_with(&tree.stub("stub-ld", &body));
    link.env("VMLINKER_FLAGS", "--schedule lean");
    link
}

#[test]
fn the_bytes_are_those_of_the_other_schedules() {
    let tree = tree();
    run(&mut tree.link()).succeeds();
    let merged = fs::read(tree.path("vmlinux")).unwrap();
    let result = run(&mut lean(&tree, "", ""));
    assert_eq!(result.status, 0, "{}", result.err);
    assert!(result.out.contains("  DEBUG   vmlinux\n"), "{}", result.out);
    assert!(fs::read(tree.path("vmlinux")).unwrap() == merged);
}

/// Sections that have to be where the linker's rules for debug information look for them.
const DEBUG_SECTIONS: [&str; 9] = [
    ".debug_aranges",
    ".debug_info",
    ".debug_abbrev",
    ".debug_line",
    ".debug_frame",
    ".debug_str",
    ".debug_line_str",
    ".debug_loclists",
    ".debug_rnglists",
];

/// Enough types that their units have more than one relocation each, in two units of one object.
const TYPED: [&str; 2] = [
    "struct list { struct list *next, *previous; const char *a_name; };\n\
     enum state { RUNNING, SLEEPING } state = SLEEPING; struct list head = { &head, &head, 0 };\n\
     int start_kernel(struct list *list, unsigned long flags)\n\
     { return list->next != &head && flags > state; }\n",
    "struct list { struct list *next, *previous; const char *a_name; };\n\
     typedef unsigned long long u64; union value { u64 number; struct list *list; };\n\
     u64 second(union value *value) { return value->number + (u64)value->list->previous; }\n",
];

/// A tree with types, linked before by the tree's own schedule, and the kernel of that link.
fn typed_tree() -> (Tree, Vec<u8>) {
    let tree = tree();
    tree.configure(&["MODULES", "KALLSYMS", "DEBUG_INFO_BTF", "X86_64"]);
    let section = |name: &&str| format!("\t{name} 0 : {{ *({name}) }}\n");
    let sections: String = DEBUG_SECTIONS.iter().map(section).collect();
    let script = tree.read("vmlinux.lds");
    let script = script.replace("\t_end = .;", "\t.BTF : { *(.BTF) }\n\t_end = .;");
    tree.write("vmlinux.lds", script.replace("\t/DISCARD/", &format!("{sections}\t/DISCARD/")));
    let shell = |command: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-ec", command]).current_dir(tree.dir());
        assert!(shell.status().unwrap().success(), "{command}");
    };
    for (index, source) in TYPED.iter().enumerate() {
        tree.write(&format!("{index}.c"), source);
        shell(&format!("gcc -g -O1 -ffreestanding -fno-pic -fno-stack-protector -c {index}.c"));
    }
    shell("ld -r -o vmlinux.o 0.o 1.o");
    let result = run(&mut tree.link());
    assert_eq!(result.status, 0, "{}", result.err);
    let kernel = fs::read(tree.path("vmlinux")).unwrap();
    (tree, kernel)
}

#[test]
fn types_are_made_of_the_objects_to_the_same_bytes() {
    let (tree, kernel) = typed_tree();
    for (flags, links) in [("--schedule lean", 1), ("--schedule lean --cold", 2)] {
        let result = run(lean(&tree, "", "").env("VMLINKER_FLAGS", flags));
        assert_eq!((result.status, &*result.err), (0, ""), "{flags}");
        assert_eq!(result.out.matches("  LD ").count(), links, "{flags}: {}", result.out);
        assert!(!result.out.contains("  DEBUG   .tmp"), "{flags}: {}", result.out);
        assert!(fs::read(tree.path("vmlinux")).unwrap() == kernel, "{flags}");
    }
}

/// The debug information of the kernel that the types are made of has to be written by the linker.
#[test]
fn types_of_a_kernel_whose_map_is_cut_off() {
    let (tree, kernel) = typed_tree();
    let mut link = lean(&tree, "", "[ ! -e .tmp_vmlinux1.map ] || : > .tmp_vmlinux1.map");
    let result = run(link.env("VMLINKER_FLAGS", "--schedule lean --cold"));
    let told = [
        "vmlinker: types of .tmp_vmlinux1 are read out of a file: line 1 of the link map: ",
        "vmlinker: .tmp_vmlinux1.debug is linked once more: line 1 of the link map: ",
    ];
    let lines: Vec<&str> = result.err.lines().collect();
    let same = lines.iter().zip(told).all(|(line, told)| line.starts_with(told));
    assert!(result.status == 0 && lines.len() == told.len() && same, "{}", result.err);
    assert!(fs::read(tree.path("vmlinux")).unwrap() == kernel);
    assert!(!tree.has(".tmp_vmlinux1.debug") && !tree.has(".tmp_vmlinux1.whole"));
}

/// They cannot be applied part by part, but to the whole section.
#[test]
fn types_of_an_object_whose_relocations_are_in_no_order() {
    let (tree, _) = typed_tree();
    let mut object = fs::read(tree.path("vmlinux.o")).unwrap();
    let elf = image::Elf::parse(&object).unwrap();
    let (_, records) = elf.section(".rela.debug_info").unwrap();
    let range = records.offset as usize..(records.offset + records.size) as usize;
    let reversed: Vec<u8> = object[range.clone()].rchunks(24).flatten().copied().collect();
    object[range].copy_from_slice(&reversed);
    tree.write("vmlinux.o", &object);
    run(&mut tree.link()).succeeds();
    let kernel = fs::read(tree.path("vmlinux")).unwrap();
    let result = run(&mut lean(&tree, "", ""));
    let told = "vmlinker: types of .tmp_vmlinux2 are read out of a file: vmlinux.o: .debug_info+0x";
    assert!(result.status == 0 && result.err.starts_with(told), "{}", result.err);
    assert_eq!(result.err.lines().count(), 1, "{}", result.err);
    assert!(fs::read(tree.path("vmlinux")).unwrap() == kernel);
    assert!(!tree.has(".tmp_vmlinux2.debug"));
}

#[test]
fn a_disk_that_fills_up_while_debug_information_is_put_in() {
    let tree = tree();
    // A kernel that is larger than the limit, whose symbols are not.
    let source = ".globl start_kernel\n.text\nstart_kernel: .long 0\n.data\n.fill 100000, 1, 1\n";
    tree.compile("vmlinux.o", "assembler", source);
    let result = run_limited(&lean(&tree, "ulimit -S -f unlimited", ""), 32);
    result.fails(1, &["DEBUG vmlinux: ", "/.tmp_vmlinux2.whole: ", "File too large"]);
    tree.assert_no_result();
    assert!(!tree.has(".tmp_vmlinux2.whole"));
}

#[test]
fn a_map_that_is_cut_off_is_noticed_and_the_linker_does_it() {
    let tree = tree();
    run(&mut tree.link()).succeeds();
    let merged = fs::read(tree.path("vmlinux")).unwrap();
    let cuts = [": >", "sed -i /kallsyms.o/d"];
    for cut in cuts.map(|cut| format!("{cut} .tmp_vmlinux2.map")) {
        let after = format!("[ ! -e .tmp_vmlinux2.map ] || {{ {cut}; }}");
        let result = run(&mut lean(&tree, "", &after));
        assert_eq!(result.status, 0, "{}", result.err);
        let told = "vmlinker: vmlinux is linked once more: ";
        assert!(result.err.starts_with(told), "{cut}: {}", result.err);
        assert!(fs::read(tree.path("vmlinux")).unwrap() == merged, "{cut}");
        assert!(!tree.has(".tmp_vmlinux2.whole"));
        fs::remove_file(tree.path(".tmp_vmlinux2.map")).unwrap();
    }
}

#[test]
fn an_unknown_linker_links_by_the_trees_own_schedule() {
    let tree = tree();
    let body = "[ \"$1\" = --version ] && echo 'ld of tomorrow 3.0' && exit\nexec ld \"$@\"";
    let mut link = tree.link_with(&tree.stub("stub-ld", body));
    let result = run(link.env("VMLINKER_FLAGS", "--schedule lean"));
    assert_eq!(result.status, 0, "{}", result.err);
    let told = "vmlinker: the schedule is merged, not lean: not supported: the linker ld of tomorrow 3.0\n";
    assert_eq!(result.err, told);
    assert!(result.out.contains("  LD      vmlinux\n"), "{}", result.out);
}
