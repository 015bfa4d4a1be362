//! Where functions are in the image.
//!
//! A function's address tells which of several descriptions a symbol speaks for, and whether the symbol says that the
//! compiler changed its parameters ([`crate::saved`]). For most functions neither is a question, so addresses are found
//! out one by one, when they are asked for. Of a unit that was read the address is known; of one that was not, since
//! what it says was remembered ([`crate::cache`]), it is read then.
//!
//! Cost of one that is read: a few bytes of `.debug_info`, and to a source that applies relocations a search in them.

use crate::candidates::FinalAddresses;
use crate::cu::Func;
use crate::units::Reader;

/// A unit that was not read: where it begins in `.debug_info`, and the size of its addresses in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotRead {
    pub start: usize,
    pub size: u8,
}

/// The address of a function as its unit says it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LowPc {
    /// It may be provisional; 0 is none.
    Read(u64),
    /// So many bytes behind the unit's beginning.
    At(NotRead, u32),
}

impl LowPc {
    /// That of a function of a unit that may not have been read.
    pub fn new(func: &Func, unit: Option<NotRead>) -> Self {
        match unit {
            Some(unit) if func.low_pc_at != 0 => LowPc::At(unit, func.low_pc_at),
            _ => LowPc::Read(func.low_pc),
        }
    }
}

/// Tells final addresses.
pub(crate) struct Addresses<'a, 's> {
    final_addresses: &'a FinalAddresses<'a>,
    reader: &'a Reader<'s>,
}

impl<'a, 's> Addresses<'a, 's> {
    pub fn new(final_addresses: &'a FinalAddresses<'a>, reader: &'a Reader<'s>) -> Self {
        Addresses { final_addresses, reader }
    }

    /// The final address of a function, 0 if it has none. One that cannot be told is lost
    /// ([`FinalAddresses::lost`]), and what is made with it is not to be used.
    pub fn of(&self, low_pc: LowPc) -> u64 {
        let provisional = match low_pc {
            LowPc::Read(address) => Some(address),
            LowPc::At(unit, at) => self.reader.address(unit, at),
        };
        match provisional {
            Some(provisional) => self.final_addresses.get(provisional),
            None => self.final_addresses.lose(),
        }
    }
}
