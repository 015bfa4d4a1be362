//! Small images with small types, and what becomes of them.

use btf::{Builder, Composite, DeclTag, Def, TypeId};
use image::consts::EM_X86_64;
use image::{Class, DataSection, Endian, Endianness, Header, NewSymbol, Relocatable};

use super::*;

const ORDERS: [(Class, Endianness); 2] =
    [(Class::Elf64, Endianness::Little), (Class::Elf32, Endianness::Big)];

/// An image whose `.BTF_ids` has one set of kfuncs: these, with these flags.
fn image((class, endian): (Class, Endianness), kfuncs: &[(&str, u32)]) -> Vec<u8> {
    let mut ids = [endian.write_u32(0), endian.write_u32(1)].concat();
    let mut names = vec!["__BTF_ID__set8__set".to_owned()];
    for (index, (name, flags)) in kfuncs.iter().enumerate() {
        ids.extend([endian.write_u32(0), endian.write_u32(*flags)].concat());
        names.push(format!("__BTF_ID__func__{name}__{index}"));
    }
    let symbols = names.iter().zip((0..).step_by(8)).map(|(name, value)| NewSymbol {
        name,
        section: Some(0),
        value,
        size: if value == 0 { ids.len() as u64 } else { 4 },
    });
    let symbols = symbols.collect();
    let (file_type, flags, os_abi, abi_version) = (0, 0, 0, 0);
    let header =
        Header { class, endian, file_type, machine: EM_X86_64.0, flags, os_abi, abi_version };
    let name = ".BTF_ids";
    let section = DataSection { name, flags: 2, align: 4, bytes: &ids, relocations: vec![] };
    Relocatable { header, sections: vec![section], symbols, rela: true }.write().unwrap()
}

/// `void zoo(void *p__arena, struct bpf_prog_aux *aux)`, with a tag.
fn types(endian: Endianness) -> Vec<u8> {
    let mut builder = Builder::new(endian);
    let (name, members) = (&b"bpf_prog_aux"[..], vec![]);
    let composite = Composite { is_union: false, name, size: 8, kflag: false, members };
    let aux = builder.add(&Def::Composite(composite)).unwrap();
    let pointer = builder.add(&Def::Ptr(aux)).unwrap();
    let void = builder.add(&Def::Ptr(TypeId::VOID)).unwrap();
    let params = vec![(&b"p__arena"[..], void), (&b"aux"[..], pointer)];
    let proto = builder.add(&Def::FuncProto(TypeId::VOID, params)).unwrap();
    let ty = builder.add(&Def::Func(b"zoo", proto, 1)).unwrap();
    let tag = DeclTag { value: b"mine", ty, component_idx: 1, attribute: false };
    builder.add(&Def::DeclTag(tag)).unwrap();
    builder.finish().unwrap()
}

fn dump(blob: &[u8]) -> Vec<String> {
    let btf = Btf::parse(blob).unwrap();
    let name = |off| String::from_utf8_lossy(btf.name(off).unwrap()).into_owned();
    let show = |(id, ty): (TypeId, btf::Type<'_>)| {
        let params: Vec<String> =
            ty.params().map(|p| format!(" {}:{}", name(p.name_off), p.ty)).collect();
        let (kind, target) = (ty.kind, ty.size_or_type);
        format!("{id} {kind} {} {target}{}", name(ty.name_off), params.concat())
    };
    btf.types().map(show).collect()
}

#[test]
fn a_kfunc_loses_what_is_implicit_and_gains_tags() {
    for (class, endian) in ORDERS {
        let image = image((class, endian), &[("zoo", 1 << 16 | 1 << 12), ("gone", 0)]);
        let options = KernelOptions::default();
        let made = kernel_btf_of(&image, &types(endian), None, &options).unwrap();
        let expected = [
            "1 PTR  11",
            "2 PTR  0",
            "3 FUNC_PROTO  0 p__arena:2 aux:1",
            "4 FUNC_PROTO  0 p__arena:2",
            "5 FUNC_PROTO  0 p__arena:6",
            "6 PTR  7",
            "7 TYPE_TAG address_space(1) 0",
            "8 DECL_TAG bpf_fastcall 14",
            "9 DECL_TAG bpf_fastcall 15",
            "10 DECL_TAG bpf_kfunc 14",
            "11 STRUCT bpf_prog_aux 8",
            "12 DECL_TAG mine 14",
            "13 DECL_TAG mine 15",
            "14 FUNC zoo 5",
            "15 FUNC zoo_impl 3",
        ];
        assert_eq!(dump(&made.btf), expected);
        let ids = made.ids.unwrap();
        let words = ids.as_chunks::<4>().0.iter().map(|&word| endian.read_u32(word));
        assert_eq!(words.collect::<Vec<_>>(), [2, 1, 0, 0, 14, 1 << 16 | 1 << 12]);
        let warnings: Vec<String> = made.warnings.iter().map(ToString::to_string).collect();
        let told = [
            "WARN: resolve_btfids: no BTF func for kfunc gone in set",
            "WARN: resolve_btfids: unresolved symbol gone",
        ];
        assert_eq!(warnings, told);
    }
}

