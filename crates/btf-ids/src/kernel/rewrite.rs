//! What the types of kfuncs become: tags, prototypes without implicit arguments, arena pointers.
//!
//! - Every kfunc gets the declaration tag `bpf_kfunc`, and `bpf_fastcall` with [`FASTCALL`].
//! - With [`IMPLICIT_ARGS`] the kernel passes the last arguments itself. The prototype loses them, and a
//!   function `NAME_impl` is added that has all of them and the kfunc's other tags.
//! - Pointers into an arena point to something with the attribute `address_space(1)`: the result and the
//!   first two arguments by flags, arguments also by the end of their name.
//!
//! Types are only appended; all that changes in place is which prototype a function has.

use std::collections::HashMap;

use btf_dedup::kind;

use super::draft::{Draft, info, kflag, kind_of, vlen};
use super::kfuncs::{Kfunc, Kfuncs, functions};
use crate::Error;
use crate::collect::lossy;
use crate::warning::Log;

/// `KF_FASTCALL`.
const FASTCALL: u32 = 1 << 12;
/// `KF_ARENA_RET`.
const ARENA_RET: u32 = 1 << 13;
/// `KF_ARENA_ARG1` and `KF_ARENA_ARG2`, by the argument's index.
const ARENA_ARGS: [u32; 2] = [1 << 14, 1 << 15];
/// `KF_IMPLICIT_ARGS`.
const IMPLICIT_ARGS: u32 = 1 << 16;

/// The structures that only the kernel can point an argument to.
const IMPLICIT_TYPES: [&[u8]; 2] = [b"bpf_prog_aux", b"btf_struct_meta"];
/// How the names of arguments end that point into an arena.
const ARENA_SUFFIXES: [&[u8]; 2] = [b"__arena", b"__arena__nullable"];
/// The attribute of what is in an arena.
const ARENA: &[u8] = b"address_space(1)";
const KFUNC_TAG: &[u8] = b"bpf_kfunc";
const FASTCALL_TAG: &[u8] = b"bpf_fastcall";

/// Names of this length and more do not fit the peer's buffer (`KSYM_NAME_LEN`).
const NAME_LEN: usize = 512;
/// The longest chain of qualifiers that is followed; longer ones never end. The peer follows for ever.
const QUALIFIERS: usize = 64;
/// `component_idx` of a tag of the whole.
const WHOLE: u32 = u32::MAX;

/// A declaration tag of a kfunc.
#[derive(Clone, Copy)]
struct Tag {
    name: u32,
    component: u32,
    kflag: bool,
}

/// Rewrites the types of all kfuncs, by rising id.
pub(crate) fn run(draft: &mut Draft<'_>, kfuncs: &Kfuncs<'_>, log: &mut Log) -> Result<(), Error> {
    let mut tags = tags(draft, kfuncs);
    let names: Vec<Vec<u8>> = kfuncs.values().filter_map(impl_name).collect();
    let known = functions(draft, names.iter().map(Vec::as_slice))?;
    for (&id, kfunc) in kfuncs {
        let mut own = tags.remove(&id).unwrap_or_default();
        own.push(tag(draft, KFUNC_TAG, id)?);
        if kfunc.flags & FASTCALL != 0 {
            own.push(tag(draft, FASTCALL_TAG, id)?);
        }
        if let Some(name) = impl_name(kfunc) {
            if name.len() >= NAME_LEN {
                return Err(Error::ImplName(lossy(kfunc.name)));
            }
            if known.get(name.as_slice()).is_some_and(|&id| id != 0) {
                let name = lossy(&name);
                log.line(|| format!("resolve_btfids: function {name} already exists in BTF"));
            } else {
                add_impl(draft, (id, kfunc), &name, &own)?;
            }
            drop_implicit_args(draft, id)?;
            let name = kfunc.name;
            log.line(|| {
                let text = "resolve_btfids: updated BTF for kfunc with implicit args";
                format!("{text} {}", lossy(name))
            });
        }
        tag_arena_pointers(draft, id, kfunc, log)?;
    }
    Ok(())
}

/// The name of the function that keeps the implicit arguments.
fn impl_name(kfunc: &Kfunc<'_>) -> Option<Vec<u8>> {
    (kfunc.flags & IMPLICIT_ARGS != 0).then(|| [kfunc.name, b"_impl"].concat())
}

/// The declaration tags that kfuncs have already, in the order of their ids.
fn tags(draft: &Draft<'_>, kfuncs: &Kfuncs<'_>) -> HashMap<u32, Vec<Tag>> {
    let mut tags: HashMap<u32, Vec<Tag>> = HashMap::new();
    for id in draft.first_id()..draft.next_id() {
        let record = draft.record(id);
        if kind_of(record) == kind::DECL_TAG && kfuncs.contains_key(&record[2]) {
            let tag = Tag { name: record[0], component: record[3], kflag: kflag(record) };
            tags.entry(record[2]).or_default().push(tag);
        }
    }
    tags
}

/// Adds a tag of the whole function.
fn tag(draft: &mut Draft<'_>, value: &[u8], target: u32) -> Result<Tag, Error> {
    let tag = Tag { name: draft.add_string(value)?, component: WHOLE, kflag: false };
    push_tag(draft, tag, target)?;
    Ok(tag)
}

fn push_tag(draft: &mut Draft<'_>, tag: Tag, target: u32) -> Result<(), Error> {
    draft.push(&[tag.name, info(kind::DECL_TAG, 0, tag.kflag), target, tag.component])?;
    Ok(())
}

