//! One type of a blob, and typed views of what follows it.
//!
//! A [`Type`] borrows its bytes; the views decode an entry when it is asked for. Their lengths were
//! checked when the blob was indexed, so decoding cannot fail. Ids and names are not checked here:
//! [`Btf::ty`](crate::Btf::ty) and [`Btf::name`](crate::Btf::name) do that.

use image::Endianness;

use crate::{Kind, StrOff, TypeId};

/// A type as the blob holds it.
#[derive(Debug, Clone, Copy)]
pub struct Type<'data> {
    /// Its kind.
    pub kind: Kind,
    /// Its name; offset 0 where it has none.
    pub name_off: StrOff,
    /// Number of its entries; the linkage of a `FUNC`.
    pub vlen: u32,
    /// `kind_flag`: bitfields in a `STRUCT` or `UNION`, signed values in an `ENUM` or `ENUM64`, a union
    /// in a `FWD`, an attribute in a `DECL_TAG` or `TYPE_TAG`.
    pub kflag: bool,
    /// The third word: a size in bytes or a type's id, depending on the kind.
    pub size_or_type: u32,
    /// `info` as it stands, with the bits that mean nothing yet.
    pub info: u32,
    /// What follows the type, in the blob's byte order.
    pub(crate) rest: &'data [u8],
    pub(crate) endian: Endianness,
}

/// The four bytes behind an `INT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Int {
    /// `BTF_INT_SIGNED`, `BTF_INT_CHAR`, `BTF_INT_BOOL` (4 bits).
    pub encoding: u8,
    /// Offset in bits; 0 in all that is made today.
    pub offset: u8,
    /// Width in bits.
    pub bits: u8,
}

impl Int {
    /// `BTF_INT_SIGNED`.
    pub const SIGNED: u8 = 1;
    /// `BTF_INT_CHAR`.
    pub const CHAR: u8 = 2;
    /// `BTF_INT_BOOL`.
    pub const BOOL: u8 = 4;
}

/// `struct btf_array`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Array {
    /// Type of an element.
    pub elem: TypeId,
    /// Type of the index.
    pub index: TypeId,
    /// Number of elements.
    pub nelems: u32,
}

/// `struct btf_member`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Member {
    /// Name; offset 0 for an anonymous member.
    pub name_off: StrOff,
    /// Type.
    pub ty: TypeId,
    /// Offset into the structure in bits.
    pub bit_offset: u32,
    /// Width of a bitfield in bits, 0 for any other member; only with the structure's `kflag`.
    pub bitfield_size: u8,
}

/// `struct btf_enum` or `struct btf_enum64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnumValue {
    /// Name.
    pub name_off: StrOff,
    /// The value in 64 bits: sign-extended where the enumeration is signed (`kflag`), else to be read
    /// as `u64`.
    pub value: i64,
}

/// `struct btf_param`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Param {
    /// Name; offset 0 where there is none.
    pub name_off: StrOff,
    /// Type; 0 for the `...` at the end.
    pub ty: TypeId,
}

/// `struct btf_var_secinfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VarSecinfo {
    /// The `VAR` (or `FUNC`).
    pub ty: TypeId,
    /// Offset into the section in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

impl<'data> Type<'data> {
    /// `void`, type 0.
    pub(crate) fn void() -> Self {
        Type {
            kind: Kind::Void,
            name_off: StrOff(0),
            vlen: 0,
            kflag: false,
            size_or_type: 0,
            info: 0,
            rest: &[],
            endian: Endianness::Little,
        }
    }

    /// The type it refers to with its third word; none where that word is something else.
    pub fn type_id(&self) -> Option<TypeId> {
        self.kind.has_type().then_some(TypeId(self.size_or_type))
    }

    /// Its size in bytes; none where the third word is no size.
    pub fn size(&self) -> Option<u32> {
        self.kind.has_size().then_some(self.size_or_type)
    }

    /// Bytes of its record in the type section.
    pub fn record_len(&self) -> usize {
        12 + self.rest.len()
    }

