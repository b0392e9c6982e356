//! A program's memory as system calls see it: typed pointers, and buffers that file systems fill and drain.
//!
//! Every access goes through the copies of `hal`, which end at the first byte that is not there. Here the page is then
//! provided, and the copy goes on; what cannot be provided is `EFAULT`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use core::pin::Pin;

use isopod_fs::{Errno, Sink, Source};
use isopod_hal::PAGE_SIZE;
use isopod_hal::frame::Frame;
use isopod_hal::uaccess::{self, Fault};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{AddressSpace, FaultError, FaultKind, page_down};
use crate::fail::Attempt;

/// The address of a `T` in the program's memory, as the program gave it.
pub struct UserPtr<T> {
    address: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPtr<T> {}

impl<T> fmt::Debug for UserPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address)
    }
}

impl<T> UserPtr<T> {
    /// The pointer to `address`.
    pub const fn new(address: usize) -> Self {
        Self { address, kind: PhantomData }
    }

    /// The address.
    pub fn address(self) -> usize {
        self.address
    }

    /// True for the null pointer.
    pub fn is_null(self) -> bool {
        self.address == 0
    }

    /// `None` for the null pointer.
    pub fn non_null(self) -> Option<Self> {
        (!self.is_null()).then_some(self)
    }

    /// The element `index` of an array that starts here; an address that leaves the number range faults when used.
    #[must_use]
    pub fn element(self, index: usize) -> Self {
        Self::new(self.address.saturating_add(index.saturating_mul(size_of::<T>())))
    }

    /// The same address as another type's.
    pub fn cast<U>(self) -> UserPtr<U> {
        UserPtr::new(self.address)
    }
}

/// For attempts at a call ([`Attempt`]): what is not there stops them, and is provided before they are made again.
impl<T: FromBytes + IntoBytes> UserPtr<T> {
    /// Reads the value.
    pub fn get(self) -> Result<T, Fault> {
        let mut value = T::new_zeroed();
        uaccess::copy_from_user(value.as_mut_bytes(), self.address).map_err(|at| at.fault)?;
        Ok(value)
    }

    /// Reads what may be null.
    pub fn get_optional(self) -> Result<Option<T>, Fault> {
        self.non_null().map(Self::get).transpose()
    }

    /// Reads `count` values.
    pub fn get_array(self, count: usize) -> Attempt<Vec<T>> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        values.resize_with(count, T::new_zeroed);
        let bytes = values.as_mut_slice().as_mut_bytes();
        uaccess::copy_from_user(bytes, self.address).map_err(|at| at.fault)?;
        Ok(values)
    }
}

impl<T: IntoBytes + Immutable> UserPtr<T> {
    /// Writes the value.
    pub fn put(self, value: &T) -> Result<(), Fault> {
        uaccess::copy_to_user(self.address, value.as_bytes()).map_err(|at| at.fault)
    }
}

impl UserPtr<u8> {
    /// Reads bytes.
    pub fn get_bytes(self, into: &mut [u8]) -> Result<(), Fault> {
        uaccess::copy_from_user(into, self.address).map_err(|at| at.fault)
    }

    /// As [`AddressSpace::check_zero_tail`].
    pub fn has_zero_tail(self, known: usize, size: usize) -> Attempt<()> {
        if size > PAGE_SIZE {
            return Err(Errno::E2BIG.into());
        }
        let mut tail = alloc::vec![0; size.saturating_sub(known)];
        Self::new(self.address.saturating_add(known)).get_bytes(&mut tail)?;
        if tail.iter().any(|&byte| byte != 0) { Err(Errno::E2BIG.into()) } else { Ok(()) }
    }

    /// Writes bytes.
    pub fn put_bytes(self, bytes: &[u8]) -> Result<(), Fault> {
        uaccess::copy_to_user(self.address, bytes).map_err(|at| at.fault)
    }

    /// Reads a NUL-terminated string of less than `limit` bytes, terminator included; `ENAMETOOLONG` when it is longer.
    pub fn get_string(self, limit: usize) -> Attempt<Vec<u8>> {
        let mut string = Vec::new();
        extend_string(&mut string, self.address, limit)??;
        Ok(string)
    }
}

