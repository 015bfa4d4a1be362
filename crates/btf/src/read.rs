//! Reading a blob: its header, its parts, and the index of its types.
//!
//! A type has no fixed size and no length field, so the one pass over the type section that finds where
//! each begins is also what proves that every record lies within it. Nothing else is decoded and no name
//! is looked at until it is asked for.

use image::Endianness;

use crate::error::{Cause, Error};
use crate::header::{Header, Parts, read_header};
use crate::kind::{Kind, Layout};
use crate::view::{Type, word};
use crate::{StrOff, TypeId};

/// Bytes of a `struct btf_type`.
const TYPE_LEN: usize = 12;
/// Bytes of a `struct btf_layout`.
const LAYOUT_LEN: usize = 4;

/// A BTF blob over borrowed bytes, its types indexed.
#[derive(Debug, Clone)]
pub struct Btf<'data> {
    data: &'data [u8],
    endian: Endianness,
    header: Header,
    types: &'data [u8],
    strings: &'data [u8],
    layout: &'data [u8],
    /// Where each own type begins in `types`, in bytes.
    offsets: Vec<u32>,
    base: Option<&'data Btf<'data>>,
    /// Id of the first own type.
    first_id: u32,
    /// Offset of the first own string.
    first_str: u32,
}

impl<'data> Btf<'data> {
    /// Reads a blob that stands alone, in either byte order.
    ///
    /// # Errors
    /// The first fault of the header, its parts, or the extent of a type. That the types refer to
    /// others that exist and make sense is for [`check`](crate::check()) to say.
    pub fn parse(data: &'data [u8]) -> Result<Self, Error> {
        Self::read(data, None)
    }

    /// Reads split BTF: its ids and string offsets go on where those of `base` end.
    ///
    /// # Errors
    /// As [`Btf::parse`]; also another byte order than that of the base.
    pub fn parse_split(data: &'data [u8], base: &'data Btf<'data>) -> Result<Self, Error> {
        Self::read(data, Some(base))
    }

    fn read(data: &'data [u8], base: Option<&'data Btf<'data>>) -> Result<Self, Error> {
        let (endian, header) = read_header(data)?;
        if base.is_some_and(|base| base.endian != endian) {
            return Err(Error::at(0, Cause::BaseEndian));
        }
        let parts = Parts::read(data, &header, base.is_some())?;
        let mut btf = Btf {
            data,
            endian,
            header,
            types: parts.types,
            strings: parts.strings,
            layout: parts.layout,
            offsets: Vec::new(),
            base,
            first_id: base.map_or(Some(1), |base| base.end_id()).unwrap_or(u32::MAX),
            first_str: 0,
        };
        if let Some(base) = base {
            let end = base.string_end();
            btf.first_str = u32::try_from(end)
                .map_err(|_| Error::at(0, Cause::StringOffset { off: u32::MAX, end }))?;
        }
        btf.index()?;
        Ok(btf)
    }

    /// Finds where each type begins.
    fn index(&mut self) -> Result<(), Error> {
        let start = self.header.hdr_len as usize + self.header.type_off as usize;
        // The mean record of a kernel has about 20 bytes; the bytes themselves bound what is reserved.
        let mut offsets = Vec::with_capacity(self.types.len() / 20);
        let mut at = 0;
        while at < self.types.len() {
            let id = u32::try_from(offsets.len())
                .ok()
                .and_then(|count| count.checked_add(self.first_id))
                .filter(|&id| id < u32::MAX)
                .ok_or(Error::at(start + at, Cause::TooManyTypes))?;
            let len = self.record_len(TypeId(id), at).map_err(|c| Error::at(start + at, c))?;
            offsets.push(at as u32);
            at += len;
        }
        self.offsets = offsets;
        Ok(())
    }

    /// Length in bytes of the record at `at`, which lies within the type section.
    #[inline]
    fn record_len(&self, id: TypeId, at: usize) -> Result<usize, Cause> {
        let bytes = self.types.get(at..).unwrap_or(&[]);
        let info = word(bytes, 4, self.endian);
        let (kind, vlen) = (kind_of(info), info & 0xff_ffff);
        let left = bytes.len();
        let end = |need: u64| Cause::TypeEnd { id, kind, vlen, need, left };
        if left < TYPE_LEN {
            return Err(end(TYPE_LEN as u64));
        }
        let Layout { info_size, elem_size } = match kind {
            Kind::Void => None,
            Kind::Other(number) => self.layout_of(number),
            known => known.layout(),
        }
        .ok_or(Cause::UnknownKind { id, kind: kind.number() })?;
        let entries = u64::from(elem_size) * u64::from(vlen);
        let need = TYPE_LEN as u64 + u64::from(info_size) + entries;
        if need > left as u64 { Err(end(need)) } else { Ok(need as usize) }
    }

