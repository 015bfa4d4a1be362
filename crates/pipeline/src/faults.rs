//! Faults that end the process where they happen: no memory, and a mapped file that was cut off.
//!
//! What: both come in the middle of a computation that cannot pass them up as an error. The process ends with one line
//! that names the step and the cause, as after any other fault; before that its children are ended, what could be
//! taken for a result is removed, and make gets its tokens back.
//!
//! Why: without this a failed allocation aborts without saying in which step, and a file that gets shorter while it is
//! mapped kills the process with SIGBUS and not a word.
//!
//! Cost: a comparison with zero for each allocation, and 64 MiB of addresses that are never touched.
//!
//! Source of facts: mmap(2), sigaction(2), proc(5) on `maps`.

use std::alloc::{GlobalAlloc, Layout};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use memmap2::MmapMut;
use rustix::thread::gettid;

use crate::error::{Error, Result};
use crate::{jobs, process};

/// Bytes of addresses that are given back when there are no others, to end in good order; what an allocator asks the
/// system for at once.
const RESERVE: usize = 64 << 20;

/// How many bytes are worth telling when they are not to be had.
const LARGE: usize = 1 << 20;

/// What is said of a file that ends before its end.
pub const CUT_OFF: &str = "it was cut off while it was read";

static RESERVED: Mutex<Option<MmapMut>> = Mutex::new(None);

/// The step that is being done, as in an error; empty before the first.
static STEP: Mutex<String> = Mutex::new(String::new());

/// Files and directories that must not be left if the process ends now.
static DOOMED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The thread that ends the process; 0 as long as none does.
static ENDING: AtomicI32 = AtomicI32::new(0);

/// Whether the line has been written.
static TOLD: AtomicBool = AtomicBool::new(false);

/// An allocator that ends the process with a clear line when memory runs out.
///
/// A program makes it its `#[global_allocator]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heap<A>(pub A);

// SAFETY: every call is passed on as it is to an allocator.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Heap<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the allocator asks for.
        granted(unsafe { self.0.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        granted(unsafe { self.0.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        granted(unsafe { self.0.realloc(ptr, layout, size) }, size)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(ptr, layout) }
    }
}

#[inline]
fn granted(ptr: *mut u8, size: usize) -> *mut u8 {
    if ptr.is_null() {
        out_of_memory(size)
    }
    ptr
}

#[cold]
fn out_of_memory(size: usize) -> ! {
    begin_to_end();
    drop(without_waiting(&RESERVED).and_then(|mut reserved| reserved.take()));
    match size {
        ..LARGE => end(format_args!("out of memory")),
        _ => end(format_args!("out of memory: {size} bytes more are not to be had")),
    }
}

/// Watches for mapped files that are cut off, and keeps some memory for [`Heap`] to end with.
///
/// # Errors
/// The handler cannot be installed.
pub fn watch_faults() -> Result<()> {
    // Where that much is not to be had, it will not be long until its end.
    *RESERVED.lock().unwrap_or_else(PoisonError::into_inner) = MmapMut::map_anon(RESERVE).ok();
    // SAFETY: a sigaction of zeros is a valid one, with the default action.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_bus_error as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for.
    match unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(Error::new(format!("cannot watch for SIGBUS: {}", io::Error::last_os_error()))),
    }
}

/// The handler of SIGBUS.
///
/// Where a mapped file could not be read, the thread stands in code of ours that looks at a map. It holds no lock of
/// the allocator or of standard error there, so this may do what that code might have done. In all other cases
/// the signal gets its usual way.
extern "C" fn on_bus_error(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the system passes a valid siginfo_t to a handler with SA_SIGINFO.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as u64) };
    if code > 0
        && let Some((file, offset)) = mapped_at(address)
    {
        begin_to_end();
        let file = Path::new(&file);
        let cut_off = fs::metadata(file).map_or(true, |meta| meta.len() <= offset);
        let cause = if cut_off { CUT_OFF } else { "cannot be read" };
        end(format_args!("{}: {cause}", file.display()));
    }
    // SAFETY: SIG_DFL is always valid; the instruction, or the signal, then ends the process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// The file that is mapped at an address, and which of its bytes is there.
