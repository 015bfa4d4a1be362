//! What the image's own symbols say of functions, per-CPU variables and kfuncs.
//!
//! A function is written only if the image has a function symbol of its name. pahole 1.24 compares whole
//! names; since 1.25 what follows the first `.` is cut off (`.isra.0`), and symbols of parts of functions
//! (`.cold`, `.part`) are passed over.
//!
//! Source of facts: btf_encoder.c of pahole 1.24 (`btf_encoder__collect_symbols`) and 1.31
//! (`elf_functions__collect`, `btf_encoder__collect_kfuncs`); include/linux/btf_ids.h of Linux 6.12.

use image::{Elf, Place, Symbol, consts};
use rayon::prelude::*;

use crate::cu::Var;
use crate::strings::{StrId, Strings};
use crate::{Error, Rules};

/// A function by its symbols.
#[derive(Debug, Clone)]
pub(crate) struct ElfFunction<'s> {
    pub name: StrId,
    pub text: &'s [u8],
    /// Its symbols in [`Symbols::entries`].
    entries: (u32, u32),
    /// Its symbols are at more than one address.
    pub ambiguous: bool,
    /// Flags of a kfunc (`KF_*`).
    pub kfunc: Option<u32>,
}

/// A per-CPU variable by its symbol: address and size in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PercpuSymbol<'s> {
    pub address: u64,
    pub size: u32,
    pub name: &'s [u8],
}

/// What is written of a per-CPU variable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PercpuVar {
    pub name: StrId,
    /// Offset into the section in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

/// What the image says of what its units have.
#[derive(Debug, Default)]
pub(crate) struct Symbols<'s> {
    /// By name.
    pub functions: Vec<ElfFunction<'s>>,
    /// Address and full name of each symbol of a function, by function.
    entries: Vec<(u64, &'s [u8])>,
    /// Index into `functions` and 1, by the number of the name.
    pub by_name: Vec<u32>,
    /// By address.
    percpu: Vec<PercpuSymbol<'s>>,
    pub percpu_section: Option<Section>,
}

/// A symbol of a function.
struct Found<'s> {
    /// The function's name.
    base: &'s [u8],
    /// Address and full name.
    entry: (u64, &'s [u8]),
}

/// Symbols as they stand in the image. Units can be read when the functions' names are known; the rest of what is
/// to be known can be made meanwhile.
pub(crate) struct Unsorted<'s> {
    found: Vec<Found<'s>>,
    /// What is in the sections of per-CPU variables and of kfuncs.
    others: Vec<Symbol<'s>>,
}

/// What a part of the image's symbols is to [`Unsorted`].
type Part<'s> = (Vec<Found<'s>>, Vec<Symbol<'s>>);

impl<'s> Unsorted<'s> {
    pub fn of(elf: &Elf<'s>, rules: &Rules) -> Result<Self, Error> {
        const PART: usize = 1 << 13;
        let of_interest = [PERCPU, KFUNCS].map(|name| Some(elf.section(name)?.0));
        let part = |part: usize| {
            let symbols = elf.symbols_in(part * PART..(part + 1) * PART)?;
            let base = |name| if rules.cut_suffixes { cut(name) } else { Some(name) };
            let functions = symbols.iter().filter(|symbol| symbol.kind == consts::STT_FUNC.0);
            let found = functions
                .filter_map(|symbol| {
                    Some(Found { base: base(symbol.name)?, entry: (symbol.value, symbol.name) })
                })
                .collect();
            let others = symbols.into_iter().filter(|symbol| match symbol.place {
                Place::Section(index) => of_interest.contains(&Some(index)),
                _ => false,
            });
            Ok((found, others.collect()))
        };
        // A table that ends behind the file is an error at once, and does not say how many there are.
        elf.symbols_in(0..0)?;
        let parts = elf.symbol_entries().div_ceil(PART);
        // Of several errors the first is told.
        let parts: Vec<Result<Part<'s>, Error>> = (0..parts).into_par_iter().map(part).collect();
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for part in parts {
            let part = part?;
            found.extend(part.0);
            others.extend(part.1);
        }
        Ok(Unsorted { others, found })
    }

