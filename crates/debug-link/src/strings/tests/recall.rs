//! Strings that are remembered: the result is that of merging all of them, whatever has changed, and whatever the file is.

use twox_hash::XxHash3_128;

use super::*;
use crate::strings::file::{Known, ToRemember, known, parts};
use crate::strings::recall;

const NAME: &[u8] = b".debug_str";

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }

    /// A section of so many strings, some of them ends of others, many of them more than once.
    fn section(&mut self, strings: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..strings {
            let number = self.below(5000);
            let word = format!("{:x}_{}", number * 7919, number % 17);
            bytes.extend_from_slice(&word.as_bytes()[self.below(word.len())..]);
            bytes.push(0);
        }
        bytes
    }
}

fn views(sections: &[Vec<u8>]) -> Vec<&[u8]> {
    sections.iter().map(Vec::as_slice).collect()
}

/// The file that a first link writes.
fn written(sections: &[Vec<u8>]) -> Vec<u8> {
    let (_, to_remember) = Strings::resume(views(sections), Linker::Gnu, None).unwrap();
    file_of(&to_remember.expect("a first link remembers"))
}

fn file_of(to_remember: &ToRemember) -> Vec<u8> {
    parts(&[(b".debug_line_str", to_remember), (NAME, to_remember)]).concat()
}

/// The merged bytes, and where some bytes of the input went.
fn results(sections: &[&[u8]], strings: &Strings<'_>) -> (Vec<u8>, Vec<Option<u64>>) {
    let offsets = sections.iter().enumerate().flat_map(|(index, section)| {
        (0..=section.len()).step_by(3).map(move |at| (index, at as u64))
    });
    let offsets = offsets.map(|(section, at)| strings.find(section, at));
    (strings.text().to_vec(), offsets.collect())
}

/// Merges with what is known, by both linkers' rules; whether that was of use.
fn same_as_anew(sections: &[Vec<u8>], file: &[u8], what: &str) -> bool {
    let sections = views(sections);
    let known = known(file, NAME);
    let mut of_use = false;
    for linker in [Linker::Gnu, Linker::Lld] {
        let anew = Strings::merge(sections.clone(), linker).unwrap();
        let (ours, _) = Strings::resume(sections.clone(), linker, known.as_ref()).unwrap();
        assert_eq!(results(&sections, &ours), results(&sections, &anew), "{what}, {linker:?}");
        let used = |known: &Known<'_>| recall::merge(&sections, linker, known).unwrap().is_some();
        of_use = known.as_ref().is_some_and(used);
    }
    of_use
}

fn three_sections() -> Vec<Vec<u8>> {
    let mut random = Random(1);
    [30_000, 10, 15_000].map(|strings| random.section(strings)).to_vec()
}

#[test]
fn what_has_not_changed_is_known() {
    let sections = three_sections();
    let file = written(&sections);
    assert!(same_as_anew(&sections, &file, "nothing changed"));
    let known = known(&file, NAME).unwrap();
    assert!(known.pieces.len() > 4, "{} pieces", known.pieces.len());
    let sections = views(&sections);
    let (_, again) = Strings::resume(sections, Linker::Gnu, Some(&known)).unwrap();
    assert!(again.is_none(), "there is nothing new to remember");
}

/// A change of some sections.
type Change = fn(&mut Vec<Vec<u8>>);

#[test]
fn changes_of_all_kinds_give_what_merging_anew_gives() {
    let sections = three_sections();
    let file = written(&sections);
    let changes: [(&str, Change); 11] = [
        ("a letter", |all| all[0][40_000] = b'Q'),
        ("a string's end in the middle", |all| all[0][70_000] = 0),
        ("the first letter", |all| all[0][0] = b'Q'),
        ("the last letter", |all| {
            let at = all[2].len() - 2;
            all[2][at] = b'Q';
        }),
        ("new strings", |all| drop(all[0].splice(70_000..70_000, *b"new\0newer\0"))),
        ("strings that are gone", |all| drop(all[0].drain(65_530..150_000))),
        ("a beginning that is gone", |all| drop(all[0].drain(..100_000))),
        ("a section that is gone", |all| drop(all.remove(0))),
        ("a new section in front", |all| all.insert(0, b"new\0\0x\0".to_vec())),
        ("another order", |all| all.swap(0, 2)),
        ("no end", |all| all[0].extend_from_slice(b"no end")),
    ];
    for (what, change) in changes {
        let mut sections = sections.clone();
        change(&mut sections);
        assert!(same_as_anew(&sections, &file, what), "{what}");
    }
}

