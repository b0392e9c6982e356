//! Intel's gigabit cards, as hypervisors imitate them: the 8254x ("e1000") and the 82574 ("e1000e").
//!
//! Sections are those of Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (8254x); the 82574 keeps the
//! registers and descriptors that are used here.

mod receive;
mod transmit;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_hal::mmio::Mmio;
use isopod_hal::sync::{Once, SpinLock, wait::WaitQueue};
use isopod_hal::{PhysAddr, PhysRange, log};

use super::{Abilities, Card, Incoming, Payload, Work};
use crate::acpi::{Line, Platform};
use crate::pci::{self, Function};
use crate::wait::wait;
use crate::{Place, Refusal};
use receive::Receive;
use transmit::Transmit;

const INTEL: u16 = 0x8086;
/// 82543GC, 82544GC, 82540EM and 82545EM: what VirtualBox, QEMU and VMware call e1000.
const E1000: [u16; 4] = [0x1004, 0x100c, 0x100e, 0x100f];
/// 82574L: e1000e.
const E1000E: u16 = 0x10d3;

/// Bytes of registers that are used.
const WINDOW: u64 = 0x8000;
/// The longest packet.
const MTU: u16 = 1500;
/// Nanoseconds that a reset may take: a microsecond (13.4.1), and as long as the card reads its address.
const RESET_TIME: u64 = 100_000_000;
/// Descriptors of a ring, which is one page.
const RING: u16 = 256;

/// Registers (13.4).
mod register {
    pub const CONTROL: usize = 0x0000;
    pub const STATUS: usize = 0x0008;
    /// What has happened; reading clears it.
    pub const CAUSE: usize = 0x00c0;
    /// Causes that interrupt, to be set and to be cleared.
    pub const ENABLE: usize = 0x00d0;
    pub const DISABLE: usize = 0x00d8;
    /// Of the 82574 with MSI-X: which message tells of what.
    pub const MESSAGES: usize = 0x00e4;
    pub const RECEIVE: usize = 0x0100;
    pub const TRANSMIT: usize = 0x0400;
    pub const GAP: usize = 0x0410;
    pub const RECEIVE_RING: usize = 0x2800;
    pub const TRANSMIT_RING: usize = 0x3800;
    pub const RECEIVE_SUMS: usize = 0x5000;
    /// Multicast addresses by hash, 128 words.
    pub const MULTICAST: usize = 0x5200;
    pub const ADDRESS: usize = 0x5400;
}

/// Registers of a ring, from its first on (13.4.25 to 13.4.29).
mod ring {
    pub const LOW: usize = 0x00;
    pub const HIGH: usize = 0x04;
    pub const BYTES: usize = 0x08;
    /// The first descriptor that is the card's, and the first behind them that is not.
    pub const HEAD: usize = 0x10;
    pub const TAIL: usize = 0x18;
}

mod control {
    pub const FULL_DUPLEX: u32 = 1;
    /// The speed is what both ends can.
    pub const DETECT_SPEED: u32 = 1 << 5;
    pub const LINK_UP: u32 = 1 << 6;
    pub const RESET: u32 = 1 << 26;
}

const STATUS_LINK: u32 = 1 << 1;

mod cause {
    pub const SENT: u32 = 1;
    pub const LINK: u32 = 1 << 2;
    /// Frames came in; buffers become few; there were none.
    pub const RECEIVED: u32 = 1 << 7 | 1 << 4 | 1 << 6;
    /// The same of the 82574 with MSI-X: of its first queues, and all else.
    pub const MESSAGES: u32 = 1 << 20 | 1 << 22 | 1 << 24;
}

