//! Images linked of hollow objects and filled, beside the linker's own of the true objects.

use std::fs;
use std::path::Path;
use std::process::Command;

use debug_link::hollow::{Hollow, Relocations};
use debug_link::{Error, Filler, Input, Plan, Prepared};
use peer_tests::link::{assert_same_bytes, scratch};
use peer_tests::run;

use super::{GNU, Kernel, LLD, SCRIPT, made};

/// With both linkers, with and without relocations that stay.
fn filled_images_are_those_of_the_linker(name: &str) {
    let kept = &["--emit-relocs", "--discard-none"][..];
    for ld in [GNU, LLD] {
        let kernel = |more| Kernel { ld, more, ..Kernel::new(name) };
        let name = format!("{name}, {ld}");
        assert_filled(&name, &kernel(&[]), Relocations::Dropped, &kernel(&[]));
        let name = format!("{name}, with kept relocations");
        assert_filled(&name, &kernel(kept), Relocations::Cleared, &kernel(kept));
        if ld == GNU {
            let added = kernel(&kept[1..]);
            assert_filled(&format!("{name} added"), &kernel(kept), Relocations::Dropped, &added);
        }
    }
}

/// Holds what is made of the hollow twin of `hollow` against what the linker makes of `kernel`.
fn assert_filled(name: &str, kernel: &Kernel, relocations: Relocations, hollow: &Kernel) {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    kernel.link_lean(&path("linked"), &path("linked.map"));
    let read = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let objects = kernel.objects();
    let objects: Vec<(&str, &Path, Vec<u8>)> =
        objects.iter().map(|(name, path)| (&name[..], path.as_path(), read(path))).collect();
    let inputs: Vec<Input<'_>> =
        objects.iter().map(|(name, _, data)| Input::new(name, data)).collect();

    let place = path("hollow");
    for ((_, path, _), input) in objects.iter().zip(&inputs) {
        let twin = Hollow::new(input, relocations).unwrap_or_else(|e| panic!("{name}: {e}"));
        let path = path.strip_prefix(&kernel.dir).expect("objects lie in their tree");
        write(&twin, &place.join(path));
    }
    archive(kernel, &place);
    put(&place.join(SCRIPT), &read(&kernel.dir.join(SCRIPT)));
    let adds = hollow.more != kernel.more;
    let hollow = Kernel { dir: place, call: hollow.call.clone(), ..*hollow };
    hollow.link_lean(&path("hollow-image"), &path("map"));

    let (image, map) = (read(&path("hollow-image")), read(&path("map")));
    let script = read(&kernel.dir.join(SCRIPT));
    let map = kernel.map(&map, &script);
    let (first, later) = inputs.split_at(inputs.len() - kernel.made.len());
    let prepared = Prepared::new(first, map.linker).unwrap_or_else(|e| panic!("{name}: {e}"));
    let fill = |filler: &Filler<'_, '_>| {
        let mut out = vec![0; filler.len()];
        filler.fill(&mut out).unwrap_or_else(|e| panic!("{name}: {e}"));
        out
    };
    let hollow = prepared.filler(later, &image, &map, adds);
    let hollow = hollow.unwrap_or_else(|e| panic!("{name}: {e}"));
    let filled = fill(&hollow);
    put(&path("filled"), &filled);
    assert_same_bytes(&path("filled"), &path("linked"), name);
    let again = prepared.filler(later, &filled, &map, false);
    let again = again.unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(fill(&again) == filled, "{name}: what is full changes when it is filled again");

    let make = |plan: Result<Plan<'_>, Error>| {
        plan.and_then(|plan| made(&plan)).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let whole = make(prepared.plan(later, &filled, &map, &kernel.dialect()));
    let unfilled = hollow.unfilled().unwrap_or_else(|e| panic!("{name}: {e}"));
    let on_the_way = make(hollow.plan(&unfilled, &map, &kernel.dialect()));
    assert!(
        on_the_way == whole,
        "{name}: what is filled on the way with debug info is not the same"
    );
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file lies in a directory"))
        .and_then(|()| fs::write(path, bytes))
        .expect("a scratch directory is writable");
}

fn write(twin: &Hollow<'_>, path: &Path) {
    let mut bytes = vec![0; twin.len as usize];
    for piece in &twin.pieces {
        bytes[piece.offset as usize..][..piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    put(path, &bytes);
}

/// The thin archive of a kernel that is linked of one, with the hollow members.
fn archive(kernel: &Kernel, place: &Path) {
    for name in kernel.whole.into_iter().filter(|name| name.ends_with(".a")) {
        let members = run(Command::new("ar").args(["t", name]).current_dir(&kernel.dir));
        let members = String::from_utf8(members).expect("names of objects are ASCII");
        let prefix = format!("{}/", kernel.dir.display());
        let members = members.lines().map(|member| member.strip_prefix(&prefix).unwrap_or(member));
        run(Command::new("ar").args(["cDPrST", name]).args(members).current_dir(place));
    }
}

#[test]
fn vmlinux_a_of_6_1_is_filled() {
    filled_images_are_those_of_the_linker("6.1-tiny");
}

#[test]
fn vmlinux_o_of_6_12_is_filled() {
    filled_images_are_those_of_the_linker("6.12-tiny");
}

#[test]
fn vmlinux_o_of_7_3_is_filled() {
    filled_images_are_those_of_the_linker("7.3-tiny");
}
