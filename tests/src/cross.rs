//! Small freestanding images of six architectures, with the layout of a kernel.
//!
//! They let the cores be compared with the kernel's own tools on both ELF classes and both byte
//! orders, in seconds and without a kernel of each architecture. `tests/images` has their sources
//! and the linker script; Debian's cross compilers build them below `cache()/cross/ARCH` when a test
//! first asks. Two C units (DWARF 5 and DWARF 4) and one of labels give: functions, an unsorted
//! exception table in the architecture's own form, a table of mcount locations, `.BTF_ids`, ORC on
//! x86_64, weak symbols and aliases, names that mksysmap drops, per-CPU data (at address 0 on
//! x86_64), absolute symbols, and weak references to the tables that kallsyms makes.
//!
//! | architecture | class, order | what it has that the others do not |
//! |---|---|---|
//! | x86_64 | 64, little | per-CPU data at 0, ORC, relocations kept (`--emit-relocs`) |
//! | aarch64 | 64, little | `-shared`: addresses live in the addends of `.rela.dyn` (type 0x403) |
//! | riscv64 | 64, little | `-shared` and `--emit-relocs` |
//! | s390x | 64, big | relocations kept |
//! | arm | 32, little | absolute exception table, mapping symbols |
//! | powerpc64 | 64, big | function descriptors (`.opd`), relative pairs as exception table |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache;
use crate::made::{fnv1a, once, run, version};

/// The architectures, as the kernel's tests and `cache()/cross` name them.
pub const ARCHES: [&str; 6] = ["x86_64", "aarch64", "riscv64", "s390x", "arm", "powerpc64"];

/// A linker that can link the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linker {
    /// GNU ld of the architecture's binutils.
    Gnu,
    /// `ld.lld`; it links no powerpc64 of the first ABI.
    Lld,
}

/// Whether a link keeps debug sections, as the final one of a kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debug {
    /// They are kept.
    Keep,
    /// `--strip-debug`, as for the temporary images.
    Strip,
}

/// How one architecture compiles and links.
struct Arch {
    name: &'static str,
    /// What the names of its tools begin with.
    prefix: &'static str,
    cflags: &'static [&'static str],
    ldflags: &'static [&'static str],
}

