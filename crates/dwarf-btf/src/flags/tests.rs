use super::*;

fn parse(line: &str, version: PaholeVersion) -> Result<Flags, FlagError> {
    Flags::parse(line.split_whitespace(), version)
}

fn new(line: &str) -> Flags {
    parse(line, PaholeVersion::V1_32).unwrap()
}

fn refused(line: &str, version: PaholeVersion) -> String {
    parse(line, version).unwrap_err().to_string()
}

/// vars, floats, decl_tags, type_tags, enum64, consistent_functions, kfunc_tags, attributes
fn switches(flags: &Flags) -> [bool; 8] {
    let o = &flags.options;
    [
        o.vars,
        o.floats,
        o.decl_tags,
        o.type_tags,
        o.enum64,
        o.consistent_functions,
        o.kfunc_tags,
        o.attributes,
    ]
}

const DEFAULTS: [bool; 8] = [true, true, true, true, true, true, true, false];

#[test]
fn what_6_1_passes() {
    let line = "-J --btf_gen_floats -j --lang_exclude=rust .tmp_vmlinux.btf";
    let flags = parse(line, PaholeVersion::V1_24).unwrap();
    assert_eq!(switches(&flags), [true, true, true, true, true, false, false, false]);
    assert_eq!(flags.options.pahole, PaholeVersion::V1_24);
    assert_eq!(flags.options.lang_exclude, [Language(0x1c)]);
    assert!(flags.encode && flags.jobs.is_none());
    assert_eq!(flags.files, [PathBuf::from(".tmp_vmlinux.btf")]);

    let newer = new("-J --btf_gen_floats -j --lang_exclude=rust \
                     --skip_encoding_btf_inconsistent_proto --btf_gen_optimized --btf_base vmlinux m.ko");
    assert!(newer.options.consistent_functions && !newer.options.kfunc_tags);
    assert_eq!(newer.base, Some(PathBuf::from("vmlinux")));
    assert!(!new("-J --skip_encoding_btf_vars --btf_gen_floats x").options.vars);
}

#[test]
fn what_6_12_passes() {
    let line = "-J -j --btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,\
                consistent_func,decl_tag_kfuncs -j --lang_exclude=rust";
    let flags = new(&format!("{line} --btf_features=distilled_base --btf_base vmlinux m.ko"));
    assert_eq!(switches(&flags), DEFAULTS);
    assert!(flags.distilled_base && flags.unknown_features.is_empty());
    assert_eq!(flags.options.lang_exclude, [Language(0x1c)]);
    assert!(!new(&format!("{line} m.ko")).distilled_base);
}

#[test]
fn what_7_3_passes() {
    let line = "-J -j4 --btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,\
                consistent_func --btf_features=layout";
    let flags = new(&format!(
        "{line} -j4 --lang_exclude=rust --btf_encode_detached=vmlinux.unstripped.BTF.1 vmlinux"
    ));
    let mut expected = DEFAULTS;
    expected[6] = false;
    assert_eq!(switches(&flags), expected);
    assert_eq!(flags.jobs, NonZeroUsize::new(4));
    assert_eq!(flags.detached, Some(PathBuf::from("vmlinux.unstripped.BTF.1")));
    // With a time stamp set: the defaults come with the plus, tags of kfuncs among them.
    let stamped = new(&format!("{line} -j4 --btf_features=+reproducible_build vmlinux"));
    assert_eq!(switches(&stamped), DEFAULTS);
}

#[test]
fn lists_of_features_add_up_and_the_first_turns_off_what_was_on() {
    let none = [false; 8];
    assert_eq!(switches(&new("--btf_features= x")), none);
    assert_eq!(switches(&new("--btf_gen_floats --btf_features=nosuch x")), none);
    assert_eq!(switches(&new("--btf_features=default x")), DEFAULTS);
    assert!(switches(&new("--btf_features=attributes,default x"))[7]);
    let both = new("--btf_features=float --btf_features_strict=var --skip_encoding_btf_vars x");
    assert_eq!(switches(&both), [false, true, false, false, false, false, false, false]);
    let passed_over = new("--btf_features=var,+float,nosuch x");
    assert_eq!(passed_over.unknown_features, ["+float", "nosuch"]);
    assert!(!passed_over.options.floats);
}

#[test]
fn jobs() {
    let jobs = |line: &str| (new(line).jobs.map(NonZeroUsize::get), new(line).files);
    let file = || vec![PathBuf::from("x")];
    assert_eq!(jobs("x"), (Some(1), file()));
    assert_eq!(jobs("-j x"), (None, file()));
    assert_eq!(jobs("x -j"), (None, file()));
    assert_eq!(jobs("-j3 x"), (Some(3), file()));
    assert_eq!(jobs("-j 3 x"), (Some(3), file()));
    assert_eq!(jobs("--jobs=3 x"), (Some(3), file()));
    assert_eq!(jobs("--jobs x"), (None, file()));
    assert_eq!(jobs("-j0 x"), (Some(1), file()));
    assert_eq!(jobs("-j -J x"), (None, file()));
    assert_eq!(jobs("-j -- 3").1, [PathBuf::from("3")]);
    assert_eq!(refused("-jx", PaholeVersion::V1_32), "-j: \"x\" is no number of jobs");
}

#[test]
fn any_other_word_is_refused_by_name() {
    let newest = |line| refused(line, PaholeVersion::V1_32);
    assert_eq!(newest("-J --sort x"), "--sort: no option that kernels pass to pahole");
    assert_eq!(newest("-J -V x"), "-V: no option that kernels pass to pahole");
    assert_eq!(newest("--btf_base"), "--btf_base: its value is missing");
    assert_eq!(newest("--btf_gen_floats=1"), "--btf_gen_floats: it takes no value, and has \"1\"");
    assert_eq!(newest("--lang_exclude=rusty"), "--lang_exclude: no language \"rusty\"");
    assert_eq!(newest("--lang_exclude=c99,"), "--lang_exclude: no language \"\"");
    let strict = "--btf_features_strict: no feature \"nosuch\"";
    assert_eq!(newest("--btf_features_strict=var,nosuch"), strict);
    assert_eq!(new("--lang_exclude=Rust,asm x").options.lang_exclude.len(), 2);
}

#[test]
fn what_came_after_1_24_is_refused_as_1_24_does() {
    for (word, since) in [
        ("--btf_features=var", "1.26"),
        ("--btf_features_strict=var", "1.26"),
        ("--btf_gen_optimized", "1.25"),
        ("--skip_encoding_btf_inconsistent_proto", "1.25"),
        ("--reproducible_build", "1.27"),
    ] {
        let name = word.split('=').next().unwrap();
        let expected = format!("{name}: pahole 1.24 has no such option, pahole {since} has");
        assert_eq!(refused(&format!("-J {word} x"), PaholeVersion::V1_24), expected);
        new(&format!("-J {word} x"));
    }
    assert_eq!(supported_features(PaholeVersion::V1_24), None);
}

#[test]
fn features_that_are_not_imitated_are_refused_and_not_passed_over() {
    let missing = FEATURES.iter().filter(|feature| matches!(feature.effect, Effect::Missing));
    for name in missing.map(|feature| feature.name).chain(["all"]) {
        for word in ["--btf_features", "--btf_features_strict"] {
            let error = refused(&format!("{word}=var,{name}"), PaholeVersion::V1_32);
            let expected =
                format!("{word}: {name} is a feature that pahole has and vmlinker has not");
            assert_eq!(error, expected);
        }
    }
}
