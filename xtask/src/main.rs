//! `cargo xtask`: everything that the README runs.
//!
//! `demo` and `test` are the two that a newcomer needs. Both install what they lack and say so; the second
//! time they find it in the cache.

mod apt;
mod bench;
mod checks;
mod config;
mod demo;
mod dist;
mod fuzz;
mod kernel;
mod mirror;
mod process;
mod progress;
mod record;
mod setup;
mod sources;
mod test;
mod timeline;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Purpose;

/// Set-up, real kernels, tests, demonstration and benchmarks of vmlinker.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Link a real kernel with its own script and with vmlinker, compare the two and boot the kernel.
    Demo(demo::Args),
    /// Run every check and every test.
    Test(test::Args),
    /// Measure vmlinker beside the tools whose place it takes, and write docs/bench.
    Bench(bench::Args),
    /// Make a release in target/dist: a static program, manual pages, completions and a Debian package.
    Dist(dist::Args),
    /// Run libFuzzer on every parser.
    Fuzz(fuzz::Args),
    /// Install and fetch what is missing. The other commands do this themselves.
    Setup {
        /// What the machine is to be prepared for.
        #[arg(long = "for", value_enum, default_value = "test")]
        purpose: Purpose,
    },
    /// Build a kernel, if it is not in the cache, and print its build directory.
    Kernel {
        /// For example 6.12-tiny.
        name: String,
        /// Your own source tree instead of Debian's.
        #[arg(long)]
        tree: Option<PathBuf>,
        /// No progress lines.
        #[arg(long)]
        quiet: bool,
    },
    /// Read BTF for the benchmark.
    #[command(name = "bench-btf", hide = true)]
    BenchBtf {
        /// The blob.
        blob: std::path::PathBuf,
    },
    /// vmlinker's side of the benchmark of kallsyms, as a process of its own.
    #[command(hide = true)]
    BenchKallsyms(bench::Convert),
    /// Write the record of the link call that Kbuild makes.
    #[command(hide = true)]
    RecordCall {
        /// Kbuild's arguments.
        #[arg(last = true)]
        words: Vec<String>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::BenchBtf { blob } => bench::read(&blob),
        Task::BenchKallsyms(args) => bench::convert(&args),
        Task::RecordCall { words } => record::write(&words),
        Task::Setup { purpose } => setup::run(purpose),
        Task::Kernel { name, tree, quiet } => kernel_task(&name, tree, quiet),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn kernel_task(name: &str, tree: Option<PathBuf>, quiet: bool) -> Result<()> {
    let series = kernel::recipe(name)?.series;
    setup::kernel(tree.is_none().then_some(series))?;
    let kernel = kernel::Kernel::new(name, tree.as_deref(), quiet)?;
    let directory = kernel.build()?;
    record::record(&kernel)?;
    println!("{}", directory.display());
    Ok(())
}
