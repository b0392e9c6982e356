//! CPUs in models: threads of loom, which sleep until another one interrupts them.

use core::array::from_fn;
use core::cell::Cell;

use loom::sync::{Condvar, Mutex};

use crate::cpu::MOST;

loom::thread_local! {
    static CPU: Cell<usize> = Cell::new(0);
}

/// Whether an interrupt has come since the CPU last slept. It comes after all that was stored before it.
struct Interrupt {
    pending: Mutex<bool>,
    comes: Condvar,
}

loom::lazy_static! {
    static ref INTERRUPTS: [Interrupt; MOST] =
        from_fn(|_| Interrupt { pending: Mutex::new(false), comes: Condvar::new() });
}

pub(crate) fn cpu_id() -> usize {
    CPU.with(Cell::get)
}

pub(crate) fn become_cpu(id: usize) {
    CPU.with(|cpu| cpu.set(id));
}

pub(crate) fn interrupt_cpu(id: usize) {
    let interrupt = &INTERRUPTS[id];
    if let Ok(mut pending) = interrupt.pending.lock() {
        *pending = true;
        interrupt.comes.notify_one();
    }
}

/// Sleeps. Where nobody will ever interrupt it, loom finds that nothing goes on.
pub(crate) fn wait_for_interrupt() -> Option<u8> {
    let interrupt = &INTERRUPTS[cpu_id()];
    let mut pending = interrupt.pending.lock().ok()?;
    while !*pending {
        pending = interrupt.comes.wait(pending).ok()?;
    }
    *pending = false;
    None
}
