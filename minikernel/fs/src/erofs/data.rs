//! Where the bytes of a file are.

use isopod_hal::{PAGE_SIZE, frame::Frame};

use super::inode::{DiskInode, Layout};
use super::{CORRUPT, Image, u16_at, u32_at};
use crate::{Errno, Result};

/// The block address of a chunk that is a hole.
const HOLE: u32 = u32::MAX;

/// A run of bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where it is in the image; `None` for a hole.
    pub(super) offset: Option<u64>,
    /// How long it is, at least one byte.
    pub(super) length: u64,
}

impl DiskInode {
    /// The run of bytes from `position` on, which lies before the end of the file.
    pub(super) fn run(&self, image: &Image, position: u64) -> Result<Run> {
        let left = self.size.checked_sub(position).filter(|left| *left > 0).ok_or(CORRUPT)?;
        let superblock = &image.superblock;
        match self.layout {
            Layout::Plain(block) => {
                let offset = superblock.block(block).checked_add(position).ok_or(CORRUPT)?;
                Ok(Run { offset: Some(offset), length: left })
            }
            Layout::Inline(block) => {
                let tail = self.size % superblock.block_size();
                let tail_start = self.size - tail;
                if position < tail_start {
                    let offset = superblock.block(block).checked_add(position).ok_or(CORRUPT)?;
                    return Ok(Run { offset: Some(offset), length: tail_start - position });
                }
                let start = self.xattrs + self.xattrs_size;
                // The tail does not cross the border of a block.
                if start % superblock.block_size() + tail > superblock.block_size() {
                    return Err(CORRUPT);
                }
                Ok(Run { offset: Some(start + (position - tail_start)), length: left })
            }
            Layout::Chunks { bits, indexes } => {
                let chunk = position >> bits;
                let within = position & ((1 << bits) - 1);
                let length = left.min((1 << bits) - within);
                let block = self.chunk(image, chunk, indexes)?;
                let offset = match block {
                    HOLE => None,
                    block => Some(superblock.block(block).checked_add(within).ok_or(CORRUPT)?),
                };
                Ok(Run { offset, length })
            }
        }
    }

    /// The first block of a chunk.
    fn chunk(&self, image: &Image, chunk: u64, indexes: bool) -> Result<u32> {
        let size: u64 = if indexes { 8 } else { 4 };
        let table = (self.xattrs + self.xattrs_size).next_multiple_of(size);
        let entry = chunk.checked_mul(size).and_then(|offset| table.checked_add(offset)).ok_or(CORRUPT)?;
        if !indexes {
            return Ok(u32_at(&image.read::<4>(entry)?, 0));
        }
        let entry: [u8; 8] = image.read(entry)?;
        let block = u32_at(&entry, 4);
        // There is one device, and no block beyond 32 bits.
        if block != HOLE && (u16_at(&entry, 0) != 0 || u16_at(&entry, 2) != 0) {
            return Err(CORRUPT);
        }
        Ok(block)
    }

    /// Those of the pages from `first` on that are in memory, and the image's, each in its place. All lie before the one with the end of the
    /// file.
    pub(super) fn resident(&self, image: &Image, first: u64, mut frames: &mut [Option<Frame>]) {
        let mut position = first * PAGE_SIZE as u64;
        while !frames.is_empty() {
            let Ok(run) = self.run(image, position) else { return };
            let count = (run.length / PAGE_SIZE as u64).clamp(1, frames.len() as u64);
            let (these, rest) = frames.split_at_mut(count as usize);
            if let Some(offset) = run.offset
                && offset.is_multiple_of(PAGE_SIZE as u64)
                && run.length >= PAGE_SIZE as u64
                && offset.checked_add(count * PAGE_SIZE as u64).is_some_and(|end| end <= image.source.size())
            {
                image.source.resident(offset / PAGE_SIZE as u64, these);
            }
            position += count * PAGE_SIZE as u64;
            frames = rest;
        }
    }

    /// A page of the file, and whether it is a copy: that of the image is given where it holds nothing else. ENXIO
    /// after the end. `clean` says that zeros are known to follow the end of the file in the image.
    pub(super) fn page(&self, image: &Image, index: u64, clean: bool) -> Result<(Frame, bool)> {
        let start =
            index.checked_mul(PAGE_SIZE as u64).filter(|start| *start < self.size).ok_or(Errno::ENXIO)?;
        let length = (self.size - start).min(PAGE_SIZE as u64) as usize;
        let run = self.run(image, start)?;
        if let Some(offset) = run.offset
            && offset.is_multiple_of(PAGE_SIZE as u64)
            && run.length >= length as u64
        {
            if offset.checked_add(length as u64).is_none_or(|end| end > image.source.size()) {
                return Err(CORRUPT);
            }
            let frame = image.source.page(offset / PAGE_SIZE as u64)?;
            if clean || frame.is_zero(length..PAGE_SIZE) {
                return Ok((frame, false));
            }
        }
        Ok((self.copy_page(image, start, length)?, true))
    }

    /// A page of the file in a frame of its own, with zeros after the end of the file.
    fn copy_page(&self, image: &Image, start: u64, length: usize) -> Result<Frame> {
        let frame = Frame::zeroed()?;
        let mut bytes = [0; 512];
        let mut done = 0;
        while done < length {
            let run = self.run(image, start + done as u64)?;
            let step = (length - done).min(run.length as usize).min(bytes.len());
            if let Some(offset) = run.offset {
                image.read_into(offset, &mut bytes[..step])?;
                frame.write(done, &bytes[..step]);
            }
            done += step;
        }
        Ok(frame)
    }
}
