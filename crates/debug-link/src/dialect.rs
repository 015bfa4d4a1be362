//! The linker and its flags: whether its rules are those that are followed here.

use crate::error::Error;
use crate::linker::Linker;

/// The rules of a link, as far as they touch debug info.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The linker.
    ///
    /// In the first line of its `--version`: `GNU ld (...) 2.40`, `LLD 19.1.7 (...)`.
    pub linker: Linker,
    /// The build ID that the linker puts into the image.
    ///
    /// In the linker's flags: `--build-id`, `--build-id=sha1`.
    pub build_id: BuildId,
    /// Whether relocations stay in the image.
    ///
    /// In the linker's flags: `--emit-relocs`, `-q`.
    pub keeps_relocations: bool,
    /// Whether all local symbols stay.
    ///
    /// In the linker's flags: `--discard-none`, and no other flag of that kind behind it.
    pub discards_none: bool,
}

/// Kinds of build IDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildId {
    /// None: there is no `--build-id`, or it is `none`.
    None,
    /// One of 20 bytes (`sha1`, GNU ld's default), see [`crate::build_id::compute`].
    Sha1,
}

impl BuildId {
    /// What a flag of the linker asks for; `None` if it is another flag, or asks for a kind that is not followed here.
    pub fn of_flag(flag: &str, linker: Linker) -> Option<Self> {
        let word = flag.strip_prefix("-Wl,").unwrap_or(flag);
        match word.strip_prefix("--").or_else(|| word.strip_prefix('-'))? {
            "build-id" if linker == Linker::Gnu => Some(BuildId::Sha1),
            "build-id=sha1" => Some(BuildId::Sha1),
            "build-id=none" => Some(BuildId::None),
            _ => None,
        }
    }
}

/// A flag of the linker without its dashes, and without what hands it through a compiler; nothing if it is none.
fn flag_name(flag: &str) -> &str {
    let word = flag.strip_prefix("-Wl,").unwrap_or(flag);
    word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or_default()
}

impl Dialect {
    /// Whether a flag of the linker says that relocations stay in the image.
    pub fn is_emit_relocs(flag: &str) -> bool {
        ["emit-relocs", "q"].contains(&flag_name(flag))
    }

    /// The rules of the linker that says `version` (the first line of `--version`) with these flags.
    ///
    /// # Errors
    /// A linker or a flag whose rules are not followed here. Only GNU ld 2.40 and ld.lld 19 have been compared: GNU ld
    /// 2.41 merges strings by other code.
    pub fn detect<'w>(
        version: &str,
        flags: impl IntoIterator<Item = &'w str>,
    ) -> Result<Self, Error> {
        let linker =
            linker(version).ok_or_else(|| Error::unsupported(format!("the linker {version}")))?;
        let (mut build_id, mut drops, mut compresses) = (BuildId::None, None, None);
        let (mut keeps, mut discards_none) = (None, false);
        for flag in flags {
            if let Some(kind) = BuildId::of_flag(flag, linker) {
                build_id = kind;
                continue;
            }
            if Dialect::is_emit_relocs(flag) {
                keeps = Some(flag);
                continue;
            }
            match flag_name(flag) {
                "gc-sections" => drops = Some(flag),
                "no-gc-sections" => drops = None,
                "compress-debug-sections" => compresses = Some(flag),
                "compress-debug-sections=none" => compresses = None,
                name if name.starts_with("compress-debug-sections=") => compresses = Some(flag),
                "discard-none" => discards_none = true,
                "discard-all" | "discard-locals" | "x" | "X" => discards_none = false,
                name if refused(linker, name) || changes_rules(linker, flag) => {
                    return Err(Error::unsupported(format!("the linker's flag {flag}")));
                }
                _ => {}
            }
        }
        // Otherwise which local symbols stay depends on the relocations of debug info.
        let depends = keeps.filter(|_| linker == Linker::Lld && !discards_none);
        let keeps_relocations = keeps.is_some();
        match drops.or(compresses).or(depends) {
            Some(flag) => Err(Error::unsupported(format!("the linker's flag {flag}"))),
            None => Ok(Dialect { linker, build_id, keeps_relocations, discards_none }),
        }
    }
}

