//! Each rule of pahole on debug information made by hand, and each message on debug information that is broken.

mod addresses;
mod bad;
mod base;
pub(crate) mod die;
mod functions;
mod phases;
mod types;
mod variables;

use std::borrow::Cow;
use std::ops::Range;

use btf::Btf;
use image::Elf;

use crate::{DebugSource, Encoded, Error, Options, PaholeVersion, Reason, Unreadable};
use die::File;

/// As kernels ask for it, of this pahole.
fn options(pahole: PaholeVersion) -> Options<'static> {
    Options { pahole, explain: true, ..Options::default() }
}

fn try_encode(file: &File, options: &Options<'_>) -> Result<Encoded, Error> {
    let bytes = file.write();
    let elf = Elf::parse(&bytes)?;
    let encoded = crate::encode(&elf, options);
    let exact = Options { exact_dedup: true, ..options.clone() };
    let source = Elsewhere(&elf);
    let flags = elf.section(".debug_info").map_or(0, |(_, section)| section.flags);
    let plain = flags & image::consts::SHF_COMPRESSED.0 == 0;
    let ways = [(options, "by parts"), (&exact, "by parts, as libbpf deduplicates")];
    for (options, how) in ways.into_iter().filter(|_| plain) {
        let blob = |encoded: Encoded| encoded.btf;
        let elsewhere = crate::encode_from(&elf, &source, options).map(blob);
        assert_eq!(elsewhere, encoded.clone().map(blob), "{how}");
    }
    if plain {
        // The image's own addresses, and no function more than it has: what is left is the order of the work.
        let quiet = Options { explain: false, ..options.clone() };
        let split = phases::split(&elf, (&elf, |address| Some(address)), &quiet);
        if let Some(split) = split {
            assert_eq!(Ok(split.btf), encoded.clone().map(|encoded| encoded.btf), "in two phases");
        }
    }
    let encoded = encoded?;
    let again = crate::encode(&elf, &exact)?;
    assert_eq!(encoded.btf, again.btf, "both ways of deduplicating");
    Ok(encoded)
}

/// The debug sections of a file, given by parts.
pub(crate) struct Elsewhere<'e, 'd>(pub &'e Elf<'d>);

impl DebugSource for Elsewhere<'_, '_> {
    fn info_len(&self) -> usize {
        self.section(".debug_info").unwrap().len()
    }

    fn info(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), Unreadable> {
        out.copy_from_slice(&self.section(".debug_info")?[range]);
        Ok(())
    }

    fn section(&self, name: &str) -> Result<Cow<'_, [u8]>, Unreadable> {
        let bytes = self.0.section(name).map_or(Ok(&[][..]), |(_, section)| self.0.bytes(section));
        Ok(Cow::Borrowed(bytes.unwrap()))
    }
}

/// A source whose units are known by these numbers.
pub(crate) struct Keyed<'e, 'd>(pub Elsewhere<'e, 'd>, pub &'e [u64]);

impl DebugSource for Keyed<'_, '_> {
    fn info_len(&self) -> usize {
        self.0.info_len()
    }

    fn info(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), Unreadable> {
        self.0.info(range, out)
    }

    fn section(&self, name: &str) -> Result<Cow<'_, [u8]>, Unreadable> {
        self.0.section(name)
    }

    fn unit_key(&self, range: Range<usize>, _: bool) -> Option<u128> {
        let info = self.0.section(".debug_info").unwrap();
        let (mut at, mut index) = (0, 0);
        while at < range.start {
            at += 4 + u32::from_le_bytes(*info[at..].first_chunk().unwrap()) as usize;
            index += 1;
        }
        assert_eq!(at, range.start);
        Some(u128::from(self.1[index]))
    }
}

/// Bytes that cannot be had are an error, wherever they are.
#[test]
fn what_the_source_cannot_give() {
    struct Broken<'e, 'd>(Elsewhere<'e, 'd>, &'static str);
    impl DebugSource for Broken<'_, '_> {
        fn info_len(&self) -> usize {
            self.0.info_len()
        }

        fn info(&self, range: Range<usize>, out: &mut [u8]) -> Result<(), Unreadable> {
            if self.1 == ".debug_info" { Err(Unreadable) } else { self.0.info(range, out) }
        }

        fn section(&self, name: &str) -> Result<Cow<'_, [u8]>, Unreadable> {
            if self.1 == name { Err(Unreadable) } else { self.0.section(name) }
        }
    }
    let bytes = File::new(vec![die::int()]).write();
    let elf = Elf::parse(&bytes).unwrap();
    for name in [".debug_info", ".debug_abbrev", ".debug_str", ".debug_loclists"] {
        let source = Broken(Elsewhere(&elf), name);
        let error = crate::encode_from(&elf, &source, &options(PaholeVersion::V1_32)).unwrap_err();
        assert_eq!(error.to_string(), format!("{name}+0x0: the bytes cannot be had"));
    }
}

/// The types, a line each with its members, as bpftool shows them.
fn encode(file: &File, options: &Options<'_>) -> Vec<String> {
    lines(&try_encode(file, options).unwrap().btf)
}

fn lines(btf: &[u8]) -> Vec<String> {
    let types = Btf::parse(btf).unwrap();
    let mut out = Vec::new();
    for (id, ty) in types.types() {
        let mut line = Vec::new();
        btf::raw_type(&types, id, &ty, &mut line).unwrap();
        out.push(String::from_utf8(line).unwrap().trim_end().replace("\n\t", " | "));
    }
    out
}

/// The lines of both paholes, where they do not differ.
fn both(file: &File) -> Vec<String> {
    let new = encode(file, &options(PaholeVersion::V1_32));
    assert_eq!(encode(file, &options(PaholeVersion::V1_24)), new);
    new
}

/// Which functions are left out, and why.
fn left_out(file: &File) -> Vec<(String, &'static str)> {
    let report = try_encode(file, &options(PaholeVersion::V1_32)).unwrap().report;
    let reason = |reason| match reason {
        Reason::Ambiguous(_) => "ambiguous",
        Reason::OptimizedAway { .. } => "optimised away",
        Reason::Reordered(_) => "reordered",
        Reason::Uncertain(_) => "uncertain",
        Reason::Inconsistent(..) => "inconsistent",
        Reason::Register { .. } => "register",
    };
    let left_out = report.functions.into_iter().filter_map(|f| Some((f.name, reason(f.reason?))));
    left_out.collect()
}
