//! The BTF step: types out of a linked kernel's debug information, as an object to be linked in.
//!
//! Three hands: the encoder (native, or pahole), from 7.0 on `resolve_btfids`, which rewrites the types and
//! leaves the ids beside the image, and the object around the result. Each can be exchanged by itself.

use std::fs::File;

use btf_ids::KernelOptions;
use dwarf_btf::Encoded;

use crate::error::{Error, Result};
use crate::features::BtfRecipe;
use crate::plan::{Engine, Linked, Part};
use crate::progress::Progress;
use crate::say;
use crate::{files, reuse};

use super::Stage;
use super::ahead::Ahead;
use super::kernel::NO_BTF;

/// Alignment of `.BTF` in the object, in bytes: objcopy gives 1 to a section that it adds.
const BTF_ALIGN: u64 = 1;

impl Stage<'_> {
    /// The types of `image`, made by `encoder`, as `object`; of a kernel that was `linked` without debug information
    /// they are made of that of its objects.
    pub(super) fn native_btf_object(
        &self,
        image: &str,
        object: &str,
        encoder: Engine,
        linked: Option<&Linked>,
        ahead: &Ahead<'_, '_>,
    ) -> Result<()> {
        let types = match (encoder, linked) {
            (Engine::Native, Some(linked)) => self.types_of_objects(image, linked, ahead)?,
            (Engine::Native, None) => self.encoded_types(image)?,
            (Engine::Kernel, _) => self.pahole_types(image)?,
        };
        let types = match self.tree.features.btf {
            BtfRecipe::InPlace => types,
            BtfRecipe::Detached => match self.toolbox.engines.of(Part::Btfids) {
                Engine::Native => self.kernel_types(image, &types)?,
                Engine::Kernel => self.resolved_types(image, &types)?,
            },
        };
        self.write_btf(&types, object)
    }

    /// A section of the size that the types had last time, as an object.
    pub(super) fn btf_room(&self, object: &str) -> Result<()> {
        let size = self.sizes.and_then(|sizes| sizes.btf).expect("a warm start has sizes");
        self.write_btf(&vec![0; size as usize], object)
    }

    fn write_btf(&self, types: &[u8], object: &str) -> Result<()> {
        let bytes = btf::to_object(types, &self.kernel_header()?, BTF_ALIGN);
        let bytes = bytes.map_err(|error| Error::file(self.path(object), error))?;
        reuse::write(&self.path(object), &bytes)
    }

    /// What pahole would write, byte for byte.
    pub(super) fn encoded_types(&self, image: &str) -> Result<Vec<u8>> {
        let options = self.encoder_options();
        self.show_encoder(image);
        let path = self.path(image);
        let file = File::open(&path).map_err(|error| Error::file(&path, files::reason(&error)))?;
        let read_at = files::reader_at(&file);
        let types = self.with_elf(image, |elf| {
            let info = elf.section(".debug_info").map_or(0, |(_, section)| section.size);
            let progress = Progress::new("BTF", info);
            let read_at = |at: u64, out: &mut [u8]| {
                progress.add(out.len());
                read_at(at, out)
            };
            let options = dwarf_btf::Options { read_at: Some(&read_at), ..options.clone() };
            let Encoded { btf, .. } = dwarf_btf::encode(elf, &options)?;
            Ok(btf)
        })?;
        self.some_types(image, types)
    }

    /// With `make V=1`, the command that makes the types of `image`.
    pub(super) fn show_encoder(&self, image: &str) {
        let flags = self.call.words("PAHOLE_FLAGS");
        let words: Vec<&str> = ["pahole", "-J"].into_iter().chain(flags).chain([image]).collect();
        self.show_native(&words);
    }

    /// What the tree asks of pahole.
    pub(super) fn encoder_options(&self) -> &dwarf_btf::Options<'static> {
        self.toolbox.btf.as_ref().expect("native BTF has the tree's options")
    }

    /// The types, if there are any.
    pub(super) fn some_types(&self, image: &str, types: Vec<u8>) -> Result<Vec<u8>> {
        match types.is_empty() {
            true => {
                Err(Error::file(self.path(image), "no type was found in its debug information")
                    .advise(
                        "is CONFIG_DEBUG_INFO on, and is it kept (no strip in the linker's flags)?",
                    ))
            }
            false => Ok(types),
        }
    }

    /// `pahole -J PAHOLE_FLAGS --btf_encode_detached=FILE IMAGE`; the file is read and removed.
    fn pahole_types(&self, image: &str) -> Result<Vec<u8>> {
        let file = format!("{image}.BTF.pahole");
        let mut pahole = self.pahole()?;
        pahole.arg(format!("--btf_encode_detached={file}")).arg(image);
        let encoded = self.run_command(&mut pahole);
        let types = encoded.and_then(|()| match self.path(&file).exists() {
            true => files::read(&self.path(&file)),
            false => Ok(Vec::new()),
        });
        files::remove(&self.path(&file))?;
        types.and_then(|types| match is_btf(&types) {
            true => Ok(types),
            false => Err(Error::file(self.path(image), NO_BTF)),
        })
    }

    /// The types as the kernel wants them; the ids of `.BTF_ids` go beside the image (7.0+).
    fn kernel_types(&self, image: &str, types: &[u8]) -> Result<Vec<u8>> {
        let flags: Vec<&str> = self.call.words("RESOLVE_BTFIDS_FLAGS").collect();
        let encoded = format!("{image}.BTF.1");
        self.show_native(&[&["resolve_btfids"], &flags[..], &["--btf", &encoded, image]].concat());
        let options = KernelOptions {
            trace: flags.contains(&"--verbose"),
            explain: true,
            ..KernelOptions::default()
        };
        let made = self.with_elf(image, |elf| {
            let types = btf::Btf::parse(types)?;
            Ok(btf_ids::kernel_btf(elf, &types, &options)?)
        })?;
        // The tool of 7.3 takes --fatal_warnings, and a warning changes its exit status all the same not.
        self.tell_unresolved(&made.trace, &made.warnings, false)?;
        let ids = self.path(&format!("{image}.BTF_ids"));
        match &made.ids {
            Some(bytes) => files::write(&ids, bytes)?,
            None => files::remove(&ids)?,
        }
        Ok(made.btf)
    }

    /// Says what `resolve_btfids` says of the ids, and which warnings are errors.
    pub(super) fn tell_unresolved(
        &self,
        trace: &[String],
        warnings: &[btf_ids::Warning],
        fatal: bool,
    ) -> Result<()> {
        for line in trace {
            say::remark(line);
        }
        for warning in warnings {
            // The warnings are among the lines of a trace.
            if trace.is_empty() {
                say::remark(warning);
            }
            let help = warning.help();
            if !help.is_empty() {
                say::remark(format_args!("  {help}"));
            }
        }
        match fatal && !warnings.is_empty() {
            true => Err(Error::new("there are warnings, and CONFIG_WERROR makes them errors")),
            false => Ok(()),
        }
    }

    /// `resolve_btfids --btf FILE IMAGE`, which rewrites the types and leaves the ids of `.BTF_ids`
    /// beside the image (7.0+).
    fn resolved_types(&self, image: &str, types: &[u8]) -> Result<Vec<u8>> {
        let (encoded, resolved) = (format!("{image}.BTF.1"), format!("{image}.BTF"));
        files::write(&self.path(&encoded), types)?;
        let mut resolve = self.tool("RESOLVE_BTFIDS")?;
        resolve.args(self.call.words("RESOLVE_BTFIDS_FLAGS")).args(["--btf", &encoded, image]);
        let made = self.run_command(&mut resolve);
        let types = made.and_then(|()| files::read(&self.path(&resolved)));
        files::remove(&self.path(&encoded))?;
        files::remove(&self.path(&resolved))?;
        types
    }
}

/// Whether `bytes` begin as BTF of either byte order does.
fn is_btf(bytes: &[u8]) -> bool {
    matches!(bytes, [0x9f, 0xeb, ..] | [0xeb, 0x9f, ..])
}
