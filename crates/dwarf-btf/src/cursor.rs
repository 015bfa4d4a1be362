//! Bounded reading of debug sections.
//!
//! Every read is checked against the end of the unit. A fault carries the offset and a fixed cause and
//! is small enough to pass through the hot path; the edge of the crate turns it into an [`Error`].
//!
//! [`Error`]: crate::Error

/// What is wrong at an offset (bytes into the section being read).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub offset: usize,
    pub cause: &'static str,
}

pub(crate) type Read<T> = Result<T, Fault>;

/// A position in a section that never passes `data`'s end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'d> {
    pub data: &'d [u8],
    pub pos: usize,
    pub big: bool,
}

const END: &str = "the data ends within an entry";

impl<'d> Cursor<'d> {
    pub fn new(data: &'d [u8], pos: usize, big: bool) -> Self {
        Cursor { data, pos, big }
    }

    #[cold]
    fn end(&self) -> Fault {
        Fault { offset: self.pos, cause: END }
    }

    #[inline(always)]
    pub fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        match self.data.get(self.pos..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(bytes) => {
                self.pos += N;
                Ok(*bytes)
            }
            None => Err(self.end()),
        }
    }

    #[inline]
    pub fn skip(&mut self, len: usize) -> Read<()> {
        match self.pos.checked_add(len) {
            Some(pos) if pos <= self.data.len() => {
                self.pos = pos;
                Ok(())
            }
            _ => Err(self.end()),
        }
    }

    #[inline]
    pub fn u8(&mut self) -> Read<u8> {
        self.array::<1>().map(|b| b[0])
    }

    #[inline]
    pub fn u16(&mut self) -> Read<u16> {
        let b = self.array()?;
        Ok(if self.big { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) })
    }

    #[inline]
    pub fn u32(&mut self) -> Read<u32> {
        let b = self.array()?;
        Ok(if self.big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) })
    }

    #[inline]
    pub fn u64(&mut self) -> Read<u64> {
        let b = self.array()?;
        Ok(if self.big { u64::from_be_bytes(b) } else { u64::from_le_bytes(b) })
    }

    /// An unsigned number of `size` bytes (1 to 8).
    #[inline(always)]
    pub fn uint(&mut self, size: u8) -> Read<u64> {
        match size {
            1 => self.u8().map(u64::from),
            2 => self.u16().map(u64::from),
            4 => self.u32().map(u64::from),
            8 => self.u64(),
            3 => {
                let b = self.array::<3>()?;
                let (a, c) = if self.big { (b[2], b[0]) } else { (b[0], b[2]) };
                Ok(u64::from(a) | u64::from(b[1]) << 8 | u64::from(c) << 16)
            }
            _ => Err(Fault { offset: self.pos, cause: "a number of unknown size" }),
        }
    }

    #[inline]
    pub fn uleb(&mut self) -> Read<u64> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        self.uleb_rest(u64::from(first & 0x7f))
    }

    fn uleb_rest(&mut self, mut value: u64) -> Read<u64> {
        let mut shift = 7;
        loop {
            let byte = self.u8()?;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
            if shift > 70 * 7 {
                return Err(Fault { offset: self.pos, cause: "a LEB128 number without end" });
            }
        }
    }

    pub fn sleb(&mut self) -> Read<i64> {
        let (mut value, mut shift) = (0i64, 0);
        loop {
            let byte = self.u8()?;
            if shift < 64 {
                value |= i64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte < 0x80 {
                if shift < 64 && byte & 0x40 != 0 {
                    value |= -1i64 << shift;
                }
                return Ok(value);
            }
            if shift > 70 * 7 {
                return Err(Fault { offset: self.pos, cause: "a LEB128 number without end" });
            }
        }
    }

    /// The bytes up to a NUL, which is passed over.
    #[inline]
    pub fn cstr(&mut self) -> Read<&'d [u8]> {
        let rest = self.data.get(self.pos..).unwrap_or_default();
        match memchr::memchr(0, rest) {
            Some(len) => {
                self.pos += len + 1;
                Ok(&rest[..len])
            }
            None => Err(self.end()),
        }
    }

    #[inline]
    pub fn bytes(&mut self, len: usize) -> Read<&'d [u8]> {
        let start = self.pos;
        self.skip(len)?;
        Ok(&self.data[start..self.pos])
    }
}
