//! The map that GNU ld writes with `-Map`: which input section went where.
//!
//! The map is the linker's own account of the link, so nothing about the linker script, its patterns or
//! garbage collection has to be guessed. It also names the script's output sections that stayed empty,
//! debug sections among them when they are stripped, with the patterns of their input sections; their
//! order is the order of the sections in the file.
//!
//! A line of the map that matters is one of
//!
//! ```text
//! .rodata         0xffffffff81400000   0x21a0ce load address 0x0000000001400000
//!  *(.rodata.*)
//!  .rodata        0xffffffff8166bd80       0x8d init/version-timestamp.o
//!  .rodata.str1.1
//!                 0xffffffff817512c1    0x52e9e vmlinux.o
//!                                       0x5cc71 (size before relaxing)
//! ```
//!
//! Cost: one pass over the text; symbols, which are most of it, are skipped by their first two bytes.
//! Source of facts: maps of GNU ld 2.40, and its `ld/ldlang.c` for what is printed where.

use crate::error::Error;
use crate::linker::Linker;

/// An input section as the map lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'m> {
    /// Name of the input section.
    pub section: &'m [u8],
    /// Its address in the image; 0 for a discarded one.
    pub addr: u64,
    /// Its size in the image, in bytes.
    pub size: u64,
    /// Its size in the input, in bytes.
    pub input_size: u64,
    /// Its alignment in bytes, where the linker tells it.
    pub align: Option<u64>,
    /// The input, as the linker names it.
    pub file: &'m [u8],
}

/// An output section of the linker script, empty or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'m> {
    /// Name of the output section.
    pub name: &'m [u8],
    /// The plain patterns of its input sections; one list for each pair of brackets in the script.
    pub patterns: Vec<Vec<&'m [u8]>>,
    /// The input sections that were put there.
    pub inputs: Vec<Listed<'m>>,
}

/// What a link map says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkMap<'m> {
    /// The linker that wrote it.
    pub linker: Linker,
    /// Input sections that are not in the image; ld.lld does not tell them.
    pub discarded: Vec<Listed<'m>>,
    /// The output sections in the script's order.
    pub statements: Vec<Statement<'m>>,
}

/// The parts of a map, by their headings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Preamble,
    Discarded,
    Memory,
}

impl<'m> LinkMap<'m> {
    /// Reads the text of a map that `linker` has written; `script` is the linker script of that link.
    ///
    /// # Errors
    /// A text that is no such map, a script that is not understood.
    pub fn parse(linker: Linker, text: &'m [u8], script: &'m [u8]) -> Result<Self, Error> {
        match linker {
            Linker::Gnu => Self::parse_gnu(text),
            Linker::Lld => Self::parse_lld(text, script),
        }
    }

    /// Reads the text of a map of GNU ld.
    ///
    /// # Errors
    /// A line of an input section that is cut off, or a map without its main part.
    pub fn parse_gnu(text: &'m [u8]) -> Result<Self, Error> {
        let mut map =
            LinkMap { linker: Linker::Gnu, discarded: Vec::new(), statements: Vec::new() };
        let mut part = Part::Preamble;
        // A name that was too long for its column; the rest follows on the next line.
        let mut pending: Option<&'m [u8]> = None;
        for (index, line) in lines(text).enumerate() {
            let bad = |cause| Error::Map { line: index + 1, cause };
            if let Some(section) = pending.take() {
                let listed = listed(section, line).ok_or(bad("an input section without place"))?;
                map.list(part, listed).ok_or(bad("an input section outside output sections"))?;
                continue;
            }
            match line {
                [] => {}
                [b' ', b' ' | b'*', ..] if part != Part::Preamble => map.continued(line),
                [b' ', rest @ ..] if part != Part::Preamble => {
                    let name = word(rest);
                    let rest = &rest[name.len()..];
                    if rest.iter().all(|&b| b == b' ') {
                        pending = Some(name);
                    } else if let Some(listed) = listed(name, rest) {
                        map.list(part, listed)
                            .ok_or(bad("an input section outside output sections"))?;
                    }
                }
                b"Discarded input sections" => part = Part::Discarded,
                b"Linker script and memory map" => part = Part::Memory,
                _ if line.starts_with(b"Memory Configuration") => part = Part::Preamble,
                [b' ', ..] => {}
                _ if part == Part::Memory && !is_command(line) => {
                    let statement =
                        Statement { name: word(line), patterns: Vec::new(), inputs: Vec::new() };
                    map.statements.push(statement);
                }
                _ => {}
            }
        }
        if part != Part::Memory || map.statements.is_empty() {
            return Err(Error::Map { line: 1, cause: "this is no map of GNU ld" });
        }
        Ok(map)
    }

    /// Gives the input `from` another name, under which it was not linked. Whether there is one.
    pub fn rename(&mut self, from: &[u8], to: &'m [u8]) -> bool {
        let linked = self.statements.iter_mut().flat_map(|statement| &mut statement.inputs);
        let found = linked.chain(&mut self.discarded).filter(|listed| listed.file == from);
        found.map(|listed| listed.file = to).count() > 0
    }

