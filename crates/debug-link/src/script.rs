//! The part of a linker script that says which output section takes which input sections.
//!
//! ld.lld's map repeats neither the patterns of the script nor the output sections that stayed empty, so
//! where debug sections belong is read from the script itself. Only what Kbuild's preprocessed
//! `vmlinux.lds` has is understood: output sections within `SECTIONS`, and in them assignments,
//! input sections in `*( )`, `KEEP` and `SORT`. Whatever else could take input sections is refused.
//!
//! Cost: one pass over some tens of KiB. Source of facts: the documentation of GNU ld's scripts, chapter
//! "SECTIONS Command", which ld.lld follows.

use crate::error::Error;

/// The name of the output section for what is thrown away.
pub(crate) const DISCARD: &[u8] = b"/DISCARD/";

/// An output section of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output<'s> {
    pub(crate) name: &'s [u8],
    /// Whether the script puts it at address 0.
    pub(crate) at_zero: bool,
    /// The patterns of its input sections; one list for each pair of brackets.
    pub(crate) patterns: Vec<Vec<&'s [u8]>>,
}

/// The output sections of a script, in its order.
///
/// # Errors
/// A script without `SECTIONS`, or one with commands that are not understood.
pub(crate) fn outputs(script: &[u8]) -> Result<Vec<Output<'_>>, Error> {
    let mut words = Words { rest: script, outputs: Vec::new() };
    while let Some(word) = words.next()? {
        match word {
            b"SECTIONS" => {
                words.expect(b"{")?;
                words.sections()?;
            }
            b"INCLUDE" | b"INSERT" | b"OVERWRITE_SECTIONS" => {
                return Err(refused(&String::from_utf8_lossy(word)));
            }
            b"{" => words.skip_block()?,
            b"(" => words.skip_brackets()?,
            _ => {}
        }
    }
    match words.outputs.is_empty() {
        true => Err(refused("no SECTIONS")),
        false => Ok(words.outputs),
    }
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!("the linker script: {what}"))
}

fn cut_off() -> Error {
    refused("it is cut off")
}

/// Whether a word makes an assignment of what stands before it.
fn assigns(word: &[u8]) -> bool {
    let operators: [&[u8]; 9] = [b"=", b"+=", b"-=", b"*=", b"/=", b"&=", b"|=", b"<<=", b">>="];
    operators.contains(&word)
}

/// Commands with brackets that take no input sections.
fn takes_nothing(word: &[u8]) -> bool {
    let commands: [&[u8]; 12] = [
        b"ASSERT",
        b"BYTE",
        b"SHORT",
        b"LONG",
        b"QUAD",
        b"SQUAD",
        b"FILL",
        b"PROVIDE",
        b"PROVIDE_HIDDEN",
        b"HIDDEN",
        b"ENTRY",
        b"ASCIZ",
    ];
    commands.contains(&word)
}

/// The script, word by word.
struct Words<'s> {
    rest: &'s [u8],
    outputs: Vec<Output<'s>>,
}

impl<'s> Words<'s> {
    /// The next word: one of `{ } ( ) ; ,`, a quoted text without its quotes, or what stands between these
    /// and spaces.
    fn next(&mut self) -> Result<Option<&'s [u8]>, Error> {
        self.rest = self.rest.trim_ascii_start();
        while let Some(comment) = self.rest.strip_prefix(b"/*") {
            let end = memchr::memmem::find(comment, b"*/").ok_or_else(cut_off)?;
            self.rest = comment[end + 2..].trim_ascii_start();
        }
        let (word, rest) = match self.rest {
            [] => return Ok(None),
            [b'"', quoted @ ..] => {
                let end = memchr::memchr(b'"', quoted).ok_or_else(cut_off)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            [b'{' | b'}' | b'(' | b')' | b';' | b',', ..] => self.rest.split_at(1),
            text => {
                let ends = |b: &u8| b.is_ascii_whitespace() || b"{}();,\"".contains(b);
                text.split_at(text.iter().position(ends).unwrap_or(text.len()))
            }
        };
        self.rest = rest;
        Ok(Some(word))
    }

