//! What the machine has.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use isopod_hal::boot::BootInfo;
use isopod_hal::mmio::Mmio;
use isopod_hal::{PhysAddr, PhysRange, clock, cpu, firmware, irq, log, power};

use crate::Place;
use crate::acpi::{AcpiError, Fadt, MmioDevice, PhysicalMemory, Platform, SoftOff};
use crate::command_line;
use crate::console::CharDevice;
use crate::disk::Disks;
use crate::entropy::Random;
use crate::network;
use crate::pci::{self, ConfigSpace, Ecam, Function, Ports};
use crate::serial::{COM1, COM1_IRQ, Serial};
use crate::virtio::console::VirtioConsole;
use crate::virtio::mmio::MmioTransport;
use crate::virtio::pci::{PciTransport, device_number};
use crate::virtio::random::VirtioRandom;
use crate::virtio::{self, StartError, Transport, device};

/// The virtio devices that there are drivers for.
const DRIVEN: [u32; 6] =
    [device::NETWORK, device::BLOCK, device::CONSOLE, device::RANDOM, device::SCSI, device::SOCKET];

/// The devices of the machine, in the order in which its description lists them.
pub struct Devices {
    /// Disks. But for virtio-blk's they are started when somebody looks for them.
    pub disks: Disks,
    /// virtio consoles; without one, or with `console=ttyS0` on the command line, the serial port comes last.
    pub consoles: Vec<Arc<dyn CharDevice>>,
    /// The generator of random numbers.
    pub random: Arc<Random>,
    /// Devices that feed it.
    pub random_sources: Vec<Arc<VirtioRandom>>,
    /// The socket device, to be started when somebody uses it.
    pub socket: Option<Box<dyn Transport>>,
    /// How many processors there are.
    pub cpus: usize,
}

/// Who takes a network card, to start it when somebody uses it.
pub type TakeCard<'a> = &'a mut dyn FnMut(network::Slot);

/// Finds all devices and starts those there is a driver for, but for network cards. Waits for nothing: a device answers later.
pub fn probe(boot: &BootInfo, take_card: TakeCard<'_>) -> Devices {
    let platform = read_platform(boot);
    prepare_interrupts(&platform);
    prepare_clock(&platform);
    prepare_power_off(&platform);
    let mut devices = Devices {
        disks: Disks::default(),
        consoles: Vec::new(),
        random: Arc::new(Random::new(boot.seed.as_ref())),
        random_sources: Vec::new(),
        socket: None,
        cpus: count_cpus(&platform),
    };
    let places = mmio_devices(&platform, boot.command_line);
    let pci = if command_line::has_word(boot.command_line, b"pci=off") {
        None
    } else {
        pci_space(&platform, places.is_empty())
    };
    for place in places {
        devices.start_mmio(place, take_card);
    }
    if let Some(space) = pci {
        pci::enumerate(&*space, &mut |function| devices.start_pci(function, &platform, take_card));
    }
    if devices.consoles.is_empty() || command_line::has_word(boot.command_line, b"console=ttyS0") {
        let line = platform.isa_line(COM1_IRQ);
        devices.consoles.extend(Serial::open(COM1, line).map(|serial| serial as Arc<dyn CharDevice>));
    }
    devices.disks.describe(platform);
    devices
}

/// Firmware memory by way of the hal.
struct Firmware;

impl PhysicalMemory for Firmware {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), AcpiError> {
        firmware::read(PhysAddr::new(address), into).map_err(|_| AcpiError::Unreadable)
    }
}

fn read_platform(boot: &BootInfo) -> Platform {
    let Some(rsdp) = boot.rsdp else { return Platform::default() };
    Platform::read(&Firmware, rsdp.as_u64()).unwrap_or_else(|error| {
        log!("acpi: {error}");
        Platform::default()
    })
}

fn prepare_interrupts(platform: &Platform) {
    let io_apics: Vec<_> = platform
        .madt
        .iter()
        .flat_map(|madt| &madt.io_apics)
        .map(|io_apic| irq::IoApicInfo {
            address: PhysAddr::new(io_apic.address),
            gsi_base: io_apic.gsi_base,
        })
        .collect();
    // Without a table the hal knows where a PC has its only one.
    if !io_apics.is_empty() {
        irq::configure_ioapics(&io_apics);
    }
}

/// The processors that run or can be started: as ACPI lists them, or else as QEMU tells.
fn count_cpus(platform: &Platform) -> usize {
    let listed = platform.madt.as_ref().map(|madt| madt.processors.iter().filter(|cpu| cpu.enabled).count());
    listed.or_else(cpu::told_by_firmware).unwrap_or(1).max(1)
}

fn prepare_clock(platform: &Platform) {
    if let Some(hpet) = platform.hpet {
        clock::offer_reference(clock::Reference::Hpet(PhysAddr::new(hpet)));
    }
    if let Some(Fadt { pm_timer: Some(port), pm_timer_wide: wide, .. }) = platform.fadt {
        clock::offer_reference(clock::Reference::PmTimer { port, wide });
    }
}

