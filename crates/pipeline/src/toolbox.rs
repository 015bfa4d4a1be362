//! Which engine does each part, and what the native engines need to know of the tree.
//!
//! A native engine is used wherever the tree's own files are of a form that it understands. Where
//! they are not, the kernel's tool does the part, and the reason is kept for the user to see; a
//! native engine that was asked for by name is then refused.

use std::fmt;

use debug_link::Dialect;
use dwarf_btf::PaholeVersion;

use crate::call::Call;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::features::BtfRecipe;
use crate::files;
use crate::plan::{DebugInfo, Engine, EngineRequest, Engines, Part, Schedule};
use crate::say;
use crate::tree::Tree;

/// pahole writes BTF to a file of its own (`--btf_encode_detached`) from 1.22 on.
const PAHOLE_DETACHED: u64 = 122;

/// The engines of a link, with what the native ones read from the tree.
#[derive(Debug)]
pub struct Toolbox {
    /// The engine of every part.
    pub engines: Engines,
    /// Parts that are left to the kernel's tool though nobody asked for it, with the reason.
    pub fallbacks: Vec<(Part, String)>,
    /// The filter in the tree's `scripts/mksysmap`.
    pub filter: Option<sysmap::Filter>,
    /// The dialect of the tree's `scripts/kallsyms.c`.
    pub kallsyms: Option<kallsyms::Dialect>,
    /// The dialect of the tree's `scripts/sorttable.c`.
    pub sorttable: Option<sorttable::Dialect>,
    /// What the tree asks of pahole.
    pub btf: Option<dwarf_btf::Options<'static>>,
    /// The linker's rules, once the lean schedule has asked for them.
    pub lean: Option<Dialect>,
}

impl Toolbox {
    /// Resolves `request` for `tree`. Without a `call` it is not known what Kbuild passes to pahole, and the best is
    /// assumed.
    ///
    /// # Errors
    /// A native engine is asked for by name and the tree does not allow it.
    pub fn new(tree: &Tree, call: Option<&Call>, request: &EngineRequest) -> Result<Self> {
        let filter = mksysmap_filter(tree);
        let kallsyms = kallsyms_dialect(tree, call);
        let sorttable = sorttable_dialect(tree);
        let btf = btf_options(tree, call);
        if asked(request, Part::Btf) == Some(Engine::Native)
            && request.of(Part::Btfobj) == Some(Engine::Kernel)
        {
            let cause = "the kernel's recipe for BTF's object (btfobj=kernel) runs pahole itself";
            return Err(Error::new(cause).advise("use btfobj=native with btf=native"));
        }
        let mut engines = Engines::all(Engine::Native);
        let mut fallbacks = Vec::new();
        for part in Part::ALL {
            let obstacle = match part {
                Part::Sysmap => filter.as_ref().err().cloned(),
                Part::Kallsyms => kallsyms.as_ref().err().cloned(),
                Part::Btf => btf.as_ref().err().cloned(),
                // Types of our own are a file already; only pahole's may not be.
                Part::Btfobj if engines.of(Part::Btf) == Engine::Native => None,
                Part::Btfobj => btf_object_obstacle(tree),
                Part::Btfids => resolve_btfids_obstacle(tree, call),
                Part::Sorttable => sorttable.as_ref().err().cloned(),
                // Where it cannot be done, the linker does what it does anyway.
                Part::Fill => None,
            };
            match (asked(request, part), obstacle) {
                (Some(Engine::Kernel), _) => engines = engines.with(part, Engine::Kernel),
                (_, None) => {}
                (Some(Engine::Native), Some(reason)) => {
                    let cause = format!("the native engine cannot do '{}': {reason}", part.name());
                    let advice = "leave its engine open: the kernel's own tool does the part then";
                    return Err(Error::new(cause).advise(advice));
                }
                (None, Some(reason)) => {
                    engines = engines.with(part, Engine::Kernel);
                    fallbacks.push((part, reason));
                }
            }
        }
        let (filter, kallsyms, sorttable) = (filter.ok(), kallsyms.ok(), sorttable.ok());
        Ok(Toolbox { engines, fallbacks, filter, kallsyms, sorttable, btf: btf.ok(), lean: None })
    }

    /// The schedule of a link, see [`Toolbox::choose_schedule`]; why it is not lean is said on standard error.
    ///
    /// # Errors
    /// Only the lean schedule can put debug information where it is to go, and the schedule is another.
    pub fn schedule(
        &mut self,
        tree: &Tree,
        call: Option<&Call>,
        asked: Option<Schedule>,
        debug_info: DebugInfo,
    ) -> Result<Schedule> {
        let (schedule, refused) = self.choose_schedule(tree, call, asked, debug_info)?;
        if let Some(reason) = refused {
            let line = format_args!("the schedule is {schedule}, not lean: {reason}");
            say::remark(format_args!("vmlinker: {line}"));
        }
        Ok(schedule)
    }

