//! What a kernel tree's own scripts say of its final link.
//!
//! The stage changed in dozens of small ways between Linux 6.1 and 7.3, and stable trees backport
//! such changes, so a version number says little. [`Features::detect`] reads the tree's own
//! `scripts/link-vmlinux.sh` and answers from its text. Nothing else in vmlinker asks how old a
//! kernel is.
//!
//! Source of facts: `scripts/link-vmlinux.sh` of Linux 6.1.192, 6.12.117 and 7.3.4.

use thiserror::Error;

use crate::Config;
use crate::plan::{DebugInfo, Needs, Schedule};

/// What the tree's `scripts/link-vmlinux.sh` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// The tree's own schedule.
    pub schedule: Schedule,
    /// The first link takes an empty kallsyms table.
    pub empty_kallsyms: bool,
    /// The output's name is the script's fourth argument; else it is `vmlinux`.
    pub names_output: bool,
    /// With any of these options the kernel is linked from `vmlinux.o` alone, else from `vmlinux.a`
    /// and `KBUILD_VMLINUX_LIBS`.
    pub single_object: Vec<String>,
    /// Objects linked beside it, in their order, each with the option that it depends on.
    pub objects: Vec<Conditional>,
    /// `arch/$SRCARCH/tools/vmlinux.arch.o` comes last, with `CONFIG_ARCH_WANTS_PRE_LINK_VMLINUX`.
    pub arch_object: bool,
    /// With `CONFIG_VMLINUX_MAP`, which links write a map.
    pub map: MapFile,
    /// Flags for `scripts/kallsyms`, in their order, each with the options any of which asks for it.
    pub kallsyms_flags: Vec<(String, Vec<String>)>,
    /// A changed symbol of the kallsyms object asks for the extra pass, not only a changed size.
    pub settles_by_symbols: bool,
    /// How BTF is made.
    pub btf: BtfRecipe,
    /// `.BTF_ids` is filled only with `CONFIG_BPF`.
    pub btf_ids_need_bpf: bool,
    /// `resolve_btfids --fatal_warnings` with `CONFIG_WERROR`.
    pub btf_ids_fatal_warnings: bool,
    /// How `scripts/mksysmap` is run.
    pub mksysmap: MksysmapForm,
    /// `sorttable -s` takes the functions that `nm -S` lists.
    pub sorttable_functions: bool,
    /// `scripts/tracepoint-update vmlinux.o` runs with `WARN_ON_UNUSED_TRACEPOINTS=1`.
    pub tracepoint_update: bool,
    /// What `clean` removes; a trailing `*` stands for any ending.
    pub clean: Vec<String>,
}

/// An object that is linked in, always or with an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditional {
    /// The object, relative to the object tree.
    pub object: String,
    /// The option without which it is left out.
    pub option: Option<String>,
}

/// Which links write a map with `CONFIG_VMLINUX_MAP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapFile {
    /// Every link, into `OUTPUT.map`.
    EveryLink,
    /// The final link, into `vmlinux.map`.
    FinalLink,
}

/// How BTF is made of a linked kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BtfRecipe {
    /// pahole writes `.BTF` into the temporary kernel; ids are resolved in the final one.
    InPlace,
    /// `scripts/gen-btf.sh` (7.0 and later): BTF and the ids are files beside the temporary kernel.
    Detached,
}

/// How `scripts/mksysmap` is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MksysmapForm {
    /// `nm -n IMAGE | sed -f scripts/mksysmap`.
    Sed,
    /// `sh scripts/mksysmap IMAGE MAP`.
    Shell,
}

/// A script that vmlinker does not understand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FeatureError {
    /// Neither of the known schedules.
    #[error(
        "it links neither .tmp_vmlinux1 nor .tmp_vmlinux.btf: not a script that vmlinker knows"
    )]
    Schedule,
    /// No rule for the objects.
    #[error("it does not say whether to link vmlinux.o or vmlinux.a")]
    Objects,
}

