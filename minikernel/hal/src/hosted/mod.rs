//! The machine as a process on Linux plays it, for tests of this crate and of those above.
//!
//! RAM is an arena whose pages the host gives lazily. Page tables are real ones in that arena, walked in software.
//! Time is the host's. What a test wants of ports, registers, interrupts and user code, it installs for its own
//! thread with the functions here.
#![expect(clippy::unnecessary_wraps, reason = "the bare machine can lack what the host always has")]

mod devices;
mod heap;
#[cfg(loom)]
mod models;
mod ram;
mod user;

pub use devices::{MmioDevice, PortBus, attach_mmio, raise, set_ports};
pub use heap::{Exhausted, exhaust};
pub use ram::load_module;
pub use ram::write_physical;
pub use user::{active_translation, set_user};

#[cfg(not(loom))]
pub(crate) use devices::wait_for_interrupt;
pub(crate) use devices::{
    MmioWindow, configure_ioapics, end_of_interrupt, pending_interrupt, port_read, port_write, route_gsi,
};
pub(crate) use heap::is_exhausted;
#[cfg(test)]
pub(crate) use ram::test_range;
pub(crate) use ram::{direct, direct_to_phys, heap_address, loaded, map_direct, memory_spans, read_firmware};
pub(crate) use user::{
    copy_from_user, copy_to_user, flush, fpu_forget, fpu_layout, fpu_release, fpu_sync, leave_tables,
    load_tables, others_use, prepare_breakpoints, run_user, share_kernel_half, user_cmpxchg_u32,
    user_load_u32, user_store_u32,
};

use core::cell::Cell;
use core::sync::atomic::{Ordering, fence};
use std::{
    eprint, process,
    sync::OnceLock,
    thread_local,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    clock::{Rate, Reference},
    memory::OutOfMemory,
};

#[cfg(not(loom))]
pub(crate) fn cpu_id() -> usize {
    0
}

#[cfg(loom)]
pub(crate) use models::{become_cpu, cpu_id, interrupt_cpu, wait_for_interrupt};

pub(crate) fn cpu_count() -> usize {
    1
}

/// There are none but the one that runs the test.
#[cfg(not(loom))]
pub(crate) fn interrupt_cpu(_index: usize) {}

pub(crate) fn start_cpus(_count: usize, _main: fn() -> !) -> Result<(), OutOfMemory> {
    Ok(())
}

pub(crate) fn call_cpus() {}

pub(crate) fn synchronize_cpus() {}

pub(crate) fn full_fence() {
    fence(Ordering::SeqCst);
}

pub(crate) fn firmware_cpus() -> Option<usize> {
    None
}

pub(crate) fn apic_id() -> u32 {
    0
}

pub(crate) fn hardware_random() -> Option<u64> {
    use core::hash::{BuildHasher, Hasher};
    // The seeds of the standard library's hash maps come from the host.
    Some(std::hash::RandomState::new().build_hasher().finish())
}

pub(crate) fn tsc() -> u64 {
    monotonic_ns()
}

pub(crate) fn rough_tsc() -> u64 {
    tsc()
}

pub(crate) fn monotonic_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

pub(crate) fn wall_clock_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

pub(crate) fn rate() -> Option<Rate> {
    Some(Rate::new(0, 0, 1_000_000_000))
}

pub(crate) fn offer_reference(_reference: Reference) {}

thread_local! {
    static DEADLINE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The deadline that this thread armed last, in nanoseconds.
pub fn armed_deadline() -> Option<u64> {
    DEADLINE.get()
}

pub(crate) fn arm_timer(deadline_ns: u64) {
    DEADLINE.set(Some(deadline_ns));
}

pub(crate) fn disarm_timer() {
    DEADLINE.set(None);
}

pub(crate) fn timer_fired() {
    DEADLINE.set(None);
}

pub(crate) fn serial_write(bytes: &[u8]) {
    eprint!("{}", std::string::String::from_utf8_lossy(bytes));
}

pub(crate) fn power_off(status: u8, _exit_port: Option<u16>, _acpi: impl FnOnce()) -> ! {
    process::exit(i32::from(status))
}
