//! Reading units: from a header to a [`Cu`].

use image::Elf;

use crate::abbrev::{Slot, Table};
use crate::addresses::NotRead;
use crate::candidates::{Candidates, Expected};
use crate::cu::Cu;
use crate::cursor::{Cursor, Fault, Read};
use crate::form::Form;
use crate::funcs::{self, Context, Group};
use crate::location::Registers;
use crate::resolve::{self, Offsets};
use crate::sections::{Dwarf, Sections};
use crate::source::{Info, Window};
use crate::strings::{Arena, Names, SavedStrings, StrId, Strings};
use crate::symbols::Unsorted;
use crate::unit::{Header, Headers, Unit, Values};
use crate::walk::{Dies, Walk, Wanted};
use crate::{Error, Rules};

/// All that reading needs and that does not change.
pub(crate) struct Reader<'s> {
    pub sections: Sections<'s>,
    info: Info<'s>,
    pub strings: Strings<'s>,
    /// What may be part of BTF, as far as it is known before there is an image.
    pub candidates: Candidates,
    pub rules: Rules,
    pub registers: Registers,
    pub names: OwnNames,
    /// Whether units refer into one another, so that they have to be read as one.
    pub merged: bool,
    /// Units whose abbreviations have references into other units are not read one by one.
    pub may_refer_across: bool,
}

/// Names that need not be in the debug information.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnNames {
    pub int: StrId,
    /// What an integer is called that has a size that BTF does not allow.
    pub fake_int: StrId,
    /// The section of the per-CPU variables.
    pub percpu: StrId,
    pub kfunc: StrId,
    pub fastcall: StrId,
    pub arena: StrId,
}

impl OwnNames {
    fn new(strings: &Strings<'_>) -> Self {
        OwnNames {
            int: strings.intern(b"int"),
            fake_int: strings.intern(b"__SANITIZED_FAKE_INT__"),
            percpu: strings.intern(b".data..percpu"),
            kfunc: strings.intern(b"bpf_kfunc"),
            fastcall: strings.intern(b"bpf_fastcall"),
            arena: strings.intern(b"address_space(1)"),
        }
    }
}

/// The memory of a thread, used for one unit after the other.
#[derive(Default)]
pub(crate) struct Scratch {
    table: Table,
    tables: Vec<Table>,
    dies: Dies,
    offsets: Offsets,
    names: Option<Names>,
}

impl<'s> Reader<'s> {
    /// For an image that is there, which has these symbols. Gives the numbers of the functions' names too.
    pub fn new(
        elf: &Elf<'s>,
        dwarf: &'s Dwarf<'_>,
        arena: &'s Arena,
        rules: Rules,
        symbols: &Unsorted<'s>,
    ) -> (Self, Vec<StrId>) {
        let sections = dwarf.sections();
        let mut strings = Strings::new(sections.strings, arena);
        strings.touch();
        let names = OwnNames::new(&strings);
        let functions = symbols.names(&strings, &|name| strings.intern(name));
        let note = lto_note(elf);
        let reader = Reader {
            sections,
            info: dwarf.info(),
            candidates: Candidates::of_image(elf, &functions, strings.len(), &rules),
            strings,
            rules,
            registers: Registers::of(elf.header().machine),
            names,
            merged: note == Some(true),
            may_refer_across: note.is_none(),
        };
        (reader, functions)
    }

    /// For an image that is to be linked, with strings that were `saved`; `None` if those are not sound.
    pub fn before(
        expected: &Expected<'s>,
        dwarf: &'s Dwarf<'_>,
        arena: &'s Arena,
        rules: Rules,
        saved: Option<&SavedStrings<'s>>,
    ) -> Option<Self> {
        let sections = dwarf.sections();
        let mut strings = Strings::new(sections.strings, arena);
        match saved {
            Some(saved) => strings.resume(saved)?,
            None => strings.touch(),
        }
        let names = OwnNames::new(&strings);
        Some(Reader {
            sections,
            info: dwarf.info(),
            candidates: Candidates::expected(expected, &strings, &rules),
            strings,
            rules,
            registers: Registers::of(expected.machine),
            names,
            merged: expected.lto == Some(true),
            may_refer_across: expected.lto.is_none(),
        })
    }

    /// The units' headers, and for how many bytes of them a thread is to ask: some hundred kilobytes, but
    /// no so many that one of the threads ends long before the others.
    pub fn headers(&self, threads: usize) -> (Headers<'s>, usize) {
        const MOST: usize = 1 << 19;
        (Headers::new(self.info, self.sections.big), (self.info.len() / (threads * 32)).min(MOST))
    }

    /// The address that stands `at` bytes behind the beginning of a unit.
    pub fn address(&self, unit: NotRead, at: u32) -> Option<u64> {
        let NotRead { start, size } = unit;
        let start = start.checked_add(at as usize)?;
        let end = start.checked_add(usize::from(size)).filter(|&end| end <= self.info.len())?;
        let mut buffer = Vec::new();
        let window = self.info.window(start..end, &mut buffer).ok()?;
        let mut cursor = Cursor::new(window.bytes, start - window.start, self.sections.big);
        cursor.uint(size).ok()
    }

