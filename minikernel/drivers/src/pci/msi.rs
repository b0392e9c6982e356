//! Interrupts of functions that need only one: as a message where the function can send one, else by its pin.

use alloc::boxed::Box;

use isopod_hal::irq;

use super::{CAPABILITY_MSIX, Capability, Function, enable_msix};
use crate::acpi::Line;
use crate::interrupt::{self, Handler};

/// Capability identifier of MSI.
const CAPABILITY_MSI: u8 = 0x05;

/// Calls `handler` at each interrupt of the function. `isa_line` tells how an ISA interrupt arrives. `None` if there is no way to have it.
pub fn connect(function: &Function, isa_line: &dyn Fn(u8) -> Line, handler: Handler) -> Option<()> {
    let capabilities = function.capabilities();
    let find = |id: u8| capabilities.iter().find(|capability| capability.id == id).copied();
    let message = |handler: Handler| irq::allocate_vector(Box::new(handler)).map(irq::msi_message);
    match (find(CAPABILITY_MSIX), find(CAPABILITY_MSI)) {
        (Some(capability), _) => enable_msix(function, capability, &[message(handler)?]),
        (None, Some(capability)) => enable_msi(function, capability, message(handler)?),
        (None, None) => interrupt::connect(isa_line(function.interrupt_line()?), handler),
    }
}

/// Switches MSI on (PCI Local Bus 3.0, 6.8.1), for one message: an address and the data to write there.
fn enable_msi(function: &Function, capability: Capability, (address, data): (u64, u32)) -> Option<()> {
    const ENABLE: u32 = 1 << 16;
    const MESSAGES: u32 = 0b111 << 20;
    const WIDE: u32 = 1 << 23;
    let at = |offset: u8| capability.offset.checked_add(offset);
    let control = function.read(capability.offset);
    function.write(at(4)?, address as u32);
    if control & WIDE == 0 {
        function.write(at(8)?, data);
    } else {
        function.write(at(8)?, (address >> 32) as u32);
        function.write(at(12)?, data);
    }
    function.write(capability.offset, control & !MESSAGES | ENABLE);
    Some(())
}
