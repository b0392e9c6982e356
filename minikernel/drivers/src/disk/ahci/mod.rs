//! SATA controllers (Serial ATA AHCI 1.3.1).
//!
//! Each port has a disk of its own, which does one command at a time: what could be queued is queued by [`Controller`].

mod port;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::mmio::Mmio;
use isopod_hal::{PhysAddr, PhysRange, log};

use self::port::Port;
use super::ata::{About, MOST_PAGES};
use super::{Adapter, Controller, Disk, Found, Reach, Refusal};
use crate::block::Name;

const NAME: &str = "ahci";
/// Bytes of registers that are mapped, and the ports that are there.
const WINDOW: u64 = 4 << 10;
const MOST: u32 = 30;

/// Registers of the controller (3.1).
mod register {
    pub const CAPABILITIES: usize = 0x00;
    pub const CONTROL: usize = 0x04;
    pub const INTERRUPTS: usize = 0x08;
    pub const PORTS: usize = 0x0c;
}

/// Starts a controller.
pub(super) fn start(adapter: &Adapter<'_>, found: &mut Found) -> Result<(), Refusal> {
    const AHCI: u32 = 1 << 31;
    const INTERRUPT: u32 = 1 << 1;
    const WIDE: u32 = 1 << 31;
    let place = adapter.function.place();
    let address = adapter.function.bar(5).ok_or(Refusal::WINDOW)?;
    let window = PhysRange::new(PhysAddr::new(address), WINDOW);
    let registers = Arc::new(Mmio::map(window).map_err(|_| Refusal::WINDOW)?);
    registers.write32(register::CONTROL, AHCI);
    let wide = registers.read32(register::CAPABILITIES) & WIDE != 0;
    let reach = if wide { Reach::All } else { Reach::LOW };
    let ports = registers.read32(register::PORTS);
    let mut opened = Vec::new();
    for number in (0..MOST).filter(|number| ports >> number & 1 != 0) {
        match Port::open(adapter.function, &registers, number, reach)? {
            Ok(Some(port)) => opened.push(port),
            Ok(None) => {}
            Err(Refusal(reason)) => log!("{NAME} {place} disk {number} left out: {reason}"),
        }
    }
    if opened.is_empty() {
        return Ok(());
    }
    let listeners = adapter.connect()?;
    let (mut controllers, mut disks) = (Vec::new(), Vec::new());
    for port in opened {
        let (number, About { geometry, .. }) = (port.number(), port.about());
        port.listen();
        let controller = Controller::new((NAME, place), Box::new(port), 1, MOST_PAGES)?.reaching(reach)?;
        let controller = Arc::new(controller);
        controllers.push(Arc::clone(&controller));
        disks.push(Disk::new(controller, Name { controller: NAME, place, number }, geometry));
    }
    listeners.get_or_init(|| controllers);
    registers.write32(register::CONTROL, AHCI | INTERRUPT);
    found.disks.extend(disks.into_iter().map(|disk| disk as _));
    Ok(())
}

#[cfg(test)]
mod tests;
