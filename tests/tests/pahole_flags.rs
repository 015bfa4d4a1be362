//! The meaning of pahole's command line: each line makes the same bytes of a module, or is refused by both.

use std::path::{Path, PathBuf};
use std::process::Command;

use dwarf_btf::{Base, Flags, Options, PaholeVersion};
use image::Elf;
use peer_tests::{cache, kernel};

fn pahole(version: PaholeVersion) -> Command {
    Command::new(match version {
        PaholeVersion::V1_24 => PathBuf::from("pahole"),
        PaholeVersion::V1_32 => cache().join("peers/bin/pahole-1.32"),
    })
}

/// What pahole makes of a module, nothing if it finds nothing to encode, `None` if it refuses the line.
fn theirs(version: PaholeVersion, line: &str, module: &Path) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("btf");
    let mut command = pahole(version);
    command.arg("-J").args(line.split_whitespace());
    command.arg(format!("--btf_encode_detached={}", out.display())).arg(module);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    output.status.success().then(|| std::fs::read(&out).unwrap_or_default())
}

fn ours(version: PaholeVersion, line: &str, module: &Path) -> Option<Vec<u8>> {
    let flags = Flags::parse(line.split_whitespace(), version).ok()?;
    let data = std::fs::read(module).unwrap();
    let base = flags.base.map(|path| std::fs::read(path).unwrap());
    let elf = base.as_deref().map(|base| Elf::parse(base).unwrap());
    let base = elf.as_ref().map(|elf| elf.bytes(elf.section(".BTF").unwrap().1).unwrap());
    let base = base.map(|base| Base::parse(base).unwrap());
    let options = Options { base: base.as_ref(), ..flags.options };
    Some(dwarf_btf::encode(&Elf::parse(&data).unwrap(), &options).unwrap().btf)
}

const OLD: [&str; 8] = [
    "",
    "--btf_gen_floats --lang_exclude=rust",
    "--skip_encoding_btf_vars",
    "--skip_encoding_btf_enum64 --skip_encoding_btf_decl_tag --skip_encoding_btf_type_tag",
    "--lang_exclude=C11",
    // Refused.
    "--btf_features=float",
    "--skip_encoding_btf_inconsistent_proto --btf_gen_optimized",
    "--lang_exclude=rust,",
];

const NEW: [&str; 16] = [
    "",
    "-j2 --btf_gen_floats --lang_exclude=rust",
    "--btf_gen_floats --skip_encoding_btf_inconsistent_proto --btf_gen_optimized",
    "--btf_features=",
    "--btf_features=default",
    "--btf_features=default,attributes",
    "--btf_gen_floats --btf_features=var",
    "--btf_features=var --btf_gen_floats",
    "--btf_features=var,+float",
    "--btf_features=encode_force,var,float,enum64 --btf_features=+reproducible_build",
    "--btf_features=layout,nosuch --btf_features_strict=float",
    "--btf_features_strict=layout,type_tag",
    // Refused.
    "--btf_features_strict=nosuch",
    "--lang_exclude=rusty",
    "--lang_exclude=",
    "--btf_gen_floats=1",
];

#[test]
fn a_command_line_means_what_it_means_to_pahole() {
    let tree = kernel("6.12-tiny");
    let module = tree.join("drivers/net/dummy.ko");
    let base = format!("--btf_base {}", tree.join("vmlinux").display());
    for (version, lines) in [(PaholeVersion::V1_24, &OLD[..]), (PaholeVersion::V1_32, &NEW[..])] {
        for line in lines {
            for line in [line.to_string(), format!("{line} {base}")] {
                let (theirs, ours) =
                    (theirs(version, &line, &module), ours(version, &line, &module));
                assert_eq!(ours.is_some(), theirs.is_some(), "pahole {version} {line}: refused?");
                assert!(ours == theirs, "pahole {version} {line}: other bytes");
            }
        }
    }
}

#[test]
fn the_version_and_the_features_are_printed_as_pahole_prints_them() {
    let vmlinker = peer_tests::link::vmlinker();
    for version in [PaholeVersion::V1_24, PaholeVersion::V1_32] {
        for word in ["--version", "--numeric_version", "--supported_btf_features"] {
            let peer = pahole(version).arg(word).output().unwrap();
            let mut command = Command::new(vmlinker);
            let option = format!("--pahole-version={version}");
            let own = command.args(["pahole", &option, word]).output().unwrap();
            assert_eq!(own.status.success(), peer.status.success(), "{version} {word}");
            assert_eq!(own.stdout, peer.stdout, "{version} {word}");
        }
    }
}
