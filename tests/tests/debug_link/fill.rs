//! Images linked of hollow objects and filled, beside the linker's own of the true objects.

use std::fs;
use std::path::Path;
use std::process::Command;

use debug_link::hollow::{Hollow, Relocations};
use debug_link::{Input, Prepared};
use peer_tests::link::{assert_same_bytes, scratch};
use peer_tests::run;

use super::{Kernel, LLD, SCRIPT};

/// With both linkers, with and without relocations that stay.
fn filled_images_are_those_of_the_linker(name: &str) {
    for (ld, linker) in [(super::GNU, "GNU ld"), (LLD, LLD)] {
        let kernel = || Kernel { ld, ..Kernel::new(name) };
        assert_filled(&format!("{name}, {linker}"), &kernel(), Relocations::Dropped);
        let more = &["--emit-relocs", "--discard-none"];
        let kept = format!("{name}, {linker}, with kept relocations");
        assert_filled(&kept, &Kernel { more, ..kernel() }, Relocations::Cleared);
    }
}

fn assert_filled(name: &str, kernel: &Kernel, relocations: Relocations) {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    kernel.link_lean(&path("linked"), &path("linked.map"));
    let read = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let objects = kernel.objects();
    let objects: Vec<(&str, &Path, Vec<u8>)> =
        objects.iter().map(|(name, path)| (&name[..], path.as_path(), read(path))).collect();
    let inputs: Vec<Input<'_>> =
        objects.iter().map(|(name, _, data)| Input { name, data }).collect();

    let hollow = Kernel {
        dir: path("hollow"),
        call: kernel.call.clone(),
        ld: kernel.ld,
        whole: kernel.whole,
        made: kernel.made,
        more: kernel.more,
    };
    for ((_, path, _), input) in objects.iter().zip(&inputs) {
        let twin = Hollow::new(input, relocations).unwrap_or_else(|e| panic!("{name}: {e}"));
        let place = path.strip_prefix(&kernel.dir).expect("objects lie in their tree");
        write(&twin, &hollow.dir.join(place));
    }
    archive(kernel, &hollow);
    put(&hollow.dir.join(SCRIPT), &read(&kernel.dir.join(SCRIPT)));
    hollow.link_lean(&path("hollow-image"), &path("map"));

    let (mut image, map) = (read(&path("hollow-image")), read(&path("map")));
    let script = read(&kernel.dir.join(SCRIPT));
    let map = kernel.map(&map, &script);
    let (first, later) = inputs.split_at(inputs.len() - kernel.made.len());
    let prepared = Prepared::new(first, map.linker).unwrap_or_else(|e| panic!("{name}: {e}"));
    prepared.fill(later, &mut image, &map, None).unwrap_or_else(|e| panic!("{name}: {e}"));
    put(&path("filled"), &image);
    assert_same_bytes(&path("filled"), &path("linked"), name);
    // What is full is filled with the same once more.
    prepared.fill(later, &mut image, &map, None).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(image == read(&path("linked")), "{name}: not the same when filled again");
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
fn archive(kernel: &Kernel, hollow: &Kernel) {
    for name in kernel.whole.into_iter().filter(|name| name.ends_with(".a")) {
        let members = run(Command::new("ar").args(["t", name]).current_dir(&kernel.dir));
        let members = String::from_utf8(members).expect("names of objects are ASCII");
        let prefix = format!("{}/", kernel.dir.display());
        let members = members.lines().map(|member| member.strip_prefix(&prefix).unwrap_or(member));
        run(Command::new("ar").args(["cDPrST", name]).args(members).current_dir(&hollow.dir));
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
