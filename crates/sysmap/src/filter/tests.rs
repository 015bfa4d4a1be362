use super::*;

const SED: &[u8] = b"#!/bin/sed -f\n# types\n/ [aNUw] /d\n\n/ \\$/d\n/ __[[:alnum:]]*Thunk_/d\n\
    / __UNIQUE_ID_modinfo_[0-9]*$/d\n/_veneer$/d\n/ L0$/d\n/\\.long_branch\\./d\n";

fn filter(script: &str) -> Filter {
    Filter::parse(script.as_bytes()).unwrap()
}

fn cause(script: &str) -> String {
    Filter::parse(script.as_bytes()).unwrap_err().to_string()
}

/// Whether the line of that letter and name stays.
fn keeps(filter: &Filter, kind: u8, name: &str) -> bool {
    filter.keeps(&Entry { addr: 0xffff_ffff_8100_abcd, kind, name: name.as_bytes() })
}

fn scope_of(pattern: &str) -> String {
    let alternatives = flatten(bre::parse(pattern.as_bytes()).unwrap());
    let scopes: Vec<String> = alternatives
        .iter()
        .map(|sequence| match scope(sequence) {
            Scope::Letter(set) => format!("letter {}", text(set.bytes().collect())),
            Scope::NamePrefix(name) => format!("prefix {}", text(name)),
            Scope::NameExact(name) => format!("exact {}", text(name)),
            Scope::NameSuffix(name) => format!("suffix {}", text(name)),
            Scope::NamePiece(name) => format!("piece {}", text(name)),
            Scope::NameStart(items, to_end) => {
                let lead = items.iter().map_while(literal_byte).collect();
                format!("start {}{}", text(lead), if to_end { "$" } else { "" })
            }
            Scope::Line => "line".to_owned(),
        })
        .collect();
    scopes.join(", ")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_pattern_gets_the_test_of_the_only_field_that_it_can_match() {
    for (pattern, expected) in [
        (" [aNUw] ", "letter NUaw"),
        (" \\$", "prefix $"),
        (" __crc_", "prefix __crc_"),
        (" L0$", "exact L0"),
        (" a$", "exact a"),
        (" $", "exact "),
        ("_veneer$", "suffix _veneer"),
        ("\\.long_branch\\.", "piece .long_branch."),
        ("__crc_", "piece __crc_"),
        (" __[[:alnum:]]*Thunk_", "start __"),
        (" __UNIQUE_ID_modinfo_[0-9]*$", "start __UNIQUE_ID_modinfo_$"),
        (" [xy][0-9]*$", "start $"),
        ("\\( [aNUw] \\)\\|\\(__crc_\\)\\|\\( \\$[adt]\\)", "letter NUaw, piece __crc_, start $"),
        // These can match the address, the letter or a blank.
        (" a", "line"),
        (" a*b", "line"),
        (" [ab]", "line"),
        ("cafe", "line"),
        ("x", "line"),
        (" ", "line"),
        (" .*_end$", "line"),
        ("^0", "line"),
        ("a b", "line"),
        (" x\\(y\\|z\\)", "line"),
    ] {
        assert_eq!(scope_of(pattern), expected, "{pattern:?}");
    }
}

#[test]
fn a_sed_script_drops_what_its_patterns_match() {
    let filter = filter(std::str::from_utf8(SED).unwrap());
    for (kind, name) in [
        (b'a', "x"),
        (b'U', "printk"),
        (b't', "$x"),
        (b't', "__AArch64ADRPThunk_memcpy"),
        (b't', "__Thunk_"),
        (b'd', "__UNIQUE_ID_modinfo_"),
        (b'd', "__UNIQUE_ID_modinfo_42"),
        (b't', "__memcpy_veneer"),
        (b't', "L0"),
        (b't', "0001.long_branch.memcpy"),
        (b't', "a $b"),
        (b't', "a U b"),
    ] {
        assert!(!keeps(&filter, kind, name), "{name}");
    }
    for name in ["a$", "__Thunk", "__a_Thunk_", "x__AThunk_", "__UNIQUE_ID_modinfo_4a", "_veneers"]
    {
        assert!(keeps(&filter, b't', name), "{name}");
    }
    for name in ["L01", "long_branch", "", "U", "b c"] {
        assert!(keeps(&filter, b't', name), "{name}");
    }
}

#[test]
fn a_pattern_that_reaches_over_fields_sees_the_whole_line() {
    let filter = filter("#!/bin/sed -f\n/cd T x/d\n/^00000000c0/d\n/^c0/d\n/ b/d\n");
    assert!(!keeps(&filter, b'T', "xyz"));
    assert!(keeps(&filter, b't', "xyz"));
    assert!(!keeps(&filter, b'b', "xyz"));
    assert!(!keeps(&filter, b'd', "before"));
    let entry = Entry { addr: 0xc000_0000, kind: b'T', name: b"stext" };
    assert!(!filter.keeps_in(&entry, Class::Elf32));
    assert!(!filter.keeps_in(&entry, Class::Elf64));
    let entry = Entry { addr: 0xc, ..entry };
    assert!(filter.keeps_in(&entry, Class::Elf32));
}

#[test]
fn the_shell_decides_what_grep_and_sed_see() {
    let grep =
        filter("#!/bin/sh -x\n# c\n\n$NM -n $1 | grep -v\t\\\n\t-e ' \\$' -e \" L0$\" \\\n> $2\n");
    assert!(!keeps(&grep, b't', "$x") && !keeps(&grep, b't', "L0") && keeps(&grep, b't', "L0x"));
    let old = filter(
        "#!/bin/sh\n$NM -n $1 | grep -v '\\( [aNUw] \\)\\|\\(__crc_\\)\\|\\( \\$[adt]\\)' > $2\n",
    );
    assert!(!keeps(&old, b'w', "x") && !keeps(&old, b't', "x__crc_") && !keeps(&old, b't', "$a"));
    assert!(keeps(&old, b't', "$x"));
    // In double quotes the shell takes the backslash: what is left is a blank at the end of the line.
    let lost = filter("#!/bin/sh\n${NM} -n ${1} | sed >${2} -e \"\n# c\n/ \\$/d\n/ L0$/d\n\"\n");
    assert!(keeps(&lost, b't', "$x") && !keeps(&lost, b't', "") && !keeps(&lost, b't', "L0"));
    let kept = filter("#!/bin/sh\n${NM} -n ${1} | sed >${2} -e \"\n/ \\\\$/d\n\"\n");
    assert!(!keeps(&kept, b't', "$x") && keeps(&kept, b't', ""));
}

#[test]
fn what_is_not_known_is_an_error_that_names_its_line() {
    let sed = |rest: &str| cause(&format!("#!/bin/sed -f\n\n{rest}\n"));
    assert_eq!(sed("s/a/b/"), "line 3: a sed command other than /REGEX/d");
    assert_eq!(sed("/a/!d"), "line 3: a sed command other than /REGEX/d");
    assert_eq!(sed("/a/Id"), "line 3: a sed command other than /REGEX/d");
    assert_eq!(sed("/a/d;p"), "line 3: a sed command other than /REGEX/d");
    assert_eq!(sed("/a\\/d"), "line 3: unterminated regular expression");
    assert!(sed("//d").starts_with("line 3: an empty regular expression"));
    assert_eq!(sed("/a\\{2\\}/d"), "line 3: unknown escape \\{ in a regular expression");
    assert_eq!(cause("#!/bin/awk -f\n"), "line 1: neither a sed script nor a shell script");
    assert_eq!(cause(""), "line 1: neither a sed script nor a shell script");

    let shell = |rest: &str| cause(&format!("#!/bin/sh\n{rest}\n"));
    let pipeline = "not a pipeline from $NM -n $1 into grep -v or sed with its output in $2";
    assert_eq!(shell(""), format!("line 3: {pipeline}"));
    assert_eq!(shell("$NM -n $1 > $2"), format!("line 2: {pipeline}"));
    assert_eq!(shell("$NM -n $1 | grep -v a"), format!("line 2: {pipeline}"));
    assert_eq!(shell("$NM -S $1 | grep -v a > $2"), format!("line 2: {pipeline}"));
    assert_eq!(shell("'$NM' -n $1 | grep -v a > $2"), format!("line 2: {pipeline}"));
    assert_eq!(shell("$NM -n $1 | grep a > $2"), "line 2: grep with options other than -v and -e");
    assert_eq!(shell("$NM -n $1 | grep -v > $2"), "line 2: grep without a pattern");
    assert_eq!(shell("$NM -n $1 | grep -v $3 > $2"), "line 2: a parameter inside a pattern");
    assert_eq!(shell("$NM -n $1 | grep -v a > $2\ntrue"), "line 3: a second command");
    assert_eq!(shell("if true; then"), "line 2: ; outside quotes");
    assert_eq!(shell("$NM -n $1 | grep -v 'a > $2"), "line 2: unterminated quotes");
    let substitution = "$NM -n $1 | sed >$2 -e \"\n$(if [ $# -ge 3 ]; then true; fi)\n\"";
    assert_eq!(shell(substitution), "line 3: an expansion other than a plain parameter");
}
