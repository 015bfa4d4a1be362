//! An object tree in miniature: what a link reads, and nothing else.
//!
//! The kernel is a few functions that the machine's own compiler makes; scripts/ holds files in words
//! of our own with just the constructions by which vmlinker knows a tree. Everything runs for real:
//! the linker is GNU ld, or a shell script that stands in for one that fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// scripts/link-vmlinux.sh, as far as it is read.
const SCRIPT: &str = r#"
if is_enabled CONFIG_MODULES; then
	objs=vmlinux.o
fi
	objs="${objs} .vmlinux.export.o"
	objs="${objs} init/version-timestamp.o"
	if is_enabled CONFIG_KALLSYMS_ALL; then
		kallsymopt="${kallsymopt} --all-symbols"
	fi
	nm | sed -f "${srctree}/scripts/mksysmap"
cleanup()
{
	rm -f System.map
	rm -f vmlinux
}
kallsyms .tmp_vmlinux.kallsyms0.syms .tmp_vmlinux0.kallsyms
kallsymso_changed
vmlinux_link .tmp_vmlinux1
"#;

/// scripts/kallsyms.c: offsets from a base, names of up to 511 bytes.
const KALLSYMS: &str = r#"
#define KSYM_NAME_LEN 512
"absolute-percpu"
output_label("kallsyms_num_syms") output_label("kallsyms_names")
output_label("kallsyms_markers") output_label("kallsyms_seqs_of_names")
output_label("kallsyms_token_table") output_label("kallsyms_token_index")
output_label("kallsyms_offsets") output_label("kallsyms_relative_base")
"#;

const LINKER_SCRIPT: &str = "ENTRY(start_kernel)\nSECTIONS {\n\t. = 0x1000000;\n\t_text = .;\n\
    \t_stext = .;\n\t.text : { *(.text*) }\n\t_etext = .;\n\t. = ALIGN(0x10000);\n\t.rodata : { *(.rodata*) }\n\
    \t. = ALIGN(0x10000);\n\t.data : { *(.data*) }\n\t. = ALIGN(0x10000);\n\t.bss : { *(.bss*) }\n\t_end = .;\n\
    \t/DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) }\n}\n";

/// vmlinux.o in C.
const KERNEL: &str = "int counter = 1;\nstatic int __attribute__((noinline)) step(int n) \
    { return n + counter; }\nint start_kernel(void) { return step(2) + step(3); }\n";

/// The variables that Kbuild always sets.
pub const VARIABLES: [(&str, &str); 9] = [
    ("CC", "gcc"),
    ("CONFIG_SHELL", "sh"),
    ("KBUILD_LDS", "vmlinux.lds"),
    ("MAKE", "true"),
    ("NM", "nm"),
    ("OBJCOPY", "objcopy"),
    ("SRCARCH", "x86"),
    ("objtree", "."),
    ("srctree", "."),
];

/// The kernel's objects by their names, compiled once.
static OBJECTS: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();

/// The program under test.
pub const VMLINKER: &str = env!("CARGO_BIN_EXE_vmlinker");

/// A built tree that waits for its final link; removed when dropped.
pub struct Tree {
    dir: TempDir,
}

impl Tree {
    /// A tree with kallsyms and without BTF.
    pub fn new() -> Self {
        let tree = Tree { dir: TempDir::new().unwrap() };
        tree.configure(&["MODULES", "KALLSYMS"]);
        tree.write("scripts/link-vmlinux.sh", SCRIPT);
        tree.write("scripts/mksysmap", "#!/bin/sed -f\n/ [aNUw] /d\n/ \\$/d\n");
        tree.write("scripts/kallsyms.c", KALLSYMS);
        tree.write("scripts/sorttable.c", "main_extable_sort_needed");
        tree.write("vmlinux.lds", LINKER_SCRIPT);
        for (name, object) in OBJECTS.get_or_init(|| tree.compile_kernel()) {
            tree.write(name, object);
        }
        tree
    }

    /// The object tree.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The place of a file of the tree.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whether the tree has this file.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Writes a file, and the directories above it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The text of a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Enables exactly these options.
    pub fn configure(&self, options: &[&str]) {
        let lines: Vec<String> = options.iter().map(|name| format!("CONFIG_{name}=y\n")).collect();
        self.write("include/config/auto.conf", lines.concat() + "CONFIG_PAHOLE_VERSION=124\n");
    }

