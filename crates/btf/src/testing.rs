//! Blobs made by hand, a word at a time, so that the reader is not tested with our own writer.

use image::Endianness;

/// A blob under construction.
pub(crate) struct Blob {
    pub endian: Endianness,
    pub types: Vec<u8>,
    pub strings: Vec<u8>,
    pub layout: Vec<u8>,
    pub hdr_len: u32,
}

impl Blob {
    pub(crate) fn new(endian: Endianness) -> Self {
        Blob { endian, types: vec![], strings: vec![0], layout: vec![], hdr_len: 24 }
    }

    /// Appends a name and gives its offset.
    pub(crate) fn name(&mut self, name: &str) -> u32 {
        let off = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        off
    }

    pub(crate) fn word(&mut self, word: u32) {
        self.types.extend_from_slice(&bytes(self.endian, word));
    }

    /// Appends a type: name, kind, vlen, kflag, third word, and the words behind it.
    pub(crate) fn ty(&mut self, name: u32, info: (u32, u32, bool), third: u32, rest: &[u32]) {
        let (kind, vlen, kflag) = info;
        self.word(name);
        self.word(u32::from(kflag) << 31 | kind << 24 | vlen);
        self.word(third);
        for &word in rest {
            self.word(word);
        }
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let magic = match self.endian {
            Endianness::Little => [0x9f, 0xeb],
            Endianness::Big => [0xeb, 0x9f],
        };
        let (types, layout) = (self.types.len() as u32, self.layout.len() as u32);
        let mut out = vec![magic[0], magic[1], 1, 0];
        let header = [self.hdr_len, 0, types, types + layout, self.strings.len() as u32];
        for word in header {
            out.extend_from_slice(&bytes(self.endian, word));
        }
        if self.hdr_len >= 32 {
            out.extend_from_slice(&bytes(self.endian, types));
            out.extend_from_slice(&bytes(self.endian, layout));
        }
        out.resize(self.hdr_len as usize, 0);
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.layout);
        out.extend_from_slice(&self.strings);
        out
    }
}

fn bytes(endian: Endianness, word: u32) -> [u8; 4] {
    match endian {
        Endianness::Little => word.to_le_bytes(),
        Endianness::Big => word.to_be_bytes(),
    }
}

/// A blob with a type of every kind. The ids: 1 int, 2 unsigned int, 3 ptr, 4 array, 5 struct list,
/// 6 union u, 7 enum e, 8 fwd, 9 typedef, 10 volatile, 11 const, 12 restrict, 13 func_proto, 14 func,
/// 15 var, 16 datasec, 17 float, 18 decl_tag, 19 type_tag, 20 enum64, 21 struct with a bitfield.
pub(crate) fn every_kind(endian: Endianness) -> Blob {
    let mut b = Blob::new(endian);
    let names =
        ["int", "unsigned int", "list", "next", "data", "u", "e", "A", "B", "fwd", "list_t"];
    let off: Vec<u32> = names.iter().map(|name| b.name(name)).collect();
    b.ty(off[0], (1, 0, false), 4, &[1 << 24 | 32]);
    b.ty(off[1], (1, 0, false), 4, &[32]);
    b.ty(0, (2, 0, false), 5, &[]);
    b.ty(0, (3, 0, false), 0, &[1, 2, 4]);
    b.ty(off[2], (4, 2, false), 24, &[off[3], 3, 0, off[4], 4, 64]);
    b.ty(off[5], (5, 2, false), 4, &[off[3], 1, 0, off[4], 2, 0]);
    b.ty(off[6], (6, 2, true), 4, &[off[7], 1, off[8], -2i32 as u32]);
    b.ty(off[9], (7, 0, true), 0, &[]);
    b.ty(off[10], (8, 0, false), 5, &[]);
    b.ty(0, (9, 0, false), 1, &[]);
    b.ty(0, (10, 0, false), 10, &[]);
    b.ty(0, (11, 0, false), 3, &[]);
    b.ty(0, (13, 3, false), 1, &[off[3], 12, off[4], 11, 0, 0]);
    let func = b.name("walk");
    b.ty(func, (12, 1, false), 13, &[]);
    let var = b.name("counter");
    b.ty(var, (14, 0, false), 11, &[1]);
    let section = b.name(".data..percpu");
    b.ty(section, (15, 1, false), 8, &[15, 4, 4]);
    let float = b.name("double");
    b.ty(float, (16, 0, false), 8, &[]);
    let tag = b.name("user");
    b.ty(tag, (17, 0, false), 5, &[1]);
    b.ty(tag, (18, 0, false), 1, &[]);
    let (wide, max) = (b.name("wide"), b.name("MAX"));
    b.ty(wide, (19, 1, false), 8, &[max, 0xffff_fffe, 0xffff_ffff]);
    let (bits, flag) = (b.name("bits"), b.name("flag"));
    b.ty(bits, (4, 1, true), 4, &[flag, 1, 3 << 24 | 5]);
    b
}
