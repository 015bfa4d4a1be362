//! The call that Kbuild makes: arguments, environment, working directory.
//!
//! Everything that a link depends on besides files comes from here, so a recorded call can be run
//! again without make. The variables are those that `scripts/link-vmlinux.sh` and the scripts under it
//! read (Linux 6.1 to 7.3).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Variables that Kbuild always sets, whatever the configuration.
const REQUIRED: &[&str] =
    &["CC", "CONFIG_SHELL", "KBUILD_LDS", "MAKE", "NM", "OBJCOPY", "SRCARCH", "objtree", "srctree"];

/// Variables that may be unset or empty.
const OPTIONAL: &[&str] = &[
    "ARCH",
    "CFLAGS_vmlinux",
    "CLANG_FLAGS",
    "CROSS_COMPILE",
    "KALLSYMS_EXTRA_PASS",
    "KBUILD_AFLAGS",
    "KBUILD_AFLAGS_KERNEL",
    "KBUILD_BUILD_TIMESTAMP",
    "KBUILD_CFLAGS",
    "KBUILD_CPPFLAGS",
    "KBUILD_VERBOSE",
    "KBUILD_VMLINUX_LIBS",
    "LC_ALL",
    "LC_COLLATE",
    "LC_NUMERIC",
    "LINUXINCLUDE",
    "NOSTDINC_FLAGS",
    "PAHOLE",
    "PAHOLE_FLAGS",
    "RESOLVE_BTFIDS",
    "RESOLVE_BTFIDS_FLAGS",
    "VMLINKER_FLAGS",
    "WARN_ON_UNUSED_TRACEPOINTS",
];

/// The call of `link-vmlinux.sh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The script's name as Kbuild calls it (`$0`), for the dependency file.
    pub script: String,
    /// The linker, argument 1. May be several words.
    pub ld: String,
    /// `KBUILD_LDFLAGS`, argument 2.
    pub ldflags: String,
    /// `LDFLAGS_vmlinux`, argument 3.
    pub ldflags_vmlinux: String,
    /// Name of the kernel to make, argument 4 from 6.17 on.
    pub output: Option<String>,
    /// The object tree: the working directory of the call.
    pub dir: PathBuf,
    /// The variables that were set, of those that the stage reads.
    pub env: BTreeMap<String, String>,
}

impl Call {
    /// The call with `arguments` (linker, two texts of flags, and the output's name where Kbuild gives
    /// it) in `dir`, under the variables that `var` knows.
    ///
    /// # Errors
    /// Too few or too many arguments; a variable that Kbuild always sets is not set.
    pub fn new(
        script: &str,
        arguments: &[String],
        dir: &Path,
        var: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let usage = "usage: vmlinker link LD KBUILD_LDFLAGS LDFLAGS_vmlinux [OUTPUT]";
        let (ld, ldflags, ldflags_vmlinux, output) = match arguments {
            [ld, flags, vmlinux] => (ld, flags, vmlinux, None),
            [ld, flags, vmlinux, output] => (ld, flags, vmlinux, Some(output.clone())),
            _ => {
                let cause = format!("{} arguments where Kbuild passes 3 or 4", arguments.len());
                return Err(Error::new(cause).advise(usage).with_status(2));
            }
        };
        let names = REQUIRED.iter().chain(OPTIONAL);
        let env: BTreeMap<_, _> =
            names.filter_map(|&name| Some((name.to_string(), var(name)?))).collect();
        if let Some(missing) = REQUIRED.iter().find(|&&name| !env.contains_key(name)) {
            let cause = format!("${missing} is not set: Kbuild always sets it");
            let advice = "run it through make, or a recorded link again with 'vmlinker relink'";
            return Err(Error::new(cause).advise(advice));
        }
        Ok(Call {
            script: script.to_string(),
            ld: ld.clone(),
            ldflags: ldflags.clone(),
            ldflags_vmlinux: ldflags_vmlinux.clone(),
            output,
            dir: dir.to_path_buf(),
            env,
        })
    }

