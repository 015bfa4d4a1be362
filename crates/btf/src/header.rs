//! The header of a blob and the parts that it delimits.

use image::Endianness;

use crate::error::{Cause, Error, Part};
use crate::view::word;

/// `BTF_MAGIC`.
pub const MAGIC: u16 = 0xeb9f;
/// Length in bytes of the header that every blob has.
pub const HEADER_LEN: u32 = 24;
/// Length in bytes of the header with `layout_off` and `layout_len` (Linux 7.1).
pub const HEADER_LEN_LAYOUT: u32 = 32;

/// `struct btf_header`; offsets are in bytes from the end of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// `flags`.
    pub flags: u8,
    /// Length of the header in bytes.
    pub hdr_len: u32,
    /// Offset of the types.
    pub type_off: u32,
    /// Length of the types in bytes.
    pub type_len: u32,
    /// Offset of the strings.
    pub str_off: u32,
    /// Length of the strings in bytes.
    pub str_len: u32,
    /// Offset of the layout; 0 in a short header.
    pub layout_off: u32,
    /// Length of the layout in bytes; 0 in a short header.
    pub layout_len: u32,
}

/// Decodes the header; the byte order is the one in which the magic reads right.
pub(crate) fn read_header(data: &[u8]) -> Result<(Endianness, Header), Error> {
    let need = HEADER_LEN as usize;
    let Some(fixed) = data.first_chunk::<{ HEADER_LEN as usize }>() else {
        return Err(Error::at(0, Cause::NoHeader { len: data.len(), need }));
    };
    let endian = match [fixed[0], fixed[1]] {
        magic if magic == MAGIC.to_le_bytes() => Endianness::Little,
        magic if magic == MAGIC.to_be_bytes() => Endianness::Big,
        magic => return Err(Error::at(0, Cause::Magic(u16::from_le_bytes(magic)))),
    };
    if fixed[2] != 1 {
        return Err(Error::at(2, Cause::Version(fixed[2])));
    }
    let hdr_len = word(fixed, 4, endian);
    if hdr_len < HEADER_LEN || hdr_len as usize > data.len() {
        return Err(Error::at(4, Cause::HeaderLen { hdr_len, len: data.len() }));
    }
    let has_layout = hdr_len >= HEADER_LEN_LAYOUT;
    let layout = |at| if has_layout { word(data, at, endian) } else { 0 };
    let header = Header {
        flags: fixed[3],
        hdr_len,
        type_off: word(fixed, 8, endian),
        type_len: word(fixed, 12, endian),
        str_off: word(fixed, 16, endian),
        str_len: word(fixed, 20, endian),
        layout_off: layout(24),
        layout_len: layout(28),
    };
    Ok((endian, header))
}

/// The parts of a blob.
pub(crate) struct Parts<'data> {
    pub(crate) types: &'data [u8],
    pub(crate) strings: &'data [u8],
    pub(crate) layout: &'data [u8],
}

impl<'data> Parts<'data> {
    pub(crate) fn read(data: &'data [u8], header: &Header, split: bool) -> Result<Self, Error> {
        let Header { type_off, type_len, str_off, str_len, layout_off, layout_len, .. } = *header;
        let types = part(data, header, Part::Types, type_off, type_len)?;
        let strings = part(data, header, Part::Strings, str_off, str_len)?;
        let layout = match layout_len {
            0 => &[][..],
            _ => part(data, header, Part::Layout, layout_off, layout_len)?,
        };
        if !type_off.is_multiple_of(4) {
            return Err(Error::at(8, Cause::Unaligned(Part::Types)));
        }
        let types_end = u64::from(type_off) + u64::from(type_len);
        if types_end > u64::from(str_off) {
            return Err(Error::at(16, Cause::Overlap(Part::Strings, Part::Types)));
        }
        if layout_len != 0 {
            if !layout_off.is_multiple_of(4) || !layout_len.is_multiple_of(4) {
                return Err(Error::at(24, Cause::Unaligned(Part::Layout)));
            }
            if types_end > u64::from(layout_off) {
                return Err(Error::at(24, Cause::Overlap(Part::Layout, Part::Types)));
            }
            if u64::from(layout_off) + u64::from(layout_len) > u64::from(str_off) {
                return Err(Error::at(16, Cause::Overlap(Part::Strings, Part::Layout)));
            }
        }
        let at = header.hdr_len as usize + str_off as usize;
        match (strings.first(), strings.last()) {
            (None, _) | (_, None) if split => {}
            (None, _) | (_, None) => return Err(Error::at(at, Cause::NoStrings)),
            (Some(&first), _) if first != 0 && !split => {
                return Err(Error::at(at, Cause::FirstString));
            }
            (_, Some(&last)) if last != 0 => {
                return Err(Error::at(at + strings.len() - 1, Cause::LastString));
            }
            _ => {}
        }
        Ok(Parts { types, strings, layout })
    }
}

/// The bytes of one part; `off` counts from the end of the header.
fn part<'data>(
    data: &'data [u8],
    header: &Header,
    part: Part,
    off: u32,
    len: u32,
) -> Result<&'data [u8], Error> {
    let start = u64::from(header.hdr_len) + u64::from(off);
    let outside = Cause::Outside { part, start, len, blob: data.len() };
    let field = match part {
        Part::Types => 8,
        Part::Strings => 16,
        Part::Layout => 24,
    };
    usize::try_from(start)
        .ok()
        .and_then(|start| data.get(start..)?.get(..len as usize))
        .ok_or(Error::at(field, outside))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Blob, every_kind};
    use crate::{Btf, Endianness};

    fn cause(data: &[u8]) -> String {
        Btf::parse(data).unwrap_err().to_string()
    }

    #[test]
    fn headers_are_refused_with_their_fault() {
        assert_eq!(cause(b""), "0x0: the blob has 0 bytes, less than a BTF header of 24");
        assert!(cause(&[0; 24]).starts_with("0x0: magic 0x0000"));
        let good = every_kind(Endianness::Little).finish();
        let with = |at: usize, word: u32| {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&word.to_le_bytes());
            cause(&bad)
        };
        assert!(with(0, 0x0002_eb9f).starts_with("0x2: BTF version 2"));
        assert!(with(4, 20).starts_with("0x4: header length 20"));
        assert!(with(4, u32::MAX).starts_with("0x4: header length"));
        assert!(with(8, 2).contains("begins before") || with(8, 2).contains("multiple of 4"));
        assert!(with(8, u32::MAX).contains("the type section"));
        assert!(with(12, u32::MAX).contains("the type section"));
        assert!(with(16, 0).contains("the string section begins before the type section ends"));
        assert!(with(20, u32::MAX).contains("the string section"));
        assert!(with(20, 0).contains("the string section is empty"));
    }

    #[test]
    fn strings_must_begin_and_end_with_nul() {
        let mut blob = Blob::new(Endianness::Big);
        blob.strings = b"a\0".to_vec();
        assert!(cause(&blob.finish()).contains("the first string is not empty"));
        blob.strings = b"\0a".to_vec();
        assert_eq!(cause(&blob.finish()), "0x19: the string section does not end with NUL");
    }
}