/// The linker that says `version`, if its rules are known.
fn linker(version: &str) -> Option<Linker> {
    let is = |number: &str, known: &str| {
        number.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let last = version.rsplit(' ').next().unwrap_or_default();
    if version.starts_with("GNU ld") {
        return is(last, "2.40").then_some(Linker::Gnu);
    }
    // What stands before the name is the vendor's.
    let (_, number) = version.split_once("LLD ")?;
    is(number.split(' ').next()?, "19").then_some(Linker::Lld)
}

/// Whether a word has ld.lld merge or relocate by other rules: a level of optimization, other tombstones.
fn changes_rules(linker: Linker, flag: &str) -> bool {
    let word = flag.strip_prefix("-Wl,").unwrap_or(flag);
    let level = word.starts_with("-O") && word != "-O1";
    // The word behind `-z`, or one with it.
    let tombstones = word.trim_start_matches("-z").starts_with("dead-reloc-in-nonalloc=");
    linker == Linker::Lld && (level || tombstones)
}

/// Flags that change which debug info there is, the order of sections, or what a name stands for.
fn refused(linker: Linker, name: &str) -> bool {
    let beginnings = ["build-id=", "sort-section", "plugin", "gdb-index", "wrap"];
    let whole = ["s", "S", "strip-all", "strip-debug", "r", "relocatable", "unique"];
    let of_lld = [
        "build-id",
        "call-graph-ordering-file",
        "compress-sections",
        "debug-names",
        "icf=",
        "noinhibit-exec",
        "shuffle-sections",
        "symbol-ordering-file",
    ];
    let begins = |beginnings: &[&str]| beginnings.iter().any(|start| name.starts_with(start));
    let of_lld = linker == Linker::Lld && name != "icf=none" && begins(&of_lld);
    whole.contains(&name) || begins(&beginnings) || of_lld
}

#[cfg(test)]
mod tests {
    use super::*;

    const GNU: &str = "GNU ld (GNU Binutils for Debian) 2.40";

    const LLD: &str = "Debian LLD 19.1.7 (compatible with GNU linkers)";

    fn with(version: &str, flags: &str) -> Result<Dialect, String> {
        Dialect::detect(version, flags.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_of_a_kernel_are_followed() {
        let x86 = "-m elf_x86_64 -z noexecstack --emit-relocs --discard-none --build-id=sha1 \
                   --orphan-handling=warn";
        for (version, linker) in [(GNU, Linker::Gnu), (LLD, Linker::Lld)] {
            let (build_id, kept) = (BuildId::Sha1, true);
            let expected =
                Dialect { linker, build_id, keeps_relocations: kept, discards_none: true };
            assert_eq!(with(version, x86), Ok(expected));
            let short = x86.replace("--emit-relocs", "-q").replace("--discard", "-X --discard");
            assert_eq!(with(version, &short), Ok(expected));
            let (build_id, kept) = (BuildId::None, false);
            let expected =
                Dialect { linker, build_id, keeps_relocations: kept, discards_none: false };
            assert_eq!(with(version, "--gc-sections --no-gc-sections"), Ok(expected));
            assert_eq!(with(version, "--discard-none -X"), Ok(expected));
        }
    }

    #[test]
    fn the_last_flag_that_asks_for_a_build_id_counts() {
        let of = |flags| with(GNU, flags).unwrap().build_id;
        assert_eq!(of("--build-id=sha1 --build-id=none"), BuildId::None);
        assert_eq!(of("-build-id=none -Wl,--build-id"), BuildId::Sha1);
    }

    #[test]
    fn what_changes_debug_info_is_refused() {
        let refused = |version, flag| {
            let said = format!("not supported: the linker's flag {flag}");
            assert_eq!(with(version, flag), Err(said));
        };
        for flag in [
            "--gc-sections",
            "-Wl,--compress-debug-sections=zlib",
            "--compress-debug-sections",
            "--build-id=0x1234",
            "--build-id=md5",
            "--build-id=uuid",
            "--build-id=tree",
            "-S",
            "--sort-section=name",
            "--wrap=malloc",
        ] {
            refused(GNU, flag);
            refused(LLD, flag);
        }
        // GNU ld does nothing of it, or does the same.
        let tombstone = "dead-reloc-in-nonalloc=.debug_info=1";
        for flag in ["-O2", "-O0", "--icf=all", "--build-id", "--emit-relocs", tombstone] {
            refused(LLD, flag);
            assert!(with(GNU, flag).is_ok());
        }
        assert!(with(LLD, "-O1 --icf=none").is_ok());
        for version in ["GNU ld (GNU Binutils) 2.41", "LLD 18.1.0", "mold 2.30", "LLD 190.0"] {
            assert_eq!(with(version, ""), Err(format!("not supported: the linker {version}")));
        }
    }
}
