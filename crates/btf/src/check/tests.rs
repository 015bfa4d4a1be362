use super::*;
use crate::Endianness;
use crate::testing::{Blob, every_kind};

const ORDERS: [Endianness; 2] = [Endianness::Little, Endianness::Big];
const STRICT: CheckOptions = CheckOptions { program: true, ..NEWEST };
const NEWEST: CheckOptions = CheckOptions {
    program: false,
    pointer_size: 8,
    attributes: true,
    wide_info: true,
    printable_sections: true,
    layout: true,
};
/// `info` of an `int`: kind 1, no entries.
const INT: (u32, u32, bool) = (1, 0, false);

/// The faults of a blob in both byte orders: `build` gets a blob whose first type is `int`, and the
/// offset of the name `x`.
fn faults(options: CheckOptions, build: impl Fn(&mut Blob, u32)) -> Vec<String> {
    let both = ORDERS.map(|endian| {
        let mut blob = Blob::new(endian);
        let x = blob.name("x");
        blob.ty(x, INT, 4, &[1 << 24 | 32]);
        build(&mut blob, x);
        let bytes = blob.finish();
        let btf = Btf::parse(&bytes).unwrap();
        check(&btf, &options).iter().map(Fault::to_string).collect::<Vec<_>>()
    });
    assert_eq!(both[0], both[1]);
    both[0].clone()
}

