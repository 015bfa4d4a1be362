//! The command line of a link.
//!
//! The kernel's objects first, whole; then the archives that are linked as needed; then the objects
//! made by earlier steps. `ARCH=um` links through the C compiler, so linker flags get `-Wl,`.

use debug_link::{Dialect, Linker, build_id};

use crate::call::Call;
use crate::config::Config;
use crate::error::Result;
use crate::features::{Features, MapFile};

/// One link: what goes in and what comes out. Names are relative to the object tree.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The name that the kernel's script would give the output; decides the name of the map.
    pub name: &'a str,
    /// Where the linker is to write.
    pub output: &'a str,
    /// Whether this is the final link.
    pub last: bool,
    /// The kallsyms object.
    pub kallsyms: Option<&'a str>,
    /// The BTF object.
    pub btf: Option<&'a str>,
    /// Whether debug information is left out.
    pub strip_debug: bool,
    /// What is linked in the place of `vmlinux.o`.
    pub twin: Option<&'a str>,
    /// Where the linker is to say what it put where, if the stage wants to know.
    pub map: Option<&'a str>,
    /// Whether relocations stay in the output if the tree's flags say so.
    pub relocations: bool,
    /// The linker that is to leave a build ID of zeros where the tree's flags ask for one that is computed here.
    pub reserves_id: Option<Linker>,
}

impl Default for Link<'_> {
    /// What the tree's own flags say.
    fn default() -> Self {
        Link {
            name: "",
            output: "",
            last: false,
            kallsyms: None,
            btf: None,
            strip_debug: false,
            twin: None,
            map: None,
            relocations: true,
            reserves_id: None,
        }
    }
}

/// The object that a kernel is linked from, where it is one.
pub const OBJECT: &str = "vmlinux.o";

/// The objects that every link takes, in their order: those linked whole, and those as needed.
pub fn kernel_objects<'a>(
    call: &'a Call,
    config: &Config,
    features: &'a Features,
) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut objects, libs) = if features.links_single_object(config) {
        (vec![OBJECT], Vec::new())
    } else {
        (vec!["vmlinux.a"], call.words("KBUILD_VMLINUX_LIBS").collect())
    };
    let wanted = features
        .objects
        .iter()
        .filter(|conditional| conditional.option.as_ref().is_none_or(|option| config.has(option)));
    objects.extend(wanted.map(|conditional| conditional.object.as_str()));
    (objects, libs)
}

/// The object that the architecture makes before the final link, if it does.
pub fn arch_object(call: &Call, config: &Config, features: &Features) -> Option<String> {
    let wanted = features.arch_object && config.has("ARCH_WANTS_PRE_LINK_VMLINUX");
    wanted.then(|| format!("arch/{}/tools/vmlinux.arch.o", call.var("SRCARCH")))
}

/// The linker script, seen from where the linker runs.
pub(super) fn script(call: &Call) -> String {
    format!("{}/{}", call.var("objtree"), call.var("KBUILD_LDS"))
}

/// The name of the map that `link` writes, if it writes one.
pub fn map_file(link: &Link<'_>, config: &Config, features: &Features) -> Option<String> {
    if !config.has("VMLINUX_MAP") {
        return None;
    }
    match features.map {
        MapFile::EveryLink => Some(format!("{}.map", link.name)),
        MapFile::FinalLink => link.last.then(|| "vmlinux.map".to_string()),
    }
}

