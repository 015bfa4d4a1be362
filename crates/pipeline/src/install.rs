//! Putting vmlinker into a kernel tree, and taking it out again.
//!
//! Kbuild runs `scripts/link-vmlinux.sh`; a small script takes its place and calls vmlinker. The
//! kernel's own script is moved aside as it is, so moving it back restores every byte, its mode and
//! its time.
//!
//! In a git tree the exchanged file would make `scripts/setlocalversion` append `-dirty` to the
//! kernel's release. Git is told to leave the file out of sight (`skip-worktree`); the moved script
//! begins with a dot, and kernel trees ignore such files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::error::{Error, Result};
use crate::features::Features;
use crate::record::RECORD;
use crate::{files, process, remembered};

/// What Kbuild runs.
const SCRIPT: &str = "scripts/link-vmlinux.sh";

/// Where the kernel's own script is while vmlinker stands in its place.
const KEPT: &str = "scripts/.link-vmlinux.sh.kernel";

/// A line of our script, by which it is known.
const MARK: &str = "# Put here by 'vmlinker install'.";

/// A line of our script: git was told to leave it out of sight, and has to be told otherwise.
const SKIPPED: &str = "# git: skip-worktree";

/// The kernel's own script, wherever it is now.
pub fn original_script(srctree: &Path) -> PathBuf {
    let kept = srctree.join(KEPT);
    if kept.exists() { kept } else { srctree.join(SCRIPT) }
}

/// Who does the link that Kbuild asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The kernel's own script.
    Kernel,
    /// vmlinker, this program.
    Installed(PathBuf),
    /// Our script calls this program, which is gone: the kernel's own script does the link.
    Gone(PathBuf),
    /// Something else took the place of our script, which Kbuild runs now.
    Replaced,
    /// Our script is not as it was written, or the kernel's own is missing; with the reason.
    Damaged(String),
}

/// What stands in the place of the kernel's own script in `srctree`.
///
/// # Errors
/// A script is there and cannot be read.
pub fn state(srctree: &Path) -> Result<State> {
    let (script, kept) = (srctree.join(SCRIPT), srctree.join(KEPT));
    if !script.exists() {
        return Ok(match kept.exists() {
            true => State::Damaged(format!("there is no {SCRIPT}")),
            false => State::Kernel,
        });
    }
    let text = files::read_text(&script)?;
    if !text.contains(MARK) {
        return Ok(if kept.exists() { State::Replaced } else { State::Kernel });
    }
    if !kept.exists() {
        return Ok(State::Damaged(format!("the kernel's own script is not at {KEPT}")));
    }
    let Some(program) = called(&text) else {
        return Ok(State::Damaged(format!("{SCRIPT} is not as vmlinker wrote it")));
    };
    let meta = fs::metadata(&script).map_err(|error| Error::file(&script, error.kind()))?;
    if meta.permissions().mode() & 0o111 == 0 {
        return Ok(State::Damaged(format!("{SCRIPT} is not executable")));
    }
    let runs = fs::metadata(&program).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
    Ok(if runs { State::Installed(program) } else { State::Gone(program) })
}

/// The program that our script `text` calls, if the script is whole.
fn called(text: &str) -> Option<PathBuf> {
    let line = text.lines().find_map(|line| line.strip_prefix("if [ -x "))?;
    let word = line.strip_suffix(" ]; then")?;
    let program = match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
        Some(quoted) => quoted.replace(r"'\''", "'"),
        None => word.to_string(),
    };
    let program = PathBuf::from(program);
    (text == stub_of(&program, text.contains(SKIPPED))).then_some(program)
}

/// Puts `program` (a vmlinker) into the kernel tree `srctree`.
///
/// # Errors
/// It is installed already; there is no script, or not one that vmlinker understands; the tree cannot
/// be written to; git refuses. The tree is as it was then.
pub fn install(srctree: &Path, program: &Path) -> Result<()> {
    let (script, kept) = (srctree.join(SCRIPT), srctree.join(KEPT));
    if kept.exists() {
        return Err(Error::file(srctree, "vmlinker is installed here already")
            .advise("to install another one: vmlinker uninstall, then install"));
    }
    let text = files::read_text(&script)
        .map_err(|error| error.advise("is this the source tree of a kernel?"))?;
    Features::detect(&text).map_err(|error| {
        Error::file(&script, error).advise("the scripts of Linux 6.1 to 7.3 are known")
    })?;
    let tracked = git_tracks(srctree)?;
    let stub = stub(program, tracked)?;
    files::rename(&script, &kept)?;
    let result = write_stub(&script, &stub).and_then(|()| match tracked {
        true => update_index(srctree, "--skip-worktree"),
        false => Ok(()),
    });
    if result.is_err() {
        files::rename(&kept, &script)?;
    }
    result
}

