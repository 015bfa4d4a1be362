//! A type as text for people: short, and read from left to right (`*const struct page`,
//! `[4]*fn(a: int) -> void`).
//!
//! Types with a name are named, the others written out. So the text of a structure changes where the
//! structure changes, and not wherever anything behind a pointer does.

use crate::{Btf, Def, NamedMember, TypeId, VarSecinfo};

/// How far types without a name are written out.
const MAX_DEPTH: u32 = 24;
/// Longest text of one line in bytes, and of all lines of one type; what is longer is cut. Only the report
/// is shorter then: what differs is not decided by text.
const MAX_LINE: usize = 8 << 10;
const MAX_LINES: usize = 1 << 20;

/// The text of a type, for example `*const struct page`.
pub(super) fn type_text(btf: &Btf<'_>, id: TypeId) -> String {
    let mut out = String::new();
    write_type(btf, id, &mut out, 0);
    out
}

/// A name; what is no UTF-8 is escaped, so that different names have different texts.
pub(super) fn name_text(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => name.escape_ascii().to_string(),
    }
}

/// What a type is called among all: its kind and its name, the text where it has no name.
pub(super) fn title(btf: &Btf<'_>, id: TypeId, def: &Def<'_>) -> String {
    match def {
        Def::Int(name, ..) | Def::Float(name, _) => format!("int {}", name_text(name)),
        Def::Typedef(name, _) => format!("typedef {}", name_text(name)),
        Def::Fwd(name, is_union) => {
            let kind = if *is_union { "union" } else { "struct" };
            format!("forward declaration of {kind} {}", name_text(name))
        }
        Def::Func(name, ..) => format!("func {}", name_text(name)),
        Def::Var(name, ..) => format!("var {}", name_text(name)),
        Def::Datasec(name, ..) => format!("section {}", name_text(name)),
        Def::DeclTag(tag) => {
            let what = if tag.attribute { "attribute" } else { "tag" };
            let target = btf.get(tag.ty).and_then(|ty| Def::read(btf, &ty).ok()?);
            let on = match &target {
                Some(Def::DeclTag(_)) | None => format!("type {}", tag.ty),
                Some(def) => title(btf, tag.ty, def),
            };
            let component = match tag.component_idx {
                -1 => String::new(),
                index => format!(", component {index}"),
            };
            format!("{what} \"{}\" of {on}{component}", name_text(tag.value))
        }
        _ => type_text(btf, id),
    }
}

/// What a type says, a line for each entry; the lines name other types.
pub(super) fn lines(btf: &Btf<'_>, def: &Def<'_>) -> Vec<String> {
    let ty = |id| type_text(btf, id);
    match def {
        Def::Int(_, size, int) => {
            let (encoding, bits, offset) = (int.encoding, int.bits, int.offset);
            vec![format!("size {size}, {bits} bits at {offset}, encoding {encoding}")]
        }
        Def::Float(_, size) => vec![format!("floating point, size {size}")],
        Def::Composite(composite) => {
            let mut lines = vec![format!("size {}", composite.size)];
            let member = |member| {
                let mut out = String::new();
                write_member(btf, member, &mut out, 0);
                out
            };
            lines.extend(cut(composite.members.iter().map(member)));
            lines
        }
        Def::Enum(values) => {
            let sign = if values.signed { "signed" } else { "unsigned" };
            let mut lines = vec![format!("size {}, {sign}", values.size)];
            lines.extend(cut(values.values.iter().map(|value| value_text(values.signed, *value))));
            lines
        }
        Def::Typedef(_, target) => vec![ty(*target)],
        Def::Func(_, proto, linkage) => {
            vec![format!("{} {}", crate::describe::linkage_word(*linkage), ty(*proto))]
        }
        Def::Var(_, target, linkage) => {
            vec![format!("{} {}", crate::describe::linkage_word(*linkage), ty(*target))]
        }
        Def::Datasec(_, size, vars) => {
            let mut lines = vec![format!("size {size}")];
            let var = |var: &VarSecinfo| {
                let target = btf.get(var.ty).and_then(|ty| Def::read(btf, &ty).ok()?);
                let named = target.map_or_else(|| ty(var.ty), |def| title(btf, var.ty, &def));
                format!("at {}, size {}: {named}", var.offset, var.size)
            };
            lines.extend(cut(vars.iter().map(var)));
            lines
        }
        _ => vec![],
    }
}

