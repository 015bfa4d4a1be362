//! Configuration fragments: what a kernel is asked to be, and whether it became that.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Options by name, each with the value that was asked for.
#[derive(Debug)]
pub struct Wanted(BTreeMap<String, String>);

impl Wanted {
    /// Reads fragments of `CONFIG_X=value` lines. A later line wins.
    pub fn parse(fragments: &[&str]) -> Result<Self> {
        let mut options = BTreeMap::new();
        for line in fragments.iter().flat_map(|fragment| fragment.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) =
                line.split_once('=').with_context(|| format!("{line:?} is not CONFIG_X=value"))?;
            options.insert(name.to_owned(), value.to_owned());
        }
        Ok(Wanted(options))
    }

    /// How many options were asked for.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The options as lines for a `.config`.
    pub fn lines(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    /// Checks that every option took in the finished `.config`.
    ///
    /// # Errors
    /// Names those that did not: Kconfig drops an option without a word when it lacks a dependency.
    pub fn check(&self, config: &Path) -> Result<()> {
        let text = fs::read_to_string(config)
            .with_context(|| format!("cannot read {}", config.display()))?;
        let lost = self.lost(&text);
        if !lost.is_empty() {
            bail!("{}: Kconfig did not take {}", config.display(), lost.join(" "));
        }
        Ok(())
    }

    fn lost(&self, config: &str) -> Vec<String> {
        let set: BTreeMap<&str, &str> =
            config.lines().filter_map(|line| line.split_once('=')).collect();
        self.0
            .iter()
            // An option that is not there at all is off.
            .filter(|(name, value)| set.get(name.as_str()).copied().unwrap_or("n") != *value)
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_fragment_wins() {
        let wanted = Wanted::parse(&["# why\nCONFIG_A=y\nCONFIG_B=y\n", "CONFIG_A=n\n"]).unwrap();
        assert_eq!(wanted.lines(), "CONFIG_A=n\nCONFIG_B=y\n");
    }

    #[test]
    fn an_option_that_kconfig_dropped_is_named() {
        let wanted = Wanted::parse(&["CONFIG_A=y\nCONFIG_B=n\nCONFIG_C=m\nCONFIG_D=n\n"]).unwrap();
        let config = "# CONFIG_A is not set\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_D=y\n";
        assert_eq!(wanted.lost(config), ["CONFIG_A=y", "CONFIG_D=n"]);
    }
}
