//! `vmlinker plan`: what a link would do.

use std::path::PathBuf;
use std::process::ExitCode;

use pipeline::plan::{DebugInfo, Engine, Engines, Needs, Part, Plan, Schedule, Start};
use pipeline::{Config, Record, Sizes, Toolbox, Tree};

use super::stage_flags::StageFlags;

/// Prints the steps of a link and how many links they contain, without running any.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take configuration, schedule and engines from this built kernel tree.
    #[arg(short = 'C', value_name = "BUILD", required_unless_present = "config")]
    build: Option<PathBuf>,
    /// Take the configuration from here: the options that are enabled, for example
    /// KALLSYMS,DEBUG_INFO_BTF.
    #[arg(long, value_name = "LIST", conflicts_with = "build", value_delimiter = ',')]
    config: Option<Vec<String>>,
    #[command(flatten)]
    flags: StageFlags,
    /// Say why each step is there, and who does it.
    #[arg(long)]
    why: bool,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let extra = std::env::var("KALLSYMS_EXTRA_PASS").is_ok_and(|value| !value.is_empty());
    let plan = match &args.build {
        Some(build) => of_tree(args, &Tree::of_build(build)?, extra)?,
        None => of_config(args, extra)?,
    };
    if args.json {
        println!("{:#}", plan.json());
    } else {
        print!("{}", plan.text(args.why));
    }
    Ok(ExitCode::SUCCESS)
}

fn of_tree(args: &Args, tree: &Tree, extra: bool) -> anyhow::Result<Plan> {
    let call = Record::load(&tree.dir).ok().map(|record| record.call);
    let mut toolbox = Toolbox::new(tree, call.as_ref(), &args.flags.engines())?;
    toolbox.tell_fallbacks();
    let StageFlags { schedule, verify, debug_info, .. } = args.flags;
    let needs = tree.features.needs(&tree.config, tree.features.default_output());
    let needs = Needs { verify, debug_info, ..needs };
    let schedule = toolbox.schedule(tree, call.as_ref(), schedule, debug_info)?;
    let known = Sizes::load(&tree.dir, &needs.output).filter(|_| !args.flags.cold && !extra);
    let start = Sizes::start(known.as_ref(), &needs);
    Ok(Plan::new(&needs, schedule, &toolbox.engines, start, extra.into()))
}

fn of_config(args: &Args, extra: bool) -> anyhow::Result<Plan> {
    let names = args.config.iter().flatten().map(String::as_str);
    let needs = Needs::of_config(&Config::from_names(names));
    let StageFlags { verify, debug_info, .. } = args.flags;
    let needs = Needs { verify, debug_info, ..needs };
    let request = args.flags.engines();
    let engines = Part::ALL.into_iter().fold(Engines::all(Engine::Native), |engines, part| {
        match request.of(part) {
            Some(engine) => engines.with(part, engine),
            None => engines,
        }
    });
    let lean = debug_info != DebugInfo::Keep;
    let usual = if lean { Schedule::Lean } else { Schedule::Merged };
    let schedule = args.flags.schedule.unwrap_or(usual);
    if lean && schedule != Schedule::Lean {
        anyhow::bail!(
            "--debug-info={debug_info} is the lean schedule's, and {schedule} is asked for"
        );
    }
    Ok(Plan::new(&needs, schedule, &engines, Start::Cold, extra.into()))
}