    /// The schedule of a link: the one that was `asked` for; else the lean one, where there is debug information to
    /// keep out of links and not every part is the kernel's. Where lean is not possible it is the tree's own, with
    /// the reason.
    ///
    /// # Errors
    /// Debug information is not to be kept, and the schedule cannot be lean.
    pub fn choose_schedule(
        &mut self,
        tree: &Tree,
        call: Option<&Call>,
        asked: Option<Schedule>,
        debug_info: DebugInfo,
    ) -> Result<(Schedule, Option<String>)> {
        let (schedule, refused) = self.possible_schedule(tree, call, asked);
        let has_any = tree.config.has("DEBUG_INFO");
        let kept = debug_info == DebugInfo::Keep || debug_info == DebugInfo::Drop && !has_any;
        if kept || schedule == Schedule::Lean {
            return Ok((schedule, refused));
        }
        let reason = refused.unwrap_or_else(|| match asked {
            Some(schedule) => format!("--schedule {schedule} is asked for"),
            None if has_any => "--engine kernel has the tree's own schedule".to_string(),
            None => "the kernel has no debug information".to_string(),
        });
        let cause = format!("--debug-info={debug_info} is the lean schedule's: {reason}");
        Err(Error::new(cause).advise("leave --debug-info out, and debug information is kept"))
    }

    /// The schedule, wherever debug information goes.
    fn possible_schedule(
        &mut self,
        tree: &Tree,
        call: Option<&Call>,
        asked: Option<Schedule>,
    ) -> (Schedule, Option<String>) {
        let own = tree.features.schedule;
        let mut steps = Part::ALL.into_iter().filter(|&part| part != Part::Fill);
        let imitates = steps.all(|part| self.engines.of(part) == Engine::Kernel);
        match asked {
            Some(schedule @ (Schedule::Separate | Schedule::Merged)) => return (schedule, None),
            None if imitates || !tree.config.has("DEBUG_INFO") => return (own, None),
            Some(Schedule::Lean) | None => {}
        }
        match lean_dialect(tree, call) {
            Ok(dialect) => {
                self.lean = Some(dialect);
                (Schedule::Lean, None)
            }
            Err(reason) => (own, Some(reason)),
        }
    }

    /// Says on standard error what is left to the kernel's tools, and why.
    pub fn tell_fallbacks(&self) {
        for (part, reason) in &self.fallbacks {
            let line = format_args!("the kernel's own tool does '{}': {reason}", part.name());
            say::remark(format_args!("vmlinker: {line}"));
        }
    }
}

/// The engine that was asked for. The kernel's recipe for the object has pahole write into the image, so who asks
/// for that recipe asks for pahole.
fn asked(request: &EngineRequest, part: Part) -> Option<Engine> {
    let kernels_object = request.of(Part::Btfobj) == Some(Engine::Kernel);
    request.of(part).or_else(|| (part == Part::Btf && kernels_object).then_some(Engine::Kernel))
}

fn mksysmap_filter(tree: &Tree) -> std::result::Result<sysmap::Filter, String> {
    let path = tree.srctree.join("scripts/mksysmap");
    let script = files::read(&path).map_err(|e| e.to_string())?;
    sysmap::Filter::parse(&script).map_err(|e| in_file("scripts/mksysmap", e))
}

fn kallsyms_dialect(
    tree: &Tree,
    call: Option<&Call>,
) -> std::result::Result<kallsyms::Dialect, String> {
    let path = tree.srctree.join("scripts/kallsyms.c");
    let source = files::read(&path).map_err(|e| e.to_string())?;
    let dialect =
        kallsyms::Dialect::detect(&source).map_err(|e| in_file("scripts/kallsyms.c", e))?;
    match kallsyms_object_obstacle(tree, call) {
        Some(reason) => Err(reason),
        None => Ok(dialect),
    }
}

/// Whether the assembler adds debug information to an object without code: clang's names the file and the directory.
fn assembler_names_file(tree: &Tree, call: Option<&Call>) -> bool {
    let mut flags = call.map_or("", |call| call.var("KBUILD_AFLAGS")).split_whitespace();
    let debug = flags.rfind(|flag| flag.starts_with("-g"));
    tree.config.has("AS_IS_LLVM") && debug.is_some_and(|flag| flag != "-g0")
}

/// Why no kallsyms object can be written that is the same as the assembler's; `None` if it can.
fn kallsyms_object_obstacle(tree: &Tree, call: Option<&Call>) -> Option<String> {
    let names_mappings = tree.config.has("ARM") || tree.config.has("ARM64");
    if names_mappings && tree.config.has("AS_IS_LLVM") {
        return Some("clang's assembler has names of its own for mapping symbols".to_string());
    }
    if assembler_names_file(tree, call) {
        let cause = "clang's assembler adds debug information, which says where it ran";
        return Some(cause.to_string());
    }
    // Without vmlinux.o there is no link either, and the stage says so.
    let bytes = files::map(&tree.dir.join("vmlinux.o")).ok()?;
    let header = image::Elf::parse(&bytes).ok()?.header();
    kallsyms::supports(&header).err().map(|error| error.to_string())
}

