//! What tools say of their versions; what the linker has said is remembered in the tree.
//!
//! Why: how the kernel is to be linked depends on who links it, so nothing can begin before that is known, and a linker that
//! loads LLVM takes longer to say who it is than all that is read before it (READ in `vmlinker timeline`).
//!
//! What was said is believed as long as the program is the same file, unchanged: device, inode, size, and the times of the
//! last change of its contents and of all else (which nobody can set). That is what ccache asks of a compiler. A script is
//! asked each time, and so is a command of several words, for what these start may be another program by now. A file of ours that is missing, cut off, foreign or of
//! another version is no error: the linker is asked.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::{files, process};

/// Name of the file, in the object tree. Kernel trees ignore files that begin with a dot.
pub const LINKER: &str = ".vmlinker.linker";

/// Form of the file; a change of the form or of what stands for a program gets the next number.
const FORMAT: u32 = 1;

/// No file of ours is longer than this, in bytes.
const LONGEST: u64 = 4095;

/// What the linker of an object tree has said.
#[derive(Debug)]
pub struct LinkerVersion {
    dir: PathBuf,
    said: Mutex<Said>,
}

/// How far it is known.
#[derive(Debug)]
enum Said {
    /// It may stand in the tree.
    Perhaps,
    /// It stands in the tree.
    Before(Answer),
    /// It was asked now, or is to be asked.
    Now(Option<Answer>),
}

/// An answer, and who has given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    format: u32,
    vmlinker: String,
    command: String,
    program: Option<Program>,
    version: String,
}

/// What tells a program from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Program {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    contents_changed: (i64, i64),
    /// The same of anything, also of those times.
    changed: (i64, i64),
}

impl LinkerVersion {
    /// Of the linker of the object tree `dir`.
    pub fn of(dir: &Path) -> Self {
        LinkerVersion { dir: dir.to_path_buf(), said: Mutex::new(Said::Perhaps) }
    }

    /// The first line that `command --version` prints.
    pub fn get(&self, command: &str) -> Option<String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*said, Said::Perhaps) {
            *said = self.load().map_or(Said::Now(None), Said::Before);
        }
        let program = Program::of_command(command);
        if let Said::Before(answer) | Said::Now(Some(answer)) = &*said
            && answer.command == command
            && answer.program == program
        {
            return Some(answer.version.clone());
        }
        let version = version(command)?;
        let vmlinker = env!("CARGO_PKG_VERSION").to_string();
        let (command, told) = (command.to_string(), version.clone());
        let answer = Answer { format: FORMAT, vmlinker, command, program, version: told };
        *said = Said::Now(Some(answer));
        Some(version)
    }

    /// Whatever was said before, the linker is asked.
    pub fn forget(&self) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Said::Now(None);
    }

    /// Remembers in the tree what was said now, if that can be believed later.
    ///
    /// # Errors
    /// The tree cannot be written to.
    pub fn save(&self) -> Result<()> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Said::Now(Some(answer)) = &*said else { return Ok(()) };
        if answer.program.is_none() {
            return files::remove(&self.dir.join(LINKER));
        }
        let text = serde_json::to_string(answer).map_err(crate::Error::new)?;
        files::write(&self.dir.join(LINKER), format!("{text}\n").as_bytes())
    }

    fn load(&self) -> Option<Answer> {
        let text = files::read_short(&self.dir.join(LINKER), LONGEST)?;
        let answer: Answer = serde_json::from_slice(&text).ok()?;
        let ours = answer.format == FORMAT && answer.vmlinker == env!("CARGO_PKG_VERSION");
        (ours && answer.program.is_some()).then_some(answer)
    }
}

impl Program {
    /// The program that a command is; `None` if there is none, or it may start another.
    fn of_command(command: &str) -> Option<Self> {
        let mut words = command.split_whitespace();
        let (name, None) = (words.next()?, words.next()) else { return None };
        Self::of(name)
    }

