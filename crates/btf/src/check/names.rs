//! Which names the kernel takes. Its classes of characters are those of Latin-1.

/// `KSYM_NAME_LEN`: the longest name in bytes.
const MAX_NAME: usize = 512;

/// Whether it is an identifier, dots allowed.
pub(super) fn identifier(name: &[u8]) -> bool {
    let first = name.first().is_some_and(|&byte| letter(byte));
    let rest = |&byte: &u8| letter(byte) || byte.is_ascii_digit();
    first && name.len() <= MAX_NAME && name.iter().all(rest)
}

/// Whether every character is printable.
pub(super) fn printable(name: &[u8]) -> bool {
    let print = |&byte: &u8| matches!(byte, 0x20..=0x7e | 0xa0..=0xff);
    !name.is_empty() && name.len() <= MAX_NAME && name.iter().all(print)
}

fn letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic()
        || matches!(byte, b'_' | b'.')
        || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}
