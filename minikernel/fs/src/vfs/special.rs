//! What opening a device node or a FIFO leads to.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use isopod_hal::sync::SpinLock;

use crate::file::{FileOps, OpenRequest};
use crate::metadata::{DeviceId, FileType};
use crate::{Errno, Result};

/// A driver's side of a device node.
pub trait Device: Send + Sync {
    /// Opens the device.
    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn FileOps>>;
}

impl<F> Device for F
where
    F: Fn(&OpenRequest<'_>) -> Result<Box<dyn FileOps>> + Send + Sync,
{
    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn FileOps>> {
        self(request)
    }
}

/// Devices, and the first and last of the numbers that lead to them.
type Devices = Vec<([DeviceId; 2], Arc<dyn Device>)>;

/// The devices by number, and what stands behind every FIFO.
pub struct SpecialFiles {
    character: SpinLock<Devices>,
    fifo: Arc<dyn Device>,
}

impl SpecialFiles {
    /// No devices yet; `fifo` opens the pipe behind a FIFO (see [`InodeState::attach`](crate::InodeState::attach)).
    pub fn new(fifo: Arc<dyn Device>) -> Self {
        Self { character: SpinLock::default(), fifo }
    }

    /// Makes every character device node with a number from `first` to `last` lead to `device`.
    pub fn register(&self, first: DeviceId, last: DeviceId, device: Arc<dyn Device>) {
        self.character.lock().push(([first, last], device));
    }

    /// Opens the special file of this type and number. ENXIO without a driver for it, and for sockets.
    pub(super) fn open(
        &self,
        kind: FileType,
        id: DeviceId,
        request: &OpenRequest<'_>,
    ) -> Result<Box<dyn FileOps>> {
        match kind {
            FileType::Fifo => self.fifo.open(request),
            FileType::CharacterDevice => {
                let devices = self.character.lock();
                let found = devices.iter().find(|([first, last], _)| (*first..=*last).contains(&id));
                let device = Arc::clone(&found.ok_or(Errno::ENXIO)?.1);
                drop(devices);
                device.open(request)
            }
            _ => Err(Errno::ENXIO.into()),
        }
    }
}

impl fmt::Debug for SpecialFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpecialFiles").finish_non_exhaustive()
    }
}