    /// What the layout section (or the base's) says of a kind that is not known.
    fn layout_of(&self, number: u8) -> Option<Layout> {
        let layout = match self.base {
            Some(base) if self.layout.is_empty() => base.layout,
            _ => self.layout,
        };
        let entry = layout.chunks_exact(LAYOUT_LEN).nth(usize::from(number))?;
        let &[info_size, elem_size, _, _] = entry else { return None };
        (info_size % 4 == 0 && elem_size % 4 == 0).then_some(Layout { info_size, elem_size })
    }

    /// The whole blob.
    pub fn data(&self) -> &'data [u8] {
        self.data
    }

    /// Byte order of the blob: the target's.
    pub fn endian(&self) -> Endianness {
        self.endian
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The base of split BTF.
    pub fn base(&self) -> Option<&'data Btf<'data>> {
        self.base
    }

    /// The type section.
    pub fn type_section(&self) -> &'data [u8] {
        self.types
    }

    /// The string section.
    pub fn string_section(&self) -> &'data [u8] {
        self.strings
    }

    /// The layout section; empty where there is none.
    pub fn layout_section(&self) -> &'data [u8] {
        self.layout
    }

    /// Offset of the first string of its own: 0, or where the base's strings end.
    pub fn first_string(&self) -> StrOff {
        StrOff(self.first_str)
    }

    /// Id of the first type of its own: 1, or the one behind the base's last.
    pub fn first_id(&self) -> TypeId {
        TypeId(self.first_id)
    }

    /// Number of types of its own: neither `void` nor the base's.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether it has no types of its own.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The last type's id, the base's included; 0 if there is none.
    pub fn last_id(&self) -> TypeId {
        TypeId(self.end_id().map_or(u32::MAX, |end| end - 1))
    }

    fn end_id(&self) -> Option<u32> {
        self.first_id.checked_add(self.offsets.len() as u32)
    }

    /// First string offset behind its strings, the base's included.
    fn string_end(&self) -> u64 {
        u64::from(self.first_str) + self.strings.len() as u64
    }

    /// Its own types in the order of their ids.
    pub fn types(
        &self,
    ) -> impl ExactSizeIterator<Item = (TypeId, Type<'data>)> + DoubleEndedIterator + use<'_, 'data>
    {
        self.offsets.iter().enumerate().map(|(index, &at)| {
            let end = self.offsets.get(index + 1).map_or(self.types.len(), |&end| end as usize);
            (TypeId(self.first_id + index as u32), self.decode(at as usize, end))
        })
    }

    /// The type of that id, the base's and `void` included.
    ///
    /// # Errors
    /// There is no such type.
    pub fn ty(&self, id: TypeId) -> Result<Type<'data>, Error> {
        self.get(id).ok_or_else(|| Error::at(0, Cause::NoType { id, last: self.last_id() }))
    }

    /// The type of that id, the base's and `void` included, if it exists.
    pub fn get(&self, id: TypeId) -> Option<Type<'data>> {
        if id.0 == 0 {
            return Some(Type::void());
        }
        match (id.0.checked_sub(self.first_id), self.base) {
            (Some(index), _) => {
                let index = index as usize;
                let &at = self.offsets.get(index)?;
                let end = self.offsets.get(index + 1).map_or(self.types.len(), |&end| end as usize);
                Some(self.decode(at as usize, end))
            }
            (None, Some(base)) => base.get(id),
            (None, None) => None,
        }
    }

    /// Where the type begins, in bytes from the start of the blob that holds it.
    pub fn offset_of(&self, id: TypeId) -> Option<u64> {
        match (id.0.checked_sub(self.first_id), self.base) {
            (Some(index), _) => {
                let at = *self.offsets.get(index as usize)?;
                let start = u64::from(self.header.hdr_len) + u64::from(self.header.type_off);
                Some(start + u64::from(at))
            }
            (None, Some(base)) => base.offset_of(id),
            (None, None) => None,
        }
    }

    fn decode(&self, at: usize, end: usize) -> Type<'data> {
        let bytes = self.types.get(at..end).unwrap_or(&[]);
        let info = word(bytes, 4, self.endian);
        Type {
            kind: kind_of(info),
            name_off: StrOff(word(bytes, 0, self.endian)),
            vlen: info & 0xff_ffff,
            kflag: info >> 31 != 0,
            size_or_type: word(bytes, 8, self.endian),
            info,
            rest: bytes.get(TYPE_LEN..).unwrap_or(&[]),
            endian: self.endian,
        }
    }

    /// The string at `off`, without its NUL; the base's strings included.
    ///
    /// # Errors
    /// `off` is outside the strings.
    pub fn name(&self, off: StrOff) -> Result<&'data [u8], Error> {
        if let (true, Some(base)) = (off.0 < self.first_str, self.base) {
            return base.name(off);
        }
        let start = off.0.wrapping_sub(self.first_str) as usize;
        let bytes = match self.strings.get(start..) {
            Some(bytes) if !bytes.is_empty() => bytes,
            // The empty name needs no string section: split BTF on an empty base has none.
            _ if off.0 == 0 => return Ok(&[]),
            _ => {
                let at = self.header.hdr_len as usize + self.header.str_off as usize;
                let end = self.string_end();
                return Err(Error::at(at, Cause::StringOffset { off: off.0, end }));
            }
        };
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Ok(bytes.get(..len).unwrap_or(bytes))
    }
}

