//! Small programs that are compiled with many compilers and options, for BTF of what kernels do not have.
//!
//! The sources are in `tests/programs`. A program is linked with the sections of a kernel (`image.lds`) or
//! left relocatable, as a module is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// The units of every program; further ones are added to them.
pub const UNITS: [&str; 6] =
    ["types.c", "other.c", "functions.c", "functions2.c", "percpu.c", "entry.c"];

/// How objects become an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// An executable, its per-CPU section at this address.
    Image(u64),
    /// `ld -r` with this linker.
    Relocatable(&'static str),
}

/// A program.
#[derive(Debug, Clone)]
pub struct Program {
    /// The C compiler.
    pub compiler: &'static str,
    /// Options of the compiler, given to the link too.
    pub flags: &'static [&'static str],
    /// Units of `tests/programs`.
    pub units: Vec<&'static str>,
    /// How they are linked.
    pub link: Link,
}

/// Where the sources are.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

impl Program {
    /// Compiles and links into the directory `out`, and returns the image's path.
    ///
    /// # Panics
    /// With the compiler's message, if it fails.
    pub fn build(&self, out: &Path) -> PathBuf {
        let objects: Vec<PathBuf> = self.units.iter().map(|unit| self.object(unit, out)).collect();
        let image = out.join("image");
        match self.link {
            Link::Image(percpu) => {
                let mut cc = Command::new(self.compiler);
                cc.args(self.flags).args(["-w", "-nostdlib", "-static", "-Wl,--build-id=none"]);
                cc.arg(format!("-Wl,-T,{}", sources().join("image.lds").display()));
                cc.arg(format!("-Wl,--defsym=PERCPU_BASE={percpu}"));
                if self.compiler.starts_with("clang") {
                    cc.arg("-fuse-ld=lld-19");
                }
                run(cc.arg("-o").arg(&image).args(&objects).arg("-lgcc"));
            }
            Link::Relocatable(linker) => {
                let mut ld = Command::new(linker);
                if self.flags.contains(&"-m32") {
                    ld.arg("-melf_i386");
                }
                run(ld.args(["-r", "-o"]).arg(&image).args(&objects));
            }
        }
        image
    }

    fn object(&self, unit: &str, out: &Path) -> PathBuf {
        let object = out.join(unit).with_extension("o");
        let source = sources().join(unit);
        if unit.ends_with(".rs") {
            let mut rustc = Command::new("rustc");
            rustc.args(["-g", "-O", "-Cpanic=abort", "--cap-lints=allow", "--emit=obj"]);
            run(rustc.arg("-o").arg(&object).arg(source));
            return object;
        }
        let mut cc = Command::new(self.compiler);
        cc.args(self.flags).args(["-w", "-ffreestanding", "-fno-stack-protector"]);
        if unit.ends_with(".c") {
            cc.arg("-std=gnu11");
        } else if unit.ends_with(".cc") {
            cc.args(["-fno-exceptions", "-fno-asynchronous-unwind-tables"]);
        }
        run(cc.arg("-c").arg("-o").arg(&object).arg(source));
        object
    }
}
