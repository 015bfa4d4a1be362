//! The tables as values, before they become bytes for a machine or text for an assembler.

use sysmap::Entry;

use crate::compress::{Compressed, Tokens, compress};
use crate::select::{select, warnings};
use crate::{Addressing, Dialect, Error, Warning, by_name};

/// What the kernel's configuration chooses: the tool's command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// `--all-symbols` (`CONFIG_KALLSYMS_ALL`): not only the symbols of code.
    pub all_symbols: bool,
    /// `--absolute-percpu` (`CONFIG_KALLSYMS_ABSOLUTE_PERCPU`): per-CPU symbols are stored as they are.
    pub absolute_percpu: bool,
    /// `--base-relative` (`CONFIG_KALLSYMS_BASE_RELATIVE`): offsets instead of addresses.
    pub base_relative: bool,
    /// `--lto-clang` (`CONFIG_LTO_CLANG`): names are ordered without the suffixes that the compiler adds.
    pub lto_clang: bool,
    /// `--pc-relative` (`CONFIG_64BIT` or `CONFIG_RELOCATABLE`): offsets from their own place.
    pub pc_relative: bool,
}

/// A symbol of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its address.
    pub addr: u64,
    /// nm's type letter, `A` for a per-CPU symbol that is stored as it is.
    pub kind: u8,
    /// The address is not relocated with the kernel.
    pub percpu_absolute: bool,
    /// Its name.
    pub name: &'a [u8],
}

/// All tables of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) form: Form,
    pub(crate) symbols: Vec<Symbol<'a>>,
    /// The address of `_text`.
    pub(crate) text: u64,
    /// What `kallsyms_relative_base` holds.
    pub(crate) relative_base: u64,
    /// `kallsyms_offsets`; empty with [`Form::Addresses`].
    pub(crate) offsets: Vec<u32>,
    /// `kallsyms_names`.
    pub(crate) names: Vec<u8>,
    /// `kallsyms_markers`.
    pub(crate) markers: Vec<u32>,
    pub(crate) tokens: Tokens,
    /// `kallsyms_seqs_of_names`; empty where the dialect has no such table.
    pub(crate) seqs: Vec<u32>,
}

/// How the addresses of these tables are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Whole addresses.
    Addresses,
    /// 32 bits relative to a base.
    Base,
    /// 32 bits relative to the entry itself.
    Place,
    /// The low 32 bits.
    Low,
}

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Addresses,
    Offsets,
    RelativeBase,
    NumSyms,
    Names,
    Markers,
    Tokens,
    TokenIndex,
    SeqsOfNames,
}

impl Table {
    /// The symbol that stands for it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Table::Addresses => "kallsyms_addresses",
            Table::Offsets => "kallsyms_offsets",
            Table::RelativeBase => "kallsyms_relative_base",
            Table::NumSyms => "kallsyms_num_syms",
            Table::Names => "kallsyms_names",
            Table::Markers => "kallsyms_markers",
            Table::Tokens => "kallsyms_token_table",
            Table::TokenIndex => "kallsyms_token_index",
            Table::SeqsOfNames => "kallsyms_seqs_of_names",
        }
    }

    /// Whether its symbol has a size in the dialects that give sizes.
    pub(crate) fn is_sized(self) -> bool {
        matches!(self, Table::Names | Table::Markers | Table::Tokens | Table::Offsets)
    }
}

impl<'a> Tables<'a> {
    /// Makes the tables of `entries`, the kernel's symbols in the order of `nm -n`.
    ///
    /// # Errors
    /// See [`Error`]; with them the kernel's tool would have failed too, or its output would not have
    /// assembled.
    pub fn build(
        entries: &[Entry<'a>],
        dialect: &Dialect,
        options: &Options,
    ) -> Result<(Self, Vec<Warning>), Error> {
        let selected = select(entries, dialect, options)?;
        let (symbols, text) = (selected.symbols, selected.text);
        let bytes: u64 = symbols.iter().map(|symbol| symbol.name.len() as u64 + 2).sum();
        if bytes >= u64::from(u32::MAX) {
            return Err(Error::TooLarge { bytes });
        }
        let form = form(dialect, options);
        let first = symbols.iter().find(|symbol| !symbol.percpu_absolute);
        let relative_base = first.map_or(0, |symbol| symbol.addr);
        let offset = |symbol: &Symbol<'_>| match form {
            Form::Addresses => Ok(0),
            Form::Base => base_offset(symbol, relative_base, options.absolute_percpu),
            Form::Place => text_offset(symbol, text),
            Form::Low => Ok(symbol.addr as u32),
        };
        let mut offsets = symbols.iter().map(offset).collect::<Result<Vec<u32>, Error>>()?;
        if form == Form::Addresses {
            offsets.clear();
        }
        let cut = options.lto_clang && !dialect.lto_suffix.is_empty();
        let order = || match dialect.seqs_of_names {
            true => by_name::order_by_name(&symbols, cut.then_some(dialect.lto_suffix.as_slice())),
            false => Vec::new(),
        };
        // Tokens are chosen one after the other, which leaves other threads little to do.
        let (compressed, seqs) = rayon::join(|| compress(&symbols), order);
        let Compressed { tokens, names, markers } = compressed;
        let tables = Tables {
            dialect: dialect.clone(),
            form,
            symbols,
            text,
            relative_base,
            offsets,
            names,
            markers,
            tokens,
            seqs,
        };
        Ok((tables, warnings(entries, dialect)))
    }

