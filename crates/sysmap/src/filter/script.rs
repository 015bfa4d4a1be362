//! The two languages in which a tree's `scripts/mksysmap` is written.
//!
//! A sed script of `/REGEX/d` lines (6.5 and later), or a shell script that is one pipeline from nm into
//! `grep -v` (to 6.2) or into sed (6.3, 6.4). The shell's quoting decides what the patterns are; a few
//! releases lose a backslash to it, and their build goes by what is left.
//!
//! Nothing is guessed: whatever is not one of these forms is an error that names its line.

use super::FilterError;

/// A regular expression, and the line of the script on which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) line: usize,
    pub(super) text: Vec<u8>,
}

fn error<T>(line: usize, cause: impl Into<String>) -> Result<T, FilterError> {
    Err(FilterError { line, cause: cause.into() })
}

/// The patterns of the lines that the script leaves out.
pub(super) fn patterns(script: &[u8]) -> Result<Vec<Pattern>, FilterError> {
    let first = script.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let interpreter = first.strip_prefix(b"#!").unwrap_or_default().trim_ascii();
    let program = interpreter.split(|byte| byte.is_ascii_whitespace()).next();
    match program.unwrap_or_default() {
        b"/bin/sed" | b"/usr/bin/sed" => sed(script, 1),
        b"/bin/sh" => shell(script),
        _ => error(1, "neither a sed script nor a shell script"),
    }
}

/// A sed script whose first line is line `start` of the file.
fn sed(script: &[u8], start: usize) -> Result<Vec<Pattern>, FilterError> {
    let mut patterns = Vec::new();
    for (line, text) in (start..).zip(script.split(|&byte| byte == b'\n')) {
        if line == start && text == b"#n" {
            return error(line, "#n on the first line turns sed's output off");
        }
        let text = text.trim_ascii();
        match text.first() {
            None | Some(b'#') => {}
            Some(b'/') => patterns.push(Pattern { line, text: sed_delete(&text[1..], line)? }),
            Some(_) => return error(line, "a sed command other than /REGEX/d"),
        }
    }
    Ok(patterns)
}

/// The expression of `REGEX/d`.
fn sed_delete(text: &[u8], line: usize) -> Result<Vec<u8>, FilterError> {
    let mut pattern = Vec::new();
    let mut bytes = text.iter().copied();
    loop {
        match bytes.next() {
            None => return error(line, "unterminated regular expression"),
            Some(b'/') => break,
            Some(b'\\') => match bytes.next() {
                None => return error(line, "unterminated regular expression"),
                Some(b'/') => pattern.push(b'/'),
                Some(byte) => pattern.extend([b'\\', byte]),
            },
            Some(byte) => pattern.push(byte),
        }
    }
    if pattern.is_empty() {
        return error(line, "an empty regular expression stands for the last one used");
    }
    let Some(b'd') = bytes.next() else {
        return error(line, "a sed command other than /REGEX/d");
    };
    match bytes.find(|byte| !byte.is_ascii_whitespace()) {
        None | Some(b'#') => Ok(pattern),
        Some(_) => error(line, "a sed command other than /REGEX/d"),
    }
}

/// A word or operator of a shell script.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(Word),
    Pipe,
    Redirect,
    Newline,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Word {
    line: usize,
    /// Quotes removed; a parameter is written `${NAME}`, whichever way the script has it.
    text: Vec<u8>,
    /// Whether a parameter is expanded in it.
    expands: bool,
}

impl Word {
    fn is(&self, text: &[u8]) -> bool {
        self.text == text && self.expands == text.starts_with(b"$")
    }
}

/// A shell script that is one pipeline.
fn shell(script: &[u8]) -> Result<Vec<Pattern>, FilterError> {
    let tokens = Lexer { text: script, at: 0, line: 1 }.tokens()?;
    let unknown = "not a pipeline from $NM -n $1 into grep -v or sed with its output in $2";
    let mut commands: Vec<Vec<Word>> = vec![Vec::new()];
    let mut redirected = false;
    let mut ended = false;
    let mut tokens = tokens.into_iter().peekable();
    while let Some((line, token)) = tokens.next() {
        let begun = commands.iter().any(|command| !command.is_empty());
        match token {
            Token::Newline => ended = begun,
            _ if ended => return error(line, "a second command"),
            Token::Word(word) => commands.last_mut().expect("never empty").push(word),
            Token::Pipe => commands.push(Vec::new()),
            Token::Redirect => {
                let to_second =
                    matches!(tokens.next(), Some((_, Token::Word(word))) if word.is(b"${2}"));
                if redirected || !to_second {
                    return error(line, unknown);
                }
                redirected = true;
            }
        }
    }
    let last_line = script.split(|&byte| byte == b'\n').count();
    let line = commands[0].first().map_or(last_line, |word| word.line);
    let [nm, filter] = commands.as_slice() else { return error(line, unknown) };
    let [program, option, image] = nm.as_slice() else { return error(line, unknown) };
    if !redirected || !program.is(b"${NM}") || !option.is(b"-n") || !image.is(b"${1}") {
        return error(line, unknown);
    }
    match filter.split_first() {
        Some((program, arguments)) if program.is(b"grep") => grep_arguments(arguments, line),
        Some((program, arguments)) if program.is(b"sed") => match arguments {
            [option, script] if option.is(b"-e") => sed(plain(script)?, script.line),
            _ => error(line, unknown),
        },
        _ => error(line, unknown),
    }
}

