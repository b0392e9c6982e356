//! MSI-X: interrupts as writes to memory (PCI Local Bus 3.0, 6.8.2).

use isopod_hal::mmio::Mmio;
use isopod_hal::{PhysAddr, PhysRange};

use super::{Capability, Function};

/// Bytes of one table entry.
const ENTRY: u64 = 16;

/// Switches MSI-X on, by the table that `capability` describes, so that its entry 0 sends `message`: an address and the
/// data to write there. Other entries are not used: each driver has one handler. `None` if the table cannot be
/// reached.
pub fn enable_msix(function: &Function, capability: Capability, message: (u64, u32)) -> Option<()> {
    const ENABLE: u32 = 1 << 31;
    const FUNCTION_MASK: u32 = 1 << 30;
    let location = function.read(capability.offset.checked_add(4)?);
    let base = function.bar((location & 7) as u8)?.checked_add(u64::from(location & !7))?;
    let table = Mmio::map(PhysRange::new(PhysAddr::new(base), ENTRY)).ok()?;
    let (address, data) = message;
    table.write32(0, address as u32);
    table.write32(4, (address >> 32) as u32);
    table.write32(8, data);
    // The mask bit is set after a reset.
    table.write32(12, 0);
    let control = u32::from(capability.head) << 16 | ENABLE;
    function.write(capability.offset, control & !FUNCTION_MASK);
    Some(())
}
