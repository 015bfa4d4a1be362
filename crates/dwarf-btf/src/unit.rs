//! The units of `.debug_info`: their headers and what their first entry says of the whole unit.
//!
//! Source of facts: DWARF 5, section 7.5.1; DWARF 4 for its shorter header.

use crate::abbrev::{Abbrev, Op, SLOTS, Slot, Table};
use crate::cursor::{Cursor, Fault, Read};
use crate::form::{Form, Sizes};
use crate::sections::Sections;
use crate::source::{Info, Window};

/// No header is longer, in bytes.
const LONGEST: usize = 24;
/// Nor one of a unit whose offsets have four bytes. What stands behind it are references to strings, and to make these
/// takes longer than all else.
const USUAL: usize = 12;

/// A unit's header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// Offset of the unit in `.debug_info`.
    pub start: usize,
    /// Offset of its first entry.
    pub root: usize,
    /// Offset behind it.
    pub end: usize,
    pub abbrev: usize,
    pub sizes: Sizes,
    /// A type unit or a unit whose rest is in another file.
    pub refused: Option<&'static str>,
}

/// The unit headers of `.debug_info`, in their order, read when they are asked for: so the pages of a
/// mapped file come in with the units, and are not gone through before.
#[derive(Clone)]
pub(crate) struct Headers<'d> {
    info: Info<'d>,
    big: bool,
    pos: usize,
    next: usize,
    buffer: Vec<u8>,
}

/// Units that stand one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// How many units stand before.
    pub first: usize,
    pub headers: Vec<Header>,
}

impl<'d> Headers<'d> {
    pub fn new(info: Info<'d>, big: bool) -> Self {
        Headers { info, big, pos: 0, next: 0, buffer: Vec::new() }
    }

    /// Whether there are no more.
    pub fn are_read(&self) -> bool {
        self.pos >= self.info.len()
    }

    /// The next units that make up at least `size` bytes; none at the end. A header that cannot be read
    /// is an error once all units before it were given.
    pub fn batch(&mut self, size: usize) -> Read<Batch> {
        let mut batch = Batch { first: self.next, headers: Vec::new() };
        let start = self.pos;
        while self.pos < self.info.len() && (batch.headers.is_empty() || self.pos - start < size) {
            let header = match self.header() {
                Ok(header) => header,
                Err(fault) if batch.headers.is_empty() => return Err(fault),
                Err(_) => break,
            };
            self.pos = header.end;
            self.next += 1;
            batch.headers.push(header);
        }
        Ok(batch)
    }

    /// The next header.
    fn header(&mut self) -> Read<Header> {
        let len = self.info.len();
        let bytes = |most: usize| self.pos..len.min(self.pos + most);
        let mut window = self.info.window(bytes(USUAL), &mut self.buffer)?;
        if window.bytes[self.pos - window.start..].starts_with(&[0xff; 4]) {
            window = self.info.window(bytes(LONGEST), &mut self.buffer)?;
        }
        let read = header(window.bytes, self.pos - window.start, len - window.start, self.big);
        read.map(|header| header.moved(window.start)).map_err(|fault| window.fault(fault))
    }
}

/// Units that are to be read, in their order.
pub(crate) enum Queue<'s> {
    All(Headers<'s>),
    Some(std::vec::IntoIter<Batch>),
}

impl Queue<'_> {
    /// Units of about so many bytes; none at the end.
    pub fn batch(&mut self, size: usize) -> Read<Batch> {
        match self {
            Queue::All(headers) => headers.batch(size),
            Queue::Some(batches) => Ok(batches.next().unwrap_or_default()),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match self {
            Queue::All(headers) => headers.are_read(),
            Queue::Some(batches) => batches.as_slice().is_empty(),
        }
    }
}

impl Header {
    /// The header as it is with `by` bytes more before it.
    fn moved(self, by: usize) -> Self {
        Header { start: self.start + by, root: self.root + by, end: self.end + by, ..self }
    }

    /// The header as it is with offsets counted from the beginning of `window`, in which its unit lies.
    pub fn within(self, window: Window<'_>) -> Self {
        let by = window.start;
        Header { start: self.start - by, root: self.root - by, end: self.end - by, ..self }
    }
}

