//! pahole's command line, as far as kernels use it.
//!
//! Kernels pass pahole a small set of words (6.1: `scripts/pahole-flags.sh`; 6.12 and later:
//! `scripts/Makefile.btf`; with them `link-vmlinux.sh`, `Makefile.modfinal`, `gen-btf.sh`). They are taken
//! here with the meaning that the pahole which is imitated gives them, in the order in which they stand;
//! any other word is refused by name, because passing it over would give other bytes in silence.
//!
//! Source of facts: pahole.c of pahole 1.24 and 1.31 (`pahole__options`, `btf_features`,
//! `parse_btf_features`), what 1.32 prints, argp of glibc.
//!
//! Differences from pahole, none of which a kernel meets: long options cannot be cut short; a number
//! behind a bare `-j` is the number of jobs and not a file; an option that does not concern BTF is refused.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::options::{Language, Options, PaholeVersion};

/// What a command line of pahole asks for.
#[derive(Debug, Clone)]
pub struct Flags {
    /// What to encode. [`Options::base`] is not set: the file's name is in [`Flags::base`].
    pub options: Options<'static>,
    /// Whether BTF is to be encoded at all: `-J`, or a file for it.
    pub encode: bool,
    /// The blob is split further, from a base of what it refers to (feature `distilled_base`).
    pub distilled_base: bool,
    /// The blob goes into this file, and the image is left alone (`--btf_encode_detached`).
    pub detached: Option<PathBuf>,
    /// The file, ELF or a blob, that the types are split on (`--btf_base`).
    pub base: Option<PathBuf>,
    /// Threads (`-j`): 1 where nothing is said, none given is as many as there are processors.
    pub jobs: Option<NonZeroUsize>,
    /// Kernels and modules.
    pub files: Vec<PathBuf>,
    /// Names in `--btf_features` that this pahole does not know, and so passes over.
    pub unknown_features: Vec<String>,
}

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// No option that kernels pass has this name.
    #[error("{word}: no option that kernels pass to pahole")]
    Unknown {
        /// As it stands on the command line, without its value.
        word: String,
    },
    /// The option came with a later pahole than the one that is imitated, which refuses it too.
    #[error("{word}: pahole {version} has no such option, pahole {since} has")]
    TooNew {
        /// The option.
        word: &'static str,
        /// Who is imitated.
        version: PaholeVersion,
        /// The first that has it.
        since: &'static str,
    },
    /// An option without its value, or with one that it does not take.
    #[error("{word}: {cause}")]
    Value {
        /// The option.
        word: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A name in a list that is none.
    #[error("{word}: no {what} {name:?}")]
    Name {
        /// The option that the list belongs to.
        word: &'static str,
        /// "language" or "feature".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A feature that pahole has and that is not imitated. No kernel asks for it.
    #[error("{word}: {name} is a feature that pahole has and vmlinker has not")]
    Missing {
        /// The option that the list belongs to.
        word: &'static str,
        /// The feature.
        name: &'static str,
    },
}

/// What a feature does.
enum Effect {
    /// Nothing to the bytes that are made here.
    Nothing,
    Set(fn(&mut Options<'static>, bool)),
    Distil,
    /// It would change the bytes, and is refused.
    Missing,
}

/// A word of `--btf_features`.
struct Feature {
    name: &'static str,
    /// Among those that `default` and a leading `+` stand for.
    default: bool,
    /// Listed by `--supported_btf_features`.
    listed: bool,
    effect: Effect,
}

const fn by_default(name: &'static str, effect: Effect) -> Feature {
    Feature { name, default: true, listed: true, effect }
}

const fn on_demand(name: &'static str, effect: Effect) -> Feature {
    Feature { name, default: false, listed: true, effect }
}

/// All features of pahole 1.32, in its order. 1.24 has none.
const FEATURES: [Feature; 16] = [
    // What BTF cannot name is always left out.
    by_default("encode_force", Effect::Nothing),
    by_default("var", Effect::Set(|options, on| options.vars = on)),
    by_default("float", Effect::Set(|options, on| options.floats = on)),
    by_default("decl_tag", Effect::Set(|options, on| options.decl_tags = on)),
    by_default("type_tag", Effect::Set(|options, on| options.type_tags = on)),
    by_default("enum64", Effect::Set(|options, on| options.enum64 = on)),
    // pahole 1.32 reads the name and has no use for it.
    by_default("optimized_func", Effect::Nothing),
    by_default("consistent_func", Effect::Set(|options, on| options.consistent_functions = on)),
    by_default("decl_tag_kfuncs", Effect::Set(|options, on| options.kfunc_tags = on)),
    // Output never depends on threads.
    on_demand("reproducible_build", Effect::Nothing),
    on_demand("distilled_base", Effect::Distil),
    on_demand("global_var", Effect::Missing),
    on_demand("attributes", Effect::Set(|options, on| options.attributes = on)),
    on_demand("true_signature", Effect::Missing),
    on_demand("force_cu_merging", Effect::Missing),
    // Known, and without effect with a libbpf that has no layouts, as 1.7; 7.3 asks for it.
    Feature { name: "layout", default: false, listed: false, effect: Effect::Nothing },
];

/// What `pahole --supported_btf_features` prints, without commas; `None` if it has no such option.
pub fn supported_features(version: PaholeVersion) -> Option<Vec<&'static str>> {
    let listed = FEATURES.iter().filter(|feature| feature.listed).map(|feature| feature.name);
    (version == PaholeVersion::V1_32).then(|| listed.collect())
}

impl Flags {
    /// Reads the words of a command line, without the program's name.
    ///
    /// # Errors
    /// A word that kernels do not pass, or that the imitated pahole refuses.
    pub fn parse<W: Into<OsString>>(
        words: impl IntoIterator<Item = W>,
        version: PaholeVersion,
    ) -> Result<Flags, FlagError> {
        let mut reading = Reading { flags: Flags::new(version), version, features: false };
        let mut parser = Parser::from_args(words);
        while let Some(arg) = parser.next().map_err(|error| value_error("pahole", error))? {
            reading.word(arg.into(), &mut parser)?;
        }
        Ok(reading.flags)
    }

    /// What pahole does if it is told nothing.
    fn new(pahole: PaholeVersion) -> Flags {
        let options = Options {
            pahole,
            floats: false,
            consistent_functions: false,
            kfunc_tags: false,
            lang_exclude: Vec::new(),
            ..Options::default()
        };
        Flags {
            options,
            encode: false,
            distilled_base: false,
            detached: None,
            base: None,
            jobs: NonZeroUsize::new(1),
            files: Vec::new(),
            unknown_features: Vec::new(),
        }
    }

    fn set(&mut self, word: &'static str, feature: &Feature, on: bool) -> Result<(), FlagError> {
        match feature.effect {
            Effect::Nothing => {}
            Effect::Set(set) => set(&mut self.options, on),
            Effect::Distil => self.distilled_base = on,
            Effect::Missing if on => {
                return Err(FlagError::Missing { word, name: feature.name });
            }
            Effect::Missing => {}
        }
        Ok(())
    }
}

/// An argument that does not borrow the parser.
enum Word {
    Short(char),
    Long(String),
    File(OsString),
}

impl From<Arg<'_>> for Word {
    fn from(arg: Arg<'_>) -> Self {
        match arg {
            Arg::Short(letter) => Word::Short(letter),
            Arg::Long(name) => Word::Long(name.to_owned()),
            Arg::Value(file) => Word::File(file),
        }
    }
}

struct Reading {
    flags: Flags,
    version: PaholeVersion,
    /// Whether a list of features was met.
    features: bool,
}

impl Reading {
    fn word(&mut self, word: Word, parser: &mut Parser) -> Result<(), FlagError> {
        let flags = &mut self.flags;
        let options = &mut flags.options;
        let name = match word {
            Word::File(file) => {
                flags.files.push(file.into());
                return Ok(());
            }
            Word::Short('J') => "btf_encode".to_owned(),
            Word::Short('j') => "jobs".to_owned(),
            Word::Short(letter) => return Err(FlagError::Unknown { word: format!("-{letter}") }),
            Word::Long(name) => name,
        };
        match name.as_str() {
            "btf_encode" => flags.encode = true,
            "jobs" => flags.jobs = jobs(parser)?,
            "btf_encode_detached" => {
                flags.detached = Some(value("--btf_encode_detached", parser)?.into());
                flags.encode = true;
            }
            "btf_base" => flags.base = Some(value("--btf_base", parser)?.into()),
            "btf_gen_floats" => options.floats = true,
            "skip_encoding_btf_vars" => options.vars = false,
            "skip_encoding_btf_decl_tag" => options.decl_tags = false,
            "skip_encoding_btf_type_tag" => options.type_tags = false,
            "skip_encoding_btf_enum64" => options.enum64 = false,
            "lang_exclude" => options.lang_exclude = languages(parser)?,
            // See the features of these names.
            "btf_encode_force" => {}
            "btf_gen_optimized" => self.since("--btf_gen_optimized", "1.25")?,
            "skip_encoding_btf_inconsistent_proto" => {
                options.consistent_functions = true;
                self.since("--skip_encoding_btf_inconsistent_proto", "1.25")?;
            }
            "reproducible_build" => self.since("--reproducible_build", "1.27")?,
            "btf_features" => {
                self.since("--btf_features", "1.26")?;
                self.features("--btf_features", false, parser)?;
            }
            "btf_features_strict" => {
                self.since("--btf_features_strict", "1.26")?;
                self.features("--btf_features_strict", true, parser)?;
            }
            _ => return Err(FlagError::Unknown { word: format!("--{name}") }),
        }
        Ok(())
    }

    /// Refuses an option that came after 1.24 where 1.24 is imitated.
    fn since(&self, word: &'static str, since: &'static str) -> Result<(), FlagError> {
        match self.version {
            PaholeVersion::V1_24 => Err(FlagError::TooNew { word, version: self.version, since }),
            PaholeVersion::V1_32 => Ok(()),
        }
    }

    /// A list of features. The first one turns all off, whatever other options have turned on before it;
    /// from then on features are only added.
    fn features(
        &mut self,
        word: &'static str,
        strict: bool,
        parser: &mut Parser,
    ) -> Result<(), FlagError> {
        let list = text(word, parser)?;
        if !std::mem::replace(&mut self.features, true) {
            for feature in &FEATURES {
                self.flags.set(word, feature, false)?;
            }
        }
        // PARITY: a `+` before the list adds the defaults; before a later name it makes that name unknown.
        // tests/tests/pahole_flags.rs
        let (defaults, list) = match list.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, list.as_str()),
        };
        if defaults {
            self.defaults(word)?;
        }
        for name in list.split(',').filter(|name| !name.is_empty()) {
            match FEATURES.iter().find(|feature| feature.name == name) {
                Some(feature) => self.flags.set(word, feature, true)?,
                None if name == "default" => self.defaults(word)?,
                // Takes in features that are not imitated.
                None if name == "all" => return Err(FlagError::Missing { word, name: "all" }),
                None if strict => {
                    return Err(FlagError::Name { word, what: "feature", name: name.to_owned() });
                }
                None => self.flags.unknown_features.push(name.to_owned()),
            }
        }
        Ok(())
    }

    fn defaults(&mut self, word: &'static str) -> Result<(), FlagError> {
        let mut defaults = FEATURES.iter().filter(|feature| feature.default);
        defaults.try_for_each(|feature| self.flags.set(word, feature, true))
    }
}

