//! The tables as a relocatable object file, as if the text had been assembled.
//!
//! All tables stand in `.rodata`, each behind a global label without a type. Addresses that move with
//! the kernel are relocations against `_text`. `machine` says what else an assembler would add.

use image::consts::{SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS, SHT_PROGBITS};
use image::{
    Class, DataSection, EmptySection, Endian, Extras, Header, NewSymbol, Relocatable, Relocation,
};

use crate::machine::{Distance, Machine};
use crate::tables::{Form, Table};
use crate::{Error, Tables};

impl Tables<'_> {
    /// The tables as an object that links with others of this `header`; its class, byte order, machine,
    /// flags and ABI are taken. The linked image has the same bytes as with the text assembled by the
    /// GNU assembler.
    ///
    /// # Errors
    /// [`Error::UnknownMachine`] for a machine that is not known here: the text must be assembled.
    pub fn to_object(&self, header: &Header) -> Result<Vec<u8>, Error> {
        let mut object = Object::new(*header, Machine::of(header)?, self);
        for table in self.order() {
            object.add_table(table);
        }
        object.write()
    }
}

/// An object in the making.
struct Object<'t> {
    header: Header,
    machine: Machine,
    tables: &'t Tables<'t>,
    bytes: Vec<u8>,
    symbols: Vec<NewSymbol<'static>>,
    locals: Vec<NewSymbol<'static>>,
    relocations: Vec<Relocation>,
    /// Relocations against a local symbol, by their index, and the symbol's index among the locals.
    against_locals: Vec<(usize, u32)>,
    /// Index of `_text` in `symbols`, once it is there.
    text: Option<u32>,
}

impl<'t> Object<'t> {
    fn new(header: Header, machine: Machine, tables: &'t Tables<'t>) -> Self {
        let symbols = tables.symbols.len();
        let locals = machine.mapping_symbol.map(|name| local(name, 0));
        Object {
            header,
            machine,
            tables,
            bytes: Vec::with_capacity(tables.names.len() + symbols * 12 + 8192),
            symbols: Vec::new(),
            locals: locals.into_iter().collect(),
            relocations: Vec::new(),
            against_locals: Vec::new(),
            text: None,
        }
    }

    fn address_size(&self) -> usize {
        self.header.class.address_size() as usize
    }

