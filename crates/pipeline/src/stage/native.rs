//! The native engines: map the inputs, ask a core, write what it gives.

use image::{Elf, Header, Patch};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::{files, reuse, say};

use super::Stage;

impl Stage<'_> {
    /// `nm -n` and the tree's own filter.
    pub(super) fn native_map(&self, image: &str, map: &str) -> Result<()> {
        let filter = self.toolbox.filter.as_ref().expect("native sysmap has the tree's filter");
        let script = self.in_srctree("scripts/mksysmap");
        self.show_native(&["sysmap", "--filter", &script, "-o", map, image]);
        let text = self.with_elf(image, |elf| {
            let entries = sysmap::system_map_as(elf, filter, self.nm_flavor())?;
            Ok(sysmap::write_map(&entries, elf.class()))
        })?;
        reuse::write(&self.path(map), &text)
    }

    /// The tables of a symbol list, as an object.
    pub(super) fn native_kallsyms(&self, map: &str, object: &str) -> Result<()> {
        let (dialect, options) = self.kallsyms_form();
        let flags = self.tree.features.kallsyms_flags(&self.tree.config);
        let words =
            [&["kallsyms"], flags.as_slice(), &["--object", "vmlinux.o", "-o", object, map]];
        self.show_native(&words.concat());
        let header = self.kernel_header()?;
        let list = self.path(map);
        let text = files::read(&list)?;
        let made = self.jobs.run(|| {
            let (entries, mut warnings) = kallsyms::parse_map(&text, dialect)?;
            let (tables, more) = kallsyms::Tables::build(&entries, dialect, &options)?;
            warnings.extend(more);
            Ok((tables.to_object(&header)?, warnings))
        })?;
        let (bytes, warnings) = made.map_err(|error: kallsyms::Error| Error::file(&list, error))?;
        for warning in warnings {
            say::remark(warning);
        }
        reuse::write(&self.path(object), &bytes)
    }

    /// Tables of the size that they had last time, as an object.
    pub(super) fn kallsyms_room(&self, object: &str) -> Result<()> {
        let sizes = self.sizes.and_then(|sizes| sizes.kallsyms).expect("a warm start has sizes");
        let (dialect, options) = self.kallsyms_form();
        let path = self.path(object);
        let made = sizes.to_object(dialect, &options, &self.kernel_header()?);
        reuse::write(&path, &made.map_err(|error| Error::file(&path, error))?)
    }

    /// How the tree's tables are made.
    pub(super) fn kallsyms_form(&self) -> (&kallsyms::Dialect, kallsyms::Options) {
        let dialect = self.toolbox.kallsyms.as_ref().expect("native kallsyms has its dialect");
        let flags = self.tree.features.kallsyms_flags(&self.tree.config);
        let options = kallsyms::Options {
            all_symbols: flags.contains(&"--all-symbols"),
            absolute_percpu: flags.contains(&"--absolute-percpu"),
            base_relative: flags.contains(&"--base-relative"),
            lto_clang: flags.contains(&"--lto-clang"),
            pc_relative: flags.contains(&"--pc-relative"),
        };
        (dialect, options)
    }

    /// llvm-nm differs from GNU nm in small ways, and a tree built with LLVM=1 uses it.
    pub(super) fn nm_flavor(&self) -> sysmap::Flavor {
        match self.call.var("NM").contains("llvm-nm") {
            true => sysmap::Flavor::Llvm,
            false => sysmap::Flavor::Gnu,
        }
    }

    /// Fills `.BTF_ids`, from the kernel's own types or (7.0+) from the file beside the temporary.
    pub(super) fn native_btf_ids(&self, image: &str, btf_image: &str) -> Result<()> {
        let ids = format!("{btf_image}.BTF_ids");
        let patches = if self.detached_btf() {
            self.show_native(&["resolve_btfids", "--patch_btfids", &ids, image]);
            let ids = files::read(&self.path(&ids))?;
            self.with_elf(image, |elf| Ok(vec![btf_ids::patch_from_file(elf, &ids)?]))?
        } else {
            self.show_native(&["resolve_btfids", image]);
            self.resolved_ids(image)?
        };
        files::patch(&self.path(image), &patches)
    }

    fn resolved_ids(&self, image: &str) -> Result<Vec<Patch>> {
        let options = btf_ids::Options { explain: true, ..Default::default() };
        let resolution = self.with_elf(image, |elf| Ok(btf_ids::resolve(elf, None, &options)?))?;
        let (features, config) = (&self.tree.features, &self.tree.config);
        let fatal = features.btf_ids_fatal_warnings && config.has("WERROR");
        self.tell_unresolved(&[], &resolution.warnings, fatal)?;
        Ok(resolution.patches)
    }

    /// Sorts the tables that the kernel looks up by binary search.
    pub(super) fn native_sort(&self, image: &str) -> Result<()> {
        self.show_native(&["sorttable", image]);
        let sorted = self.sorted(image)?;
        if let Some(complaint) = &sorted.complaint {
            say::remark(format_args!("{complaint}: {image}"));
        }
        files::patch(&self.path(image), &sorted.patches)
    }

    /// What sorting changes in `image`.
    pub(super) fn sorted(&self, image: &str) -> Result<sorttable::Sorted> {
        let dialect = self.toolbox.sorttable.expect("native sorttable has the tree's dialect");
        let config = &self.tree.config;
        let bounds = match dialect.mcount_bounds {
            sorttable::BoundsSource::Symbols => None,
            sorttable::BoundsSource::SystemMap => {
                let map = files::read(&self.path("System.map"))?;
                Some(sorttable::bounds_from_system_map(&map))
            }
        };
        self.with_elf(image, |elf| {
            let options = sorttable::Options {
                dialect,
                orc: config.has("UNWINDER_ORC"),
                mcount: config.has("BUILDTIME_MCOUNT_SORT"),
                functions: self.functions(elf)?,
                mcount_bounds: bounds.clone(),
            };
            Ok(sorttable::sort(elf, &options)?)
        })
    }

    /// The functions that `sorttable -s` gets, where the tree gives it any.
    fn functions(&self, elf: &Elf<'_>) -> Fault<Option<sorttable::Functions>> {
        if !self.tree.features.sorttable_functions {
            return Ok(None);
        }
        let rows = |listed: Vec<_>| -> Vec<_> { listed.into_par_iter().map(row).collect() };
        let flavor = self.nm_flavor();
        Ok(Some(match flavor {
            sysmap::Flavor::Gnu => {
                let listed = sysmap::unsorted_sizes(elf, flavor)?;
                sorttable::Functions::from_rows(&rows(listed))
            }
            sysmap::Flavor::Llvm => {
                let listed = sysmap::nm_sizes(elf, flavor)?;
                sorttable::Functions::from_rows_of_llvm(&rows(listed))
            }
        }))
    }

    /// What an object must say of itself to link with this kernel.
    pub(super) fn kernel_header(&self) -> Result<Header> {
        self.with_elf("vmlinux.o", |elf| Ok(elf.header()))
    }

    /// Maps `image` and lets `work` look at it, with the threads that make grants.
    pub(super) fn with_elf<T: Send>(
        &self,
        image: &str,
        work: impl FnOnce(&Elf<'_>) -> Fault<T> + Send,
    ) -> Result<T> {
        let path = self.path(image);
        let map = files::map(&path)?;
        let result = self.jobs.run(|| work(&Elf::parse(&map)?))?;
        result.map_err(|error| Error::file(&path, error))
    }
}

/// Whatever a core complains of; the edge adds the file's name.
pub(super) type Fault<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A line of `nm -S` as sorttable takes it.
fn row<'a>(sized: sysmap::SizedEntry<'a>) -> sorttable::Row<'a> {
    sorttable::Row {
        addr: (!sized.entry.is_undefined()).then_some(sized.entry.addr),
        size: sized.size,
        kind: sized.entry.kind,
        name: sized.entry.name,
    }
}
