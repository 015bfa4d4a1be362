//! How one kernel's `scripts/kallsyms.c` differs from another's.

use crate::Error;

/// The properties of a tree's `scripts/kallsyms.c`; [`Dialect::detect`] reads them from its text.
///
/// Every field says how it shows there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// The options that the tool takes. An option shows as its name in quotes, for example
    /// `"pc-relative"`.
    pub accepts: Accepts,
    /// How addresses are stored. `kallsyms_relative_base` is not mentioned: [`Addressing::Text`]; else
    /// `kallsyms_addresses` is printed with `output_label`: [`Addressing::OptionalBase`]; else
    /// [`Addressing::Base`].
    pub addressing: Addressing,
    /// The tables of addresses come before all others, and the name order after the markers. It shows as
    /// `output_label("kallsyms_offsets")` standing before `output_label("kallsyms_num_syms")`.
    pub addresses_first: bool,
    /// There is a table of the name order: `output_label("kallsyms_seqs_of_names")`.
    pub seqs_of_names: bool,
    /// Names stand behind the data as comments: `/* %s */`.
    pub comments: bool,
    /// Tables have sizes: `.size kallsyms_names`.
    pub sizes: bool,
    /// Tables are aligned to the size of an address instead of to 4 bytes, and the text begins with the
    /// preprocessor lines that say so: `ALGN`.
    pub address_aligned: bool,
    /// The patterns of names that the tool itself drops (to 6.2): the arrays `ignored_symbols[]`,
    /// `ignored_prefixes[]`, `ignored_suffixes[]` and `ignored_matches[]`.
    pub ignored: Ignored,
    /// The type letters that are dropped: the comparisons `type == 'u'`.
    pub dropped_types: Vec<u8>,
    /// `__start_*` and `__stop_*` are kept wherever they are: the prefix `"__start_"`.
    pub keeps_section_bounds: bool,
    /// Names of this many bytes and more are skipped: the value of `#define KSYM_NAME_LEN`.
    pub name_limit: usize,
    /// A list without a valid symbol is an error: the message `No valid symbol.`.
    pub empty_is_error: bool,
    /// With `--lto-clang` names are ordered as if they ended before this: the `.llvm.` or the `'.'` that
    /// `cleanup_symbol_name` looks for. Empty where there is no such option.
    pub lto_suffix: Vec<u8>,
    /// The list is read as words with `fscanf`, a line break being like any other blank; else line by
    /// line. It shows as `fscanf`.
    pub reads_words: bool,
}

/// The options that a dialect knows beside `--all-symbols`, which all of them know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepts {
    /// `--absolute-percpu`.
    pub absolute_percpu: bool,
    /// `--base-relative`.
    pub base_relative: bool,
    /// `--lto-clang`.
    pub lto_clang: bool,
    /// `--pc-relative`.
    pub pc_relative: bool,
}

/// How a dialect stores addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// With `--base-relative` as [`Addressing::Base`], else whole addresses in `kallsyms_addresses`.
    OptionalBase,
    /// 32-bit offsets from `kallsyms_relative_base` in `kallsyms_offsets`.
    Base,
    /// With `--pc-relative` the distance of the symbol from its own place in `kallsyms_offsets`, else
    /// the low 32 bits of the address.
    Text,
}

/// Names that the tool drops, whatever their type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ignored {
    /// Whole names.
    pub names: Vec<Vec<u8>>,
    /// Beginnings.
    pub prefixes: Vec<Vec<u8>>,
    /// Ends.
    pub suffixes: Vec<Vec<u8>>,
    /// Parts anywhere in the name.
    pub parts: Vec<Vec<u8>>,
}

impl Ignored {
    /// Whether `name` matches any of the patterns.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.names.iter().any(|whole| whole == name)
            || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
            || self.suffixes.iter().any(|suffix| name.ends_with(suffix))
            || self.parts.iter().any(|part| find(name, part).is_some())
    }
}

impl Dialect {
    /// Tells the dialect from the text of a tree's `scripts/kallsyms.c`.
    ///
    /// # Errors
    /// [`Error::NotKallsyms`] if it is no such file.
    pub fn detect(source: &[u8]) -> Result<Dialect, Error> {
        for missing in ["kallsyms_names", "kallsyms_markers", "kallsyms_token_table"] {
            if !has(source, missing) {
                return Err(Error::NotKallsyms { missing });
            }
        }
        let label = |name: &str| find(source, format!("output_label(\"{name}\")").as_bytes());
        let addressing = match (has(source, "kallsyms_relative_base"), label("kallsyms_addresses"))
        {
            (false, None) => Addressing::Text,
            (_, Some(_)) => Addressing::OptionalBase,
            (true, None) => Addressing::Base,
        };
        let lto_suffix: &[u8] = match has(source, "\"lto-clang\"") {
            false => b"",
            true if has(source, "strstr(s, \".llvm.\")") => b".llvm.",
            true => b".",
        };
        Ok(Dialect {
            accepts: Accepts {
                absolute_percpu: has(source, "\"absolute-percpu\""),
                base_relative: has(source, "\"base-relative\""),
                lto_clang: has(source, "\"lto-clang\""),
                pc_relative: has(source, "\"pc-relative\""),
            },
            addressing,
            addresses_first: label("kallsyms_offsets") < label("kallsyms_num_syms"),
            seqs_of_names: label("kallsyms_seqs_of_names").is_some(),
            comments: has(source, "/* %s */"),
            sizes: has(source, ".size kallsyms_names"),
            address_aligned: has(source, "ALGN"),
            ignored: Ignored {
                names: strings_of(source, "ignored_symbols[]"),
                prefixes: strings_of(source, "ignored_prefixes[]"),
                suffixes: strings_of(source, "ignored_suffixes[]"),
                parts: strings_of(source, "ignored_matches[]"),
            },
            dropped_types: dropped_types(source),
            keeps_section_bounds: has(source, "string_starts_with(name, \"__start_\")"),
            name_limit: name_limit(source).unwrap_or(512),
            empty_is_error: has(source, "No valid symbol."),
            lto_suffix: lto_suffix.to_vec(),
            reads_words: has(source, "fscanf"),
        })
    }
}

