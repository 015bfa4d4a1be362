//! Boots a linked kernel in QEMU and brings back what the kernel says about itself.
//!
//! The kernel runs through its PVH entry, so QEMU takes `vmlinux` as it was linked, with no boot loader
//! and no bzImage. Its root is an initramfs with Debian's static busybox and one script; the serial port is
//! the only way out of so small a kernel, so long texts leave it compressed. It takes about 5 s in
//! software emulation, 2 s of it the serial port. A test may add programs and a script of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::initramfs::Archive;

/// Where Debian's busybox-static is.
const BUSYBOX: &str = "/bin/busybox";
/// What starts and ends a marked text on the console.
const MARK: &str = "@@vmlinker";
/// How long a boot may take before it counts as hung.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// The tables of kallsyms itself, which 6.1 leaves out of them.
const OWN_TABLES: [&str; 9] = [
    "kallsyms_addresses",
    "kallsyms_offsets",
    "kallsyms_relative_base",
    "kallsyms_num_syms",
    "kallsyms_names",
    "kallsyms_markers",
    "kallsyms_seqs_of_names",
    "kallsyms_token_table",
    "kallsyms_token_index",
];

/// The guest's first process. It prints each text between two marks, long ones as gzip in base64.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
# From here on only this script writes to the console.
dmesg -n 1
text() { echo "@@vmlinker $1"; cat; echo; echo "@@vmlinker end"; }
long() { [ ! -e "$2" ] || { gzip -1 -c "$2" | base64 | text "$1"; }; }
text version < /proc/version
for module in /modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module"
done 2>&1 | text insmod
text modules < /proc/modules
for blob in /sys/kernel/btf/*; do
    [ ! -e "$blob" ] || sha256sum "$blob"
done | text btf
dmesg | grep -E 'BTF|BPF' | text log
[ ! -e /script ] || . /script
long kallsyms /proc/kallsyms
if mount -t tracefs tracefs /trace 2>/dev/null; then
    long functions /trace/available_filter_functions
fi
text done < /dev/null
# QEMU runs with -no-reboot; powering off would need ACPI.
reboot -f
"#;

/// A kernel to boot.
#[derive(Debug)]
pub struct Guest<'a> {
    /// The linked kernel, an ELF file with a PVH note.
    pub vmlinux: &'a Path,
    /// Modules that the guest is to insert, in the order of their file names.
    pub modules: &'a [PathBuf],
    /// Further files of the machine, each with its name in the guest without the first slash.
    pub files: &'a [(String, PathBuf)],
    /// A script for the guest's shell, run when the modules are in. What it pipes into `text NAME` comes
    /// back in [`BootReport::texts`].
    pub script: &'a str,
    /// After this the guest counts as hung.
    pub timeout: Duration,
}

/// What a booted kernel said.
#[derive(Debug)]
pub struct BootReport {
    /// `/proc/version`.
    pub version: String,
    /// `/proc/kallsyms`, all of it; `None` from a kernel without kallsyms.
    pub kallsyms: Option<String>,
    /// SHA-256 of each file of `/sys/kernel/btf` in hexadecimal, by its name, after the modules were inserted.
    pub btf: BTreeMap<String, String>,
    /// The lines of the kernel's log that speak of BTF or BPF: nothing if all went well.
    pub log: String,
    /// `/proc/modules`, after the modules were inserted.
    pub modules: String,
    /// What inserting them printed: nothing if all went well.
    pub insmod: String,
    /// `available_filter_functions` of ftrace: each name is an address that the kernel resolved
    /// through kallsyms. `None` from a kernel without the function tracer.
    pub functions: Option<String>,
    /// What the guest's own script said, by name.
    pub texts: BTreeMap<String, String>,
    /// Everything on the serial console.
    pub console: String,
    /// From the start of QEMU to its end.
    pub elapsed: Duration,
}

/// Boots `vmlinux` with no modules.
///
/// # Errors
/// The kernel cannot be started, hangs, or stops before it has said all; the error shows the end of the console.
pub fn boot(vmlinux: &Path) -> Result<BootReport> {
    Guest::of(vmlinux).boot()
}

impl<'a> Guest<'a> {
    /// This kernel with nothing added.
    pub fn of(vmlinux: &'a Path) -> Self {
        Guest { vmlinux, modules: &[], files: &[], script: "", timeout: TIMEOUT }
    }

    /// Boots it and waits until it ends.
    ///
    /// # Errors
    /// As for [`boot`].
    pub fn boot(&self) -> Result<BootReport> {
        ensure!(self.vmlinux.exists(), "no kernel {}", self.vmlinux.display());
        let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
        let initrd = scratch.path().join("initramfs.cpio");
        fs::write(&initrd, self.initramfs()?)?;
        let console_file = scratch.path().join("console");
        let start = Instant::now();
        let ended = self.run(&initrd, &console_file)?;
        let elapsed = start.elapsed();
        let console = String::from_utf8_lossy(&fs::read(&console_file)?).replace('\r', "");
        let texts = marked(&console);
        if !ended || !texts.contains_key("done") {
            let what = if ended { "stopped before it had said all" } else { "hangs" };
            bail!("{} {what}; its console ends:\n{}", self.vmlinux.display(), tail(&console));
        }
        let text = |name: &str| texts.get(name).map(|text| text.trim_end().to_owned());
        Ok(BootReport {
            version: text("version").unwrap_or_default(),
            kallsyms: texts.get("kallsyms").map(|text| unpack(text)).transpose()?,
            btf: text("btf").unwrap_or_default().lines().filter_map(named_sum).collect(),
            log: text("log").unwrap_or_default(),
            modules: text("modules").unwrap_or_default(),
            insmod: text("insmod").unwrap_or_default(),
            functions: texts.get("functions").map(|text| unpack(text)).transpose()?,
            texts: texts.iter().map(|(name, text)| (name.to_string(), text.clone())).collect(),
            console,
            elapsed,
        })
    }

    fn initramfs(&self) -> Result<Vec<u8>> {
        let busybox = fs::read(BUSYBOX).with_context(|| {
            format!("{BUSYBOX}: install busybox-static, or run cargo xtask test")
        })?;
        let mut archive = Archive::new();
        for directory in ["bin", "dev", "proc", "sys", "trace", "modules"] {
            archive.directory(directory);
        }
        archive.character_device("dev/console", 5, 1);
        archive.program("bin/busybox", &busybox);
        archive.program("init", INIT.as_bytes());
        archive.program("script", self.script.as_bytes());
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        for module in self.modules {
            let name = module.file_name().context("a module has no file name")?;
            archive.program(&format!("modules/{}", name.to_string_lossy()), &read(module)?);
        }
        let mut made = BTreeSet::from([Path::new("bin"), Path::new("")]);
        for (name, path) in self.files {
            let above: Vec<&Path> = Path::new(name).ancestors().skip(1).collect();
            for directory in above.into_iter().rev().filter(|&directory| made.insert(directory)) {
                archive.directory(&directory.to_string_lossy());
            }
            archive.program(name, &read(path)?);
        }
        Ok(archive.finish())
    }

    /// Runs QEMU with the console going to a file. False if it had to be killed.
    fn run(&self, initrd: &Path, console: &Path) -> Result<bool> {
        let mut qemu = Command::new("qemu-system-x86_64");
        // A second option of its kind: no KVM, which a machine may lack or forbid.
        qemu.args(["-accel", "tcg", "-m", "256M", "-nodefaults", "-display", "none"])
            .args(["-no-reboot", "-serial"])
            .arg(format!("file:{}", console.display()))
            .arg("-kernel")
            .arg(self.vmlinux)
            .arg("-initrd")
            .arg(initrd)
            // nokaslr: the addresses of /proc/kallsyms are those of System.map. no_timer_check: on a busy
            // machine the emulated timer is so late that the kernel would take it for broken.
            .args(["-append", "console=ttyS0 nokaslr no_timer_check panic=-1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        let mut child = qemu.spawn().context("qemu-system-x86_64: install qemu-system-x86")?;
        let ended = wait(&mut child, self.timeout)?;
        Ok(ended)
    }
}

/// Waits for the child; kills it and returns false when the time is over.
fn wait(child: &mut Child, timeout: Duration) -> Result<bool> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "qemu-system-x86_64: {status}");
            return Ok(true);
        }
        if start.elapsed() > timeout {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The texts between marks, by name.
fn marked(console: &str) -> BTreeMap<&str, String> {
    let mut texts = BTreeMap::new();
    let mut open: Option<(&str, String)> = None;
    for line in console.lines() {
        match (line.strip_prefix(MARK).map(str::trim), &mut open) {
            (Some("end"), _) => texts.extend(open.take()),
            (Some(name), _) => open = Some((name, String::new())),
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    texts
}

/// A line of sha256sum as a file's name, without its directory, and its sum.
fn named_sum(line: &str) -> Option<(String, String)> {
    let (sum, path) = line.split_once("  ")?;
    Some((path.rsplit('/').next()?.to_owned(), sum.to_owned()))
}

/// A program and the shared libraries that it is linked with, as [`Guest::files`] takes them: the program
/// in `bin`, the libraries where the dynamic linker of this machine found them.
///
/// # Errors
/// `ldd` cannot be run or does not find one of them.
pub fn with_libraries(program: &Path) -> Result<Vec<(String, PathBuf)>> {
    let name = program.file_name().context("a program has a name")?.to_string_lossy();
    let mut files = vec![(format!("bin/{name}"), program.to_owned())];
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    ensure!(output.status.success(), "ldd {}: {}", program.display(), output.status);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        ensure!(!line.contains("not found"), "{}: {line}", program.display());
        // `NAME => PATH (ADDRESS)`, or the PATH of the dynamic linker alone.
        if let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) {
            files.push((path.trim_start_matches('/').to_owned(), PathBuf::from(path)));
        }
    }
    Ok(files)
}

/// Undoes `gzip | base64`.
fn unpack(text: &str) -> Result<String> {
    let packed = filter(Command::new("base64").arg("-d"), text.trim_end().as_bytes())?;
    let bytes = filter(Command::new("gzip").arg("-dc"), &packed)?;
    String::from_utf8(bytes).context("the guest's text is not UTF-8")
}

/// What the command makes of `input`.
fn filter(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let output = std::thread::scope(|scope| {
        // Its end closes the pipe; a child that stops reading shows in its exit status.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output()
    })?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(output.stdout)
}

fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

impl BootReport {
    /// Checks the guest's `/proc/kallsyms` against the text of System.map, and returns how many symbols agree.
    ///
    /// kallsyms leaves out absolute symbols (type `A`) and, before 6.5, its own tables; it may show per-CPU
    /// symbols as absolute. Symbols of modules and of generated code are not the linker's. Everything
    /// else must be the same: address, type and name.
    ///
    /// # Errors
    /// Names the first symbols that differ.
    pub fn check_kallsyms(&self, system_map: &str) -> Result<usize> {
        let kallsyms = self.kallsyms.as_deref().context("the kernel has no /proc/kallsyms")?;
        let seen = symbols(kallsyms.lines().filter(|line| !line.contains('\t')))?;
        let linked = symbols(system_map.lines())?;
        let mut differences = Vec::new();
        let absolute = |types: &[&str]| types.iter().all(|&kind| kind == "A");
        for (symbol, types) in &linked {
            match seen.get(symbol) {
                Some(shown) if shown == types || absolute(shown) => {}
                None if absolute(types) || OWN_TABLES.contains(&symbol.1) => {}
                shown => {
                    differences.push(format!("System.map {symbol:?} {types:?}, guest {shown:?}"))
                }
            }
        }
        let unknown = seen.keys().filter(|symbol| !linked.contains_key(*symbol));
        differences.extend(unknown.map(|symbol| format!("only the guest has {symbol:?}")));
        ensure!(
            differences.is_empty(),
            "{} symbols differ: {}",
            differences.len(),
            differences[..differences.len().min(5)].join("; ")
        );
        Ok(seen.values().map(Vec::len).sum())
    }

    /// Checks that the BTF which the guest exports for `image`, its kernel or a module, is the section `.BTF` of
    /// that file; returns its size in bytes.
    ///
    /// # Errors
    /// The two differ, or one of them is not there.
    pub fn check_btf(&self, image: &Path) -> Result<usize> {
        let data = fs::read(image).with_context(|| image.display().to_string())?;
        let elf = image::Elf::parse(&data)?;
        let (_, section) = elf.section(".BTF").context("the image has no .BTF")?;
        let linked = elf.bytes(section)?;
        let sum = filter(&mut Command::new("sha256sum"), linked)?;
        let sum = String::from_utf8_lossy(&sum);
        let sum = sum.split_whitespace().next().unwrap_or_default();
        let module = image.file_stem().filter(|_| image.extension().is_some_and(|e| e == "ko"));
        let name = module.map_or("vmlinux".into(), |stem| stem.to_string_lossy());
        let seen = self
            .btf
            .get(&*name)
            .with_context(|| format!("no /sys/kernel/btf/{name} in the guest"))?;
        ensure!(
            sum == seen,
            "{name}: the guest's BTF has SHA-256 {seen}, the section .BTF has {sum}"
        );
        Ok(linked.len())
    }

    /// Checks that every function which ftrace found by its address has a name of System.map; returns how many.
    ///
    /// # Errors
    /// Names the first that has not.
    pub fn check_functions(&self, system_map: &str) -> Result<usize> {
        let functions = self.functions.as_deref().context("the kernel has no function tracer")?;
        let names: BTreeSet<&str> =
            system_map.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        // A name in brackets after it is a module's. The other form is a weak function that was replaced:
        // a tree whose sorttable does not drop its entry (6.1) lets the kernel mark it so.
        let own = functions
            .lines()
            .filter(|line| !line.contains('[') && !line.starts_with("__ftrace_invalid_address___"));
        let own: Vec<&str> = own.filter_map(|line| line.split_whitespace().next()).collect();
        if let Some(unknown) = own.iter().find(|name| !names.contains(*name)) {
            bail!("ftrace found {unknown}, which System.map does not have");
        }
        ensure!(!own.is_empty(), "ftrace found no function");
        Ok(own.len())
    }
}

/// `address type name` lines as a map from address and name to the types that stand there.
fn symbols<'a>(
    lines: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<(&'a str, &'a str), Vec<&'a str>>> {
    let mut symbols: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for line in lines {
        let mut words = line.splitn(3, ' ');
        let (Some(addr), Some(kind), Some(name)) = (words.next(), words.next(), words.next())
        else {
            bail!("{line:?} is not a symbol's line");
        };
        symbols.entry((addr, name)).or_default().push(kind);
    }
    symbols.values_mut().for_each(|types| types.sort_unstable());
    Ok(symbols)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kallsyms: &str) -> BootReport {
        BootReport {
            version: String::new(),
            kallsyms: Some(kallsyms.to_owned()),
            btf: BTreeMap::new(),
            log: String::new(),
            modules: String::new(),
            insmod: String::new(),
            functions: None,
            texts: BTreeMap::new(),
            console: String::new(),
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn kallsyms_may_lack_absolutes_and_show_per_cpu_symbols_as_such() {
        let map = "0000 D cpu\n0001 A size\n1000 T _text\n1000 t alias\n";
        assert_eq!(
            report("0000 A cpu\n1000 t alias\n1000 T _text\n").check_kallsyms(map).unwrap(),
            3
        );
        assert_eq!(report("0 A cpu\n").check_kallsyms("0 D cpu\n").unwrap(), 1);
    }

    #[test]
    fn a_wrong_address_a_wrong_type_and_a_lost_symbol_are_found() {
        let map = "1000 T _text\n1010 T start\n";
        for wrong in
            ["1000 T _text\n1011 T start\n", "1000 T _text\n1010 D start\n", "1000 T _text\n"]
        {
            let error = report(wrong).check_kallsyms(map).unwrap_err().to_string();
            assert!(error.contains("start"), "{error}");
        }
    }

    #[test]
    fn marked_texts_are_cut_out_of_the_console() {
        let texts = marked(
            "noise\n@@vmlinker version\nLinux\n\n@@vmlinker end\nnoise\n@@vmlinker done\n@@vmlinker end\n",
        );
        assert_eq!(texts["version"], "Linux\n\n");
        assert_eq!(texts["done"], "");
    }
}
