//! How memory is taken from the system.
//!
//! Why: glibc's heaps of threads grow by 128 KiB, each time by a system call that all threads wait for, and what is free
//! at their end is given back and taken again. Making BTF of a kernel on two threads spent a tenth of its time so: 1,100
//! calls of mprotect, 0.70 s of wall time instead of 0.61 s, at the same peak.
//!
//! And each page of memory is a fault of the processor when it is first touched; on a virtual machine perhaps one of its
//! host too. A link touches half a gigabyte. Where the system has huge pages for who asks, glibc asks if it is told so by
//! the environment, and by nothing else. So a link starts its own program again, once ([`ask_for_huge_pages`]).
//!
//! Source of facts: glibc 2.36, malloc/arena.c (`new_heap`, `grow_heap`), malloc/malloc.c (`madvise_thp`), elf/dl-tunables.list;
//! mallopt(3), madvise(2).

#[cfg(target_env = "gnu")]
use std::sync::atomic::{AtomicBool, Ordering};

/// musl's allocator has one lock for all threads, so a static program brings another.
#[cfg(target_env = "musl")]
pub use mimalloc::MiMalloc as Allocator;
#[cfg(not(target_env = "musl"))]
pub use std::alloc::System as Allocator;

/// The variable of the environment, and what it says.
#[cfg(target_env = "gnu")]
const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");

/// Whether this is the program that was started again.
#[cfg(target_env = "gnu")]
static ASKED: AtomicBool = AtomicBool::new(false);

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
    if std::env::var(TUNABLES.0).is_ok_and(|said| said == TUNABLES.1) {
        ASKED.store(true, Ordering::Relaxed);
        // SAFETY: as above. It was for this process, not for those that it starts.
        unsafe { std::env::remove_var(TUNABLES.0) };
    }
}

/// Starts this program again, in this process, if that gives it huge pages; what the user has told glibc stays as it is.
#[cfg(target_env = "gnu")]
pub fn ask_for_huge_pages() {
    use std::os::unix::process::CommandExt;

    let modes = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let for_who_asks = modes.is_ok_and(|modes| modes.contains("[madvise]"));
    if ASKED.load(Ordering::Relaxed) || std::env::var_os(TUNABLES.0).is_some() || !for_who_asks {
        return;
    }
    let mut args = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), args.next()) {
        let mut again = std::process::Command::new(program);
        // It returns only if that cannot be; then it is done with small pages.
        let _ = again.arg0(name).args(args).env(TUNABLES.0, TUNABLES.1).exec();
    }
}

/// Other C libraries have nothing to be told.
#[cfg(not(target_env = "gnu"))]
pub fn grow_in_large_steps() {}

/// Nor anything to ask for.
#[cfg(not(target_env = "gnu"))]
pub fn ask_for_huge_pages() {}
