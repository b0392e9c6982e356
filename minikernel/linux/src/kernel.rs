//! What there is once: the tree of files, the random pool, the log, the machine's name.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_drivers::entropy::Random;
use isopod_fs::Errno;
use isopod_fs::pages::PageCache;
use isopod_fs::vfs::{Namespace, Path};
use isopod_hal::sync::{Once, SpinLock};

use crate::mm::{self, AddressSpace, FileBacking};

/// The Linux whose interface this is, for `uname(2)`.
pub const RELEASE: &str = "6.1.0-isopod";
/// `uname -v`
pub const VERSION: &str = concat!("#1 SMP Isopod ", env!("CARGO_PKG_VERSION"));

/// What the kernel's main function brings together for programs.
pub struct Kernel {
    /// The tree of files.
    pub namespace: Namespace,
    /// What was read of the root's disk; `None` for a root in memory.
    pub page_cache: Option<Arc<PageCache>>,
    /// The random numbers.
    pub random: Arc<Random>,
    /// Takes the kernel's own words: traces and fault reports.
    pub log: fn(&[u8]),
    /// The machine's name.
    pub hostname: Vec<u8>,
    /// What the boot loader passed.
    pub command_line: &'static [u8],
    /// Print each system call.
    pub trace: bool,
}

impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kernel").field("trace", &self.trace).finish_non_exhaustive()
    }
}

static KERNEL: Once<Kernel> = Once::new();
static HOSTNAME: SpinLock<Vec<u8>> = SpinLock::new(Vec::new());
static DOMAIN_NAME: SpinLock<Vec<u8>> = SpinLock::new(Vec::new());
static TRACING: AtomicBool = AtomicBool::new(false);
static WATCHING: AtomicBool = AtomicBool::new(false);

/// Puts everything in place; to be called once, before the first process starts.
pub fn install(kernel: Kernel) {
    HOSTNAME.lock().clone_from(&kernel.hostname);
    TRACING.store(kernel.trace, Ordering::Relaxed);
    WATCHING.store(kernel.trace, Ordering::Relaxed);
    KERNEL.get_or_init(|| kernel);
}

/// # Panics
///
/// Before [`install`]: programs run only after it.
fn kernel() -> &'static Kernel {
    KERNEL.get().expect("the kernel is installed before the first process starts")
}

/// The tree of files.
pub fn namespace() -> &'static Namespace {
    &kernel().namespace
}

/// The tree's root.
pub fn root() -> Path {
    namespace().root()
}

/// Gives back what can be had again: pages of files that nobody uses, and unused names; at most `want` of each. Returns how many.
pub fn shrink(want: usize) -> usize {
    let kernel = kernel();
    let pages = kernel.page_cache.as_ref().map_or(0, |cache| cache.shrink(want));
    pages + kernel.namespace.shrink(want)
}

/// Fills `bytes` with random bytes.
pub fn fill_random(bytes: &mut [u8]) {
    kernel().random.fill(bytes);
}

/// Mixes in bytes of a program's. They may be known to others, and make nothing worse.
pub fn stir_random(bytes: &[u8]) {
    kernel().random.add_public(bytes);
}

/// A random number.
pub fn random_u64() -> u64 {
    kernel().random.next_u64()
}

/// Prints words of the kernel's own.
pub fn log(text: &[u8]) {
    (kernel().log)(text);
}

/// True with `--trace`.
pub fn tracing() -> bool {
    TRACING.load(Ordering::Relaxed)
}

/// True once the calls of some thread are watched: printed, filtered or traced. It stays so.
#[inline]
pub fn watching() -> bool {
    WATCHING.load(Ordering::Relaxed)
}

/// Has all calls look at whether they are watched.
pub fn watch() {
    WATCHING.store(true, Ordering::Relaxed);
}

/// What the boot loader passed to the kernel.
pub fn command_line() -> &'static [u8] {
    kernel().command_line
}

/// The machine's name.
pub fn hostname() -> Vec<u8> {
    HOSTNAME.lock().clone()
}

/// Changes the machine's name.
pub fn set_hostname(name: &[u8]) {
    let name = name.to_vec();
    let old = core::mem::replace(&mut *HOSTNAME.lock(), name);
    drop(old);
}

/// The NIS domain name; `(none)` until it is set, as on Linux.
pub fn domain_name() -> Vec<u8> {
    let name = DOMAIN_NAME.lock();
    if name.is_empty() { b"(none)".to_vec() } else { name.clone() }
}

/// Changes the NIS domain name.
pub fn set_domain_name(name: &[u8]) {
    let name = name.to_vec();
    let old = core::mem::replace(&mut *DOMAIN_NAME.lock(), name);
    drop(old);
}

/// A nameless file of `length` bytes on tmpfs, for shared anonymous memory of `space`; all of it is promised if `reserved`.
pub fn shared_memory(space: &Arc<AddressSpace>, length: usize, reserved: bool) -> Result<FileBacking, Errno> {
    if reserved {
        mm::commit(length)?;
    }
    let file = crate::dev::memory_file(b"/dev/zero (deleted)", length as u64)?;
    let inode = Arc::clone(file.inode());
    FileBacking::new(space, file, inode, 0)
}
