//! The text of a symbol list: what `nm -n` prints, what System.map holds.
//!
//! One line per symbol: the address in as many hexadecimal digits as the class has, a space, the type
//! letter, a space, the name. An undefined symbol has blanks for its address.

use image::Class;
use thiserror::Error;

/// A line of a symbol list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The symbol's value: an address in a linked image. 0 where the line has blanks for it.
    pub addr: u64,
    /// nm's type letter, for example `b'T'`.
    pub kind: u8,
    /// The name as it stands in the line; it can be empty.
    pub name: &'a [u8],
}

impl Entry<'_> {
    /// Whether the symbol is undefined: the letters `U`, `v` and `w`, whose lines have no address.
    pub fn is_undefined(&self) -> bool {
        matches!(self.kind, b'U' | b'v' | b'w')
    }
}

/// A line that is no line of a symbol list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line}: {cause}")]
pub struct MapError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, as a clause without a full stop.
    pub cause: &'static str,
}

/// The text of `entries`, in their order; addresses have at least 8 hexadecimal digits in a 32-bit image
/// and 16 in a 64-bit one.
pub fn write_map(entries: &[Entry<'_>], class: Class) -> Vec<u8> {
    let digits = 2 * class.address_size() as usize;
    let size = entries.iter().map(|entry| digits + 4 + entry.name.len()).sum();
    let mut text = Vec::with_capacity(size);
    for entry in entries {
        write_address(&mut text, entry, digits);
        write_name(&mut text, entry);
    }
    text
}

/// The address, or blanks in its place.
pub(crate) fn write_address(text: &mut Vec<u8>, entry: &Entry<'_>, digits: usize) {
    match entry.is_undefined() {
        true => text.resize(text.len() + digits, b' '),
        false => write_number(text, entry.addr, digits),
    }
}

/// At least `digits` digits: GNU nm gives 32-bit MIPS addresses sign-extended, with 16.
pub(crate) fn write_number(text: &mut Vec<u8>, number: u64, digits: usize) {
    let digits = digits.max(16 - number.leading_zeros() as usize / 4);
    let mut field = [0; 16];
    for (place, digit) in field[..digits].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place)) as usize & 15];
    }
    text.extend_from_slice(&field[..digits]);
}

/// The rest of the line: the letter and the name.
pub(crate) fn write_name(text: &mut Vec<u8>, entry: &Entry<'_>) {
    text.extend_from_slice(&[b' ', entry.kind, b' ']);
    text.extend_from_slice(entry.name);
    text.push(b'\n');
}

/// Reads a symbol list back, as [`write_map`] or `nm -n` wrote it. The names borrow from `text`.
///
/// # Errors
/// The first line that is not an address (or blanks, for an undefined symbol), a letter and a name.
pub fn parse_map(text: &[u8]) -> Result<Vec<Entry<'_>>, MapError> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    lines
        .map(|(index, line)| parse_line(line).map_err(|cause| MapError { line: index + 1, cause }))
        .collect()
}

fn parse_line(line: &[u8]) -> Result<Entry<'_>, &'static str> {
    let blanks = line.iter().take_while(|&&byte| byte == b' ').count();
    let (addr, rest) = if blanks > 0 {
        // The blank before the letter is not part of the address.
        (None, &line[blanks - 1..])
    } else {
        let digits = line.iter().take_while(|&&byte| byte != b' ').count();
        (Some(parse_address(&line[..digits])?), &line[digits..])
    };
    let [b' ', kind, b' ', name @ ..] = rest else {
        return Err("no type letter between blanks");
    };
    let entry = Entry { addr: addr.unwrap_or(0), kind: *kind, name };
    if addr.is_none() && !entry.is_undefined() {
        return Err("a defined symbol without an address");
    }
    Ok(entry)
}

fn parse_address(digits: &[u8]) -> Result<u64, &'static str> {
    if digits.is_empty() || digits.len() > 16 {
        return Err("no address of 1 to 16 hexadecimal digits");
    }
    digits.iter().try_fold(0, |value, &digit| match char::from(digit).to_digit(16) {
        Some(digit) => Ok(value << 4 | u64::from(digit)),
        None => Err("the address has something other than hexadecimal digits"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"                 U memcpy\n                 w optional\n\
        0000000000000000 A fixed_percpu_data\nffffffff81000000 T _text\n\
        ffffffff81000000 t \n";

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        let entries = parse_map(TEXT).unwrap();
        assert_eq!(entries.len(), 5);
        assert_eq!(entries[0], Entry { addr: 0, kind: b'U', name: b"memcpy" });
        assert_eq!(entries[3], Entry { addr: 0xffff_ffff_8100_0000, kind: b'T', name: b"_text" });
        assert_eq!(entries[4].name, b"");
        assert_eq!(write_map(&entries, Class::Elf64), TEXT);
    }

    #[test]
    fn a_32_bit_list_has_8_digits() {
        let entries = [
            Entry { addr: 0, kind: b'v', name: b"maybe" },
            Entry { addr: 0xc010_0000, kind: b'T', name: b"stext" },
        ];
        let text = write_map(&entries, Class::Elf32);
        assert_eq!(text, b"         v maybe\nc0100000 T stext\n");
        assert_eq!(parse_map(&text).unwrap(), entries);
    }

    #[test]
    fn no_text_is_no_symbols_and_the_last_newline_may_be_missing() {
        assert_eq!(parse_map(b"").unwrap(), []);
        assert_eq!(parse_map(b"1 T a").unwrap(), parse_map(b"1 T a\n").unwrap());
    }

    #[test]
    fn a_bad_line_is_named() {
        let cause = |text: &[u8]| parse_map(text).unwrap_err().to_string();
        assert_eq!(cause(b"1 T a\n\n2 T b\n"), "line 2: no address of 1 to 16 hexadecimal digits");
        assert_eq!(
            cause(b"00000000000000001 T a"),
            "line 1: no address of 1 to 16 hexadecimal digits"
        );
        assert_eq!(
            cause(b"12x4 T a"),
            "line 1: the address has something other than hexadecimal digits"
        );
        assert_eq!(cause(b"12 Ta"), "line 1: no type letter between blanks");
        assert_eq!(cause(b"12"), "line 1: no type letter between blanks");
        assert_eq!(cause(b"    "), "line 1: no type letter between blanks");
        assert_eq!(cause(b"     T a"), "line 1: a defined symbol without an address");
    }
}
