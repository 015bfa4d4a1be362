use super::*;
use crate::testing::every_kind;
use crate::{Builder, Composite, Endianness, Int, NamedMember};

const INT: Def<'static> = Def::Int(b"int", 4, Int { encoding: 1, offset: 0, bits: 32 });

fn blob(defs: &[Def<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Endianness::Little);
    for def in defs {
        builder.add(def).unwrap();
    }
    builder.finish().unwrap()
}

fn composite<'a>(name: &'a [u8], size: u32, members: &[(&'a [u8], u32, u32)]) -> Def<'a> {
    let member = |&(name, ty, bit_offset): &(&'a [u8], u32, u32)| NamedMember {
        name,
        ty: TypeId(ty),
        bit_offset,
        bitfield_size: 0,
    };
    let members = members.iter().map(member).collect();
    Def::Composite(Composite { is_union: false, name, size, kflag: false, members })
}

fn found(a: &[Def<'_>], b: &[Def<'_>]) -> Vec<String> {
    let (a, b) = (blob(a), blob(b));
    let (a, b) = (Btf::parse(&a).unwrap(), Btf::parse(&b).unwrap());
    diff(&a, &b).unwrap().iter().map(Difference::to_string).collect()
}

#[test]
fn ids_order_byte_order_and_strings_do_not_count() {
    let blobs = [every_kind(Endianness::Little).finish(), every_kind(Endianness::Big).finish()];
    let [a, b] = blobs.each_ref().map(|blob| Btf::parse(blob).unwrap());
    assert_eq!(diff(&a, &b).unwrap(), []);
    let list = |next| composite(b"list", 8, &[(b"next", next, 0)]);
    let one = [INT, Def::Ptr(TypeId(3)), list(2), Def::Typedef(b"t", TypeId(3))];
    let two = [Def::Typedef(b"t", TypeId(2)), list(4), INT, Def::Ptr(TypeId(2))];
    assert_eq!(found(&one, &two), [""; 0]);
}

#[test]
fn a_changed_member_is_reported_once_and_not_wherever_it_is_reached() {
    let with = |size, members: &[(&'static [u8], u32, u32)]| {
        vec![
            INT,
            composite(b"page", size, members),
            Def::Ptr(TypeId(2)),
            Def::Typedef(b"page_t", TypeId(3)),
            Def::Func(b"get", TypeId(6), 0),
            Def::FuncProto(TypeId(3), vec![(b"p", TypeId(4))]),
        ]
    };
    let old = with(4, &[(b"flags", 1, 0)]);
    let new = with(8, &[(b"flags", 1, 0), (b"count", 1, 32)]);
    let text = "! struct page\n  - size 4\n  + size 8\n  + bit 32: count: int";
    assert_eq!(found(&old, &new), [text]);
}

#[test]
fn functions_variables_tags_and_types_come_and_go() {
    let proto = Def::FuncProto(TypeId::VOID, vec![(b"a".as_slice(), TypeId(1)), (b"", TypeId(0))]);
    let old = [INT, proto.clone(), Def::Func(b"f", TypeId(2), 0)];
    let tag =
        crate::DeclTag { value: b"kfunc", ty: TypeId(3), component_idx: -1, attribute: false };
    let new = [
        INT,
        proto,
        Def::Func(b"f", TypeId(2), 1),
        Def::Var(b"v", TypeId(1), 1),
        Def::DeclTag(tag),
        Def::Ptr(TypeId(1)),
    ];
    let expected = [
        "! func f\n  - static fn(a: int, ...) -> void\n  + global fn(a: int, ...) -> void",
        "+ var v\n  + global int",
        "+ tag \"kfunc\" of func f",
        "+ *int",
    ];
    assert_eq!(found(&old, &new), expected);
}

#[test]
fn another_type_of_the_same_name_is_another_type() {
    let of = |pick| {
        let small = composite(b"s", 4, &[(b"a", 1, 0)]);
        let large = composite(b"s", 8, &[(b"a", 1, 0), (b"b", 1, 32)]);
        [INT, small, large, Def::Typedef(b"t", TypeId(pick))]
    };
    assert_eq!(found(&of(2), &of(2)), [""; 0]);
    let text = "! typedef t\n  it refers to another type of the same name";
    assert_eq!(found(&of(2), &of(3)), [text]);
}

#[test]
fn a_type_that_stands_there_twice_is_a_difference() {
    let s = composite(b"s", 4, &[(b"a", 1, 0)]);
    assert_eq!(found(&[INT, s.clone(), s.clone()], &[INT, s]).len(), 1);
}

#[test]
fn the_order_of_members_counts_and_an_idle_kflag_does_not() {
    let union = |names: [&'static [u8]; 2], kflag| {
        let member = |name| NamedMember { name, ty: TypeId(1), bit_offset: 0, bitfield_size: 0 };
        let members = names.map(member).to_vec();
        [INT, Def::Composite(Composite { is_union: true, name: b"u", size: 4, kflag, members })]
    };
    assert_eq!(found(&union([b"a", b"b"], false), &union([b"a", b"b"], true)), [""; 0]);
    let text = "! union u\n  the same entries in another order";
    assert_eq!(found(&union([b"a", b"b"], false), &union([b"b", b"a"], false)), [text]);
}

#[test]
fn anonymous_circles_end() {
    // A pointer to an anonymous structure with that pointer in it: C cannot write it, a blob can.
    let circle = |size| [Def::Ptr(TypeId(2)), composite(b"", size, &[(b"p", 1, 0)])];
    assert_eq!(found(&circle(8), &circle(8)), [""; 0]);
    assert!(!found(&circle(8), &circle(16)).is_empty());
}

#[test]
fn blobs_without_meaning_are_refused() {
    let blob = blob(&[Def::Ptr(TypeId(9))]);
    let btf = Btf::parse(&blob).unwrap();
    let refused = diff(&btf, &btf).unwrap_err().to_string();
    assert_eq!(refused, "0x18: type 9 does not exist, the last one is 1");
}

#[test]
fn texts_of_circles_and_of_types_that_unfold_are_cut() {
    // An array that is its own index, and anonymous structures that hold the next one eight times.
    let array = |elem| Def::Array(crate::Array { elem: TypeId(elem), index: TypeId(1), nelems: 2 });
    assert!(!found(&[array(1), INT], &[array(2), INT]).is_empty());
    let unfold = |size| {
        let holds = |next| composite(b"", 8, &[(&b"m"[..], next, 0); 8]);
        let mut defs: Vec<Def<'_>> = (2..40).map(holds).collect();
        defs.push(composite(b"", size, &[]));
        defs.push(composite(b"top", 8, &[(b"m", 1, 0)]));
        defs
    };
    let report = found(&unfold(8), &unfold(16));
    assert!(!report.is_empty() && report.iter().all(|text| text.len() < 100_000));
}
