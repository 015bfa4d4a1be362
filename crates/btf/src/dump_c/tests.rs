use super::*;
use crate::{Array, Builder, Composite, Def, Endianness, Int, NamedMember};

const INT: Def<'static> = Def::Int(b"int", 4, Int { encoding: 1, offset: 0, bits: 32 });

fn blob(defs: &[Def<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Endianness::Little);
    for def in defs {
        builder.add(def).unwrap();
    }
    builder.finish().unwrap()
}

fn header(defs: &[Def<'_>], roots: &[TypeId]) -> Result<String, DumpError> {
    let blob = blob(defs);
    let btf = Btf::parse(&blob).unwrap();
    let options = COptions { roots, ..COptions::default() };
    let text = String::from_utf8(c_header(&btf, &options)?).unwrap();
    let body = text.strip_prefix(PROLOGUE).unwrap().strip_suffix(EPILOGUE).unwrap();
    Ok(body.to_owned())
}

fn holds(name: &'static [u8], size: u32, members: &[u32]) -> Def<'static> {
    let member =
        |&ty: &u32| NamedMember { name: b"m", ty: TypeId(ty), bit_offset: 0, bitfield_size: 0 };
    let members = members.iter().map(member).collect();
    Def::Composite(Composite { is_union: true, name, size, kflag: false, members })
}

#[test]
fn only_what_a_root_needs_is_written() {
    let defs = [INT, Def::Ptr(TypeId(3)), holds(b"u", 8, &[1, 2]), holds(b"other", 4, &[1])];
    let text = "union u {\n\tint m;\n\tunion u *m;\n};\n\n";
    assert_eq!(header(&defs, &[TypeId(3)]).unwrap(), text);
}

#[test]
fn declarators_turn_inside_out() {
    let defs = [
        INT,
        Def::FuncProto(TypeId(1), vec![(b"a", TypeId(1)), (b"", TypeId::VOID)]),
        Def::Ptr(TypeId(2)),
        Def::Array(Array { elem: TypeId(3), index: TypeId(1), nelems: 4 }),
        Def::Typedef(b"table", TypeId(4)),
    ];
    let text = "typedef int (*table[4])(int, ...);\n\n";
    assert_eq!(header(&defs, &[TypeId(5)]).unwrap().replace("int a", "int"), text);
}

#[test]
fn what_contains_itself_is_refused() {
    assert_eq!(header(&[holds(b"u", 4, &[1])], &[TypeId(1)]), Err(DumpError::Cycle(TypeId(1))));
    let typedef = [Def::Typedef(b"t", TypeId(1))];
    assert!(matches!(header(&typedef, &[TypeId(1)]), Err(DumpError::Depth(_))));
    let circle = [Def::Const(TypeId(2)), Def::Const(TypeId(1))];
    assert!(matches!(header(&circle, &[TypeId(1)]), Err(DumpError::Depth(_))));
    assert!(matches!(header(&circle, &[]), Err(DumpError::Depth(_))));
}

#[test]
fn depth_and_size_are_bounded() {
    let chain = |count: u32| (2..=count).map(|next| Def::Const(TypeId(next))).chain([INT]);
    assert!(header(&chain(300).collect::<Vec<_>>(), &[]).is_ok());
    let deep = chain(2000).collect::<Vec<_>>();
    assert!(matches!(header(&deep, &[]), Err(DumpError::Depth(_))));
    // Forty unions without names, each of which stands in the one before it twice.
    let mut unfolding: Vec<_> = (2..=40).map(|next| holds(b"", 4, &[next, next])).collect();
    unfolding.extend([INT, holds(b"top", 4, &[1])]);
    assert!(matches!(header(&unfolding, &[]), Err(DumpError::Size(_))));
    // A structure of 4 GiB is a line of padding for each word.
    let members = vec![];
    let huge = Composite { is_union: false, name: b"s", size: u32::MAX, kflag: false, members };
    assert!(matches!(header(&[Def::Composite(huge)], &[TypeId(1)]), Err(DumpError::Size(_))));
}

#[test]
fn references_to_nothing_are_refused() {
    assert!(matches!(header(&[Def::Ptr(TypeId(7))], &[]), Err(DumpError::Btf(_))));
    assert!(matches!(header(&[INT], &[TypeId(9)]), Err(DumpError::Btf(_))));
}
