//! Line number programs (`.debug_line`): the programs by their bytes, the names of files by their strings.

use gimli::{DebugLineOffset, IncompleteLineProgram, LineProgramHeader};
use rayon::prelude::*;

use crate::debug::{Bytes, Side, same_value};

/// Compares the programs of both images one by one.
pub fn check(a: &Side<'_>, b: &Side<'_>) -> Result<(), String> {
    let (left, right) = (programs(a)?, programs(b)?);
    if left.len() != right.len() {
        return Err(format!("{} and {} line number programs", left.len(), right.len()));
    }
    let pairs = left.par_iter().zip(&right);
    let differs = pairs.find_map_first(|(x, y)| program((a, b), x.header(), y.header()).err());
    differs.map_or(Ok(()), Err)
}

/// All programs, each found behind the one before.
fn programs<'data>(side: &Side<'data>) -> Result<Vec<IncompleteLineProgram<Bytes<'data>>>, String> {
    let mut programs = Vec::new();
    let mut offset = 0;
    while offset < side.line_len() {
        // The size of addresses stands in the header from version 5 on; before it only the program needs it.
        let program = side.line.program(DebugLineOffset(offset), 8, None, None);
        let program = program.map_err(|error| format!("program at {offset:#x}: {error}"))?;
        let header = program.header();
        offset += header.unit_length() + usize::from(header.format().initial_length_size());
        programs.push(program);
    }
    Ok(programs)
}

fn program<'a, 'b>(
    sides: (&Side<'a>, &Side<'b>),
    x: &LineProgramHeader<Bytes<'a>>,
    y: &LineProgramHeader<Bytes<'b>>,
) -> Result<(), String> {
    let at = |what: &str| Err(format!("{what} of the program at {:#x}", x.offset().0));
    let same = x.encoding() == y.encoding()
        && x.line_encoding() == y.line_encoding()
        && x.opcode_base() == y.opcode_base()
        && x.standard_opcode_lengths() == y.standard_opcode_lengths()
        && x.directory_entry_format() == y.directory_entry_format()
        && x.file_name_entry_format() == y.file_name_entry_format()
        && x.include_directories().len() == y.include_directories().len()
        && x.file_names().len() == y.file_names().len();
    if !same {
        return at("the header");
    }
    let broken = |error: gimli::Error| format!("program at {:#x}: {error}", x.offset().0);
    for (p, q) in x.include_directories().iter().zip(y.include_directories()) {
        if !same_value(sides, p, q).map_err(broken)? {
            return at("a directory");
        }
    }
    for (p, q) in x.file_names().iter().zip(y.file_names()) {
        let numbers = |file: &gimli::FileEntry<Bytes<'_>>| {
            (file.directory_index(), file.timestamp(), file.size(), *file.md5())
        };
        if numbers(p) != numbers(q)
            || !same_value(sides, &p.path_name(), &q.path_name()).map_err(broken)?
        {
            return at("a file");
        }
    }
    match x.raw_program_buf().slice() == y.raw_program_buf().slice() {
        true => Ok(()),
        false => at("the instructions"),
    }
}
