//! The programs by compiler and options.

use peer_tests::programs::{Link, Program, UNITS};

use super::{KERNELS, assert_same};
use dwarf_btf::PaholeVersion;

type Row = (&'static str, &'static [&'static str]);

fn units(further: &[&'static str]) -> Vec<&'static str> {
    UNITS.iter().copied().chain(further.iter().copied()).collect()
}

fn check(
    compiler: &'static str,
    flags: &'static [&'static str],
    further: &[&'static str],
    link: Link,
) {
    let dir = tempfile::tempdir().unwrap();
    let program = Program { compiler, flags, units: units(further), link };
    let what = format!("{compiler} {} {further:?} {link:?}", flags.join(" "));
    assert_same(&what, &program.build(dir.path()), &KERNELS);
}

const COMPILERS: [&str; 3] = ["gcc", "clang-14", "clang-19"];

/// What x86 kernels have had until 6.15: the per-CPU section is at 0.
const AT_0: Link = Link::Image(0);
const AT_ITS_PLACE: Link = Link::Image(0x50_0000);

#[test]
fn versions_of_dwarf_and_levels_of_optimisation() {
    const FLAGS: [&[&str]; 4] = [
        &["-O2", "-gdwarf-5"],
        &["-O2", "-gdwarf-4"],
        &["-O0", "-gdwarf-5"],
        &["-O1", "-gdwarf-3", "-gstrict-dwarf"],
    ];
    for compiler in COMPILERS {
        for flags in FLAGS {
            check(compiler, flags, &[], AT_0);
        }
    }
}

#[test]
fn relocatable_files() {
    for compiler in COMPILERS {
        check(compiler, &["-O2", "-gdwarf-5"], &[], Link::Relocatable("ld"));
        check(compiler, &["-O2", "-gdwarf-4"], &[], Link::Relocatable("ld"));
    }
}

#[test]
fn forms_of_debug_sections() {
    const ROWS: [Row; 9] = [
        ("gcc", &["-O2", "-g", "-gz=zlib"]),
        ("clang-19", &["-O2", "-g", "-gz=zlib"]),
        ("gcc", &["-O2", "-gdwarf-2"]),
        ("clang-19", &["-O2", "-gdwarf-2"]),
        ("gcc", &["-O2", "-gdwarf-5", "-gdwarf64"]),
        ("clang-19", &["-O2", "-gdwarf-5", "-gdwarf64"]),
        ("gcc", &["-O2", "-g3", "-fshort-enums", "-ffunction-sections", "-fdata-sections"]),
        ("clang-19", &["-O3", "-g", "-funsigned-char"]),
        // In C nothing becomes a type unit of clang's.
        ("clang-19", &["-O2", "-gdwarf-4", "-fdebug-types-section"]),
    ];
    for (compiler, flags) in ROWS {
        check(compiler, flags, &["asm.S"], AT_ITS_PLACE);
    }
}

#[test]
fn sections_compressed_with_zstd_as_if_they_were_not() {
    // pahole 1.24's elfutils cannot read them, so there it is the plain file that is compared with.
    let dir = tempfile::tempdir().unwrap();
    let flags = &["-O2", "-g", "-gz=zstd"];
    let program = Program { compiler: "clang-19", flags, units: units(&[]), link: AT_0 };
    assert_same("zstd", &program.build(dir.path()), &KERNELS[1..]);
}

#[test]
fn link_time_optimisation_and_units_that_refer_into_one_another() {
    const ROWS: [Row; 4] = [
        ("gcc", &["-O2", "-gdwarf-5", "-flto", "-fno-fat-lto-objects"]),
        ("gcc", &["-O2", "-gdwarf-4", "-flto", "-flto-partition=none"]),
        ("clang-19", &["-O2", "-gdwarf-5", "-flto"]),
        ("clang-19", &["-O2", "-gdwarf-4", "-flto=thin"]),
    ];
    for (compiler, flags) in ROWS {
        check(compiler, flags, &[], AT_0);
    }
}

#[test]
fn tags_of_types_and_declarations() {
    const ROWS: [Row; 4] = [
        ("clang-14", &["-O2", "-gdwarf-5"]),
        ("clang-14", &["-O0", "-gdwarf-4"]),
        ("clang-19", &["-O2", "-gdwarf-4"]),
        ("clang-19", &["-O0", "-gdwarf-5"]),
    ];
    for (compiler, flags) in ROWS {
        check(compiler, flags, &["tags.c", "tags2.c"], AT_0);
    }
}

#[test]
fn kfuncs_and_other_features() {
    const LINES: [(PaholeVersion, &str); 4] = [
        (PaholeVersion::V1_32, "--btf_features=default,attributes"),
        (PaholeVersion::V1_32, "--btf_features=default,-decl_tag,attributes"),
        (PaholeVersion::V1_32, "--btf_features=var,type_tag"),
        (PaholeVersion::V1_32, "--btf_features=optimized_func,decl_tag_kfuncs,enum64"),
    ];
    for compiler in ["gcc", "clang-19"] {
        let dir = tempfile::tempdir().unwrap();
        let flags = &["-O2", "-g"];
        let program = Program { compiler, flags, units: units(&["kfuncs.c"]), link: AT_0 };
        let image = program.build(dir.path());
        assert_same(compiler, &image, &KERNELS);
        assert_same(compiler, &image, &LINES);
    }
}

#[test]
fn units_in_other_languages() {
    const LINES: [(PaholeVersion, &str); 6] = [
        (PaholeVersion::V1_24, "--btf_gen_floats"),
        (PaholeVersion::V1_24, "--btf_gen_floats --lang_exclude=rust,c++14"),
        (PaholeVersion::V1_24, "--lang_exclude=c11"),
        (PaholeVersion::V1_32, "--btf_features=default"),
        (PaholeVersion::V1_32, "--btf_features=default --lang_exclude=rust,c++14,asm"),
        (PaholeVersion::V1_32, "--btf_features=default --lang_exclude=c11"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let flags = &["-O2", "-g"];
    let units = units(&["cxx.cc", "asm.S", "rust.rs"]);
    let link = Link::Relocatable("ld");
    let program = Program { compiler: "gcc", flags, units, link };
    let image = program.build(dir.path());
    assert_same("all languages", &image, &KERNELS);
    assert_same("all languages", &image, &LINES);
}

#[test]
fn machines_of_32_bits_and_of_the_other_byte_order() {
    const ROWS: [(&str, &str, &[&str]); 6] = [
        ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-ld", &["-O2", "-gdwarf-5"]),
        ("arm-linux-gnueabihf-gcc", "arm-linux-gnueabihf-ld", &["-O2", "-gdwarf-5"]),
        ("powerpc64-linux-gnu-gcc", "powerpc64-linux-gnu-ld", &["-O2", "-gdwarf-4"]),
        (
            "powerpc64-linux-gnu-gcc",
            "powerpc64-linux-gnu-ld",
            &["-O2", "-gdwarf-3", "-mbig-endian"],
        ),
        ("riscv64-linux-gnu-gcc", "riscv64-linux-gnu-ld", &["-O2", "-gdwarf-5"]),
        ("s390x-linux-gnu-gcc", "s390x-linux-gnu-ld", &["-O2", "-gdwarf-5"]),
    ];
    for (compiler, linker, flags) in ROWS {
        check(compiler, flags, &[], Link::Relocatable(linker));
        check(compiler, flags, &["raise.c"], AT_ITS_PLACE);
    }
    // Both classes from one compiler: no registers for parameters are known for i386.
    check("clang-19", &["-O2", "-g", "-m32"], &[], Link::Relocatable("ld"));
}
