//! The file in which the timelines of a tree's last links stand.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;

use super::Link;

/// Name of the file, in the object tree. Kernel trees ignore files that begin with a dot.
pub const TIMELINE: &str = ".vmlinker.timeline";

/// Form of the file; a change that older releases cannot read gets the next number.
const FORMAT: u32 = 1;

/// No file of ours is as long as this, in bytes: a link has some 20 steps.
const LONGEST: u64 = 1 << 20;

/// No link takes as long as this, in microseconds: a month. Sums of such times do not overflow.
const SLOWEST: u64 = 31 * 86_400 * 1_000_000;

/// No size of ours is larger than this, in bytes. Sums of all that a file can have do not overflow.
const LARGEST: u64 = 1 << 44;

/// The last links of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Links {
    format: u32,
    /// The last one.
    pub link: Link,
    /// The one before.
    pub previous: Option<Link>,
}

impl Links {
    /// A single link.
    pub fn new(link: Link) -> Self {
        Links { format: FORMAT, link, previous: None }
    }

    /// Reads the file of the object tree `dir`.
    ///
    /// # Errors
    /// There is none, or none that this release can read.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(TIMELINE);
        if !path.exists() {
            return Err(Error::file(&path, "no link of this tree has left its timeline")
                .advise("link it with vmlinker first: make, or vmlinker relink -C BUILD"));
        }
        Links::read(&path)
    }

    /// Reads a file that `relink --timings` wrote, or a tree's.
    ///
    /// # Errors
    /// No such file, or it is not one that this release can read.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |cause: String| Error::file(path, cause);
        let meta = fs::metadata(path).map_err(|error| failed(files::reason(&error)))?;
        if !meta.is_file() || meta.len() > LONGEST {
            return Err(failed("not a timeline: it is no file of some KiB".to_string()));
        }
        let text = files::read(path)?;
        // The form first: the rest may mean something else in another one.
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let broken = |error| failed(format!("not a timeline: {error}"));
        let Form { format } = serde_json::from_slice(&text).map_err(broken)?;
        if format != FORMAT {
            let cause = format!("form {format} of the timeline; this release reads {FORMAT}");
            return Err(failed(cause));
        }
        let links: Links = serde_json::from_slice(&text).map_err(broken)?;
        for link in [Some(&links.link), links.previous.as_ref()].into_iter().flatten() {
            check(link).map_err(|cause| failed(format!("not a timeline: {cause}")))?;
        }
        Ok(links)
    }

    /// Writes the file into the object tree `dir`; the link that was the last one there becomes the previous one.
    ///
    /// # Errors
    /// The tree cannot be written to.
    pub fn save(link: Link, dir: &Path) -> Result<()> {
        let previous = Links::load(dir).ok().map(|links| links.link);
        let links = Links { format: FORMAT, link, previous };
        files::write(&dir.join(TIMELINE), links.json()?.as_bytes())
    }

    /// The text of the file.
    ///
    /// # Errors
    /// None that is known.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(Error::new)?;
        Ok(format!("{text}\n"))
    }
}

/// Whether times and sizes are such that they can be drawn; if not, why.
fn check(link: &Link) -> std::result::Result<(), String> {
    if link.wall_us > SLOWEST {
        return Err(format!("a link of {} us", link.wall_us));
    }
    for step in &link.steps {
        let name = step.name();
        if step.end_us < step.start_us {
            return Err(format!("'{name}' ends before it begins"));
        }
        if step.end_us > link.wall_us {
            return Err(format!("'{name}' ends after its link"));
        }
        if step.blocked_us > step.wall_us() {
            return Err(format!("'{name}' stands still longer than it takes"));
        }
        let sizes = [step.child_memory, step.read, step.written];
        if sizes.into_iter().flatten().any(|size| size > LARGEST)
            || step.cpu_us.is_some_and(|time| time > SLOWEST)
        {
            return Err(format!("'{name}' has a number that is too large"));
        }
    }
    let contents = &link.contents;
    let tables = contents.kallsyms.iter().map(|table| table.bytes);
    let kinds = contents.btf.iter().flat_map(|types| {
        let kinds = types.kinds.iter().flat_map(|kind| [kind.bytes, kind.types]);
        kinds.chain([types.bytes, types.strings, types.string_count])
    });
    let sizes = [contents.kernel, contents.system_map, link.memory];
    match sizes.into_iter().flatten().chain(tables).chain(kinds).find(|&size| size > LARGEST) {
        Some(size) => Err(format!("a size of {size} bytes")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Step;

    fn link(output: &str) -> Link {
        let step = Step { verb: "LD".into(), output: output.into(), end_us: 90, ..Step::default() };
        Link { output: output.into(), wall_us: 100, steps: vec![step], ..Link::default() }
    }

    #[test]
    fn the_last_two_links_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cause = Links::load(dir.path()).unwrap_err();
        assert_eq!(cause.cause, "no link of this tree has left its timeline");
        for name in ["a", "b", "c"] {
            Links::save(link(name), dir.path()).unwrap();
        }
        let links = Links::load(dir.path()).unwrap();
        assert_eq!((links.link, links.previous), (link("c"), Some(link("b"))));
    }

    #[test]
    fn what_is_no_timeline_is_told_in_one_line_and_replaced_by_the_next_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TIMELINE);
        let whole = Links::new(link("vmlinux")).json().unwrap();
        let cause = |text: &str| {
            fs::write(&path, text).unwrap();
            let error = Links::load(dir.path()).unwrap_err();
            assert!(!error.to_string().contains('\n') && error.status == 1, "{error}");
            error.cause
        };
        for end in 0..whole.trim_end().len() {
            let cause = cause(&whole[..end]);
            assert!(cause.starts_with("not a timeline: "), "{cause}");
        }
        assert_eq!(cause("{\"format\": 7}"), "form 7 of the timeline; this release reads 1");
        for (old, new, expected) in [
            (
                "\"end_us\": 90",
                "\"end_us\": 101",
                "not a timeline: 'LD vmlinux' ends after its link",
            ),
            (
                "\"start_us\": 0",
                "\"start_us\": 91",
                "not a timeline: 'LD vmlinux' ends before it begins",
            ),
            (
                "\"wall_us\": 100",
                "\"wall_us\": 99999999999999999",
                "not a timeline: a link of 99999999999999999 us",
            ),
            (
                "\"memory\": null",
                "\"memory\": 18446744073709551615",
                "not a timeline: a size of 18446744073709551615 bytes",
            ),
        ] {
            assert!(whole.contains(old), "{whole}");
            assert_eq!(cause(&whole.replace(old, new)), expected);
        }
        assert!(cause(&" ".repeat(1 << 21)).starts_with("not a timeline: it is no file"));
        Links::save(link("next"), dir.path()).unwrap();
        assert_eq!(Links::load(dir.path()).unwrap(), Links::new(link("next")));
    }
}
