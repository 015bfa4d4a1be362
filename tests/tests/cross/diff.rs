//! Where two images differ, in words.

use std::fmt::Write as _;

use image::Elf;

/// `None` if the files are equal; else the sections in which they differ, with the first place.
pub fn difference(peer: &[u8], ours: &[u8]) -> Option<String> {
    if peer == ours {
        return None;
    }
    let (peer_elf, our_elf) = (Elf::parse(peer).unwrap(), Elf::parse(ours).unwrap());
    let mut text = String::new();
    for (theirs, own) in peer_elf.sections().iter().zip(our_elf.sections()) {
        let name = String::from_utf8_lossy(theirs.name);
        if theirs != own {
            let _ = writeln!(text, "  header of {name}: {theirs:x?}, ours {own:x?}");
        }
        let (a, b) = (peer_elf.bytes(theirs).unwrap(), our_elf.bytes(own).unwrap());
        let Some(at) = a.iter().zip(b).position(|(a, b)| a != b) else {
            continue;
        };
        let count = a.iter().zip(b).filter(|(a, b)| a != b).count();
        let window = at & !7..(at & !7) + 32;
        let show =
            |bytes: &[u8]| format!("{:02x?}", &bytes[window.start..window.end.min(bytes.len())]);
        let _ = writeln!(text, "  {name}+{at:#x} and {count} bytes in all:");
        let _ = writeln!(text, "    peer {}\n    ours {}", show(a), show(b));
    }
    let (a, b) = (peer_elf.sections().len(), our_elf.sections().len());
    if a != b {
        let _ = writeln!(text, "  {a} sections, ours {b}");
    }
    if text.is_empty() {
        text.push_str("  only outside all sections\n");
    }
    Some(text)
}

/// `None` if the texts are equal; else the first line in which they differ.
pub fn line(peer: &[u8], ours: &[u8]) -> Option<String> {
    if peer == ours {
        return None;
    }
    let mut pairs = peer.split(|&b| b == b'\n').zip(ours.split(|&b| b == b'\n'));
    let differing = pairs.find(|(theirs, own)| theirs != own);
    let show = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    Some(match differing {
        Some((theirs, own)) => format!("  peer {}\n  ours {}", show(theirs), show(own)),
        None => format!("  one ends after {} bytes", peer.len().min(ours.len())),
    })
}