    /// Adds an input section to the part that is being read.
    fn list(&mut self, part: Part, listed: Listed<'m>) -> Option<()> {
        match part {
            Part::Memory => self.statements.last_mut()?.inputs.push(listed),
            Part::Discarded | Part::Preamble => self.discarded.push(listed),
        }
        Some(())
    }

    /// A line that belongs to what came before: a pattern, or the input size of the last section.
    fn continued(&mut self, line: &'m [u8]) {
        let Some(statement) = self.statements.last_mut() else { return };
        if let Some(patterns) = line.strip_prefix(b" *(").and_then(|l| l.strip_suffix(b")")) {
            if !patterns.contains(&b'(') {
                let words = patterns.split(|&b| b == b' ').filter(|word| !word.is_empty());
                statement.patterns.push(words.collect());
            }
        } else if let Some(size) = line.strip_suffix(b" (size before relaxing)") {
            let size = number(size.trim_ascii());
            if let (Some(size), Some(last)) = (size, statement.inputs.last_mut()) {
                last.input_size = size;
            }
        }
    }
}

/// The lines of a text, without line feeds; the last is empty where the text ends in one.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr::memchr(b'\n', text);
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// Lines of the map's main part that are not output sections.
fn is_command(line: &[u8]) -> bool {
    let commands: [&[u8]; 5] = [b"LOAD ", b"OUTPUT(", b"START GROUP", b"END GROUP", b"TARGET("];
    commands.iter().any(|command| line.starts_with(command))
}

fn word(text: &[u8]) -> &[u8] {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    &text[..end]
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text.strip_prefix(b"0x")?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// `ADDRESS SIZE FILE`, with spaces before each.
fn listed<'m>(section: &'m [u8], text: &'m [u8]) -> Option<Listed<'m>> {
    let text = text.trim_ascii_start();
    let addr = word(text);
    let text = text[addr.len()..].trim_ascii_start();
    let size = word(text);
    let file = text[size.len()..].trim_ascii();
    let (addr, size) = (number(addr)?, number(size)?);
    (!file.is_empty()).then_some(Listed {
        section,
        addr,
        size,
        input_size: size,
        align: None,
        file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
Archive member included to satisfy reference by file (symbol)

init/main.o                   (--whole-archive)

Discarded input sections

 .modinfo       0x0000000000000000     0x4429 vmlinux.o
 .discard.addressable
                0x0000000000000000     0xdf68 vmlinux.o

Memory Configuration

Name             Origin             Length             Attributes
*default*        0x0000000000000000 0xffffffffffffffff

Linker script and memory map

                0xffffffff81c079c0                jiffies = jiffies_64

.text           0xffffffff81000000   0x600000 load address 0x0000000001000000
                0xffffffff81000000                _text = .
 *(.text .text.fixup)
 *fill*         0xffffffff81000480      0xb80 cccccccc
 .text          0xffffffff81001000   0x367a21 vmlinux.o
                0xffffffff81001000                __traceiter_initcall_level
 *(SORT_BY_NAME(.x))
 .rodata.str1.1
                0xffffffff817512c1    0x52e9e vmlinux.o
                                      0x5cc71 (size before relaxing)

.debug_info
 *(.debug_info .gnu.linkonce.wi.*)
LOAD vmlinux.o
OUTPUT(/tmp/x elf64-x86-64)
";

    #[test]
    fn a_map_of_gnu_ld_is_read() {
        let map = LinkMap::parse_gnu(MAP.as_bytes()).unwrap();
        let names: Vec<&[u8]> = map.discarded.iter().map(|listed| listed.section).collect();
        assert_eq!(names, [&b".modinfo"[..], b".discard.addressable"]);
        let names: Vec<&[u8]> = map.statements.iter().map(|statement| statement.name).collect();
        assert_eq!(names, [&b".text"[..], b".debug_info"]);
        let text = &map.statements[0];
        assert_eq!(text.patterns, [[&b".text"[..], b".text.fixup"]]);
        assert_eq!(text.inputs.len(), 2);
        assert_eq!(
            (text.inputs[0].addr, text.inputs[0].input_size),
            (0xffffffff81001000, 0x367a21)
        );
        assert_eq!((text.inputs[1].size, text.inputs[1].input_size), (0x52e9e, 0x5cc71));
        let debug: [&[u8]; 2] = [b".debug_info", b".gnu.linkonce.wi.*"];
        assert_eq!(map.statements[1].patterns, [debug]);
    }

    #[test]
    fn an_input_gets_the_name_of_the_one_that_it_stands_for() {
        let text = MAP.replace("vmlinux.o", "twin.o");
        let mut map = LinkMap::parse_gnu(text.as_bytes()).unwrap();
        assert!(!map.rename(b"vmlinux.o", b"twin.o"));
        assert!(map.rename(b"twin.o", b"vmlinux.o"));
        assert_eq!(map, LinkMap::parse_gnu(MAP.as_bytes()).unwrap());
    }

    #[test]
    fn a_map_that_is_cut_off_is_refused() {
        let cut = MAP.find("                0xffffffff817512c1").unwrap();
        let error = LinkMap::parse_gnu(&MAP.as_bytes()[..cut]).unwrap_err();
        assert_eq!(error.to_string(), "line 28 of the link map: an input section without place");
        assert!(LinkMap::parse_gnu(b"VMA LMA").is_err());
    }
}
