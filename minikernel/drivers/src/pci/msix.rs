//! MSI-X: interrupts as writes to memory (PCI Local Bus 3.0, 6.8.2).

use isopod_hal::mmio::Mmio;
use isopod_hal::{PhysAddr, PhysRange};

use super::{Capability, Function};

/// Bytes of one table entry.
const ENTRY: usize = 16;

/// How many entries the table has.
pub fn entries(capability: Capability) -> u16 {
    (capability.head & 0x7ff) + 1
}

/// Switches MSI-X on, by the table that `capability` describes, so that its first entries send `messages`: each an address and the
/// data to write there. `None` if the table cannot be reached.
pub fn enable_msix(function: &Function, capability: Capability, messages: &[(u64, u32)]) -> Option<()> {
    const ENABLE: u32 = 1 << 31;
    const FUNCTION_MASK: u32 = 1 << 30;
    let location = function.read(capability.offset.checked_add(4)?);
    let base = function.bar((location & 7) as u8)?.checked_add(u64::from(location & !7))?;
    let table = Mmio::map(PhysRange::new(PhysAddr::new(base), (ENTRY * messages.len()) as u64)).ok()?;
    for (entry, (address, data)) in messages.iter().enumerate() {
        let at = entry * ENTRY;
        table.write32(at, *address as u32);
        table.write32(at + 4, (address >> 32) as u32);
        table.write32(at + 8, *data);
        // The mask bit is set after a reset.
        table.write32(at + 12, 0);
    }
    let control = u32::from(capability.head) << 16 | ENABLE;
    function.write(capability.offset, control & !FUNCTION_MASK);
    Some(())
}
