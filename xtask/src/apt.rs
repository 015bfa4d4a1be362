//! Debian packages: which are missing, installing them, and fetching newer ones beside the system.
//!
//! What the machine's own suite has is installed the ordinary way, as root. What it does not have comes
//! through a private apt: own source list, own lists and cache, an empty status file. It needs no root, and
//! the system's apt never learns of it. The mirror is the one that the machine's own sources name.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::mirror;
use crate::process;
use crate::progress::{self, Live};

/// Signs every suite of Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Installs those of `packages` that are missing.
///
/// # Errors
/// Without root: says the command to run.
pub fn install(packages: &[&str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        progress::say(&format!("{} Debian packages are there", packages.len()));
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_root()? {
        bail!(
            "Debian packages are missing, and only root can install them. Run\n\n    \
             sudo apt-get update && sudo apt-get install --no-install-recommends {names}\n\n\
             and then this again"
        );
    }
    progress::say(&format!("installs {} Debian packages: {names}", missing.len()));
    let log = log()?;
    let live = |title: &str, command: &mut Command| {
        let mut live = Live::new(title, false);
        process::logged(command, &log, |line| live.update(line))?;
        live.finish("done");
        anyhow::Ok(())
    };
    live("apt-get update", apt_get().arg("update"))?;
    let mut install = apt_get();
    install.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    live("apt-get install", &mut install)
}

/// Those of `packages` that are not installed.
fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    // It exits with 1 when it does not know one of them; what it prints is right all the same.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(packages)
        .stderr(Stdio::null())
        .output()
        .context("dpkg-query: this needs Debian 12 or a later one")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let installed = |package: &str| text.lines().any(|line| line == format!("{package} installed"));
    Ok(packages.iter().copied().filter(|package| !installed(package)).collect())
}

/// Whether the machine's own suites have `package`. Reads their lists first if there are none.
pub fn offers(package: &str) -> Result<bool> {
    let known = || {
        let mut policy = Command::new("apt-cache");
        let text = process::output(policy.env("LC_ALL", "C").args(["policy", package]))?;
        let candidate = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        anyhow::Ok(candidate.is_some_and(|version| version != "(none)"))
    };
    if known()? {
        return Ok(true);
    }
    if !is_root()? {
        return Ok(false);
    }
    process::logged(apt_get().arg("update"), &log()?, |_| ())?;
    known()
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8").args([
        "-o",
        "DPkg::Lock::Timeout=600",
        "-o",
        "APT::Color=0",
    ]);
    command
}

fn log() -> Result<PathBuf> {
    let cache = peer_tests::cache();
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    Ok(cache.join("apt.log"))
}

/// An apt of its own for some suites of Debian.
#[derive(Debug)]
pub struct Private {
    directory: PathBuf,
}

impl Private {
    /// Reads the package lists of `suites` into `cache()/apt/NAME`.
    pub fn update(name: &str, suites: &[&str]) -> Result<Self> {
        let directory = peer_tests::cache().join("apt").join(name);
        for part in ["lists/partial", "cache/archives/partial", "state"] {
            let part = directory.join(part);
            fs::create_dir_all(&part).with_context(|| part.display().to_string())?;
        }
        let mirror = mirror::of_this_machine()?;
        let line = |suite: &&str| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        fs::write(directory.join("sources.list"), suites.iter().map(line).collect::<String>())?;
        fs::write(directory.join("status"), "")?;
        fs::write(directory.join(CONFIGURATION), configuration(&directory))?;
        let apt = Private { directory };
        let mut live = Live::new(&format!("package lists of {}", suites.join(", ")), false);
        process::logged(apt.command("apt-get").arg("update"), &log()?, |line| live.update(line))?;
        live.finish("read");
        Ok(apt)
    }

