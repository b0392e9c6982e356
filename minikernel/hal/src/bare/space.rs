//! Which address space the CPU is in.

use core::{arch::asm, ops::Range};

use super::{direct::kernel_root, percpu::PerCpu, registers::set_cr3};
use crate::{PAGE_SIZE, PhysAddr};

/// From so many pages on, forgetting all translations is cheaper than forgetting each.
const FLUSH_ALL: usize = 32;

/// Makes `root` the active address space.
#[inline]
pub(crate) fn load_root(root: PhysAddr) {
    let cpu = PerCpu::get();
    if cpu.root.get() != root {
        // SAFETY: a root has the kernel's half, and its user half is alive as long as it is active: its owner leaves
        // it when it is dropped.
        unsafe { set_cr3(root.as_u64()) };
        cpu.root.set(root);
    }
}

/// Leaves `root` if it is active, since it is about to go.
pub(crate) fn leave_root(root: PhysAddr) {
    if PerCpu::get().root.get() == root {
        load_root(kernel_root());
    }
}

/// Forgets what the CPU knows of `range` in `root`.
pub(crate) fn flush(root: PhysAddr, range: Range<usize>) {
    // An address space that is not active has no translations: changing CR3 drops all but the kernel's global ones.
    if PerCpu::get().root.get() != root {
        return;
    }
    if range.len() / PAGE_SIZE > FLUSH_ALL {
        // SAFETY: the same address space again.
        unsafe { set_cr3(root.as_u64()) };
        return;
    }
    for page in range.step_by(PAGE_SIZE) {
        // SAFETY: forgetting a translation is always right.
        unsafe { asm!("invlpg [{}]", in(reg) page, options(nostack, preserves_flags)) };
    }
}
