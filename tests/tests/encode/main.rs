//! BTF of small programs beside both paholes, to the byte: what no kernel at hand has.
//!
//! The programs are in `tests/programs`; tables below say with which compiler and options each is made.
//! Where pahole crashes or gives up, the reason is named, and it is tested that vmlinker refuses by name.

mod random;
mod refused;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dwarf_btf::{Flags, Options, PaholeVersion};
use image::Elf;
use peer_tests::cache;

/// What 6.1, 6.12 and 7.3 pass to the pahole of their time.
const KERNELS: [(PaholeVersion, &str); 3] = [
    (PaholeVersion::V1_24, "--btf_gen_floats --lang_exclude=rust"),
    (
        PaholeVersion::V1_32,
        "-j2 --btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,\
         consistent_func,decl_tag_kfuncs --lang_exclude=rust",
    ),
    (
        PaholeVersion::V1_32,
        "-j2 --btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,\
         consistent_func --lang_exclude=rust",
    ),
];

/// pahole's answer and the blob, if it wrote one.
fn pahole(version: PaholeVersion, line: &str, image: &Path) -> (Output, Option<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("btf");
    let mut command = Command::new(match version {
        PaholeVersion::V1_24 => PathBuf::from("pahole"),
        PaholeVersion::V1_32 => cache().join("peers/bin/pahole-1.32"),
    });
    command.arg("-J").args(line.split_whitespace());
    command.arg(format!("--btf_encode_detached={}", out.display())).arg(image);
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    (output, std::fs::read(&out).ok())
}

fn options(version: PaholeVersion, line: &str) -> Options<'static> {
    Flags::parse(line.split_whitespace(), version).unwrap().options
}

fn encode(data: &[u8], options: &Options<'_>) -> Result<Vec<u8>, String> {
    let elf = Elf::parse(data).map_err(|e| e.to_string())?;
    dwarf_btf::encode(&elf, options).map(|encoded| encoded.btf).map_err(|e| e.to_string())
}

/// Fails unless every way of encoding gives the bytes of pahole for each of `lines`.
fn assert_same(what: &str, image: &Path, lines: &[(PaholeVersion, &str)]) {
    let data = std::fs::read(image).unwrap();
    for &(version, line) in lines {
        let (output, theirs) = pahole(version, line, image);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let theirs = theirs.unwrap_or_else(|| panic!("{what}: pahole {version} {line}: {stderr}"));
        let options = options(version, line);
        let ways = [
            ("", options.clone()),
            ("type by type, ", Options { exact_dedup: true, ..options.clone() }),
            ("with hashes of 6 bits, ", Options { hash_bits: 6, ..options }),
        ];
        for (way, options) in ways {
            let ours = encode(&data, &options).unwrap_or_else(|e| panic!("{what}: {way}{e}"));
            let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
            assert!(
                ours == theirs,
                "{what}: {way}pahole {version} {line}: {} bytes, theirs {}, first difference at {at:?}",
                ours.len(),
                theirs.len()
            );
        }
    }
}
