//! Writing a blob: types are appended, strings interned, and the header put before them.
//!
//! A string stands in the blob once, at the place of its first use: a type's own name comes before
//! those of its entries. That is the order in which libbpf's `btf__add_*` make it. Everything is kept
//! in the target's byte order from the start, so finishing only copies.

use std::collections::HashMap;

use image::Endianness;

use crate::header::{HEADER_LEN, HEADER_LEN_LAYOUT, MAGIC};
use crate::model::{Composite, Def, Enum};
use crate::{Btf, Kind, TypeId};

/// Most entries that a type can have.
const MAX_VLEN: usize = 0xff_ffff;

/// What does not fit into BTF.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// More entries than `vlen` counts.
    #[error("type {0} has more than {MAX_VLEN} entries")]
    Entries(TypeId),
    /// A bit offset that the 24 bits beside a bitfield's width do not hold.
    #[error("type {0} has a member at bit {1}, too far for a structure with bitfields")]
    BitOffset(TypeId, u32),
    /// A bitfield in a structure without `kflag`.
    #[error("type {0} has a bitfield but its kflag is not set")]
    NoKflag(TypeId),
    /// A name with a NUL in it.
    #[error("type {0} has a name with a NUL in it")]
    Nul(TypeId),
    /// More than 4 GiB of types or strings.
    #[error("the blob is larger than 4 GiB")]
    Size,
}

/// A blob under construction.
#[derive(Debug, Clone)]
pub struct Builder {
    endian: Endianness,
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Offset of each string, the base's included.
    offsets: HashMap<Vec<u8>, u32>,
    next_id: u32,
    /// Offset of the first own string.
    first_str: u32,
    form: HeaderForm,
}

/// Which header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderForm {
    /// 24 bytes: up to `str_len`. Every kernel reads it, and libbpf before that of Linux 7.1 writes it.
    #[default]
    Short,
    /// 32 bytes, with `layout_off` and `layout_len` 0. libbpf writes it from Linux 7.1 on (where
    /// include/uapi/linux/btf.h has `struct btf_layout`).
    Long,
    /// 32 bytes, and the layout section: the sizes of all kinds, which lets older readers skip newer ones.
    /// pahole asks libbpf for it with the feature `layout`.
    Layout,
}

impl Builder {
    /// A blob that stands alone, in that byte order.
    pub fn new(endian: Endianness) -> Self {
        Builder {
            endian,
            types: Vec::new(),
            strings: vec![0],
            offsets: HashMap::from([(Vec::new(), 0)]),
            next_id: 1,
            first_str: 0,
            form: HeaderForm::Short,
        }
    }

    /// Split BTF on `base`: ids and string offsets go on where its own end, and its strings are used.
    pub fn split(base: &Btf<'_>) -> Self {
        let mut offsets = HashMap::from([(Vec::new(), 0)]);
        let first_str = index_strings(base, &mut offsets);
        let next_id = base.last_id().0.saturating_add(1);
        let (types, strings) = (Vec::new(), Vec::new());
        Builder {
            endian: base.endian(),
            types,
            strings,
            offsets,
            next_id,
            first_str,
            form: HeaderForm::Short,
        }
    }

    /// Writes this header instead of the short one.
    pub fn with_header(mut self, form: HeaderForm) -> Self {
        self.form = form;
        self
    }

    /// Id of the type that is added next.
    pub fn next_id(&self) -> TypeId {
        TypeId(self.next_id)
    }

    /// Offset of a string, which is appended if it is new.
    ///
    /// # Errors
    /// A NUL in it; more than 4 GiB of strings.
    pub fn string(&mut self, string: &[u8]) -> Result<u32, WriteError> {
        if let Some(&off) = self.offsets.get(string) {
            return Ok(off);
        }
        if string.contains(&0) {
            return Err(WriteError::Nul(self.next_id()));
        }
        let off =
            u32::try_from(self.strings.len()).ok().and_then(|len| len.checked_add(self.first_str));
        let off = off.ok_or(WriteError::Size)?;
        self.strings.extend_from_slice(string);
        self.strings.push(0);
        self.offsets.insert(string.to_vec(), off);
        Ok(off)
    }