/// Where `needle` first stands in `text`.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len().max(1)).position(|window| window == needle)
}

fn has(text: &[u8], needle: &str) -> bool {
    find(text, needle.as_bytes()).is_some()
}

/// The string literals of the array that is declared as `name`; none if there is no such array.
fn strings_of(source: &[u8], name: &str) -> Vec<Vec<u8>> {
    let Some(at) = find(source, name.as_bytes()) else { return Vec::new() };
    let body = &source[at..];
    let body = &body[..find(body, b"};").unwrap_or(body.len())];
    // The pieces between quotes are outside and inside a literal in turn.
    let mut literals = Vec::new();
    for line in body.split(|&byte| byte == b'\n') {
        literals.extend(line.split(|&byte| byte == b'"').skip(1).step_by(2).map(<[u8]>::to_vec));
    }
    literals
}

fn dropped_types(source: &[u8]) -> Vec<u8> {
    let compared = b"type == '";
    let mut letters: Vec<u8> = Vec::new();
    let mut rest = source;
    while let Some(at) = find(rest, compared) {
        rest = &rest[at + compared.len()..];
        let letter = rest.first().copied();
        letters.extend(letter.filter(|letter| !letters.contains(letter)));
    }
    letters
}

fn name_limit(source: &[u8]) -> Option<usize> {
    let define = b"#define KSYM_NAME_LEN";
    let at = find(source, define)? + define.len();
    let line = source[at..].split(|&byte| byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The dialect of 6.1.192.
    pub(crate) fn like_6_1() -> Dialect {
        let list = |items: &[&str]| items.iter().map(|item| item.as_bytes().to_vec()).collect();
        Dialect {
            accepts: Accepts {
                absolute_percpu: true,
                base_relative: true,
                lto_clang: true,
                pc_relative: false,
            },
            addressing: Addressing::OptionalBase,
            addresses_first: true,
            seqs_of_names: true,
            comments: false,
            sizes: false,
            address_aligned: true,
            ignored: Ignored {
                names: list(&["kallsyms_names", "_SDA_BASE_"]),
                prefixes: list(&["__efistub_", "__kvm_nvhe_$"]),
                suffixes: list(&["_from_arm", "_veneer"]),
                parts: list(&[".long_branch."]),
            },
            dropped_types: b"UuNn".to_vec(),
            keeps_section_bounds: false,
            name_limit: 512,
            empty_is_error: true,
            lto_suffix: b".llvm.".to_vec(),
            reads_words: true,
        }
    }

    /// The dialect of 6.6.
    pub(crate) fn like_6_6() -> Dialect {
        Dialect {
            addresses_first: false,
            comments: true,
            ignored: Ignored::default(),
            dropped_types: b"un".to_vec(),
            empty_is_error: false,
            reads_words: false,
            ..like_6_1()
        }
    }

    /// The dialect of 6.12.117.
    pub(crate) fn like_6_12() -> Dialect {
        Dialect {
            accepts: Accepts { absolute_percpu: true, ..Accepts::default() },
            addressing: Addressing::Base,
            keeps_section_bounds: true,
            lto_suffix: Vec::new(),
            ..like_6_6()
        }
    }

    /// The dialect of 7.3.4.
    pub(crate) fn like_7_3() -> Dialect {
        Dialect {
            accepts: Accepts { pc_relative: true, ..Accepts::default() },
            addressing: Addressing::Text,
            sizes: true,
            address_aligned: false,
            ..like_6_12()
        }
    }

    #[test]
    fn another_file_is_no_dialect() {
        let error = Dialect::detect(b"int main(void) { return 0; }").unwrap_err();
        assert_eq!(error, Error::NotKallsyms { missing: "kallsyms_names" });
    }

    #[test]
    fn lists_letters_and_limits_are_read_from_the_text() {
        let source = b"#define KSYM_NAME_LEN\t\t128\n\
            static const char * const ignored_symbols[] = {\n\
            \t\"kallsyms_names\",\n\t\"kallsyms_markers\",\t/* it's new */\n\
            \t\"kallsyms_token_table\",\n\tNULL\n};\n\"other\"\n\
            if (type == 'U' || type == 'u' || type == 'U')\n";
        let dialect = Dialect::detect(source).unwrap();
        assert_eq!(dialect.ignored.names.len(), 3);
        assert_eq!(dialect.ignored.names[1], b"kallsyms_markers");
        assert!(dialect.ignored.prefixes.is_empty());
        assert_eq!(dialect.dropped_types, b"Uu");
        assert_eq!(dialect.name_limit, 128);
    }

    #[test]
    fn each_kind_of_pattern_matches_where_it_should() {
        let ignored = like_6_1().ignored;
        for name in ["_SDA_BASE_", "__efistub_x", "a_veneer", "x.long_branch.y", "_veneer"] {
            assert!(ignored.matches(name.as_bytes()), "{name}");
        }
        for name in ["_SDA_BASE_x", "x__efistub_", "_veneer_x", "long_branch", ""] {
            assert!(!ignored.matches(name.as_bytes()), "{name}");
        }
    }
}
