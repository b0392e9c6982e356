//! Which address space the CPU is in.

use core::{
    arch::asm,
    ops::Range,
    sync::atomic::{Ordering, fence},
};

use super::{direct::kernel_root, percpu::PerCpu, registers::set_cr3, shootdown};
use crate::{PAGE_SIZE, paging::ActiveTables};

/// From so many pages on, forgetting all translations is cheaper than forgetting each.
const FLUSH_ALL: usize = 32;

/// Makes `tables` the active address space.
#[inline]
pub(crate) fn load_tables(tables: &ActiveTables) {
    let cpu = PerCpu::get();
    if cpu.root.get() != tables.root() {
        switch(cpu, Some(ActiveTables::clone(tables)));
    }
}

/// Leaves `tables` if they are active, since their owner goes.
pub(crate) fn leave_tables(tables: &ActiveTables) {
    let cpu = PerCpu::get();
    if cpu.root.get() == tables.root() {
        switch(cpu, None);
    }
}

/// Changes to `next`, or to the kernel's half alone.
fn switch(cpu: &PerCpu, next: Option<ActiveTables>) {
    let bit = 1 << cpu.index;
    let root = next.as_ref().map_or_else(kernel_root, |next| {
        // Before the first walk: whoever changes an entry after that must know of this CPU.
        next.cpus.fetch_or(bit, Ordering::SeqCst);
        next.root()
    });
    // SAFETY: a root has the kernel's half, and the tables below live as long as `active` holds them.
    let before = unsafe {
        set_cr3(root.as_u64());
        core::mem::replace(&mut *cpu.active.get(), next)
    };
    cpu.root.set(root);
    if let Some(before) = before {
        before.cpus.fetch_and(!bit, Ordering::SeqCst);
    }
}

/// Whether other CPUs may hold what they found in these tables.
pub(crate) fn others_use(tables: &ActiveTables) -> bool {
    others(PerCpu::get(), tables) != 0
}

/// The other CPUs that are in this address space, a bit each. What was written to the tables before is seen by those that come later.
fn others(cpu: &PerCpu, tables: &ActiveTables) -> u64 {
    if !shootdown::several_run() {
        return 0;
    }
    fence(Ordering::SeqCst);
    tables.cpus.load(Ordering::SeqCst) & !(1 << cpu.index)
}

/// Has every CPU forget what it knows of `range` in `tables`.
pub(crate) fn flush(tables: &ActiveTables, range: Range<usize>) {
    let cpu = PerCpu::get();
    let others = others(cpu, tables);
    if others != 0 {
        shootdown::ask(others);
    }
    // An address space that is not active has no translations: changing CR3 drops all but the kernel's global ones.
    if cpu.root.get() != tables.root() {
        return;
    }
    if range.len() / PAGE_SIZE > FLUSH_ALL {
        // SAFETY: the same address space again.
        unsafe { set_cr3(tables.root().as_u64()) };
        return;
    }
    for page in range.step_by(PAGE_SIZE) {
        // SAFETY: forgetting a translation is always right.
        unsafe { asm!("invlpg [{}]", in(reg) page, options(nostack, preserves_flags)) };
    }
}
