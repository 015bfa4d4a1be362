//! The sizes of all tables, without their contents.
//!
//! Two kernels whose tables have the same sizes have the same layout, as far as kallsyms goes. So a kernel can be
//! linked with tables of the expected sizes before their contents are known. Everything that depends on
//! sizes follows from three numbers; an object of these sizes ([`Sizes::to_object`]) has the sections, symbols and
//! relocations of the real one, but for the addends.

use image::{Elf, Endian, Header, Place, Symbol as ElfSymbol};

use crate::compress::Tokens;
use crate::tables::{Symbol, Tables, form};
use crate::{Dialect, Error, Options};

/// How many codes there are.
const CODES: usize = 256;

/// What the sizes of all tables follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// How many symbols the tables hold.
    pub symbols: u32,
    /// Size of `kallsyms_names`, in bytes. It may include the padding up to the next table.
    pub names: u32,
    /// Size of `kallsyms_token_table`, in bytes. It may include the padding up to the next table.
    pub tokens: u32,
}

impl Sizes {
    /// The sizes of the tables in an object that [`Tables::to_object`] or an assembler wrote.
    ///
    /// # Errors
    /// No object, or one without these tables.
    pub fn of_object(object: &[u8]) -> Result<Self, Error> {
        let elf = Elf::parse(object)?;
        let symbols = elf.symbols()?;
        let find = |table| {
            let found = symbols.iter().find(|symbol| symbol.name == str::as_bytes(table));
            found.ok_or(Error::Table { table, offset: 0, cause: "there is no such symbol" })
        };
        let size = |table, next| {
            let (start, end) = (find(table)?, find(next)?);
            let size = match start.size {
                0 => end.value.checked_sub(start.value),
                size => Some(size),
            };
            let cause = "its end is not behind its start";
            let bad = Error::Table { table, offset: start.value, cause };
            size.and_then(|size| u32::try_from(size).ok()).ok_or(bad)
        };
        Ok(Sizes {
            symbols: number(&elf, "kallsyms_num_syms", find("kallsyms_num_syms")?)?,
            names: size("kallsyms_names", "kallsyms_markers")?,
            tokens: size("kallsyms_token_table", "kallsyms_token_index")?,
        })
    }

    /// Tables of these sizes whose contents mean nothing, as an object like that of [`Tables::to_object`]. It takes
    /// memory in proportion to the sizes.
    ///
    /// # Errors
    /// Numbers that no tables have; otherwise as [`Tables::to_object`].
    pub fn to_object(
        &self,
        dialect: &Dialect,
        options: &Options,
        header: &Header,
    ) -> Result<Vec<u8>, Error> {
        let bad = |table, cause| Error::Table { table, offset: 0, cause };
        let (count, names) = (self.symbols as usize, self.names as usize);
        // Each name has a length and at least the code of its type.
        if names / 2 < count {
            return Err(bad("kallsyms_names", "too small for its symbols"));
        }
        let longest = (self.tokens as usize).checked_sub(CODES);
        let longest = longest.ok_or(bad("kallsyms_token_table", "too small for its codes"))?;
        let mut expansions = vec![Vec::new(); CODES];
        expansions[0] = vec![0; longest];
        let nobody = Symbol { addr: 0, kind: b't', percpu_absolute: false, name: b"" };
        let tables = Tables {
            dialect: dialect.clone(),
            form: form(dialect, options),
            symbols: vec![nobody; count],
            text: 0,
            relative_base: 0,
            offsets: vec![0; count],
            names: vec![0; names],
            markers: vec![0; count.div_ceil(CODES)],
            tokens: Tokens { expansions },
            seqs: vec![0; if dialect.seqs_of_names { count } else { 0 }],
        };
        tables.to_object(header)
    }
}

/// The tables in an object that [`Tables::to_object`] or an assembler wrote, in the order of their places: name, and size
/// in bytes with the padding up to the next one.
///
/// # Errors
/// No object; a table without a section.
pub fn table_sizes(object: &[u8]) -> Result<Vec<(String, u64)>, Error> {
    let elf = Elf::parse(object)?;
    let symbols = elf.symbols()?;
    let tables = symbols.iter().filter_map(|symbol| {
        let name = str::from_utf8(symbol.name).ok()?;
        match symbol.place {
            Place::Section(index) => {
                name.starts_with("kallsyms_").then_some((index, symbol.value, name))
            }
            _ => None,
        }
    });
    let mut tables: Vec<_> = tables.collect();
    tables.sort_unstable();
    let mut sizes = Vec::with_capacity(tables.len());
    for (at, &(index, start, name)) in tables.iter().enumerate() {
        let end = match tables.get(at + 1) {
            Some(&(same, next, _)) if same == index => Some(next),
            _ => elf.sections().get(index as usize).map(|section| section.size),
        };
        let cause = "its end is not behind its start";
        let bad = Error::Table { table: "kallsyms", offset: start, cause };
        let size = end.and_then(|end| end.checked_sub(start)).ok_or(bad)?;
        sizes.push((name.to_owned(), size));
    }
    Ok(sizes)
}

