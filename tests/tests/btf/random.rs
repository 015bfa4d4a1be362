//! Blobs made at random: any types that a C compiler could have meant, and more of the rare ones.
//!
//! What is embedded stands before what embeds it; pointers go anywhere back, and forward to structures
//! with a name. Names are few, so that many types share one.

use btf::{
    Array, Builder, Composite, DeclTag, Def, Endianness, Enum, HeaderForm, Int, NamedMember,
    TypeId, VarSecinfo,
};

const NAMES: [&[u8]; 8] = [b"a", b"b", b"c", b"foo", b"bar", b"baz", b"list_head", b"u32"];
const INTS: [(&[u8], u32, u8); 7] = [
    (b"long unsigned int", 8, 0),
    (b"int", 4, Int::SIGNED),
    (b"char", 1, Int::SIGNED),
    (b"short int", 2, Int::SIGNED),
    (b"_Bool", 1, Int::BOOL),
    (b"__int128", 16, Int::SIGNED),
    (b"__Poly64_t", 8, 0),
];

struct Random(u64);

impl Random {
    /// A number below `bound` (splitmix64).
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % u64::from(bound)) as u32
    }

    fn one_in(&mut self, bound: u32) -> bool {
        self.below(bound) == 0
    }

    fn name(&mut self) -> &'static [u8] {
        NAMES[self.below(NAMES.len() as u32) as usize]
    }
}

/// What a type can be used for.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// Everywhere; its size in bytes, whether it is an integer.
    Sized(u32, bool),
    /// Behind pointers, in typedefs and prototypes.
    Open,
    /// A prototype, else as [`Use::Open`].
    Proto,
    /// A function with its prototype.
    Func,
    /// A variable.
    Var(u32),
    /// Nothing refers to it.
    Nothing,
}

struct Maker {
    random: Random,
    uses: Vec<Use>,
    /// Which types will be structures with a name, whatever comes before.
    structs: Vec<u32>,
    /// Whether the last type was anonymous and so may only be embedded.
    anonymous: Vec<bool>,
}

/// A blob of about `count` types.
pub fn blob(seed: u64, count: u32, endian: Endianness) -> Vec<u8> {
    let mut random = Random(seed);
    let structs = (10..count).filter(|_| random.one_in(4)).collect();
    let mut maker = Maker { random, uses: vec![Use::Open], structs, anonymous: vec![false] };
    let mut builder = Builder::new(endian);
    if seed % 2 == 1 {
        builder = builder.with_header(HeaderForm::Layout);
    }
    for id in 1..count {
        let (def, usable) = maker.make(id);
        maker.anonymous.push(matches!(&def, Def::Composite(c) if c.name.is_empty()));
        assert_eq!(builder.add(&def), Ok(TypeId(id)));
        maker.uses.push(usable);
    }
    builder.finish().unwrap()
}

impl Maker {
    /// An earlier type of which `wanted` is true.
    fn earlier(&mut self, wanted: impl Fn(Use) -> bool) -> (TypeId, Use) {
        loop {
            let id = self.random.below(self.uses.len() as u32);
            if wanted(self.uses[id as usize]) {
                return (TypeId(id), self.uses[id as usize]);
            }
        }
    }

    fn any(&mut self) -> (TypeId, Use) {
        self.earlier(|usable| matches!(usable, Use::Sized(..) | Use::Open | Use::Proto))
    }

    fn sized(&mut self) -> (TypeId, u32, bool) {
        match self.earlier(|usable| matches!(usable, Use::Sized(..))) {
            (id, Use::Sized(size, int)) => (id, size, int),
            _ => unreachable!(),
        }
    }

    fn make(&mut self, id: u32) -> (Def<'static>, Use) {
        if let Some(&(name, size, encoding)) = INTS.get(id as usize - 1) {
            let int = Int { encoding, offset: 0, bits: (size * 8) as u8 };
            return (Def::Int(name, size, int), Use::Sized(size, true));
        }
        if self.structs.contains(&id) {
            let name = self.random.name();
            return self.composite(name);
        }
        match self.random.below(18) {
            0 => self.composite(b""),
            1..=3 => (Def::Ptr(self.target()), Use::Sized(8, false)),
            4 => {
                let (elem, size, _) = self.sized();
                let nelems = self.random.below(5);
                let array = Array { elem, index: TypeId(1), nelems };
                (Def::Array(array), Use::Sized(size * nelems, false))
            }
            5 | 6 => self.enumeration(),
            7 => (Def::Fwd(self.random.name(), self.random.one_in(2)), Use::Open),
            8 => {
                let (target, usable) = self.any();
                (Def::Typedef(self.random.name(), target), modified(usable))
            }
            9 => self.modifier(Def::Const),
            10 => self.modifier(Def::Volatile),
            11 => self.modifier(Def::Restrict),
            12 => {
                let attribute = self.random.one_in(2);
                self.modifier(|target| Def::TypeTag(b"user", target, attribute))
            }
            13 | 14 => self.proto(),
            15 => (Def::Float(b"double", 8), Use::Sized(8, false)),
            16 => self.function_or_tag(),
            _ => self.variable(),
        }
    }

