//! The disks of the machine. Only virtio's are started when they are found: the others take time, and no memory holds their drivers' state
//! where nobody looks for a disk.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use isopod_hal::log;
use isopod_hal::sync::Once;

use super::scsi::Bus;
use super::{Controller, Disk, Refusal, nvme};
use crate::Place;
use crate::acpi::Platform;
use crate::block::Block;
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
type Start = fn(&Adapter<'_>, &mut Found) -> Result<(), Refusal>;

/// The drivers by class, subclass and programming interface.
const DRIVERS: [(u32, &str, Start); 1] = [(0x01_08_02, "nvme", nvme::start)];

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
            let Some((_, name, start)) = DRIVERS.iter().find(|driver| driver.0 == class) else {
                return false;
            };
            let before = (found.disks.len(), found.buses.len());
            if let Err(Refusal(reason)) = start(&Adapter::new(function, platform), found) {
                log!("{name}: controller at {} left out: {reason}", function.place());
                return false;
            }
            before == (found.disks.len(), found.buses.len())
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

    /// Has the function interrupt. The controllers that hear of it are put into what this returns, before their first command.
    pub fn connect(&self) -> Result<Arc<Once<Vec<Arc<Controller>>>>, Refusal> {
        let controllers = Arc::new(Once::<Vec<Arc<Controller>>>::new());
        let listeners = Arc::clone(&controllers);
        let handler =
            move || listeners.get().into_iter().flatten().for_each(|controller| controller.on_interrupt());
        let connected = pci::connect(self.function, &|isa| self.platform.isa_line(isa), Box::new(handler));
        connected.ok_or(Refusal::INTERRUPT)?;
        Ok(controllers)
    }
}

impl fmt::Debug for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disks").field("known", &self.known().len()).finish_non_exhaustive()
    }
}