    /// Appends a type and gives its id.
    ///
    /// # Errors
    /// What BTF has no room for; the builder is then of no further use.
    pub fn add(&mut self, def: &Def<'_>) -> Result<TypeId, WriteError> {
        let id = self.next_id();
        let u = u32::from;
        match def {
            Def::Int(name, size, int) => {
                self.header(name, Kind::Int, (0, false), *size)?;
                self.word(u(int.encoding) << 24 | u(int.offset) << 16 | u(int.bits));
            }
            Def::Ptr(ty) => self.header(b"", Kind::Ptr, (0, false), ty.0)?,
            Def::Array(array) => {
                self.header(b"", Kind::Array, (0, false), 0)?;
                self.words([array.elem.0, array.index.0, array.nelems]);
            }
            Def::Composite(composite) => self.composite(composite)?,
            Def::Enum(values) => self.enumeration(values)?,
            Def::Fwd(name, is_union) => self.header(name, Kind::Fwd, (0, *is_union), 0)?,
            Def::Typedef(name, ty) => self.header(name, Kind::Typedef, (0, false), ty.0)?,
            Def::Volatile(ty) => self.header(b"", Kind::Volatile, (0, false), ty.0)?,
            Def::Const(ty) => self.header(b"", Kind::Const, (0, false), ty.0)?,
            Def::Restrict(ty) => self.header(b"", Kind::Restrict, (0, false), ty.0)?,
            Def::Func(name, proto, linkage) => {
                self.header(name, Kind::Func, (*linkage as usize, false), proto.0)?;
            }
            Def::FuncProto(result, params) => {
                self.header(b"", Kind::FuncProto, (params.len(), false), result.0)?;
                for (name, ty) in params {
                    let name = self.string(name)?;
                    self.words([name, ty.0]);
                }
            }
            Def::Var(name, ty, linkage) => {
                self.header(name, Kind::Var, (0, false), ty.0)?;
                self.word(*linkage);
            }
            Def::Datasec(name, size, vars) => {
                self.header(name, Kind::Datasec, (vars.len(), false), *size)?;
                for var in vars {
                    self.words([var.ty.0, var.offset, var.size]);
                }
            }
            Def::Float(name, size) => self.header(name, Kind::Float, (0, false), *size)?,
            Def::DeclTag(tag) => {
                self.header(tag.value, Kind::DeclTag, (0, tag.attribute), tag.ty.0)?;
                self.word(tag.component_idx as u32);
            }
            Def::TypeTag(value, ty, attribute) => {
                self.header(value, Kind::TypeTag, (0, *attribute), ty.0)?;
            }
        }
        if u32::try_from(self.types.len()).is_err() {
            return Err(WriteError::Size);
        }
        self.next_id = id.0.checked_add(1).ok_or(WriteError::Size)?;
        Ok(id)
    }

    /// The blob.
    ///
    /// # Errors
    /// More than 4 GiB of types and strings.
    pub fn finish(&self) -> Result<Vec<u8>, WriteError> {
        let layout = match self.form {
            HeaderForm::Layout => layout_table(),
            HeaderForm::Short | HeaderForm::Long => Vec::new(),
        };
        let header_len = match self.form {
            HeaderForm::Short => HEADER_LEN,
            HeaderForm::Long | HeaderForm::Layout => HEADER_LEN_LAYOUT,
        };
        let size = |len: usize| u32::try_from(len).map_err(|_| WriteError::Size);
        let (type_len, layout_len) = (size(self.types.len())?, size(layout.len())?);
        let str_off = type_len.checked_add(layout_len).ok_or(WriteError::Size)?;
        let str_len = size(self.strings.len())?;
        let mut out = Vec::with_capacity(self.types.len() + self.strings.len() + 128);
        out.extend_from_slice(&match self.endian {
            Endianness::Little => MAGIC.to_le_bytes(),
            Endianness::Big => MAGIC.to_be_bytes(),
        });
        out.extend_from_slice(&[1, 0]);
        for word in [header_len, 0, type_len, str_off, str_len] {
            push_word(&mut out, self.endian, word);
        }
        if self.form != HeaderForm::Short {
            let layout_off = if layout.is_empty() { 0 } else { type_len };
            push_word(&mut out, self.endian, layout_off);
            push_word(&mut out, self.endian, layout_len);
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&layout);
        out.extend_from_slice(&self.strings);
        Ok(out)
    }

    fn composite(&mut self, composite: &Composite<'_>) -> Result<(), WriteError> {
        let id = self.next_id();
        let kind = if composite.is_union { Kind::Union } else { Kind::Struct };
        let entries = (composite.members.len(), composite.kflag);
        self.header(composite.name, kind, entries, composite.size)?;
        for member in &composite.members {
            let (offset, bits) = (member.bit_offset, u32::from(member.bitfield_size));
            if composite.kflag && offset > 0xff_ffff {
                return Err(WriteError::BitOffset(id, offset));
            }
            if !composite.kflag && bits != 0 {
                return Err(WriteError::NoKflag(id));
            }
            let name = self.string(member.name)?;
            self.words([name, member.ty.0, bits << 24 | offset]);
        }
        Ok(())
    }

    fn enumeration(&mut self, values: &Enum<'_>) -> Result<(), WriteError> {
        let kind = if values.wide { Kind::Enum64 } else { Kind::Enum };
        self.header(values.name, kind, (values.values.len(), values.signed), values.size)?;
        for &(name, value) in &values.values {
            let name = self.string(name)?;
            self.words([name, value as u32]);
            if values.wide {
                self.word((value >> 32) as u32);
            }
        }
        Ok(())
    }

