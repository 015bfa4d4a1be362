//! The linker and its flags: whether its rules are those that are followed here.

use crate::error::Error;

/// The rules of a link, as far as they touch debug info.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The build ID that the linker puts into the image.
    ///
    /// In the linker's flags: `--build-id`, `--build-id=sha1`.
    pub build_id: BuildId,
}

/// Kinds of build IDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildId {
    /// None: there is no `--build-id`, or it is `none`.
    None,
    /// The linker's default, see [`crate::build_id::gnu_sha1`].
    Sha1,
}

impl Dialect {
    /// The rules of the linker that says `version` (the first line of `--version`) with these flags.
    ///
    /// # Errors A linker or a flag whose rules are not followed here. Only GNU ld 2.40 has been
    /// compared: 2.41 merges strings by other code.
    pub fn detect<'w>(
        version: &str,
        flags: impl IntoIterator<Item = &'w str>,
    ) -> Result<Self, Error> {
        let number = version.rsplit(' ').next().unwrap_or_default();
        let followed = number == "2.40" || number.starts_with("2.40.");
        if !version.starts_with("GNU ld") || !followed {
            return Err(Error::unsupported(format!("the linker {version}")));
        }
        let (mut build_id, mut drops, mut compresses) = (BuildId::None, None, None);
        for flag in flags {
            let word = flag.strip_prefix("-Wl,").unwrap_or(flag);
            let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            match name.unwrap_or_default() {
                "gc-sections" => drops = Some(flag),
                "no-gc-sections" => drops = None,
                "compress-debug-sections=none" => compresses = None,
                name if name.starts_with("compress-debug-sections=") => compresses = Some(flag),
                "build-id" | "build-id=sha1" => build_id = BuildId::Sha1,
                "build-id=none" => build_id = BuildId::None,
                name if refused(name) => {
                    return Err(Error::unsupported(format!("the linker's flag {flag}")));
                }
                _ => {}
            }
        }
        match drops.or(compresses) {
            Some(flag) => Err(Error::unsupported(format!("the linker's flag {flag}"))),
            None => Ok(Dialect { build_id }),
        }
    }
}

/// Flags that change which debug info there is, or the order of sections.
fn refused(name: &str) -> bool {
    let beginnings = ["build-id=", "sort-section", "plugin", "gdb-index"];
    let whole = ["s", "S", "strip-all", "strip-debug", "r", "relocatable", "unique"];
    whole.contains(&name) || beginnings.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GNU: &str = "GNU ld (GNU Binutils for Debian) 2.40";

    fn with(flags: &str) -> Result<Dialect, String> {
        Dialect::detect(GNU, flags.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_of_a_kernel_are_followed() {
        let x86 = "-m elf_x86_64 -z noexecstack --emit-relocs --discard-none --build-id=sha1 \
                   --orphan-handling=warn";
        assert_eq!(with(x86), Ok(Dialect { build_id: BuildId::Sha1 }));
        assert_eq!(with("--gc-sections --no-gc-sections"), Ok(Dialect { build_id: BuildId::None }));
    }

    #[test]
    fn what_changes_debug_info_is_refused() {
        for flag in [
            "--gc-sections",
            "-Wl,--compress-debug-sections=zlib",
            "--build-id=0x1234",
            "-S",
            "--sort-section=name",
        ] {
            assert_eq!(with(flag), Err(format!("not supported: the linker's flag {flag}")));
        }
        assert!(Dialect::detect("GNU ld (GNU Binutils) 2.41", []).is_err());
        assert!(Dialect::detect("Debian LLD 19.1.7", []).is_err());
    }
}
