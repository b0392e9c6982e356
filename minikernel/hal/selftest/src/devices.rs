//! Ports, registers and interrupts of devices that every machine has.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, Ordering};

use isopod_hal::{
    PhysAddr, PhysRange,
    boot::BootInfo,
    irq::{self, Polarity, Trigger},
    mmio::{MapError, Mmio},
    port::Port,
    user::Trap,
};

use super::program::{self, Program};

/// The first serial port: its registers for interrupts and its input of the IOAPIC.
const INTERRUPT_ENABLE: Port<u8> = Port::new(0x3f9);
const INTERRUPT_CAUSE: Port<u8> = Port::new(0x3fa);
const MODEM_CONTROL: Port<u8> = Port::new(0x3fc);
const GSI: u32 = 4;
/// Interrupt while the transmitter is empty; output 2, which lets the interrupt out.
const TRANSMITTER: u8 = 2;
const OUT_2: u8 = 8;

static SEEN: AtomicU32 = AtomicU32::new(0);

pub fn interrupts() {
    let vector = irq::allocate_vector(Box::new(|| {
        INTERRUPT_CAUSE.read();
        SEEN.fetch_add(1, Ordering::Relaxed);
    }))
    .unwrap();
    irq::route_gsi(GSI, vector, Trigger::Edge, Polarity::High).unwrap();
    assert!(irq::route_gsi(1000, vector, Trigger::Edge, Polarity::High).is_err());
    MODEM_CONTROL.write(OUT_2);
    // Asleep.
    INTERRUPT_ENABLE.write(TRANSMITTER);
    loop {
        if let Some(got) = irq::wait_for_interrupt() {
            irq::dispatch(got);
            if got == vector.number() {
                break;
            }
        }
    }
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
    // While user code runs.
    INTERRUPT_ENABLE.write(0);
    INTERRUPT_ENABLE.write(TRANSMITTER);
    let mut program = Program::load(program::spin());
    while SEEN.load(Ordering::Relaxed) == 1 {
        match program.context.run() {
            Trap::Interrupt(got) => irq::dispatch(got),
            trap => panic!("{trap:?}"),
        }
    }
    INTERRUPT_ENABLE.write(0);
}

pub fn registers(boot: &'static BootInfo) {
    // The local APIC's version register, in two windows.
    let apic = PhysRange::new(PhysAddr::new(0xfee0_0000), 0x1000);
    let (first, second) = (Mmio::map(apic).unwrap(), Mmio::map(apic).unwrap());
    assert!(first.read32(0x30) & 0xff >= 0x10);
    assert_eq!(first.read32(0x30), second.read32(0x30));
    // A large window has large pages; nothing answers there.
    let large = Mmio::map(PhysRange::new(PhysAddr::new(0xd000_0000), 64 << 20)).unwrap();
    assert_eq!(large.range().len, 64 << 20);
    let ram = boot.memory.last().unwrap().range;
    let refused = |start: PhysAddr, len| Mmio::map(PhysRange::new(start, len)).err();
    assert_eq!(refused(PhysAddr::new(ram.end().as_u64() - 0x1000), 0x1000), Some(MapError::Ram));
    assert_eq!(refused(PhysAddr::new(1 << 60), 0x1000), Some(MapError::Address));
    assert_eq!(refused(apic.start, 0), Some(MapError::Address));
    assert_eq!(refused(PhysAddr::new(1 << 39), 2 << 30), Some(MapError::OutOfMemory));
}
