//! Which symbols of the list get into the tables, and in which order.
//!
//! Cost: one pass over the list; the order is nearly there already, since the list comes from
//! `nm -n`. Source of facts: `scripts/kallsyms.c`, `read_symbol`, `symbol_valid`, `compare_symbols`.

use sysmap::Entry;

use crate::{Dialect, Error, Options, Symbol, Warning};

/// The absolute symbols that are kept; all others are dropped.
const KEPT_ABSOLUTE: [&[u8]; 4] =
    [b"__kernel_syscall_via_break", b"__kernel_syscall_via_epc", b"__kernel_sigtramp", b"__gp"];

/// What a list contains for the tables.
#[derive(Debug)]
pub(crate) struct Selected<'a> {
    /// The symbols in the order of the tables.
    pub symbols: Vec<Symbol<'a>>,
    /// The address of `_text`; 0 if the list has none.
    pub text: u64,
}

/// Addresses from `start` to `end`, both included.
#[derive(Debug, Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    fn contains(self, addr: u64) -> bool {
        self.start <= addr && addr <= self.end
    }

    /// Takes the address of a symbol that is one of the range's two ends.
    fn learn(&mut self, ends: [&[u8]; 2], entry: &Entry<'_>) {
        if entry.name == ends[0] {
            self.start = entry.addr;
        } else if entry.name == ends[1] {
            self.end = entry.addr;
        }
    }
}

/// The ranges of addresses that the rules ask for. Without its symbols a text range holds address 0
/// only and the per-CPU range nothing.
#[derive(Debug)]
struct Ranges {
    text: Range,
    init_text: Range,
    per_cpu: Range,
}

impl Ranges {
    fn new() -> Self {
        let none = Range { start: 0, end: 0 };
        Ranges { text: none, init_text: none, per_cpu: Range { start: u64::MAX, end: 0 } }
    }

    fn learn(&mut self, entry: &Entry<'_>) {
        self.text.learn([b"_stext", b"_etext"], entry);
        self.init_text.learn([b"_sinittext", b"_einittext"], entry);
        self.per_cpu.learn([b"__per_cpu_start", b"__per_cpu_end"], entry);
    }
}

/// What the tool says of the list: which names are too long to be kept. [`crate::Tables::build`] gives
/// the same with its tables; this is for when there are none.
pub fn warnings(entries: &[Entry<'_>], dialect: &Dialect) -> Vec<Warning> {
    let limit = dialect.name_limit;
    let too_long = entries.iter().filter(|entry| entry.name.len() >= limit);
    too_long.map(|entry| Warning::NameTooLong { name: entry.name.to_vec(), limit }).collect()
}

/// Applies the rules of `dialect` to the list.
pub(crate) fn select<'a>(
    entries: &[Entry<'a>],
    dialect: &Dialect,
    options: &Options,
) -> Result<Selected<'a>, Error> {
    let mut symbols = Vec::with_capacity(entries.len());
    let mut ranges = Ranges::new();
    let mut text = 0;
    for (index, entry) in entries.iter().enumerate() {
        if entry.kind == 0 || entry.name.contains(&0) {
            return Err(Error::ZeroByte { index });
        }
        if entry.name.len() >= dialect.name_limit {
            continue;
        }
        if entry.name == b"_text" {
            text = entry.addr;
        }
        if is_ignored(entry, dialect) {
            continue;
        }
        ranges.learn(entry);
        let Entry { addr, kind, name } = *entry;
        symbols.push(Symbol { addr, kind, percpu_absolute: false, name });
    }
    if !options.all_symbols {
        symbols.retain(|symbol| is_text(symbol, &ranges, dialect));
    }
    if symbols.is_empty() && dialect.empty_is_error {
        return Err(Error::NoValidSymbol);
    }
    if options.absolute_percpu {
        for symbol in symbols.iter_mut().filter(|symbol| ranges.per_cpu.contains(symbol.addr)) {
            (symbol.kind, symbol.percpu_absolute) = (b'A', true);
        }
    }
    sort_by_address(&mut symbols);
    Ok(Selected { symbols, text })
}

fn is_ignored(entry: &Entry<'_>, dialect: &Dialect) -> bool {
    let absolute = entry.kind.eq_ignore_ascii_case(&b'A');
    dialect.dropped_types.contains(&entry.kind)
        || (absolute && !KEPT_ABSOLUTE.contains(&entry.name))
        || dialect.ignored.matches(entry.name)
}

/// Whether a symbol is kept without `--all-symbols`. A symbol at the end of a text range is not, unless
/// it is the one that marks the end: what follows the text may move between two links.
fn is_text(symbol: &Symbol<'_>, ranges: &Ranges, dialect: &Dialect) -> bool {
    if dialect.keeps_section_bounds
        && (symbol.name.starts_with(b"__start_") || symbol.name.starts_with(b"__stop_"))
    {
        return true;
    }
    let at_end = symbol.addr == ranges.text.end && symbol.name != b"_etext"
        || symbol.addr == ranges.init_text.end && symbol.name != b"_einittext";
    (ranges.text.contains(symbol.addr) || ranges.init_text.contains(symbol.addr)) && !at_end
}

