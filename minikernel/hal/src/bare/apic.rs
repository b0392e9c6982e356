//! The local APIC of this CPU (SDM volume 3, chapter 11): interrupts in, and the end of each out.
//!
//! The old interrupt controller is cut off by masking LINT0, through which alone it reaches the CPU; its ports need
//! not be touched.

use core::{
    arch::asm,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    direct::MmioWindow,
    percpu::PerCpu,
    registers::{rdmsr, wrmsr},
};
use crate::{
    PhysAddr, PhysRange,
    cpu::{cpuid, features},
    irq::SPURIOUS_VECTOR,
    sync::Once,
};

/// `IA32_APIC_BASE`: address, bit 11 = enabled, bit 10 = registers are MSRs.
const APIC_BASE: u32 = 0x1b;
const ENABLED: u64 = 1 << 11;
const X2APIC: u64 = 1 << 10;
/// MSR of register 0.
const FIRST_MSR: u32 = 0x800;

/// Registers by number: a sixteenth of the offset in memory.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Register {
    EndOfInterrupt = 0x0b,
    Spurious = 0x0f,
    Command = 0x30,
    Destination = 0x31,
    Timer = 0x32,
    Lint0 = 0x35,
    InitialCount = 0x38,
    CurrentCount = 0x39,
    Divide = 0x3e,
}

/// In the command register: an interrupt is still on its way out.
const SENDING: u32 = 1 << 12;
/// Commands (SDM volume 3, section 11.6.1): to all CPUs but this one, resets them, which then wait for the page to start at.
const RESET_OTHERS: u32 = 3 << 18 | 1 << 14 | 5 << 8;
const START_OTHERS: u32 = 3 << 18 | 1 << 14 | 6 << 8;
/// To one CPU, a vector.
const FIXED: u32 = 1 << 14;

/// Bit of the entries of the local vector table.
pub(super) const MASKED: u32 = 1 << 16;

/// The registers in memory; unset where they are MSRs.
static WINDOW: Once<MmioWindow> = Once::new();
static X2: AtomicBool = AtomicBool::new(false);

/// Switches the local APIC on, with every source masked.
///
/// # Safety
/// Called once on each CPU, with the direct map ready to give frames.
pub(super) unsafe fn install() {
    // SAFETY: every processor with 64-bit mode has the register, and x2APIC mode where CPUID says so.
    unsafe {
        let base = rdmsr(APIC_BASE);
        if features().x2apic {
            // One step at a time: from off to the registers in memory, from there to MSRs (SDM figure 11-27).
            if base & ENABLED == 0 {
                wrmsr(APIC_BASE, base | ENABLED);
            }
            wrmsr(APIC_BASE, base | ENABLED | X2APIC);
            X2.store(true, Ordering::Relaxed);
        } else {
            // The boot CPU's place is every CPU's: each reaches its own there.
            if WINDOW.get().is_none() {
                let at = PhysAddr::new(base & 0x000f_ffff_ffff_f000);
                let window =
                    MmioWindow::open(PhysRange::new(at, 4096)).expect("the first windows need no frame");
                let _ = WINDOW.set(window);
            }
        }
    }
    write(Register::Lint0, MASKED);
    write(Register::Spurious, 1 << 8 | u32::from(SPURIOUS_VECTOR));
    PerCpu::get().shared.apic_id.store(apic_id(), Ordering::Relaxed);
}

/// Writes a register.
#[inline]
pub(super) fn write(register: Register, value: u32) {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: the register exists, and none of these writes reaches memory.
        unsafe { wrmsr(FIRST_MSR + register as u32, u64::from(value)) };
    } else if let Some(window) = WINDOW.get() {
        window.write(register as usize * 16, value);
    }
}

/// Reads a register.
pub(super) fn read(register: Register) -> u32 {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: the register exists.
        unsafe { rdmsr(FIRST_MSR + register as u32) as u32 }
    } else {
        WINDOW.get().map_or(0, |window| window.read(register as usize * 16))
    }
}

/// This CPU's number in interrupt messages, which hold 8 bits of it.
pub(crate) fn apic_id() -> u32 {
    cpuid(1).ebx >> 24
}

/// Interrupts the CPU with this identifier.
pub(super) fn interrupt(apic_id: u32, vector: u8) {
    command(apic_id, FIXED | u32::from(vector));
}

/// Resets all other CPUs, which then wait.
pub(super) fn reset_others() {
    command(0, RESET_OTHERS);
}

/// Lets all other CPUs that wait since their reset start, in real mode at the page `page`, below 1 MiB.
pub(super) fn start_others(page: u8) {
    command(0, START_OTHERS | u32::from(page));
}

fn command(apic_id: u32, command: u32) {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: the register exists. What was written before is seen before the interrupt: the write to this register alone
        // does not wait for it (SDM volume 3, section 11.12.3).
        unsafe {
            core::arch::x86_64::_mm_mfence();
            core::arch::x86_64::_mm_lfence();
            wrmsr(FIRST_MSR + Register::Command as u32, u64::from(apic_id) << 32 | u64::from(command));
        }
        return;
    }
    while read(Register::Command) & SENDING != 0 {
        core::hint::spin_loop();
    }
    write(Register::Destination, apic_id << 24);
    write(Register::Command, command);
}

/// The interrupt has been handled.
pub(crate) fn end_of_interrupt() {
    write(Register::EndOfInterrupt, 0);
}

/// Sleeps until an interrupt comes.
pub(crate) fn wait_for_interrupt() -> Option<u8> {
    // SAFETY: `sti` takes effect after the next instruction, so an interrupt that came before ends the sleep. Its gate
    // notes the vector and returns with interrupts off; something else may end the sleep too, so they are
    // switched off once more.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
    take_pending()
}

/// Takes an interrupt that waits, if one does.
pub(crate) fn pending_interrupt() -> Option<u8> {
    // SAFETY: as above; interrupts are on for the one instruction between.
    unsafe { asm!("sti", "nop", "cli", options(nostack)) };
    take_pending()
}

fn take_pending() -> Option<u8> {
    let vector = PerCpu::get().pending.replace(0);
    (vector != 0).then_some(vector as u8)
}
