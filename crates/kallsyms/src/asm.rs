//! The tables as assembler text: byte for byte what the kernel's own tool prints.
//!
//! Source of facts: `scripts/kallsyms.c`, `write_src`.

use std::io::Write;

use crate::Tables;
use crate::tables::{Form, Table};

const PREAMBLE: &[u8] = b"#include <asm/bitsperlong.h>\n\
#if BITS_PER_LONG == 64\n\
#define PTR .quad\n\
#define ALGN .balign 8\n\
#else\n\
#define PTR .long\n\
#define ALGN .balign 4\n\
#endif\n";

impl Tables<'_> {
    /// The text that `scripts/kallsyms` prints on standard output.
    pub fn to_asm(&self) -> Vec<u8> {
        // Five characters for a byte of a name, and each name twice more in comments.
        let mut out = Vec::with_capacity(self.names.len() * 8 + self.symbols.len() * 120 + 8192);
        if self.dialect.address_aligned {
            out.extend_from_slice(PREAMBLE);
        }
        out.extend_from_slice(b"\t.section .rodata, \"a\"\n");
        for table in self.order() {
            let label = table.label();
            let align = if self.dialect.address_aligned { "ALGN" } else { ".balign 4" };
            put(&mut out, format_args!(".globl {label}\n\t{align}\n{label}:\n"));
            self.write_table(&mut out, table);
            if self.dialect.sizes && table.is_sized() {
                put(&mut out, format_args!(".size {label}, . - {label}\n"));
            }
            out.push(b'\n');
        }
        out
    }

    fn write_table(&self, out: &mut Vec<u8>, table: Table) {
        match table {
            Table::Addresses => self.write_addresses(out),
            Table::Offsets => self.write_offsets(out),
            Table::RelativeBase => self.write_relocatable(out, self.relative_base),
            Table::NumSyms => put(out, format_args!("\t.long\t{}\n", self.symbols.len())),
            Table::Names => self.write_names(out),
            Table::Markers => {
                for marker in &self.markers {
                    put(out, format_args!("\t.long\t{marker}\n"));
                }
            }
            Table::Tokens => {
                for expansion in &self.tokens.expansions {
                    out.extend_from_slice(b"\t.asciz\t\"");
                    out.extend_from_slice(expansion);
                    out.extend_from_slice(b"\"\n");
                }
            }
            Table::TokenIndex => {
                for offset in self.token_offsets().0 {
                    put(out, format_args!("\t.short\t{offset}\n"));
                }
            }
            Table::SeqsOfNames => self.write_seqs(out),
        }
    }

    fn write_addresses(&self, out: &mut Vec<u8>) {
        for symbol in &self.symbols {
            if symbol.percpu_absolute {
                put(out, format_args!("\tPTR\t{}\n", Hex(symbol.addr)));
            } else {
                self.write_relocatable(out, symbol.addr);
            }
        }
    }

    /// An address that moves with the kernel, as its distance from `_text`.
    fn write_relocatable(&self, out: &mut Vec<u8>, addr: u64) {
        let (sign, distance) = match addr.checked_sub(self.text) {
            Some(above) => ('+', above),
            None => ('-', self.text - addr),
        };
        put(out, format_args!("\tPTR\t_text {sign} {}\n", Hex(distance)));
    }

    fn write_offsets(&self, out: &mut Vec<u8>) {
        for (index, &offset) in self.offsets.iter().enumerate() {
            match self.form {
                Form::Place => put(out, format_args!("\t.long\t_text - . + ({})", offset as i32)),
                _ => put(out, format_args!("\t.long\t{}", Hex(offset.into()))),
            }
            self.end_line(out, index);
        }
    }

    fn write_names(&self, out: &mut Vec<u8>) {
        let mut rest = self.names.as_slice();
        for index in 0..self.symbols.len() {
            let Some((name, after)) = split_name(rest) else { return };
            out.extend_from_slice(b"\t.byte ");
            write_bytes(out, name);
            self.end_line(out, index);
            rest = after;
        }
    }

    fn write_seqs(&self, out: &mut Vec<u8>) {
        for &seq in &self.seqs {
            out.extend_from_slice(b"\t.byte ");
            write_bytes(out, &seq.to_be_bytes()[1..]);
            self.end_line(out, seq as usize);
        }
    }

    /// Ends a line of data that belongs to a symbol, with its name where the dialect has names there.
    fn end_line(&self, out: &mut Vec<u8>, index: usize) {
        if self.dialect.comments {
            let symbol = &self.symbols[index];
            out.extend_from_slice(b"\t/* ");
            out.push(symbol.kind);
            out.extend_from_slice(symbol.name);
            out.extend_from_slice(b" */");
        }
        out.push(b'\n');
    }
}

/// The first compressed name with its length before it, and what follows it.
fn split_name(names: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = usize::from(*names.first()?);
    let size = match first {
        0..=0x7f => first + 1,
        _ => (first & 0x7f | usize::from(*names.get(1)?) << 7) + 2,
    };
    names.split_at_checked(size)
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, &byte) in bytes.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        out.extend_from_slice(&[b'0', b'x', digits[0], digits[1]]);
    }
}

/// A number as C's `%#x` prints it: zero has no prefix.
struct Hex(u64);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use sysmap::Entry;

    use crate::dialect::tests::{like_6_1, like_6_6, like_7_3};
    use crate::{Dialect, Options, Tables};

    fn text(dialect: &Dialect, options: Options) -> String {
        let entries = [
            Entry { addr: 0x0ff0, kind: b'D', name: b"low" },
            Entry { addr: 0x1000, kind: b'T', name: b"_text" },
        ];
        let options = Options { all_symbols: true, ..options };
        let (tables, _) = Tables::build(&entries, dialect, &options).unwrap();
        String::from_utf8(tables.to_asm()).unwrap()
    }

    #[test]
    fn addresses_are_distances_from_the_text() {
        let asm = text(&like_6_1(), Options::default());
        assert!(asm.contains("kallsyms_addresses:\n\tPTR\t_text - 0x10\n\tPTR\t_text + 0\n\n"));
        assert!(asm.contains("kallsyms_seqs_of_names:\n\t.byte 0x00, 0x00, 0x01\n"));
    }

    #[test]
    fn names_stand_in_comments_from_6_5_on() {
        let asm = text(&like_6_6(), Options { base_relative: true, ..Options::default() });
        assert!(
            asm.contains("kallsyms_offsets:\n\t.long\t0\t/* Dlow */\n\t.long\t0x10\t/* T_text */")
        );
        assert!(asm.contains("kallsyms_relative_base:\n\tPTR\t_text - 0x10\n\n"));
    }

    #[test]
    fn distances_from_the_place_are_decimal() {
        let asm = text(&like_7_3(), Options { pc_relative: true, ..Options::default() });
        assert!(
            asm.starts_with("\t.section .rodata, \"a\"\n.globl kallsyms_num_syms\n\t.balign 4\n")
        );
        assert!(asm.contains("\t.long\t_text - . + (-16)\t/* Dlow */\n"));
        assert!(asm.contains(".size kallsyms_offsets, . - kallsyms_offsets\n\n"));
    }
}