    fn all_headers(&self) -> Result<Vec<Header>, Error> {
        let mut headers = Headers::new(self.info, self.sections.big);
        let all = headers.batch(usize::MAX).map_err(at_header)?.headers;
        // What could not be read is an error now.
        headers.batch(1).map_err(at_header)?;
        Ok(all)
    }

    /// The bytes of units that stand one behind the other, in `buffer` if they have to be made.
    pub fn window<'w>(
        &'w self,
        units: &[Header],
        buffer: &'w mut Vec<u8>,
    ) -> Result<Window<'w>, Error> {
        let [start, end] = match units {
            [first, .., last] => [first.start, last.end],
            [only] => [only.start, only.end],
            [] => [0, 0],
        };
        self.info.window(start..end, buffer).map_err(|fault| Error::in_unit(start, fault))
    }

    /// Reads one unit, which lies in the window.
    pub fn read(
        &self,
        header: Header,
        window: Window<'_>,
        scratch: &mut Scratch,
        cu: &mut Cu,
    ) -> Result<Found, Error> {
        cu.clear();
        scratch.dies.clear();
        let in_unit = |fault| Error::in_unit(header.start, window.fault(fault));
        let mut table = std::mem::take(&mut scratch.table);
        if let Err(error) = self.load_table(header, &mut table) {
            scratch.table = table;
            return Err(error);
        }
        let result = (|| {
            if table.ref_addr && self.may_refer_across {
                return Ok(Found::Across);
            }
            let mut unit = self.unit(header, window, &table);
            let names = scratch.names.get_or_insert_with(Names::new);
            let root = self.root(&mut unit, names)?;
            let Some(root) = root else { return Ok(Found::LeftOut) };
            let clang = root.clang;
            cu.name = root.name;
            self.walk(&unit, root, names, &mut scratch.dies)?;
            let group = Group { units: std::slice::from_ref(&unit) };
            scratch.offsets.build(&scratch.dies, unit.header.start);
            self.fill(group, clang, &mut scratch.dies, &scratch.offsets, names, cu)?;
            Ok(Found::Unit)
        })();
        scratch.table = table;
        result.map_err(in_unit)
    }

    /// Reads all units as one.
    pub fn read_merged(&self, scratch: &mut Scratch, cu: &mut Cu) -> Result<(), Error> {
        cu.clear();
        scratch.dies.clear();
        scratch.tables.clear();
        let headers = self.all_headers()?;
        for header in &headers {
            let mut table = Table::default();
            self.load_table(*header, &mut table)?;
            table.finish();
            scratch.tables.push(table);
        }
        let mut buffer = Vec::new();
        let window = self.window(&headers, &mut buffer)?;
        let names = scratch.names.get_or_insert_with(Names::new);
        let mut units = Vec::new();
        let mut clang = false;
        for (header, table) in headers.iter().zip(&scratch.tables) {
            let mut unit = self.unit(*header, window, table);
            let in_unit = |fault| Error::in_unit(header.start, fault);
            if let Some(root) = self.root(&mut unit, names).map_err(in_unit)? {
                clang |= root.clang;
                self.walk(&unit, root, names, &mut scratch.dies).map_err(in_unit)?;
            }
            units.push(unit);
        }
        scratch.offsets.build(&scratch.dies, 0);
        let group = Group { units: &units };
        self.fill(group, clang, &mut scratch.dies, &scratch.offsets, names, cu)
            .map_err(|fault| Error::in_unit(0, fault))
    }

    fn load_table(&self, header: Header, table: &mut Table) -> Result<(), Error> {
        if let Some(cause) = header.refused {
            let fault = Fault { offset: header.start, cause };
            return Err(Error::in_unit(header.start, fault));
        }
        let (abbrev, big) = (self.sections.abbrev, self.sections.big);
        let read = table.reload(abbrev, header.abbrev, header.sizes, big);
        read.map_err(|fault| Error::of_unit(".debug_abbrev", header.start, fault))
    }

    fn unit<'w, 't>(
        &'w self,
        header: Header,
        window: Window<'w>,
        table: &'t Table,
    ) -> Unit<'w, 't> {
        // Bases behind the section's header are the default where a unit does not say.
        let list_header = if header.sizes.offset == 8 { 20 } else { 12 };
        Unit {
            dwarf: Sections { info: window.bytes, info_start: window.start, ..self.sections },
            header: header.within(window),
            table,
            str_offsets_base: u64::from(header.sizes.offset) * 2,
            addr_base: 8,
            loclists_base: list_header,
        }
    }

    /// Reads the unit's first entry; `None` if the unit is left out.
    fn root(&self, unit: &mut Unit<'_, '_>, names: &mut Names) -> Read<Option<Root>> {
        let mut cursor = unit.cursor(unit.header.root);
        let offset = cursor.pos;
        let code = cursor.uleb()?;
        if code == 0 {
            return Ok(None);
        }
        let abbrev = unit.table.get(code, offset)?;
        let mut values = Values::default();
        unit.read(abbrev, &mut cursor, &mut values)?;
        let base = |slot| match values.get(slot) {
            Some((Form::ListOffset | Form::Uint, value)) => Some(value),
            _ => None,
        };
        unit.str_offsets_base = base(Slot::StrOffsetsBase).unwrap_or(unit.str_offsets_base);
        unit.addr_base = base(Slot::AddrBase).unwrap_or(unit.addr_base);
        unit.loclists_base = base(Slot::LoclistsBase).unwrap_or(unit.loclists_base);
        let language = values.number(Slot::Language);
        let tag = gimli::DwTag(abbrev.tag);
        if tag == gimli::DW_TAG_skeleton_unit || values.has(Slot::DwoName) {
            let cause = "split DWARF is not supported: its types are in .dwo files";
            return Err(Fault { offset, cause });
        }
        let partial = tag == gimli::DW_TAG_partial_unit && !self.merged;
        let excluded = self.rules.excluded.iter().any(|&other| u64::from(other) == language);
        if !abbrev.children || partial || excluded {
            return Ok(None);
        }
        let clang = self.rules.check_locations && {
            let producer = names.name(&self.strings, unit, &values, Slot::Producer)?;
            let producer = self.strings.get(producer);
            producer.windows(5).any(|window| window == b"clang")
        };
        let rust = language == u64::from(gimli::DW_LANG_Rust.0);
        let name = match self.rules.explain {
            true => names.name(&self.strings, unit, &values, Slot::Name)?,
            false => 0,
        };
        Ok(Some(Root { children: cursor.pos, clang, rust, name }))
    }

    fn walk(
        &self,
        unit: &Unit<'_, '_>,
        root: Root,
        names: &mut Names,
        dies: &mut Dies,
    ) -> Read<()> {
        let wanted = Wanted {
            decl_tags: self.rules.decl_tags,
            type_tags: self.rules.type_tags,
            nested_arrays: self.rules.nested_arrays,
            floats: self.rules.floats,
            enum64: self.rules.enum64,
            fake_int: self.strings.code_of(self.names.fake_int),
            sorted_members: root.rust && self.rules.sorted_rust,
        };
        let mut cursor = unit.cursor(root.children);
        Walk::new(unit, &self.strings, names, dies, wanted).unit_children(&mut cursor)
    }

    fn fill(
        &self,
        group: Group<'_, '_>,
        clang: bool,
        dies: &mut Dies,
        offsets: &Offsets,
        names: &mut Names,
        cu: &mut Cu,
    ) -> Read<()> {
        let address_size = group.units.first().map_or(8, |unit| unit.header.sizes.address);
        let layout = resolve::Layout { address_size, big: self.sections.big };
        resolve::types(dies, offsets, layout, (&self.strings, self.names.int), cu)?;
        let context = Context {
            group,
            dies,
            offsets,
            strings: &self.strings,
            candidates: &self.candidates,
            rules: &self.rules,
            registers: self.registers,
            clang,
        };
        funcs::functions(&context, names, cu)?;
        funcs::variables(&context, names, cu)
    }
}