/// Reads the header at `start`; the section ends at `all`, which may be behind the bytes.
fn header(bytes: &[u8], start: usize, all: usize, big: bool) -> Read<Header> {
    let mut cursor = Cursor::new(bytes, start, big);
    let mut len = u64::from(cursor.u32()?);
    let offset_size = if len == 0xffff_ffff {
        len = cursor.u64()?;
        8
    } else {
        4
    };
    let end = usize::try_from(len).ok().and_then(|len| cursor.pos.checked_add(len));
    let end = end.filter(|&end| end <= all);
    let end = end.ok_or(Fault { offset: start, cause: "the unit ends behind its section" })?;
    let version = cursor.u16()?;
    let (mut refused, address, abbrev);
    match version {
        2..=4 => {
            abbrev = cursor.uint(offset_size)?;
            address = cursor.u8()?;
            refused = None;
        }
        5 => {
            let kind = cursor.u8()?;
            address = cursor.u8()?;
            abbrev = cursor.uint(offset_size)?;
            refused = match kind {
                1 | 3 => None,
                4 | 5 => Some("split DWARF is not supported: its types are in .dwo files"),
                2 | 6 => Some(crate::sections::TYPE_UNITS),
                _ => Some("a unit of an unknown kind"),
            };
        }
        _ => return Err(Fault { offset: start, cause: "DWARF of an unknown version" }),
    }
    if !matches!(address, 4 | 8) {
        refused = Some("addresses of an unknown size");
    }
    let abbrev = usize::try_from(abbrev).unwrap_or(usize::MAX);
    let sizes = Sizes { address, offset: offset_size, version };
    Ok(Header { start, root: cursor.pos, end, abbrev, sizes, refused })
}

/// The attributes of one entry that were asked for.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    pub mask: u32,
    value: [u64; SLOTS],
    form: [Form; SLOTS],
}

impl Default for Values {
    fn default() -> Self {
        Values { mask: 0, value: [0; SLOTS], form: [Form::Present; SLOTS] }
    }
}

impl Values {
    #[inline]
    pub fn has(&self, slot: Slot) -> bool {
        self.mask & (1 << slot as u32) != 0
    }

    #[inline]
    fn set(&mut self, slot: Slot, form: Form, value: u64) {
        self.mask |= 1 << slot as u32;
        self.value[slot as usize] = value;
        self.form[slot as usize] = form;
    }

    /// The value and how it was written.
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<(Form, u64)> {
        self.has(slot).then(|| (self.form[slot as usize], self.value[slot as usize]))
    }

    /// A number or a flag; 0 where there is none.
    #[inline]
    pub fn number(&self, slot: Slot) -> u64 {
        match self.get(slot) {
            Some((
                Form::Uint | Form::Uleb | Form::Sleb | Form::Implicit | Form::Addr | Form::Present,
                value,
            )) => value,
            _ => 0,
        }
    }

    /// A number, if the attribute is one.
    #[inline]
    pub fn constant(&self, slot: Slot) -> Option<u64> {
        match self.get(slot)? {
            (Form::Uint | Form::Uleb | Form::Sleb | Form::Implicit, value) => Some(value),
            _ => None,
        }
    }