/// What [`AddressSpace::resolve`] returns.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<(), Errno>> + Send + 'a>>;

impl AddressSpace {
    /// Provides what a copy did not find; `EFAULT` when that cannot be.
    ///
    /// The future is boxed: faults are rare, and every handler would otherwise carry its states.
    pub fn resolve(&self, fault: Fault) -> Resolving<'_> {
        let kind = if fault.write { FaultKind::Write } else { FaultKind::Read };
        Box::pin(async move {
            // One byte is one page: the copy will report the next one.
            let page = fault.address..fault.address.saturating_add(1);
            self.fault_in(page, kind).await.map_err(|error| match error {
                FaultError::Memory => Errno::ENOMEM,
                _ => Errno::EFAULT,
            })
        })
    }

    /// Fills `into` from the program's memory at `from`.
    pub async fn read_bytes(&self, from: usize, into: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while let Err(at) = uaccess::copy_from_user(&mut into[done..], from.wrapping_add(done)) {
            done += at.done;
            self.resolve(at.fault).await?;
        }
        Ok(())
    }

    /// Writes `bytes` to the program's memory at `to`.
    pub async fn write_bytes(&self, to: usize, bytes: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while let Err(at) = uaccess::copy_to_user(to.wrapping_add(done), &bytes[done..]) {
            done += at.done;
            self.resolve(at.fault).await?;
        }
        Ok(())
    }

    /// Writes zeros.
    pub async fn clear_bytes(&self, to: usize, length: usize) -> Result<(), Errno> {
        let mut done = 0;
        while let Err(at) = uaccess::clear_user(to.wrapping_add(done), length - done) {
            done += at.done;
            self.resolve(at.fault).await?;
        }
        Ok(())
    }

    /// Reads a value.
    pub async fn read<T: FromBytes + IntoBytes>(&self, from: UserPtr<T>) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.read_bytes(from.address, value.as_mut_bytes()).await?;
        Ok(value)
    }

    /// Writes a value.
    pub async fn write<T: IntoBytes + Immutable>(&self, to: UserPtr<T>, value: &T) -> Result<(), Errno> {
        self.write_bytes(to.address, value.as_bytes()).await
    }

    /// Reads `count` values. `EFAULT` or `ENOMEM`; the caller has checked the count against the call's own limit.
    pub async fn read_array<T: FromBytes + IntoBytes + Clone>(
        &self,
        from: UserPtr<T>,
        count: usize,
    ) -> Result<Vec<T>, Errno> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        values.resize(count, T::new_zeroed());
        self.read_bytes(from.address, values.as_mut_slice().as_mut_bytes()).await?;
        Ok(values)
    }

    /// Checks that what a structure from a newer program has beyond what is known here, `known..size`, is all zero: `E2BIG` otherwise, and
    /// for a structure of more than a page (`copy_struct_from_user`).
    pub async fn check_zero_tail(&self, from: usize, known: usize, size: usize) -> Result<(), Errno> {
        if size > PAGE_SIZE {
            return Err(Errno::E2BIG);
        }
        let mut tail = alloc::vec![0; size.saturating_sub(known)];
        self.read_bytes(from.saturating_add(known), &mut tail).await?;
        if tail.iter().any(|&byte| byte != 0) { Err(Errno::E2BIG) } else { Ok(()) }
    }

    /// Reads a NUL-terminated string of less than `limit` bytes, terminator included; `ENAMETOOLONG` when it is longer.
    pub async fn read_string(&self, from: UserPtr<u8>, limit: usize) -> Result<Vec<u8>, Errno> {
        let mut string = Vec::new();
        loop {
            match extend_string(&mut string, from.address, limit) {
                Ok(outcome) => return outcome.map(|()| string),
                Err(fault) => self.resolve(fault).await?,
            }
        }
    }
}

