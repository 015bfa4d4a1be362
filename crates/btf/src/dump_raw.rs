//! The raw dump: a line for each type and one for each of its entries.
//!
//! The same text as `bpftool btf dump file FILE format raw` (compared in tests/tests/btf.rs).

use std::io::{self, Write};

use crate::describe::{Value, describe, shown_name};
use crate::{Btf, Kind, Type, TypeId};

/// Writes one type.
///
/// # Errors
/// Those of `out`.
pub fn raw_type(btf: &Btf<'_>, id: TypeId, ty: &Type<'_>, out: &mut impl Write) -> io::Result<()> {
    write!(out, "[{id}] {} '", ty.kind.name())?;
    out.write_all(shown_name(btf, ty.name_off))?;
    out.write_all(b"'")?;
    let described = describe(btf, ty);
    if ty.kind == Kind::Var {
        // PARITY: bpftool has a comma here and nowhere else (raw_and_c_dumps_of_kernels_are_bpftools).
        write!(out, " type_id={},", ty.size_or_type)?;
        write_fields(out, &described.fields[1..])?;
    } else {
        write_fields(out, &described.fields)?;
    }
    let Some((_, entries)) = described.entries else { return out.write_all(b"\n") };
    let mut vars = ty.var_secinfos();
    for fields in &entries {
        out.write_all(b"\n\t")?;
        match fields.split_first() {
            Some(((_, Value::Name(name)), rest)) => {
                write!(out, "'")?;
                out.write_all(name)?;
                write!(out, "'")?;
                write_fields(out, rest)?;
            }
            Some((first, rest)) => {
                write_field(out, first)?;
                write_fields(out, rest)?;
            }
            None => {}
        }
        if let Some(var) = vars.next().and_then(|info| btf.get(info.ty)) {
            write!(out, " ({} '", var.kind.name())?;
            out.write_all(shown_name(btf, var.name_off))?;
            out.write_all(b"')")?;
        }
    }
    out.write_all(b"\n")
}

fn write_fields(out: &mut impl Write, fields: &[(&str, Value<'_>)]) -> io::Result<()> {
    for field in fields {
        out.write_all(b" ")?;
        write_field(out, field)?;
    }
    Ok(())
}

fn write_field(out: &mut impl Write, (name, value): &(&str, Value<'_>)) -> io::Result<()> {
    write!(out, "{name}=")?;
    match value {
        Value::Number(number) => write!(out, "{number}"),
        Value::Wide(number, true) => write!(out, "{number}LL"),
        Value::Wide(number, false) => write!(out, "{number}ULL"),
        Value::Word(word) => out.write_all(word.as_bytes()),
        Value::Name(name) => out.write_all(name),
    }
}
