//! The configuration of a kernel, as far as this stage reads it.
//!
//! `link-vmlinux.sh` asks `grep -q "^CONFIG_X=y" include/config/auto.conf` and nothing else, so a
//! configuration is the set of options that are `y`.

use std::collections::BTreeSet;

/// The options of a kernel that are built in (`=y`), named without their `CONFIG_` prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    enabled: BTreeSet<String>,
}

impl Config {
    /// Reads the text of `include/config/auto.conf`.
    pub fn parse(auto_conf: &str) -> Self {
        let enabled = auto_conf
            .lines()
            .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once("=y"))
            .map(|(name, _)| name.to_string())
            .collect();
        Config { enabled }
    }

    /// The configuration in which exactly `names` are enabled, with or without `CONFIG_` before them.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bare = |name: &str| name.strip_prefix("CONFIG_").unwrap_or(name).to_string();
        Config { enabled: names.into_iter().map(bare).collect() }
    }

    /// Whether `CONFIG_{name}=y`.
    pub fn has(&self, name: &str) -> bool {
        self.enabled.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_built_in_options_count() {
        let text = "CONFIG_KALLSYMS=y\nCONFIG_TUN=m\nCONFIG_HZ=250\n# CONFIG_BTF is not set\n";
        let config = Config::parse(text);
        assert_eq!(config, Config::from_names(["CONFIG_KALLSYMS"]));
        assert!(config.has("KALLSYMS") && !config.has("TUN") && !config.has("HZ"));
    }
}
