//! Merging, beside the rule as it is written down.

use std::collections::{HashMap, HashSet};

use super::pieces::PIECE;
use super::*;

mod recall;

/// The merged bytes, and the offset of every byte of the input, by the rule as it is written down.
fn naive(sections: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u64>>) {
    let (mut unique, mut seen): (Vec<&[u8]>, HashSet<&[u8]>) = Default::default();
    for section in sections {
        for text in section.split_inclusive(|&b| b == 0) {
            let text = text.strip_suffix(&[0]).unwrap_or(text);
            if seen.insert(text) {
                unique.push(text);
            }
        }
    }
    let mut sorted = unique.clone();
    sorted.sort_by(|a, b| a.iter().rev().cmp(b.iter().rev()));
    let mut holders: HashMap<&[u8], &[u8]> = HashMap::new();
    let mut holder: Option<&[u8]> = None;
    for text in sorted.into_iter().rev() {
        if !holder.is_some_and(|holder| holder.ends_with(text)) {
            holder = Some(text);
        }
        holders.insert(text, holder.unwrap());
    }
    let mut bytes = Vec::new();
    let mut starts = HashMap::new();
    for &text in unique.iter().filter(|text| holders[*text] == **text) {
        starts.insert(text, bytes.len() as u64);
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    let offsets = sections.iter().map(|section| {
        let mut offsets = Vec::new();
        for whole in section.split_inclusive(|&b| b == 0) {
            let text = whole.strip_suffix(&[0]).unwrap_or(whole);
            let start = starts[holders[text]] + (holders[text].len() - text.len()) as u64;
            offsets.extend((0..whole.len() as u64).map(|at| start + at));
        }
        offsets
    });
    (bytes, offsets.collect())
}

fn merged(sections: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u64>>) {
    let strings = Strings::merge(sections.to_vec(), Linker::Gnu).unwrap();
    let bytes = strings.text().to_vec();
    let offsets = sections.iter().enumerate().map(|(index, section)| {
        let found = (0..section.len()).map(|at| strings.find(index, at as u64).unwrap());
        found.collect()
    });
    let offsets = offsets.collect();
    assert_eq!(strings.find(0, sections[0].len() as u64), None);
    (bytes, offsets)
}

#[test]
fn strings_are_kept_where_they_first_appear_and_suffixes_fold() {
    let sections: [&[u8]; 3] = [b"int\0unsigned int\0x\0", b"\0\0int\0ax\0bx\0", b"end"];
    let (bytes, offsets) = merged(&sections);
    assert_eq!(bytes, b"unsigned int\0ax\0bx\0end\0");
    assert_eq!(offsets[0][0], 9);
    assert_eq!((bytes.clone(), offsets), naive(&sections));
}

#[test]
fn long_common_endings_are_told_apart() {
    let sections: [&[u8]; 2] = [
        b"one_very_long_name_operations\0two_very_long_name_operations\0name_operations\0",
        b"long_name_operations\0aone_very_long_name_operations\0operations\0s\0",
    ];
    assert_eq!(merged(&sections), naive(&sections));
}

#[test]
fn many_strings_across_chunks_and_growing_tables_come_out_as_by_the_rule() {
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize
    };
    let words: Vec<String> = (0..3000).map(|n| format!("{:x}_{}", n * 7919, n % 17)).collect();
    let mut section = || {
        let mut bytes = Vec::new();
        for _ in 0..9000 {
            let word = &words[random() % words.len()];
            bytes.extend_from_slice(&word.as_bytes()[random() % word.len()..]);
            bytes.push(0);
        }
        bytes
    };
    let (a, b) = (section(), section());
    assert!(a.len() > PIECE / 2);
    let sections: [&[u8]; 3] = [&a, b"", &b];
    assert_eq!(merged(&sections), naive(&sections));
}

#[test]
fn an_offset_far_into_a_long_string_is_found() {
    let mut long = vec![b'x'; 3 * PIECE];
    long[10] = 0;
    assert_eq!(merged(&[&long]), naive(&[&long]));
}
