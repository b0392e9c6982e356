//! A sequence of chunks: the payload of a segment, or a queue of bytes that are to be sent or read.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use isopod_hal::OutOfMemory;

use super::Chunk;

/// A chunk shorter than this is worth a copy, rather than the buffer and the place in a queue that it occupies.
const SMALL: usize = 256;
/// The buffer in which small chunks are gathered.
const GATHERED: usize = 2048;

/// Chunks in order. One chunk, the usual payload, needs no memory but this; none of them is empty.
#[derive(Debug, Default)]
pub struct Chunks {
    first: Option<Chunk>,
    /// What follows the first, once there has been anything.
    #[expect(clippy::box_collection, reason = "without it a list is half as long, and dropped in one step")]
    rest: Option<Box<VecDeque<Chunk>>>,
    len: usize,
}

impl Chunks {
    /// No bytes.
    pub const fn new() -> Self {
        Self { first: None, rest: None, len: 0 }
    }

    /// How many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that stay allocated because of it.
    pub fn footprint(&self) -> usize {
        self.iter().map(Chunk::footprint).sum()
    }

    /// The first chunk's bytes.
    #[inline]
    pub fn front(&self) -> &[u8] {
        self.first.as_deref().unwrap_or_default()
    }

    /// The chunks, from the first byte to the last.
    pub fn iter(&self) -> impl Iterator<Item = &Chunk> {
        self.first.iter().chain(self.rest.as_deref().into_iter().flatten())
    }

    /// Another view of the same bytes.
    pub fn try_clone(&self) -> Result<Self, OutOfMemory> {
        let mut clone = Self { first: self.first.clone(), rest: None, len: self.len };
        if let Some(rest) = self.rest.as_ref().filter(|rest| !rest.is_empty()) {
            clone.reserve(rest.len())?.extend(rest.iter().cloned());
        }
        Ok(clone)
    }

    /// Where chunks behind the first have their place, with room for as many more.
    fn reserve(&mut self, count: usize) -> Result<&mut VecDeque<Chunk>, OutOfMemory> {
        let rest = self.rest.get_or_insert_default();
        rest.try_reserve(count).map_err(|_| OutOfMemory)?;
        Ok(rest)
    }

    /// The last chunk.
    fn last(&mut self) -> Option<&mut Chunk> {
        self.rest.as_mut().and_then(|rest| rest.back_mut()).or(self.first.as_mut())
    }

    /// Adds a chunk at the end.
    pub fn push(&mut self, chunk: Chunk) -> Result<(), OutOfMemory> {
        if chunk.is_empty() {
            return Ok(());
        }
        if self.first.is_some() {
            self.reserve(1)?;
        }
        self.place(chunk);
        Ok(())
    }

    /// Adds a chunk at the end; a small one is copied to its neighbour, so that many of them cost little more than their bytes. Where memory is
    /// short nothing changes.
    pub fn gather(&mut self, chunk: Chunk) -> Result<(), OutOfMemory> {
        if chunk.len() >= SMALL {
            return self.push(chunk);
        }
        let Some(last) = self.last() else { return self.push(chunk) };
        let (front, rest) = chunk.split_at(last.spare().min(chunk.len()));
        // What may fail comes before what changes anything.
        let rest = if rest.is_empty() { None } else { Some(Chunk::with_capacity(rest, GATHERED)?) };
        if rest.is_some() {
            self.reserve(1)?;
        }
        if let Some(last) = self.last() {
            self.len += last.extend(front);
        }
        rest.map_or(Ok(()), |rest| self.push(rest))
    }

    /// Adds all of `other` at the end, as [`gather`](Self::gather) does. Where memory is short nothing is lost but the end of `other`.
    pub fn append(&mut self, mut other: Self) -> Result<(), OutOfMemory> {
        if self.is_empty() && self.rest.is_none() {
            *self = other;
            return Ok(());
        }
        while let Some(chunk) = other.pop() {
            self.gather(chunk)?;
        }
        Ok(())
    }

