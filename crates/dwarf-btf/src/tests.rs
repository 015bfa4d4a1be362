//! Each rule of pahole on debug information made by hand, and each message on debug information that is broken.

mod bad;
mod die;
mod functions;
mod types;
mod variables;

use btf::Btf;
use image::Elf;

use crate::{Encoded, Error, Options, PaholeVersion, Reason};
use die::File;

/// As kernels ask for it, of this pahole.
fn options(pahole: PaholeVersion) -> Options<'static> {
    Options { pahole, explain: true, ..Options::default() }
}

fn try_encode(file: &File, options: &Options<'_>) -> Result<Encoded, Error> {
    let bytes = file.write();
    let encoded = crate::encode(&Elf::parse(&bytes)?, options)?;
    let exact = Options { exact_dedup: true, ..options.clone() };
    let again = crate::encode(&Elf::parse(&bytes)?, &exact)?;
    assert_eq!(encoded.btf, again.btf, "both ways of deduplicating");
    Ok(encoded)
}

/// The types, a line each with its members, as bpftool shows them.
fn encode(file: &File, options: &Options<'_>) -> Vec<String> {
    let encoded = try_encode(file, options).unwrap();
    let types = Btf::parse(&encoded.btf).unwrap();
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
