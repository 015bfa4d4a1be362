//! `vmlinker link`: the drop-in that Kbuild calls.

use std::process::ExitCode;

use pipeline::{Call, Jobs, Options, Record, Stage, Timeline, Toolbox, Tree};

use super::stage_flags::StageFlags;

/// Links the kernel as scripts/link-vmlinux.sh does, called by Kbuild with the same arguments and
/// environment; or, with the one word clean, removes what a link makes.
#[derive(Debug, clap::Args)]
#[command(override_usage = "vmlinker link LD KBUILD_LDFLAGS LDFLAGS_vmlinux [OUTPUT]\n       \
                            vmlinker link clean")]
pub struct Args {
    /// The linker, its flags, the flags for vmlinux, and from Linux 6.17 on the output's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let jobs = Jobs::from_env();
    let dir = std::env::current_dir()?;
    let var = |name: &str| std::env::var(name).ok();
    let srctree = var("srctree").unwrap_or_else(|| ".".to_string());
    if args.words == ["clean"] {
        pipeline::clean(&dir, dir.join(srctree).as_path())?;
        return Ok(ExitCode::SUCCESS);
    }
    let timeline = Timeline::start();
    pipeline::watch_signals()?;
    // What make's dependency file names: the installed script, or the kernel's own.
    let script = var("VMLINKER_SCRIPT");
    let script = script.unwrap_or_else(|| format!("{srctree}/scripts/link-vmlinux.sh"));
    let call = Call::new(&script, &args.words, &dir, var)?;
    let flags = StageFlags::from_env()?;
    let tree = Tree::open(&dir, &call.srctree())?;
    let tree = if flags.cold { tree.never_linked() } else { tree };
    let mut toolbox = Toolbox::new(&tree, Some(&call), &flags.engines())?;
    toolbox.tell_fallbacks();
    let record = Record::new(&call);
    record.save()?;
    let StageFlags { schedule, cold, verify, debug_info, .. } = flags;
    let schedule = Some(toolbox.schedule(&tree, Some(&call), schedule, debug_info)?);
    let (keep_timestamp, remember) = (false, true);
    let options = Options { schedule, keep_timestamp, cold, remember, verify, debug_info };
    let stage = Stage::new(&call, &tree, &toolbox, &jobs, options);
    stage.timed_from(timeline, record.tools).run()?;
    Ok(ExitCode::SUCCESS)
}
