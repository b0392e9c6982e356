//! Where the bytes of a read go and those of a write come from.
//!
//! The system calls implement [`Sink`] and [`Source`] over a process's memory, where a copy can stop at a page
//! that is not present. They remember that; an operation only sees that fewer bytes were taken than offered,
//! and ends with what it has done.

use alloc::collections::VecDeque;

use isopod_hal::{PAGE_SIZE, frame::Frame};

/// A destination of bytes.
pub trait Sink {
    /// Copies `bytes` to the destination. Returns how many fitted; fewer than offered ends the operation.
    fn put(&mut self, bytes: &[u8]) -> usize;

    /// As [`put`](Self::put), for `length` bytes of `frame` from `offset`; they lie within the page.
    fn put_frame(&mut self, frame: &Frame, offset: usize, length: usize) -> usize;

    /// How many bytes are still wanted.
    fn remaining(&self) -> usize;

    /// As [`put`](Self::put), for `length` zero bytes.
    fn put_zeros(&mut self, length: usize) -> usize {
        const ZEROS: [u8; 256] = [0; 256];
        let mut done = 0;
        while done < length {
            let step = ZEROS.len().min(length - done);
            let put = self.put(&ZEROS[..step]);
            done += put;
            if put < step {
                break;
            }
        }
        done
    }
}

/// An origin of bytes.
pub trait Source {
    /// Fills `bytes` from the origin. Returns how many were there; fewer than asked for ends the operation.
    fn take(&mut self, bytes: &mut [u8]) -> usize;

    /// As [`take`](Self::take), to `length` bytes of `frame` from `offset`; they lie within the page.
    fn take_frame(&mut self, frame: &Frame, offset: usize, length: usize) -> usize;

    /// How many bytes are still to be taken.
    fn remaining(&self) -> usize;

    /// Takes everything without looking at it. Returns how much there was.
    fn skip(&mut self) -> usize;
}

/// A [`Sink`] over kernel memory.
#[derive(Debug)]
pub struct Buffer<'a> {
    bytes: &'a mut [u8],
    filled: usize,
}

impl<'a> Buffer<'a> {
    /// Fills `bytes` from its start.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, filled: 0 }
    }

    /// How many bytes were put.
    pub fn filled(&self) -> usize {
        self.filled
    }
}

impl Sink for Buffer<'_> {
    fn put(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(self.remaining());
        self.bytes[self.filled..self.filled + length].copy_from_slice(&bytes[..length]);
        self.filled += length;
        length
    }

    fn put_frame(&mut self, frame: &Frame, offset: usize, length: usize) -> usize {
        let length = length.min(self.remaining());
        frame.read(offset, &mut self.bytes[self.filled..self.filled + length]);
        self.filled += length;
        length
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.filled
    }
}

/// A [`Source`] over kernel memory.
#[derive(Debug)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Yields `bytes` from its start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn advance(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

impl Source for Bytes<'_> {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let taken = self.advance(bytes.len());
        bytes[..taken.len()].copy_from_slice(taken);
        taken.len()
    }

    fn take_frame(&mut self, frame: &Frame, offset: usize, length: usize) -> usize {
        let taken = self.advance(length);
        frame.write(offset, taken);
        taken.len()
    }

    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn skip(&mut self) -> usize {
        self.advance(usize::MAX).len()
    }
}

/// Moves bytes from the front of `queue` to `sink`. What the sink does not take stays. Returns how many it took.
pub fn drain(queue: &mut VecDeque<u8>, sink: &mut dyn Sink) -> usize {
    let mut done = 0;
    while !queue.is_empty() && sink.remaining() > 0 {
        let slice = queue.as_slices().0;
        let length = slice.len().min(sink.remaining());
        let put = sink.put(&slice[..length]);
        queue.drain(..put);
        done += put;
        if put < length {
            break;
        }
    }
    done
}

/// The next bytes of `source`, at most `room` and what `buffer` holds; and whether there can be more.
pub fn next_bytes<'a>(source: &mut dyn Source, buffer: &'a mut [u8], room: usize) -> (&'a [u8], bool) {
    let wanted = source.remaining().min(buffer.len()).min(room);
    let taken = source.take(&mut buffer[..wanted]);
    (&buffer[..taken], taken == wanted && source.remaining() > 0)
}

/// The page that holds byte `position`, and where in it the byte lies.
pub(crate) const fn page_of(position: u64) -> (u64, usize) {
    (position / PAGE_SIZE as u64, (position % PAGE_SIZE as u64) as usize)
}
