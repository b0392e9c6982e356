//! The two ways to configuration space: memory (ECAM, PCI Express Base 7.2.2) and I/O ports (PCI 3.2.2.3.2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_hal::mmio::Mmio;
use isopod_hal::port::Port;
use isopod_hal::sync::SpinLock;
use isopod_hal::{PhysAddr, PhysRange, log};

use crate::acpi::EcamRegion;

/// Configuration space of one bus.
pub trait Bus: Send + Sync {
    /// Reads the aligned 32-bit register at `offset` of a function (device << 3 | function); all ones if nothing
    /// answers.
    fn read(&self, function: u8, offset: u8) -> u32;
    /// Writes the aligned 32-bit register at `offset`.
    fn write(&self, function: u8, offset: u8, value: u32);
}

/// Configuration space of all buses.
pub trait ConfigSpace {
    /// The bus of this number, if the way to it exists.
    fn bus(&self, number: u8) -> Option<Arc<dyn Bus>>;
}

/// Configuration space in memory, mapped bus by bus.
#[derive(Debug)]
pub struct Ecam {
    /// Regions of segment 0.
    regions: Vec<EcamRegion>,
}

impl Ecam {
    /// The regions of segment group 0; other groups have devices that no virtual machine puts there. `None` if
    /// there is no such region.
    pub fn new(regions: &[EcamRegion]) -> Option<Self> {
        let regions: Vec<_> = regions.iter().filter(|region| region.segment == 0).copied().collect();
        (!regions.is_empty()).then_some(Self { regions })
    }
}

impl ConfigSpace for Ecam {
    fn bus(&self, number: u8) -> Option<Arc<dyn Bus>> {
        const BUS_SIZE: u64 = 1 << 20;
        let region =
            self.regions.iter().find(|region| (region.first_bus..=region.last_bus).contains(&number))?;
        let start = region.base.checked_add(BUS_SIZE * u64::from(number))?;
        match Mmio::map(PhysRange::new(PhysAddr::new(start), BUS_SIZE)) {
            Ok(window) => Some(Arc::new(EcamBus(window))),
            Err(error) => {
                log!("pci: bus {number:02x} at {start:#x} cannot be mapped: {error:?}");
                None
            }
        }
    }
}

struct EcamBus(Mmio);

impl EcamBus {
    fn offset(function: u8, offset: u8) -> usize {
        usize::from(function) << 12 | usize::from(offset & !3)
    }
}

impl Bus for EcamBus {
    fn read(&self, function: u8, offset: u8) -> u32 {
        self.0.read32(Self::offset(function, offset))
    }

    fn write(&self, function: u8, offset: u8, value: u32) {
        self.0.write32(Self::offset(function, offset), value);
    }
}

/// Configuration space through an address and a data port.
#[derive(Clone, Debug)]
pub struct Ports(Arc<SpinLock<PortPair>>);

#[derive(Debug)]
struct PortPair {
    address: Port<u32>,
    data: Port<u32>,
}

const ENABLE: u32 = 1 << 31;

impl Ports {
    /// The ports of a PC; `None` if no host bridge answers there.
    pub fn detect() -> Option<Self> {
        let pair = PortPair { address: Port::new(0xcf8), data: Port::new(0xcfc) };
        pair.address.write(ENABLE);
        (pair.address.read() == ENABLE).then(|| Self(Arc::new(SpinLock::new(pair))))
    }
}

impl ConfigSpace for Ports {
    fn bus(&self, number: u8) -> Option<Arc<dyn Bus>> {
        Some(Arc::new(PortBus { ports: self.clone(), number }))
    }
}

struct PortBus {
    ports: Ports,
    number: u8,
}

impl PortBus {
    fn address(&self, function: u8, offset: u8) -> u32 {
        ENABLE | u32::from(self.number) << 16 | u32::from(function) << 8 | u32::from(offset & !3)
    }
}

impl Bus for PortBus {
    fn read(&self, function: u8, offset: u8) -> u32 {
        let pair = self.ports.0.lock();
        pair.address.write(self.address(function, offset));
        pair.data.read()
    }

    fn write(&self, function: u8, offset: u8, value: u32) {
        let pair = self.ports.0.lock();
        pair.address.write(self.address(function, offset));
        pair.data.write(value);
    }
}
