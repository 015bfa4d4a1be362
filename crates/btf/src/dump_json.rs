//! The dump as JSON: `{"types":[...]}` with an object for each type.
//!
//! The same names and values as `bpftool -j btf dump file FILE`, but for unsigned values of an `ENUM` from
//! 2^31 on: bpftool extends a sign that they do not have. A byte of a name that is no valid UTF-8
//! is replaced, so the output always is JSON.

use std::io::{self, Write};

use crate::describe::{Value, describe, shown_name};
use crate::{Btf, Type, TypeId};

/// Writes these types as one JSON object, without a newline behind it.
///
/// # Errors
/// Those of `out`.
pub fn json<'data>(
    btf: &Btf<'data>,
    types: impl Iterator<Item = (TypeId, Type<'data>)>,
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(b"{\"types\":[")?;
    for (index, (id, ty)) in types.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        json_type(btf, id, &ty, out)?;
    }
    out.write_all(b"]}")
}

fn json_type(btf: &Btf<'_>, id: TypeId, ty: &Type<'_>, out: &mut impl Write) -> io::Result<()> {
    let described = describe(btf, ty);
    let mut fields = vec![
        ("id", Value::Number(id.0.into())),
        ("kind", Value::Word(ty.kind.name())),
        ("name", Value::Name(shown_name(btf, ty.name_off))),
    ];
    fields.extend(described.fields);
    out.write_all(b"{")?;
    write_fields(out, &fields)?;
    if let Some((name, entries)) = described.entries {
        write!(out, ",\"{name}\":[")?;
        for (index, entry) in entries.iter().enumerate() {
            out.write_all(if index > 0 { b",{" } else { b"{" })?;
            write_fields(out, entry)?;
            out.write_all(b"}")?;
        }
        out.write_all(b"]")?;
    }
    out.write_all(b"}")
}

fn write_fields(out: &mut impl Write, fields: &[(&str, Value<'_>)]) -> io::Result<()> {
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write!(out, "\"{name}\":")?;
        match value {
            Value::Number(number) | Value::Wide(number, _) => write!(out, "{number}")?,
            Value::Word(word) => write!(out, "\"{word}\"")?,
            Value::Name(name) => write_string(out, name)?,
        }
    }
    Ok(())
}

fn write_string(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(b"\"")?;
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            '\n' => out.write_all(b"\\n")?,
            '\t' => out.write_all(b"\\t")?,
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c))?,
            c => write!(out, "{c}")?,
        }
    }
    out.write_all(b"\"")
}
