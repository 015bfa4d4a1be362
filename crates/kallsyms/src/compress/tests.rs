//! The compression beside a slow one that follows the rule to the letter, and its own edges.

use std::collections::BTreeMap;

use super::*;

/// A generator of its own, so that the lists are the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn symbols<'a>(names: &'a [Vec<u8>]) -> Vec<Symbol<'a>> {
    let symbol = |name: &'a Vec<u8>| Symbol { addr: 0, kind: b't', percpu_absolute: false, name };
    names.iter().map(symbol).collect()
}

/// The rule: count everything anew for each token, replace from left to right.
fn reference(symbols: &[Symbol<'_>]) -> Compressed {
    let whole = |symbol: &Symbol<'_>| [&[symbol.kind], symbol.name].concat();
    let mut strings: Vec<Vec<u8>> = symbols.iter().map(whole).collect();
    let mut expansions = vec![Vec::new(); 256];
    for &byte in strings.iter().flatten() {
        expansions[usize::from(byte)] = vec![byte];
    }
    for code in (0..=255u8).rev() {
        if !expansions[usize::from(code)].is_empty() {
            continue;
        }
        let mut counts: BTreeMap<(u8, u8), u32> = BTreeMap::new();
        for pair in strings.iter().flat_map(|string| string.windows(2)) {
            *counts.entry((pair[1], pair[0])).or_default() += 1;
        }
        // In descending order, and of equal ones the last is taken.
        let Some((&(second, first), _)) = counts.iter().rev().max_by_key(|&(_, &count)| count)
        else {
            break;
        };
        let pair = [first, second];
        let halves = pair.map(|half| expansions[usize::from(half)].clone());
        expansions[usize::from(code)] = halves.concat();
        for string in &mut strings {
            let mut at = 0;
            while at + 1 < string.len() {
                if string[at..at + 2] == pair {
                    string.splice(at..at + 2, [code]);
                }
                at += 1;
            }
        }
    }
    let (mut names, mut markers) = (Vec::new(), Vec::new());
    for (index, string) in strings.iter().enumerate() {
        if index % 256 == 0 {
            markers.push(names.len() as u32);
        }
        match string.len() {
            len @ ..0x80 => names.push(len as u8),
            len => names.extend([len as u8 | 0x80, (len >> 7) as u8]),
        }
        names.extend(string);
    }
    Compressed { tokens: Tokens { expansions }, names, markers }
}

/// Compares both, also with the names in several chunks.
fn check(names: &[Vec<u8>]) {
    let symbols = symbols(names);
    let expected = reference(&symbols);
    for shares in [1, 2, 3, 8] {
        let found = compress_in(&symbols, shares, 1);
        assert_eq!(found, expected, "{shares} shares of {names:?}");
    }
}

fn random_names(random: &mut Random, alphabet: &[u8], most: usize, longest: usize) -> Vec<Vec<u8>> {
    let count = random.below(most);
    (0..count)
        .map(|_| {
            let len = random.below(longest);
            (0..len).map(|_| alphabet[random.below(alphabet.len())]).collect()
        })
        .collect()
}

#[test]
fn random_lists_are_compressed_as_the_rule_says() {
    for (seed, alphabet) in [&b"a"[..], b"ab", b"_abt", b"_abcdefghijklmnopqrst"].iter().enumerate()
    {
        for round in 0..5 {
            let mut random = Random::new((seed * 100 + round + 1) as u64);
            check(&random_names(&mut random, alphabet, 40, 30));
        }
    }
}

#[test]
fn a_list_with_more_pairs_than_codes_uses_code_zero() {
    let alphabet: Vec<u8> = (1..=250).collect();
    let mut random = Random::new(5);
    let names: Vec<_> =
        (0..150).flat_map(|_| random_names(&mut random, &alphabet, 3, 40)).collect();
    check(&names);
    let found = compress(&symbols(&names));
    assert!(found.tokens.expansions.iter().all(|expansion| !expansion.is_empty()));
}

#[test]
fn long_names_get_two_bytes_of_length() {
    let mut random = Random::new(9);
    let alphabet: Vec<u8> = (1..=255).collect();
    let mut name = |len: usize| -> Vec<u8> {
        (0..len).map(|_| alphabet[random.below(alphabet.len())]).collect()
    };
    check(&[name(126), name(127), name(128), name(255), name(511)]);
    check(&[vec![b'a'; 511], vec![b'a'; 510]]);
}

#[test]
fn overlapping_pairs_are_counted_but_not_replaced_twice() {
    // `aa` counts three times in `aaaa`, more than `ba` with two.
    let names = [b"aaaa".to_vec(), b"baba".to_vec()];
    check(&names);
    assert_eq!(compress(&symbols(&names)).tokens.expansions[255], b"aa");
}

#[test]
fn of_equal_counts_the_lower_number_wins() {
    // `ta` is 0x6174, `ab` 0x6261, `tb` 0x6274, and `ba` 0x6162.
    let names = [b"ab".to_vec(), b"ba".to_vec()];
    check(&names);
    assert_eq!(compress(&symbols(&names)).tokens.expansions[255], b"ba");
}

#[test]
fn no_names_give_no_tokens() {
    check(&[]);
    check(&[Vec::new()]);
    assert!(compress(&[]).tokens.expansions.iter().all(Vec::is_empty));
}

#[test]
fn a_marker_stands_at_every_256th_name() {
    let names: Vec<Vec<u8>> = (0..600u32).map(|i| i.to_string().into_bytes()).collect();
    check(&names);
    assert_eq!(compress(&symbols(&names)).markers.len(), 3);
}

#[test]
fn every_number_of_threads_gives_the_same() {
    let mut random = Random::new(77);
    let words = [&b"init"[..], b"_exit", b"__pfx_", b"get", b"_put", b"x", b"_9", b"sys_"];
    let mut name = |_| {
        let count = 1 + random.below(6);
        (0..count).flat_map(|_| words[random.below(8)]).copied().collect::<Vec<u8>>()
    };
    let names: Vec<Vec<u8>> = (0..3000).map(&mut name).collect();
    let symbols = symbols(&names);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| compress_in(&symbols, rayon::current_num_threads(), 1 << 10))
    };
    let one = with(1);
    for threads in [2, 3, 8] {
        assert!(with(threads) == one, "{threads} threads");
    }
}