    /// A `struct btf_type`.
    fn header(
        &mut self,
        name: &[u8],
        kind: Kind,
        (vlen, kflag): (usize, bool),
        third: u32,
    ) -> Result<(), WriteError> {
        if vlen > MAX_VLEN {
            return Err(WriteError::Entries(self.next_id()));
        }
        let name = self.string(name)?;
        let info = u32::from(kflag) << 31 | u32::from(kind.number()) << 24 | vlen as u32;
        self.words([name, info, third]);
        Ok(())
    }

    fn word(&mut self, word: u32) {
        push_word(&mut self.types, self.endian, word);
    }

    fn words<const N: usize>(&mut self, words: [u32; N]) {
        words.into_iter().for_each(|word| self.word(word));
    }
}

fn push_word(out: &mut Vec<u8>, endian: Endianness, word: u32) {
    out.extend_from_slice(&match endian {
        Endianness::Little => word.to_le_bytes(),
        Endianness::Big => word.to_be_bytes(),
    });
}

/// Notes where each string of `btf` and of its base stands; the offset behind the last.
fn index_strings(btf: &Btf<'_>, offsets: &mut HashMap<Vec<u8>, u32>) -> u32 {
    let mut at = btf.base().map_or(0, |base| index_strings(base, offsets));
    for string in btf.string_section().split_inclusive(|&byte| byte == 0) {
        let name = string.strip_suffix(&[0]).unwrap_or(string);
        offsets.entry(name.to_vec()).or_insert(at);
        at = at.saturating_add(string.len() as u32);
    }
    at
}

/// `struct btf_layout` of every known kind; the flags are 0.
fn layout_table() -> Vec<u8> {
    let entry = |kind: &Kind| {
        let layout = kind.layout();
        layout.map_or([0; 4], |layout| [layout.info_size, layout.elem_size, 0, 0])
    };
    Kind::all().iter().flat_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::every_kind;

    const ORDERS: [Endianness; 2] = [Endianness::Little, Endianness::Big];

    fn copy(btf: &Btf<'_>, mut builder: Builder) -> Vec<u8> {
        for (id, ty) in btf.types() {
            let def = Def::read(btf, &ty).unwrap().unwrap();
            assert_eq!(builder.add(&def), Ok(id));
        }
        builder.finish().unwrap()
    }

    #[test]
    fn what_is_read_is_written_again() {
        for endian in ORDERS {
            let blob = every_kind(endian).finish();
            let btf = Btf::parse(&blob).unwrap();
            let copied = copy(&btf, Builder::new(endian));
            let again = Btf::parse(&copied).unwrap();
            for ((_, a), (_, b)) in btf.types().zip(again.types()) {
                assert_eq!(Def::read(&btf, &a), Def::read(&again, &b));
                assert_eq!(a.info, b.info);
            }
            // Copying once more changes nothing: the strings are in the order of their first use.
            assert_eq!(copy(&again, Builder::new(endian)), copied);
        }
    }

    #[test]
    fn the_layout_section_has_an_entry_for_each_kind() {
        for endian in ORDERS {
            let blob = every_kind(endian).finish();
            let btf = Btf::parse(&blob).unwrap();
            let written = copy(&btf, Builder::new(endian).with_header(HeaderForm::Layout));
            let again = Btf::parse(&written).unwrap();
            assert_eq!((again.header().hdr_len, again.header().layout_len), (32, 80));
            assert_eq!(again.len(), btf.len());
        }
    }

    #[test]
    fn split_btf_uses_the_strings_of_its_base() {
        let blob = every_kind(Endianness::Big).finish();
        let base = Btf::parse(&blob).unwrap();
        let mut builder = Builder::split(&base);
        let id = builder.add(&Def::Typedef(b"int", TypeId(5))).unwrap();
        assert_eq!(id, TypeId(22));
        builder.add(&Def::Typedef(b"mine", id)).unwrap();
        let written = builder.finish().unwrap();
        let split = Btf::parse_split(&written, &base).unwrap();
        assert_eq!(split.string_section(), b"mine\0");
        let name = |id| split.name(split.ty(TypeId(id)).unwrap().name_off).unwrap();
        assert_eq!((name(22), name(23)), (&b"int"[..], &b"mine"[..]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let member = |bit_offset, bitfield_size| crate::NamedMember {
            name: b"m",
            ty: TypeId(1),
            bit_offset,
            bitfield_size,
        };
        let add = |kflag, member| {
            let members = vec![member];
            let composite = Composite { is_union: false, name: b"", size: 4, kflag, members };
            Builder::new(Endianness::Little).add(&Def::Composite(composite))
        };
        assert_eq!(add(true, member(1 << 24, 0)), Err(WriteError::BitOffset(TypeId(1), 1 << 24)));
        assert_eq!(add(false, member(0, 3)), Err(WriteError::NoKflag(TypeId(1))));
        assert!(add(false, member(1 << 24, 0)).is_ok());
        let mut builder = Builder::new(Endianness::Little);
        assert_eq!(builder.add(&Def::Fwd(b"a\0b", false)), Err(WriteError::Nul(TypeId(1))));
    }
}
