//! Which mirror of Debian this machine uses: read from its own apt sources, in both forms that apt knows.
//!
//! Source of facts: sources.list(5).

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// One line or stanza of apt's sources.
#[derive(Debug, Default, PartialEq, Eq)]
struct Source {
    types: Vec<String>,
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    enabled: bool,
}

/// The URI of the mirror that serves this machine's own release.
pub fn of_this_machine() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map_or("sid", |name| name.trim_matches('"'));
    find(&sources()?, codename).with_context(|| {
        format!(
            "no line in /etc/apt/sources.list or /etc/apt/sources.list.d has the suite {codename} \
             with the component main: add a mirror of Debian"
        )
    })
}

/// The first mirror that has `codename` itself, with `main`; not a suite of someone else with a like name.
fn find(sources: &[Source], codename: &str) -> Option<String> {
    let has = |list: &[String], word: &str| list.iter().any(|item| item == word);
    let fits = |source: &&Source| {
        let suite = has(&source.suites, codename) || has(&source.suites, "stable");
        source.enabled && has(&source.types, "deb") && suite && has(&source.components, "main")
    };
    let uris = || sources.iter().filter(fits).flat_map(|source| &source.uris);
    // Where several have it, the one that is laid out like a mirror of the whole archive.
    uris()
        .find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
        .or_else(|| uris().find(|uri| !uri.starts_with("cdrom:")))
        .cloned()
}

fn sources() -> Result<Vec<Source>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut parts: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            Some("sources") => sources.extend(stanzas(&text)),
            _ => {}
        }
    }
    Ok(sources)
}

/// `deb [options] URI suite component...`
fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        types: vec![kind.to_owned()],
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        enabled: true,
    })
}

/// Stanzas of `Field: words`, separated by empty lines.
fn stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut current: Option<Source> = None;
    let mut field = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            sources.extend(current.take());
            continue;
        }
        let words = if line.starts_with([' ', '\t']) {
            line
        } else if let Some((name, words)) = line.split_once(':') {
            field = name.to_ascii_lowercase();
            words
        } else {
            continue;
        };
        let source = current.get_or_insert_with(|| Source { enabled: true, ..Source::default() });
        let words = words.split_whitespace().map(str::to_owned);
        match field.as_str() {
            "types" => source.types.extend(words),
            "uris" => source.uris.extend(words),
            "suites" => source.suites.extend(words),
            "components" => source.components.extend(words),
            "enabled" => source.enabled = !words.into_iter().any(|word| word == "no"),
            _ => {}
        }
    }
    sources.extend(current);
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb deb-src
# http://old.invalid/debian
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/k.gpg

Types: deb
URIs: http://security.invalid/debian-security
Suites: bookworm-security
Components: main
";

    #[test]
    fn deb822_stanzas() {
        let sources = stanzas(DEB822);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].types, ["deb", "deb-src"]);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(find(&sources, "bookworm").unwrap(), "http://mirror.invalid/debian");
        assert_eq!(find(&sources, "trixie"), None);
    }

    #[test]
    fn continuation_lines_and_enabled() {
        let text = "Types: deb\nURIs:\n http://a.invalid/debian\n http://b.invalid/debian\n\
                    Suites: sid\nComponents: main\nEnabled: no\n";
        let sources = stanzas(text);
        assert_eq!(sources[0].uris.len(), 2);
        assert_eq!(find(&sources, "sid"), None);
    }

    #[test]
    fn one_line_forms() {
        let lines = [
            "deb http://vendor.invalid/linux bookworm stable # a vendor's",
            "deb [arch=amd64 signed-by=/k.gpg] http://other.invalid/d/ bookworm main",
            "deb http://mirror.invalid/debian/ bookworm main contrib",
            "# deb http://off.invalid/debian bookworm main",
        ];
        let sources: Vec<Source> = lines.iter().filter_map(|line| one_line(line)).collect();
        assert_eq!(sources.len(), 3);
        assert_eq!(find(&sources, "bookworm").unwrap(), "http://mirror.invalid/debian/");
    }
}
