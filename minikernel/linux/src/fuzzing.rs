//! What fuzz targets call: the parsers of this crate that read what others wrote, as far as the code that uses what they found.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::task::Poll;

use isopod_drivers::console::CharDevice;
use isopod_fs::file::OpenFlags;
use isopod_fs::vfs::OpenHow;
use isopod_fs::{Bytes, Errno};
use isopod_hal::sync::wait::WaitQueue;

use crate::exec::{self, Program};
use crate::host;
use crate::process::Thread;
use crate::syscall::with_view;
use crate::testing::{self, Task};

/// The thread that executes: one for all runs, whose tree is an empty tmpfs but for what is put there.
#[derive(Debug, Default)]
pub struct Loader(OnceCell<Arc<Thread>>);

impl Loader {
    fn thread(&self) -> &Arc<Thread> {
        self.0.get_or_init(testing::thread)
    }

    /// Puts an executable file into the tree.
    pub fn put(&self, path: &[u8], content: &[u8]) -> Result<(), Errno> {
        let thread = self.thread();
        let how = OpenHow::new(OpenFlags::CREAT | OpenFlags::TRUNC | OpenFlags::WRONLY, 0o755);
        let file = with_view(thread, |view| view.open(view.root, path, &how));
        let written =
            file.and_then(|file| file.write(&thread.identity().for_files(), &mut Bytes::new(content)));
        written.map(drop).map_err(|error| error.errno().unwrap_or(Errno::EIO))
    }

    /// Loads a program as execve(2) does, up to where it would begin to run: its first instruction's address.
    pub fn load(&self, path: &[u8]) -> Result<u64, Errno> {
        let thread = self.thread();
        let life = async {
            let file = exec::open_path(thread, path).map_err(crate::fail::errno)?;
            let (path, arguments) = (path.to_vec(), vec![path.to_vec()]);
            let program = Program { file, path, closed: false, arguments, environment: Vec::new() };
            exec::entry(thread, program).await
        };
        match Task::new(life).poll() {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("nothing in memory has to be waited for"),
        }
    }
}

/// A device that says what it is told to, and takes everything.
struct Recorded {
    bytes: isopod_hal::sync::SpinLock<Vec<u8>>,
    queue: WaitQueue,
}

impl CharDevice for Recorded {
    fn write(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn read(&self, into: &mut [u8]) -> usize {
        let mut bytes = self.bytes.lock();
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        bytes.drain(..length);
        length
    }

    fn can_write(&self) -> bool {
        true
    }

    fn is_drained(&self) -> bool {
        true
    }

    fn can_read(&self) -> bool {
        !self.bytes.lock().is_empty()
    }

    fn hung_up(&self) -> bool {
        true
    }

    fn writable(&self) -> &WaitQueue {
        &self.queue
    }

    fn readable(&self) -> &WaitQueue {
        &self.queue
    }

    fn write_polled(&self, _: &[u8]) {}
}

/// Hears everything that a host says on the control channel, until it hangs up; how many bytes of standard input that was.
pub fn hear(bytes: &[u8]) -> usize {
    let device = Recorded { bytes: isopod_hal::sync::SpinLock::new(bytes.to_vec()), queue: WaitQueue::new() };
    host::hear(Arc::new(device))
}
