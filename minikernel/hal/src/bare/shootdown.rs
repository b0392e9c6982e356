//! Translations that other CPUs hold of pages that are no longer what they were.
//!
//! A CPU uses translations of user memory only while user code runs on it and while it copies from or to user memory: it says so by
//! `reaches_user`. One that does not need not be waited for: it is asked to forget, and does before it reaches user memory again. One
//! that does is interrupted, and waited for until it has stopped or forgotten. User code takes an interrupt at once and a copy
//! takes no lock, so the wait ends whatever locks the waiting CPU holds; and when it ends no CPU can write to the pages any more.
//! Between a CPU's mark and its look at what it was asked, and between the asking and the look at the mark, there is an operation that is
//! ordered before all that follows: one of the two sees the other.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{apic, percpu::PerCpu, processors, registers::set_cr3};
use crate::irq::KICK_VECTOR;

static SEVERAL: AtomicBool = AtomicBool::new(false);

/// From now on there is more than one CPU. Called before the second has entered an address space.
pub(super) fn several() {
    SEVERAL.store(true, Ordering::SeqCst);
}

/// Whether there is more than one CPU.
#[inline]
pub(super) fn several_run() -> bool {
    SEVERAL.load(Ordering::Relaxed)
}

/// This CPU is about to reach user memory.
#[inline]
pub(super) fn begin(cpu: &PerCpu) {
    if several_run() {
        begin_among_others(cpu);
    }
}

#[inline(never)]
fn begin_among_others(cpu: &PerCpu) {
    let shared = &cpu.shared;
    shared.reaches_user.swap(true, Ordering::SeqCst);
    let asked = shared.asked.load(Ordering::SeqCst);
    if shared.done.load(Ordering::Relaxed) != asked {
        // SAFETY: the same address space again.
        unsafe { set_cr3(cpu.root.get().as_u64()) };
        shared.done.store(asked, Ordering::Release);
    }
}

/// It does not reach user memory any more.
#[inline]
pub(super) fn end(cpu: &PerCpu) {
    cpu.shared.reaches_user.store(false, Ordering::Release);
}

/// Has these CPUs, a bit each, forget all translations of user memory; returns when none can use an old one.
#[cold]
pub(super) fn ask(cpus: u64) {
    let mut tickets = [0; processors::MOST];
    for (cpu, ticket) in chosen(cpus).zip(&mut tickets) {
        let shared = &cpu.shared;
        *ticket = shared.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if shared.reaches_user.load(Ordering::SeqCst) {
            apic::interrupt(shared.apic_id.load(Ordering::Relaxed), KICK_VECTOR);
        }
    }
    for (cpu, ticket) in chosen(cpus).zip(tickets) {
        let shared = &cpu.shared;
        while shared.reaches_user.load(Ordering::Acquire) && shared.done.load(Ordering::Acquire) < ticket {
            core::hint::spin_loop();
        }
    }
}

/// Has all other CPUs that reach user memory stop or forget: a barrier for what runs on them.
pub(crate) fn synchronize_cpus() {
    if several_run() {
        ask(!(1 << PerCpu::get().index));
    }
}

fn chosen(cpus: u64) -> impl Iterator<Item = &'static PerCpu> {
    (0..processors::MOST).filter(move |index| cpus >> index & 1 == 1).filter_map(processors::cpu)
}