    /// The names of the functions, as `intern` numbers them among `strings`, one for each symbol.
    pub fn names(
        &self,
        strings: &Strings<'_>,
        intern: &(impl Fn(&'s [u8]) -> StrId + Sync),
    ) -> Vec<StrId> {
        strings.reserve(self.found.len());
        let found = self.found.par_iter().with_min_len(4096);
        found.map(|found| intern(found.base)).collect()
    }

    /// What the image says, with indexes into [`Unsorted::names`] for the functions' names.
    pub fn sorted(&self, elf: &Elf<'s>, rules: &Rules) -> Result<Symbols<'s>, Error> {
        let mut symbols =
            Symbols { percpu_section: percpu_section(elf, rules), ..Symbols::default() };
        symbols.percpu(elf, &self.others, rules);
        symbols.functions(&self.found);
        if rules.kfunc_tags {
            symbols.kfuncs(elf, &self.others)?;
        }
        Ok(symbols)
    }
}

/// The section of the per-CPU variables, if they are asked for.
pub(crate) fn percpu_section(elf: &Elf<'_>, rules: &Rules) -> Option<Section> {
    let (index, section) = elf.section(PERCPU).filter(|_| rules.vars)?;
    let addresses = crate::relocate::addresses(elf);
    Some(Section { index, address: addresses[index as usize], size: section.size })
}

/// A section that has variables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    pub index: u32,
    pub address: u64,
    pub size: u64,
}

const PERCPU: &str = ".data..percpu";
const KFUNCS: &str = ".BTF_ids";

impl<'s> Symbols<'s> {
    /// Of an image, with names as `intern` numbers them among `strings`.
    pub fn load(
        elf: &Elf<'s>,
        (strings, intern): (&Strings<'_>, impl Fn(&'s [u8]) -> StrId + Sync),
        rules: &Rules,
    ) -> Result<Self, Error> {
        let unsorted = Unsorted::of(elf, rules)?;
        let (symbols, names) =
            rayon::join(|| unsorted.sorted(elf, rules), || unsorted.names(strings, &intern));
        let mut symbols = symbols?;
        symbols.number(&names, strings.len());
        Ok(symbols)
    }

    /// Tells the numbers of the functions' names, of which there are fewer than `count`.
    pub fn number(&mut self, names: &[StrId], count: usize) {
        self.by_name = vec![0; count];
        for (index, function) in (1..).zip(&mut self.functions) {
            function.name = names[function.name as usize];
            self.by_name[function.name as usize] = index;
        }
    }

    /// Address and full name of each of a function's symbols.
    pub fn entries(&self, function: &ElfFunction<'_>) -> &[(u64, &'s [u8])] {
        &self.entries[function.entries.0 as usize..function.entries.1 as usize]
    }

    /// The function of that name.
    #[inline]
    pub fn function(&self, name: StrId) -> Option<u32> {
        match self.by_name.get(name as usize) {
            Some(&index) if index != 0 => Some(index - 1),
            _ => None,
        }
    }