/// Restores the kernel's own script in `srctree`.
///
/// # Errors
/// vmlinker is not installed there, or its script was replaced by something else meanwhile.
pub fn uninstall(srctree: &Path) -> Result<()> {
    let (script, kept) = (srctree.join(SCRIPT), srctree.join(KEPT));
    if !kept.exists() {
        return Err(Error::file(srctree, "vmlinker is not installed here")
            .advise("vmlinker is installed in sources: where the kernel's own Makefile is"));
    }
    let text = files::read_text(&script)?;
    if !text.contains(MARK) {
        let advice = format!("the script of the time of the installation is {}", kept.display());
        return Err(
            Error::file(&script, "not vmlinker's any more; it is left as it is").advise(advice)
        );
    }
    if text.contains(SKIPPED) {
        update_index(srctree, "--no-skip-worktree")?;
    }
    // A kernel that is built where its sources are has the record of its link here, and what is remembered of it.
    files::remove(&srctree.join(RECORD))?;
    remembered::forget(srctree)?;
    files::rename(&kept, &script)
}

/// The script that stands in the place of the kernel's.
fn stub(program: &Path, skipped: bool) -> Result<String> {
    let absolute = program.canonicalize();
    let absolute = absolute.map_err(|error| Error::file(program, error.kind()))?;
    Ok(stub_of(&absolute, skipped))
}

/// The script that calls `program`, an absolute path.
fn stub_of(program: &Path, skipped: bool) -> String {
    let program = process::quote(&program.to_string_lossy());
    let skipped = if skipped { format!("{SKIPPED}\n") } else { String::new() };
    format!(
        "#!/bin/sh\n\
         {MARK}\n\
         # 'vmlinker uninstall' restores the kernel's own script, kept as {KEPT}.\n\
         {skipped}\
         if [ -x {program} ]; then\n\
         \tVMLINKER_SCRIPT=\"$0\" exec {program} link \"$@\"\n\
         fi\n\
         echo >&2 vmlinker: {program} is gone: the kernel\\'s own script does the link\n\
         exec ${{CONFIG_SHELL:-sh}} \"${{0%/*}}/{}\" \"$@\"\n",
        KEPT.trim_start_matches("scripts/")
    )
}

fn write_stub(script: &Path, stub: &str) -> Result<()> {
    files::write(script, stub.as_bytes())?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(script, executable).map_err(|error| Error::file(script, error.kind()))
}

/// Whether the script is a file that git watches.
fn git_tracks(srctree: &Path) -> Result<bool> {
    if !srctree.join(".git").exists() {
        return Ok(false);
    }
    let output = git(srctree, &["ls-files", "--error-unmatch", SCRIPT])?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(git_error(srctree, &output)),
    }
}

fn update_index(srctree: &Path, flag: &str) -> Result<()> {
    let output = git(srctree, &["update-index", flag, SCRIPT])?;
    if output.status.success() { Ok(()) } else { Err(git_error(srctree, &output)) }
}

fn git(srctree: &Path, arguments: &[&str]) -> Result<Output> {
    let mut git = Command::new("git");
    git.arg("-C").arg(srctree).args(arguments);
    let output = git.output();
    output.map_err(|error| {
        Error::file(srctree, format!("a git tree, but git cannot be run: {error}"))
            .advise("git has to be told of the exchanged script, or the release says -dirty")
    })
}