/// Adds the function that has all arguments of the kfunc, and its tags but for `bpf_kfunc`.
fn add_impl(
    draft: &mut Draft<'_>,
    (id, kfunc): (u32, &Kfunc<'_>),
    name: &[u8],
    tags: &[Tag],
) -> Result<(), Error> {
    let record = draft.record(id);
    let (linkage, proto) = (vlen(record), record[2]);
    // Static, global, extern: libbpf adds no other.
    if linkage > 2 {
        return Err(Error::AddFunction(lossy(name)));
    }
    let number = draft.add_string(name)?;
    let target = draft.push(&[number, info(kind::FUNC, linkage, false), proto])?;
    for tag in tags {
        let value = draft.name(tag.name)?.to_vec();
        if value == KFUNC_TAG {
            continue;
        }
        if value.is_empty() || (tag.component as i32) < -1 {
            let func = format!("{}_impl", lossy(kfunc.name));
            return Err(Error::AddTag { tag: lossy(&value), func });
        }
        let name = draft.add_string(&value)?;
        push_tag(draft, Tag { name, ..*tag }, target)?;
    }
    Ok(())
}

/// Gives the kfunc a new prototype, which ends before the first implicit argument.
fn drop_implicit_args(draft: &mut Draft<'_>, id: u32) -> Result<(), Error> {
    let proto = draft.record(draft.record(id)[2]).to_vec();
    let mut kept = 0;
    for param in proto[3..].chunks_exact(2) {
        if is_implicit(draft, param[1])? {
            break;
        }
        kept += 1;
    }
    let new = copy_prototype(draft, proto[2], &proto[3..3 + 2 * kept])?;
    draft.set_target(id, new);
    Ok(())
}

/// Adds a prototype with these parameters, each a name and a type.
fn copy_prototype(draft: &mut Draft<'_>, result: u32, params: &[u32]) -> Result<u32, Error> {
    let count = (params.len() / 2) as u32;
    let mut record = vec![0, info(kind::FUNC_PROTO, count, false), result];
    for param in params.chunks_exact(2) {
        // As a string of its own: libbpf looks it up anew.
        let name = draft.name(param[0])?.to_vec();
        record.extend([draft.add_string(&name)?, param[1]]);
    }
    draft.push(&record)
}

/// Whether an argument of that type is implicit: a pointer to one of [`IMPLICIT_TYPES`].
fn is_implicit(draft: &Draft<'_>, ty: u32) -> Result<bool, Error> {
    let pointer = skip_qualifiers(draft, ty)?;
    if kind_of(pointer) != kind::PTR {
        return Ok(false);
    }
    let target = skip_qualifiers(draft, pointer[2])?;
    if kind_of(target) != kind::STRUCT {
        return Ok(false);
    }
    Ok(IMPLICIT_TYPES.contains(&draft.name(target[0])?))
}

/// The type without `const`, `volatile`, `restrict` and type tags; typedefs stay.
fn skip_qualifiers<'a>(draft: &'a Draft<'_>, ty: u32) -> Result<&'a [u32], Error> {
    let mut record = draft.record(ty);
    let qualifiers = [kind::CONST, kind::VOLATILE, kind::RESTRICT, kind::TYPE_TAG];
    for _ in 0..QUALIFIERS {
        if !qualifiers.contains(&kind_of(record)) {
            return Ok(record);
        }
        record = draft.record(record[2]);
    }
    Err(Error::Types(btf_dedup::Error::Loop(ty)))
}

/// Gives a kfunc with pointers into an arena a prototype of its own, in which they have the attribute.
fn tag_arena_pointers(
    draft: &mut Draft<'_>,
    id: u32,
    kfunc: &Kfunc<'_>,
    log: &mut Log,
) -> Result<(), Error> {
    let proto = draft.record(draft.record(id)[2]);
    let mut arguments = Vec::new();
    for (index, param) in proto[3..].chunks_exact(2).enumerate() {
        let name = draft.name(param[0])?;
        let flag = ARENA_ARGS.get(index).is_some_and(|flag| kfunc.flags & flag != 0);
        if flag || ARENA_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            arguments.push(index);
        }
    }
    let result = kfunc.flags & ARENA_RET != 0;
    if arguments.is_empty() && !result {
        return Ok(());
    }
    let proto = proto.to_vec();
    let result = if result { arena_pointer(draft, proto[2], kfunc)? } else { proto[2] };
    let new = copy_prototype(draft, result, &proto[3..])?;
    for index in arguments {
        let pointer = arena_pointer(draft, proto[4 + 2 * index], kfunc)?;
        let start = draft.types.starts[(new - draft.first_id()) as usize] as usize;
        draft.types.words[start + 4 + 2 * index] = pointer;
    }
    draft.set_target(id, new);
    log.line(|| format!("added arena-tagged proto for kfunc {}: {new}", lossy(kfunc.name)));
    Ok(())
}

/// A pointer to what `pointer` points to, with the attribute.
fn arena_pointer(draft: &mut Draft<'_>, pointer: u32, kfunc: &Kfunc<'_>) -> Result<u32, Error> {
    let record = draft.record(pointer);
    if kind_of(record) != kind::PTR {
        return Err(Error::ArenaType(lossy(kfunc.name)));
    }
    let target = record[2];
    let name = draft.add_string(ARENA)?;
    let attribute = draft.push(&[name, info(kind::TYPE_TAG, 0, true), target])?;
    draft.push(&[0, info(kind::PTR, 0, false), attribute])
}