impl Features {
    /// Reads the text of `scripts/link-vmlinux.sh`.
    ///
    /// # Errors
    /// A script whose schedule or whose link line is not one of the known ones.
    pub fn detect(script: &str) -> Result<Self, FeatureError> {
        let has = |text: &str| script.contains(text);
        let schedule = match (has(".tmp_vmlinux.btf"), has("vmlinux_link .tmp_vmlinux1")) {
            (true, _) => Schedule::Separate,
            (_, true) => Schedule::Merged,
            _ => return Err(FeatureError::Schedule),
        };
        let gen_btf = has("scripts/gen-btf.sh");
        let sed = has("sed -f \"${srctree}/scripts/mksysmap\"");
        Ok(Features {
            schedule,
            empty_kallsyms: has(".tmp_vmlinux0.kallsyms") || has("kallsyms0"),
            names_output: has("VMLINUX=\"$4\""),
            single_object: options_before(script, "objs=vmlinux.o").ok_or(FeatureError::Objects)?,
            objects: linked_objects(script),
            arch_object: has("vmlinux.arch.o"),
            map: if has("generate_map=1") { MapFile::FinalLink } else { MapFile::EveryLink },
            kallsyms_flags: kallsyms_flags(script),
            settles_by_symbols: has("kallsymso_changed"),
            btf: if gen_btf { BtfRecipe::Detached } else { BtfRecipe::InPlace },
            btf_ids_need_bpf: has("is_enabled CONFIG_DEBUG_INFO_BTF && is_enabled CONFIG_BPF"),
            btf_ids_fatal_warnings: has("--fatal_warnings"),
            mksysmap: if sed { MksysmapForm::Sed } else { MksysmapForm::Shell },
            sorttable_functions: has("sorttable -s"),
            tracepoint_update: has("scripts/tracepoint-update"),
            clean: cleaned(script),
        })
    }

    /// What the stage has to make of `config`; `output` is the name that Kbuild gave, if it gave one.
    pub fn needs(&self, config: &Config, output: Option<&str>) -> Needs {
        let btf = config.has("DEBUG_INFO_BTF");
        Needs {
            kallsyms: config.has("KALLSYMS"),
            btf,
            btf_ids: btf && (!self.btf_ids_need_bpf || config.has("BPF")),
            sort_tables: config.has("BUILDTIME_TABLE_SORT"),
            empty_kallsyms: self.empty_kallsyms,
            btf_line_names_image: self.btf == BtfRecipe::Detached,
            verify: false,
            debug_info: DebugInfo::Keep,
            hollow: self.links_single_object(config),
            output: output.filter(|_| self.names_output).unwrap_or("vmlinux").to_string(),
        }
    }

    /// The name that Kbuild gives the output, where it gives one.
    pub fn default_output(&self) -> Option<&'static str> {
        self.names_output.then_some("vmlinux.unstripped")
    }

    /// The flags for `scripts/kallsyms` with `config`.
    pub fn kallsyms_flags(&self, config: &Config) -> Vec<&str> {
        let asked = |options: &[String]| options.iter().any(|option| config.has(option));
        let flags = self.kallsyms_flags.iter().filter(|(_, options)| asked(options));
        flags.map(|(flag, _)| flag.as_str()).collect()
    }

    /// Whether the kernel is linked from `vmlinux.o` alone.
    pub fn links_single_object(&self, config: &Config) -> bool {
        self.single_object.iter().any(|option| config.has(option))
    }
}

/// The options named by `is_enabled CONFIG_X` in `line`, without their prefix.
fn options_in(line: &str) -> Vec<String> {
    let words = line.split("is_enabled CONFIG_").skip(1);
    words
        .map(|rest| rest.chars().take_while(|c| *c == '_' || c.is_ascii_alphanumeric()).collect())
        .collect()
}

/// The condition (an `if` that may run over several lines) around the first line with `text`.
fn options_before(script: &str, text: &str) -> Option<Vec<String>> {
    let lines: Vec<&str> = script.lines().collect();
    let at = lines.iter().position(|line| line.contains(text))?;
    let start = lines[..at].iter().rposition(|line| line.trim_start().starts_with("if "))?;
    let closed = lines[start..at].iter().any(|line| line.trim() == "fi");
    (!closed).then(|| lines[start..at].iter().flat_map(|line| options_in(line)).collect())
}

