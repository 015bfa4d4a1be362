//! Where a link works: the disk, the rights, the path.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use image::Elf;
use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};

use crate::files;
use crate::plan::Action;
use crate::record::RECORD;
use crate::stage::UNFINISHED;

use super::{Patient, Report};

/// Looks at all three.
pub(super) fn look_at(report: &mut Report, patient: &Patient<'_>) {
    rights(report, patient);
    disk(report, patient);
    path(report, patient);
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// Whether this user may write what a link writes.
fn rights(report: &mut Report, patient: &Patient<'_>) {
    let dir = &patient.tree.dir;
    let barred = written(patient).into_iter().find(|path| !writable(path));
    let Some(barred) = barred else {
        report.ok("rights", "the object tree is writable");
        return;
    };
    let uid = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(&barred).map(|meta| meta.uid());
    let whose = match owner {
        Ok(owner) if owner != uid => format!("it belongs to user {owner}, you are user {uid}"),
        _ => format!("you are user {uid}"),
    };
    report.problem("rights", format!("{} is not writable: {whose}", barred.display()));
    report.next(match owner {
        Ok(owner) if owner != uid => {
            format!("link as the user who built the tree, or: chown -R {uid} {}", dir.display())
        }
        _ => format!("chmod -R u+w {}, or remount its file system", dir.display()),
    });
}

/// Directories that get files, and files that are written over.
fn written(patient: &Patient<'_>) -> Vec<PathBuf> {
    let dir = &patient.tree.dir;
    let outputs = patient.plan.steps.iter().map(|step| step.output());
    let files = outputs.chain([RECORD, UNFINISHED]).map(|name| dir.join(name));
    let files = files.filter(|path| path.exists());
    [dir.clone(), dir.join("init")].into_iter().chain(files).collect()
}

fn writable(path: &Path) -> bool {
    // By the effective user, as the kernel asks.
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Whether what a link writes fits on the disk.
fn disk(report: &mut Report, patient: &Patient<'_>) {
    let dir = &patient.tree.dir;
    let (Ok(disk), Some(needed)) = (statvfs(dir), needed(patient)) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let what = format!("{} are free; a link takes about {}", size(free), size(needed));
    if free > needed {
        report.ok("disk", what);
    } else {
        report.problem("disk", what);
        report.next("make room; vmlinker relink --output writes to another disk");
    }
}

/// About how many bytes the images of a link take that are not there yet. `None` without `vmlinux.o`.
fn needed(patient: &Patient<'_>) -> Option<u64> {
    let dir = &patient.tree.dir;
    let map = files::map(&dir.join("vmlinux.o")).ok()?;
    let elf = Elf::parse(&map).ok()?;
    let loaded = |name: &[u8]| !name.starts_with(b".debug") && !name.starts_with(b".rel");
    let sections = elf.sections().iter().filter(|section| loaded(section.name));
    let stripped: u64 = sections.map(|section| section.size).sum();
    let whole = map.len() as u64;
    let images = patient.plan.steps.iter().filter_map(|step| match &step.action {
        Action::Ld { image, strip_debug, .. } => Some((image, !strip_debug)),
        Action::Debug { image, .. } => Some((image, true)),
        _ => None,
    });
    let bytes = images.map(|(image, debug)| {
        // An old one makes way, or is written over.
        let there = fs::metadata(dir.join(image)).map_or(0, |meta| meta.len());
        if debug { whole } else { stripped.min(whole) }.saturating_sub(there)
    });
    Some(bytes.sum())
}

/// Names that make or a shell would take apart.
fn path(report: &mut Report, patient: &Patient<'_>) {
    let tree = patient.tree;
    let srctree = tree.srctree.canonicalize().unwrap_or_else(|_| tree.srctree.clone());
    let dir = tree.dir.canonicalize().unwrap_or_else(|_| tree.dir.clone());
    let odd = |path: &Path| {
        let text = path.to_string_lossy();
        text.contains(|c: char| c.is_whitespace() || c == ':')
    };
    if odd(&srctree) {
        let what = format!("{}: make refuses sources below a space or a colon", srctree.display());
        report.problem("path", what).next("move the sources");
    } else if odd(&dir) {
        let what = format!("{}: a space or a colon, which make takes for the end", dir.display());
        report.note("path", what);
        report.next("move the tree if make fails; vmlinker itself takes any name");
    }
}
