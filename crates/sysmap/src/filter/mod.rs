//! Which lines of the symbol list stay: the tree's own `scripts/mksysmap`, compiled.
//!
//! What: every pattern of the script says which lines go, and matches anywhere in the line
//! `ADDRESS LETTER NAME`. Nearly all of them can only match in one field of it: a letter between blanks,
//! the start of a name after its blank, the end of a name, a piece of a name. Those become table
//! look-ups and comparisons of a few bytes; the others run as regular expressions over the line.
//!
//! Why: the tree's file decides, because each release has another list, and the patterns on it must be
//! those of the build to the byte.
//!
//! Cost: some tens of nanoseconds for a name; only names that begin like a pattern with a character
//! class take longer, and only patterns that reach over several fields need the `regex` crate.

mod bre;
mod script;

use image::Class;
use memchr::memmem::Finder;
use regex::bytes::Regex;
use thiserror::Error;

use crate::{Entry, write_map};
use bre::{ByteSet, Item, Node, Repeat, Sequence};

/// A `scripts/mksysmap` that cannot be compiled; the kernel's own pipeline has to run it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {cause}")]
pub struct FilterError {
    /// The line of the script, counted from 1.
    pub line: usize,
    /// What is not known there, as a clause without a full stop.
    pub cause: String,
}

/// A compiled `scripts/mksysmap`.
#[derive(Debug, Clone)]
pub struct Filter {
    /// By letter: whether ` LETTER ` goes.
    letters: [bool; 256],
    /// By the first byte of a name: what it may not start with, be, or look like.
    by_first: Vec<Vec<NameTest>>,
    /// Whether a symbol without a name goes.
    nameless: bool,
    /// By the last byte of a name: how it may not end.
    by_last: Vec<Vec<Vec<u8>>>,
    pieces: Vec<Finder<'static>>,
    /// A byte that is in all of `pieces`, the rarest in names that there is.
    piece_byte: Option<u8>,
    /// What has to see the whole line.
    line: Option<Regex>,
    /// All patterns over the whole line, for names with a blank in them.
    all: Option<Regex>,
}

#[derive(Debug, Clone)]
enum NameTest {
    Prefix(Vec<u8>),
    Exact(Vec<u8>),
    /// From the start of the name; to its end, if the flag is set.
    Bytes(Vec<(ByteSet, Repeat)>, bool),
}

/// Where a pattern can match in a line whose name has no blank.
#[derive(Debug, PartialEq, Eq)]
enum Scope<'a> {
    Letter(ByteSet),
    NamePrefix(Vec<u8>),
    NameExact(Vec<u8>),
    NameSuffix(Vec<u8>),
    NamePiece(Vec<u8>),
    /// The items after the blank before the name, and whether they reach to its end.
    NameStart(&'a [Item], bool),
    Line,
}

