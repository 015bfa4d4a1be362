//! POSIX basic regular expressions, as sed and grep read them in the kernel's scripts.
//!
//! Parsed into a small tree over byte sets, which the filter inspects to find a fast test, or prints as a
//! pattern for the `regex` crate. GNU's `\|`, `\+` and `\?` are known. Back-references, intervals,
//! collating elements and the letter escapes are not: they are errors.

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) const NONE: ByteSet = ByteSet([0; 4]);

    pub(super) fn of(bytes: impl IntoIterator<Item = u8>) -> Self {
        let mut set = ByteSet::NONE;
        for byte in bytes {
            set.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
        set
    }

    pub(super) fn has(self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    pub(super) fn bytes(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |&byte| self.has(byte))
    }

    /// The only byte of the set, if it has one only.
    pub(super) fn single(self) -> Option<u8> {
        let mut bytes = self.bytes();
        bytes.next().filter(|_| bytes.next().is_none())
    }

    fn union(self, other: ByteSet) -> ByteSet {
        ByteSet([0, 1, 2, 3].map(|word| self.0[word] | other.0[word]))
    }

    fn complement(self) -> ByteSet {
        ByteSet(self.0.map(|word| !word))
    }
}

/// How often an item matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Once,
    /// `*`
    Any,
    /// `\+`
    OneOrMore,
    /// `\?`
    Optional,
}

/// What an item matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// One byte.
    Bytes(ByteSet),
    /// The start of the line.
    Start,
    /// The end of the line.
    End,
    /// `\(...\)`
    Group(Vec<Sequence>),
}

/// One item of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) node: Node,
    pub(super) repeat: Repeat,
}

/// Items one after the other.
pub(super) type Sequence = Vec<Item>;

/// Parses an expression into its alternatives.
///
/// # Errors
/// What is not known or malformed, as a clause.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Sequence>, String> {
    let mut parser = Parser { text, at: 0 };
    let alternatives = parser.alternatives(false)?;
    match parser.text.get(parser.at) {
        None => Ok(alternatives),
        Some(_) => Err("unmatched \\)".into()),
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn eat(&mut self, token: &[u8]) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn alternatives(&mut self, in_group: bool) -> Result<Vec<Sequence>, String> {
        let mut all = vec![self.sequence(in_group)?];
        while self.eat(b"\\|") {
            all.push(self.sequence(in_group)?);
        }
        Ok(all)
    }

    fn sequence(&mut self, in_group: bool) -> Result<Sequence, String> {
        let mut items: Sequence = Vec::new();
        while !self.rest().is_empty()
            && !self.rest().starts_with(b"\\|")
            && !self.rest().starts_with(b"\\)")
        {
            // An asterisk with nothing before it stands for itself; a caret does so anywhere else.
            let first = items.iter().all(|item| item.node == Node::Start);
            let node = match self.rest()[0] {
                b'^' if items.is_empty() => self.take(Node::Start),
                b'$' if self.ends_after_dollar(in_group) => self.take(Node::End),
                b'*' if !first => return Err("two repetitions in a row".into()),
                b'.' => self.take(Node::Bytes(ByteSet::of([b'\n']).complement())),
                b'[' => Node::Bytes(self.bracket()?),
                b'\\' => self.escape()?,
                byte => self.take(Node::Bytes(ByteSet::of([byte]))),
            };
            let repeat = match node {
                Node::Bytes(_) | Node::Group(_) => self.repeat(),
                Node::Start | Node::End => Repeat::Once,
            };
            items.push(Item { node, repeat });
        }
        Ok(items)
    }

    fn take(&mut self, node: Node) -> Node {
        self.at += 1;
        node
    }

    fn ends_after_dollar(&self, in_group: bool) -> bool {
        let after = &self.rest()[1..];
        after.is_empty() || after.starts_with(b"\\|") || (in_group && after.starts_with(b"\\)"))
    }

    fn repeat(&mut self) -> Repeat {
        if self.eat(b"*") {
            Repeat::Any
        } else if self.eat(b"\\+") {
            Repeat::OneOrMore
        } else if self.eat(b"\\?") {
            Repeat::Optional
        } else {
            Repeat::Once
        }
    }

    fn escape(&mut self) -> Result<Node, String> {
        let Some(&byte) = self.rest().get(1) else {
            return Err("a backslash at the end of a regular expression".into());
        };
        self.at += 2;
        match byte {
            b'(' => {
                let inner = self.alternatives(true)?;
                if !self.eat(b"\\)") {
                    return Err("unmatched \\(".into());
                }
                Ok(Node::Group(inner))
            }
            b'.' | b'*' | b'[' | b']' | b'^' | b'$' | b'/' | b'\\' => {
                Ok(Node::Bytes(ByteSet::of([byte])))
            }
            _ => Err(format!("unknown escape \\{} in a regular expression", char::from(byte))),
        }
    }

    fn bracket(&mut self) -> Result<ByteSet, String> {
        self.at += 1;
        let negated = self.eat(b"^");
        let mut set = ByteSet::NONE;
        let mut first = true;
        loop {
            if self.eat(b"]") {
                if !first {
                    break;
                }
                set = set.union(ByteSet::of([b']']));
            } else if self.eat(b"[:") {
                set = set.union(self.named_class()?);
            } else if self.rest().starts_with(b"[.") || self.rest().starts_with(b"[=") {
                return Err("collating element in a bracket expression".into());
            } else {
                set = set.union(self.range()?);
            }
            first = false;
        }
        if negated {
            // A line has no newline to match.
            set = set.union(ByteSet::of([b'\n'])).complement();
        }
        Ok(set)
    }

    fn named_class(&mut self) -> Result<ByteSet, String> {
        let end = self.rest().windows(2).position(|pair| pair == b":]");
        let end = end.ok_or("unterminated character class")?;
        let name = &self.rest()[..end];
        let holds: fn(&u8) -> bool = match name {
            b"alnum" => u8::is_ascii_alphanumeric,
            b"alpha" => u8::is_ascii_alphabetic,
            b"digit" => u8::is_ascii_digit,
            b"lower" => u8::is_ascii_lowercase,
            b"punct" => u8::is_ascii_punctuation,
            b"upper" => u8::is_ascii_uppercase,
            b"xdigit" => u8::is_ascii_hexdigit,
            _ => {
                let name = String::from_utf8_lossy(name);
                return Err(format!("unknown character class [:{name}:]"));
            }
        };
        self.at += end + 2;
        Ok(ByteSet::of((0..=u8::MAX).filter(holds)))
    }

    fn range(&mut self) -> Result<ByteSet, String> {
        let (low, high, len) = match *self.rest() {
            [] => return Err("unterminated bracket expression".into()),
            [low, b'-', high, ..] if high != b']' => (low, high, 3),
            [byte, ..] => (byte, byte, 1),
        };
        // sed takes some backslashes in brackets as escapes, grep takes none.
        if low == b'\\' || high == b'\\' || high == b'[' && len == 3 {
            return Err("unknown construct in a bracket expression".into());
        }
        if low > high {
            return Err("a range that ends before it starts".into());
        }
        self.at += len;
        Ok(ByteSet::of(low..=high))
    }
}