fn mapped_at(address: u64) -> Option<(String, u64)> {
    let maps = fs::read("/proc/self/maps").ok()?;
    String::from_utf8_lossy(&maps).lines().find_map(|line| in_line(line, address))
}

/// The same for one line: `START-END MODE OFFSET DEVICE INODE FILE`.
fn in_line(line: &str, address: u64) -> Option<(String, u64)> {
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let (start, end) = (number(start)?, number(end)?);
    let offset = number(words.nth(1)?)?;
    let file = words.nth(2)?.trim_start();
    let here = (start..end).contains(&address) && file.starts_with('/');
    here.then(|| (file.to_string(), offset + (address - start)))
}

/// Says which step is being done.
pub(crate) fn in_step(name: &str) {
    let mut step = STEP.lock().unwrap_or_else(PoisonError::into_inner);
    step.clear();
    step.push_str(name);
}

/// A file or directory that is removed should the process end before this is dropped.
#[derive(Debug)]
pub(crate) struct Doomed(PathBuf);

impl Doomed {
    pub(crate) fn new(path: PathBuf) -> Self {
        DOOMED.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        Doomed(path)
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let mut doomed = DOOMED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = doomed.iter().position(|path| *path == self.0) {
            doomed.swap_remove(at);
        }
    }
}

/// Makes this thread the one that ends the process; another that meets a fault too waits for that.
fn begin_to_end() {
    let own = gettid().as_raw_nonzero().get();
    match ENDING.compare_exchange(0, own, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {}
        Err(ending) if ending == own => {
            // There was no memory even for the end.
            if !TOLD.load(Ordering::SeqCst) {
                say(b"vmlinker: out of memory\n");
            }
            signal_hook::low_level::exit(1);
        }
        Err(_) => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
    }
}

/// Ends the process.
fn end(cause: std::fmt::Arguments<'_>) -> ! {
    process::end_children();
    let step = without_waiting(&STEP);
    let line = match step.as_deref().map(String::as_str) {
        None | Some("") => format!("vmlinker: {cause}\n"),
        Some(step) => format!("vmlinker: {step}: {cause}\n"),
    };
    say(line.as_bytes());
    TOLD.store(true, Ordering::SeqCst);
    for path in without_waiting(&DOOMED).as_deref().into_iter().flatten() {
        // Most are files, and some may not be there.
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    }
    jobs::give_back();
    signal_hook::low_level::exit(1)
}

/// A thread that met a fault may hold a lock itself.
fn without_waiting<T>(mutex: &'static Mutex<T>) -> Option<MutexGuard<'static, T>> {
    match mutex.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Writes to standard error past its lock.
fn say(line: &[u8]) {
    let _ = rustix::io::write(rustix::stdio::stderr(), line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_gives_file_and_offset() {
        let line =
            "7f10a0000000-7f10a0100000 r--p 00200000 fe:00 1835                       /a b/c.o";
        assert_eq!(in_line(line, 0x7f10_a000_0010), Some(("/a b/c.o".to_string(), 0x20_0010)));
        assert_eq!(in_line(line, 0x7f10_a010_0000), None);
        let line =
            "7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]";
        assert_eq!(in_line(line, 0x7ffd_0000_0000), None);
        assert_eq!(in_line("7f00-7f10 rw-p 00000000 00:00 0 ", 0x7f00), None);
        assert_eq!(in_line("", 0), None);
    }

    #[test]
    fn what_is_kept_is_doomed_no_more() {
        let path = PathBuf::from("/no/such/file/of/this/test");
        let listed = || DOOMED.lock().unwrap().contains(&path);
        let doomed = Doomed::new(path.clone());
        assert!(listed());
        drop(doomed);
        assert!(!listed());
    }
}
