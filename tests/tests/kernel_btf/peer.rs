//! One run of the kernel's tool, and one of ours.

use std::fs;
use std::path::Path;
use std::process::Command;

use btf_ids::{KernelBtf, KernelOptions, kernel_btf_of};
use image::Elf;
use peer_tests::tool;
use tempfile::TempDir;

/// What goes in.
pub(crate) struct Input<'a> {
    pub image: &'a [u8],
    /// What pahole wrote.
    pub types: &'a [u8],
    /// The kernel's BTF, for a module.
    pub base: Option<&'a [u8]>,
    pub distill: bool,
}

/// What comes out: the sections, the lines of `-v`, whether it failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub btf: Option<Vec<u8>>,
    pub base: Option<Vec<u8>>,
    pub ids: Option<Vec<u8>>,
    pub lines: Vec<String>,
    pub failed: bool,
}

impl Outcome {
    /// The lines that say something is wrong.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        let words = ["WARN", "ERROR", "FAILED"];
        self.lines.iter().map(String::as_str).filter(move |l| words.iter().any(|w| l.contains(w)))
    }
}

/// Lines about the files and the run itself, which the command prints and not the core.
const OUTSIDE: [&str; 3] = ["Dumped ", "bswap_32 ", "Cannot find .BTF_ids"];

pub(crate) fn theirs(input: &Input<'_>) -> Outcome {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("image"), input.image).unwrap();
    fs::write(path("types"), input.types).unwrap();
    let mut command = Command::new(tool("7.3", "resolve_btfids"));
    command.current_dir(&dir).args(["-v", "--btf", "types"]);
    if let Some(base) = input.base {
        fs::write(path("base"), base).unwrap();
        command.args(["--btf_base", "base"]);
    }
    command.args(input.distill.then_some("--distill_base")).arg("image");
    let output = command.output().expect("the kernel's tool runs");
    let text = String::from_utf8(output.stderr).unwrap();
    let outside = |line: &&str| OUTSIDE.iter().any(|start| line.starts_with(start));
    let lines = text.lines().filter(|line| !outside(line)).map(str::to_owned).collect();
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 255)), "{code:?} {text}");
    assert!(fs::read(path("image")).unwrap() == input.image, "the image changed");
    let read = |name: &str| fs::read(path(name)).ok();
    let (btf, base, ids) = (read("image.BTF"), read("image.BTF.base"), read("image.BTF_ids"));
    Outcome { btf, base, ids, lines, failed: code != Some(0) }
}

pub(crate) fn ours(input: &Input<'_>) -> Outcome {
    let options = KernelOptions { distill_base: input.distill, trace: true, explain: false };
    match kernel_btf_of(input.image, input.types, input.base, &options) {
        Ok(KernelBtf { btf, base, ids, trace, .. }) => {
            Outcome { btf: Some(btf), base, ids, lines: trace, failed: false }
        }
        Err(error) => {
            let lines = vec![error.to_string()];
            Outcome { btf: None, base: None, ids: None, lines, failed: true }
        }
    }
}

/// Runs both and says where they differ. Of a failure only the first line that names it must agree, and of
/// that not the cause, which is libbpf's.
pub(crate) fn compare(what: &str, input: &Input<'_>) -> Outcome {
    let (theirs, ours) = (theirs(input), ours(input));
    assert_eq!(theirs.failed, ours.failed, "{what}: {:?} {:?}", theirs.lines, ours.lines);
    if theirs.failed {
        let fault = theirs
            .lines
            .iter()
            .find(|line| line.starts_with("ERROR") || line.starts_with("FAILED"));
        let fault = fault.expect("the peer says why");
        let (told, loading) = (&ours.lines[0], fault.contains(": load BTF from"));
        let known = match fault.rsplit_once(": ") {
            Some((known, _)) if fault.starts_with("FAILED") => known,
            _ => fault,
        };
        assert!(loading || told.starts_with(known), "{what}: {fault}: {told}");
        return ours;
    }
    assert_eq!(theirs.lines, ours.lines, "{what}: standard error");
    for (section, theirs, ours) in [
        (".BTF", &theirs.btf, &ours.btf),
        (".BTF.base", &theirs.base, &ours.base),
        (".BTF_ids", &theirs.ids, &ours.ids),
    ] {
        assert_eq!(theirs.is_some(), ours.is_some(), "{what}: {section}");
        let (Some(theirs), Some(ours)) = (theirs, ours) else { continue };
        let at = theirs.iter().zip(ours).position(|(theirs, ours)| theirs != ours);
        assert!(
            theirs == ours,
            "{what}: {section}: {} bytes, ours {}, first difference at {at:?}",
            theirs.len(),
            ours.len()
        );
    }
    ours
}

/// The bytes of a section of the file at `path`.
pub(crate) fn section(path: &Path, name: &str) -> Vec<u8> {
    let file = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let elf = Elf::parse(&file).unwrap();
    let (_, section) = elf.section(name).unwrap_or_else(|| panic!("no {name}"));
    elf.bytes(section).unwrap().to_vec()
}
