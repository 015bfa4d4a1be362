//! The committed corpus, run without a fuzzer: what was once found stays mended.

use std::fs;
use std::path::Path;

fn each(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}: no corpus", dir.display());
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        println!("{}", path.display());
        run(&bytes);
        // What is cut off is the most common damage.
        for length in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
            run(&bytes[..length]);
        }
    }
}

#[test]
fn dwarf() {
    each("dwarf", fuzz::dwarf);
}

#[test]
fn btf() {
    each("btf", fuzz::btf);
}

#[test]
fn dedup() {
    each("dedup", fuzz::dedup);
}

#[test]
fn btf_ids() {
    each("btf_ids", fuzz::btf_ids);
}