    fn word(&mut self) -> Result<&'s [u8], Error> {
        self.next()?.ok_or_else(cut_off)
    }

    fn peek(&mut self) -> Result<&'s [u8], Error> {
        let rest = self.rest;
        let word = self.word();
        self.rest = rest;
        word
    }

    fn expect(&mut self, expected: &[u8]) -> Result<(), Error> {
        let word = self.word()?;
        if word == expected {
            return Ok(());
        }
        let (word, expected) = (String::from_utf8_lossy(word), String::from_utf8_lossy(expected));
        Err(refused(&format!("{word} where {expected} is expected")))
    }

    /// Up to the semicolon.
    fn skip_assignment(&mut self) -> Result<(), Error> {
        while self.word()? != b";" {}
        Ok(())
    }

    /// Up to the bracket that closes one that has been read.
    fn skip_brackets(&mut self) -> Result<(), Error> {
        self.skip(b"(", b")")
    }

    /// Up to the brace that closes one that has been read.
    fn skip_block(&mut self) -> Result<(), Error> {
        self.skip(b"{", b"}")
    }

    fn skip(&mut self, opens: &[u8], closes: &[u8]) -> Result<(), Error> {
        let mut depth = 1usize;
        while depth > 0 {
            let word = self.word()?;
            depth = if word == opens { depth + 1 } else { depth - usize::from(word == closes) };
        }
        Ok(())
    }

    /// The inside of `SECTIONS`.
    fn sections(&mut self) -> Result<(), Error> {
        loop {
            let word = self.word()?;
            match word {
                b"}" => return Ok(()),
                b";" => {}
                b"OVERLAY" | b"INCLUDE" | b"INSERT" => {
                    return Err(refused(&String::from_utf8_lossy(word)));
                }
                _ if assigns(self.peek()?) => self.skip_assignment()?,
                _ if takes_nothing(word) => {
                    self.expect(b"(")?;
                    self.skip_brackets()?;
                }
                name => {
                    // The address, `:`, the load address and such, in brackets or not.
                    let at_zero = self.peek()? == b"0";
                    loop {
                        match self.word()? {
                            b"{" => break,
                            b"(" => self.skip_brackets()?,
                            b"}" | b";" => return Err(refused("an output section without {")),
                            _ => {}
                        }
                    }
                    let patterns = self.output()?;
                    self.outputs.push(Output { name, at_zero, patterns });
                    self.after_output()?;
                }
            }
        }
    }

    /// What follows an output section's brace: regions, program headers and the bytes that fill gaps.
    fn after_output(&mut self) -> Result<(), Error> {
        while self.peek()?.starts_with(b":") || self.peek()?.starts_with(b">") {
            // `:text` and `>ram` are one word each.
            if self.word()?.len() == 1 {
                self.word()?;
            }
        }
        if self.peek()?.starts_with(b"=") {
            // `=0xcccc` is one word.
            if self.word()?.len() == 1 && self.word()? == b"(" {
                self.skip_brackets()?;
            }
        }
        if self.peek()? == b"," {
            self.word()?;
        }
        Ok(())
    }

    /// The patterns of an output section.
    fn output(&mut self) -> Result<Vec<Vec<&'s [u8]>>, Error> {
        let mut patterns = Vec::new();
        let mut kept = false;
        loop {
            match self.word()? {
                b"}" => return Ok(patterns),
                b";" | b"CONSTRUCTORS" => {}
                b")" if kept => kept = false,
                b"KEEP" => {
                    self.expect(b"(")?;
                    kept = true;
                }
                _ if assigns(self.peek()?) => self.skip_assignment()?,
                word if takes_nothing(word) => {
                    self.expect(b"(")?;
                    self.skip_brackets()?;
                }
                b"*" => {
                    self.expect(b"(")?;
                    patterns.push(self.list()?);
                }
                other => return Err(refused(&String::from_utf8_lossy(other))),
            }
        }
    }

    /// The inside of one pair of brackets.
    fn list(&mut self) -> Result<Vec<&'s [u8]>, Error> {
        let mut list = Vec::new();
        let mut depth = 0usize;
        loop {
            match self.word()? {
                b")" if depth == 0 => return Ok(list),
                b")" => depth -= 1,
                b"," => {}
                b"EXCLUDE_FILE" => return Err(refused("EXCLUDE_FILE")),
                word if word.starts_with(b"SORT") && self.peek()? == b"(" => {
                    self.word()?;
                    depth += 1;
                }
                pattern => list.push(pattern),
            }
        }
    }
}

/// Whether a section's name fits a pattern: `*`, `?` and `[...]` as in file names.
pub(crate) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // What follows the last star, and what it has been tried on.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            star = Some((rest, name));
            pattern = rest;
            continue;
        }
        let fit = match (pattern, name) {
            ([], []) => return true,
            ([], _) | (_, []) => None,
            (pattern, [byte, behind @ ..]) => one(pattern, *byte).map(|rest| (rest, behind)),
        };
        (pattern, name) = match (fit, star) {
            (Some(fit), _) => fit,
            (None, Some((rest, [_, behind @ ..]))) => {
                star = Some((rest, behind));
                (rest, behind)
            }
            (None, _) => return false,
        };
    }
}