fn kind_of(info: u32) -> Kind {
    Kind::from_number((info >> 24 & 0x7f) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Blob, every_kind};
    use crate::{Array, EnumValue, Int, Member, Param, VarSecinfo};

    const ORDERS: [Endianness; 2] = [Endianness::Little, Endianness::Big];

    fn cause(data: &[u8]) -> String {
        Btf::parse(data).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_reads_the_same_in_both_byte_orders() {
        for endian in ORDERS {
            let blob = every_kind(endian).finish();
            let btf = Btf::parse(&blob).unwrap();
            assert_eq!((btf.endian(), btf.len(), btf.last_id()), (endian, 21, TypeId(21)));
            let ty = |id| btf.ty(TypeId(id)).unwrap();
            let name = |off| std::str::from_utf8(btf.name(off).unwrap()).unwrap();
            let kinds: Vec<u8> = btf.types().map(|(_, ty)| ty.kind.number()).collect();
            let expected =
                [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 12, 14, 15, 16, 17, 18, 19, 4];
            assert_eq!(kinds, expected);
            assert_eq!(ty(0).kind, Kind::Void);
            assert_eq!((name(ty(1).name_off), ty(1).size()), ("int", Some(4)));
            assert_eq!(ty(1).int(), Some(Int { encoding: Int::SIGNED, offset: 0, bits: 32 }));
            assert_eq!(ty(3).type_id(), Some(TypeId(5)));
            let array = Array { elem: TypeId(1), index: TypeId(2), nelems: 4 };
            assert_eq!(ty(4).array(), Some(array));
            let members: Vec<Member> = ty(5).members().collect();
            assert_eq!((name(members[1].name_off), members[1].ty), ("data", TypeId(4)));
            assert_eq!((members[1].bit_offset, members[1].bitfield_size), (64, 0));
            assert_eq!(ty(6).members().len(), 2);
            let values: Vec<i64> = ty(7).values().map(|value| value.value).collect();
            assert_eq!(values, [1, -2]);
            let params: Vec<Param> = ty(13).params().collect();
            assert_eq!((params.len(), params[2].ty, name(params[2].name_off)), (3, TypeId(0), ""));
            assert_eq!((ty(14).linkage(), ty(14).type_id()), (Some(1), Some(TypeId(13))));
            assert_eq!((ty(15).linkage(), ty(15).type_id()), (Some(1), Some(TypeId(11))));
            let placed: Vec<VarSecinfo> = ty(16).var_secinfos().collect();
            assert_eq!(placed, [VarSecinfo { ty: TypeId(15), offset: 4, size: 4 }]);
            assert_eq!(ty(18).component_idx(), Some(1));
            let wide: Vec<EnumValue> = ty(20).values().collect();
            assert_eq!((wide.len(), wide[0].value), (1, -2));
            let bits: Vec<Member> = ty(21).members().collect();
            assert_eq!((bits[0].bit_offset, bits[0].bitfield_size), (5, 3));
        }
    }

    #[test]
    fn a_view_of_another_kind_is_empty() {
        let blob = every_kind(Endianness::Little).finish();
        let btf = Btf::parse(&blob).unwrap();
        let array = btf.ty(TypeId(4)).unwrap();
        assert_eq!((array.members().len(), array.values().len(), array.params().len()), (0, 0, 0));
        assert_eq!((array.int(), array.linkage(), array.component_idx()), (None, None, None));
    }

    #[test]
    fn a_type_that_ends_outside_is_named() {
        let mut blob = Blob::new(Endianness::Little);
        blob.ty(0, (2, 0, false), 0, &[]);
        blob.ty(0, (4, 0xff_ffff, false), 0, &[]);
        let text = "0x24: type 2 (STRUCT, vlen 16777215) needs 201326592 bytes, \
                    the type section has 12 left";
        assert_eq!(cause(&blob.finish()), text);
    }

    #[test]
    fn an_unknown_kind_needs_a_layout() {
        let mut blob = Blob::new(Endianness::Little);
        blob.ty(0, (20, 2, false), 0, &[7, 8, 9]);
        blob.ty(0, (2, 0, false), 0, &[]);
        assert_eq!(cause(&blob.finish()), "0x18: type 1 has kind 20, which is not known");
        blob.hdr_len = 32;
        blob.layout = vec![0; 4 * 20];
        blob.layout.extend_from_slice(&[4, 4, 0, 0]);
        let bytes = blob.finish();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!((btf.len(), btf.ty(TypeId(1)).unwrap().kind), (2, Kind::Other(20)));
        assert_eq!(btf.ty(TypeId(1)).unwrap().rest().len(), 12);
        blob.layout[81] = 3;
        assert!(cause(&blob.finish()).contains("kind 20"));
    }

    #[test]
    fn split_btf_goes_on_where_its_base_ends() {
        for endian in ORDERS {
            let base_blob = every_kind(endian).finish();
            let base = Btf::parse(&base_blob).unwrap();
            let mut split = Blob::new(endian);
            split.strings = b"mine\0".to_vec();
            let first_str = base.string_section().len() as u32;
            split.ty(first_str, (8, 0, false), 5, &[]);
            split.ty(1, (8, 0, false), 22, &[]);
            let blob = split.finish();
            let btf = Btf::parse_split(&blob, &base).unwrap();
            let ids: Vec<u32> = btf.types().map(|(id, _)| id.0).collect();
            assert_eq!(ids, [22, 23]);
            assert_eq!(btf.name(btf.ty(TypeId(22)).unwrap().name_off).unwrap(), b"mine");
            assert_eq!(btf.name(btf.ty(TypeId(23)).unwrap().name_off).unwrap(), b"int");
            assert_eq!(btf.ty(TypeId(5)).unwrap().kind, Kind::Struct);
            assert!(btf.get(TypeId(24)).is_none());
            assert_eq!(btf.offset_of(TypeId(23)), Some(36));
            assert!(Btf::parse(&blob).is_err());
        }
        let other = every_kind(Endianness::Big).finish();
        let base_blob = every_kind(Endianness::Little).finish();
        let base = Btf::parse(&base_blob).unwrap();
        let refused = Btf::parse_split(&other, &base).unwrap_err();
        assert_eq!(refused.cause, Cause::BaseEndian);
    }

    #[test]
    fn names_and_ids_outside_are_errors() {
        let blob = every_kind(Endianness::Little).finish();
        let btf = Btf::parse(&blob).unwrap();
        assert!(btf.name(StrOff(u32::MAX)).is_err());
        assert!(btf.name(StrOff(btf.string_section().len() as u32)).is_err());
        let refused = btf.ty(TypeId(22)).unwrap_err();
        assert_eq!(refused.to_string(), "0x0: type 22 does not exist, the last one is 21");
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_an_error_or_a_blob() {
        let look = |data: &[u8]| {
            if let Ok(btf) = Btf::parse(data) {
                for (id, ty) in btf.types() {
                    let _ = (btf.name(ty.name_off), btf.offset_of(id), ty.int(), ty.array());
                    let _ = (ty.members().count(), ty.values().count(), ty.params().count());
                    let _ = (ty.var_secinfos().count(), ty.linkage(), ty.component_idx());
                }
            }
        };
        for endian in ORDERS {
            let whole = every_kind(endian).finish();
            for len in 0..whole.len() {
                assert!(Btf::parse(&whole[..len]).is_err());
            }
            for at in 0..whole.len() {
                for bit in 0..8 {
                    let mut bad = whole.clone();
                    bad[at] ^= 1 << bit;
                    look(&bad);
                }
            }
        }
    }

    #[test]
    fn a_type_is_passed_in_few_words() {
        assert!(size_of::<Type<'_>>() <= 48);
    }
}
