//! Interrupts. They are taken only while user code runs, where they end [`crate::user::UserContext::run`], and in
//! [`wait_for_interrupt`]; the handler then runs when the kernel calls [`dispatch`], as ordinary code.

use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::{PhysAddr, cpu, machine, sync::SpinLock, timer};

/// First vector for devices; the 32 below are exceptions, and the old interrupt controller's come next.
const FIRST: u8 = 0x30;
/// Vectors from here on are the kernel's own.
const END: u8 = 0xf0;
/// The timer of a CPU.
pub(crate) const TIMER_VECTOR: u8 = 0xf0;
/// From another CPU: there is something to do.
pub(crate) const KICK_VECTOR: u8 = 0xf1;
/// What the local APIC delivers when an interrupt went away before it was taken; needs no end-of-interrupt.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

type Handler = Box<dyn Fn() + Send + Sync>;

static HANDLERS: SpinLock<Handlers> =
    SpinLock::new(Handlers { used: 0, table: [const { None }; (END - FIRST) as usize] });

struct Handlers {
    used: u8,
    /// Leaked when a vector is allocated, since vectors are never given back; so a handler runs without the lock.
    table: [Option<&'static Handler>; (END - FIRST) as usize],
}

/// What interrupts, as it is counted: the timer, another CPU, and devices by their number, the last of which stands for all beyond.
pub const SOURCES: usize = 16;
/// The timer's number there.
pub const TIMER: usize = SOURCES - 2;
/// The number there of calls from other CPUs.
pub const CALL: usize = SOURCES - 1;

static COUNTS: [[AtomicU64; SOURCES]; cpu::MOST] =
    [const { [const { AtomicU64::new(0) }; SOURCES] }; cpu::MOST];

/// How often a source has interrupted a CPU.
pub fn count(cpu: usize, source: usize) -> u64 {
    COUNTS[cpu][source].load(Ordering::Relaxed)
}

/// A vector that belongs to a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vector(u8);

impl Vector {
    /// Its number, as in [`crate::user::Trap::Interrupt`].
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector({:#x})", self.0)
    }
}

/// What makes an input of an IOAPIC an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A change.
    Edge,
    /// A state: it interrupts until the device takes it back.
    Level,
}

/// Which state of the wire is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// A high one, the ISA bus's.
    High,
    /// A low one, PCI's.
    Low,
}

/// An IOAPIC, as ACPI's MADT describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApicInfo {
    /// Where its registers lie.
    pub address: PhysAddr,
    /// Global system interrupt of its first input.
    pub gsi_base: u32,
}

/// Why an interrupt could not be routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// No IOAPIC has this input.
    NoSuchInput,
    /// The IOAPIC's registers cannot be mapped.
    Unreachable,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchInput => "no IOAPIC has this input",
            Self::Unreachable => "the IOAPIC's registers cannot be mapped",
        })
    }
}

impl core::error::Error for RouteError {}

/// Takes a vector and names its handler, for good. `None` when all 192 are taken.
pub fn allocate_vector(handler: Box<dyn Fn() + Send + Sync>) -> Option<Vector> {
    let mut handlers = HANDLERS.lock();
    let index = handlers.used;
    let slot = handlers.table.get_mut(usize::from(index))?;
    *slot = Some(Box::leak(Box::new(handler)));
    handlers.used += 1;
    Some(Vector(FIRST + index))
}

/// Connects a global system interrupt to a vector, on this CPU.
pub fn route_gsi(gsi: u32, vector: Vector, trigger: Trigger, polarity: Polarity) -> Result<(), RouteError> {
    machine::route_gsi(gsi, vector.0, trigger, polarity)
}

/// Address and data with which a device signals the vector by MSI or MSI-X, to this CPU, edge-triggered
/// (SDM volume 3, section 11.11).
pub fn msi_message(vector: Vector) -> (u64, u32) {
    (0xfee0_0000 | u64::from(machine::apic_id()) << 12, u32::from(vector.0))
}

/// Tells which IOAPICs there are, before the first [`route_gsi`]. Without it, one at `0xfec0_0000` serves the interrupts
/// from 0 on.
pub fn configure_ioapics(ioapics: &[IoApicInfo]) {
    machine::configure_ioapics(ioapics);
}

/// Runs the handler of a vector that interrupted, and tells the local APIC that it is done.
pub fn dispatch(vector: u8) {
    let source = match vector {
        SPURIOUS_VECTOR => return,
        TIMER_VECTOR => TIMER,
        KICK_VECTOR => CALL,
        device => usize::from(device.wrapping_sub(FIRST)).min(TIMER - 1),
    };
    COUNTS[cpu::id()][source].fetch_add(1, Ordering::Relaxed);
    let index = usize::from(vector.wrapping_sub(FIRST));
    let handler = HANDLERS.lock().table.get(index).copied().flatten();
    if vector == TIMER_VECTOR {
        timer::fired();
    } else if let Some(handler) = handler {
        handler();
    }
    machine::end_of_interrupt();
}

/// Sleeps until an interrupt comes; returns its vector, for [`dispatch`]. Interrupts that came before are not missed:
/// they end the sleep at once. `None` where something else ended it.
pub fn wait_for_interrupt() -> Option<u8> {
    machine::wait_for_interrupt()
}

/// An interrupt that is pending now, without sleeping; for long stretches in the kernel and for polling loops.
pub fn pending_interrupt() -> Option<u8> {
    machine::pending_interrupt()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::hosted;

    #[test]
    fn a_handler_runs_for_its_vector() {
        let count = Arc::new(AtomicU32::new(0));
        let seen = count.clone();
        let vector = allocate_vector(Box::new(move || _ = seen.fetch_add(1, Ordering::Relaxed))).unwrap();
        hosted::raise(vector.number());
        assert_eq!(wait_for_interrupt(), Some(vector.number()));
        dispatch(vector.number());
        dispatch(SPURIOUS_VECTOR);
        dispatch(0);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert_eq!(pending_interrupt(), None);
        assert_eq!(msi_message(vector), (0xfee0_0000, u32::from(vector.number())));
    }
}