/// The objects that the script appends to `objs`, each with the option around it.
fn linked_objects(script: &str) -> Vec<Conditional> {
    let appended = script
        .lines()
        .filter_map(|line| line.trim().strip_prefix("objs=\"${objs} ")?.strip_suffix('"'));
    appended
        .map(|object| {
            let line = format!("objs=\"${{objs}} {object}\"");
            let option =
                options_before(script, &line).and_then(|options| options.into_iter().next());
            Conditional { object: object.to_string(), option }
        })
        .collect()
}

/// The flags that the script collects in `kallsymopt`.
fn kallsyms_flags(script: &str) -> Vec<(String, Vec<String>)> {
    let flags = script.lines().filter_map(|line| {
        line.trim().strip_prefix("kallsymopt=\"${kallsymopt} ")?.strip_suffix('"')
    });
    flags.map(|flag| (flag.to_string(), options_before(script, flag).unwrap_or_default())).collect()
}

/// What the script's `cleanup` function removes.
fn cleaned(script: &str) -> Vec<String> {
    let body = script.lines().skip_while(|line| line.trim() != "cleanup()");
    body.take_while(|line| line.trim() != "}")
        .filter_map(|line| line.trim().strip_prefix("rm -f "))
        .flat_map(|names| names.split_whitespace().map(str::to_string))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script with the constructions that matter, in words of our own.
    const MERGED: &str = r#"
VMLINUX="$4"
if is_enabled CONFIG_LTO_CLANG || is_enabled CONFIG_X86_KERNEL_IBT ||
   is_enabled CONFIG_KLP_BUILD; then
	objs=vmlinux.o
else
	objs=vmlinux.a
fi
	if is_enabled CONFIG_GENERIC_BUILTIN_DTB; then
		objs="${objs} .builtin-dtbs.o"
	fi

	objs="${objs} .vmlinux.export.o"
	objs="${objs} init/version-timestamp.o"
	if is_enabled CONFIG_KALLSYMS_ALL; then
		kallsymopt="${kallsymopt} --all-symbols"
	fi
	if is_enabled CONFIG_64BIT || is_enabled CONFIG_RELOCATABLE; then
		kallsymopt="${kallsymopt} --pc-relative"
	fi
cleanup()
{
	rm -f .btf.*
	rm -f System.map
}
kallsyms .tmp_vmlinux0.syms .tmp_vmlinux0.kallsyms
vmlinux_link .tmp_vmlinux1
"#;

    #[test]
    fn conditions_are_read_with_all_their_alternatives() {
        let features = Features::detect(MERGED).unwrap();
        assert_eq!(features.schedule, Schedule::Merged);
        assert_eq!(features.single_object, ["LTO_CLANG", "X86_KERNEL_IBT", "KLP_BUILD"]);
        let objects: Vec<_> =
            features.objects.iter().map(|o| (o.object.as_str(), o.option.as_deref())).collect();
        assert_eq!(
            objects,
            [
                (".builtin-dtbs.o", Some("GENERIC_BUILTIN_DTB")),
                (".vmlinux.export.o", None),
                ("init/version-timestamp.o", None),
            ]
        );
        assert_eq!(features.clean, [".btf.*", "System.map"]);
        let flags = |names: &[&str]| {
            let config = Config::from_names(names.iter().copied());
            features.kallsyms_flags(&config).join(" ")
        };
        assert_eq!(flags(&["KALLSYMS_ALL", "RELOCATABLE"]), "--all-symbols --pc-relative");
        assert_eq!(flags(&["64BIT"]), "--pc-relative");
        assert_eq!(flags(&[]), "");
    }

    #[test]
    fn the_output_is_named_by_kbuild_only_where_the_script_takes_it() {
        let config = Config::default();
        let features = Features::detect(MERGED).unwrap();
        assert_eq!(
            features.needs(&config, Some("vmlinux.unstripped")).output,
            "vmlinux.unstripped"
        );
        let features = Features::detect(&MERGED.replace("VMLINUX=\"$4\"", "")).unwrap();
        assert_eq!(features.needs(&config, Some("vmlinux.unstripped")).output, "vmlinux");
    }

    #[test]
    fn a_foreign_script_is_refused() {
        assert_eq!(Features::detect("#!/bin/sh\nexit 0\n"), Err(FeatureError::Schedule));
        let text = "vmlinux_link .tmp_vmlinux1\n";
        assert_eq!(Features::detect(text), Err(FeatureError::Objects));
    }
}