fn value_text(signed: bool, (name, value): (&[u8], i64)) -> String {
    let number = if signed { i128::from(value) } else { i128::from(value as u64) };
    format!("{} = {number}", name_text(name))
}

fn write_member(btf: &Btf<'_>, member: &NamedMember<'_>, out: &mut String, depth: u32) {
    *out += &format!("bit {}", member.bit_offset);
    if member.bitfield_size != 0 {
        *out += &format!(", {} bits", member.bitfield_size);
    }
    *out += ": ";
    if !member.name.is_empty() {
        *out += &name_text(member.name);
        *out += ": ";
    }
    write_type(btf, member.ty, out, depth + 1);
}

/// The lines as far as they fit; `...` stands for the rest.
fn cut(lines: impl Iterator<Item = String>) -> Vec<String> {
    let (mut kept, mut len) = (Vec::new(), 0);
    for line in lines {
        len += line.len();
        if len > MAX_LINES {
            kept.push("...".to_owned());
            break;
        }
        kept.push(line);
    }
    kept
}

/// Whether there is room for more in a line; puts `...` at its end if not.
fn room(out: &mut String) -> bool {
    if out.len() > MAX_LINE {
        *out += "...";
    }
    out.len() <= MAX_LINE
}

fn write_type(btf: &Btf<'_>, id: TypeId, out: &mut String, depth: u32) {
    if depth > MAX_DEPTH || !room(out) {
        return;
    }
    let Some(def) = btf.get(id).and_then(|ty| Def::read(btf, &ty).ok()) else {
        *out += &format!("<bad type {id}>");
        return;
    };
    let Some(def) = def else {
        *out += if id == TypeId::VOID { "void" } else { "<unknown kind>" };
        return;
    };
    let mut prefix = |prefix: &str, target: TypeId| {
        *out += prefix;
        write_type(btf, target, out, depth + 1);
    };
    match def {
        Def::Ptr(target) => prefix("*", target),
        Def::Const(target) => prefix("const ", target),
        Def::Volatile(target) => prefix("volatile ", target),
        Def::Restrict(target) => prefix("restrict ", target),
        Def::TypeTag(value, target, attribute) => {
            let what = if attribute { "attribute" } else { "tag" };
            prefix(&format!("{what}(\"{}\") ", name_text(value)), target);
        }
        Def::Array(array) => {
            prefix(&format!("[{} by ", array.nelems), array.index);
            prefix("]", array.elem);
        }
        Def::Composite(composite) => {
            *out += if composite.is_union { "union" } else { "struct" };
            if !composite.name.is_empty() {
                *out += " ";
                *out += &name_text(composite.name);
                return;
            }
            *out += &format!(" {{ size {}", composite.size);
            for member in &composite.members {
                *out += "; ";
                write_member(btf, member, out, depth);
                if !room(out) {
                    return;
                }
            }
            *out += " }";
        }
        Def::Enum(values) => {
            *out += if values.wide { "enum64" } else { "enum" };
            if !values.name.is_empty() {
                *out += " ";
                *out += &name_text(values.name);
                return;
            }
            *out += &format!(" {{ size {}", values.size);
            for value in &values.values {
                *out += "; ";
                *out += &value_text(values.signed, *value);
                if !room(out) {
                    return;
                }
            }
            *out += " }";
        }
        Def::FuncProto(result, params) => {
            *out += "fn(";
            for (index, (name, ty)) in params.iter().enumerate() {
                *out += if index > 0 { ", " } else { "" };
                if *ty == TypeId::VOID && name.is_empty() && index + 1 == params.len() {
                    *out += "...";
                    continue;
                }
                *out += &name_text(name);
                *out += if name.is_empty() { "" } else { ": " };
                write_type(btf, *ty, out, depth + 1);
                if !room(out) {
                    return;
                }
            }
            *out += ") -> ";
            write_type(btf, result, out, depth + 1);
        }
        Def::Fwd(name, is_union) => {
            *out += if is_union { "forward union " } else { "forward struct " };
            *out += &name_text(name);
        }
        Def::Int(name, ..) | Def::Float(name, _) | Def::Typedef(name, _) => {
            *out += &name_text(name)
        }
        Def::Func(..) | Def::Var(..) | Def::Datasec(..) => *out += &title(btf, id, &def),
        Def::DeclTag(_) => *out += "<declaration tag>",
    }
}
