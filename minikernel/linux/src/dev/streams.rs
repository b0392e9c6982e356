//! `/dev/console` and `/dev/tty`: the way to whoever watches the machine.

use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, Ready};
use isopod_fs::{Errno, Result, Sink, Source};
use isopod_hal::sync::wait::WaitQueue;

use crate::host::{HostStream, Stream};

/// `/dev/console`: reads standard input, writes standard error's way, as the console of a container does.
#[derive(Debug)]
pub(super) struct Console {
    input: HostStream,
    output: HostStream,
}

impl Console {
    /// `ENXIO` where there is nobody to reach.
    pub(super) fn open() -> Result<Self> {
        let host = crate::host::current().ok_or(Errno::ENXIO)?;
        Ok(Self { input: HostStream::new(host, Stream::Input), output: HostStream::new(host, Stream::Error) })
    }
}

impl FileOps for Console {
    fn read(&self, file: &OpenFile, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        self.input.read(file, offset, sink)
    }

    fn write(&self, file: &OpenFile, offset: u64, source: &mut dyn Source) -> Result<usize> {
        self.output.write(file, offset, source)
    }

    fn ready(&self, file: &OpenFile) -> Ready {
        self.input.ready(file) | self.output.ready(file)
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        self.input.wait_queue()
    }
}
