//! The map that ld.lld writes with `-Map`, and the linker script beside it.
//!
//! A line has the address, the load address, the size and the alignment, then what lies there, farther to the
//! right the smaller it is:
//!
//! ```text
//! ffffffff81600000          1600000   1b88ee  4096 .rodata
//! ffffffff81600000          1600000   1512c1  4096         vmlinux.o:(.rodata)
//! ffffffff81600068          1600068        f     1                 __param_str_initcall_debug
//! ffffffff817512c1          17512c1    55549     1         <internal>:(.rodata.str1.1)
//! ffffffff817a680a          17a680a        6     1         . = ALIGN ( 32 )
//! ```
//!
//! Merged sections are listed as one, under the name of the first; what was thrown away is not listed.
//! Both then follow from the script's patterns ([`crate::unlisted`]). Members of archives are listed with
//! their archive, `vmlinux.a(init/main.o)`.
//!
//! Cost: one pass over the text; symbols, which are most of it, are skipped by the spaces before
//! them. Source of facts: maps of ld.lld 19, and its `ELF/MapFile.cpp` for what is printed where.

use hashbrown::HashMap;

use crate::error::Error;
use crate::linker::Linker;
use crate::map::{LinkMap, Listed, Statement, lines};
use crate::script::{self, Output};

/// What ld.lld calls the file of a section that it has made.
pub(crate) const INTERNAL: &[u8] = b"<internal>";

/// A line of the map, its spaces and numbers taken off.
struct Line<'m> {
    addr: u64,
    size: u64,
    align: u64,
    /// Spaces before the text.
    depth: usize,
    text: &'m [u8],
}

impl<'m> LinkMap<'m> {
    /// Reads the text of a map of ld.lld, and the linker script of that link.
    ///
    /// # Errors
    /// A text that is no such map, a script that is not understood.
    pub fn parse_lld(text: &'m [u8], script: &'m [u8]) -> Result<Self, Error> {
        let mut lines = lines(text).enumerate();
        let heading = lines.next().map(|(_, line)| line.trim_ascii());
        let is_map = |line: &[u8]| line.starts_with(b"VMA ") && line.ends_with(b"Symbol");
        if !heading.is_some_and(is_map) || text.last() != Some(&b'\n') {
            return Err(Error::Map { line: 1, cause: "this is no map of ld.lld" });
        }
        let mut linked: Vec<Statement<'m>> = Vec::new();
        for (index, line) in lines {
            if line.is_empty() || is_symbol(line) {
                continue;
            }
            let bad = |cause| Error::Map { line: index + 1, cause };
            let Some(line) = Line::parse(line).ok_or(bad("four numbers are expected"))? else {
                continue;
            };
            if line.depth == 0 && !is_assignment(line.text) {
                let name = line.text;
                linked.push(Statement { name, patterns: Vec::new(), inputs: Vec::new() });
            } else if line.depth == 8
                && let Some(listed) = line.listed()
            {
                let statement = linked.last_mut();
                let cause = "an input section outside output sections";
                statement.ok_or(bad(cause))?.inputs.push(listed);
            }
        }
        let statements = ordered(linked, script::outputs(script)?)?;
        Ok(LinkMap { linker: Linker::Lld, discarded: Vec::new(), statements })
    }
}

/// Whether a line is that of a symbol, by columns of the usual widths; most are, and need not be taken apart. Where a
/// number is wider than its column, or anything else stands where it should not, a line is told by its text.
fn is_symbol(line: &[u8]) -> bool {
    /// Where the numbers end, a bit for each column.
    const ENDS: u64 = 1 << 15 | 1 << 32 | 1 << 41 | 1 << 47;
    /// Behind them, to where input sections stand.
    const DEPTH: usize = 9;
    let Some((numbers, rest)) = line.split_first_chunk::<49>() else { return false };
    if !rest.starts_with(&[b' '; DEPTH]) {
        return false;
    }
    let filled = (0..).zip(numbers).fold(0, |filled, (at, &b)| filled | u64::from(b != b' ') << at);
    filled & !(filled >> 1) == ENDS
}

impl<'m> Line<'m> {
    /// `None` if the line has other columns; the inner `None` for symbols and what has no text.
    fn parse(line: &'m [u8]) -> Option<Option<Self>> {
        let mut rest = line;
        let mut columns = [&line[..0]; 4];
        for column in &mut columns {
            let start = rest.iter().position(|&b| b != b' ')?;
            rest = &rest[start..];
            let end = memchr::memchr(b' ', rest)?;
            (*column, rest) = rest.split_at(end);
        }
        let rest = rest.strip_prefix(b" ")?;
        let depth = rest.iter().take_while(|&&b| b == b' ').count();
        if depth > 8 || depth == rest.len() {
            return Some(None);
        }
        let number = |text, radix| u64::from_str_radix(std::str::from_utf8(text).ok()?, radix).ok();
        let (addr, size) = (number(columns[0], 16)?, number(columns[2], 16)?);
        let align = number(columns[3], 10)?;
        Some(Some(Line { addr, size, align, depth, text: &rest[depth..] }))
    }

    /// `FILE:(SECTION)`.
    fn listed(&self) -> Option<Listed<'m>> {
        let inside = self.text.strip_suffix(b")")?;
        let at = memchr::memmem::rfind(inside, b":(")?;
        let (file, section) = (&inside[..at], &inside[at + 2..]);
        let (addr, size) = (self.addr, self.size);
        Some(Listed { section, addr, size, input_size: size, align: Some(self.align), file })
    }
}

/// Whether a line between output sections is a command of the script.
fn is_assignment(text: &[u8]) -> bool {
    memchr::memchr(b' ', text).is_some()
}