    /// The symbols in the order of the tables.
    pub fn symbols(&self) -> &[Symbol<'a>] {
        &self.symbols
    }

    /// What the codes of the compressed names stand for.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The tables in their order.
    pub(crate) fn order(&self) -> Vec<Table> {
        let addresses: &[Table] = match self.form {
            Form::Addresses => &[Table::Addresses],
            Form::Base => &[Table::Offsets, Table::RelativeBase],
            Form::Place | Form::Low => &[Table::Offsets],
        };
        let names = [Table::NumSyms, Table::Names, Table::Markers];
        let tokens = [Table::Tokens, Table::TokenIndex];
        let seqs: &[Table] = if self.dialect.seqs_of_names { &[Table::SeqsOfNames] } else { &[] };
        if self.dialect.addresses_first {
            [addresses, &names, seqs, &tokens].concat()
        } else {
            [&names, &tokens[..], addresses, seqs].concat()
        }
    }

    /// Where each code's characters begin in the token table, and the table's size, in bytes.
    pub(crate) fn token_offsets(&self) -> (Vec<usize>, usize) {
        let mut size = 0;
        let place = |expansion: &Vec<u8>| {
            let start = size;
            size += expansion.len() + 1;
            start
        };
        let offsets = self.tokens.expansions.iter().map(place).collect();
        (offsets, size)
    }
}

pub(crate) fn form(dialect: &Dialect, options: &Options) -> Form {
    match dialect.addressing {
        Addressing::OptionalBase if !options.base_relative => Form::Addresses,
        Addressing::OptionalBase | Addressing::Base => Form::Base,
        Addressing::Text if options.pc_relative => Form::Place,
        Addressing::Text => Form::Low,
    }
}

/// Without absolute per-CPU symbols the distance from the base; with them the address of such a symbol
/// as it is, and `-1` minus the distance for all others.
fn base_offset(symbol: &Symbol<'_>, base: u64, absolute_percpu: bool) -> Result<u32, Error> {
    let in_range = |value: u64, least: i64, most: i64| {
        let value = value as i64;
        (least..=most).contains(&value).then_some(value as u32)
    };
    let offset = if !absolute_percpu {
        in_range(symbol.addr.wrapping_sub(base), 0, i64::from(u32::MAX))
    } else if symbol.percpu_absolute {
        in_range(symbol.addr, 0, i64::from(i32::MAX))
    } else {
        in_range(base.wrapping_sub(symbol.addr).wrapping_sub(1), i64::from(i32::MIN), -1)
    };
    let what = if symbol.percpu_absolute { "absolute" } else { "relative" };
    offset.ok_or(Error::OutOfRange { what, addr: symbol.addr, mode: " in relative mode" })
}

fn text_offset(symbol: &Symbol<'_>, text: u64) -> Result<u32, Error> {
    let offset = symbol.addr.wrapping_sub(text) as i64;
    let error = Error::OutOfRange { what: "relative", addr: symbol.addr, mode: "" };
    i32::try_from(offset).map(|offset| offset as u32).map_err(|_| error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::{like_6_1, like_6_12, like_7_3};

    const ALL: Options = Options {
        all_symbols: true,
        absolute_percpu: false,
        base_relative: false,
        lto_clang: false,
        pc_relative: false,
    };

    fn entry(addr: u64, name: &str) -> Entry<'_> {
        Entry { addr, kind: b'T', name: name.as_bytes() }
    }

    fn fails(entries: &[Entry<'_>], dialect: &Dialect, options: Options) -> String {
        Tables::build(entries, dialect, &options).unwrap_err().to_string()
    }

    #[test]
    fn what_an_offset_cannot_express_is_named_as_the_tool_names_it() {
        let far = [entry(0x1000, "_text"), entry(0x1_0000_1000, "far")];
        let message = "kallsyms failure: relative symbol value 0x100001000 out of range";
        assert_eq!(fails(&far, &like_6_12(), ALL), format!("{message} in relative mode"));
        let pc = Options { pc_relative: true, ..ALL };
        assert_eq!(fails(&far, &like_7_3(), pc), message);
        let base = Options { base_relative: true, ..ALL };
        assert_eq!(fails(&far, &like_6_1(), base), format!("{message} in relative mode"));
        assert!(Tables::build(&far, &like_6_1(), &ALL).is_ok());
        assert!(Tables::build(&far, &like_7_3(), &ALL).is_ok());
    }

    #[test]
    fn the_largest_offsets_fit() {
        let near = [entry(0x1000, "_text"), entry(0x1_0000_0fff, "near")];
        let (tables, _) = Tables::build(&near, &like_6_12(), &ALL).unwrap();
        assert_eq!(tables.offsets, [0, u32::MAX]);
        let near = [entry(0x1000, "_text"), entry(0x8000_0fff, "near")];
        let options = Options { absolute_percpu: true, ..ALL };
        let (tables, _) = Tables::build(&near, &like_6_12(), &options).unwrap();
        assert_eq!(tables.offsets, [u32::MAX, 1 << 31]);
    }

    #[test]
    fn a_symbol_below_the_text_has_a_negative_distance() {
        let entries = [entry(0xfff, "below"), entry(0x1000, "_text")];
        let options = Options { pc_relative: true, ..ALL };
        let (tables, _) = Tables::build(&entries, &like_7_3(), &options).unwrap();
        assert_eq!(tables.offsets, [u32::MAX, 0]);
    }
}