/// Orders by address; at one address not weak first, then what the linker script does not define, then
/// fewer leading underscores, then as in the list.
fn sort_by_address(symbols: &mut [Symbol<'_>]) {
    symbols.sort_by_key(|symbol| symbol.addr);
    for same in symbols.chunk_by_mut(|a, b| a.addr == b.addr).filter(|same| same.len() > 1) {
        same.sort_by_key(|symbol| {
            let weak = symbol.kind.eq_ignore_ascii_case(&b'w');
            let underscores = symbol.name.iter().take_while(|&&byte| byte == b'_').count();
            (weak, may_be_of_linker_script(symbol.name), underscores)
        });
    }
}

/// Whether a name looks like one that a linker script gives to the bounds of a section.
fn may_be_of_linker_script(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"__").filter(|rest| rest.len() >= 6) else { return false };
    let begins = |prefix: &[u8]| rest.starts_with(prefix);
    begins(b"start_")
        || begins(b"stop_")
        || begins(b"end_")
        || name.ends_with(b"_start")
        || name.ends_with(b"_end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::{like_6_1, like_6_12};

    fn names(list: &[(u64, u8, &str)], dialect: &Dialect, options: Options) -> Vec<String> {
        let entries: Vec<Entry<'_>> = list
            .iter()
            .map(|&(addr, kind, name)| Entry { addr, kind, name: name.as_bytes() })
            .collect();
        let selected = select(&entries, dialect, &options).unwrap();
        let text = |symbol: &Symbol<'_>| String::from_utf8_lossy(symbol.name).into_owned();
        selected.symbols.iter().map(text).collect()
    }

    const ALL: Options = Options {
        all_symbols: true,
        absolute_percpu: false,
        base_relative: false,
        lto_clang: false,
        pc_relative: false,
    };

    #[test]
    fn absolute_symbols_and_some_types_are_dropped() {
        let list = [
            (1, b'A', "absolute"),
            (2, b'a', "__gp"),
            (3, b'U', "undefined"),
            (4, b'n', "debug"),
            (5, b'T', "text"),
        ];
        assert_eq!(names(&list, &like_6_1(), ALL), ["__gp", "text"]);
        assert_eq!(names(&list, &like_6_12(), ALL), ["__gp", "undefined", "text"]);
    }

    #[test]
    fn without_all_symbols_only_text_stays() {
        let list = [
            (0, b'D', "at_zero"),
            (10, b'T', "_stext"),
            (15, b't', "inside"),
            (20, b'T', "at_the_end"),
            (20, b'T', "_etext"),
            (25, b'R', "between"),
            (26, b'R', "__start_x"),
            (30, b'T', "_sinittext"),
            (40, b'T', "_einittext"),
            (41, b'T', "_end"),
        ];
        let text = ["_stext", "inside", "_etext", "_sinittext", "_einittext"];
        let options = Options { all_symbols: false, ..ALL };
        assert_eq!(names(&list, &like_6_1(), options), text);
        let mut with_bounds = text.to_vec();
        with_bounds.insert(3, "__start_x");
        assert_eq!(names(&list, &like_6_12(), options), with_bounds);
    }

    #[test]
    fn ties_are_broken_by_weakness_then_script_names_then_underscores_then_order() {
        let list = [
            (8, b'W', "weak"),
            (8, b'T', "__stop_it"),
            (8, b'T', "__its_end"),
            (8, b'T', "___x"),
            (8, b'T', "_b"),
            (8, b'T', "_a"),
            (8, b'T', "__end_"),
            (7, b'T', "before"),
        ];
        // `__end_` is too short to be a name of a linker script.
        let expected = ["before", "_b", "_a", "__end_", "___x", "__stop_it", "__its_end", "weak"];
        assert_eq!(names(&list, &like_6_12(), ALL), expected);
    }

    #[test]
    fn names_at_the_limit_are_skipped_with_a_warning() {
        for (len, kept) in [(511, true), (512, false), (513, false)] {
            let name = "x".repeat(len);
            let entries = [Entry { addr: 1, kind: b'T', name: name.as_bytes() }];
            let selected = select(&entries, &like_6_12(), &ALL).unwrap();
            assert_eq!(selected.symbols.len(), usize::from(kept));
            let text = format!(
                "Symbol {name} too long for kallsyms ({len} >= 512).\n\
                 Please increase KSYM_NAME_LEN both in kernel and kallsyms.c"
            );
            let found: Vec<_> =
                warnings(&entries, &like_6_12()).iter().map(Warning::to_string).collect();
            assert_eq!(found, if kept { vec![] } else { vec![text] });
        }
    }

    #[test]
    fn per_cpu_symbols_become_absolute() {
        let list = [(0, b'D', "__per_cpu_start"), (4, b'd', "x"), (8, b'D', "__per_cpu_end")];
        let entries =
            list.map(|(addr, kind, name)| Entry { addr, kind, name: str::as_bytes(name) });
        let options = Options { absolute_percpu: true, ..ALL };
        let selected = select(&entries, &like_6_12(), &options).unwrap();
        assert!(selected.symbols.iter().all(|s| s.percpu_absolute && s.kind == b'A'));
    }

    #[test]
    fn an_empty_list_is_an_error_where_the_tool_says_so() {
        assert_eq!(select(&[], &like_6_1(), &ALL).unwrap_err(), Error::NoValidSymbol);
        assert!(select(&[], &like_6_12(), &ALL).unwrap().symbols.is_empty());
    }

    #[test]
    fn a_zero_byte_is_refused() {
        let entries = [Entry { addr: 1, kind: b'T', name: b"a\0b" }];
        assert_eq!(select(&entries, &like_6_12(), &ALL).unwrap_err(), Error::ZeroByte { index: 0 });
    }
}