    fn compile_kernel(&self) -> Vec<(&'static str, Vec<u8>)> {
        let sources = [
            ("vmlinux.o", KERNEL),
            (".vmlinux.export.o", "int exported = 1;\n"),
            ("init/version-timestamp.o", "const char linux_banner[] = \"v1\";\n"),
        ];
        let compiled = sources.map(|(name, source)| {
            self.compile(name, "c", source);
            (name, fs::read(self.path(name)).unwrap())
        });
        compiled.into()
    }

    /// Compiles `source`, in the `language` that gcc's -x names, to the object `name`.
    pub fn compile(&self, name: &str, language: &str, source: &str) {
        self.write("source.tmp", source);
        self.write(name, "");
        let mut gcc = Command::new("gcc");
        gcc.args(["-O1", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-c"]);
        gcc.args(["-x", language, "-o", name, "source.tmp"]).current_dir(self.dir());
        assert!(gcc.status().unwrap().success());
        fs::remove_file(self.path("source.tmp")).unwrap();
    }

    /// vmlinux.o gets functions with these names.
    pub fn name_functions(&self, names: impl IntoIterator<Item = String>) {
        let labels = names.into_iter().map(|name| format!(".globl {name}\n{name}: .long 0\n"));
        let start = ".globl start_kernel\nstart_kernel: .long 0\n";
        let source = format!(".text\n{start}{}", labels.collect::<String>());
        self.compile("vmlinux.o", "assembler", &source);
    }

    /// An executable shell script in the tree; gives its absolute name.
    pub fn stub(&self, name: &str, body: &str) -> String {
        self.write(name, format!("#!/bin/sh\n{body}\n"));
        let path = self.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_string()
    }

    /// A linker that is GNU ld, but runs `body` before a link whose output is `output`.
    pub fn linker(&self, output: &str, body: &str) -> String {
        let body = format!("case \"$*\" in *\"-o {output} \"*)\n{body}\n;; esac\nexec ld \"$@\"");
        self.stub("stub-ld", &body)
    }

    /// `vmlinker link` as Kbuild calls it, with GNU ld.
    pub fn link(&self) -> Command {
        self.link_with("ld")
    }

    /// `vmlinker link` as Kbuild calls it, with this linker.
    pub fn link_with(&self, linker: &str) -> Command {
        let mut command = self.vmlinker(&["link", linker, "", "-z noexecstack"]);
        command.envs(VARIABLES);
        command
    }

    /// vmlinker in this tree, with an environment that holds nothing but the path.
    pub fn vmlinker(&self, words: &[&str]) -> Command {
        let mut command = Command::new(VMLINKER);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("LC_ALL", "C");
        command.args(words).current_dir(self.dir()).stdin(Stdio::null());
        command
    }

    /// Asserts that the last link left nothing that could be taken for a result, nor anything half
    /// written.
    pub fn assert_no_result(&self) {
        assert!(!self.has("vmlinux"), "a vmlinux is left");
        assert!(!self.has("System.map"), "a System.map is left");
        assert!(!self.has(".tmp_vmlinux.unfinished"), "an unfinished kernel is left");
        self.assert_nothing_half_written();
    }

    /// Asserts that no file is left which was to be renamed when it was complete.
    pub fn assert_nothing_half_written(&self) {
        for entry in fs::read_dir(self.dir()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let process = name.rsplit('.').next().unwrap_or_default();
            let half_written = name.starts_with(".tmp_") && process.parse::<u32>().is_ok();
            assert!(!half_written, "{name} is left");
        }
    }
}

/// `command` as an argument of another program that runs it in its own place.
pub fn under(program: &str, words: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(words).arg(command.get_program()).args(command.get_args()).env_clear();
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    outer
}

/// How a run of vmlinker ended.
#[derive(Debug)]
pub struct Run {
    /// The exit status.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Run {
    Run::of(command.output().unwrap())
}

impl Run {
    /// What a process that has ended says.
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let status = output.status.code().expect("vmlinker ends by itself");
        Run { status, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts success, with nothing to complain of.
    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self
    }

    /// Asserts a failure with this status, told in exactly one line of vmlinker that holds these
    /// parts in this order; the first of them begins it.
    #[track_caller]
    pub fn fails(&self, status: i32, parts: &[&str]) -> &Self {
        assert!(!self.err.contains("panicked"), "{}", self.err);
        let own = self.err.lines().filter_map(|line| line.strip_prefix("vmlinker: "));
        let own: Vec<&str> = own.collect();
        let [line] = own.as_slice() else { panic!("not one line: {}", self.err) };
        assert!(line.starts_with(parts[0]), "{line}\nhas to begin with {}", parts[0]);
        let mut rest = *line;
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{line}\nlacks {part}"));
            rest = &rest[at + part.len()..];
        }
        assert_eq!(self.status, status, "{}", self.err);
        self
    }
}