fn sorttable_dialect(tree: &Tree) -> std::result::Result<sorttable::Dialect, String> {
    let path = tree.srctree.join("scripts/sorttable.c");
    let mut sources = vec![files::read(&path).map_err(|e| e.to_string())?];
    // To 6.13 most of the tool is in a header; later trees have none.
    sources.extend(files::read(&path.with_extension("h")));
    if tree.config.has("UNWINDER_ORC") {
        let arch = if tree.config.has("LOONGARCH") { "loongarch" } else { "x86" };
        let types = format!("tools/arch/{arch}/include/asm/orc_types.h");
        sources.push(files::read(&tree.srctree.join(types)).map_err(|e| e.to_string())?);
    }
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    sorttable::Dialect::detect(&sources).map_err(|e| in_file("scripts/sorttable.c", e))
}

/// The rules of the tree's linker, where debug information can be put in by them.
fn lean_dialect(tree: &Tree, call: Option<&Call>) -> std::result::Result<Dialect, String> {
    let call = call.ok_or("no link has been recorded in this tree, so its linker is not known")?;
    // Other machines' linkers name the kallsyms object in the symbol table.
    if !tree.config.has("X86_64") || call.var("SRCARCH") != "x86" {
        return Err("it is known for x86_64 only".to_string());
    }
    if tree.config.has("LTO_CLANG") {
        return Err("with CONFIG_LTO_CLANG an object is not an ELF file".to_string());
    }
    // In the lean schedule the tables' file has the name that it has in the merged one.
    if tree.features.schedule == Schedule::Separate && assembler_names_file(tree, Some(call)) {
        return Err("clang's assembler names the tables' file in debug information".to_string());
    }
    if tree.config.has("VMLINUX_MAP") {
        return Err("CONFIG_VMLINUX_MAP asks for the map of a link with debug information".into());
    }
    let single = tree.features.links_single_object(&tree.config);
    if !single && call.words("KBUILD_VMLINUX_LIBS").next().is_some() {
        return Err("archives are linked as needed ($KBUILD_VMLINUX_LIBS)".to_string());
    }
    let version = tree.linker.get(&call.ld).ok_or("the linker does not tell its version")?;
    let flags = [&call.ldflags, &call.ldflags_vmlinux];
    let flags = flags.into_iter().flat_map(|flags| flags.split_whitespace());
    Dialect::detect(&version, flags).map_err(|error| error.to_string())
}

/// What `$PAHOLE_FLAGS` asks for, of the pahole that the tree was configured with.
fn btf_options(
    tree: &Tree,
    call: Option<&Call>,
) -> std::result::Result<dwarf_btf::Options<'static>, String> {
    let number = pahole_version(&tree.config)
        .ok_or("the configuration does not tell pahole's version (CONFIG_PAHOLE_VERSION)")?;
    let known = [PaholeVersion::V1_24, PaholeVersion::V1_32];
    let version = known.into_iter().find(|version| u64::from(version.number()) == number);
    let version = version.ok_or_else(|| {
        let (major, minor) = (number / 100, number % 100);
        format!("the bytes of pahole {major}.{minor:02} are not known, only those of 1.24 and 1.32")
    })?;
    let words = call.map_or("", |call| call.var("PAHOLE_FLAGS")).split_whitespace();
    let flags =
        dwarf_btf::Flags::parse(words, version).map_err(|e| format!("$PAHOLE_FLAGS: {e}"))?;
    Ok(flags.options)
}

/// Why BTF cannot come to us as a file; `None` if it can.
fn btf_object_obstacle(tree: &Tree) -> Option<String> {
    if tree.features.btf == BtfRecipe::Detached {
        return None;
    }
    match pahole_version(&tree.config) {
        Some(version) if version >= PAHOLE_DETACHED => None,
        Some(version) => Some(format!("pahole {version} cannot write BTF to a file of its own")),
        None => Some("the configuration does not tell pahole's version".to_string()),
    }
}

/// Why the ids and the last hand on the types are the tree's own tool's; `None` where they are ours.
fn resolve_btfids_obstacle(tree: &Tree, call: Option<&Call>) -> Option<String> {
    const KNOWN: [&str; 2] = ["--fatal_warnings", "--verbose"];
    const TOOL: &str = "tools/bpf/resolve_btfids/main.c";
    if tree.features.btf == BtfRecipe::InPlace {
        return None;
    }
    // 7.0 to 7.2 rewrite the types by other rules.
    let source = match files::read_text(&tree.srctree.join(TOOL)) {
        Ok(source) => source,
        Err(error) => return Some(error.to_string()),
    };
    if !source.contains("btf__dedup(") {
        return Some(format!("{TOOL} rewrites the types as it did before 7.3"));
    }
    let words = call.map_or("", |call| call.var("RESOLVE_BTFIDS_FLAGS"));
    let unknown = words.split_whitespace().find(|word| !KNOWN.contains(word))?;
    Some(format!("$RESOLVE_BTFIDS_FLAGS has {unknown}, which is not known here"))
}

fn pahole_version(config: &Config) -> Option<u64> {
    config.number("PAHOLE_VERSION")
}

fn in_file(file: &str, cause: impl fmt::Display) -> String {
    format!("{file}: {cause}")
}