    /// The program that is started by this name; `None` if there is none, or it is a script.
    fn of(name: &str) -> Option<Self> {
        let found = |path: &PathBuf| {
            let meta = fs::metadata(path).ok()?;
            (meta.is_file() && meta.permissions().mode() & 0o111 != 0).then_some(meta)
        };
        let (path, meta) = match name.contains('/') {
            true => (PathBuf::from(name), found(&PathBuf::from(name))?),
            false => env::split_paths(&env::var_os("PATH")?)
                .map(|dir| dir.join(name))
                .find_map(|path| found(&path).map(|meta| (path, meta)))?,
        };
        let mut magic = [0; 4];
        File::open(&path).and_then(|mut file| file.read_exact(&mut magic)).ok()?;
        (magic == *b"\x7fELF").then(|| Program {
            path,
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            contents_changed: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// The first line of `TOOL --version`, if it prints one.
pub fn version(tool: &str) -> Option<String> {
    let mut words = tool.split_whitespace();
    let mut command = Command::new(words.next()?);
    command.args(words).arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    let mut text = Vec::new();
    let answered = process::run_reading(&mut command, |mut stdout| {
        // A tool that says nothing that can be read has no version.
        let _ = stdout.read_to_end(&mut text);
    });
    answered.ok()?;
    String::from_utf8_lossy(&text).lines().next().map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy of a program that says something of itself, and what it says.
    fn program(dir: &Path) -> (String, String) {
        let found = Program::of("sed").expect("there is a sed that is a program").path;
        let copy = dir.join("ld");
        fs::copy(found, &copy).unwrap();
        let command = copy.to_str().unwrap().to_string();
        let said = version(&command).unwrap();
        (command, said)
    }

    #[test]
    fn what_was_said_is_believed_while_the_program_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (command, said) = program(dir.path());
        let linker = LinkerVersion::of(dir.path());
        assert_eq!(linker.get(&command).as_ref(), Some(&said));
        linker.save().unwrap();
        let file = dir.path().join(LINKER);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace(&said, "another")).unwrap();
        let get = |command: &str| LinkerVersion::of(dir.path()).get(command).unwrap();
        assert_eq!(get(&command), "another");
        assert_eq!(get(&format!("{command} ")), said);

        let forgotten = LinkerVersion::of(dir.path());
        forgotten.forget();
        assert_eq!(forgotten.get(&command).as_ref(), Some(&said));

        let permissions = fs::metadata(&command).unwrap().permissions();
        fs::set_permissions(&command, permissions).unwrap();
        assert_eq!(get(&command), said, "what was changed is asked again");
    }

    #[test]
    fn no_file_that_is_cut_off_or_foreign_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (command, said) = program(dir.path());
        let linker = LinkerVersion::of(dir.path());
        linker.get(&command);
        linker.save().unwrap();
        let file = dir.path().join(LINKER);
        let text = fs::read_to_string(&file).unwrap().replace(&said, "another");
        let others = [
            text[..text.len() / 2].to_string(),
            text.replace("\"format\":1", "\"format\":0"),
            text.replace(env!("CARGO_PKG_VERSION"), "0.0.0"),
            text.replace("\"inode\":", "\"inode\":1"),
            format!("{text}{}", " ".repeat(5000)),
        ];
        for other in others {
            fs::write(&file, &other).unwrap();
            assert_eq!(LinkerVersion::of(dir.path()).get(&command).as_ref(), Some(&said));
        }
    }

    #[test]
    fn what_another_program_starts_is_asked_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let (linker, said) = program(dir.path());
        let launched = |linker: &str| {
            let asked = LinkerVersion::of(dir.path());
            let said = asked.get(&format!("env {linker}"));
            asked.save().unwrap();
            said
        };
        assert_eq!(launched(&linker), Some(said));
        assert!(!dir.path().join(LINKER).exists());
        fs::write(&linker, "#!/bin/sh\necho another\n").unwrap();
        assert_eq!(launched(&linker).as_deref(), Some("another"));
    }

    #[test]
    fn a_script_is_asked_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("ld");
        let write = |says: &str| {
            fs::write(&script, format!("#!/bin/sh\necho {says}\n")).unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let get = || {
            let linker = LinkerVersion::of(dir.path());
            let said = linker.get(script.to_str().unwrap());
            linker.save().unwrap();
            said
        };
        write("one");
        assert_eq!(get().as_deref(), Some("one"));
        assert!(!dir.path().join(LINKER).exists());
        write("two");
        assert_eq!(get().as_deref(), Some("two"));
        assert_eq!(LinkerVersion::of(dir.path()).get("/no/such/ld"), None);
    }
}