/// Goes on reading the string at `from`, of which `string` has been read; a fault says where it stopped.
fn extend_string(string: &mut Vec<u8>, from: usize, limit: usize) -> Result<Result<(), Errno>, Fault> {
    while string.len() < limit {
        let Some(at) = from.checked_add(string.len()) else { return Ok(Err(Errno::EFAULT)) };
        // Up to the page's end at a time: what follows may not be mapped, and need not.
        let step = (page_down(at) + PAGE_SIZE - at).min(limit - string.len()).min(256);
        let mut chunk = [0; 256];
        uaccess::copy_from_user(&mut chunk[..step], at).map_err(|at| at.fault)?;
        let end = chunk[..step].iter().position(|&byte| byte == 0);
        let found = &chunk[..end.unwrap_or(step)];
        // No more than there is: the strings of an execve are many.
        if string.try_reserve(found.len()).is_err() {
            return Ok(Err(Errno::ENOMEM));
        }
        string.extend_from_slice(found);
        if end.is_some() {
            return Ok(Ok(()));
        }
    }
    Ok(Err(Errno::ENAMETOOLONG))
}

/// Buffers of a program, which a read fills or a write drains in order, and the fault that stopped the last copy.
#[derive(Debug)]
pub struct UserBuffers {
    /// All segments, or none of a single buffer.
    segments: Box<[Range<usize>]>,
    /// Index of the segment behind the one that is in use.
    next: usize,
    /// Where the next byte lies, and how many follow in that segment, that one included.
    at: usize,
    left: usize,
    /// Bytes of all segments.
    length: usize,
    /// Bytes of all segments that have been used.
    done: usize,
    /// Up to where they may be used for now.
    limit: usize,
    fault: Option<Fault>,
}

impl UserBuffers {
    /// Uses the segments in order.
    pub fn new(segments: Vec<Range<usize>>) -> Self {
        let length = segments.iter().map(Range::len).sum();
        let segments = segments.into_boxed_slice();
        Self { segments, next: 0, at: 0, left: 0, length, done: 0, limit: length, fault: None }
    }

    /// Uses one buffer.
    pub fn one(segment: Range<usize>) -> Self {
        let length = segment.len();
        let (segments, at) = (Box::default(), segment.start);
        Self { segments, next: 0, at, left: length, length, done: 0, limit: length, fault: None }
    }

    /// Bytes of all segments.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Uses no more than `length` bytes, whatever it is allowed.
    pub fn cut(&mut self, length: usize) {
        self.length = self.length.min(length);
        self.limit = self.limit.min(length);
    }

    /// The fault that stopped the last copy, if one did; after it is taken, copies go on where they stopped.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// How many bytes have been used.
    pub fn position(&self) -> usize {
        self.done
    }

    /// True when all have been used.
    pub fn is_used_up(&self) -> bool {
        self.done == self.length
    }

    /// Lets only `bytes` more be used for now; returns how many there are of them.
    pub fn allow(&mut self, bytes: usize) -> usize {
        self.limit = self.length.min(self.done.saturating_add(bytes));
        self.limit - self.done
    }

    /// Goes back to where only `position` bytes had been used: an operation that was stopped half-way begins anew there.
    pub fn rewind(&mut self, position: usize) {
        if self.segments.is_empty() {
            self.at = self.at.wrapping_sub(self.done).wrapping_add(position);
            self.left = self.left + self.done - position;
        } else {
            (self.next, self.left) = (0, 0);
            let mut before = position;
            while let Some(segment) = self.segments.get(self.next) {
                self.next += 1;
                if before < segment.len() {
                    (self.at, self.left) = (segment.start + before, segment.len() - before);
                    break;
                }
                before -= segment.len();
            }
        }
        self.done = position;
    }

