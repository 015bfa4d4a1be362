//! pahole's `--btf_features`.
//!
//! Source of facts: pahole.c of pahole 1.31 (`btf_features`).

use anyhow::bail;
use dwarf_btf::Options;

/// All names, in pahole's order. `layout` is not among them: pahole with Debian's libbpf has none either.
pub const NAMES: [&str; 12] = [
    "encode_force",
    "var",
    "float",
    "decl_tag",
    "type_tag",
    "enum64",
    "optimized_func",
    "consistent_func",
    "decl_tag_kfuncs",
    "reproducible_build",
    "distilled_base",
    "attributes",
];

/// How many of them `default` and `all` stand for.
const DEFAULTS: usize = 9;

/// Nothing is encoded but what is asked for.
pub fn clear(options: &mut Options<'_>) {
    options.vars = false;
    options.floats = false;
    options.decl_tags = false;
    options.type_tags = false;
    options.enum64 = false;
    options.consistent_functions = false;
    options.kfunc_tags = false;
    options.attributes = false;
}

/// Whether a distilled base is asked for.
pub fn distil<'l>(lists: impl Iterator<Item = &'l String>) -> bool {
    lists.flat_map(|list| list.split(',')).any(|name| name == "distilled_base")
}

/// Turns on the features of a list.
pub fn enable(options: &mut Options<'_>, list: &str, strict: bool) -> anyhow::Result<()> {
    for name in list.split(',').filter(|name| !name.is_empty()) {
        match name {
            "all" | "default" => {
                for name in &NAMES[..DEFAULTS] {
                    enable(options, name, true)?;
                }
            }
            "var" => options.vars = true,
            "float" => options.floats = true,
            "decl_tag" => options.decl_tags = true,
            "type_tag" => options.type_tags = true,
            "enum64" => options.enum64 = true,
            "consistent_func" => options.consistent_functions = true,
            "decl_tag_kfuncs" => options.kfunc_tags = true,
            "attributes" => options.attributes = true,
            // The result never depends on threads; the others change nothing that kernels see.
            "encode_force" | "optimized_func" | "reproducible_build" | "distilled_base" => {}
            other if strict => bail!("--btf_features_strict: no feature {other}"),
            _ => {}
        }
    }
    Ok(())
}
