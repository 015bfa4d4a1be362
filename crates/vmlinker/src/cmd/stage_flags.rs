//! The flags that choose how a link is done: the same on the command line of `plan` and `relink`, and
//! in `$VMLINKER_FLAGS` for a link that Kbuild calls.

use clap::Parser;
use pipeline::plan::{DebugInfo, EngineRequest, Schedule};

/// Flags for a link.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StageFlags {
    /// Which kernels are linked on the way: separate, merged, or lean, where no link has debug information. Default:
    /// lean if the kernel has debug information, or as the tree's own script does.
    #[arg(long, value_name = "S")]
    pub schedule: Option<Schedule>,
    /// Who does each step: native, kernel, or a list such as kallsyms=kernel,sysmap=native. Steps:
    /// sysmap, kallsyms, btf, btfobj, btfids, sorttable, fill. btf=pahole is the same as btf=kernel; with fill=kernel
    /// the linker copies all contents itself.
    #[arg(long, value_name = "E")]
    pub engine: Option<EngineRequest>,
    /// Link as if the tree had never been linked. Otherwise the lean schedule takes the sizes of kallsyms and BTF from
    /// the tree's last link, and links the kernel once if they are still right. A link into the tree forgets the
    /// old sizes first, and remembers its own.
    #[arg(long)]
    pub cold: bool,
    /// Make kallsyms, BTF, its ids and the sorted tables once more, out of the finished kernel, and compare. If one is
    /// not what the kernel holds, there is no kernel.
    #[arg(long)]
    pub verify: bool,
    /// Where debug information goes: keep, into the kernel, as the kernel's own script does it; separate, into
    /// vmlinux.debug, to which the kernel has a link for debuggers; drop, nowhere. Only the lean schedule can do
    /// other than keep it.
    #[arg(long, value_name = "D", default_value_t)]
    pub debug_info: DebugInfo,
}

/// The variable that carries the flags where Kbuild makes the call.
const VARIABLE: &str = "VMLINKER_FLAGS";

#[derive(Debug, Parser)]
#[command(name = VARIABLE, no_binary_name = true)]
struct FromVariable {
    #[command(flatten)]
    flags: StageFlags,
}

impl StageFlags {
    /// The flags in `$VMLINKER_FLAGS`.
    pub fn from_env() -> anyhow::Result<Self> {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        match FromVariable::try_parse_from(text.split_whitespace()) {
            Ok(parsed) => Ok(parsed.flags),
            Err(error) => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                anyhow::bail!("${VARIABLE}: {}", line.trim_start_matches("error: "))
            }
        }
    }

    /// The engines that are asked for.
    pub fn engines(&self) -> EngineRequest {
        self.engine.clone().unwrap_or_default()
    }
}