    /// What each table is aligned to, in bytes.
    fn align(&self) -> usize {
        if self.tables.dialect.address_aligned { self.address_size() } else { 4 }
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(self.align()), 0);
    }

    fn add_table(&mut self, table: Table) {
        self.pad();
        let start = self.bytes.len() as u64;
        let place = self.symbols.len();
        let name = table.label();
        self.symbols.push(NewSymbol { name, section: Some(0), value: start, size: 0 });
        self.add_contents(table);
        if self.tables.dialect.sizes && table.is_sized() {
            self.symbols[place].size = self.bytes.len() as u64 - start;
        }
    }

    fn add_contents(&mut self, table: Table) {
        let tables = self.tables;
        match table {
            Table::Addresses => self.add_addresses(),
            Table::Offsets if tables.form == Form::Place => self.add_distances(),
            Table::Offsets => tables.offsets.iter().for_each(|&offset| self.put_u32(offset)),
            Table::RelativeBase => self.add_address(tables.relative_base),
            Table::NumSyms => self.put_u32(tables.symbols.len() as u32),
            Table::Names => self.bytes.extend_from_slice(&tables.names),
            Table::Markers => tables.markers.iter().for_each(|&marker| self.put_u32(marker)),
            Table::Tokens => {
                for expansion in &tables.tokens.expansions {
                    self.bytes.extend_from_slice(expansion);
                    self.bytes.push(0);
                }
            }
            Table::TokenIndex => {
                for offset in tables.token_offsets().0 {
                    let bytes = self.header.endian.write_u16(offset as u16);
                    self.bytes.extend_from_slice(&bytes);
                }
            }
            Table::SeqsOfNames => {
                for seq in &tables.seqs {
                    self.bytes.extend_from_slice(&seq.to_be_bytes()[1..]);
                }
            }
        }
    }

    fn put_u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&self.header.endian.write_u32(value));
    }

    fn put_address(&mut self, value: u64) {
        match self.header.class {
            Class::Elf32 => self.put_u32(value as u32),
            Class::Elf64 => {
                self.bytes.extend_from_slice(&self.header.endian.write_u64(value));
            }
        }
    }

    fn add_addresses(&mut self) {
        for symbol in &self.tables.symbols {
            if symbol.percpu_absolute {
                self.put_address(symbol.addr);
            } else {
                self.add_address(symbol.addr);
            }
        }
    }

    /// An address that moves with the kernel: `_text` and its distance from there.
    fn add_address(&mut self, addr: u64) {
        let addend = addr.wrapping_sub(self.tables.text);
        let addend = match self.header.class {
            Class::Elf32 => i64::from(addend as i32),
            Class::Elf64 => addend as i64,
        };
        self.relocate(self.machine.address, addend);
        self.put_address(if self.machine.rela { 0 } else { addend as u64 });
    }

    fn add_distances(&mut self) {
        for &offset in &self.tables.offsets {
            let addend = i64::from(offset as i32) + self.machine.distance_bias;
            match self.machine.distance {
                Distance::One(r_type) => self.relocate(r_type, addend),
                Distance::AddSub(add, subtract) => {
                    self.relocate(add, addend);
                    self.relocate_by_place(subtract);
                }
            }
            self.put_u32(if self.machine.rela { 0 } else { addend as u32 });
        }
    }

    /// A relocation of what comes next, against `_text`.
    fn relocate(&mut self, r_type: u32, addend: i64) {
        let symbol = *self.text.get_or_insert_with(|| {
            self.symbols.push(NewSymbol { name: "_text", section: None, value: 0, size: 0 });
            self.symbols.len() as u32 - 1
        });
        let offset = self.bytes.len() as u64;
        self.relocations.push(Relocation { offset, symbol, r_type, addend });
    }

    /// A relocation of what comes next, against a new local symbol that stands there.
    fn relocate_by_place(&mut self, r_type: u32) {
        let offset = self.bytes.len() as u64;
        self.against_locals.push((self.relocations.len(), self.locals.len() as u32));
        self.locals.push(local(".L0 ", offset));
        self.relocations.push(Relocation { offset, symbol: 0, r_type, addend: 0 });
    }

    fn write(mut self) -> Result<Vec<u8>, Error> {
        if self.machine.padded {
            self.pad();
        }
        let globals = self.symbols.len() as u32;
        for &(relocation, local) in &self.against_locals {
            self.relocations[relocation].symbol = globals + local;
        }
        let rodata = DataSection {
            name: ".rodata",
            flags: SHF_ALLOC.0,
            align: self.align() as u64,
            bytes: &self.bytes,
            relocations: self.relocations,
        };
        let extras = Extras { empty: empty_sections(&self.machine), locals: self.locals };
        let object = Relocatable {
            header: self.header,
            sections: vec![rodata],
            symbols: self.symbols,
            rela: self.machine.rela,
        };
        Ok(object.write_with(&extras)?)
    }
}

fn local(name: &'static str, value: u64) -> NewSymbol<'static> {
    NewSymbol { name, section: Some(0), value, size: 0 }
}

/// The sections that an assembler puts into every object.
fn empty_sections(machine: &Machine) -> Vec<EmptySection<'static>> {
    let (code, data) = (SHF_ALLOC.0 | SHF_EXECINSTR.0, SHF_ALLOC.0 | SHF_WRITE.0);
    let empty = |name, sh_type, flags, align| EmptySection { name, sh_type, flags, align };
    vec![
        empty(".text", SHT_PROGBITS.0, code, machine.text_align),
        empty(".data", SHT_PROGBITS.0, data, machine.data_align),
        empty(".bss", SHT_NOBITS.0, data, machine.data_align),
    ]
}