impl Filter {
    /// Compiles the contents of a tree's `scripts/mksysmap`: a sed script of `/REGEX/d` lines, or a shell
    /// script that is `$NM -n $1 | grep -v ...` or `$NM -n $1 | sed -e ...`.
    ///
    /// # Errors
    /// The first line with a construct that is not known.
    pub fn parse(script: &[u8]) -> Result<Filter, FilterError> {
        let mut filter = Filter {
            letters: [false; 256],
            by_first: vec![Vec::new(); 256],
            nameless: false,
            by_last: vec![Vec::new(); 256],
            pieces: Vec::new(),
            piece_byte: None,
            line: None,
            all: None,
        };
        let (mut whole_line, mut all, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
        for pattern in script::patterns(script)? {
            let at_line = |cause: String| FilterError { line: pattern.line, cause };
            for sequence in flatten(bre::parse(&pattern.text).map_err(at_line)?) {
                let regex = bre::sequence_to_regex(&sequence);
                match scope(&sequence) {
                    Scope::Line => whole_line.push(regex.clone()),
                    Scope::NamePiece(piece) => pieces.push(piece),
                    Scope::Letter(letters) => {
                        letters.bytes().for_each(|byte| filter.letters[usize::from(byte)] = true);
                    }
                    Scope::NameExact(name) if name.is_empty() => filter.nameless = true,
                    Scope::NameExact(name) => filter.at_start(name[0], NameTest::Exact(name)),
                    Scope::NamePrefix(name) => filter.at_start(name[0], NameTest::Prefix(name)),
                    Scope::NameStart(items, to_end) => filter.at_start_of(items, to_end),
                    Scope::NameSuffix(suffix) => {
                        filter.by_last[usize::from(suffix[suffix.len() - 1])].push(suffix);
                    }
                }
                all.push(regex);
            }
        }
        let union = |parts: Vec<String>| {
            let parts = Some(parts).filter(|parts| !parts.is_empty());
            parts.map(|parts| compile(&parts.join("|"))).transpose()
        };
        let at_script = |cause| FilterError { line: 1, cause };
        filter.piece_byte = common_byte(&pieces);
        filter.pieces = pieces.iter().map(|piece| Finder::new(piece).into_owned()).collect();
        filter.line = union(whole_line).map_err(at_script)?;
        filter.all = union(all).map_err(at_script)?;
        Ok(filter)
    }

    /// Whether the symbol's line stays in System.map of a 64-bit image.
    pub fn keeps(&self, entry: &Entry<'_>) -> bool {
        self.keeps_in(entry, Class::Elf64)
    }

    /// The same for an image of that class. It makes a difference only to patterns that match digits of
    /// the address, which no kernel has.
    pub fn keeps_in(&self, entry: &Entry<'_>, class: Class) -> bool {
        let name = entry.name;
        // One pass tells both: a blank, and whether a piece is worth a search.
        let rare = self.piece_byte.unwrap_or(b' ');
        let found = memchr::memchr2(b' ', rare, name);
        if found.is_some_and(|at| name[at..].contains(&b' ')) {
            return !self.all.as_ref().is_some_and(|all| matches_line(all, entry, class));
        }
        let search = found.is_some() || self.piece_byte.is_none();
        let dropped = self.letters[usize::from(entry.kind)]
            || self.drops_name(name)
            || search && self.pieces.iter().any(|piece| piece.find(name).is_some())
            || self.line.as_ref().is_some_and(|line| matches_line(line, entry, class));
        !dropped
    }

    fn drops_name(&self, name: &[u8]) -> bool {
        let (Some(&first), Some(&last)) = (name.first(), name.last()) else {
            return self.nameless;
        };
        self.by_first[usize::from(first)].iter().any(|test| test.matches(name))
            || self.by_last[usize::from(last)].iter().any(|suffix| name.ends_with(suffix))
    }

    fn at_start(&mut self, first: u8, test: NameTest) {
        self.by_first[usize::from(first)].push(test);
    }

    fn at_start_of(&mut self, items: &[Item], to_end: bool) {
        let items: Vec<_> = items.iter().filter_map(byte_item).collect();
        for byte in items.first().into_iter().flat_map(|(set, _)| set.bytes()) {
            self.at_start(byte, NameTest::Bytes(items.clone(), to_end));
        }
    }
}

impl NameTest {
    fn matches(&self, name: &[u8]) -> bool {
        match self {
            NameTest::Prefix(prefix) => name.starts_with(prefix),
            NameTest::Exact(whole) => name == whole,
            NameTest::Bytes(items, to_end) => matches_bytes(items, *to_end, name),
        }
    }
}

/// Whether `items` match from the start of `name`, and to its end if `to_end`.
fn matches_bytes(items: &[(ByteSet, Repeat)], to_end: bool, name: &[u8]) -> bool {
    let Some((&(set, repeat), rest)) = items.split_first() else {
        return !to_end || name.is_empty();
    };
    let (least, most) = match repeat {
        Repeat::Once => (1, 1),
        Repeat::Any => (0, name.len()),
        Repeat::OneOrMore => (1, name.len()),
        Repeat::Optional => (0, 1),
    };
    let run = name.iter().take(most).take_while(|&&byte| set.has(byte)).count();
    (least..=run).any(|len| matches_bytes(rest, to_end, &name[len..]))
}

/// A byte that all pieces have: punctuation if there is any, which names have least.
fn common_byte(pieces: &[Vec<u8>]) -> Option<u8> {
    let common = |byte: &u8| pieces.iter().all(|piece| piece.contains(byte));
    let candidates = pieces.first()?.iter().copied().filter(common);
    candidates.min_by_key(|&byte| (byte == b'_' || byte.is_ascii_alphanumeric(), byte))
}

fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("(?-u){pattern}")).map_err(|e| e.to_string())
}