    /// Copies up to `length` bytes, segment by segment; `copy(address, offset, length)` does each part and says how much of it, to memory if `write`.
    fn advance(
        &mut self,
        length: usize,
        write: bool,
        copy: &mut dyn FnMut(usize, usize, usize) -> usize,
    ) -> usize {
        let begin = self.done;
        let end = begin + length.min(self.limit - begin);
        while self.done < end && self.fault.is_none() {
            if self.left == 0 {
                let Some(segment) = self.segments.get(self.next) else { break };
                (self.at, self.left) = (segment.start, segment.len());
                self.next += 1;
                continue;
            }
            let step = self.left.min(end - self.done);
            let copied = copy(self.at, self.done - begin, step);
            self.at += copied;
            self.left -= copied;
            self.done += copied;
            if copied < step {
                self.fault = Some(Fault { address: self.at, write });
            }
        }
        self.done - begin
    }
}

/// How many of `length` bytes a copy has done.
fn done(outcome: Result<(), uaccess::FaultAt>, length: usize) -> usize {
    outcome.map_or_else(|at| at.done, |()| length)
}

impl Sink for UserBuffers {
    fn put(&mut self, bytes: &[u8]) -> usize {
        self.advance(bytes.len(), true, &mut |to, offset, length| {
            done(uaccess::copy_to_user(to, &bytes[offset..offset + length]), length)
        })
    }

    fn put_frame(&mut self, frame: &Frame, start: usize, length: usize) -> usize {
        self.advance(length, true, &mut |to, offset, length| {
            done(uaccess::copy_frame_to_user(frame, start + offset, to, length), length)
        })
    }

    fn put_zeros(&mut self, length: usize) -> usize {
        self.advance(length, true, &mut |to, _, length| done(uaccess::clear_user(to, length), length))
    }

    fn remaining(&self) -> usize {
        self.limit - self.done
    }
}

impl Source for UserBuffers {
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        self.advance(bytes.len(), false, &mut |from, offset, length| {
            done(uaccess::copy_from_user(&mut bytes[offset..offset + length], from), length)
        })
    }

    fn take_frame(&mut self, frame: &Frame, start: usize, length: usize) -> usize {
        self.advance(length, false, &mut |from, offset, length| {
            done(uaccess::copy_user_to_frame(frame, start + offset, from, length), length)
        })
    }

    fn skip(&mut self) -> usize {
        self.advance(usize::MAX, false, &mut |_, _, length| length)
    }

    fn remaining(&self) -> usize {
        self.limit - self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies as if only the addresses below `end` were there; notes what was copied from where.
    fn copy(buffers: &mut UserBuffers, length: usize, end: usize, seen: &mut Vec<Range<usize>>) -> usize {
        buffers.advance(length, false, &mut |at, _, step| {
            let done = end.saturating_sub(at).min(step);
            seen.push(at..at + done);
            done
        })
    }

    #[test]
    fn a_cut_copy_goes_on_where_it_is_told_to() {
        let mut buffers = UserBuffers::new([10..14, 20..20, 30..40].to_vec());
        let left = |buffers: &UserBuffers| Sink::remaining(buffers);
        let mut seen = Vec::new();
        assert_eq!(copy(&mut buffers, 3, 100, &mut seen), 3);
        assert_eq!(copy(&mut buffers, 8, 33, &mut seen), 4);
        assert_eq!((buffers.position(), left(&buffers)), (7, 7));
        assert_eq!(buffers.take_fault().unwrap().address, 33);
        // What was cut is met again from the start of the operation.
        buffers.rewind(3);
        assert_eq!(left(&buffers), 11);
        assert_eq!(copy(&mut buffers, 20, 100, &mut seen), 11);
        assert_eq!(seen, [10..13, 13..14, 30..33, 13..14, 30..40]);
        assert!(buffers.is_used_up());
        buffers.rewind(14);
        assert_eq!(left(&buffers), 0);
    }

    #[test]
    fn only_what_is_allowed_is_used() {
        let mut buffers = UserBuffers::new([10..14, 30..40].to_vec());
        assert_eq!(buffers.allow(6), 6);
        assert_eq!(copy(&mut buffers, 20, 100, &mut Vec::new()), 6);
        assert_eq!((Sink::remaining(&buffers), buffers.is_used_up()), (0, false));
        assert_eq!(buffers.allow(100), 8);
        assert_eq!(copy(&mut buffers, 20, 100, &mut Vec::new()), 8);
        assert!(buffers.is_used_up());
    }
}
