//! The configuration of a kernel, as far as this stage reads it.
//!
//! `link-vmlinux.sh` asks `grep -q "^CONFIG_X=y" include/config/auto.conf` and nothing else.

use std::collections::BTreeMap;

/// The options of a kernel with their values, named without their `CONFIG_` prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<String, String>,
}

impl Config {
    /// Reads the text of `include/config/auto.conf`.
    pub fn parse(auto_conf: &str) -> Self {
        let options = auto_conf.lines().filter_map(|line| line.strip_prefix("CONFIG_"));
        let split = options.filter_map(|option| option.split_once('='));
        Config { values: split.map(|(name, value)| (name.into(), value.into())).collect() }
    }

    /// The configuration in which exactly `names` are enabled, with or without `CONFIG_` before them.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bare = |name: &str| name.strip_prefix("CONFIG_").unwrap_or(name).to_string();
        Config { values: names.into_iter().map(|name| (bare(name), "y".to_string())).collect() }
    }

    /// Whether `CONFIG_{name}=y`.
    pub fn has(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| value.starts_with('y'))
    }

    /// The value of a numeric option.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_built_in_options_count() {
        let text = "CONFIG_KALLSYMS=y\nCONFIG_TUN=m\nCONFIG_HZ=250\n# CONFIG_BTF is not set\n";
        let config = Config::parse(text);
        assert!(config.has("KALLSYMS") && !config.has("TUN") && !config.has("HZ"));
        assert_eq!(config.number("HZ"), Some(250));
        assert_eq!(Config::from_names(["CONFIG_KALLSYMS"]), Config::parse("CONFIG_KALLSYMS=y\n"));
    }
}
