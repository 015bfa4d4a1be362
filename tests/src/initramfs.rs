//! An initramfs: the `newc` form of a cpio archive, as the kernel unpacks it.
//!
//! Written here because device nodes need no root this way. Source of facts: the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

/// An archive under construction.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

/// File types of `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

impl Archive {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory.
    pub fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// Adds a file that can be executed.
    pub fn program(&mut self, name: &str, bytes: &[u8]) {
        self.entry(name, REGULAR | 0o755, (0, 0), bytes);
    }

    /// Adds a character device.
    pub fn character_device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, CHARACTER | 0o600, (major, minor), &[]);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), bytes: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(bytes.len()).expect("a file of an initramfs is below 4 GiB");
        let name_size = name.len() as u32 + 1;
        // inode, mode, uid, gid, links, time, size, device, device of the node, length of the name, sum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_110_characters_and_everything_is_padded_to_4() {
        let mut archive = Archive::new();
        archive.program("ab", b"12345");
        let bytes = archive.finish();
        assert_eq!(&bytes[..14], b"07070100000001");
        assert_eq!(&bytes[110..124], b"ab\0\0\0\x0012345\0\0\0");
        // The second header follows the name, padded to 6 bytes, and the contents, padded to 8.
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }
}