/// The program and its arguments.
///
/// # Errors
/// The variable that names the C compiler is needed and empty.
pub fn command_line(
    link: &Link<'_>,
    call: &Call,
    config: &Config,
    features: &Features,
) -> Result<Vec<String>> {
    let um = call.var("SRCARCH") == "um";
    let wl = if um { "-Wl," } else { "" };
    let mut words: Vec<String> = Vec::new();
    let mut extend = |text: &str| words.extend(text.split_whitespace().map(str::to_string));
    if um {
        call.tool("CC")?;
        extend(call.var("CC"));
        extend(call.var("CFLAGS_vmlinux"));
    } else {
        extend(&call.ld);
        extend(&call.ldflags);
        extend(&call.ldflags_vmlinux);
    }
    if let Some(linker) = link.reserves_id {
        let reserved = words.iter().map(|word| build_id::reserving(word, linker).into_owned());
        words = reserved.collect();
    }
    if !link.relocations {
        words.retain(|word| !Dialect::is_emit_relocs(word));
    }
    words.push(format!("{wl}--script={}", script(call)));
    if link.strip_debug {
        words.push(format!("{wl}--strip-debug"));
    }
    if let Some(map) = link.map {
        words.push(format!("{wl}-Map={map}"));
    } else if let Some(map) = map_file(link, config, features) {
        words.push(format!("{wl}-Map={map}"));
    }
    words.extend(["-o".to_string(), link.output.to_string()]);
    let (objects, libs) = kernel_objects(call, config, features);
    words.push(format!("{wl}--whole-archive"));
    let taken = |object: &str| link.twin.filter(|_| object == OBJECT).unwrap_or(object).to_string();
    words.extend(objects.into_iter().map(taken));
    words.push(format!("{wl}--no-whole-archive"));
    words.push(format!("{wl}--start-group"));
    words.extend(libs.into_iter().map(str::to_string));
    words.push(format!("{wl}--end-group"));
    words.extend([link.kallsyms, link.btf].into_iter().flatten().map(str::to_string));
    words.extend(arch_object(call, config, features));
    if um {
        words.extend(["-lutil", "-lrt", "-lpthread"].map(str::to_string));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SCRIPT: &str = r#"
if is_enabled CONFIG_LTO_CLANG; then
	objs=vmlinux.o
fi
if is_enabled CONFIG_MODULES; then
	objs="${objs} .vmlinux.export.o"
fi
objs="${objs} init/version-timestamp.o"
vmlinux_link .tmp_vmlinux1
"#;

    fn line(srcarch: &str, names: &[&str], link: &Link<'_>, script: &str) -> String {
        let arguments =
            ["ld.lld", "-m elf_x86_64  -z norelro", "--build-id=sha1"].map(str::to_string);
        let var = |name: &str| {
            Some(match name {
                "SRCARCH" => srcarch.to_string(),
                "CC" => "ccache gcc".to_string(),
                "CFLAGS_vmlinux" => "-Wl,--wrap,malloc".to_string(),
                "KBUILD_LDS" => "arch/x86/kernel/vmlinux.lds".to_string(),
                "KBUILD_VMLINUX_LIBS" => "lib/lib.a arch/x86/lib/lib.a".to_string(),
                _ => ".".to_string(),
            })
        };
        let call = Call::new("s", &arguments, Path::new("/b"), var).unwrap();
        let config = Config::from_names(names.iter().copied());
        let features = Features::detect(script).unwrap();
        command_line(link, &call, &config, &features).unwrap().join(" ")
    }

    const TEMPORARY: Link<'_> = Link {
        name: ".tmp_vmlinux2",
        output: ".tmp_vmlinux2",
        last: false,
        kallsyms: Some("k.o"),
        btf: Some("b.o"),
        strip_debug: true,
        twin: None,
        map: None,
        relocations: true,
        reserves_id: None,
    };

    #[test]
    fn room_for_a_build_id_that_is_computed_later() {
        let line = |reserves_id| line("x86", &[], &Link { reserves_id, ..TEMPORARY }, SCRIPT);
        let real = line(None);
        let zeros = format!(" --build-id=0x{} ", "00".repeat(20));
        assert_eq!(line(Some(Linker::Lld)), real.replace(" --build-id=sha1 ", &zeros));
        assert_ne!(line(Some(Linker::Lld)), real);
    }

    #[test]
    fn a_twin_takes_the_place_of_the_one_object() {
        let line = |twin, config: &[&str]| line("x86", config, &Link { twin, ..TEMPORARY }, SCRIPT);
        let real = line(None, &["X", "MODULES"]);
        let expected = real.replace(" vmlinux.o ", " .tmp_twin.o ");
        assert_eq!(line(Some(".tmp_twin.o"), &["X", "MODULES"]), expected);
        assert_eq!(line(Some(".tmp_twin.o"), &[]), line(None, &[]), "an archive has none");
    }

    #[test]
    fn a_temporary_link_from_the_archive() {
        assert_eq!(
            line("x86", &["MODULES", "VMLINUX_MAP"], &TEMPORARY, SCRIPT),
            "ld.lld -m elf_x86_64 -z norelro --build-id=sha1 --script=./arch/x86/kernel/vmlinux.lds \
             --strip-debug -Map=.tmp_vmlinux2.map -o .tmp_vmlinux2 --whole-archive vmlinux.a \
             .vmlinux.export.o init/version-timestamp.o --no-whole-archive --start-group lib/lib.a \
             arch/x86/lib/lib.a --end-group k.o b.o"
        );
    }

    #[test]
    fn user_mode_linux_links_through_the_compiler() {
        assert_eq!(
            line("um", &["LTO_CLANG"], &TEMPORARY, SCRIPT),
            "ccache gcc -Wl,--wrap,malloc -Wl,--script=./arch/x86/kernel/vmlinux.lds \
             -Wl,--strip-debug -o .tmp_vmlinux2 -Wl,--whole-archive vmlinux.o \
             init/version-timestamp.o -Wl,--no-whole-archive -Wl,--start-group -Wl,--end-group k.o b.o \
             -lutil -lrt -lpthread"
        );
    }

    #[test]
    fn newer_trees_map_only_the_final_link_and_take_the_architectures_object_last() {
        let script = format!("{SCRIPT}\ngenerate_map=1\narch/x86/tools/vmlinux.arch.o\n");
        let names = ["VMLINUX_MAP", "ARCH_WANTS_PRE_LINK_VMLINUX"];
        assert!(!line("x86", &names, &TEMPORARY, &script).contains("-Map"));
        let name = "vmlinux.unstripped";
        let last = Link { name, output: ".tmp", last: true, strip_debug: false, ..TEMPORARY };
        let line = line("x86", &names, &last, &script);
        assert!(line.contains(" -Map=vmlinux.map -o .tmp "));
        assert!(line.ends_with(" k.o b.o arch/x86/tools/vmlinux.arch.o"));
    }
}
