//! Reading a symbol list as the kernel's tool reads it.
//!
//! [`sysmap::parse_map`] reads the lists that the build makes. The tool takes more than those, and in
//! two ways, and says other things about what it does not take; a drop-in for the tool must follow it.
//! In one case it does not: of a line that ends right behind the address' blank, the tool reads on in
//! what its buffer held before.
//!
//! Source of facts: `scripts/kallsyms.c`, `read_symbol`; the C library's `strtoull` and `fscanf`.

use sysmap::Entry;

use crate::{Dialect, Error, Warning};

/// The longest word that the tool takes for a name where it reads words, in bytes: four times the limit
/// of a name.
const LIMITS_PER_WORD: usize = 4;

/// Reads a symbol list in the manner of `dialect`. The names borrow from `text`.
///
/// # Errors
/// [`Error::LineFormat`], only in the dialects that read lines.
pub fn parse_map<'a>(
    text: &'a [u8],
    dialect: &Dialect,
) -> Result<(Vec<Entry<'a>>, Vec<Warning>), Error> {
    if dialect.reads_words {
        return Ok(parse_words(text, dialect.name_limit * LIMITS_PER_WORD));
    }
    if text.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    let entries = lines.map(|(index, line)| {
        let end = line.iter().position(|&byte| byte == 0).unwrap_or(line.len());
        parse_line(&line[..end]).ok_or(Error::LineFormat { line: index + 1 })
    });
    Ok((entries.collect::<Result<_, _>>()?, Vec::new()))
}

fn parse_line(line: &[u8]) -> Option<Entry<'_>> {
    let (addr, rest) = parse_number(line)?;
    match rest {
        [b' ', kind, b' ', name @ ..] if kind.is_ascii() => Some(Entry { addr, kind: *kind, name }),
        _ => None,
    }
}

/// A hexadecimal number as `strtoull` takes it: blanks, a sign and `0x` may stand before it, and what is
/// too large becomes the largest number.
fn parse_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = skip_blanks(text);
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let text = match text {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => rest,
        _ => text,
    };
    let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 {
        return None;
    }
    let (number, rest) = text.split_at(digits);
    let value = number.iter().try_fold(0u64, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value.checked_mul(16)? + u64::from(digit))
    });
    let value = match value {
        Some(value) if negative => value.wrapping_neg(),
        Some(value) => value,
        None => u64::MAX,
    };
    Some((value, rest))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|&&byte| is_blank(byte)).count();
    &text[blanks..]
}

/// A number, a character and a word at a time. Where there is none of these the rest of the line is
/// passed over.
fn parse_words(text: &[u8], longest: usize) -> (Vec<Entry<'_>>, Vec<Warning>) {
    let (mut entries, mut warnings) = (Vec::new(), Vec::new());
    let mut rest = text;
    while !rest.is_empty() {
        match scan_entry(rest, longest) {
            Ok((entry, after)) => {
                entries.push(entry);
                rest = after;
            }
            Err(Stop::End) => break,
            Err(Stop::Mismatch(after)) => {
                if after.is_empty() {
                    warnings.push(Warning::ReadError);
                }
                let line = after.iter().position(|&byte| byte == b'\n');
                let passed = line.map_or(after.len(), |at| at + 1).min(longest);
                rest = &after[passed..];
            }
        }
    }
    (entries, warnings)
}

/// Why no entry could be scanned.
enum Stop<'a> {
    /// The text ended before the first of its parts.
    End,
    /// This is left where a part was missing.
    Mismatch(&'a [u8]),
}

fn scan_entry(text: &[u8], longest: usize) -> Result<(Entry<'_>, &[u8]), Stop<'_>> {
    let text = skip_blanks(text);
    if text.is_empty() {
        return Err(Stop::End);
    }
    let (addr, rest) = parse_number(text).ok_or(Stop::Mismatch(text))?;
    let rest = skip_blanks(rest);
    let (&kind, rest) = rest.split_first().ok_or(Stop::Mismatch(rest))?;
    let rest = skip_blanks(rest);
    let len = rest.iter().take(longest).take_while(|&&byte| !is_blank(byte)).count();
    if len == 0 {
        return Err(Stop::Mismatch(rest));
    }
    let (name, rest) = rest.split_at(len);
    Ok((Entry { addr, kind, name }, skip_blanks(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::{like_6_1, like_6_12};

    fn entry(addr: u64, kind: u8, name: &str) -> Entry<'_> {
        Entry { addr, kind, name: name.as_bytes() }
    }

    #[test]
    fn lines_are_an_address_a_letter_and_a_name() {
        let text = b"ffffffff81000000 T _text\n  0x1f t a b\n-1 d \nfffffffffffffffff A x";
        let (entries, warnings) = parse_map(text, &like_6_12()).unwrap();
        assert_eq!(
            entries,
            [
                entry(0xffff_ffff_8100_0000, b'T', "_text"),
                entry(0x1f, b't', "a b"),
                entry(u64::MAX, b'd', ""),
                entry(u64::MAX, b'A', "x"),
            ]
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_bad_line_ends_it() {
        for text in
            ["\n", "x T a\n", "1  T a\n", "1 T\n", "1 T a\n\n1 T b\n", "1\n", "1 \u{e9} x\n"]
        {
            let error = parse_map(text.as_bytes(), &like_6_12()).unwrap_err();
            assert!(matches!(error, Error::LineFormat { .. }), "{text:?}");
        }
        assert!(parse_map(b"", &like_6_12()).unwrap().0.is_empty());
    }

    #[test]
    fn words_may_stand_on_any_line() {
        let (entries, warnings) = parse_map(b"1 T\n a 2\n\nt b\n", &like_6_1()).unwrap();
        assert_eq!(entries, [entry(1, b'T', "a"), entry(2, b't', "b")]);
        assert!(warnings.is_empty());
        let (entries, _) = parse_map(b"what is this\n2 t b\n", &like_6_1()).unwrap();
        assert_eq!(entries, [entry(2, b't', "b")]);
    }
}
