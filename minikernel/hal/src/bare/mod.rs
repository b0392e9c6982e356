//! An x86-64 machine without an operating system.
//!
//! The way in: [`entry`] -> [`start`] -> the kernel's main function. The way to user code and back: [`enter`], and for
//! what interrupts it [`vectors`]. Memory: [`layout`], [`direct`], [`space`]. Time: [`time`], [`timer`].

mod apic;
mod barrier;
mod bytes;
mod debug;
mod direct;
mod enter;
mod entry;
mod fault;
mod fpu;
mod ioapic;
mod layout;
mod loader;
mod packed;
mod percpu;
mod power;
mod processors;
mod random;
mod registers;
mod segments;
mod serial;
mod shootdown;
mod space;
mod start;
mod time;
mod timer;
mod trampoline;
mod user_copy;
mod vectors;

pub(crate) use apic::{apic_id, end_of_interrupt, pending_interrupt, wait_for_interrupt};
pub(crate) use barrier::full_fence;
pub(crate) use debug::prepare_breakpoints;
pub(crate) use direct::{
    MmioWindow, direct, direct_to_phys, heap_address, map_direct, read_firmware, share_kernel_half,
};
pub(crate) use enter::run_user;
pub(crate) use fpu::{fpu_forget, fpu_layout, fpu_release, fpu_sync};
pub(crate) use ioapic::{configure_ioapics, route_gsi};
pub(crate) use loader::fw_cfg::cpus as firmware_cpus;
pub(crate) use power::off as power_off;
pub(crate) use processors::{call_cpus, cpu_count, cpu_id, interrupt_cpu, start_cpus};
pub(crate) use random::hardware_random;
pub(crate) use registers::{rough_tsc, tsc};
pub(crate) use serial::write as serial_write;
pub(crate) use shootdown::synchronize_cpus;
pub(crate) use space::{flush, leave_tables, load_tables, others_use};
pub(crate) use start::{loaded, memory_spans};
pub(crate) use time::{monotonic_ns, offer_reference, rate, wall_clock_ns};
pub(crate) use timer::{arm_timer, disarm_timer, timer_fired};
pub(crate) use user_copy::{copy_from_user, copy_to_user, user_cmpxchg_u32, user_load_u32, user_store_u32};

use core::arch::asm;

/// Reads an I/O port.
#[inline]
pub(crate) fn port_read(port: u16, width: u8) -> u32 {
    let value: u32;
    // SAFETY: reading a port reaches a device, not memory.
    unsafe {
        match width {
            1 => asm!("xor eax, eax", "in al, dx", in("dx") port, out("eax") value, options(nostack)),
            2 => asm!("xor eax, eax", "in ax, dx", in("dx") port, out("eax") value, options(nostack)),
            _ => asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags)),
        }
    }
    value
}

/// Writes an I/O port.
#[inline]
pub(crate) fn port_write(port: u16, width: u8, value: u32) {
    // SAFETY: writing a port reaches a device; devices reach only the memory that drivers give them.
    unsafe {
        match width {
            1 => asm!("out dx, al", in("dx") port, in("eax") value, options(nostack, preserves_flags)),
            2 => asm!("out dx, ax", in("dx") port, in("eax") value, options(nostack, preserves_flags)),
            _ => asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)),
        }
    }
}
