//! The steps as the kernel's own script does them, with the kernel's own tools.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use peer_tests::cross::Image;
use peer_tests::{run, source, tool};

use crate::stage::Stage;

/// `nm -n OBJECT`, by which the script sees whether the tables' symbols moved.
pub fn symbols(image: &Image, object: &Path) -> Vec<u8> {
    run(image.nm().arg("-n").arg(object))
}

/// `nm -n | mksysmap`: a sed script, or in 6.1 a shell script that calls `$NM` itself.
pub fn sysmap(stage: &Stage<'_>, linked: &Path, out: &Path) {
    let mksysmap = source(stage.series.name).join("scripts/mksysmap");
    if fs::read(&mksysmap).unwrap().starts_with(b"#!/bin/sh") {
        let nm = stage.image.nm();
        let mut sh = Command::new("sh");
        sh.env("NM", nm.get_program()).env("LC_ALL", "C");
        run(sh.arg(mksysmap).arg(linked).arg(out));
        return;
    }
    let listed = run(stage.image.nm().arg("-n").arg(linked));
    let list = out.with_extension("nm");
    fs::write(&list, listed).unwrap();
    let mut sed = Command::new("sed");
    sed.env("LC_ALL", "C").stdin(Stdio::from(File::open(list).unwrap()));
    fs::write(out, run(sed.arg("-f").arg(mksysmap))).unwrap();
}

/// `kallsyms > S; cc -c S`.
pub fn kallsyms(stage: &Stage<'_>, syms: &Path, out: &Path) {
    let mut kallsyms = Command::new(tool(stage.series.name, "kallsyms"));
    let text = out.with_extension("S");
    fs::write(&text, run(kallsyms.args(stage.kallsyms_options()).arg(syms))).unwrap();
    stage.image.assemble(&text, out);
}

/// The BTF of a linked image, as raw bytes in a file beside it.
///
/// Up to 6.19 this is pahole's own; from 7.0 on `resolve_btfids` rewrites it and leaves the contents of
/// `.BTF_ids` beside it too.
pub fn btf(stage: &Stage<'_>, linked: &Path) -> PathBuf {
    let beside = |suffix: &str| PathBuf::from(format!("{}.{suffix}", linked.display()));
    let detached = beside("BTF.1");
    stage.memo.file("pahole", &[linked], &detached, || {
        let mut pahole = Command::new("pahole");
        pahole.args(["-J", "--btf_gen_floats", "--lang_exclude=rust"]);
        pahole.arg(format!("--btf_encode_detached={}", detached.display()));
        run(pahole.arg(linked));
    });
    if !stage.series.detached {
        return detached;
    }
    let mut resolve_btfids = Command::new(tool(stage.series.name, "resolve_btfids"));
    run(resolve_btfids.arg("--btf").arg(detached).arg(linked));
    beside("BTF")
}

/// The object with the BTF of a linked image.
pub fn btf_object(stage: &Stage<'_>, linked: &Path, out: &Path) {
    if stage.series.detached {
        stage.image.btf_object_of(&btf(stage, linked), out);
    } else {
        stage.memo.file("btf", &[linked], out, || stage.image.btf_object(linked, out));
    }
}

/// `resolve_btfids vmlinux`, or its `--patch_btfids` with what [`btf`] left for the image `btf_of`.
pub fn btf_ids(stage: &Stage<'_>, vmlinux: &Path, btf_of: &Path) {
    let mut resolve_btfids = Command::new(tool(stage.series.name, "resolve_btfids"));
    if stage.series.detached {
        resolve_btfids.arg("--patch_btfids").arg(format!("{}.BTF_ids", btf_of.display()));
    }
    run(resolve_btfids.arg(vmlinux));
}

/// `sorttable [-s LIST] vmlinux`, with all that the architecture's tool is compiled with.
pub fn sorttable(stage: &Stage<'_>, vmlinux: &Path) {
    let variant = match stage.image.arch() {
        "x86_64" => "sorttable-orc-mcount",
        _ => "sorttable-mcount",
    };
    let mut sorttable = Command::new(tool(stage.series.name, variant));
    // 6.1 reads the bounds of the mcount table out of ./System.map.
    sorttable.current_dir(stage.dir);
    if stage.series.sized {
        let list = stage.dir.join("nm-sort");
        fs::write(&list, run(stage.image.nm().arg("-S").arg(vmlinux))).unwrap();
        sorttable.arg("-s").arg(list);
    }
    run(sorttable.arg(vmlinux));
}