/// The output sections of the script in its order, each with what was linked into it; orphans where the
/// map has them.
fn ordered<'m>(
    linked: Vec<Statement<'m>>,
    script: Vec<Output<'m>>,
) -> Result<Vec<Statement<'m>>, Error> {
    let of_debug = |output: &&Output<'m>| {
        let mut patterns = output.patterns.iter().flatten();
        !output.at_zero && patterns.any(|pattern| pattern.starts_with(b".debug"))
    };
    if let Some(output) = script.iter().find(of_debug)
        && output.name != script::DISCARD
    {
        let name = String::from_utf8_lossy(output.name);
        return Err(Error::unsupported(format!("{name} at another address than 0")));
    }
    let statement = |output: Output<'m>| Statement {
        name: output.name,
        patterns: output.patterns,
        inputs: Vec::new(),
    };
    let mut statements: Vec<Statement<'m>> = script.into_iter().map(statement).collect();
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    for (index, statement) in statements.iter().enumerate() {
        let twice = places.insert(statement.name, index).is_some();
        if twice && statement.name != script::DISCARD {
            let name = String::from_utf8_lossy(statement.name);
            return Err(Error::unsupported(format!("the linker script: {name} twice")));
        }
    }
    // Each orphan, and the statement that it stands behind.
    let mut orphans = Vec::new();
    let mut behind = None;
    for linked in linked {
        match places.get(linked.name) {
            Some(&index) if behind < Some(index) => {
                statements[index].inputs = linked.inputs;
                behind = Some(index);
            }
            Some(_) => {
                let name = String::from_utf8_lossy(linked.name);
                let how = format!("{name} is not where the linker script has it");
                return Err(Error::disagree(how));
            }
            None => orphans.push((behind, linked)),
        }
    }
    for (behind, orphan) in orphans.into_iter().rev() {
        statements.insert(behind.map_or(0, |index| index + 1), orphan);
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "             VMA              LMA     Size Align Out     In      Symbol
               0                0        0     1 jiffies = jiffies_64
ffffffff81000000          1000000   600000  4096 .text
ffffffff81000000          1000000        0     1         _text = .
ffffffff81000000          1000000      47b    16         vmlinux.o:(.head.text)
ffffffff81000000          1000000      123     1                 pvh_start_xen
ffffffff8100047b          100047b        5     1         . = ALIGN ( 16 )
ffffffff81600000          1600000       10     1 .orphan
ffffffff81600000          1600000       10     8         vmlinux.a(core.o):(.orphan)
               0                0       42     1 .comment
               0                0       42     1         <internal>:(.comment)
ffffffff82018000 ffffffff82018000        0     1 
";
    const SCRIPT: &str = "SECTIONS { .text : { *(.head.text) } .debug_info 0 : { *(.debug_info) }
        .comment 0 : { *(.comment) } }";

    #[test]
    fn a_map_of_lld_is_read() {
        let map = LinkMap::parse_lld(MAP.as_bytes(), SCRIPT.as_bytes()).unwrap();
        let names: Vec<&[u8]> = map.statements.iter().map(|statement| statement.name).collect();
        assert_eq!(names, [&b".text"[..], b".orphan", b".debug_info", b".comment"]);
        let listed = map.statements[0].inputs[0];
        assert_eq!((listed.section, listed.file), (&b".head.text"[..], &b"vmlinux.o"[..]));
        assert_eq!((listed.addr, listed.size), (0xffff_ffff_8100_0000, 0x47b));
        assert_eq!(listed.align, Some(16));
        assert_eq!(map.statements[1].inputs[0].file, b"vmlinux.a(core.o)");
        assert_eq!(map.statements[2].patterns, [[b".debug_info"]]);
    }

    #[test]
    fn a_line_is_told_by_columns_as_it_is_by_its_text() {
        const SYMBOL: &[u8] =
            b"ffffffff81000000          1000000      123     1                 pvh_start_xen";
        assert!(is_symbol(SYMBOL));
        assert!(
            MAP.lines().filter(|line| is_symbol(line.as_bytes())).eq([MAP.lines().nth(5).unwrap()])
        );
        let check = |line: &[u8]| {
            let shown = String::from_utf8_lossy(line);
            assert!(!is_symbol(line) || matches!(Line::parse(line), Some(None)), "{shown:?}");
        };
        // One or two characters of it are others, or it is cut off there.
        for first in 0..SYMBOL.len() {
            check(&SYMBOL[..first]);
            for (second, byte) in (first..60).flat_map(|at| b" 1x\t\r\0\xff".map(|b| (at, b))) {
                let mut line = SYMBOL.to_vec();
                (line[first], line[second]) = (byte, byte);
                check(&line);
                line[first] = b' ';
                check(&line);
                line.insert(first, byte);
                check(&line);
            }
        }
        // Other columns that end where the usual ones do.
        for text in ["", " ", "1", "1 1"] {
            for (a, b, c) in [(16, 16, 8), (33, 0, 8), (16, 25, 0), (0, 0, 42)] {
                let line = format!("{text:>a$} {text:>b$} {text:>c$} {text:>5} {:16} name", "");
                check(line.as_bytes());
            }
        }
    }

    #[test]
    fn a_map_that_is_cut_off_is_refused() {
        let cut = &MAP.as_bytes()[..MAP.len() - 30];
        assert!(LinkMap::parse_lld(cut, SCRIPT.as_bytes()).is_err());
        let text = MAP.replace(".comment\n", ".text\n");
        assert!(LinkMap::parse_lld(text.as_bytes(), SCRIPT.as_bytes()).is_err());
        assert!(LinkMap::parse_lld(b"Memory Configuration\n", SCRIPT.as_bytes()).is_err());
    }
}