/// A card.
pub(super) struct E1000<P> {
    registers: Mmio,
    function: Function,
    address: [u8; 6],
    /// Causes that always interrupt.
    causes: u32,
    receive: SpinLock<Receive>,
    transmit: SpinLock<Transmit<P>>,
    up: AtomicBool,
    /// There was an interrupt, and nobody has looked yet.
    interrupted: AtomicBool,
    /// None comes until it is asked for.
    silent: AtomicBool,
    attention: WaitQueue,
    /// The device broke the rules.
    dead: AtomicBool,
}

/// Whether the function is such a card.
pub(super) fn drives(function: &Function) -> bool {
    function.vendor == INTEL && (function.device == E1000E || E1000.contains(&function.device))
}

impl<P: Payload> E1000<P> {
    /// Starts the card, ready to receive.
    pub fn start(function: &Function, line: Option<Line>, address: [u8; 6]) -> Result<Arc<Self>, Refusal> {
        function.enable();
        let result = Self::build(function, line, address);
        if result.is_err() {
            function.disable();
        }
        result
    }

    fn build(function: &Function, line: Option<Line>, address: [u8; 6]) -> Result<Arc<Self>, Refusal> {
        let window = function.bar(0).ok_or(Refusal::WINDOW)?;
        let registers =
            Mmio::map(PhysRange::new(PhysAddr::new(window), WINDOW)).map_err(|_| Refusal::WINDOW)?;
        registers.write32(register::DISABLE, u32::MAX);
        registers.write32(register::CONTROL, registers.read32(register::CONTROL) | control::RESET);
        if !wait(RESET_TIME, &mut || registers.read32(register::CONTROL) & control::RESET == 0) {
            return Err(Refusal::SILENT);
        }
        registers.write32(register::DISABLE, u32::MAX);
        let address = own_address(&registers).unwrap_or_else(|| {
            set_address(&registers, address);
            address
        });
        let mut causes = cause::LINK | cause::RECEIVED;
        if function.device == E1000E {
            // The first message, which is there, for the first queues of both directions and for all else.
            registers.write32(register::MESSAGES, 0x0008_0808);
            causes |= cause::MESSAGES;
        }
        let up = registers.read32(register::CONTROL)
            | control::FULL_DUPLEX
            | control::DETECT_SPEED
            | control::LINK_UP;
        registers.write32(register::CONTROL, up);
        (0..128).for_each(|word| registers.write32(register::MULTICAST + 4 * word, 0));
        let receive = Receive::start(&registers)?;
        let transmit = Transmit::start(&registers)?;
        let card = Arc::new(Self {
            address,
            causes,
            receive: SpinLock::new(receive),
            transmit: SpinLock::new(transmit),
            up: AtomicBool::new(registers.read32(register::STATUS) & STATUS_LINK != 0),
            interrupted: AtomicBool::new(false),
            silent: AtomicBool::new(true),
            attention: WaitQueue::new(),
            dead: AtomicBool::new(false),
            registers,
            function: function.clone(),
        });
        let listener = Arc::new(Once::<Arc<Self>>::new());
        let handler = Arc::clone(&listener);
        let isa_line = |isa| line.unwrap_or_else(|| Platform::default().isa_line(isa));
        pci::connect(
            function,
            &isa_line,
            Box::new(move || handler.get().into_iter().for_each(|card| card.on_interrupt())),
        )
        .ok_or(Refusal::INTERRUPT)?;
        listener.get_or_init(|| Arc::clone(&card));
        Ok(card)
    }

    fn on_interrupt(&self) {
        if self.dead.load(Ordering::Acquire) {
            return;
        }
        // None until somebody has looked. With none enabled, reading clears the causes of all these cards.
        self.registers.write32(register::DISABLE, u32::MAX);
        self.silent.store(true, Ordering::Release);
        if self.registers.read32(register::CAUSE) & cause::LINK != 0 {
            let up = self.registers.read32(register::STATUS) & STATUS_LINK != 0;
            self.up.store(up, Ordering::Release);
        }
        self.wake();
    }