fn git_error(srctree: &Path, output: &Output) -> Error {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut lines = text.lines();
    let line = lines.next().unwrap_or("no message");
    // git says what to do in the further ones.
    lines.fold(Error::file(srctree, format!("git refuses: {line}")), Error::advise)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNELS: &str = "if is_enabled CONFIG_LTO_CLANG; then\n\tobjs=vmlinux.o\nfi\n\
                           vmlinux_link .tmp_vmlinux1\n";

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("scripts")).unwrap();
        fs::write(dir.path().join(SCRIPT), KERNELS).unwrap();
        fs::set_permissions(dir.path().join(SCRIPT), fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    fn run_git(dir: &Path, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
        let output = git(dir, &[&identity, arguments].concat()).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn program() -> PathBuf {
        std::env::current_exe().unwrap()
    }

    #[test]
    fn uninstalling_restores_bytes_mode_and_time() {
        let tree = tree();
        let script = tree.path().join(SCRIPT);
        let before = fs::metadata(&script).unwrap();
        install(tree.path(), &program()).unwrap();
        assert!(fs::read_to_string(&script).unwrap().contains(MARK));
        assert_eq!(fs::read_to_string(original_script(tree.path())).unwrap(), KERNELS);
        assert!(install(tree.path(), &program()).is_err());
        uninstall(tree.path()).unwrap();
        let after = fs::metadata(&script).unwrap();
        assert_eq!(fs::read_to_string(&script).unwrap(), KERNELS);
        assert_eq!(after.permissions(), before.permissions());
        assert_eq!(after.modified().unwrap(), before.modified().unwrap());
        assert!(!tree.path().join(KEPT).exists());
        assert!(uninstall(tree.path()).is_err());
    }

    #[test]
    fn the_state_tells_who_links() {
        let tree = tree();
        let script = tree.path().join(SCRIPT);
        let now = || state(tree.path()).unwrap();
        let damaged = || matches!(now(), State::Damaged(_));
        assert_eq!(now(), State::Kernel);
        let vmlinker = tree.path().join("a 'quoted' name");
        fs::copy("/bin/sh", &vmlinker).unwrap();
        install(tree.path(), &vmlinker).unwrap();
        let vmlinker = vmlinker.canonicalize().unwrap();
        assert_eq!(now(), State::Installed(vmlinker.clone()));
        fs::remove_file(&vmlinker).unwrap();
        assert_eq!(now(), State::Gone(vmlinker));

        let whole = fs::read_to_string(&script).unwrap();
        fs::write(&script, &whole[..whole.len() - 20]).unwrap();
        assert!(damaged());
        fs::write(&script, &whole).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(damaged());
        fs::write(&script, "newer").unwrap();
        assert_eq!(now(), State::Replaced);
        fs::remove_file(&script).unwrap();
        assert!(damaged());
        fs::remove_file(tree.path().join(KEPT)).unwrap();
        assert_eq!(now(), State::Kernel);
        fs::write(&script, &whole).unwrap();
        assert!(damaged());
    }

    #[test]
    fn a_git_tree_stays_clean_in_both_states() {
        let tree = tree();
        fs::write(tree.path().join(".gitignore"), ".*\n").unwrap();
        run_git(tree.path(), &["init", "-q"]);
        run_git(tree.path(), &["add", "-f", "."]);
        run_git(tree.path(), &["commit", "-qm", "kernel"]);
        let status = || run_git(tree.path(), &["status", "--porcelain"]);
        install(tree.path(), &program()).unwrap();
        assert_eq!(status(), "");
        uninstall(tree.path()).unwrap();
        assert_eq!(status(), "");
        fs::write(tree.path().join(SCRIPT), "changed").unwrap();
        assert_eq!(status(), format!(" M {SCRIPT}\n"));
    }

    #[test]
    fn a_foreign_script_is_not_replaced() {
        let tree = tree();
        fs::write(tree.path().join(SCRIPT), "#!/bin/sh\n").unwrap();
        assert!(install(tree.path(), &program()).is_err());
        assert_eq!(fs::read_to_string(tree.path().join(SCRIPT)).unwrap(), "#!/bin/sh\n");
    }

    #[test]
    fn a_script_that_was_replaced_meanwhile_is_left_alone() {
        let tree = tree();
        install(tree.path(), &program()).unwrap();
        fs::write(tree.path().join(SCRIPT), "newer").unwrap();
        let error = uninstall(tree.path()).unwrap_err();
        assert!(error.to_string().contains("not vmlinker's any more"));
        assert_eq!(fs::read_to_string(tree.path().join(SCRIPT)).unwrap(), "newer");
    }
}
