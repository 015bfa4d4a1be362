//! The dump as a C header: `vmlinux.h`.
//!
//! What: definitions in an order that a C compiler accepts, with forward declarations where types point
//! at each other, duplicated names told apart by `___2`, and padding where a structure has holes that
//! the compiler would not make by itself. The same text as `bpftool btf dump file FILE format c`
//! (compared in tests/tests/btf.rs).
//!
//! How: each type is asked for in turn ([`sort`] gives the order of bpftool). [`order`] queues it behind
//! all that must be complete before it; [`emit`] writes the queue, declaring forward what is only
//! pointed at; [`decl`] turns a chain of types into a declarator; [`layout`] knows sizes, alignments
//! and padding; [`names`] keeps names unique.
//!
//! Cost: linear in the blob for what compilers make. A hostile blob can nest without end or unfold
//! anonymous types exponentially, so the depth and the number of steps are bounded; beyond them the dump
//! is refused.
//!
//! Source of facts: tools/lib/bpf/btf_dump.c and tools/bpf/bpftool/btf.c of Linux 7.3.

mod decl;
mod emit;
mod kfuncs;
mod layout;
mod names;
mod order;
mod sort;

use crate::{Btf, Error, StrOff, Type, TypeId};
pub use layout::pointer_size;
use names::Names;

/// How deep types may nest; those of kernels stay below 50.
const MAX_DEPTH: u32 = 400;
/// Steps for each word of the type section; kernels need less than 2.
const STEPS_PER_WORD: u64 = 64;

/// What to write.
#[derive(Debug, Clone, Copy, Default)]
pub struct COptions<'a> {
    /// Only these types and what they need; all where it is empty.
    pub roots: &'a [TypeId],
    /// Size of a pointer in bytes: by the class of the ELF file. Without it, that of a `long` in the
    /// blob, else 8.
    pub pointer_size: Option<u32>,
    /// In the order of the ids instead of bpftool's, which depends less on how the blob was made.
    pub unsorted: bool,
}

/// Why there is no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// A reference or a name that does not exist.
    #[error(transparent)]
    Btf(#[from] Error),
    /// A type that contains itself.
    #[error("type {0} contains itself")]
    Cycle(TypeId),
    /// Types nested too deep.
    #[error("type {0} is nested more than {MAX_DEPTH} levels deep")]
    Depth(TypeId),
    /// Types that unfold without end.
    #[error("the types from {0} on unfold to more text than a C header can be")]
    Size(TypeId),
}

/// The header as text; names are copied as they stand.
///
/// # Errors
/// Types that cannot be written in C, or not in bounded time.
pub fn c_header(btf: &Btf<'_>, options: &COptions<'_>) -> Result<Vec<u8>, DumpError> {
    let mut dump = Dump::new(btf, options.pointer_size);
    dump.mark_referenced();
    dump.text(PROLOGUE);
    if options.roots.is_empty() {
        for id in sort::wanted(btf, options.unsorted)? {
            dump.define(id)?;
        }
        dump.kfuncs()?;
    } else {
        for &id in options.roots {
            dump.define(id)?;
        }
    }
    dump.text(EPILOGUE);
    Ok(dump.out)
}

/// PARITY: bpftool's own lines around the types (raw_and_c_dumps_of_kernels_are_bpftools).
const PROLOGUE: &str = "\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

#ifndef __ksym
#define __ksym __attribute__((section(\".ksyms\")))
#endif

#ifndef __weak
#define __weak __attribute__((weak))
#endif

#ifndef __bpf_fastcall
#if __has_attribute(bpf_fastcall)
#define __bpf_fastcall __attribute__((bpf_fastcall))
#else
#define __bpf_fastcall
#endif
#endif

";

/// PARITY: as [`PROLOGUE`].
const EPILOGUE: &str = "\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
";

/// How far a type has come on its way into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ordered {
    No,
    InWork,
    Yes,
}

/// How far a type has come on its way into the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emitted {
    No,
    InWork,
    Yes,
}

#[derive(Debug, Clone, Copy)]
struct State {
    ordered: Ordered,
    emitted: Emitted,
    /// A forward declaration of it stands in the text; of a typedef, its definition.
    declared: bool,
    /// Another type refers to it, so an anonymous enumeration is written there.
    referenced: bool,
}

/// A header in the making.
struct Dump<'d> {
    btf: &'d Btf<'d>,
    pointer_size: u32,
    out: Vec<u8>,
    /// By id.
    states: Vec<State>,
    queue: Vec<TypeId>,
    names: Names<'d>,
    /// Alignments in bytes that are known, by id.
    aligns: Vec<Option<u32>>,
    steps: u64,
}

impl<'d> Dump<'d> {
    fn new(btf: &'d Btf<'d>, pointer_size: Option<u32>) -> Self {
        let count = btf.last_id().0 as usize + 1;
        let fresh = State {
            ordered: Ordered::No,
            emitted: Emitted::No,
            declared: false,
            referenced: false,
        };
        let mut states = vec![fresh; count];
        states[0] = State { ordered: Ordered::Yes, emitted: Emitted::Yes, ..fresh };
        let base = btf.base().map_or(0, |base| base.type_section().len());
        let words = (btf.type_section().len() + base) as u64 / 4;
        Dump {
            btf,
            pointer_size: pointer_size.unwrap_or_else(|| layout::pointer_size(btf)),
            out: Vec::with_capacity(btf.type_section().len()),
            states,
            queue: Vec::new(),
            names: Names::new(count),
            aligns: vec![None; count],
            steps: 10_000 + words * STEPS_PER_WORD,
        }
    }

    /// Writes a type and all that it needs.
    fn define(&mut self, id: TypeId) -> Result<(), DumpError> {
        self.queue.clear();
        self.order(id, false, 0)?;
        let queue = std::mem::take(&mut self.queue);
        for &id in &queue {
            self.emit(id, TypeId::VOID, 0)?;
        }
        self.queue = queue;
        Ok(())
    }

    /// Counts a step at `depth`; an error where a blob is too deep or unfolds too far.
    fn step(&mut self, id: TypeId, depth: u32) -> Result<(), DumpError> {
        self.steps = self.steps.checked_sub(1).ok_or(DumpError::Size(id))?;
        if depth > MAX_DEPTH { Err(DumpError::Depth(id)) } else { Ok(()) }
    }

    fn ty(&self, id: TypeId) -> Result<Type<'d>, DumpError> {
        Ok(self.btf.ty(id)?)
    }

    fn state(&mut self, id: TypeId) -> Result<&mut State, DumpError> {
        let last = self.btf.last_id();
        let missing = crate::Cause::NoType { id, last };
        self.states.get_mut(id.0 as usize).ok_or(DumpError::Btf(Error::at(0, missing)))
    }

    fn name(&self, off: StrOff) -> Result<&'d [u8], DumpError> {
        Ok(self.btf.name(off)?)
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A new line with `level` tabs.
    fn line(&mut self, level: usize) {
        self.out.push(b'\n');
        self.indent(level);
    }

    fn indent(&mut self, level: usize) {
        // PARITY: libbpf indents by 13 tabs at most (limits_are_bpftools).
        self.out.extend(std::iter::repeat_n(b'\t', level.min(13)));
    }
}

#[cfg(test)]
mod tests;
