//! Bytes in flight, shared and never copied: what a program wrote stays where it was put until the peer has acknowledged it, and what a
//! device received stays in its frame until a program reads it.

mod list;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use isopod_hal::OutOfMemory;

pub use list::Chunks;

/// A part of a buffer that several owners share. A clone is another view of the same bytes.
#[derive(Clone)]
pub struct Chunk {
    buffer: Arc<Vec<u8>>,
    start: u32,
    end: u32,
}

impl Chunk {
    /// A copy of `bytes`, with nothing to spare.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, OutOfMemory> {
        Self::with_capacity(bytes, bytes.len())
    }

    /// A copy of `bytes` in a buffer to which [`extend`](Self::extend) may add until there are `capacity`.
    pub fn with_capacity(bytes: &[u8], capacity: usize) -> Result<Self, OutOfMemory> {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(capacity.max(bytes.len())).map_err(|_| OutOfMemory)?;
        buffer.extend_from_slice(bytes);
        Ok(Self::from(buffer))
    }

    /// How many bytes there are.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "as a slice it has that")]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Leaves the first `count` bytes out of the view, or all of them.
    pub fn advance(&mut self, count: usize) {
        self.start += count.min(self.len()) as u32;
    }

    /// Leaves out of the view what lies behind the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.end = self.start + length.min(self.len()) as u32;
    }

    /// Takes the first `count` bytes, or all of them, as a chunk of their own.
    #[must_use = "to drop bytes, `advance` is enough"]
    pub fn split_to(&mut self, count: usize) -> Self {
        let mut front = self.clone();
        front.truncate(count);
        self.advance(count);
        front
    }

    /// How many bytes [`extend`](Self::extend) can add: as many as the buffer has room for behind the view, if nobody else can see that.
    pub fn spare(&mut self) -> usize {
        let end = self.end as usize;
        let buffer = Arc::get_mut(&mut self.buffer).filter(|buffer| buffer.len() == end);
        buffer.map_or(0, |buffer| buffer.capacity().min(u32::MAX as usize) - end)
    }

    /// Adds the first of `bytes` behind the view, as many as there is room for. Returns how many that are.
    pub fn extend(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.spare());
        if let Some(buffer) = Arc::get_mut(&mut self.buffer).filter(|_| count > 0) {
            buffer.extend_from_slice(&bytes[..count]);
            self.end += count as u32;
        }
        count
    }

    /// Bytes of memory that stay allocated because of this chunk.
    pub fn footprint(&self) -> usize {
        self.buffer.capacity()
    }
}

/// All of a buffer, which holds less than 4 GiB.
impl From<Vec<u8>> for Chunk {
    fn from(mut buffer: Vec<u8>) -> Self {
        buffer.truncate(u32::MAX as usize);
        Self { start: 0, end: buffer.len() as u32, buffer: Arc::new(buffer) }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // It lies within the buffer always; a check that cannot panic is one that is cheap enough to have everywhere.
        self.buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} of {} bytes)", self.len(), self.footprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_views_of_one_buffer() {
        let mut whole = Chunk::copy_of(b"headerpayload").unwrap();
        let header = whole.split_to(6);
        assert_eq!((&*header, &*whole), (&b"header"[..], &b"payload"[..]));
        assert!(Arc::ptr_eq(&header.buffer, &whole.buffer));
        whole.advance(3);
        whole.truncate(2);
        assert_eq!(&*whole, b"lo");
        whole.advance(100);
        assert!(whole.is_empty());
    }

    #[test]
    fn a_buffer_grows_in_place_only_for_its_sole_owner_and_only_at_its_end() {
        let mut chunk = Chunk::with_capacity(b"ab", 4).unwrap();
        assert_eq!(chunk.extend(b"cde"), 2);
        assert_eq!(&*chunk, b"abcd");
        let mut shared = Chunk::with_capacity(b"ab", 4).unwrap();
        let other = shared.clone();
        assert_eq!(shared.extend(b"c"), 0);
        drop(other);
        shared.truncate(1);
        assert_eq!(shared.extend(b"c"), 0, "there is a byte of somebody's behind the view");
    }
}
