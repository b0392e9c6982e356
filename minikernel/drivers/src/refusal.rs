//! Why a device is not used.

use core::fmt;

use isopod_hal::OutOfMemory;

use crate::virtio::StartError;

/// Why a driver does not drive a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub(crate) &'static str);

impl Refusal {
    pub(crate) const WINDOW: Self = Self("its registers cannot be reached");
    pub(crate) const INTERRUPT: Self = Self("no interrupt for it");
    pub(crate) const SILENT: Self = Self("it does not answer");
}

impl From<OutOfMemory> for Refusal {
    fn from(_: OutOfMemory) -> Self {
        Self("out of memory")
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        Self(error.reason())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
