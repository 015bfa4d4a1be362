//! Whether the kernel would take a blob, by the rules of its own reader.
//!
//! The kernel reads its own BTF and its modules' with one set of rules: the header, the strings, each type
//! by itself ([`meta`]), chains of modifiers ([`chain`]). The BTF that a program loads must also
//! *resolve*: each type must come to an end with a size, without a circle, within a limited depth
//! ([`resolve`]), and each member must lie within its structure ([`member`]).
//!
//! Cost: one pass over the types for the first set; resolving visits each type once.
//!
//! Source of facts: kernel/bpf/btf.c of Linux 6.1, 6.12 and 7.3 (`btf_parse`, `btf_parse_base`,
//! `btf_check_all_metas`, `btf_check_all_types`, `btf_check_modifier_chain_length`).

mod chain;
mod member;
mod meta;
mod names;
mod resolve;
mod rule;

pub use rule::{Fault, MemberRule, Rule, SectionRule};

use crate::{Btf, HEADER_LEN_LAYOUT, TypeId};

/// `BTF_MAX_TYPE`.
const MAX_TYPE: u32 = 0xf_ffff;
/// `BTF_MAX_NAME_OFFSET`.
const MAX_NAME_OFFSET: u32 = 0xff_ffff;
/// `BTF_MAX_SIZE`: the largest blob that a program can load, in bytes.
const MAX_SIZE: usize = 16 << 20;

/// What differs between kernels, and what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckOptions {
    /// Also ask what the kernel only asks of a program's BTF: that the types resolve, and the blob has at
    /// most 16 MiB.
    pub program: bool,
    /// Size of a pointer of the kernel in bytes.
    pub pointer_size: u32,
    /// `kflag` may be set in a `DECL_TAG` or `TYPE_TAG`, for any attribute. In the tree:
    /// kernel/bpf/btf.c has `btf_type_kflag(t) && !btf_type_is_type_tag(t)`.
    pub attributes: bool,
    /// All bits of `info` mean something (24 bits of `vlen`, 7 of kind). In the tree: kernel/bpf/btf.c has
    /// no `BTF_INFO_MASK`.
    pub wide_info: bool,
    /// A `DATASEC` may have any printable name instead of an identifier. In the tree: kernel/bpf/btf.c
    /// has `isprint` in `btf_name_valid_section`.
    pub printable_sections: bool,
    /// A layout section is known. In the tree: include/uapi/linux/btf.h has `struct btf_layout`.
    pub layout: bool,
}

impl CheckOptions {
    /// The rules of Linux 7.3 for a kernel's own BTF.
    pub fn newest() -> Self {
        CheckOptions {
            program: false,
            pointer_size: 8,
            attributes: true,
            wide_info: true,
            printable_sections: true,
            layout: true,
        }
    }
}

/// All that the kernel would refuse of `btf`; none if it would take the blob.
///
/// The kernel stops at the first fault. Here every type is looked at by itself; resolving begins when
/// nothing else is wrong, and ends with its first fault.
pub fn check(btf: &Btf<'_>, options: &CheckOptions) -> Vec<Fault> {
    let mut faults = header(btf, options);
    for (id, ty) in btf.types() {
        if let Err(rule) = meta::check(btf, &ty, options) {
            faults.push(Fault { id: Some(id), rule });
        }
    }
    if faults.is_empty() && options.program {
        faults.extend(resolve::check(btf, options.pointer_size));
    }
    if faults.is_empty() {
        faults.extend(chain::check(btf));
    }
    faults
}

fn header(btf: &Btf<'_>, options: &CheckOptions) -> Vec<Fault> {
    let header = btf.header();
    let mut faults = Vec::new();
    let mut fault = |rule| faults.push(Fault { id: None, rule });
    if header.flags != 0 {
        fault(Rule::Flags(header.flags));
    }
    let known = if options.layout { HEADER_LEN_LAYOUT } else { crate::HEADER_LEN };
    let unknown = btf.data().get(known as usize..header.hdr_len as usize).unwrap_or(&[]);
    if unknown.iter().any(|&byte| byte != 0) {
        fault(Rule::HeaderFields);
    }
    if options.program && btf.data().len() > MAX_SIZE {
        fault(Rule::BlobSize(btf.data().len()));
    }
    if btf.base().is_none() && btf.is_empty() {
        fault(Rule::NoTypes);
    }
    if btf.string_section().len() > MAX_NAME_OFFSET as usize + 1 {
        fault(Rule::StringsSize(btf.string_section().len()));
    }
    if btf.last_id() > TypeId(MAX_TYPE) {
        fault(Rule::TypeCount(btf.last_id().0));
    }
    // The reader has put the parts in order; here they must also lie end to end.
    let mut parts = vec![(header.type_off, header.type_len)];
    if header.layout_len != 0 {
        parts.push((header.layout_off, header.layout_len));
    }
    parts.push((header.str_off, header.str_len));
    let mut end = u64::from(header.hdr_len);
    for (off, len) in parts {
        let start = u64::from(header.hdr_len) + u64::from(off);
        if start != end {
            fault(Rule::Gap(end));
        }
        end = start + u64::from(len);
    }
    if end != btf.data().len() as u64 {
        fault(Rule::Gap(end));
    }
    faults
}

#[cfg(test)]
mod tests;
