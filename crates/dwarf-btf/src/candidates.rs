//! What units are asked for before there is an image.
//!
//! Types do not depend on addresses, so units can be read before the kernel is linked. Which functions and variables
//! are written does: a function has a symbol in the image, a per-CPU variable lies in the image's section. So what
//! may be written is kept of each unit, and the image decides ([`crate::symbols`]). In an image that is there already
//! the candidates are just its own functions, and what lies in its section.
//!
//! An address that a unit says is *provisional* then: it only tells which of the linker's inputs it lies in. Whoever
//! gives the debug information knows what becomes of it ([`FinalAddresses`]).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use image::{Elf, Endianness};
use rayon::prelude::*;

use crate::Rules;
use crate::strings::{StrId, Strings};
use crate::symbols::{Section, Symbols, cut, percpu_section};
use crate::units::lto_note;

/// What is known of an image before it is linked.
#[derive(Debug, Clone)]
pub struct Expected<'n> {
    /// Its byte order.
    pub endian: Endianness,
    /// Its machine (`EM_*`).
    pub machine: u16,
    /// What the kernel's note will say of link-time optimisation ([`crate::lto_note`]).
    pub lto: Option<bool>,
    /// Names of all symbols of functions (`STT_FUNC`) that it may have; more do no harm.
    pub functions: Vec<&'n [u8]>,
    /// The provisional addresses of what may come into the section of per-CPU variables.
    pub percpu: Range<u64>,
}

impl<'n> Expected<'n> {
    /// Of the image that these objects are linked into; `None` if there are none.
    pub fn of_inputs<'e, 'd: 'e>(
        inputs: impl Iterator<Item = &'e Elf<'d>> + Clone,
        functions: Vec<&'n [u8]>,
        percpu: Range<u64>,
    ) -> Option<Self> {
        let first = inputs.clone().next()?;
        let (endian, machine) = (first.endian(), first.header().machine);
        let lto = inputs.into_iter().find_map(lto_note);
        Some(Expected { endian, machine, lto, functions, percpu })
    }
}

/// What becomes of a provisional address, which is not 0; `None` if that is not known. What was thrown away is at 0.
pub type Address<'a> = dyn Fn(u64) -> Option<u64> + Sync + 'a;

/// The functions and variables that may be written.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Index and 1, by the number of the name.
    functions: Vec<u32>,
    count: usize,
    /// Where the per-CPU variables lie.
    percpu: Range<u64>,
    /// Whether there may be more of them than the image has.
    pub too_many: bool,
}

impl Candidates {
    /// Those of an image whose functions have these names, numbered below `count`.
    pub fn of_image(elf: &Elf<'_>, names: &[StrId], count: usize, rules: &Rules) -> Self {
        let end = |section: Section| section.address.saturating_add(section.size);
        let percpu = percpu_section(elf, rules).map_or(0..0, |s| s.address..end(s));
        Candidates { percpu, ..Self::named(names, count) }
    }

    fn named(names: &[StrId], len: usize) -> Self {
        let mut functions = vec![0; len];
        let mut count = 0;
        for &name in names {
            let index = &mut functions[name as usize];
            if *index == 0 && name != 0 {
                count += 1;
                *index = count;
            }
        }
        Candidates { functions, count: count as usize, ..Candidates::default() }
    }

    /// Those of an image that is to be linked.
    pub fn expected<'s>(expected: &Expected<'s>, strings: &Strings<'s>, rules: &Rules) -> Self {
        strings.reserve(expected.functions.len());
        let of = |&name: &&'s [u8]| {
            let base = if rules.cut_suffixes { cut(name)? } else { name };
            Some(strings.intern(base))
        };
        let named: Vec<StrId> =
            expected.functions.par_iter().with_min_len(4096).filter_map(of).collect();
        let percpu = if rules.vars { expected.percpu.clone() } else { 0..0 };
        Candidates { percpu, too_many: true, ..Self::named(&named, strings.len()) }
    }

    /// The names of the functions.
    pub fn names(&self) -> Vec<StrId> {
        let named = (0..).zip(&self.functions).filter(|&(_, &index)| index != 0);
        named.map(|(name, _)| name).collect()
    }

    /// How many functions there are. If there are none, all that are external are candidates.
    pub fn functions(&self) -> usize {
        self.count
    }

    /// The index of the function of that name.
    #[inline]
    pub fn function(&self, name: StrId) -> Option<u32> {
        match self.functions.get(name as usize) {
            Some(&index) if index != 0 => Some(index - 1),
            _ => None,
        }
    }

    /// Whether a variable at that address is one.
    pub fn is_percpu(&self, address: u64) -> bool {
        self.percpu.contains(&address)
    }
}

/// The image, as far as it decides on what is written.
pub(crate) struct Linked<'a, 'i> {
    pub elf: &'a Elf<'i>,
    pub symbols: Symbols<'i>,
    pub addresses: FinalAddresses<'a>,
}

/// The final addresses of provisional ones.
pub(crate) struct FinalAddresses<'a> {
    of: Option<&'a Address<'a>>,
    lost: AtomicBool,
}

impl<'a> FinalAddresses<'a> {
    /// All addresses are final.
    pub fn are_known() -> Self {
        FinalAddresses { of: None, lost: AtomicBool::new(false) }
    }

    pub fn new(of: &'a Address<'a>) -> Self {
        FinalAddresses { of: Some(of), lost: AtomicBool::new(false) }
    }

    /// What becomes of an address; 0 is none.
    pub fn get(&self, provisional: u64) -> u64 {
        let Some(of) = self.of.filter(|_| provisional != 0) else { return provisional };
        of(provisional).unwrap_or_else(|| self.lose())
    }

    /// Notes that an address cannot be told; it is 0 then.
    pub fn lose(&self) -> u64 {
        self.lost.store(true, Ordering::Relaxed);
        0
    }

    /// Whether an address was asked for that is not known.
    pub fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}