    /// The names of the packages that match the regular expression.
    pub fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let mut command = self.command("apt-cache");
        let text = process::output(command.args(["search", "--names-only", pattern]))?;
        let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(text.lines().filter_map(name).collect())
    }

    /// The version of `package` that would be fetched.
    pub fn version(&self, package: &str) -> Result<String> {
        let mut command = self.command("apt-cache");
        let text = process::output(command.args(["show", "--no-all-versions", package]))?;
        text.lines()
            .find_map(|line| line.strip_prefix("Version: "))
            .map(str::to_owned)
            .with_context(|| format!("no package {package}"))
    }

    /// Fetches `package` alone and unpacks it into `target`.
    pub fn unpack(&self, package: &str, target: &Path) -> Result<()> {
        let fetched = self.directory.join("fetched");
        fresh(&fetched)?;
        let mut live = Live::new(&format!("fetching {package}"), false);
        let mut command = self.command("apt-get");
        command.args(["download", package]).current_dir(&fetched);
        process::logged(&mut command, &log()?, |line| live.update(line))?;
        live.finish("done");
        unpack_all(&fetched, target)?;
        fs::remove_dir_all(&fetched).with_context(|| fetched.display().to_string())
    }

    /// Fetches `package` and all that it needs, down to the C library, and unpacks it into `target`.
    pub fn unpack_with_libraries(&self, package: &str, target: &Path) -> Result<()> {
        let archives = self.directory.join("cache/archives");
        fresh(&archives)?;
        fs::create_dir(archives.join("partial"))?;
        let mut live = Live::new(&format!("fetching {package} and its libraries"), false);
        let mut command = self.command("apt-get");
        // Nothing is installed in the eyes of this apt, so the whole closure comes.
        command.args(["install", "--yes", "--download-only", "--no-install-recommends", package]);
        process::logged(&mut command, &log()?, |line| live.update(line))?;
        live.finish("done");
        unpack_all(&archives, target)?;
        fresh(&archives)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        // Read after the system's configuration (its proxy counts here too), so this one wins.
        command.arg("--config-file").arg(self.directory.join(CONFIGURATION));
        command
    }
}

/// The configuration of a private apt, inside its directory.
const CONFIGURATION: &str = "apt.conf";

/// A private apt's configuration: everything that it reads or writes lies in `directory`.
fn configuration(directory: &Path) -> String {
    let at = |file: &str| directory.join(file).display().to_string();
    let options = [
        ("Dir::Etc::sourcelist", at("sources.list")),
        ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
        ("Dir::Etc::preferences", "/dev/null".to_owned()),
        ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
        ("Dir::State", at("state")),
        ("Dir::State::lists", at("lists")),
        ("Dir::State::status", at("status")),
        ("Dir::Cache", at("cache")),
        ("Dir::Cache::archives", at("cache/archives")),
        // The lock files of the system's apt are root's, and not in the way.
        ("Debug::NoLocking", "true".to_owned()),
        // The cache is below a home directory, which apt's own user may not enter.
        ("APT::Sandbox::User", "root".to_owned()),
    ];
    let line = |(name, value): &(&str, String)| format!("{name} \"{value}\";\n");
    let mut text: String = options.iter().map(line).collect();
    // The system's hooks work on the system's files: those of Docker's images empty its cache.
    for hook in
        ["APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success"]
    {
        text.push_str(&format!("#clear {hook};\n"));
    }
    text
}

/// Unpacks every package file in `packages` into `target`.
fn unpack_all(packages: &Path, target: &Path) -> Result<()> {
    fresh(target)?;
    let mut files: Vec<PathBuf> = fs::read_dir(packages)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "deb"));
    // Two packages with the same file: the order decides.
    files.sort();
    if files.is_empty() {
        bail!("apt fetched nothing into {}", packages.display());
    }
    for file in files {
        process::output(Command::new("dpkg-deb").arg("--extract").arg(file).arg(target))?;
    }
    Ok(())
}

/// Makes `directory` an empty directory.
pub fn fresh(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}