    /// The value of a variable; empty when it is not set.
    pub fn var(&self, name: &str) -> &str {
        self.env.get(name).map_or("", String::as_str)
    }

    /// The words of a variable, split as an unquoted expansion in the script is.
    pub fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.var(name).split_whitespace()
    }

    /// The first word of a variable that names a tool, and the arguments that follow it.
    ///
    /// # Errors
    /// The variable is unset or empty.
    pub fn tool(&self, name: &str) -> Result<(&str, Vec<&str>)> {
        let mut words = self.words(name);
        let program = words.next().ok_or_else(|| Error::new(format!("${name} is not set")))?;
        Ok((program, words.collect()))
    }

    /// The source tree, relative to the object tree or absolute, as Kbuild gives it.
    pub fn srctree(&self) -> PathBuf {
        self.dir.join(self.var("srctree"))
    }

    /// Whether commands are to be printed (`make V=1`).
    pub fn verbose(&self) -> bool {
        self.var("KBUILD_VERBOSE").contains('1')
    }

    /// The same call in another working directory, from which all relative paths still lead to the
    /// same files: words that begin with `..` are made absolute. What lies below the object tree is
    /// expected to be found below `dir` too.
    pub fn moved_to(&self, dir: &Path) -> Self {
        let root = &self.dir;
        let moved = |text: &String| -> String {
            let words: Vec<String> =
                text.split(' ').map(|word| absolute_word(word, root)).collect();
            words.join(" ")
        };
        Call {
            ld: moved(&self.ld),
            ldflags: moved(&self.ldflags),
            ldflags_vmlinux: moved(&self.ldflags_vmlinux),
            env: self.env.iter().map(|(name, value)| (name.clone(), moved(value))).collect(),
            dir: dir.to_path_buf(),
            ..self.clone()
        }
    }
}

/// Makes the path in a word such as `../include`, `-I../include` or `--script=../x.lds` absolute.
fn absolute_word(word: &str, root: &Path) -> String {
    let path_start = match word.find("..") {
        Some(0) => 0,
        Some(at) if word.starts_with("-I") && at == 2 => 2,
        Some(at) if word[..at].ends_with('=') => at,
        _ => return word.to_string(),
    };
    let (flag, path) = word.split_at(path_start);
    if path != ".." && !path.starts_with("../") {
        return word.to_string();
    }
    format!("{flag}{}", root.join(path).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Vec<String> {
        ["ld", "-m elf_x86_64", "-z max-page-size=0x200000"].map(str::to_string).to_vec()
    }

    fn set(name: &str) -> Option<String> {
        match name {
            "KBUILD_CFLAGS" => None,
            "srctree" => Some("..".to_string()),
            "LINUXINCLUDE" => Some("-I../arch/x86/include -I./include -include ../k.h".to_string()),
            _ => Some("x y".to_string()),
        }
    }

    #[test]
    fn an_unset_variable_is_named() {
        let unset = |name: &str| set(name).filter(|_| name != "NM");
        let error = Call::new("s", &arguments(), Path::new("/b"), unset).unwrap_err();
        assert_eq!(error.to_string(), "$NM is not set: Kbuild always sets it");
    }

    #[test]
    fn a_wrong_number_of_arguments_is_refused() {
        let error = Call::new("s", &arguments()[..2], Path::new("/b"), set).unwrap_err();
        assert_eq!(error.status, 2);
        assert!(error.to_string().starts_with("2 arguments where Kbuild passes 3 or 4"));
    }

    #[test]
    fn a_moved_call_still_finds_the_sources() {
        let call = Call::new("s", &arguments(), Path::new("/k/build"), set).unwrap();
        let moved = call.moved_to(Path::new("/tmp/shadow"));
        assert_eq!(moved.var("srctree"), "/k/build/..");
        assert_eq!(
            moved.var("LINUXINCLUDE"),
            "-I/k/build/../arch/x86/include -I./include -include /k/build/../k.h"
        );
        assert_eq!(moved.ldflags_vmlinux, call.ldflags_vmlinux);
        assert_eq!(moved.dir, Path::new("/tmp/shadow"));
    }
}