/// The value of `-j`: `-jN`, `-j N`, `--jobs=N`, or none.
fn jobs(parser: &mut Parser) -> Result<Option<NonZeroUsize>, FlagError> {
    let number = |word: &OsStr| word.to_str()?.parse::<usize>().ok();
    let count = match parser.optional_value() {
        Some(word) => number(&word).ok_or_else(|| FlagError::Value {
            word: "-j".into(),
            cause: format!("{word:?} is no number of jobs"),
        })?,
        None => {
            let next = parser.try_raw_args().and_then(|args| number(args.peek()?));
            let Some(count) = next else { return Ok(None) };
            let _ = parser.next();
            count
        }
    };
    // None at all is one, as in pahole.
    Ok(NonZeroUsize::new(count.max(1)))
}

fn languages(parser: &mut Parser) -> Result<Vec<Language>, FlagError> {
    let word = "--lang_exclude";
    let list = text(word, parser)?;
    let language = |name: &str| {
        let unknown = || FlagError::Name { word, what: "language", name: name.to_owned() };
        Language::by_name(&name.to_ascii_lowercase()).ok_or_else(unknown)
    };
    list.split(',').map(language).collect()
}

fn value(word: &str, parser: &mut Parser) -> Result<OsString, FlagError> {
    parser.value().map_err(|error| value_error(word, error))
}

fn text(word: &str, parser: &mut Parser) -> Result<String, FlagError> {
    value(word, parser)?.string().map_err(|error| value_error(word, error))
}

fn value_error(word: &str, error: lexopt::Error) -> FlagError {
    let (word, cause) = match error {
        lexopt::Error::MissingValue { .. } => (word.to_owned(), "its value is missing".to_owned()),
        lexopt::Error::UnexpectedValue { option, value } => {
            (option, format!("it takes no value, and has {value:?}"))
        }
        lexopt::Error::NonUnicodeValue(value) => {
            (word.to_owned(), format!("{value:?} is no UTF-8"))
        }
        other => (word.to_owned(), other.to_string()),
    };
    FlagError::Value { word, cause }
}

#[cfg(test)]
mod tests;