/// The expression for the `regex` crate, over bytes.
pub(super) fn to_regex(alternatives: &[Sequence]) -> String {
    let parts: Vec<String> = alternatives.iter().map(|items| sequence_to_regex(items)).collect();
    format!("(?:{})", parts.join("|"))
}

pub(super) fn sequence_to_regex(items: &[Item]) -> String {
    let mut out = String::new();
    for item in items {
        match &item.node {
            Node::Bytes(set) => {
                out.push('[');
                for byte in set.bytes() {
                    out.push_str(&format!("\\x{byte:02x}"));
                }
                out.push(']');
            }
            Node::Start => out.push_str("\\A"),
            Node::End => out.push_str("\\z"),
            Node::Group(alternatives) => out.push_str(&to_regex(alternatives)),
        }
        out.push_str(match item.repeat {
            Repeat::Once => "",
            Repeat::Any => "*",
            Repeat::OneOrMore => "+",
            Repeat::Optional => "?",
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(text: &str) -> regex::bytes::Regex {
        let pattern = to_regex(&parse(text.as_bytes()).unwrap());
        regex::bytes::Regex::new(&format!("(?-u){pattern}")).unwrap()
    }

    #[test]
    fn expressions_match_as_posix_says() {
        for (pattern, yes, no) in [
            ("a*b", "xb", "xa"),
            ("^*a", "*a", "a"),
            ("a^b", "a^b", "ab"),
            ("a$b", "a$b", "ab"),
            ("\\(a$\\)", "ba", "ab"),
            ("\\(^a\\|b$\\)", "xb", "bx"),
            ("[]a]$", "x]", "xb"),
            ("[^]a]", "b", "]a"),
            ("[a-]c", "-c", "bc"),
            ("[[:digit:]_]x", "_x", "ax"),
            ("a\\+b\\?$", "caa", "cb"),
            ("a\\.b", "a.b", "axb"),
            ("a|b(c){2}", "a|b(c){2}", "a"),
            ("x\\(a\\|b\\)*y", "xabay", "xacy"),
        ] {
            assert!(regex(pattern).is_match(yes.as_bytes()), "{pattern} matches {yes}");
            assert!(!regex(pattern).is_match(no.as_bytes()), "{pattern} does not match {no}");
        }
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for (pattern, cause) in [
            ("a\\{2\\}", "unknown escape \\{ in a regular expression"),
            ("\\(a\\)\\1", "unknown escape \\1 in a regular expression"),
            ("\\w", "unknown escape \\w in a regular expression"),
            ("a\\", "a backslash at the end of a regular expression"),
            ("\\(a", "unmatched \\("),
            ("a\\)", "unmatched \\)"),
            ("a**", "two repetitions in a row"),
            ("[a", "unterminated bracket expression"),
            ("[", "unterminated bracket expression"),
            ("[[:digit]", "unterminated character class"),
            ("[[:word:]]", "unknown character class [:word:]"),
            ("[[.a.]]", "collating element in a bracket expression"),
            ("[\\n]", "unknown construct in a bracket expression"),
            ("[z-a]", "a range that ends before it starts"),
        ] {
            assert_eq!(parse(pattern.as_bytes()).unwrap_err(), cause, "{pattern}");
        }
    }
}