impl Arch {
    fn tool(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// The flags follow `arch/*/Makefile` of 6.12 where they decide the shape of vmlinux.
const TABLE: [Arch; 6] = [
    Arch {
        name: "x86_64",
        prefix: "x86_64-linux-gnu-",
        cflags: &["-mno-red-zone", "-mcmodel=kernel", "-fno-pic"],
        ldflags: &["-melf_x86_64", "--emit-relocs", "--discard-none"],
    },
    Arch {
        name: "aarch64",
        prefix: "aarch64-linux-gnu-",
        cflags: &["-fno-pic"],
        ldflags: &["-maarch64linux", "-shared", "-Bsymbolic", "-znotext", "-X"],
    },
    Arch {
        name: "riscv64",
        prefix: "riscv64-linux-gnu-",
        cflags: &["-mcmodel=medany", "-fPIE", "-mno-relax"],
        ldflags: &["-melf64lriscv", "-shared", "-Bsymbolic", "-znotext", "--emit-relocs", "-X"],
    },
    Arch {
        name: "s390x",
        prefix: "s390x-linux-gnu-",
        cflags: &["-fno-pic"],
        ldflags: &["-melf64_s390", "-no-pie", "--emit-relocs", "--discard-none"],
    },
    Arch {
        name: "arm",
        prefix: "arm-linux-gnueabihf-",
        cflags: &["-marm", "-fno-pic"],
        ldflags: &["-marmelf_linux_eabi", "--pic-veneer", "-X"],
    },
    Arch {
        name: "powerpc64",
        prefix: "powerpc64-linux-gnu-",
        cflags: &["-mcmodel=medium", "-fno-pic"],
        ldflags: &["-melf64ppc", "-Bstatic", "-X"],
    },
];

const CFLAGS: [&str; 9] = [
    "-O2",
    "-std=gnu11",
    "-ffreestanding",
    "-fno-common",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-Wall",
];

const LDFLAGS: [&str; 4] = ["-znoexecstack", "-znorelro", "--build-id=sha1", "--no-undefined"];

/// The units with the options that only they have.
const UNITS: [(&str, &[&str]); 3] = [
    ("core.c", &["-gdwarf-5"]),
    ("init.c", &["-gdwarf-4", "-gstrict-dwarf"]),
    ("labels.S", &["-Wa,-L"]),
];

/// The image of one architecture and the tools that made it.
pub struct Image {
    arch: &'static Arch,
    dir: PathBuf,
}

/// The image of `arch`, one of [`ARCHES`]; built if it was not, or if a source or the compiler
/// changed.
///
/// # Panics
/// On another name, without the cross compiler, or if a compilation fails.
pub fn image(arch: &str) -> Image {
    let known = TABLE.iter().find(|known| known.name == arch);
    let arch = known.unwrap_or_else(|| panic!("no image of {arch}: there are {ARCHES:?}"));
    let recipe = format!(
        "{}\n{}\n{:?}\n{:?}\n{:016x}\n",
        version(&arch.tool("gcc")),
        version(&arch.tool("ld")),
        (CFLAGS, arch.cflags, UNITS),
        (LDFLAGS, arch.ldflags),
        sources_hash()
    );
    let dir = once(&cache().join("cross").join(arch.name), &recipe, |fresh| {
        Image { arch, dir: fresh.to_owned() }.build();
    });
    Image { arch, dir }
}

/// Builds the images of all architectures that are not yet built.
///
/// # Panics
/// As [`image`].
pub fn build_all() {
    for arch in ARCHES {
        image(arch);
    }
}

/// Where the sources of the images are.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("images")
}

fn sources_hash() -> u64 {
    let names = ["arch.h", "types.h", "core.c", "init.c", "labels.S", "vmlinux.lds.S"];
    let mut all = Vec::new();
    for name in names {
        let path = sources().join(name);
        all.extend(fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    }
    fnv1a(&all)
}

impl Image {
    /// The architecture's name.
    pub fn arch(&self) -> &'static str {
        self.arch.name
    }

    /// Where the image was built.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The image linked without kallsyms and BTF, with debug information.
    pub fn raw(&self) -> PathBuf {
        self.dir.join("vmlinux.raw")
    }

    /// The object files, in the order of the link.
    pub fn objects(&self) -> Vec<PathBuf> {
        UNITS.iter().map(|(unit, _)| self.dir.join(unit).with_extension("o")).collect()
    }

    /// The linker script.
    pub fn linker_script(&self) -> PathBuf {
        self.dir.join("vmlinux.lds")
    }

    /// The C compiler.
    pub fn cc(&self) -> Command {
        Command::new(self.arch.tool("gcc"))
    }

    /// `nm` of the architecture's binutils.
    pub fn nm(&self) -> Command {
        let mut nm = Command::new(self.arch.tool("nm"));
        // The kernel's Makefile sets LC_COLLATE=C, and nm sorts by the locale.
        nm.env("LC_ALL", "C");
        nm
    }

    /// `objcopy` of the architecture's binutils.
    pub fn objcopy(&self) -> Command {
        Command::new(self.arch.tool("objcopy"))
    }

    /// Links the image's objects and `extra` into `out`, in the order of `link-vmlinux.sh`.
    ///
    /// # Panics
    /// With the linker's message, if it fails.
    pub fn link(&self, extra: &[&Path], out: &Path, linker: Linker, debug: Debug) {
        let mut ld = match linker {
            Linker::Gnu => Command::new(self.arch.tool("ld")),
            Linker::Lld => Command::new("ld.lld-19"),
        };
        ld.args(self.arch.ldflags).args(LDFLAGS);
        match (linker, self.arch.name) {
            (Linker::Gnu, "aarch64") => {
                ld.args(["--no-warn-rwx-segments", "--no-apply-dynamic-relocs"]);
            }
            (Linker::Gnu, "riscv64") => {
                ld.args(["--no-warn-rwx-segments", "--no-relax"]);
            }
            (Linker::Gnu, _) => {
                ld.arg("--no-warn-rwx-segments");
            }
            (Linker::Lld, _) => {}
        }
        if debug == Debug::Strip {
            ld.arg("--strip-debug");
        }
        ld.arg("--script").arg(self.linker_script()).arg("-o").arg(out);
        ld.arg("--whole-archive").args(self.objects()).arg("--no-whole-archive").args(extra);
        run(&mut ld);
    }

    /// Assembles what `scripts/kallsyms` printed into `out`.
    ///
    /// # Panics
    /// With the assembler's message, if it fails.
    pub fn assemble(&self, text: &Path, out: &Path) {
        let mut cc = self.cc();
        cc.args(self.arch.cflags).arg("-I").arg(sources().join("include"));
        run(cc.arg("-c").arg("-o").arg(out).arg(text));
    }

    /// Encodes the BTF of the linked image `from` and writes it to `out` as the kernel's script does
    /// up to 6.19: pahole adds the section, objcopy leaves nothing else, `e_type` becomes `ET_REL`.
    ///
    /// # Panics
    /// With the tool's message, if one fails.
    pub fn btf_object(&self, from: &Path, out: &Path) {
        let with_btf = out.with_extension("with-btf");
        fs::copy(from, &with_btf).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        let mut pahole = Command::new("pahole");
        pahole.env("LLVM_OBJCOPY", self.arch.tool("objcopy"));
        pahole.args(["-J", "--btf_gen_floats", "--lang_exclude=rust"]);
        run(pahole.arg(&with_btf));
        let mut objcopy = self.objcopy();
        objcopy.args(["--only-section=.BTF", "--set-section-flags", ".BTF=alloc,readonly"]);
        run(objcopy.arg("--strip-all").arg(&with_btf).arg(out));
        make_relocatable(out);
    }

    /// Makes the object for the BTF in the file `btf` as the kernel's script does from 7.0 on: objcopy
    /// adds it to an empty object and leaves nothing else.
    ///
    /// # Panics
    /// With the tool's message, if one fails.
    pub fn btf_object_of(&self, btf: &Path, out: &Path) {
        let mut cc = self.cc();
        cc.args(self.arch.cflags).stdin(Stdio::null());
        run(cc.args(["-c", "-x", "c", "-"]).arg("-o").arg(out));
        let mut objcopy = self.objcopy();
        objcopy.arg("--add-section").arg(format!(".BTF={}", btf.display()));
        run(objcopy.args(["--set-section-flags", ".BTF=alloc,readonly"]).arg(out));
        run(self.objcopy().args(["--only-section=.BTF", "--strip-all"]).arg(out));
        make_relocatable(out);
    }

    fn build(&self) {
        for (unit, flags) in UNITS {
            let object = self.dir.join(unit).with_extension("o");
            let mut cc = self.cc();
            cc.args(CFLAGS).args(self.arch.cflags).args(flags);
            // What the debug information says of paths does not depend on where the checkout is.
            cc.arg(format!("-fdebug-prefix-map={}=.", sources().display()));
            run(cc.current_dir(sources()).arg("-c").arg("-o").arg(object).arg(unit));
        }
        let mut cpp = self.cc();
        cpp.args(["-E", "-P", "-std=c11", "-x", "assembler-with-cpp"]);
        run(cpp.arg(sources().join("vmlinux.lds.S")).arg("-o").arg(self.linker_script()));
        self.link(&[], &self.raw(), Linker::Gnu, Debug::Keep);
    }
}

/// Sets `e_type` to `ET_REL`, as the kernel's script does with dd.
fn make_relocatable(object: &Path) {
    let mut bytes = fs::read(object).unwrap_or_else(|e| panic!("{}: {e}", object.display()));
    // EI_DATA says where the low byte of e_type is.
    let (low, high) = if bytes[5] == 1 { (16, 17) } else { (17, 16) };
    (bytes[low], bytes[high]) = (1, 0);
    fs::write(object, bytes).unwrap_or_else(|e| panic!("{}: {e}", object.display()));
}
