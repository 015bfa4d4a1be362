//! Distilled bases beside `btf__distill_base` of libbpf.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf::{Btf, HeaderForm};
use peer_tests::{kernel, run, source, tool};
use tempfile::TempDir;

use crate::{KERNELS, blob, section};

/// Reads a base and split BTF, and writes the distilled base and the new split BTF.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <bpf/btf.h>

static int save(const char *path, const struct btf *btf)
{
	__u32 size;
	const void *data = btf__raw_data(btf, &size);
	FILE *file = fopen(path, "w");

	return !file || fwrite(data, 1, size, file) != size || fclose(file);
}

int main(int argc, char **argv)
{
	struct btf *base, *split, *new_base, *new_split;

	if (argc != 5 || !(base = btf__parse(argv[1], NULL)))
		return 2;
	if (!(split = btf__parse_split(argv[2], base)))
		return 3;
	if (btf__distill_base(split, &new_base, &new_split))
		return 4;
	return save(argv[3], new_base) || save(argv[4], new_split);
}
"#;

fn program(dir: &Path) -> PathBuf {
    let (tree, library) = (source("7.3"), tool("7.3", "libbpf.a"));
    let (text, program) = (dir.join("distill.c"), dir.join("distill"));
    fs::write(&text, PROGRAM).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.arg("-I").arg(tree.join("tools/lib")).arg("-I").arg(tree.join("tools/include/uapi"));
    gcc.arg("-o").arg(&program).arg(&text).arg(&library).args(["-lelf", "-lz"]);
    run(&mut gcc);
    program
}

#[test]
fn distilled_bases_of_modules_are_libbpfs() {
    let dir = TempDir::new().unwrap();
    let program = program(dir.path());
    let path = |name: &str| dir.path().join(name);
    for name in KERNELS {
        let base_blob = blob(name);
        let base = Btf::parse(&base_blob).unwrap();
        for module in ["drivers/net/dummy.ko", "drivers/thermal/intel/x86_pkg_temp_thermal.ko"] {
            let module = kernel(name).join(module);
            let split_blob = section(&module);
            let split = Btf::parse_split(&split_blob, &base).unwrap();
            let ours = btf::distill(&split, HeaderForm::Long).unwrap();
            fs::write(path("base"), &base_blob).unwrap();
            fs::write(path("split"), &split_blob).unwrap();
            let files = ["base", "split", "new-base", "new-split"].map(path);
            run(Command::new(&program).args(&files));
            let what = module.display();
            assert!(ours.base == fs::read(path("new-base")).unwrap(), "{what}: .BTF.base");
            assert!(ours.split == fs::read(path("new-split")).unwrap(), "{what}: .BTF");
        }
    }
}
