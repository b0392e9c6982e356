//! `/dev/console`: the way to whoever watches the machine.

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, OpenRequest, Ready};
use isopod_fs::{Errno, Result, Sink, Source};
use isopod_hal::sync::wait::WaitQueue;

use crate::host::{HostStream, Stream};
use crate::tty::console;

/// Opens `/dev/console`: the application's terminal if it has one, else the standard streams. `ENXIO` where there is nobody to reach.
pub(super) fn open_console(request: &OpenRequest<'_>) -> Result<Box<dyn FileOps>> {
    if let Some(terminal) = console::started() {
        return terminal.open(request);
    }
    let host = crate::host::current().ok_or(Errno::ENXIO)?;
    let input = HostStream::new(host, Stream::Input);
    Ok(Box::new(Console { input, output: HostStream::new(host, Stream::Error) }))
}

/// A console that is no terminal: reads standard input, writes standard error's way.
#[derive(Debug)]
struct Console {
    input: HostStream,
    output: HostStream,
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
