//! What an ORC entry looks like, read from the struct in the architecture's orc_types.h.
//!
//! The entry begins with 16-bit offsets; bit-fields of 16 bits in all follow. Architectures with ORC
//! are little-endian, so the first bit-field is in the lowest bits, and the struct's other branch (for
//! big-endian bit-fields) is never compiled.

use std::borrow::Cow;

/// The layout of an ORC entry, as far as sorting needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrcEntry {
    /// Size of an entry in bytes.
    pub size: usize,
    /// Where its 16 bits of bit-fields are, in bytes from its start.
    pub bits_at: usize,
    /// What makes an entry a terminator: all these bits of the bit-fields are 0.
    pub terminator: OrcTerminator,
}

/// The bits that are all 0 in an entry that ends a region without unwind data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrcTerminator(pub u16);

impl OrcEntry {
    /// x86 up to 6.2: a terminator has no `sp_reg` and no `end`.
    pub const X86_SP_REG: OrcEntry =
        OrcEntry { size: 6, bits_at: 4, terminator: OrcTerminator(0x040f) };
    /// x86 from 6.4: a terminator has the type `ORC_TYPE_UNDEFINED`.
    pub const X86_TYPE: OrcEntry =
        OrcEntry { size: 6, bits_at: 4, terminator: OrcTerminator(0x0700) };
    /// LoongArch, which has had the type from its first ORC on (6.9).
    pub const LOONGARCH: OrcEntry =
        OrcEntry { size: 8, bits_at: 6, terminator: OrcTerminator(0x7000) };

    /// The layout that the struct gives and that `orc_sort_cmp` looks at.
    pub(crate) fn detect(sources: &[Cow<'_, str>]) -> Option<OrcEntry> {
        let has = |text: &str| sources.iter().any(|source| source.contains(text));
        let body = sources.iter().find_map(|source| struct_body(source))?;
        let fields = BitFields::parse(body.0)?;
        let mask = if has("type == ORC_TYPE_UNDEFINED") {
            fields.mask("type")?
        } else if has("sp_reg == ORC_REG_UNDEFINED") {
            let end = if has("->end") { fields.mask("end")? } else { 0 };
            fields.mask("sp_reg")? | end
        } else {
            return None;
        };
        // The bit-fields fill up whole bytes; the compiler rounds to an `unsigned int` if it may.
        let used = fields.start + fields.bits.div_ceil(8) as usize;
        let size = if body.1 { used } else { used.next_multiple_of(4) };
        Some(OrcEntry { size, bits_at: fields.start, terminator: OrcTerminator(mask) })
    }
}

/// The members of `struct orc_entry`, and whether it is packed.
fn struct_body(source: &str) -> Option<(&str, bool)> {
    let (_, after) = source.split_once("struct orc_entry {")?;
    let (body, rest) = after.split_once('}')?;
    Some((body, rest.trim_start().starts_with("__packed")))
}

/// The bit-fields of the struct: where they begin, and each one's name, first bit and width.
#[derive(Debug, Default)]
struct BitFields<'a> {
    start: usize,
    bits: u32,
    fields: Vec<(&'a str, u32, u32)>,
}

impl<'a> BitFields<'a> {
    /// `None` for members that are neither `s16` nor bit-fields of 16 bits at most.
    fn parse(body: &'a str) -> Option<Self> {
        let mut fields = BitFields::default();
        for line in body.lines().map(str::trim) {
            if line.starts_with("#elif") {
                break;
            }
            let Some(member) = line.strip_suffix(';') else { continue };
            if member.starts_with("s16") {
                fields.start += 2;
                continue;
            }
            let (declarator, width) = member.split_once(':')?;
            let name = declarator.split_whitespace().last()?;
            let width: u32 = width.trim().parse().ok()?;
            fields.fields.push((name, fields.bits, width));
            fields.bits = fields.bits.checked_add(width).filter(|&bits| bits <= 16)?;
        }
        Some(fields)
    }

    fn mask(&self, name: &str) -> Option<u16> {
        let &(_, first, width) = self.fields.iter().find(|(field, ..)| *field == name)?;
        u16::try_from(((1u32 << width) - 1) << first).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(compare: &str, header: &str) -> Option<OrcEntry> {
        OrcEntry::detect(&[Cow::Borrowed(compare), Cow::Borrowed(header)])
    }

    fn x86(fields: &str) -> String {
        format!(
            "struct orc_entry {{\n\ts16\t\tsp_offset;\n\ts16\t\tbp_offset;\n\
             #if defined(__LITTLE_ENDIAN_BITFIELD)\n{fields}\
             #elif defined(__BIG_ENDIAN_BITFIELD)\n\tunsigned\tend:1;\n#endif\n}} __packed;\n"
        )
    }

    #[test]
    fn every_known_layout_is_read_from_its_header() {
        let regs = "\tunsigned\tsp_reg:4;\n\tunsigned\tbp_reg:4;\n";
        let by_reg = "if (a->sp_reg == ORC_REG_UNDEFINED && !orc_a->end)";
        let by_type = "if (orc_a->type == ORC_TYPE_UNDEFINED)";
        let old = x86(&format!("{regs}\tunsigned\ttype:2;\n\tunsigned\tend:1;\n"));
        assert_eq!(detect(by_reg, &old), Some(OrcEntry::X86_SP_REG));
        let between =
            x86(&format!("{regs}\tunsigned\ttype:2;\n\tunsigned\tsignal:1;\n\tunsigned\tend:1;\n"));
        let signal = OrcEntry { terminator: OrcTerminator(0x080f), ..OrcEntry::X86_SP_REG };
        assert_eq!(detect(by_reg, &between), Some(signal));
        let new = x86(&format!("{regs}\tunsigned\ttype:3;\n\tunsigned\tsignal:1;\n"));
        assert_eq!(detect(by_type, &new), Some(OrcEntry::X86_TYPE));
        let loongarch = "struct orc_entry {\n\ts16 sp_offset;\n\ts16 fp_offset;\n\ts16 ra_offset;\n\
            \tunsigned int sp_reg:4;\n\tunsigned int fp_reg:4;\n\tunsigned int ra_reg:4;\n\
            \tunsigned int type:3;\n\tunsigned int signal:1;\n};";
        assert_eq!(detect(by_type, loongarch), Some(OrcEntry::LOONGARCH));
    }

    #[test]
    fn an_unknown_struct_gives_no_layout() {
        assert_eq!(detect("x->type == ORC_TYPE_UNDEFINED", &x86("\tunsigned type:17;\n")), None);
        assert_eq!(detect("x->type == ORC_TYPE_UNDEFINED", &x86("\tunsigned kind:3;\n")), None);
        assert_eq!(detect("x->kind", &x86("\tunsigned type:3;\n")), None);
        assert_eq!(detect("x->type == ORC_TYPE_UNDEFINED", "struct other {};"), None);
    }
}