/// The 32-bit number at a symbol of an object.
fn number(elf: &Elf<'_>, table: &'static str, symbol: &ElfSymbol<'_>) -> Result<u32, Error> {
    let bad = Error::Table { table, offset: symbol.value, cause: "there is no number" };
    let Place::Section(index) = symbol.place else { return Err(bad) };
    let section = elf.sections().get(index as usize).ok_or(bad.clone())?;
    let bytes = elf.bytes(section)?;
    let start = usize::try_from(symbol.value).ok();
    let number = start.and_then(|start| bytes.get(start..)?.first_chunk::<4>());
    number.map(|bytes| elf.endian().read_u32(*bytes)).ok_or(bad)
}

#[cfg(test)]
mod tests {
    use image::consts::{EM_ARM, EM_RISCV, EM_S390, EM_X86_64, ET_REL};
    use image::{Class, Endianness};
    use sysmap::Entry;

    use super::*;
    use crate::dialect::tests::{like_6_1, like_6_6, like_6_12, like_7_3};

    /// Everything but contents and addends: what a link's layout depends on.
    fn shape(object: &[u8]) -> String {
        let elf = Elf::parse(object).unwrap();
        let sections = elf.sections().iter().map(|section| format!("{section:?}\n"));
        let symbols = elf.symbols().unwrap();
        let symbols = symbols.iter().map(|symbol| format!("{symbol:?}\n"));
        sections.chain(symbols).collect()
    }

    fn header(class: Class, endian: Endianness, machine: u16) -> Header {
        let (flags, os_abi, abi_version) = (0, 0, 0);
        Header { class, endian, file_type: ET_REL.0, machine, flags, os_abi, abi_version }
    }

    #[test]
    fn an_object_of_the_same_sizes_has_the_same_shape() {
        use Endianness::{Big, Little};
        let names: Vec<String> = (0..700).map(|i| format!("function_{}", i * i % 311)).collect();
        let entry = |(i, name): (u64, _)| Entry { addr: 0x1000 + i * 16, kind: b'T', name };
        let all = [&b"_text"[..]].into_iter().chain(names.iter().map(String::as_bytes));
        let entries: Vec<Entry<'_>> = (0..).zip(all).map(entry).collect();
        let headers = [
            header(Class::Elf64, Little, EM_X86_64.0),
            header(Class::Elf64, Big, EM_S390.0),
            header(Class::Elf64, Little, EM_RISCV.0),
            header(Class::Elf32, Little, EM_ARM.0),
        ];
        for (base_relative, pc_relative) in [(false, false), (true, true)] {
            let chosen = Options { base_relative, pc_relative, ..Options::default() };
            let options = Options { all_symbols: true, ..chosen };
            for dialect in [like_6_1(), like_6_6(), like_6_12(), like_7_3()] {
                let (tables, _) = Tables::build(&entries, &dialect, &options).unwrap();
                for header in &headers {
                    let real = tables.to_object(header).unwrap();
                    let sizes = Sizes::of_object(&real).unwrap();
                    check_tables(&real, sizes);
                    assert_eq!(sizes.symbols, 701);
                    let empty = sizes.to_object(&dialect, &options, header).unwrap();
                    assert_eq!(empty.len(), real.len());
                    assert_eq!(shape(&empty), shape(&real));
                    assert_ne!(empty, real);
                }
            }
        }
    }

    /// Tables lie one behind the other, and those that [`Sizes`] knows are as large as it says, but for padding.
    fn check_tables(object: &[u8], sizes: Sizes) {
        let tables = table_sizes(object).unwrap();
        let size = |name| tables.iter().find(|table| table.0 == name).unwrap().1;
        assert!((0..8).contains(&(size("kallsyms_names") - u64::from(sizes.names))), "{tables:?}");
        assert_eq!(size("kallsyms_token_index"), 512);
        let elf = Elf::parse(object).unwrap();
        let data: u64 = elf.sections().iter().map(|section| section.size).sum();
        assert!(tables.iter().map(|table| table.1).sum::<u64>() < data, "{tables:?}");
    }

    #[test]
    fn numbers_that_no_tables_have_are_refused() {
        let header = header(Class::Elf64, Endianness::Little, EM_X86_64.0);
        let object = |sizes: Sizes| sizes.to_object(&like_6_12(), &Options::default(), &header);
        let sizes = Sizes { symbols: 3, names: 6, tokens: 256 };
        assert!(object(sizes).is_ok());
        let error = object(Sizes { symbols: u32::MAX, ..sizes }).unwrap_err().to_string();
        assert_eq!(error, "kallsyms_names+0x0: too small for its symbols");
        let error = object(Sizes { tokens: 255, ..sizes }).unwrap_err().to_string();
        assert_eq!(error, "kallsyms_token_table+0x0: too small for its codes");
    }

    #[test]
    fn another_object_has_no_sizes() {
        assert!(Sizes::of_object(b"no object").is_err());
        assert!(table_sizes(b"no object").is_err());
        let header = header(Class::Elf64, Endianness::Little, EM_X86_64.0);
        let sizes = Sizes { symbols: 0, names: 0, tokens: 256 };
        let object = sizes.to_object(&like_6_12(), &Options::default(), &header).unwrap();
        let name = b"kallsyms_markers";
        let at = object.windows(name.len()).position(|bytes| bytes == name).unwrap();
        let mut renamed = object.clone();
        renamed[at] = b'K';
        assert_eq!(Sizes::of_object(&object), Ok(sizes));
        let error = Sizes::of_object(&renamed).unwrap_err().to_string();
        assert_eq!(error, "kallsyms_markers+0x0: there is no such symbol");
    }
}