/// What follows the first element of a pattern, if `byte` fits that.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|&b| b == b']')?;
            in_set(&rest[..end], byte).then_some(&rest[end + 1..])
        }
        [first, rest @ ..] => (*first == byte).then_some(rest),
        [] => None,
    }
}

/// Whether a byte is in a set such as `a-z_` or `^0-9`.
fn in_set(set: &[u8], byte: u8) -> bool {
    let (outside, mut set) = match set {
        [b'^' | b'!', rest @ ..] => (true, rest),
        set => (false, set),
    };
    let mut found = false;
    while let [first, rest @ ..] = set {
        (found, set) = match rest {
            [b'-', last, rest @ ..] => (found || (*first..=*last).contains(&byte), rest),
            rest => (found || *first == byte, rest),
        };
    }
    found != outside
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = r#"
OUTPUT_FORMAT("elf64-x86-64")
jiffies = jiffies_64;
PHDRS { text PT_LOAD FLAGS(5); }
SECTIONS
{
 . = (0xffffffff80000000 + ((0x1000000 + (0x200000 - 1)) & ~(0x200000 - 1)));
 .text : AT(ADDR(.text) - 0xffffffff80000000) {
  _text = .; /* the {start} */
  KEEP(*(.head.text))
  . = ALIGN(16); *(.text.hot .text.hot.*) *(.text) CONSTRUCTORS
 } :text = 0xcccccccc
 _etext = .;
 .init : { KEEP(*(SORT(___kentry+*))) *(SORT_BY_ALIGNMENT(SORT_BY_NAME(.x.*)) .y) BYTE(0) } :text =0x90
 PROVIDE(here = .);
 .debug_info 0 : { *(.debug_info .gnu.linkonce.wi.*) } .symtab 0 : { *(.symtab) }
 /DISCARD/ : { *(.discard.*) *(.modinfo) }
}
ASSERT((_end - _text <= 0x1000), "too { big")
"#;

    /// Output sections with their pattern lists.
    type Read<'s> = Vec<(&'s str, Vec<Vec<&'s str>>)>;

    fn read(script: &str) -> Result<Read<'_>, String> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let outputs = outputs(script.as_bytes()).map_err(|error| error.to_string())?;
        let lists = |lists: Vec<Vec<_>>| -> Vec<Vec<&str>> {
            lists.into_iter().map(|list| list.into_iter().map(text).collect()).collect()
        };
        Ok(outputs.into_iter().map(|output| (text(output.name), lists(output.patterns))).collect())
    }

    #[test]
    fn output_sections_and_their_patterns_are_found() {
        let expected = [
            (".text", vec![vec![".head.text"], vec![".text.hot", ".text.hot.*"], vec![".text"]]),
            (".init", vec![vec!["___kentry+*"], vec![".x.*", ".y"]]),
            (".debug_info", vec![vec![".debug_info", ".gnu.linkonce.wi.*"]]),
            (".symtab", vec![vec![".symtab"]]),
            ("/DISCARD/", vec![vec![".discard.*"], vec![".modinfo"]]),
        ];
        assert_eq!(read(SCRIPT).unwrap(), expected);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for end in (0..SCRIPT.len()).step_by(7) {
            let _ = read(&SCRIPT[..end]);
        }
        let refused = |body: &str| read(&format!("SECTIONS {{ .a : {{ {body} }} }}")).unwrap_err();
        assert_eq!(
            refused("*(EXCLUDE_FILE(x.o) .a)"),
            "not supported: the linker script: EXCLUDE_FILE"
        );
        assert_eq!(refused("x.o(.a)"), "not supported: the linker script: x.o");
        assert!(read("OUTPUT_ARCH(i386)").is_err());
    }

    #[test]
    fn patterns_are_those_of_file_names() {
        let cases = [
            (".rodata.*", ".rodata.str1.1", true),
            (".rodata.*", ".rodata", false),
            (".data.rel.ro*", ".data.rel.ro", true),
            (".a*.b", ".a.b.b", true),
            (".text.[0-9a-zA-Z_]*", ".text.main", true),
            (".text.[0-9a-zA-Z_]*", ".text..main", false),
            (".x[^a]", ".xa", false),
            (".x?", ".xa", true),
            (".x[", ".x[", false),
            ("*", "", true),
            ("", ".x", false),
            ("*.x*.y*", ".x.x.z.y", true),
            ("*.x*.y?", ".x.x.z.y", false),
        ];
        for (pattern, name, fit) in cases {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
    }
}
