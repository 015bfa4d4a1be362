//! A file with debug information made by hand: entries with inline strings, an abbreviation each.

use gimli::constants as dw;
use object::write::{Object, StandardSegment, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

/// An attribute's value.
#[derive(Clone)]
pub enum Value {
    /// `DW_FORM_data8`.
    Number(u64),
    /// `DW_FORM_string`.
    Text(&'static str),
    /// `DW_FORM_ref4` to the entry with this label.
    Entry(&'static str),
    /// `DW_FORM_flag_present`.
    Flag,
    /// `DW_FORM_exprloc`.
    Expression(Vec<u8>),
    /// Any form with any bytes.
    Raw(u16, Vec<u8>),
}

/// An entry.
#[derive(Clone, Default)]
pub struct Die {
    tag: u16,
    label: &'static str,
    attributes: Vec<(u16, Value)>,
    children: Vec<Die>,
}

/// An entry of this tag.
pub fn die(tag: gimli::DwTag) -> Die {
    Die { tag: tag.0, ..Die::default() }
}

impl Die {
    pub fn label(mut self, label: &'static str) -> Die {
        self.label = label;
        self
    }

    pub fn with(mut self, attribute: gimli::DwAt, value: Value) -> Die {
        self.attributes.push((attribute.0, value));
        self
    }

    pub fn name(self, name: &'static str) -> Die {
        self.with(dw::DW_AT_name, Value::Text(name))
    }

    pub fn number(self, attribute: gimli::DwAt, number: u64) -> Die {
        self.with(attribute, Value::Number(number))
    }

    pub fn size(self, bytes: u64) -> Die {
        self.number(dw::DW_AT_byte_size, bytes)
    }

    /// `DW_AT_type`.
    pub fn of(self, label: &'static str) -> Die {
        self.with(dw::DW_AT_type, Value::Entry(label))
    }

    pub fn child(mut self, child: Die) -> Die {
        self.children.push(child);
        self
    }
}

/// `int`, with its name as label.
pub fn int() -> Die {
    base("int", 4, dw::DW_ATE_signed)
}

pub fn base(name: &'static str, size: u64, encoding: gimli::DwAte) -> Die {
    let die = die(dw::DW_TAG_base_type).label(name).name(name).size(size);
    die.number(dw::DW_AT_encoding, u64::from(encoding.0))
}

pub fn member(name: &'static str, ty: &'static str, offset: u64) -> Die {
    let die = die(dw::DW_TAG_member).name(name).of(ty);
    die.number(dw::DW_AT_data_member_location, offset)
}

/// A section's name and what is done to its bytes.
pub type Spoil = (&'static str, fn(&mut Vec<u8>));

/// A file: units, symbols, sections.
#[derive(Clone)]
pub struct File {
    pub big: bool,
    pub version: u16,
    units: Vec<Vec<Die>>,
    /// Name and offset into `.text` of functions.
    functions: Vec<(&'static str, u64)>,
    /// Name, offset and size of variables in the per-CPU section.
    percpu: Vec<(&'static str, u64, u64)>,
    /// What is done to the bytes of a section before it is written.
    pub spoil: Option<Spoil>,
    /// `.debug_info` is marked as compressed.
    pub compressed: bool,
    /// Empty sections before all others.
    pub fillers: usize,
    pub language: u64,
    /// `DW_AT_producer` of all units.
    pub producer: Option<&'static str>,
    /// `DW_AT_name` of the first units.
    pub names: &'static [&'static str],
    /// Longer names stand in `.debug_str`, which begins with this one.
    pub first_string: Option<&'static str>,
}

impl File {
    /// With one unit of these entries.
    pub fn new(entries: Vec<Die>) -> File {
        File {
            big: false,
            version: 5,
            units: vec![entries],
            functions: Vec::new(),
            percpu: Vec::new(),
            spoil: None,
            compressed: false,
            fillers: 0,
            language: u64::from(dw::DW_LANG_C11.0),
            producer: None,
            names: &[],
            first_string: None,
        }
    }

    pub fn unit(mut self, entries: Vec<Die>) -> File {
        self.units.push(entries);
        self
    }

    pub fn function(mut self, name: &'static str, at: u64) -> File {
        self.functions.push((name, at));
        self
    }

    pub fn percpu(mut self, name: &'static str, at: u64, size: u64) -> File {
        self.percpu.push((name, at, size));
        self
    }

    fn sections(&self) -> [Vec<u8>; 3] {
        let strings = self.first_string.map(|first| [first.as_bytes(), &[0]].concat());
        let mut writer = Writer { big: self.big, strings, ..Writer::default() };
        for (index, entries) in self.units.iter().enumerate() {
            let start = writer.info.len();
            writer.word(0);
            writer.half(self.version);
            let abbrev = writer.abbrev.len() as u32;
            if self.version >= 5 {
                writer.info.extend([1, 8]);
                writer.word(abbrev);
            } else {
                writer.word(abbrev);
                writer.info.push(8);
            }
            writer.start = start;
            writer.code = 0;
            let mut root = die(dw::DW_TAG_compile_unit).number(dw::DW_AT_language, self.language);
            if let Some(producer) = self.producer {
                root = root.with(dw::DW_AT_producer, Value::Text(producer));
            }
            if let Some(name) = self.names.get(index) {
                root = root.name(name);
            }
            root.children.clone_from(entries);
            writer.entry(&root);
            writer.patch();
            writer.abbrev.push(0);
            let len = (writer.info.len() - start - 4) as u32;
            let len = writer.bytes(len);
            writer.info[start..start + 4].copy_from_slice(&len);
        }
        [writer.info, writer.abbrev, writer.strings.unwrap_or_default()]
    }

    /// The file, relocatable and without relocations.
    pub fn write(&self) -> Vec<u8> {
        let [info, abbrev, strings] = self.sections();
        let (arch, order) = match self.big {
            false => (Architecture::X86_64, Endianness::Little),
            true => (Architecture::PowerPc64, Endianness::Big),
        };
        let mut object = Object::new(BinaryFormat::Elf, arch, order);
        let text = object.section_id(object::write::StandardSection::Text);
        object.append_section_data(text, &[0; 64], 8);
        for _ in 0..self.fillers {
            object.add_section(Vec::new(), "filler".into(), SectionKind::Other);
        }
        let sections = [(".debug_info", info), (".debug_abbrev", abbrev), (".debug_str", strings)];
        for (name, mut bytes) in sections.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            if let Some((_, spoil)) = self.spoil.filter(|spoil| spoil.0 == name) {
                spoil(&mut bytes);
            }
            let id = object.add_section(Vec::new(), name.into(), SectionKind::Debug);
            object.append_section_data(id, &bytes, 1);
            if self.compressed && name == ".debug_info" {
                object.section_mut(id).flags = object::SectionFlags::Elf {
                    sh_type: object::elf::SHT_PROGBITS,
                    sh_flags: object::elf::SHF_COMPRESSED,
                };
            }
        }
        for &(name, at) in &self.functions {
            object.add_symbol(symbol(name, at, 4, SymbolKind::Text, text));
        }
        if !self.percpu.is_empty() {
            let segment = object.segment_name(StandardSegment::Data).to_vec();
            let id = object.add_section(segment, ".data..percpu".into(), SectionKind::Data);
            object.append_section_data(id, &[0; 256], 64);
            for &(name, at, size) in &self.percpu {
                object.add_symbol(symbol(name, at, size, SymbolKind::Data, id));
            }
        }
        object.write().unwrap()
    }
}

fn symbol(
    name: &str,
    value: u64,
    size: u64,
    kind: SymbolKind,
    section: object::write::SectionId,
) -> Symbol {
    Symbol {
        name: name.into(),
        value,
        size,
        kind,
        scope: SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    }
}

#[derive(Default)]
struct Writer {
    big: bool,
    start: usize,
    code: u64,
    /// `.debug_str`, if there is one.
    strings: Option<Vec<u8>>,
    info: Vec<u8>,
    abbrev: Vec<u8>,
    labels: Vec<(&'static str, usize)>,
    references: Vec<(usize, &'static str)>,
}

impl Writer {
    fn bytes(&self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn word(&mut self, value: u32) {
        let bytes = self.bytes(value);
        self.info.extend(bytes);
    }

    fn half(&mut self, value: u16) {
        self.info.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn entry(&mut self, die: &Die) {
        self.code += 1;
        leb(&mut self.abbrev, self.code);
        leb(&mut self.abbrev, u64::from(die.tag));
        self.abbrev.push(u8::from(!die.children.is_empty()));
        self.labels.push((die.label, self.info.len() - self.start));
        leb(&mut self.info, self.code);
        for (attribute, value) in &die.attributes {
            leb(&mut self.abbrev, u64::from(*attribute));
            let form = self.value(value);
            leb(&mut self.abbrev, u64::from(form));
        }
        self.abbrev.extend([0, 0]);
        if !die.children.is_empty() {
            die.children.iter().for_each(|child| self.entry(child));
            self.info.push(0);
        }
    }

    fn value(&mut self, value: &Value) -> u16 {
        match value {
            Value::Number(number) => {
                let bytes = if self.big { number.to_be_bytes() } else { number.to_le_bytes() };
                self.info.extend(bytes);
                dw::DW_FORM_data8.0
            }
            Value::Text(text) if text.len() > 3 && self.strings.is_some() => {
                let offset = self.string(text);
                self.word(offset);
                dw::DW_FORM_strp.0
            }
            Value::Text(text) => {
                self.info.extend(text.bytes().chain([0]));
                dw::DW_FORM_string.0
            }
            Value::Entry(label) => {
                self.references.push((self.info.len(), label));
                self.word(0);
                dw::DW_FORM_ref4.0
            }
            Value::Flag => dw::DW_FORM_flag_present.0,
            Value::Expression(bytes) => {
                leb(&mut self.info, bytes.len() as u64);
                self.info.extend(bytes);
                dw::DW_FORM_exprloc.0
            }
            Value::Raw(form, bytes) => {
                self.info.extend(bytes);
                *form
            }
        }
    }

    /// Where a string stands, which is added if it does not.
    fn string(&mut self, text: &str) -> u32 {
        let strings = self.strings.get_or_insert_default();
        let mut at = 0;
        for known in strings.split(|&byte| byte == 0) {
            if known == text.as_bytes() {
                return at;
            }
            at += known.len() as u32 + 1;
        }
        let at = strings.len() as u32;
        strings.extend(text.bytes().chain([0]));
        at
    }

    /// Fills in the references of a unit.
    fn patch(&mut self) {
        for (at, label) in std::mem::take(&mut self.references) {
            let found = self.labels.iter().find(|known| known.0 == label);
            let target = found.unwrap_or_else(|| panic!("no entry {label}")).1 as u32;
            let bytes = self.bytes(target);
            self.info[at..at + 4].copy_from_slice(&bytes);
        }
        self.labels.clear();
    }
}

fn leb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
