//! `cargo xtask demo`: a real kernel, linked by its own script and by vmlinker, compared and booted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use peer_tests::boot::{self, BootReport};
use pipeline::timeline::Link;

use crate::kernel::{self, Kernel};
use crate::progress::{headline, say};
use crate::timeline;
use crate::{process, record, setup, workspace};

/// What the demonstration works on.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Your own kernel source tree instead of Debian's.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// The kernel's configuration, by its name in the cache.
    #[arg(long, value_name = "NAME", default_value = "6.12-tiny")]
    kernel: String,
}

/// A link that was run again.
struct Linked {
    vmlinux: PathBuf,
    system_map: PathBuf,
    timeline: Link,
}

/// Runs the demonstration.
///
/// # Errors
/// Also when the two results are not the same bytes, or the kernel does not boot.
pub fn run(args: &Args) -> Result<()> {
    headline("set-up");
    let series = kernel::recipe(&args.kernel)?.series;
    setup::kernel(args.tree.is_none().then_some(series))?;
    setup::boot()?;
    headline(&format!("the kernel: {}", args.kernel));
    let kernel = Kernel::new(&args.kernel, args.tree.as_deref(), false)?;
    kernel.build()?;
    record::record(&kernel)?;
    headline("vmlinker, built for release");
    let vmlinker = workspace::release("vmlinker")?;

    let out = peer_tests::cache().join("demo");
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    headline("the kernel's own scripts/link-vmlinux.sh links it");
    let script = relink(&vmlinker, &kernel, &out.join("vmlinux.script"), &["--script"])?;
    headline("vmlinker links it");
    let ours = relink(&vmlinker, &kernel, &out.join("vmlinux.vmlinker"), &[])?;

    headline("the two results");
    compare(&script.vmlinux, &ours.vmlinux)?;
    compare(&script.system_map, &ours.system_map)?;
    headline("the two timelines (wall time of each step, seconds)");
    print!("{}", timeline::side_by_side(&script.timeline, &ours.timeline));

    headline("vmlinker's kernel boots in QEMU");
    let report = boot::boot(&ours.vmlinux)?;
    show(&report, &ours)
}

/// Runs the recorded link again, as a person would.
fn relink(vmlinker: &Path, kernel: &Kernel, output: &Path, how: &[&str]) -> Result<Linked> {
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", output.display()));
    let timings = beside(".timings.json");
    let mut command = Command::new(vmlinker);
    command.arg("relink").args(how).arg("-C").arg(kernel.directory());
    command.arg("--output").arg(output).arg("--timings").arg(&timings);
    say(&format!("$ {}", process::shown(&command)));
    process::run(&mut command)?;
    let timeline = timeline::read(&timings)?;
    Ok(Linked { vmlinux: output.to_owned(), system_map: beside(".System.map"), timeline })
}

/// Shows what `cmp` says.
fn compare(a: &Path, b: &Path) -> Result<()> {
    let mut cmp = Command::new("cmp");
    cmp.args([a, b]);
    println!("$ {}", process::shown(&cmp));
    process::run(&mut cmp)?;
    println!("the same {} bytes", fs::metadata(b)?.len());
    Ok(())
}

/// Shows what the booted kernel said, beside what the link made.
fn show(report: &BootReport, linked: &Linked) -> Result<()> {
    println!("guest: {}", report.version);
    if let Some(kallsyms) = &report.kallsyms {
        let system_map = fs::read_to_string(&linked.system_map)?;
        let same = report.check_kallsyms(&system_map)?;
        println!("guest: /proc/kallsyms has {same} symbols of the kernel, as System.map has them:");
        kallsyms.lines().filter(|line| !line.starts_with("00000000")).take(3).for_each(|line| {
            println!("guest:     {line}");
        });
        if report.functions.is_some() {
            let names = report.check_functions(&system_map)?;
            println!("guest: ftrace resolved {names} addresses to names of System.map");
        }
    }
    if let Some(sum) = report.btf.get("vmlinux") {
        let bytes = report.check_btf(&linked.vmlinux)?;
        println!(
            "guest: /sys/kernel/btf/vmlinux is the section .BTF: {bytes} bytes, SHA-256 {sum}"
        );
    }
    ensure!(!report.version.is_empty(), "the guest did not say its version");
    say(&format!("{:.1} s from start to end", report.elapsed.as_secs_f64()));
    Ok(())
}