    /// What a pointer may point at.
    fn target(&mut self) -> TypeId {
        if self.random.one_in(3) && !self.structs.is_empty() {
            let index = self.random.below(self.structs.len() as u32) as usize;
            return TypeId(self.structs[index]);
        }
        self.any().0
    }

    fn modifier(&mut self, make: impl Fn(TypeId) -> Def<'static>) -> (Def<'static>, Use) {
        let (target, usable) = self.any();
        (make(target), modified(usable))
    }

    fn composite(&mut self, name: &'static [u8]) -> (Def<'static>, Use) {
        let (is_union, kflag) = (self.random.one_in(4), self.random.one_in(2));
        let mut members = Vec::new();
        let (mut end, mut largest) = (0u32, 0u32);
        for _ in 0..self.random.below(6) {
            let (ty, size, int) = self.sized();
            let anonymous = self.anonymous[ty.0 as usize] && self.random.one_in(2);
            let name = if anonymous { b"" } else { self.random.name() };
            let bits = if kflag && int && size <= 8 && self.random.one_in(2) {
                1 + self.random.below(size * 8)
            } else {
                0
            };
            let gap = [0u32, 0, 0, 1, 8, 16, 24, 32, 64, 200][self.random.below(10) as usize];
            let mut offset: u32 = if is_union { 0 } else { end + gap };
            if bits == 0 {
                let unit = [8, 8, 32, 64][self.random.below(4) as usize];
                offset = offset.next_multiple_of(unit);
            }
            end = offset + if bits == 0 { size * 8 } else { bits };
            largest = largest.max(end);
            let bitfield_size = bits as u8;
            members.push(NamedMember { name, ty, bit_offset: offset, bitfield_size });
        }
        let tail = [0, 0, 1, 4, 8, 13][self.random.below(6) as usize];
        let mut size = largest.div_ceil(8) + tail;
        if self.random.one_in(2) {
            size = size.next_multiple_of(8);
        }
        let def = Def::Composite(Composite { is_union, name, size, kflag, members });
        (def, Use::Sized(size, false))
    }

    fn enumeration(&mut self) -> (Def<'static>, Use) {
        let (wide, signed) = (self.random.one_in(3), self.random.one_in(2));
        let name = if self.random.one_in(2) { self.random.name() } else { b"" };
        let size = [1, 2, 4, 8][self.random.below(4) as usize];
        let mut values = Vec::new();
        for _ in 0..self.random.below(4) {
            let high = if wide && self.random.one_in(2) { 1 << 40 } else { 0 };
            let low = i64::from(self.random.below(u32::MAX));
            let value = match (wide, signed) {
                (false, true) => i64::from(low as i32),
                (true, true) => -(low + high),
                _ => low + high,
            };
            values.push((self.random.name(), value));
        }
        (Def::Enum(Enum { wide, name, size, signed, values }), Use::Sized(size, false))
    }

    fn proto(&mut self) -> (Def<'static>, Use) {
        let result = self.any().0;
        let count = self.random.below(4);
        let mut params: Vec<(&'static [u8], TypeId)> = (0..count)
            .map(|_| (if self.random.one_in(3) { b"" } else { self.random.name() }, self.sized().0))
            .collect();
        if self.random.one_in(4) {
            params.push((b"", TypeId::VOID));
        }
        (Def::FuncProto(result, params), Use::Proto)
    }

    fn function_or_tag(&mut self) -> (Def<'static>, Use) {
        if self.random.one_in(2)
            && let Some(func) = self.uses.iter().rposition(|usable| *usable == Use::Func)
        {
            let value = if self.random.one_in(3) { &b"bpf_fastcall"[..] } else { b"bpf_kfunc" };
            let component_idx = if self.random.one_in(4) { 0 } else { -1 };
            let ty = TypeId(func as u32);
            let tag = DeclTag { value, ty, component_idx, attribute: false };
            return (Def::DeclTag(tag), Use::Nothing);
        }
        let Some(proto) = self.uses.iter().rposition(|usable| *usable == Use::Proto) else {
            return self.proto();
        };
        let proto = TypeId(proto as u32);
        (Def::Func(self.random.name(), proto, self.random.below(3)), Use::Func)
    }

    fn variable(&mut self) -> (Def<'static>, Use) {
        let placed: Vec<VarSecinfo> = self
            .uses
            .iter()
            .enumerate()
            .filter_map(|(id, usable)| match usable {
                Use::Var(size) => {
                    Some(VarSecinfo { ty: TypeId(id as u32), offset: 0, size: *size })
                }
                _ => None,
            })
            .collect();
        if placed.len() > 2 {
            return (Def::Datasec(b".data..percpu", 4096, placed), Use::Nothing);
        }
        let (ty, size, _) = self.sized();
        (Def::Var(self.random.name(), ty, self.random.below(2)), Use::Var(size))
    }
}

/// What a modifier of such a type can be used for: not for a bitfield, and it is no prototype itself.
fn modified(usable: Use) -> Use {
    match usable {
        Use::Sized(size, _) => Use::Sized(size, false),
        Use::Proto => Use::Open,
        other => other,
    }
}