#[test]
fn what_flags_and_types_contradict_is_refused_in_the_peers_words() {
    let (class, endian) = ORDERS[0];
    let error = |kfuncs: &[(&str, u32)], types: &[u8]| {
        let options = KernelOptions::default();
        kernel_btf_of(&image((class, endian), kfuncs), types, None, &options)
            .unwrap_err()
            .to_string()
    };
    let text =
        "ERROR: resolve_btfids: kfunc zoo has inconsistent flags across BTF ID sets: 0x0 != 0x4";
    assert_eq!(error(&[("zoo", 0), ("zoo", 4)], &types(endian)), text);
    let text = "ERROR: resolve_btfids: kfunc zoo: arena type is not a pointer";
    assert_eq!(error(&[("zoo", 1 << 13)], &types(endian)), text);
    let long = "n".repeat(507);
    let mut builder = Builder::new(endian);
    let proto = builder.add(&Def::FuncProto(TypeId::VOID, vec![])).unwrap();
    builder.add(&Def::Func(long.as_bytes(), proto, 1)).unwrap();
    builder.add(&Def::Func(b"odd", proto, 3)).unwrap();
    let blob = builder.finish().unwrap();
    let text = format!("ERROR: function name is too long: {long}_impl");
    assert_eq!(error(&[(&long, 1 << 16)], &blob), text);
    let text = "ERROR: resolve_btfids: failed to add func odd_impl to BTF";
    assert_eq!(error(&[("odd", 1 << 16)], &blob), text);
}

#[test]
fn types_that_libbpf_does_not_load_are_refused() {
    let image = image(ORDERS[0], &[("loop", 1 << 16)]);
    let refused = |defs: &[Def<'_>]| {
        let mut builder = Builder::new(Endianness::Little);
        for def in defs {
            builder.add(def).unwrap();
        }
        let blob = builder.finish().unwrap();
        kernel_btf_of(&image, &blob, None, &KernelOptions::default()).unwrap_err().to_string()
    };
    let text = refused(&[Def::Ptr(TypeId(2))]);
    assert_eq!(text, "type 1 refers to type 2, which does not exist");
    let text = refused(&[Def::Ptr(TypeId(0)), Def::Func(b"f", TypeId(1), 0)]);
    assert_eq!(text, "type 2 is a function, but its type 1 is no prototype");
    // Qualifiers without end, where the peer would never end.
    let params = vec![(&b"x"[..], TypeId(1))];
    let proto = Def::FuncProto(TypeId(0), params);
    let text = refused(&[Def::Const(TypeId(1)), proto, Def::Func(b"loop", TypeId(2), 0)]);
    assert_eq!(text, "type 1 refers to itself without a structure in between");
}

#[test]
fn a_base_of_its_own_is_made_for_split_types_only() {
    let image = image(ORDERS[0], &[]);
    let base = types(Endianness::Little);
    let parsed = Btf::parse(&base).unwrap();
    let mut builder = Builder::split(&parsed);
    builder.add(&Def::Typedef(b"zz", TypeId(1))).unwrap();
    builder.add(&Def::Typedef(b"own", TypeId(2))).unwrap();
    let split = builder.finish().unwrap();
    for distill_base in [false, true] {
        let options = KernelOptions { distill_base, ..KernelOptions::default() };
        let made = kernel_btf_of(&image, &split, Some(&base), &options).unwrap();
        let own = made.base.as_deref();
        let read = Btf::parse(own.unwrap_or(&base)).unwrap();
        let made = Btf::parse_split(&made.btf, &read).unwrap();
        assert_eq!(own.is_some(), distill_base);
        let names: Vec<&[u8]> = made.types().map(|(_, t)| made.name(t.name_off).unwrap()).collect();
        let sorted: [&[u8]; 3] = [b"", b"own", b"zz"];
        assert_eq!(names, sorted[usize::from(!distill_base)..]);
        assert!(kernel_btf_of(&image, &base, None, &options).unwrap().base.is_none());
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_is_an_error_or_a_result() {
    let look = |image: &[u8], types: &[u8], base: Option<&[u8]>| {
        let options = KernelOptions { distill_base: true, trace: true, explain: true };
        let _ = kernel_btf_of(image, types, base, &options);
    };
    let image = image(ORDERS[0], &[("zoo", 1 << 16 | 1 << 13)]);
    let types = types(Endianness::Little);
    let base = Btf::parse(&types).unwrap();
    let mut builder = Builder::split(&base);
    builder.add(&Def::Func(b"zoo", TypeId(4), 1)).unwrap();
    let split = builder.finish().unwrap();
    let flipped = |bytes: &[u8], look: &dyn Fn(&[u8])| {
        for at in 0..bytes.len() {
            look(&bytes[..at]);
            for bit in 0..8 {
                let mut bad = bytes.to_vec();
                bad[at] ^= 1 << bit;
                look(&bad);
            }
        }
    };
    flipped(&types, &|bad| look(&image, bad, None));
    flipped(&types, &|bad| look(&image, &split, Some(bad)));
    flipped(&split, &|bad| look(&image, bad, Some(&types)));
    flipped(&image, &|bad| look(bad, &types, None));
}
