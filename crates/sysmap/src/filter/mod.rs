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
//! class reach the `regex` crate.

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
    suffixes: Vec<Vec<u8>>,
    pieces: Vec<Finder<'static>>,
    /// What has to see the whole line.
    line: Option<Regex>,
    /// All patterns over the whole line, for names with a blank in them.
    all: Option<Regex>,
}

#[derive(Debug, Clone)]
enum NameTest {
    Prefix(Vec<u8>),
    Exact(Vec<u8>),
    /// Anchored at the start of the name.
    Regex(Vec<u8>, Regex),
}

/// Where a pattern can match in a line whose name has no blank.
#[derive(Debug, PartialEq, Eq)]
enum Scope<'a> {
    Letter(ByteSet),
    NamePrefix(Vec<u8>),
    NameExact(Vec<u8>),
    NameSuffix(Vec<u8>),
    NamePiece(Vec<u8>),
    /// The items after the blank before the name.
    NameStart(&'a [Item]),
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
            suffixes: Vec::new(),
            pieces: Vec::new(),
            line: None,
            all: None,
        };
        let (mut line, mut all) = (Vec::new(), Vec::new());
        for pattern in script::patterns(script)? {
            let at_line = |cause: String| FilterError { line: pattern.line, cause };
            for sequence in flatten(bre::parse(&pattern.text).map_err(at_line)?) {
                let regex = bre::sequence_to_regex(&sequence);
                if filter.add(&sequence).map_err(at_line)? == Added::No {
                    line.push(regex.clone());
                }
                all.push(regex);
            }
        }
        let union = |parts: Vec<String>| {
            let parts = Some(parts).filter(|parts| !parts.is_empty());
            parts.map(|parts| compile(&parts.join("|"))).transpose()
        };
        let at_script = |cause| FilterError { line: 1, cause };
        filter.line = union(line).map_err(at_script)?;
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
        if memchr::memchr(b' ', name).is_some() {
            return !self.all.as_ref().is_some_and(|all| matches_line(all, entry, class));
        }
        if self.letters[usize::from(entry.kind)] {
            return false;
        }
        let starts = match name.first() {
            None => self.nameless,
            Some(&first) => self.by_first[usize::from(first)].iter().any(|test| test.matches(name)),
        };
        !starts
            && !self.suffixes.iter().any(|suffix| name.ends_with(suffix))
            && !self.pieces.iter().any(|piece| piece.find(name).is_some())
            && !self.line.as_ref().is_some_and(|line| matches_line(line, entry, class))
    }

    fn add(&mut self, sequence: &[Item]) -> Result<Added, String> {
        match scope(sequence) {
            Scope::Letter(letters) => {
                letters.bytes().for_each(|letter| self.letters[usize::from(letter)] = true);
            }
            Scope::NamePrefix(name) => {
                self.by_first[usize::from(name[0])].push(NameTest::Prefix(name));
            }
            Scope::NameExact(name) => match name.first() {
                None => self.nameless = true,
                Some(&first) => self.by_first[usize::from(first)].push(NameTest::Exact(name)),
            },
            Scope::NameSuffix(suffix) => self.suffixes.push(suffix),
            Scope::NamePiece(piece) => self.pieces.push(Finder::new(&piece).into_owned()),
            Scope::NameStart(items) => {
                let regex = compile(&format!("\\A{}", bre::sequence_to_regex(items)))?;
                let test = NameTest::Regex(leading_bytes(items), regex);
                let Some((Node::Bytes(first), _)) = items.first().map(|i| (&i.node, i.repeat))
                else {
                    return Ok(Added::No);
                };
                for byte in first.bytes() {
                    self.by_first[usize::from(byte)].push(test.clone());
                }
            }
            Scope::Line => return Ok(Added::No),
        }
        Ok(Added::Yes)
    }
}

/// Whether a fast test was found for a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Added {
    Yes,
    No,
}

impl NameTest {
    fn matches(&self, name: &[u8]) -> bool {
        match self {
            NameTest::Prefix(prefix) => name.starts_with(prefix),
            NameTest::Exact(whole) => name == whole,
            NameTest::Regex(prefix, regex) => name.starts_with(prefix) && regex.is_match(name),
        }
    }
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
                    Scope::NameStart(&sequence[1..])
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

/// The bytes with which every match begins.
fn leading_bytes(items: &[Item]) -> Vec<u8> {
    items.iter().map_while(literal_byte).collect()
}

fn literal_byte(item: &Item) -> Option<u8> {
    match item {
        Item { node: Node::Bytes(set), repeat: Repeat::Once } => set.single(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
