//! The kernel's own tools, run as its script runs them.

use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::features::MksysmapForm;
use crate::files;
use crate::process;

use super::Stage;

/// What is said of a pahole that ends well and has done nothing.
pub(super) const NO_BTF: &str = "pahole wrote no BTF of it";

/// Where the script puts the list of functions for `sorttable -s`.
const NM_SORT: &str = ".tmp_vmlinux.nm-sort";

impl Stage<'_> {
    /// `nm -n IMAGE | sed -f scripts/mksysmap > MAP`, or the older script that does both.
    pub(super) fn kernel_map(&self, image: &str, map: &str) -> Result<()> {
        let script = self.in_srctree("scripts/mksysmap");
        match self.tree.features.mksysmap {
            MksysmapForm::Shell => {
                let mut shell = self.tool("CONFIG_SHELL")?;
                self.run_command(shell.args([script.as_str(), image, map]))
            }
            MksysmapForm::Sed => {
                let mut nm = self.tool("NM")?;
                nm.args(["-n", image]).envs(&self.call.env);
                let mut sed = process::command("sed", &self.call.dir);
                sed.args(["-f", &script]).envs(&self.call.env);
                self.show_command(&nm);
                self.show_command(&sed);
                process::pipe(&mut nm, &mut sed, files::create(&self.path(map))?)
            }
        }
    }

    /// `scripts/kallsyms FLAGS MAP > SOURCE`.
    pub(super) fn kernel_kallsyms(&self, map: &str, source: &str) -> Result<()> {
        let mut command = process::command("scripts/kallsyms", &self.call.dir);
        command.args(self.tree.features.kallsyms_flags(&self.tree.config)).arg(map);
        self.run_command(command.stdout(files::create(&self.path(source))?))
    }

    /// `cc FLAGS -c -o OBJECT SOURCE`.
    pub(super) fn assemble(&self, source: &str, object: &str) -> Result<()> {
        let mut cc = self.tool("CC")?;
        let flags = [
            "NOSTDINC_FLAGS",
            "LINUXINCLUDE",
            "KBUILD_CPPFLAGS",
            "KBUILD_AFLAGS",
            "KBUILD_AFLAGS_KERNEL",
        ];
        cc.args(flags.iter().flat_map(|name| self.call.words(name)));
        self.run_command(cc.args(["-c", "-o", object, source]))
    }

    /// BTF as the tree's own recipe makes it.
    pub(super) fn kernel_btf_object(&self, image: &str, object: &str) -> Result<()> {
        if self.detached_btf() {
            let script = self.in_srctree("scripts/gen-btf.sh");
            let mut shell = self.tool("CONFIG_SHELL")?;
            self.run_command(shell.args([script.as_str(), image]))?;
            // It names the object after the image; the separate schedule, older than it, does not.
            let made = format!("{image}.btf.o");
            return match made == object {
                true => Ok(()),
                false => files::rename(&self.path(&made), &self.path(object)),
            };
        }
        let mut pahole = self.pahole()?;
        self.run_command(pahole.arg(image))?;
        let mut objcopy = self.tool("OBJCOPY")?;
        objcopy.args(["--only-section=.BTF", "--set-section-flags", ".BTF=alloc,readonly"]);
        // objcopy warns of empty segments that it leaves behind.
        objcopy.args(["--strip-all", image, object]).stderr(Stdio::null());
        self.run_command(&mut objcopy)?;
        // Where there is no such section objcopy is content too, and a later step would fail with other words.
        if !self.with_elf(object, |elf| Ok(elf.section(".BTF").is_some()))? {
            return Err(Error::file(self.path(image), NO_BTF));
        }
        self.make_relocatable(object)
    }

    /// `pahole -J PAHOLE_FLAGS`; the caller adds where the BTF goes, and the file.
    pub(super) fn pahole(&self) -> Result<Command> {
        let mut pahole = self.tool("PAHOLE")?;
        pahole.arg("-J").args(self.call.words("PAHOLE_FLAGS"));
        pahole.env("LLVM_OBJCOPY", self.call.var("OBJCOPY"));
        Ok(pahole)
    }

    /// Turns the `e_type` of an object cut out of an executable into `ET_REL`.
    fn make_relocatable(&self, object: &str) -> Result<()> {
        let path = self.path(object);
        let big_endian = self.tree.config.has("CPU_BIG_ENDIAN");
        let bytes = if big_endian { vec![0, 1] } else { vec![1, 0] };
        files::patch(&path, &[image::Patch { offset: 16, bytes }])
    }

    /// `resolve_btfids`, which finds BTF in the kernel itself or (7.0+) the ids beside the temporary.
    pub(super) fn kernel_btf_ids(&self, image: &str, btf_image: &str) -> Result<()> {
        let mut command = self.tool("RESOLVE_BTFIDS")?;
        if self.tree.features.btf_ids_fatal_warnings && self.tree.config.has("WERROR") {
            command.arg("--fatal_warnings");
        }
        if self.detached_btf() {
            command.args(["--patch_btfids", &format!("{btf_image}.BTF_ids")]);
        }
        self.run_command(command.arg(image))
    }

    /// `scripts/sorttable`, with the list of functions where it takes one.
    pub(super) fn kernel_sort(&self, image: &str) -> Result<()> {
        let program = format!("{}/scripts/sorttable", self.call.var("objtree"));
        let mut command = process::command(&program, &self.call.dir);
        if self.tree.features.sorttable_functions {
            let mut nm = self.tool("NM")?;
            nm.args(["-S", image]).stdout(files::create(&self.path(NM_SORT))?);
            self.run_command(&mut nm)?;
            command.args(["-s", NM_SORT]);
        }
        self.run_command(command.arg(image))
    }

    /// The tool that a variable names, with the arguments that stand in the variable.
    pub(super) fn tool(&self, variable: &str) -> Result<Command> {
        let (program, arguments) = self.call.tool(variable).map_err(|error: Error| {
            error.advise(format!("the kernel's Makefile sets ${variable}"))
        })?;
        let mut command = process::command(program, &self.call.dir);
        command.args(arguments);
        Ok(command)
    }
}
