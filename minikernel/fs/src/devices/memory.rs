//! `/dev/null`, `/dev/zero`, `/dev/full`: null(4), full(4).

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::file::{FileOps, Mapping, OpenFile, OpenRequest, Seeking};
use crate::metadata::DeviceId;
use crate::transfer::{Sink, Source};
use crate::vfs::SpecialFiles;
use crate::{Errno, Result};

/// `/dev/null`
pub const NULL: DeviceId = DeviceId::new(1, 3);
/// `/dev/zero`
pub const ZERO: DeviceId = DeviceId::new(1, 5);
/// `/dev/full`
pub const FULL: DeviceId = DeviceId::new(1, 7);

/// Makes the nodes of the three devices work.
pub fn register(special: &SpecialFiles) {
    for (id, kind) in [(NULL, MemoryDevice::Null), (ZERO, MemoryDevice::Zero), (FULL, MemoryDevice::Full)] {
        let open = move |_: &OpenRequest<'_>| -> Result<Box<dyn FileOps>> { Ok(Box::new(kind)) };
        special.register(id, Arc::new(open));
    }
}

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemoryDevice {
    Null,
    Zero,
    Full,
}

impl FileOps for MemoryDevice {
    fn read(&self, _file: &OpenFile, _offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        match self {
            Self::Null => Ok(0),
            Self::Zero | Self::Full => Ok(sink.put_zeros(sink.remaining())),
        }
    }

    fn write(&self, _file: &OpenFile, _offset: u64, source: &mut dyn Source) -> Result<usize> {
        match self {
            // The bytes are not even looked at, as on Linux: a bad address is no error here.
            Self::Null | Self::Zero => Ok(source.skip()),
            Self::Full => Err(Errno::ENOSPC.into()),
        }
    }

    fn seeking(&self) -> Seeking {
        Seeking::AlwaysZero
    }

    fn mapping(&self) -> Result<Mapping> {
        match self {
            Self::Zero => Ok(Mapping::Anonymous),
            Self::Null | Self::Full => Err(Errno::ENODEV.into()),
        }
    }
}
