//! The final link stage in miniature: the order of `scripts/link-vmlinux.sh` of a series, each step
//! done by the kernel's own tool or by our core.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use peer_tests::cross::{Debug, Image, Linker};

use crate::{native, peer};

/// A step that either side can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Sysmap,
    Kallsyms,
    BtfObject,
    BtfIds,
    Sorttable,
}

impl Step {
    pub const ALL: [Step; 5] =
        [Step::Sysmap, Step::Kallsyms, Step::BtfObject, Step::BtfIds, Step::Sorttable];
}

/// What differs between the series; the tools' own dialects are read from the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    pub name: &'static str,
    /// BTF has a temporary image of its own, and the first one for kallsyms has no tables (6.1).
    pub separate: bool,
    /// BTF and the ids are made beside the image, by `resolve_btfids --btf` (7.0 and later).
    pub detached: bool,
    /// `sorttable -s` with what `nm -S` prints.
    pub sized: bool,
    /// Options of `scripts/kallsyms` that do not depend on the architecture.
    pub kallsyms: &'static [&'static str],
}

/// The series whose sources are there, configured as a distribution does.
pub const SERIES: [Series; 3] = [
    Series {
        name: "6.1",
        separate: true,
        detached: false,
        sized: false,
        kallsyms: &["--all-symbols", "--base-relative"],
    },
    Series {
        name: "6.12",
        separate: false,
        detached: false,
        sized: true,
        kallsyms: &["--all-symbols"],
    },
    Series {
        name: "7.3",
        separate: false,
        detached: true,
        sized: true,
        kallsyms: &["--all-symbols"],
    },
];

/// One run of the stage.
pub struct Stage<'a> {
    pub image: &'a Image,
    pub series: Series,
    pub linker: Linker,
    /// The steps that our cores do.
    pub native: &'a [Step],
    /// What was made in earlier runs of the case.
    pub memo: &'a Memo,
    /// Where the files go.
    pub dir: &'a Path,
}

/// What the linker and the kernel's tools made of which files.
///
/// They make the same of the same again, so one case asks them once: the runs of a case differ only from
/// the swapped step on.
#[derive(Default)]
pub struct Memo(RefCell<HashMap<Made, Vec<u8>>>);

/// What is made, and the contents of the files that it is made of.
type Made = (String, Vec<Vec<u8>>);

impl Memo {
    /// Writes `out`, which `make` makes of nothing but `what` and `inputs`.
    pub fn file(&self, what: &str, inputs: &[&Path], out: &Path, make: impl FnOnce()) {
        let read =
            |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let key: Made = (what.to_owned(), inputs.iter().map(|path| read(path)).collect());
        let known = self.0.borrow().get(&key).cloned();
        if let Some(known) = known {
            fs::write(out, known).unwrap();
            return;
        }
        make();
        self.0.borrow_mut().insert(key, read(out));
    }
}

impl Stage<'_> {
    /// Links `vmlinux` and `System.map` in the directory.
    pub fn run(&self) {
        let dummy = (!self.series.separate).then(|| self.dummy_kallsyms());
        let first = self.link("tmp1", dummy.as_slice(), Debug::Keep);
        let btf = self.btf_object(&first);
        let listed = match self.series.separate {
            true => self.link("tmp2", std::slice::from_ref(&btf), Debug::Strip),
            false => first.clone(),
        };
        let mut tables = self.kallsyms_object(&self.syms(&listed));
        let mut syms;
        let mut rounds = ["tmp3", "tmp4"].into_iter();
        // Two rounds, and a third if the symbols of the tables moved.
        loop {
            let round = rounds.next().expect("the addresses do not settle");
            let linked = self.link(round, &[tables.clone(), btf.clone()], Debug::Strip);
            syms = self.syms(&linked);
            let before = std::mem::replace(&mut tables, self.kallsyms_object(&syms));
            let [now, then] = [&tables, &before].map(|object| fs::read(object).unwrap());
            if now == then
                || peer::symbols(self.image, &tables) == peer::symbols(self.image, &before)
            {
                break;
            }
        }
        let vmlinux = self.link("vmlinux", &[tables, btf], Debug::Keep);
        self.btf_ids(&vmlinux, &first);
        let map = self.dir.join("System.map");
        fs::copy(self.syms(&vmlinux), &map).unwrap();
        self.sorttable(&vmlinux);
        let (map, syms) = (fs::read(map).unwrap(), fs::read(syms).unwrap());
        assert!(map == syms, "{}: inconsistent kallsyms data", self.image.arch());
    }

    fn is_native(&self, step: Step) -> bool {
        self.native.contains(&step)
    }

    fn link(&self, name: &str, extra: &[PathBuf], debug: Debug) -> PathBuf {
        let out = self.dir.join(name);
        let extra: Vec<&Path> = extra.iter().map(PathBuf::as_path).collect();
        let make = || self.image.link(&extra, &out, self.linker, debug);
        self.memo.file(&format!("link {debug:?}"), &extra, &out, make);
        out
    }

    fn dummy_kallsyms(&self) -> PathBuf {
        let syms = self.dir.join("tmp0.syms");
        fs::write(&syms, "").unwrap();
        self.kallsyms_object(&syms)
    }

    /// The list of symbols of a linked image, filtered as the series does.
    fn syms(&self, linked: &Path) -> PathBuf {
        let out = linked.with_extension("syms");
        match self.is_native(Step::Sysmap) {
            true => native::sysmap(self, linked, &out),
            false => self.memo.file("sysmap", &[linked], &out, || peer::sysmap(self, linked, &out)),
        }
        out
    }

    /// The object with the tables for a list of symbols.
    fn kallsyms_object(&self, syms: &Path) -> PathBuf {
        let out = syms.with_extension("kallsyms.o");
        match self.is_native(Step::Kallsyms) {
            true => native::kallsyms(self, syms, &out),
            false => self.memo.file("kallsyms", &[syms], &out, || peer::kallsyms(self, syms, &out)),
        }
        out
    }

    /// The object with the BTF of a linked image.
    fn btf_object(&self, linked: &Path) -> PathBuf {
        let out = linked.with_extension("btf.o");
        match self.is_native(Step::BtfObject) {
            true => native::btf_object(self, &peer::btf(self, linked), &out),
            false => peer::btf_object(self, linked, &out),
        }
        out
    }

    fn btf_ids(&self, vmlinux: &Path, btf_of: &Path) {
        match self.is_native(Step::BtfIds) {
            true => native::btf_ids(self, vmlinux, btf_of),
            false => peer::btf_ids(self, vmlinux, btf_of),
        }
    }

    fn sorttable(&self, vmlinux: &Path) {
        match self.is_native(Step::Sorttable) {
            true => native::sorttable(self, vmlinux),
            false => peer::sorttable(self, vmlinux),
        }
    }

    /// The options of `scripts/kallsyms` that the series' script gives for the architecture.
    pub fn kallsyms_options(&self) -> Vec<&'static str> {
        let mut options = self.series.kallsyms.to_vec();
        match (self.series.name, self.image.arch()) {
            ("7.3", "arm") => {}
            ("7.3", _) => options.push("--pc-relative"),
            (_, "x86_64") => options.push("--absolute-percpu"),
            _ => {}
        }
        options
    }
}
