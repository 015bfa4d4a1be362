//! How memory is taken from the system.
//!
//! Why: glibc's heaps of threads grow by 128 KiB, each time by a system call that all threads wait for, and what is free
//! at their end is given back and taken again. Making BTF of a kernel on two threads spent a tenth of its time so: 1,100
//! calls of mprotect, 0.70 s of wall time instead of 0.61 s, at the same peak.
//!
//! Source of facts: glibc 2.36, malloc/arena.c (`new_heap`, `grow_heap`); mallopt(3).

/// musl's allocator has one lock for all threads, so a static program brings another.
#[cfg(target_env = "musl")]
pub use mimalloc::MiMalloc as Allocator;
#[cfg(not(target_env = "musl"))]
pub use std::alloc::System as Allocator;

/// Lets heaps be as large as they may become, and keep what they have. What is not touched costs nothing.
#[cfg(target_env = "gnu")]
pub fn grow_in_large_steps() {
    /// Size of a heap of a thread (`HEAP_MAX_SIZE` of 64-bit systems), in bytes.
    const HEAP: libc::c_int = 64 << 20;
    // SAFETY: called before there are other threads. A value that is not taken changes nothing.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, HEAP);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}

/// Other C libraries have nothing to be told.
#[cfg(not(target_env = "gnu"))]
pub fn grow_in_large_steps() {}
