//! Relocation records of either class and byte order, with and without addends.

use image::Endian;
use image::consts::{Rel32, Rel64, Rela32, Rela64};
use object::{I32, I64, U32, U64, pod};

use crate::error::{Error, lossy};
use crate::object::Object;

/// A relocation record of any class and byte order.
pub(crate) trait Record: pod::Pod + Sync {
    fn decode(&self) -> Decoded;

    /// The record of a relocation; `None` if that has no addend, or an index does not fit.
    fn encode(relocation: Decoded) -> Option<Self>;
}

/// A relocation.
#[derive(Clone, Copy)]
pub(crate) struct Decoded {
    pub(crate) offset: u64,
    pub(crate) symbol: u32,
    pub(crate) r_type: u32,
    /// `None` if it stands in the field.
    pub(crate) addend: Option<i64>,
}

impl<E: Endian + Default + Sync> Record for Rela64<E> {
    fn decode(&self) -> Decoded {
        let (e, info) = (E::default(), self.r_info.get(E::default()));
        let (symbol, r_type) = ((info >> 32) as u32, info as u32);
        Decoded { offset: self.r_offset.get(e), symbol, r_type, addend: Some(self.r_addend.get(e)) }
    }

    fn encode(relocation: Decoded) -> Option<Self> {
        let info = u64::from(relocation.symbol) << 32 | u64::from(relocation.r_type);
        let e = E::default();
        let (r_offset, r_info) = (U64::new(e, relocation.offset), U64::new(e, info));
        Some(Rela64 { r_offset, r_info, r_addend: I64::new(e, relocation.addend?) })
    }
}

impl<E: Endian + Default + Sync> Record for Rel64<E> {
    fn decode(&self) -> Decoded {
        let (e, info) = (E::default(), self.r_info.get(E::default()));
        let (symbol, r_type) = ((info >> 32) as u32, info as u32);
        Decoded { offset: self.r_offset.get(e), symbol, r_type, addend: None }
    }

    fn encode(_: Decoded) -> Option<Self> {
        None
    }
}

impl<E: Endian + Default + Sync> Record for Rela32<E> {
    fn decode(&self) -> Decoded {
        let (e, info) = (E::default(), self.r_info.get(E::default()));
        let addend = Some(i64::from(self.r_addend.get(e)));
        Decoded {
            offset: self.r_offset.get(e).into(),
            symbol: info >> 8,
            r_type: info & 0xff,
            addend,
        }
    }

    fn encode(relocation: Decoded) -> Option<Self> {
        let fits = relocation.symbol < 1 << 24;
        let info = relocation.symbol << 8 | relocation.r_type;
        let e = E::default();
        let offset = u32::try_from(relocation.offset).ok().filter(|_| fits)?;
        let (r_offset, r_info) = (U32::new(e, offset), U32::new(e, info));
        Some(Rela32 { r_offset, r_info, r_addend: I32::new(e, relocation.addend? as i32) })
    }
}

impl<E: Endian + Default + Sync> Record for Rel32<E> {
    fn decode(&self) -> Decoded {
        let (e, info) = (E::default(), self.r_info.get(E::default()));
        let offset = self.r_offset.get(e).into();
        Decoded { offset, symbol: info >> 8, r_type: info & 0xff, addend: None }
    }

    fn encode(_: Decoded) -> Option<Self> {
        None
    }
}

/// Calls a function that is generic over the record with the type that the relocations of a section have.
macro_rules! with_records {
    ($source:expr, $function:ident $(, $argument:expr)*) => {{
        use image::consts::{Rel32, Rel64, Rela32, Rela64, SHT_RELA};
        use image::{Class, Endianness};
        use object::{BigEndian, LittleEndian};
        let elf = &$source.object.elf;
        let relocations = $source.object.relocations[$source.section as usize];
        let rela = elf.sections()[relocations as usize].sh_type == SHT_RELA.0;
        match (elf.class(), elf.endian(), rela) {
            (Class::Elf64, Endianness::Little, true) => $function::<Rela64<LittleEndian>>($source $(, $argument)*),
            (Class::Elf64, Endianness::Little, false) => $function::<Rel64<LittleEndian>>($source $(, $argument)*),
            (Class::Elf64, Endianness::Big, true) => $function::<Rela64<BigEndian>>($source $(, $argument)*),
            (Class::Elf64, Endianness::Big, false) => $function::<Rel64<BigEndian>>($source $(, $argument)*),
            (Class::Elf32, Endianness::Little, true) => $function::<Rela32<LittleEndian>>($source $(, $argument)*),
            (Class::Elf32, Endianness::Little, false) => $function::<Rel32<LittleEndian>>($source $(, $argument)*),
            (Class::Elf32, Endianness::Big, true) => $function::<Rela32<BigEndian>>($source $(, $argument)*),
            (Class::Elf32, Endianness::Big, false) => $function::<Rel32<BigEndian>>($source $(, $argument)*),
        }
    }};
}

pub(crate) use with_records;

/// How many relocations a section has that has some.
///
/// # Errors
/// They are not records of this kind, or do not lie within the file.
pub(crate) fn count<R: Record>(object: &Object<'_>, section: u32) -> Result<usize, Error> {
    let index = object.relocations[section as usize];
    let entsize = object.elf.sections()[index as usize].entsize;
    let len = object.bytes(index)?.len();
    if entsize != size_of::<R>() as u64 || !len.is_multiple_of(size_of::<R>()) {
        return Err(fault(object, section, 0, "relocations of an unknown size"));
    }
    Ok(len / size_of::<R>())
}

/// What is wrong with a relocation of a section.
pub(crate) fn fault(
    object: &Object<'_>,
    section: u32,
    offset: u64,
    cause: impl Into<String>,
) -> Error {
    Error::Relocation {
        input: object.name.to_owned(),
        section: lossy(object.elf.sections()[section as usize].name),
        offset,
        cause: cause.into(),
    }
}
