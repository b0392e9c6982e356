//! What opening a device node or a FIFO leads to.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
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

/// The devices by number, and what stands behind every FIFO.
pub struct SpecialFiles {
    character: SpinLock<BTreeMap<DeviceId, Arc<dyn Device>>>,
    fifo: Arc<dyn Device>,
}

impl SpecialFiles {
    /// No devices yet; `fifo` opens the pipe behind a FIFO (see [`InodeState::attach`](crate::InodeState::attach)).
    pub fn new(fifo: Arc<dyn Device>) -> Self {
        Self { character: SpinLock::default(), fifo }
    }

    /// Makes every character device node with this number lead to `device`.
    pub fn register(&self, id: DeviceId, device: Arc<dyn Device>) {
        self.character.lock().insert(id, device);
    }

    /// No longer leads to the device with this number.
    pub fn unregister(&self, id: DeviceId) {
        self.character.lock().remove(&id);
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
                let device = self.character.lock().get(&id).cloned();
                device.ok_or(Errno::ENXIO)?.open(request)
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
