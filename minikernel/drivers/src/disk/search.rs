//! The disks of the machine. Only virtio's are started when they are found: the others take time, and no memory holds their drivers' state
//! where nobody looks for a disk.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use isopod_hal::log;
use isopod_hal::sync::Once;

use super::scsi::Bus;
use super::{Controller, Disk, Refusal, ahci, ide, nvme, pvscsi};
use crate::Place;
use crate::acpi::Platform;
use crate::block::Block;
use crate::interrupt::{self, Handler};
use crate::pci::{self, Function};
use crate::virtio::{self, Transport};

/// The disks that are known, and controllers that may have more.
#[derive(Default)]
pub struct Disks {
    found: Found,
    /// Functions that nothing else drives, and of which no disk is known.
    functions: Vec<Function>,
    /// virtio's SCSI adapters that were not started yet.
    scsi: Vec<(Box<dyn Transport>, Place)>,
    platform: Platform,
}

/// What controllers have.
#[derive(Default)]
pub(crate) struct Found {
    pub disks: Vec<Arc<dyn Block>>,
    /// SCSI adapters, which may get more disks.
    pub buses: Vec<Bus>,
}

/// Starts a controller. A controller that nothing is found of may be started once more.
pub(crate) type Start = fn(&Adapter<'_>, &mut Found) -> Result<(), Refusal>;

/// By what a driver knows its functions.
enum Key {
    /// Class, subclass and programming interface, by the bits that count.
    Class(u32, u32),
    /// Vendor and device.
    Device(u16, u16),
}

/// The drivers.
const DRIVERS: [(Key, &str, Start); 4] = [
    (Key::Class(0x01_08_02, 0xff_ff_ff), "nvme", nvme::start),
    (Key::Class(0x01_06_01, 0xff_ff_ff), "ahci", ahci::start),
    (Key::Class(0x01_01_00, 0xff_ff_00), "ide", ide::start),
    (Key::Device(0x15ad, 0x07c0), "pvscsi", pvscsi::start),
];

impl Key {
    fn fits(&self, function: &Function, class: u32) -> bool {
        match *self {
            Self::Class(value, mask) => class & mask == value,
            Self::Device(vendor, device) => (function.vendor, function.device) == (vendor, device),
        }
    }
}

impl Disks {
    /// Tells what the machine is like, before the first look.
    pub(crate) fn describe(&mut self, platform: Platform) {
        self.platform = platform;
    }

    /// Takes a disk that is known.
    pub(crate) fn add(&mut self, disk: Arc<Disk>) {
        self.found.disks.push(disk);
    }

    /// Takes a function that may be a controller.
    pub(crate) fn keep(&mut self, function: Function) {
        self.functions.push(function);
    }

    /// Takes a SCSI adapter.
    pub(crate) fn keep_scsi(&mut self, transport: Box<dyn Transport>, place: Place) {
        self.scsi.push((transport, place));
    }

    /// The disks that are known, in the order in which they were found.
    pub fn known(&self) -> &[Arc<dyn Block>] {
        &self.found.disks
    }

    /// Looks for disks that are not known yet.
    pub fn look(&mut self) {
        let Self { found, platform, .. } = self;
        self.functions.retain(|function| {
            let class = function.class();
            let Some((_, name, start)) = DRIVERS.iter().find(|driver| driver.0.fits(function, class)) else {
                return false;
            };
            match Adapter::new(function, platform).start(*start, found) {
                Ok(used) => !used,
                Err(Refusal(reason)) => {
                    log!("{name}: controller at {} left out: {reason}", function.place());
                    false
                }
            }
        });
        for (transport, place) in self.scsi.drain(..) {
            match virtio::scsi::start(transport, place) {
                Ok(bus) => found.buses.push(bus),
                Err(error) => log!("virtio: device at {place} left out: {error}"),
            }
        }
        found.buses.iter_mut().for_each(|bus| bus.look(&mut found.disks));
    }
}

/// A function on PCI that is a controller, or several, as their driver gets it.
pub(crate) struct Adapter<'a> {
    pub function: &'a Function,
    platform: &'a Platform,
}

impl<'a> Adapter<'a> {
    /// As which the function is tried.
    pub fn new(function: &'a Function, platform: &'a Platform) -> Self {
        Self { function, platform }
    }

    /// Starts the controller. Whether anything was found of it; if not, it accesses no memory any more.
    pub fn start(&self, start: Start, found: &mut Found) -> Result<bool, Refusal> {
        let before = (found.disks.len(), found.buses.len());
        self.function.enable();
        let result = start(self, found);
        let used = before != (found.disks.len(), found.buses.len());
        if !used {
            self.function.disable();
        }
        result.map(|()| used)
    }

    /// Has the function interrupt. The controllers that hear of it are put into what this returns, before their first command.
    pub fn connect(&self) -> Result<Listeners, Refusal> {
        let isa_line = |isa| self.platform.isa_line(isa);
        listen(&|handler| pci::connect(self.function, &isa_line, handler))
    }

    /// Has an ISA interrupt reach controllers in the same way.
    pub fn connect_isa(&self, isa: u8) -> Result<Listeners, Refusal> {
        listen(&|handler| interrupt::connect(self.platform.isa_line(isa), handler))
    }
}

/// Who hears of an interrupt.
type Listeners = Arc<Once<Vec<Arc<Controller>>>>;

fn listen(connect: &dyn Fn(Handler) -> Option<()>) -> Result<Listeners, Refusal> {
    let controllers = Listeners::default();
    let listeners = Arc::clone(&controllers);
    let handler =
        move || listeners.get().into_iter().flatten().for_each(|controller| controller.on_interrupt());
    connect(Box::new(handler)).ok_or(Refusal::INTERRUPT)?;
    Ok(controllers)
}

impl fmt::Debug for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disks").field("known", &self.known().len()).finish_non_exhaustive()
    }
}