fn matches_line(regex: &Regex, entry: &Entry<'_>, class: Class) -> bool {
    let line = write_map(std::slice::from_ref(entry), class);
    regex.is_match(line.strip_suffix(b"\n").unwrap_or(&line))
}

/// Alternatives one by one: a group that is a whole alternative counts as its own alternatives.
fn flatten(alternatives: Vec<Sequence>) -> Vec<Sequence> {
    let mut flat = Vec::new();
    for mut sequence in alternatives {
        match sequence.as_mut_slice() {
            [Item { node: Node::Group(inner), repeat: Repeat::Once }] => {
                flat.extend(flatten(std::mem::take(inner)));
            }
            _ => flat.push(sequence),
        }
    }
    flat
}

fn scope(sequence: &[Item]) -> Scope<'_> {
    let (items, at_end) = match sequence.split_last() {
        Some((Item { node: Node::End, .. }, items)) => (items, true),
        _ => (sequence, false),
    };
    let blank = ByteSet::of([b' ']);
    let is_blank = |item: &Item| item.node == Node::Bytes(blank) && item.repeat == Repeat::Once;
    let in_a_field = |item: &Item| matches!(item.node, Node::Bytes(set) if !set.has(b' '));
    match items {
        [before, Item { node: Node::Bytes(letters), repeat: Repeat::Once }, after]
            if !at_end && is_blank(before) && is_blank(after) && !letters.has(b' ') =>
        {
            Scope::Letter(*letters)
        }
        [before, name @ ..] if is_blank(before) && name.iter().all(in_a_field) => {
            match (literal(name), at_end) {
                (Some(name), true) => Scope::NameExact(name),
                (Some(prefix), false) if misses_letters(name) => Scope::NamePrefix(prefix),
                // The end of the line is the end of the name, so the letter is out of reach.
                (None, at_end) if begins_once(name) && (at_end || misses_letters(name)) => {
                    Scope::NameStart(name, at_end)
                }
                _ => Scope::Line,
            }
        }
        items if items.iter().all(in_a_field) => match (literal(items), at_end) {
            (Some(suffix), true) if !suffix.is_empty() => Scope::NameSuffix(suffix),
            // Neither the address nor the letter can hold it.
            (Some(piece), false) if piece.len() > 1 && !piece.iter().all(u8::is_ascii_hexdigit) => {
                Scope::NamePiece(piece)
            }
            _ => Scope::Line,
        },
        _ => Scope::Line,
    }
}

/// Whether the items, which follow a blank, cannot match the letter before the name: they need more than
/// one byte, or a byte that is no letter of nm's.
fn misses_letters(items: &[Item]) -> bool {
    let needed = items.iter().filter(|i| matches!(i.repeat, Repeat::Once | Repeat::OneOrMore));
    let no_letter = |item: &Item| match item.node {
        Node::Bytes(set) => !set.bytes().any(|b| b.is_ascii_alphabetic() || b == b'?' || b == b'-'),
        _ => false,
    };
    needed.clone().count() > 1 || needed.into_iter().any(no_letter)
}

/// Whether the first item matches at least one byte.
fn begins_once(items: &[Item]) -> bool {
    items.first().is_some_and(|i| matches!(i.repeat, Repeat::Once | Repeat::OneOrMore))
}

/// The bytes of items that are a literal string.
fn literal(items: &[Item]) -> Option<Vec<u8>> {
    items.iter().map(literal_byte).collect()
}

fn literal_byte(item: &Item) -> Option<u8> {
    match byte_item(item)? {
        (set, Repeat::Once) => set.single(),
        _ => None,
    }
}

fn byte_item(item: &Item) -> Option<(ByteSet, Repeat)> {
    match item.node {
        Node::Bytes(set) => Some((set, item.repeat)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
