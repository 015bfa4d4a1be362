//! The functions of a kernel, as `nm -S` lists them.
//!
//! They come from such a list ([`Functions::parse`]) or, without it, from the symbols that it would be
//! made of ([`Functions::from_rows`]), which spares a run of `nm` (0.1 s for a small kernel).

use rayon::prelude::*;

use crate::runs::{self, Runs};

/// Above this many rows that are read beyond their ends, all are read as text.
const MOST_RUNS: usize = 50;

/// A function: where it begins and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// Address of its first byte.
    pub addr: u64,
    /// Size in bytes.
    pub size: u64,
}

/// A symbol as `nm -S` would list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its value; `None` for an undefined symbol.
    pub addr: Option<u64>,
    /// `st_size` in bytes; `nm` leaves out a size of 0.
    pub size: u64,
    /// The letter of its type.
    pub kind: u8,
    /// Name.
    pub name: &'a [u8],
}

/// Functions by ascending address, those of one address in the order of the list they came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Functions(Vec<Function>);

impl Functions {
    /// Functions in the order in which `nm -S` lists them: that order decides between functions of one
    /// address, see [`Functions::contains`].
    pub fn new(mut listed: Vec<Function>) -> Self {
        listed.sort_by_key(|function| function.addr);
        Functions(listed)
    }

    /// Reads a list that `nm -S` wrote: `ADDRESS SIZE TYPE NAME`, of which the types t, T and W count.
    ///
    /// PARITY: the list is read as words, not as lines, which matters where `nm` leaves out the size or
    /// the address. For `ffffffff81000000 T text_start` the size is read from `T` (0, but 13 from `D`),
    /// the type is the name's first letter, and the rest of the name is the name; for an undefined
    /// symbol a word comes from the next line. A word is cut at 16 bytes. The test `nm_lists` in
    /// `tests/tests/sorttable.rs` holds it to that.
    pub fn parse(nm: &[u8]) -> Self {
        let mut words = Words(nm);
        let mut listed = Vec::with_capacity(nm.len() / 128);
        while let Some(function) = words.entry() {
            listed.extend(function);
        }
        Functions::new(listed)
    }