    /// Takes the first chunk.
    pub fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.first.take()?;
        self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        self.len -= chunk.len();
        Some(chunk)
    }

    /// Drops the first `count` bytes, or all of them.
    pub fn advance(&mut self, count: usize) {
        let mut left = count.min(self.len);
        while let Some(first) = self.first.as_mut().filter(|_| left > 0) {
            if first.len() > left {
                first.advance(left);
                self.len -= left;
                return;
            }
            left -= first.len();
            self.pop();
        }
    }

    /// Drops what lies behind the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        while self.len > length {
            let excess = self.len - length;
            let Some(last) = self.last() else { return };
            if last.len() > excess {
                last.truncate(last.len() - excess);
                self.len = length;
            } else {
                self.len -= last.len();
                if self.rest.as_mut().and_then(|rest| rest.pop_back()).is_none() {
                    self.first = None;
                }
            }
        }
    }

    /// Takes the first `count` bytes, or all of them. Where memory is short nothing changes.
    pub fn split_to(&mut self, count: usize) -> Result<Self, OutOfMemory> {
        if count >= self.len {
            return Ok(core::mem::take(self));
        }
        let mut front = Self::new();
        let mut covered = 0;
        let chunks = self.iter().take_while(|chunk| {
            let begins = covered;
            covered += chunk.len();
            begins < count
        });
        let chunks = chunks.count();
        if chunks > 1 {
            front.reserve(chunks - 1)?;
        }
        while let Some(mut part) = self.first.clone().filter(|_| front.len < count) {
            part.truncate(count - front.len);
            self.advance(part.len());
            front.place(part);
        }
        Ok(front)
    }

    /// Gives the bytes from `offset` on to `sink`, chunk by chunk, until it takes fewer than it was offered. Returns how many it took.
    pub fn copy_to(&self, offset: usize, sink: &mut dyn FnMut(&[u8]) -> usize) -> usize {
        let (mut skip, mut taken) = (offset, 0);
        for chunk in self.iter() {
            let part = chunk.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(chunk.len());
            if part.is_empty() {
                continue;
            }
            let count = sink(part).min(part.len());
            taken += count;
            if count < part.len() {
                break;
            }
        }
        taken
    }

    /// Gives back the memory of a queue that has run empty after it was long.
    #[inline]
    pub fn release(&mut self) {
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty() && rest.capacity() > 4) {
            self.rest = None;
        }
    }

    /// Puts a chunk at the end, for which there is room.
    fn place(&mut self, chunk: Chunk) {
        self.len += chunk.len();
        match self.first {
            None => self.first = Some(chunk),
            Some(_) => self.rest.get_or_insert_default().push_back(chunk),
        }
    }
}

impl From<Chunk> for Chunks {
    fn from(chunk: Chunk) -> Self {
        let len = chunk.len();
        Self { first: (len > 0).then_some(chunk), rest: None, len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn chunks(parts: &[&[u8]]) -> Chunks {
        let mut chunks = Chunks::new();
        for part in parts {
            chunks.push(Chunk::copy_of(part).unwrap()).unwrap();
        }
        chunks
    }

    fn bytes(chunks: &Chunks) -> Vec<u8> {
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.to_vec()).collect();
        assert_eq!(bytes.len(), chunks.len());
        bytes
    }

    #[test]
    fn a_list_is_cut_anywhere() {
        for cut in 0..=9 {
            let mut list = chunks(&[b"abc", b"", b"d", b"efghi"]);
            let mut short = list.try_clone().unwrap();
            let mut late = list.try_clone().unwrap();
            let front = list.split_to(cut).unwrap();
            assert_eq!(
                (bytes(&front), bytes(&list)),
                (b"abcdefghi"[..cut].into(), b"abcdefghi"[cut..].into())
            );
            short.truncate(cut);
            late.advance(cut);
            assert_eq!((bytes(&short), bytes(&late)), (bytes(&front), bytes(&list)));
        }
    }

    #[test]
    fn many_small_chunks_share_buffers() {
        let mut list = Chunks::new();
        for _ in 0..GATHERED {
            list.gather(Chunk::copy_of(b"ab").unwrap()).unwrap();
        }
        assert_eq!(list.len(), 2 * GATHERED);
        assert!(list.iter().count() <= 3);
    }

    #[test]
    fn what_follows_a_shared_chunk_does_not_change_it() {
        let mut list = Chunks::from(Chunk::with_capacity(b"ab", 100).unwrap());
        let sent = list.try_clone().unwrap();
        list.gather(Chunk::copy_of(b"cd").unwrap()).unwrap();
        assert_eq!((bytes(&sent), bytes(&list)), (b"ab".into(), b"abcd".into()));
    }

    #[test]
    fn a_sink_takes_what_it_can_from_where_it_begins() {
        let list = chunks(&[b"abc", b"def", b"ghi"]);
        let mut seen = Vec::new();
        let taken = list.copy_to(2, &mut |part| {
            let count = part.len().min(5 - seen.len());
            seen.extend_from_slice(&part[..count]);
            count
        });
        assert_eq!((taken, &*seen), (5, &b"cdefg"[..]));
    }
}
