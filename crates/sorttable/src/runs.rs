//! Symbols whose lines in the list of `nm -S` are read beyond their ends.
//!
//! The list is read as words ([`crate::Functions::parse`]). A line with fewer words than are read takes words of the
//! next one, and so on until an entry ends where a line does. Kernels have one or two such lines: an absolute symbol of
//! one letter and no size, an undefined weak symbol. So only what is read from there on is written as text;
//! the other 200,000 symbols need none.

use rayon::prelude::*;

use crate::functions::{Function, Row, Words, write_line};

/// No entry reaches into more lines than this, the one that it begins on included: it has four words, and a line at
/// least one.
const REACH: usize = 5;

/// A function, and the index of the row at whose line it is read.
pub(crate) type Read = (Function, usize);

/// What is read instead of the rows `starts`, which run on, and of those that they run into.
pub(crate) struct Runs {
    /// The functions, those of one line in its order.
    pub(crate) read: Vec<Read>,
    /// All these rows, in no order.
    pub(crate) rows: Vec<usize>,
}

impl Runs {
    /// Reads from each of `starts` on until lines and entries end together.
    pub(crate) fn read(rows: &[Row<'_>], mut starts: Vec<usize>) -> Self {
        starts.sort_unstable_by_key(|&row| key(rows, row));
        let mut runs = Runs { read: Vec::new(), rows: Vec::new() };
        for start in starts {
            if !runs.rows.contains(&start) {
                runs.follow(rows, start);
            }
        }
        runs
    }

    fn follow(&mut self, rows: &[Row<'_>], start: usize) {
        let (mut text, mut lines) = (Vec::new(), Vec::new());
        let mut next = Some(start);
        let (mut at, mut line) = (0, 0);
        loop {
            while let (Some(row), true) = (next, lines.len() < line + REACH) {
                lines.push((text.len(), row));
                write_line(&mut text, &rows[row], false);
                next = successor(rows, row);
            }
            let mut words = Words(&text[at..]);
            let Some(entry) = words.entry() else { break };
            self.read.extend(entry.map(|function| (function, lines[line].1)));
            words.skip_space();
            at = text.len() - words.0.len();
            let behind = lines.partition_point(|&(begin, _)| begin <= at);
            line = behind.saturating_sub(1);
            if at == text.len() || lines[line].0 == at {
                lines.truncate(if at == text.len() { lines.len() } else { line });
                break;
            }
        }
        self.rows.extend(lines.into_iter().map(|(_, row)| row));
    }
}

/// Sorts rows as `nm` lists them: by name, those of one name in the order of the symbol table.
pub(crate) fn key<'a>(rows: &[Row<'a>], row: usize) -> (&'a [u8], usize) {
    (rows[row].name, row)
}

/// The row that is listed behind `row`.
fn successor(rows: &[Row<'_>], row: usize) -> Option<usize> {
    let this = key(rows, row);
    let all = (0..rows.len()).into_par_iter().with_min_len(1 << 12);
    all.filter(|&row| key(rows, row) > this).min_by_key(|&row| key(rows, row))
}