    /// Offset in `.debug_info` of the entry referred to; 0 where there is none.
    #[inline]
    pub fn reference(&self, slot: Slot) -> u32 {
        match self.get(slot) {
            Some((Form::UnitRef | Form::UnitRefUleb | Form::SectionRef, value)) => {
                u32::try_from(value).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }

    /// Where the bytes of a block are in the section: offset and length.
    #[inline]
    pub fn block(&self, slot: Slot) -> Option<(usize, usize)> {
        match self.get(slot)? {
            (
                Form::Block1 | Form::Block2 | Form::Block4 | Form::BlockUleb | Form::Exprloc,
                value,
            ) => Some(((value >> 32) as usize, (value & 0xffff_ffff) as usize)),
            _ => None,
        }
    }
}

/// A unit that is being read: its sections, its header, and the bases that its first entry sets.
#[derive(Debug)]
pub(crate) struct Unit<'s, 't> {
    pub dwarf: Sections<'s>,
    pub header: Header,
    pub table: &'t Table,
    pub str_offsets_base: u64,
    pub addr_base: u64,
    pub loclists_base: u64,
}

impl<'s, 't> Unit<'s, 't> {
    /// A cursor at `offset` of `.debug_info` that ends with the unit.
    pub fn cursor(&self, offset: usize) -> Cursor<'s> {
        Cursor::new(&self.dwarf.info[..self.header.end], offset, self.dwarf.big)
    }

    /// Reads the attributes that the entry's tag is read for.
    #[inline]
    pub fn read(&self, abbrev: &Abbrev, cursor: &mut Cursor<'s>, out: &mut Values) -> Read<()> {
        out.mask = 0;
        for op in self.table.program_of(abbrev) {
            match *op {
                Op::Skip(n) => cursor.skip(usize::from(n))?,
                Op::SkipForm(form, size) => crate::form::skip_form(cursor, form, size)?,
                Op::Implicit(slot, index) => {
                    out.set(slot, Form::Implicit, self.table.constant(index) as u64);
                }
                Op::Read(slot, form, size) => {
                    let value = self.value(form, size, cursor)?;
                    out.set(slot, form, value);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn value(&self, form: Form, size: u8, cursor: &mut Cursor<'s>) -> Read<u64> {
        Ok(match form {
            Form::UnitRef => self.header.start as u64 + cursor.uint(size)?,
            Form::Strp => cursor.uint(size)?,
            Form::InlineStr => {
                let start = cursor.pos as u64;
                cursor.cstr()?;
                start
            }
            // A reference to what is not in memory leads nowhere.
            Form::SectionRef => cursor.uint(size)?.wrapping_sub(self.dwarf.info_start as u64),
            Form::Uint | Form::ListOffset | Form::Addr | Form::LineStrp => cursor.uint(size)?,
            Form::Uleb | Form::ListIndex => cursor.uleb()?,
            Form::Sleb => cursor.sleb()? as u64,
            Form::UnitRefUleb => self.header.start as u64 + cursor.uleb()?,
            Form::AddrIndex | Form::StrIndex if size == 0 => cursor.uleb()?,
            Form::AddrIndex | Form::StrIndex => cursor.uint(size)?,
            Form::Present => 1,
            Form::Block1 | Form::Block2 | Form::Block4 | Form::BlockUleb | Form::Exprloc => {
                let len = match form {
                    Form::Block1 => cursor.uint(1)?,
                    Form::Block2 => cursor.uint(2)?,
                    Form::Block4 => cursor.uint(4)?,
                    _ => cursor.uleb()?,
                };
                let start = cursor.pos as u64;
                cursor.skip(usize::try_from(len).unwrap_or(usize::MAX))?;
                start << 32 | len & 0xffff_ffff
            }
            Form::Opaque => {
                cursor.skip(usize::from(size))?;
                0
            }
            Form::Implicit | Form::Indirect => {
                crate::form::skip_form(cursor, form, size)?;
                0
            }
        })
    }

    /// The entry at `offset`: its abbreviation, and a cursor at its attributes.
    pub fn entry(&self, offset: usize) -> Read<(&'t Abbrev, Cursor<'s>)> {
        let mut cursor = self.cursor(offset);
        let code = cursor.uleb()?;
        Ok((self.table.get(code, offset)?, cursor))
    }

    /// Where an address of the entry at `offset` stands, counted from the beginning of the unit; 0 if it does not
    /// stand there itself.
    pub fn address_at(&self, offset: usize, slot: Slot) -> Read<u32> {
        let (abbrev, mut cursor) = self.entry(offset)?;
        for op in self.table.program_of(abbrev) {
            match *op {
                Op::Skip(n) => cursor.skip(usize::from(n))?,
                Op::SkipForm(form, size) => crate::form::skip_form(&mut cursor, form, size)?,
                Op::Implicit(..) => {}
                Op::Read(found, Form::Addr, _) if found == slot => {
                    return Ok(self.since_start(cursor.pos));
                }
                Op::Read(_, form, size) => {
                    self.value(form, size, &mut cursor)?;
                }
            }
        }
        Ok(0)
    }

    /// An offset as it is from the beginning of the unit.
    pub fn since_start(&self, offset: usize) -> u32 {
        (offset - self.header.start) as u32
    }

    /// The address behind an index into `.debug_addr`.
    pub fn address(&self, index: u64) -> Option<u64> {
        let size = u64::from(self.header.sizes.address);
        let at = index.checked_mul(size)?.checked_add(self.addr_base)?;
        let mut cursor = Cursor::new(self.dwarf.addr, usize::try_from(at).ok()?, self.dwarf.big);
        cursor.uint(self.header.sizes.address).ok()
    }
}