    /// The functions that [`Functions::parse`] reads from the list that `nm -S` would write of these
    /// symbols: all that it lists, in the order of the symbol table.
    ///
    /// `nm` sorts by name, byte by byte (Kbuild sets `LC_COLLATE=C`), and so does this where it matters.
    pub fn from_rows(rows: &[Row<'_>]) -> Self {
        let all = || (0..rows.len()).into_par_iter().with_min_len(1 << 12);
        let starts: Vec<usize> = all().filter(|&row| rows[row].runs_on()).collect();
        if starts.len() > MOST_RUNS {
            return Functions::parse(&list(rows, false));
        }
        let runs = Runs::read(rows, starts);
        let single = |row: usize| match runs.rows.contains(&row) {
            true => None,
            false => rows[row].function().map(|function| (function, row)),
        };
        let mut listed: Vec<(Function, usize)> = all().filter_map(single).collect();
        listed.extend(runs.read);
        let order = |&(function, row): &(Function, usize)| (function.addr, runs::key(rows, row));
        listed.par_sort_by(|one, other| order(one).cmp(&order(other)));
        Functions(listed.into_iter().map(|(function, _)| function).collect())
    }

    /// The same of the list that `llvm-nm -S` would write: it has sizes of 0 too.
    pub fn from_rows_of_llvm(rows: &[Row<'_>]) -> Self {
        Functions::parse(&list(rows, true))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The functions, by ascending address.
    pub fn as_slice(&self) -> &[Function] {
        &self.0
    }

    /// Whether `address` is within a function or up to `before` bytes before one.
    ///
    /// PARITY: this is the C library's `bsearch` step for step. Functions of one address with
    /// different sizes, or functions that overlap, are not in an order that a binary search can rely
    /// on; which of them it meets then decides. The test `mcount_functions` in
    /// `tests/tests/sorttable.rs` holds it to that.
    pub fn contains(&self, address: u64, before: u64) -> bool {
        let (mut low, mut high) = (0, self.0.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let function = self.0[middle];
            if address.wrapping_add(before) < function.addr {
                high = middle;
            } else if address >= function.addr.wrapping_add(function.size) {
                low = middle + 1;
            } else {
                return true;
            }
        }
        false
    }
}

impl Row<'_> {
    /// Whether what is read of the row does not end where the row does.
    fn runs_on(&self) -> bool {
        let letters = if self.size == 0 { 2 } else { 1 };
        self.addr.is_none()
            || self.name.len() < letters
            || self.name.iter().any(|&byte| is_space(byte))
    }

    /// The function that is read of a row that does not run on.
    fn function(&self) -> Option<Function> {
        let (size, kind) = match self.size {
            // The type is read as the size, and the name's first letter as the type.
            0 => (hex(&[self.kind]), *self.name.first()?),
            size => (size, self.kind),
        };
        let function = Function { addr: self.addr?, size };
        is_function(kind).then_some(function)
    }
}

/// What `nm -S` writes of the symbols, but for the width of its columns; with sizes of 0 if there are to be `zeros`.
fn list(rows: &[Row<'_>], zeros: bool) -> Vec<u8> {
    let mut rows: Vec<&Row<'_>> = rows.iter().collect();
    rows.sort_by_key(|row| row.name);
    let mut text = Vec::new();
    for row in rows {
        write_line(&mut text, row, zeros);
    }
    text
}

/// A line of the list.
pub(crate) fn write_line(text: &mut Vec<u8>, row: &Row<'_>, zeros: bool) {
    if let Some(addr) = row.addr {
        text.extend_from_slice(format!("{addr:08x} ").as_bytes());
        if row.size > 0 || zeros {
            text.extend_from_slice(format!("{:08x} ", row.size).as_bytes());
        }
    }
    text.extend_from_slice(&[row.kind, b' ']);
    text.extend_from_slice(row.name);
    text.push(b'\n');
}

/// Whether the letter of a type is one of a function.
fn is_function(kind: u8) -> bool {
    matches!(kind, b't' | b'T' | b'W')
}

/// A list read as C's `scanf("%16s %16s %c %*s\n")` reads it.
pub(crate) struct Words<'a>(pub(crate) &'a [u8]);

impl<'a> Words<'a> {
    /// The next entry, `Some(None)` for one that is no function; `None` at the end.
    pub(crate) fn entry(&mut self) -> Option<Option<Function>> {
        let addr = self.word(16)?;
        let size = self.word(16)?;
        self.skip_space();
        let (&kind, rest) = self.0.split_first()?;
        self.0 = rest;
        self.word(usize::MAX);
        Some(is_function(kind).then(|| Function { addr: hex(addr), size: hex(size) }))
    }

    /// The next word or as much of it as `limit` bytes; `None` at the end.
    fn word(&mut self, limit: usize) -> Option<&'a [u8]> {
        self.skip_space();
        let len = self.0.iter().take(limit).take_while(|&&byte| !is_space(byte)).count();
        let (word, rest) = self.0.split_at(len);
        self.0 = rest;
        (len > 0).then_some(word)
    }

    pub(crate) fn skip_space(&mut self) {
        let len = self.0.iter().take_while(|&&byte| is_space(byte)).count();
        self.0 = &self.0[len..];
    }
}

/// White space of the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The hexadecimal number at the start of `word` (16 bytes at most), 0 if there is none, as C's
/// `strtoull` reads it.
pub(crate) fn hex(word: &[u8]) -> u64 {
    let digits = match word {
        [b'0', b'x' | b'X', digits @ ..] => digits,
        _ => word,
    };
    let digits = digits.iter().map_while(|&byte| char::from(byte).to_digit(16));
    digits.fold(0, |number, digit| number << 4 | u64::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Vec<(u64, u64)> {
        Functions::parse(list.as_bytes()).0.iter().map(|f| (f.addr, f.size)).collect()
    }

    #[test]
    fn functions_are_the_types_t_and_w_by_address() {
        let list = "0000000000000020 0000000000000008 t b\n0000000000000010 0000000000000004 T a\n\
                    0000000000000030 0000000000000001 D data\n0000000000000040 0000000000000002 W w\n\
                    0000000000000050 0000000000000002 w v\n";
        assert_eq!(parse(list), [(0x10, 4), (0x20, 8), (0x40, 2)]);
        assert_eq!(parse(""), []);
    }

    #[test]
    fn a_line_without_a_size_is_a_function_if_its_name_says_so() {
        assert_eq!(parse("0000000000000010 T text_start\n"), [(0x10, 0)]);
        assert_eq!(parse("0000000000000010 T _text\n"), []);
        // A name of one letter takes the next line's address for the rest of it.
        let list = "0000000000000010 T t\n0000000000000020 0000000000000004 T foo\n";
        assert_eq!(parse(list), [(0x10, 0)]);
    }

    #[test]
    fn an_undefined_symbol_takes_a_word_of_the_next_line() {
        let list = "                 w foo\nffffffff81000000 0000000000000010 T this\n";
        assert_eq!(parse(list), [(0x10, 0)]);
        // Cut at 16 bytes, the rest of a long name is the type and the name.
        let list =
            "                 U sixteen_letters_the_rest\n0000000000000010 0000000000000004 T a\n";
        assert_eq!(parse(list), [(0, 0), (0x10, 4)]);
    }

    #[test]
    fn llvm_lists_functions_without_a_size_too() {
        let row = |size, name: &'static [u8]| Row { addr: Some(0x20), size, kind: b'T', name };
        let rows = [row(0, b"a_label"), row(0x10, b"a_function"), row(0, b"before")];
        let listed = |functions: Functions| -> Vec<u64> {
            functions.as_slice().iter().map(|function| function.size).collect()
        };
        assert_eq!(listed(Functions::from_rows_of_llvm(&rows)), [0x10, 0, 0]);
        // The second letter of GNU's row is no function's.
        assert_eq!(listed(Functions::from_rows(&rows)), [0x10]);
    }

    #[test]
    fn rows_are_read_as_their_list_would_be() {
        let row =
            |addr, size, kind, name: &'static str| Row { addr, size, kind, name: name.as_bytes() };
        let read = |rows: &[Row<'_>]| -> Vec<(u64, u64)> {
            Functions::from_rows(rows).0.iter().map(|f| (f.addr, f.size)).collect()
        };
        let rows = [
            row(Some(0x20), 4, b'T', "b"),
            row(Some(0x20), 8, b't', "a"),
            row(Some(0x10), 4, b'D', "data"),
            row(Some(0x30), 0, b'D', "table"),
        ];
        assert_eq!(read(&rows), [(0x20, 8), (0x20, 4), (0x30, 13)]);
        // An undefined symbol takes the address of the symbol whose name comes next.
        let undefined = row(None, 0, b'w', "a_weak");
        assert_eq!(read(&[rows[0], undefined]), []);
        assert_eq!(read(&[rows[1], undefined]), [(0x20, 8)]);
    }

    #[test]
    fn rows_that_run_on_are_read_as_their_list_would_be() {
        let kinds = [b't', b'T', b'D', b'W', b'a'];
        let names =
            ["", "t", "i", "T t", "ab", "t_x", "W", "zz t", "fun", "a\tb", "f", "wide_name"];
        let mut random = 1u64;
        let mut below = |limit: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % limit
        };
        for count in (0..40).cycle().take(4000) {
            let rows: Vec<Row<'_>> = (0..count)
                .map(|_| Row {
                    addr: (below(4) > 0).then_some(below(6) as u64 * 8),
                    size: below(3) as u64 * 8,
                    kind: kinds[below(kinds.len())],
                    name: names[below(names.len())].as_bytes(),
                })
                .collect();
            assert_eq!(Functions::from_rows(&rows), Functions::parse(&list(&rows, false)));
        }
    }

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let functions = Functions::parse(b"10 4 T a\n20 8 T b\n");
        let inside = |address| functions.contains(address, 0);
        assert_eq!(
            [0xf, 0x10, 0x13, 0x14, 0x1f, 0x20, 0x27, 0x28].map(inside),
            [false, true, true, false, false, true, true, false]
        );
        assert!(functions.contains(0x18, 8) && !functions.contains(0x17, 8));
        assert!(!Functions::default().contains(0, 8));
    }

    #[test]
    fn numbers_end_at_the_first_other_character() {
        assert_eq!([hex(b"1fG"), hex(b"0x10"), hex(b"T"), hex(b"")], [0x1f, 0x10, 0, 0]);
        assert_eq!(hex(b"ffffffffffffffff"), u64::MAX);
    }
}