fn prepare_power_off(platform: &Platform) {
    match platform.soft_off() {
        Some(SoftOff::Pm1 { port, value }) => power::set_acpi_s5(port, value),
        Some(SoftOff::SleepControl { register, value }) => {
            match Mmio::map(PhysRange::new(PhysAddr::new(register), 1)) {
                Ok(window) => power::set_acpi_sleep_control(window, value),
                Err(error) => log!("acpi: sleep control at {register:#x} cannot be mapped: {error}"),
            }
        }
        None => {}
    }
}

/// The virtio-mmio devices that ACPI names, then those of the command line that it does not.
fn mmio_devices(platform: &Platform, command_line: &[u8]) -> Vec<MmioDevice> {
    let mut places = platform.virtio_mmio.clone();
    let rejected = |word: &[u8]| log!("command line: not understood: {}", word.escape_ascii());
    for place in command_line::virtio_mmio_devices(command_line, rejected) {
        if places.iter().all(|known| known.base != place.base) {
            places.push(place);
        }
    }
    places
}

/// The way to PCI, if there is one. The ports of a PC are only tried where nothing says that the machine is none: ACPI
/// without fixed hardware, or, to the caller's knowledge, virtio-mmio devices.
fn pci_space(platform: &Platform, may_be_pc: bool) -> Option<Box<dyn ConfigSpace>> {
    if let Some(ecam) = Ecam::new(&platform.ecam) {
        return Some(Box::new(ecam));
    }
    let reduced = platform.fadt.is_some_and(|fadt| fadt.hardware_reduced);
    if reduced || !may_be_pc {
        return None;
    }
    Some(Box::new(Ports::detect()?))
}

impl Devices {
    fn start_mmio(&mut self, place: MmioDevice, take_card: TakeCard<'_>) {
        match MmioTransport::open(place) {
            // An empty slot.
            Ok((0, _)) => {}
            Ok((number, transport)) => {
                self.start(number, transport, Place::Memory(place.base), take_card);
            }
            Err(error) => log!("virtio: device at {:#x} left out: {error}", place.base),
        }
    }

    fn start_pci(&mut self, function: Function, platform: &Platform, take_card: TakeCard<'_>) {
        // A device without a driver is not worth the look at its capabilities.
        let Some(number) = device_number(&function).filter(|number| DRIVEN.contains(number)) else {
            match network::Slot::function(function, platform) {
                Ok(slot) => take_card(slot),
                Err(function) => self.disks.keep(function),
            }
            return;
        };
        let place = function.place();
        match PciTransport::open(function, &|isa| platform.isa_line(isa)) {
            Ok(transport) => self.start(number, transport, place, take_card),
            Err(error) => log!("virtio: device at {place} left out: {error}"),
        }
    }

    fn start(
        &mut self,
        number: u32,
        transport: impl Transport + 'static,
        place: Place,
        take_card: TakeCard<'_>,
    ) {
        let transport = Box::new(transport);
        let started: Result<(), StartError> = match number {
            device::NETWORK => {
                take_card(network::Slot::virtio(transport));
                Ok(())
            }
            device::BLOCK => virtio::block::start(transport, place).map(|disk| self.disks.add(disk)),
            device::CONSOLE => VirtioConsole::start(transport).map(|console| self.consoles.push(console)),
            device::RANDOM => VirtioRandom::start(transport, Arc::clone(&self.random))
                .map(|source| self.random_sources.push(source)),
            device::SCSI => {
                self.disks.keep_scsi(transport, place);
                Ok(())
            }
            device::SOCKET => {
                self.socket = Some(transport);
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = started {
            log!("virtio: device at {place} left out: {error}");
        }
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices")
            .field("disks", &self.disks)
            .field("consoles", &self.consoles.len())
            .field("random_sources", &self.random_sources)
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::mmio::tests::attach_disk;

    fn probe_all(boot: &BootInfo) -> Devices {
        probe(boot, &mut drop)
    }

    fn boot(command_line: &'static [u8], seed: Option<[u8; 32]>) -> BootInfo {
        let link = isopod_hal::boot::LinkDirectory::default();
        BootInfo { command_line, memory: &[], rsdp: None, modules: &[], link, seed }
    }

    #[test]
    fn devices_of_the_command_line_are_started_once() {
        attach_disk(true);
        let devices = probe_all(&boot(
            b"virtio_mmio.device=512@0xfeb02e00:5 virtio_mmio.device=4K@0xd0000000:6 \
              virtio_mmio.device=512@0xfeb02e00:5 virtio_mmio.device=nonsense",
            Some([1; 32]),
        ));
        assert_eq!(devices.disks.known().len(), 1);
        assert_eq!(devices.disks.known()[0].size(), 512_000);
        assert!(devices.consoles.is_empty() && devices.random_sources.is_empty());
        assert!(devices.random.is_seeded());
    }

    #[test]
    fn a_legacy_device_is_skipped() {
        attach_disk(false);
        let devices = probe_all(&boot(b"virtio_mmio.device=512@0xfeb02e00:5", None));
        assert!(devices.disks.known().is_empty());
    }

    #[test]
    fn a_machine_without_anything_boots() {
        let devices = probe_all(&boot(b"", None));
        assert!(devices.disks.known().is_empty() && devices.consoles.is_empty());
    }
}