    fn wake(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.attention.wake_all();
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Stops a card that broke the rules.
    fn give_up(&self, why: &'static str) {
        if !self.dead.swap(true, Ordering::AcqRel) {
            log!("e1000: card at {} given up: {why}", self.place());
            self.registers.write32(register::DISABLE, u32::MAX);
            self.function.disable();
            self.up.store(false, Ordering::Release);
            self.wake();
        }
    }

    fn place(&self) -> Place {
        self.function.place()
    }
}

/// In the upper half of an address: there is one.
const VALID: u32 = 1 << 31;

/// The address that the card has read from its memory; `None` if it has none.
fn own_address(registers: &Mmio) -> Option<[u8; 6]> {
    let (low, high) = (registers.read32(register::ADDRESS), registers.read32(register::ADDRESS + 4));
    let bytes = (u64::from(high) << 32 | u64::from(low)).to_le_bytes();
    let address = *bytes.first_chunk()?;
    let is_group = address[0] & 1 != 0;
    (high & VALID != 0 && address != [0; 6] && !is_group).then_some(address)
}

fn set_address(registers: &Mmio, address: [u8; 6]) {
    let (low, high) = address.split_at(4);
    let half = |bytes: &[u8]| bytes.iter().rev().fold(0, |half, byte| half << 8 | u32::from(*byte));
    registers.write32(register::ADDRESS, half(low));
    registers.write32(register::ADDRESS + 4, half(high) | VALID);
}

/// Tells the card where a ring is, and that no descriptor is its own yet.
fn place_ring(registers: &Mmio, first: usize, at: PhysAddr) {
    let at = at.as_u64();
    registers.write32(first + ring::LOW, at as u32);
    registers.write32(first + ring::HIGH, (at >> 32) as u32);
    registers.write32(first + ring::BYTES, u32::from(RING) * 16);
    registers.write32(first + ring::HEAD, 0);
    registers.write32(first + ring::TAIL, 0);
}

impl<P: Payload> Card<P> for E1000<P> {
    fn address(&self) -> [u8; 6] {
        self.address
    }

    fn mtu(&self) -> u16 {
        MTU
    }

    fn abilities(&self) -> Abilities {
        Abilities::SUMS
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    fn transmit(&self, head: &[u8], payload: P, work: &Work) -> Result<(), P> {
        if self.is_dead() { Ok(()) } else { self.transmit.lock().push(head, payload, work) }
    }

    fn flush(&self) {
        if !self.is_dead() {
            self.transmit.lock().kick(&self.registers);
        }
    }

    fn receive(&self, _: usize, limit: usize, frames: &mut Vec<Incoming>) -> bool {
        if self.is_dead() {
            return false;
        }
        let mut receive = self.receive.lock();
        let more = receive.take(limit, frames);
        receive.kick(&self.registers);
        drop(receive);
        more.unwrap_or_else(|why| {
            self.give_up(why);
            false
        })
    }

    fn collect(&self, _: usize) -> bool {
        let mut transmit = self.transmit.lock();
        if !self.is_dead() {
            transmit.collect();
        }
        transmit.has_room_again()
    }

    fn attention(&self, _: usize) -> &WaitQueue {
        &self.attention
    }

    fn is_due(&self, _: usize) -> bool {
        if self.interrupted.swap(false, Ordering::AcqRel) {
            return true;
        }
        if self.is_dead() {
            return false;
        }
        let awaited = self.transmit.lock().is_awaited();
        if self.silent.swap(false, Ordering::AcqRel) || awaited {
            let sent = if awaited { cause::SENT } else { 0 };
            self.registers.write32(register::ENABLE, self.causes | sent);
        }
        // What has come since interrupts no more, or only once the causes are read.
        self.receive.lock().has_frame() || awaited && self.transmit.lock().has_sent()
    }
}

impl<P> fmt::Debug for E1000<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E1000 {{ {:?} }}", self.function)
    }
}

#[cfg(test)]
mod tests;
