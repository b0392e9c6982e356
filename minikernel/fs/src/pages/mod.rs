//! Where the bytes of a file system that is only read come from, in pages: memory that the loader filled, or a device
//! through a cache.

mod cache;
mod read_ahead;

use core::fmt;
use core::ops::Range;

use isopod_hal::boot_memory::BootMemory;
use isopod_hal::{PAGE_SIZE, frame::Frame};

use crate::{Errno, Result};

pub use cache::{PageCache, PageDevice, PageRead, cached};

/// Bytes that never change, in pages that can be mapped.
pub trait PageSource: Send + Sync {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// The page with this index; what lies after the end in the last one is arbitrary. EIO if it cannot be read or
    /// there is none.
    fn page(&self, index: u64) -> Result<Frame>;

    /// Puts those of the pages from `first` on that are in memory in their places in `frames`. Others may begin to be read.
    fn resident(&self, first: u64, frames: &mut [Option<Frame>]) {
        for (index, place) in (first..).zip(frames) {
            *place = self.page(index).ok();
        }
    }

    /// Starts to read these pages, if that takes time.
    fn prefetch(&self, _pages: Range<u64>) {}
}

// Not a supertrait: every type behind a table of methods would bring the code that prints it into the kernel.
impl fmt::Debug for dyn PageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageSource")
    }
}

impl PageSource for BootMemory {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn page(&self, index: u64) -> Result<Frame> {
        self.frame(index as usize).ok_or_else(|| Errno::EIO.into())
    }
}

/// Copies the bytes from `offset` on. EUCLEAN if they are not all within the source.
pub(crate) fn read_exact(source: &dyn PageSource, offset: u64, bytes: &mut [u8]) -> Result<()> {
    let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= source.size());
    if end.is_none() {
        return Err(Errno::EUCLEAN.into());
    }
    let mut done = 0;
    while done < bytes.len() {
        let position = offset + done as u64;
        let start = (position % PAGE_SIZE as u64) as usize;
        let length = (PAGE_SIZE - start).min(bytes.len() - done);
        source.page(position / PAGE_SIZE as u64)?.read(start, &mut bytes[done..done + length]);
        done += length;
    }
    Ok(())
}

/// A source of bytes in memory, for tests.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Bytes {
    frames: alloc::vec::Vec<Frame>,
    size: u64,
}

#[cfg(test)]
impl Bytes {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let frames = bytes
            .chunks(PAGE_SIZE)
            .map(|chunk| {
                let frame = Frame::zeroed().unwrap();
                frame.write(0, chunk);
                frame
            })
            .collect();
        Self { frames, size: bytes.len() as u64 }
    }
}

#[cfg(test)]
impl PageSource for Bytes {
    fn size(&self) -> u64 {
        self.size
    }

    fn page(&self, index: u64) -> Result<Frame> {
        self.frames.get(index as usize).cloned().ok_or_else(|| Errno::EIO.into())
    }
}
