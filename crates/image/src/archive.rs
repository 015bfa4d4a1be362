//! Archives of objects (`ar`), whole and thin: Kbuild's `vmlinux.a` is a thin one.

use std::ops::Range;

use object::read::archive::ArchiveFile;

use crate::Error;

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name; in a thin archive a path, relative to the archive's directory or absolute.
    pub name: String,
    /// Where its bytes are in the archive; `None` in a thin one, where they are a file of their own.
    pub range: Option<Range<usize>>,
}

/// The members of an archive in their order; `None` if `data` is no archive.
///
/// # Errors
/// An archive that is cut off.
pub fn members(data: &[u8]) -> Result<Option<Vec<Member>>, Error> {
    if !data.starts_with(b"!<arch>\n") && !data.starts_with(b"!<thin>\n") {
        return Ok(None);
    }
    let bad = |error: object::read::Error| Error::file(format!("bad archive: {error}"));
    let archive = ArchiveFile::parse(data).map_err(bad)?;
    let mut members = Vec::new();
    for member in archive.members() {
        let member = member.map_err(bad)?;
        let name = String::from_utf8_lossy(member.name()).into_owned();
        let range = match archive.is_thin() {
            true => None,
            false => {
                // What is cut off is an error.
                let bytes = member.data(data).map_err(bad)?;
                let start = member.file_range().0 as usize;
                Some(start..start + bytes.len())
            }
        };
        members.push(Member { name, range });
    }
    Ok(Some(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "12          0     0     644     ";

    fn header(name: &str, size: usize) -> String {
        format!("{name:<16}{HEADER:<32}{size:<10}`\n")
    }

    #[test]
    fn members_of_whole_and_of_thin_archives() {
        let whole = format!("!<arch>\n{}abcd{}ef", header("one.o/", 4), header("two.o/", 2));
        let found = members(whole.as_bytes()).unwrap().unwrap();
        let found: Vec<_> = found
            .into_iter()
            .map(|member| (member.name, &whole.as_bytes()[member.range.unwrap()]))
            .collect();
        let expected = [("one.o", &b"abcd"[..]), ("two.o", &b"ef"[..])];
        assert_eq!(found, expected.map(|(name, data)| (name.to_owned(), data)));
        let names = "init/main.o/\nkernel/fork.o/\n";
        let names = format!("{names}{}", "\n".repeat(names.len() % 2));
        let thin = format!(
            "!<thin>\n{}{names}{}{}",
            header("//", names.len()),
            header("/0", 7),
            header("/13", 9)
        );
        let found = members(thin.as_bytes()).unwrap().unwrap();
        let names: Vec<_> = found.iter().map(|m| (m.name.as_str(), m.range.clone())).collect();
        assert_eq!(names, [("init/main.o", None), ("kernel/fork.o", None)]);
    }

    #[test]
    fn what_is_no_archive_and_what_is_cut_off() {
        assert_eq!(members(b"\x7fELF").unwrap(), None);
        let cut = format!("!<arch>\n{}ab", header("one.o/", 4));
        assert!(members(cut.as_bytes()).unwrap_err().to_string().starts_with("bad archive: "));
    }
}
