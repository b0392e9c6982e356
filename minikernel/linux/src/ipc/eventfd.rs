//! eventfd(2): a counter that can be waited for.

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, Ready, Seeking};
use isopod_fs::{Errno, Result, Sink, Source};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;

/// The largest value of the counter.
const MAX: u64 = u64::MAX - 1;

#[derive(Debug)]
struct EventCounter {
    value: SpinLock<u64>,
    /// Each read takes 1 and leaves the rest (`EFD_SEMAPHORE`).
    semaphore: bool,
    changed: Arc<WaitQueue>,
}

/// A new counter. `flags` can be `O_NONBLOCK`.
pub fn new_eventfd(
    initial: u32,
    semaphore: bool,
    flags: OpenFlags,
) -> core::result::Result<Arc<OpenFile>, Errno> {
    let ops = EventCounter { value: SpinLock::new(initial.into()), semaphore, changed: Arc::default() };
    super::anonymous_file("[eventfd]", OpenFlags::RDWR | flags, Box::new(ops))
}

/// Whether `file` is a counter.
pub fn is_one(file: &OpenFile) -> bool {
    counter(file).is_some()
}

/// Adds 1 if there is room (`eventfd_signal()`).
pub fn signal(file: &OpenFile) {
    let Some(counter) = counter(file) else { return };
    let mut value = counter.value.lock();
    *value = value.saturating_add(1);
    drop(value);
    counter.changed.wake_all();
}

fn counter(file: &OpenFile) -> Option<&EventCounter> {
    file.ops()?.downcast_ref()
}

impl FileOps for EventCounter {
    fn read(&self, _file: &OpenFile, _offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        if sink.remaining() < size_of::<u64>() {
            return Err(Errno::EINVAL.into());
        }
        let mut value = self.value.lock();
        if *value == 0 {
            return Err(Errno::EAGAIN.into());
        }
        let taken = if self.semaphore { 1 } else { *value };
        if sink.put(&taken.to_le_bytes()) < size_of::<u64>() {
            // The copy was cut: nothing is taken.
            return Ok(0);
        }
        *value -= taken;
        drop(value);
        self.changed.wake_all();
        Ok(size_of::<u64>())
    }

    fn write(&self, _file: &OpenFile, _offset: u64, source: &mut dyn Source) -> Result<usize> {
        let mut bytes = [0; size_of::<u64>()];
        if source.remaining() < bytes.len() {
            return Err(Errno::EINVAL.into());
        }
        if source.take(&mut bytes) < bytes.len() {
            return Ok(0);
        }
        let added = u64::from_le_bytes(bytes);
        if added == u64::MAX {
            return Err(Errno::EINVAL.into());
        }
        let mut value = self.value.lock();
        *value = value.checked_add(added).filter(|&sum| sum <= MAX).ok_or(Errno::EAGAIN)?;
        drop(value);
        self.changed.wake_all();
        Ok(bytes.len())
    }

    fn writes_stream(&self) -> bool {
        false
    }

    fn ready(&self, _file: &OpenFile) -> Ready {
        let value = *self.value.lock();
        let mut ready = Ready::empty();
        ready.set(Ready::READ, value > 0);
        ready.set(Ready::WRITE, value < MAX);
        ready
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(&self.changed))
    }

    fn seeking(&self) -> Seeking {
        Seeking::ZeroButStream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use isopod_fs::{Buffer, Bytes};

    fn add(file: &OpenFile, value: u64) -> core::result::Result<usize, Errno> {
        let credentials = testing::thread().identity().for_files();
        file.write(&credentials, &mut Bytes::new(&value.to_le_bytes())).map_err(crate::fail::errno)
    }

    fn take(file: &OpenFile) -> core::result::Result<u64, Errno> {
        let mut bytes = [0; 8];
        file.read(&mut Buffer::new(&mut bytes)).map_err(crate::fail::errno)?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[test]
    fn a_counter_is_read_whole_and_a_semaphore_by_ones() {
        testing::install_kernel();
        let counter = new_eventfd(5, false, OpenFlags::NONBLOCK).unwrap();
        assert_eq!(add(&counter, 10), Ok(8));
        assert_eq!((take(&counter), take(&counter)), (Ok(15), Err(Errno::EAGAIN)));
        let semaphore = new_eventfd(2, true, OpenFlags::NONBLOCK).unwrap();
        assert_eq!((take(&semaphore), take(&semaphore)), (Ok(1), Ok(1)));
        assert_eq!(take(&semaphore), Err(Errno::EAGAIN));
    }

    #[test]
    fn the_counter_never_overflows() {
        testing::install_kernel();
        let counter = new_eventfd(0, false, OpenFlags::NONBLOCK).unwrap();
        assert_eq!(add(&counter, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(add(&counter, MAX), Ok(8));
        assert_eq!(counter.ready(), Ready::READ);
        assert_eq!((add(&counter, 0), add(&counter, 1)), (Ok(8), Err(Errno::EAGAIN)));
        assert_eq!(take(&counter), Ok(MAX));
        assert_eq!(counter.ready(), Ready::WRITE);
    }
}