fn only(build: impl Fn(&mut Blob, u32)) -> String {
    let mut found = faults(STRICT, build);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_sound_blob_is_taken() {
    assert_eq!(CheckOptions::newest(), NEWEST);
    for endian in ORDERS {
        let mut blob = every_kind(endian);
        // A typedef's volatile and the tag on a whole structure are fine; so is all else.
        blob.ty(0, (2, 0, false), 0, &[]);
        let bytes = blob.finish();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(check(&btf, &STRICT), []);
        assert_eq!(check(&btf, &CheckOptions { layout: false, ..NEWEST }), []);
    }
}

#[test]
fn the_header_is_checked() {
    let mut blob = every_kind(Endianness::Little);
    blob.hdr_len = 36;
    let mut bytes = blob.finish();
    assert_eq!(check(&Btf::parse(&bytes).unwrap(), &NEWEST), []);
    bytes[3] = 1;
    bytes[32] = 1;
    bytes.push(0);
    let rules: Vec<Rule> =
        check(&Btf::parse(&bytes).unwrap(), &NEWEST).into_iter().map(|fault| fault.rule).collect();
    let end = bytes.len() as u64 - 1;
    assert_eq!(rules, [Rule::Flags(1), Rule::HeaderFields, Rule::Gap(end)]);
    let empty = Blob::new(Endianness::Big).finish();
    let found = check(&Btf::parse(&empty).unwrap(), &NEWEST);
    assert_eq!(found, [Fault { id: None, rule: Rule::NoTypes }]);
}

#[test]
fn integers_and_floats() {
    let int = |size, data| only(|b, x| b.ty(x, INT, size, &[data]));
    assert_eq!(int(4, 1 << 28), "type 2: int data 0x10000000 has bits without a meaning");
    assert_eq!(int(4, 33), "type 2: 33 bits do not fit into 4 bytes, or are more than 128");
    assert_eq!(int(4, 3 << 24 | 32), "type 2: encoding 3 is not supported");
    assert_eq!(only(|b, x| b.ty(x, (1, 1, false), 4, &[32])), "type 2: vlen is 1, not 0");
    assert_eq!(
        only(|b, x| b.ty(x, (1, 0, true), 4, &[32])),
        "type 2: kflag must not be set in INT"
    );
    let float = only(|b, x| b.ty(x, (16, 0, false), 5, &[]));
    assert_eq!(float, "type 2: FLOAT cannot have a size of 5 bytes");
}

#[test]
fn names_must_fit_their_kind() {
    assert_eq!(only(|b, x| b.ty(x, (2, 0, false), 1, &[])), "type 2: PTR must not have a name");
    assert_eq!(only(|b, _| b.ty(0, (8, 0, false), 1, &[])), "type 2: TYPEDEF must have a name");
    assert_eq!(only(|b, _| b.ty(0, (18, 0, false), 1, &[])), "type 2: TYPE_TAG must have a name");
    let digit = only(|b, _| {
        let name = b.name("1x");
        b.ty(name, (7, 0, false), 0, &[]);
    });
    assert_eq!(digit, "type 2: \"1x\" is not a valid name");
    let outside = only(|b, _| b.ty(999, (7, 0, false), 0, &[]));
    assert_eq!(outside, "type 2: name offset 0x3e7 is outside the strings");
    let long = |len: usize| {
        faults(STRICT, |b, _| {
            let name = b.name(&"y".repeat(len));
            b.ty(name, (7, 0, false), 0, &[]);
        })
    };
    assert_eq!((long(512).len(), long(513).len()), (0, 1));
}

#[test]
fn structures() {
    let one = |kind, size, member: [u32; 3]| only(|b, _| b.ty(0, (kind, 1, false), size, &member));
    assert_eq!(one(4, 4, [0, 0, 0]), "type 2: member 0: type 0 cannot be a member");
    assert_eq!(one(4, 4, [0, 9, 0]), "type 2: member 0: type 9 cannot be a member");
    assert_eq!(one(5, 8, [0, 1, 32]), "type 2: member 0: it does not begin at bit 0 of the union");
    let outside = "type 2: member 0: it ends behind the structure's 4 bytes";
    assert_eq!(one(4, 4, [0, 1, 64]), outside);
    assert_eq!(one(4, 4, [0, 1, 8]), outside);
    let order = only(|b, _| b.ty(0, (4, 2, false), 8, &[0, 1, 32, 0, 1, 0]));
    assert_eq!(order, "type 2: member 1: it begins before the member before it");
    let wide = only(|b, _| b.ty(0, (4, 1, true), 8, &[0, 1, 33 << 24]));
    assert_eq!(wide, "type 2: member 0: a bitfield of 33 bits is not possible with its type");
    let unaligned = only(|b, _| {
        b.ty(0, (2, 0, false), 0, &[]);
        b.ty(0, (4, 1, false), 16, &[0, 2, 4]);
    });
    assert_eq!(unaligned, "type 3: member 0: it does not begin on a byte, or is not aligned");
}

#[test]
fn enumerations() {
    let size = only(|b, x| b.ty(0, (6, 1, false), 3, &[x, 0]));
    assert_eq!(size, "type 2: ENUM cannot have a size of 3 bytes");
    let nameless = only(|b, _| b.ty(0, (19, 1, false), 8, &[0, 0, 0]));
    assert_eq!(nameless, "type 2: value 0: its name is not valid");
}

#[test]
fn arrays() {
    let array = |rest: [u32; 3]| only(|b, _| b.ty(0, (3, 0, false), 0, &rest));
    assert_eq!(array([0, 1, 1]), "type 2: reference to type 0 is not allowed here");
    assert_eq!(array([1, 9, 1]), "type 2: type 9 does not exist");
    assert_eq!(
        array([1, 1, u32::MAX]),
        "type 2: 4294967295 elements of 4 bytes are more than 32 bits count"
    );
    assert_eq!(array([2, 1, 1]), "type 2: it refers to itself through type 2");
    let third = only(|b, _| b.ty(0, (3, 0, false), 7, &[1, 1, 1]));
    assert_eq!(third, "type 2: size is 7, not 0");
}

#[test]
fn functions_variables_and_sections() {
    let func = |linkage, target| only(|b, x| b.ty(x, (12, linkage, false), target, &[]));
    assert_eq!(func(2, 1), "type 2: linkage 2 is not supported");
    assert_eq!(func(1, 1), "type 2: type 1 (INT) cannot be referred to from here");
    let nameless = only(|b, x| {
        b.ty(0, (13, 1, false), 0, &[0, 1]);
        b.ty(x, (12, 0, false), 2, &[]);
    });
    assert_eq!(nameless, "type 3: parameter 0 has no size or no valid name");
    let fwd = only(|b, x| {
        b.ty(x, (7, 0, false), 0, &[]);
        b.ty(0, (13, 0, false), 2, &[]);
    });
    assert_eq!(fwd, "type 3: the result (type 2) has no size");
    let linkage = only(|b, x| b.ty(x, (14, 0, false), 1, &[2]));
    assert_eq!(linkage, "type 2: linkage 2 is not supported");
    let section = |rest: [u32; 6]| {
        only(|b, x| {
            b.ty(x, (14, 0, false), 1, &[0]);
            b.ty(x, (15, 2, false), 8, &rest);
        })
    };
    let variable = "type 3: variable";
    assert_eq!(
        section([2, 0, 4, 1, 4, 4]),
        format!("{variable} 1 of the section: type 1 is not a variable")
    );
    assert_eq!(
        section([2, 4, 4, 2, 0, 4]),
        format!(
            "{variable} 1 of the section: offset 0 overlaps the variable before it or lies behind the section"
        )
    );
    assert_eq!(
        section([2, 0, 2, 2, 4, 4]),
        format!("{variable} 0 of the section: size 2 is not possible")
    );
}

#[test]
fn tags() {
    let on = |target, component: u32| {
        only(|b, x| {
            b.ty(0, (4, 1, false), 4, &[x, 1, 0]);
            b.ty(x, (17, 0, false), target, &[component]);
        })
    };
    assert_eq!(on(1, 0), "type 3: type 1 (INT) cannot be referred to from here");
    assert_eq!(on(2, 1), "type 3: component 1 does not exist");
    assert_eq!(on(2, -2i32 as u32), "type 3: component -2 does not exist");
}

#[test]
fn circles_and_depth() {
    let typedef = only(|b, x| b.ty(x, (8, 0, false), 2, &[]));
    assert_eq!(typedef, "type 2: it refers to itself through type 2");
    let pointers = only(|b, _| {
        b.ty(0, (2, 0, false), 3, &[]);
        b.ty(0, (10, 0, false), 2, &[]);
    });
    assert_eq!(pointers, "type 2: it refers to itself through type 2");
    let inside = only(|b, _| b.ty(0, (4, 1, false), 4, &[0, 2, 0]));
    assert_eq!(inside, "type 2: it refers to itself through type 2");
    // Through a pointer a structure may refer to itself.
    let list = faults(STRICT, |b, _| {
        b.ty(0, (4, 1, false), 8, &[0, 3, 0]);
        b.ty(0, (2, 0, false), 2, &[]);
    });
    assert_eq!(list, [""; 0]);
    let chain = |count: u32, options| {
        faults(options, move |b, _| {
            for i in 0..count {
                b.ty(0, (10, 0, false), if i + 1 == count { 1 } else { 3 + i }, &[]);
            }
        })
    };
    assert_eq!(chain(32, STRICT), [""; 0]);
    let deep = ["type 2: it takes more than 32 types to resolve it"];
    assert_eq!(chain(33, STRICT), deep);
    assert_eq!(chain(33, NEWEST), deep);
    let circle = faults(NEWEST, |b, x| b.ty(x, (8, 0, false), 2, &[]));
    assert_eq!(circle, deep);
}

#[test]
fn older_kernels_know_less() {
    let tag = |options| faults(options, |b, x| b.ty(x, (18, 0, true), 1, &[]));
    assert_eq!(tag(NEWEST), [""; 0]);
    let old = CheckOptions { attributes: false, ..NEWEST };
    assert_eq!(tag(old), ["type 2: kflag must not be set in TYPE_TAG"]);
    let info = |options| {
        faults(options, |b, x| {
            b.ty(0, (4, 0, false), 0, &[]);
            b.ty(x, (12, 1 << 16, false), 1, &[]);
        })
    };
    let narrow = CheckOptions { wide_info: false, ..NEWEST };
    assert_eq!(info(narrow), ["type 3: info 0x0c010000 has bits without a meaning"]);
    let section = |options| {
        faults(options, |b, _| {
            let name = b.name("?.x");
            b.ty(name, (15, 0, false), 4, &[]);
        })
    };
    assert_eq!(section(NEWEST), [""; 0]);
    let strict = CheckOptions { printable_sections: false, ..NEWEST };
    assert_eq!(section(strict), ["type 2: \"?.x\" is not a valid name"]);
    let mut blob = every_kind(Endianness::Little);
    (blob.hdr_len, blob.layout) = (32, vec![0; 4]);
    let bytes = blob.finish();
    let btf = Btf::parse(&bytes).unwrap();
    let layout = check(&btf, &CheckOptions { layout: false, ..NEWEST });
    assert_eq!(layout, [Fault { id: None, rule: Rule::HeaderFields }]);
}

#[test]
fn no_flipped_byte_panics() {
    for endian in ORDERS {
        let whole = every_kind(endian).finish();
        for at in 0..whole.len() {
            for bit in [0, 2, 5, 7] {
                let mut bad = whole.clone();
                bad[at] ^= 1 << bit;
                if let Ok(btf) = Btf::parse(&bad) {
                    let _ = check(&btf, &STRICT);
                    let _ = crate::diff(&btf, &btf).map(|found| assert_eq!(found, []));
                    let _ = crate::c_header(&btf, &crate::COptions::default());
                }
            }
        }
    }
}
