//! Where in the machine a device is.

use core::fmt;

/// Where a device is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Registers at an address.
    Memory(u64),
    /// A function on PCI: its bus; its device in the upper five bits and its function in the lower three.
    Pci(u8, u8),
}

/// An address, or PCI's usual notation, `00:1f.3`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Memory(address) => write!(f, "{address:#x}"),
            Self::Pci(bus, function) => write!(f, "{bus:02x}:{:02x}.{}", function >> 3, function & 7),
        }
    }
}