    fn percpu(&mut self, elf: &Elf<'_>, all: &[Symbol<'s>], rules: &Rules) {
        let Some(section) = self.percpu_section else { return };
        let relative = elf.header().file_type == consts::ET_REL.0;
        for symbol in all {
            if symbol.place != Place::Section(section.index)
                || symbol.kind != consts::STT_OBJECT.0
                || rules.percpu_by_symbol && (symbol.size == 0 || !name_is_valid(symbol.name))
            {
                continue;
            }
            let address =
                if relative { symbol.value } else { symbol.value.wrapping_sub(section.address) };
            let (size, name) = (symbol.size as u32, symbol.name);
            self.percpu.push(PercpuSymbol { address, size, name });
        }
        self.percpu.sort_by_key(|symbol| symbol.address);
    }

    /// The per-CPU symbol at an offset into its section.
    fn percpu_at(&self, address: u64) -> Option<&PercpuSymbol<'s>> {
        // PARITY: of several symbols at an address the one that bsearch() meets is taken.
        let (mut low, mut high) = (0, self.percpu.len());
        while low < high {
            let middle = (low + high) / 2;
            match address.cmp(&self.percpu[middle].address) {
                std::cmp::Ordering::Equal => return self.percpu.get(middle),
                std::cmp::Ordering::Less => high = middle,
                std::cmp::Ordering::Greater => low = middle + 1,
            }
        }
        None
    }

    /// What is written of a variable that lies at `address`, if it is a per-CPU variable.
    pub fn percpu_var(
        &self,
        var: &Var,
        address: u64,
        strings: &Strings<'_>,
        rules: &Rules,
    ) -> Option<PercpuVar> {
        let section = self.percpu_section?;
        let offset = address.checked_sub(section.address).filter(|&at| at < section.size)?;
        let (name, size) = if rules.percpu_by_symbol {
            let symbol = self.percpu_at(offset)?;
            // Many entries that are no per-CPU variables have address 0; there the names decide.
            if address == 0 && strings.get(var.own_name) != symbol.name {
                return None;
            }
            (strings.intern_copy(symbol.name), symbol.size)
        } else {
            if offset == 0 && !self.percpu_named(strings.get(var.name)) {
                return None;
            }
            (var.name, var.size)
        };
        Some(PercpuVar { name, offset: u32::try_from(offset).ok()?, size })
    }

    /// Whether a per-CPU symbol is named so.
    fn percpu_named(&self, name: &[u8]) -> bool {
        self.percpu.iter().any(|symbol| symbol.name == name)
    }

    fn functions(&mut self, found: &[Found<'s>]) {
        let prefixes = found.par_iter().with_min_len(4096).enumerate();
        let mut order: Vec<(u128, u32)> =
            prefixes.map(|(index, found)| (prefix(found.base), index as u32)).collect();
        let of = |&(_, index): &(u128, u32)| &found[index as usize];
        // Symbols of one name stay in their order.
        order.par_sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| of(a).base.cmp(of(b).base)).then(a.1.cmp(&b.1))
        });
        self.entries = order.par_iter().with_min_len(4096).map(|at| of(at).entry).collect();
        let mut start = 0;
        for group in order.chunk_by(|a, b| a.0 == b.0 && of(a).base == of(b).base) {
            let end = start + group.len() as u32;
            self.functions.push(ElfFunction {
                name: group[0].1,
                text: of(&group[0]).base,
                entries: (start, end),
                ambiguous: ambiguous(&self.entries[start as usize..end as usize]),
                kfunc: None,
            });
            start = end;
        }
        // PARITY: the last function by name is never looked at (elf_functions__collect).
        if let Some(last) = self.functions.last_mut() {
            last.ambiguous = false;
        }
    }

    fn kfuncs(&mut self, elf: &Elf<'s>, all: &[Symbol<'s>]) -> Result<(), Error> {
        let Some((index, section)) = elf.section(KFUNCS) else { return Ok(()) };
        let bytes = elf.bytes(section)?;
        let word = |address: u64| {
            let at = usize::try_from(address.checked_sub(section.addr)?).ok()?;
            let bytes = bytes.get(at..)?.first_chunk::<4>()?;
            Some(match elf.endian() {
                image::Endianness::Little => u32::from_le_bytes(*bytes),
                image::Endianness::Big => u32::from_be_bytes(*bytes),
            })
        };
        let ours = all.iter().filter(|symbol| symbol.place == Place::Section(index));
        const HAS_KFUNCS: u32 = 1;
        let sets: Vec<_> = ours
            .clone()
            .filter(|symbol| symbol.name.starts_with(b"__BTF_ID__set8__"))
            .filter(|symbol| word(symbol.value + 4).is_some_and(|flags| flags & HAS_KFUNCS != 0))
            .map(|symbol| symbol.value..symbol.value.saturating_add(symbol.size))
            .collect();
        for symbol in ours {
            let Some(name) = kfunc_name(symbol.name) else { continue };
            if !sets.iter().any(|set| set.contains(&symbol.value)) {
                continue;
            }
            let cause = "a kfunc outside the section";
            let flags =
                word(symbol.value + 4).ok_or(Error::new(".BTF_ids", symbol.value, cause))?;
            if let Ok(at) = self.functions.binary_search_by_key(&name, |function| function.text) {
                self.functions[at].kfunc = Some(flags);
            }
        }
        Ok(())
    }
}

/// `vfs_close` of `__BTF_ID__func__vfs_close__1`.
fn kfunc_name(symbol: &[u8]) -> Option<&[u8]> {
    let rest = symbol.strip_prefix(b"__BTF_ID__func__")?;
    rest.windows(2).position(|pair| pair == b"__")?;
    let end = rest.iter().rposition(|&b| b == b'_')?;
    let end = end.checked_sub(1).filter(|&at| rest[at] == b'_')?;
    Some(&rest[..end])
}

/// The first bytes of a name as a number that is ordered as they are.
fn prefix(name: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let len = name.len().min(16);
    bytes[..len].copy_from_slice(&name[..len]);
    u128::from_be_bytes(bytes)
}

/// The name before its first `.`; `None` for a part of a function.
pub(crate) fn cut(name: &[u8]) -> Option<&[u8]> {
    let Some(dot) = memchr::memchr(b'.', name) else { return Some(name) };
    let suffix = &name[dot..];
    (!contains(suffix, b".cold") && !contains(suffix, b".part")).then(|| &name[..dot])
}

/// Whether the compiler changed the function's parameters, by the symbol's name.
pub(crate) fn is_optimized(name: &[u8]) -> bool {
    let dot = memchr::memchr(b'.', name);
    dot.is_some_and(|dot| contains(&name[dot..], b".constprop") || contains(&name[dot..], b".isra"))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn ambiguous(symbols: &[(u64, &[u8])]) -> bool {
    let mut address = 0;
    for &(next, _) in symbols {
        if address != 0 && address != next {
            return true;
        }
        address = next;
    }
    false
}

/// Whether BTF may name something so.
pub(crate) fn name_is_valid(name: &[u8]) -> bool {
    // PARITY: pahole's limit, which is shorter than the kernel's KSYM_NAME_LEN.
    const LIMIT: usize = 128;
    let ok = |b: u8| b == b'_' || b == b'.' || b.is_ascii_alphanumeric();
    match name.split_first() {
        Some((first, rest)) => {
            ok(*first)
                && !first.is_ascii_digit()
                && rest.iter().all(|&b| ok(b))
                && name.len() <= LIMIT
        }
        None => false,
    }
}
