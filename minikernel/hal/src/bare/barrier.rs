//! The order of memory accesses as devices see it.

use core::arch::asm;
use core::sync::atomic::{Ordering, fence};

use super::processors::cpu_count;
use super::time::hypervisor;

/// Orders every access before it against every access after it, writes before reads included.
///
/// QEMU before 8.1, where it emulates one processor, leaves out the barriers of the guest's fences, although its devices run in threads of their own
/// (its change "tcg: Do not elide memory barriers for `!CF_PARALLEL` in system mode"): a device and its driver could each miss that the other waits for
/// a notification, for good. Reading the time-stamp counter takes a lock there (`cpu_get_ticks`), which is a barrier of the host's. So does forgetting a
/// translation, but with that of an address QEMU forgets where its code for dozens of others is.
pub(crate) fn full_fence() {
    fence(Ordering::SeqCst);
    if cpu_count() == 1 && hypervisor().is(b"TCGTCGTCGTCG") {
        // For all that the compiler knows it uses memory, so that no access moves across it.
        // SAFETY: it reads a counter.
        unsafe { asm!("rdtsc", out("eax") _, out("edx") _, options(nostack, preserves_flags)) };
    }
}