/// `-v PATTERN` or `-v -e PATTERN -e PATTERN ...`.
fn grep_arguments(arguments: &[Word], line: usize) -> Result<Vec<Pattern>, FilterError> {
    let unknown = "grep with options other than -v and -e";
    let Some((invert, rest)) = arguments.split_first().filter(|(first, _)| first.is(b"-v")) else {
        return error(line, unknown);
    };
    let words = match rest {
        [] => return error(invert.line, "grep without a pattern"),
        [only] => vec![only],
        pairs => {
            let mut words = Vec::new();
            for pair in pairs.chunks(2) {
                match pair {
                    [option, pattern] if option.is(b"-e") => words.push(pattern),
                    _ => return error(pair[0].line, unknown),
                }
            }
            words
        }
    };
    let mut patterns = Vec::new();
    for word in words {
        let text = plain(word)?;
        if text.contains(&b'\n') || text.is_empty() || text.starts_with(b"-") {
            return error(word.line, unknown);
        }
        patterns.push(Pattern { line: word.line, text: text.to_vec() });
    }
    Ok(patterns)
}

fn plain(word: &Word) -> Result<&[u8], FilterError> {
    if word.expands {
        return error(word.line, "a parameter inside a pattern");
    }
    Ok(&word.text)
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    fn tokens(mut self) -> Result<Vec<(usize, Token)>, FilterError> {
        let mut tokens = Vec::new();
        loop {
            let line = self.line;
            let token = match self.peek() {
                None => break,
                Some(b' ' | b'\t') => {
                    self.next();
                    continue;
                }
                Some(b'\\') if self.text.get(self.at + 1) == Some(&b'\n') => {
                    self.next();
                    self.next();
                    continue;
                }
                Some(b'#') => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.next();
                    }
                    continue;
                }
                Some(b'\n') => self.operator(Token::Newline),
                Some(b'|') => self.operator(Token::Pipe),
                Some(b'>') => self.operator(Token::Redirect),
                Some(_) => Token::Word(self.word()?),
            };
            tokens.push((line, token));
        }
        Ok(tokens)
    }

    fn operator(&mut self, token: Token) -> Token {
        self.next();
        token
    }

    fn word(&mut self) -> Result<Word, FilterError> {
        let mut word = Word { line: self.line, ..Word::default() };
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b'|' | b'>' => break,
                b'\'' => self.single_quoted(&mut word)?,
                b'"' => self.double_quoted(&mut word)?,
                b'$' => self.dollar(&mut word)?,
                b'\\' => {
                    self.next();
                    match self.next() {
                        None => return error(self.line, "a backslash at the end of the script"),
                        Some(b'\n') => {}
                        Some(byte) => word.text.push(byte),
                    }
                }
                b';' | b'&' | b'<' | b'(' | b')' | b'`' | b'*' | b'?' | b'[' | b'~' => {
                    let byte = char::from(byte);
                    return error(self.line, format!("{byte} outside quotes"));
                }
                byte => {
                    self.next();
                    word.text.push(byte);
                }
            }
        }
        Ok(word)
    }

    fn single_quoted(&mut self, word: &mut Word) -> Result<(), FilterError> {
        let line = self.line;
        self.next();
        loop {
            match self.next() {
                None => return error(line, "unterminated quotes"),
                Some(b'\'') => return Ok(()),
                Some(byte) => word.text.push(byte),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), FilterError> {
        let line = self.line;
        self.next();
        loop {
            match self.peek() {
                None => return error(line, "unterminated quotes"),
                Some(b'"') => {
                    self.next();
                    return Ok(());
                }
                Some(b'`') => return error(self.line, "a command substitution"),
                Some(b'$') => self.dollar(word)?,
                Some(b'\\') => {
                    self.next();
                    // A backslash quotes these only; before anything else it stays.
                    match self.peek() {
                        Some(byte @ (b'$' | b'`' | b'"' | b'\\')) => {
                            self.next();
                            word.text.push(byte);
                        }
                        Some(b'\n') => {
                            self.next();
                        }
                        _ => word.text.push(b'\\'),
                    }
                }
                Some(byte) => {
                    self.next();
                    word.text.push(byte);
                }
            }
        }
    }

    /// A parameter, or a dollar sign that stands for itself.
    fn dollar(&mut self, word: &mut Word) -> Result<(), FilterError> {
        self.next();
        let braced = self.peek() == Some(b'{');
        if braced {
            self.next();
        }
        let start = self.at;
        match self.peek() {
            Some(b'0'..=b'9') => self.at += 1,
            Some(byte) if name_byte(byte) => {
                while self.peek().is_some_and(name_byte) {
                    self.at += 1;
                }
            }
            Some(b'(' | b'#' | b'?' | b'@' | b'*' | b'$' | b'!' | b'-') => {
                return error(self.line, "an expansion other than a plain parameter");
            }
            _ if braced => return error(self.line, "an expansion other than a plain parameter"),
            _ => {
                word.text.push(b'$');
                return Ok(());
            }
        }
        let name = &self.text[start..self.at];
        word.text.extend_from_slice(b"${");
        word.text.extend_from_slice(name);
        word.text.push(b'}');
        word.expands = true;
        if braced && self.next() != Some(b'}') {
            return error(self.line, "an expansion other than a plain parameter");
        }
        Ok(())
    }
}

fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