    /// The bytes behind the `struct btf_type`, in the blob's byte order.
    pub fn rest(&self) -> &'data [u8] {
        self.rest
    }

    /// What an `INT` adds.
    pub fn int(&self) -> Option<Int> {
        let word = self.only(Kind::Int)?;
        Some(Int {
            encoding: (word >> 24 & 0xf) as u8,
            offset: (word >> 16 & 0xff) as u8,
            bits: word as u8,
        })
    }

    /// What an `ARRAY` adds.
    pub fn array(&self) -> Option<Array> {
        let [elem, index, nelems] = self.words(&[Kind::Array]).next()?;
        Some(Array { elem: TypeId(elem), index: TypeId(index), nelems })
    }

    /// The linkage of a `VAR` or a `FUNC` (`BTF_VAR_*`, `BTF_FUNC_*`: 0 static, 1 global, 2 extern).
    pub fn linkage(&self) -> Option<u32> {
        match self.kind {
            Kind::Func => Some(self.vlen),
            _ => self.only(Kind::Var),
        }
    }

    /// `component_idx` of a `DECL_TAG`: the member or parameter, -1 for the whole.
    pub fn component_idx(&self) -> Option<i32> {
        self.only(Kind::DeclTag).map(|word| word as i32)
    }

    /// The members of a `STRUCT` or `UNION`; none for other kinds.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Member> + use<'data> {
        let kflag = self.kflag;
        self.words(&[Kind::Struct, Kind::Union]).map(move |[name, ty, offset]| Member {
            name_off: StrOff(name),
            ty: TypeId(ty),
            bit_offset: if kflag { offset & 0xff_ffff } else { offset },
            bitfield_size: if kflag { (offset >> 24) as u8 } else { 0 },
        })
    }

    /// The values of an `ENUM` or `ENUM64`; none for other kinds.
    pub fn values(&self) -> impl ExactSizeIterator<Item = EnumValue> + use<'data> {
        let (endian, signed, wide) = (self.endian, self.kflag, self.kind == Kind::Enum64);
        let entry = if wide { 12 } else { 8 };
        let rest: &[u8] = if wide || self.kind == Kind::Enum { self.rest } else { &[] };
        rest.chunks_exact(entry).map(move |bytes| {
            let low = word(bytes, 4, endian);
            let value = match (wide, signed) {
                (true, _) => (i64::from(word(bytes, 8, endian)) << 32) | i64::from(low),
                (false, true) => i64::from(low as i32),
                (false, false) => i64::from(low),
            };
            EnumValue { name_off: StrOff(word(bytes, 0, endian)), value }
        })
    }

    /// The number that a value of this enumeration stands for, signed or not.
    pub fn enum_number(&self, value: EnumValue) -> i128 {
        if self.kflag { value.value.into() } else { (value.value as u64).into() }
    }

    /// The parameters of a `FUNC_PROTO`; none for other kinds.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Param> + use<'data> {
        self.words(&[Kind::FuncProto])
            .map(|[name, ty]| Param { name_off: StrOff(name), ty: TypeId(ty) })
    }

    /// The variables of a `DATASEC`; none for other kinds.
    pub fn var_secinfos(&self) -> impl ExactSizeIterator<Item = VarSecinfo> + use<'data> {
        self.words(&[Kind::Datasec]).map(|[ty, offset, size]| VarSecinfo {
            ty: TypeId(ty),
            offset,
            size,
        })
    }

    fn only(&self, kind: Kind) -> Option<u32> {
        self.words(&[kind]).next().map(|[word]| word)
    }

    /// What follows the type as groups of `N` words, if it is of one of these kinds.
    fn words<const N: usize>(
        &self,
        kinds: &[Kind],
    ) -> impl ExactSizeIterator<Item = [u32; N]> + use<'data, N> {
        let endian = self.endian;
        let rest: &[u8] = if kinds.contains(&self.kind) { self.rest } else { &[] };
        rest.chunks_exact(4 * N)
            .map(move |bytes| std::array::from_fn(|i| word(bytes, 4 * i, endian)))
    }
}

/// The four bytes at `at`; 0 where `bytes` is shorter, which callers exclude.
#[inline]
pub(crate) fn word(bytes: &[u8], at: usize, endian: Endianness) -> u32 {
    let raw = bytes.get(at..).and_then(|tail| tail.first_chunk::<4>()).copied().unwrap_or([0; 4]);
    match endian {
        Endianness::Little => u32::from_le_bytes(raw),
        Endianness::Big => u32::from_be_bytes(raw),
    }
}