#[test]
fn random_changes_give_what_merging_anew_gives() {
    let sections = three_sections();
    let file = written(&sections);
    let mut random = Random(7);
    for round in 0..20 {
        let mut sections = sections.clone();
        for _ in 0..random.below(6) {
            let section = random.below(3);
            let (len, strings) = (sections[section].len(), random.below(900));
            let (start, new) = (random.below(len), random.section(strings));
            let end = len.min(start + random.below(9000));
            sections[section].splice(start..end, new);
        }
        same_as_anew(&sections, &file, &format!("round {round}"));
    }
}

#[test]
fn if_much_is_new_all_is_merged_and_remembered_anew() {
    let mut random = Random(3);
    let mut sections = vec![random.section(100_000)];
    let file = written(&sections);
    let middle = sections[0].len() / 2;
    sections[0].splice(middle..middle, random.section(400_000));
    assert!(!same_as_anew(&sections, &file, "half is new"));
    let known = known(&file, NAME);
    let (_, again) = Strings::resume(views(&sections), Linker::Gnu, known.as_ref()).unwrap();
    assert!(same_as_anew(&sections, &file_of(&again.unwrap()), "the next link"));
    assert!(!same_as_anew(&[random.section(400_000)], &file, "all is new"));
}

#[test]
fn a_file_that_is_cut_off_damaged_or_foreign_is_as_good_as_nothing() {
    let sections = [Random(1).section(15_000)];
    let file = written(&sections);
    assert!(known(&file, b".debug_other").is_none() && known(b"", NAME).is_none());
    let rows = file.len() - file.len() / 2;
    for len in (0..64).step_by(4).chain((64..file.len()).step_by(39_973)) {
        same_as_anew(&sections, &file[..len], &format!("{len} bytes"));
    }
    for at in (0..200).step_by(4).chain((rows..file.len()).step_by(19_973)) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x11;
        same_as_anew(&sections, &damaged, &format!("byte {at}"));
    }
    assert!(!same_as_anew(&sections, &vec![7; file.len()], "foreign"));
}

/// A change of what is remembered.
type Lie = fn(&mut ToRemember);

#[test]
fn a_file_that_cannot_be_true_is_passed_over() {
    let sections = three_sections();
    let views = views(&sections);
    let changes: [(&str, Lie); 9] = [
        ("a number that no string has", |all| all.numbers[1][5] = 1 << 30),
        ("another number", |all| all.numbers[1][5] ^= 1),
        ("a string's length is 0", |all| all.strings[9][0] = 0),
        ("a string is long", |all| all.strings[9][0] = u32::MAX),
        ("a string is in no piece", |all| all.strings[9][3] = 1 << 20),
        ("a string is behind its piece", |all| all.strings[9][4] = u32::MAX - 3),
        ("a piece of no bytes", |all| all.pieces[1][0] = 0),
        ("a piece has more strings than there are", |all| all.pieces[1][1] = u32::MAX),
        ("a piece is longer than its section", |all| all.pieces[0][0] = u32::MAX),
    ];
    for (what, change) in changes {
        let (_, to_remember) = Strings::resume(views.clone(), Linker::Gnu, None).unwrap();
        let mut to_remember = to_remember.unwrap();
        change(&mut to_remember);
        // Checksums are right, so that it is read.
        let piece = sections[0].get(..to_remember.pieces[0][0] as usize).unwrap_or_default();
        let second = &sections[0][piece.len()..][..to_remember.pieces[1][0] as usize];
        let row = ToRemember::piece(second, XxHash3_128::oneshot(second), &to_remember.numbers[1]);
        to_remember.pieces[1][8..].copy_from_slice(&row[8..]);
        let file = file_of(&to_remember);
        assert!(known(&file, NAME).is_some(), "{what}: it can be read");
        if what != "another number" {
            same_as_anew(&sections, &file, what);
            continue;
        }
        // Lengths differ, so it is noticed.
        assert!(!same_as_anew(&sections, &file, what), "{what}");
    }
}
