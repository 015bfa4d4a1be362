//! `vmlinker record`: the kernel's own script, with its call recorded on the way.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use pipeline::{Call, Record};

/// Records a call of link-vmlinux.sh for 'vmlinker relink', then runs the script itself.
///
/// Kbuild's link can be recorded without changing the tree:
/// make cmd_link_vmlinux='vmlinker record $< "$(LD)" "$(KBUILD_LDFLAGS)" "$(LDFLAGS_vmlinux)" "$@"'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The script, as Kbuild calls it.
    script: String,
    /// Its arguments: the linker, its flags, the flags for vmlinux, and the output's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<String>,
}

/// Runs the command; returns only if the script cannot be started.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dir = std::env::current_dir()?;
    let call = Call::new(&args.script, &args.words, &dir, |name| std::env::var(name).ok())?;
    Record::new(&call).save()?;
    let error = Command::new(&args.script).args(&args.words).exec();
    anyhow::bail!("{}: {error}", args.script)
}