/// A unit's header that cannot be read.
pub(crate) fn at_header(fault: Fault) -> Error {
    Error::new(".debug_info", fault.offset as u64, fault.cause)
}

/// What reading a unit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Unit,
    /// It is left out, for its language or because it has no entries.
    LeftOut,
    /// It refers into other units: all have to be read as one.
    Across,
}

/// What a unit's first entry says.
#[derive(Clone, Copy)]
struct Root {
    /// Offset of its first child.
    children: usize,
    clang: bool,
    rust: bool,
    /// The unit's name, if functions are to be explained.
    name: StrId,
}

/// What the kernel's own note says of link-time optimisation, if it has one; an object of the kernel's may have it too.
pub fn lto_note(elf: &Elf<'_>) -> Option<bool> {
    const BUILD_LTO: u32 = 0x101;
    let big = elf.endian() == image::Endianness::Big;
    for section in elf.sections() {
        if section.sh_type != image::consts::SHT_NOTE.0 {
            continue;
        }
        let Ok(bytes) = elf.bytes(section) else { continue };
        let mut cursor = crate::cursor::Cursor::new(bytes, 0, big);
        while cursor.pos + 12 <= bytes.len() {
            let (name, desc, kind) =
                (cursor.u32().ok()? as usize, cursor.u32().ok()? as usize, cursor.u32().ok()?);
            let Ok(owner) = cursor.bytes(name) else { break };
            if cursor.skip(name.wrapping_neg() & 3).is_err() {
                break;
            }
            let value = cursor;
            if cursor.skip(desc.saturating_add(desc.wrapping_neg() & 3)).is_err() {
                break;
            }
            if kind == BUILD_LTO && owner.strip_suffix(b"\0") == Some(b"Linux") {
                return Some(value.clone().u32().ok()? != 0);
            }
        }
    }
    None
}
