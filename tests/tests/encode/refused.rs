//! What pahole does not encode either, or only by accident: refused by name.

use peer_tests::programs::{Link, Program};

use super::{KERNELS, encode, options, pahole};

/// Compiles a unit beside `types.c`. For each kernel: whether pahole wrote a blob, and what vmlinker said.
fn outcomes(
    compiler: &'static str,
    flags: &'static [&'static str],
    unit: &'static str,
) -> Vec<(bool, String)> {
    let dir = tempfile::tempdir().unwrap();
    let units = vec!["types.c", unit];
    let link = Link::Relocatable("ld");
    let image = Program { compiler, flags, units, link }.build(dir.path());
    let data = std::fs::read(&image).unwrap();
    let outcome = |&(version, line): &(_, &str)| {
        let (_, theirs) = pahole(version, line, &image);
        let ours = encode(&data, &options(version, line));
        let wrote = theirs.is_some_and(|blob| !blob.is_empty());
        (wrote, ours.map(|_| String::new()).unwrap_or_else(|e| e))
    };
    KERNELS.iter().map(outcome).collect()
}

#[test]
fn what_btf_has_no_kind_for() {
    // pahole stops with "Unsupported DW_TAG_..." or "Complex, interval and imaginary float types ...".
    for (unit, cause) in [
        ("cxx_ref.cc", "BTF has no kind for references (DW_TAG_reference_type)"),
        ("complex.c", "BTF has no kind for complex numbers (DW_ATE_complex_float)"),
    ] {
        for (wrote, message) in outcomes("gcc", &["-O2", "-g"], unit) {
            assert!(!wrote, "{unit}: pahole encodes it");
            assert!(message.ends_with(cause), "{unit}: {message}");
            assert!(message.starts_with(".debug_info+0x"), "{unit}: {message}");
            assert!(message.contains(": unit 0x"), "{unit}: {message}");
        }
    }
}

#[test]
fn atomic_types_which_pahole_1_24_makes_members_of_a_wrong_type() {
    let outcomes = outcomes("clang-19", &["-O2", "-g"], "atomic.c");
    // 1.24 does not know the tag: a member of such a type gets the last type of the unit before.
    assert_eq!(outcomes.iter().map(|o| o.0).collect::<Vec<_>>(), [true, false, false]);
    for (_, message) in outcomes {
        assert!(message.ends_with("BTF has no kind for _Atomic (DW_TAG_atomic_type)"), "{message}");
    }
}

#[test]
fn type_units_on_which_pahole_fails() {
    // pahole crashes or says "btf__dedup failed" on most programs; in a relocatable file it sees the units of
    // one group only, and what refers to the others is of no type or of a wrong one.
    for flags in [&["-gdwarf-4", "-fdebug-types-section"], &["-gdwarf-5", "-fdebug-types-section"]]
    {
        for (_, message) in outcomes("gcc", flags, "other.c") {
            let cause = "type units (-fdebug-types-section) are not supported";
            assert!(message.ends_with(cause), "{flags:?}: {message}");
        }
    }
}

#[test]
fn split_debug_information_whose_types_are_elsewhere() {
    // pahole writes nothing and succeeds: the build fails later, without a reason.
    for compiler in ["gcc", "clang-19"] {
        for flags in [&["-gdwarf-4", "-gsplit-dwarf"], &["-gdwarf-5", "-gsplit-dwarf"]] {
            for (wrote, message) in outcomes(compiler, flags, "other.c") {
                assert!(!wrote, "{flags:?}: pahole encodes it");
                let cause = "split DWARF is not supported: its types are in .dwo files";
                assert!(message.ends_with(cause), "{compiler} {flags:?}: {message}");
            }
        }
    }
}
