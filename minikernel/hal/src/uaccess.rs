//! The only way to user memory: copies in the active address space that end with an error where a page is missing or
//! forbids the access.
//!
//! A fault is not resolved here. The caller gets the address, makes the page present if the program may use it, and
//! tries again; nothing waits and nothing is locked meanwhile.

use core::{fmt, ops::Range};

use crate::{PAGE_SIZE, frame::Frame, machine, paging::USER_END};

/// An access to user memory that the page tables forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// First byte that could not be reached.
    pub address: usize,
    /// Whether it was to be written.
    pub write: bool,
}

/// A copy that ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultAt {
    /// Bytes copied before the fault.
    pub done: usize,
    /// The access that failed.
    pub fault: Fault,
}

impl From<FaultAt> for Fault {
    fn from(at: FaultAt) -> Self {
        at.fault
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} user memory at {:#x}", if self.write { "write" } else { "read" }, self.address)
    }
}

impl core::error::Error for Fault {}

/// Copies `into.len()` bytes in from user address `from`. After a fault the first `done` bytes of `into` are set.
#[inline]
pub fn copy_from_user(into: &mut [u8], from: usize) -> Result<(), FaultAt> {
    let len = within(from, into.len(), false)?;
    // SAFETY: `into` is writable for `len` bytes, and the user range has been checked.
    let done = unsafe { machine::copy_from_user(into.as_mut_ptr(), from, len) };
    finish(from, done, into.len(), false)
}

/// Copies all of `from` out to user address `to`.
#[inline]
pub fn copy_to_user(to: usize, from: &[u8]) -> Result<(), FaultAt> {
    let len = within(to, from.len(), true)?;
    // SAFETY: `from` is readable for `len` bytes, and the user range has been checked.
    let done = unsafe { machine::copy_to_user(to, from.as_ptr(), len) };
    finish(to, done, from.len(), true)
}

/// Sets `len` bytes from user address `to` to zero.
pub fn clear_user(to: usize, len: usize) -> Result<(), FaultAt> {
    const ZEROS: [u8; 512] = [0; 512];
    let mut done = 0;
    while done < len {
        let step = ZEROS.len().min(len - done);
        copy_to_user(to.wrapping_add(done), &ZEROS[..step])
            .map_err(|at| FaultAt { done: done + at.done, fault: at.fault })?;
        done += step;
    }
    Ok(())
}

/// Copies `len` bytes of `frame` from `offset` on out to user address `to`.
///
/// # Panics
/// The bytes do not all lie in the frame.
pub fn copy_frame_to_user(frame: &Frame, offset: usize, to: usize, len: usize) -> Result<(), FaultAt> {
    let from = frame.at(offset, len);
    let count = within(to, len, true)?;
    // SAFETY: `at` has checked the frame's range, `within` the user's.
    let done = unsafe { machine::copy_to_user(to, from, count) };
    finish(to, done, len, true)
}

/// Copies `len` bytes from user address `from` into `frame` at `offset`.
///
/// # Panics
/// The bytes do not all lie in the frame.
pub fn copy_user_to_frame(frame: &Frame, offset: usize, from: usize, len: usize) -> Result<(), FaultAt> {
    let into = frame.at(offset, len);
    let count = within(from, len, false)?;
    // SAFETY: `at` has checked the frame's range, `within` the user's.
    let done = unsafe { machine::copy_from_user(into, from, count) };
    finish(from, done, len, false)
}

/// The aligned word at user address `address`, loaded atomically.
pub fn user_load_u32(address: usize) -> Result<u32, Fault> {
    word(address, false)?;
    // SAFETY: the word is aligned and in the user half.
    unsafe { machine::user_load_u32(address) }.ok_or(Fault { address, write: false })
}

/// Stores to the aligned word at user address `address`, atomically.
pub fn user_store_u32(address: usize, value: u32) -> Result<(), Fault> {
    word(address, true)?;
    // SAFETY: the word is aligned and in the user half.
    unsafe { machine::user_store_u32(address, value) }.ok_or(Fault { address, write: true })
}

/// Sets the aligned word at user address `address` to `new` if it is `old`; returns what it was before.
pub fn user_cmpxchg_u32(address: usize, old: u32, new: u32) -> Result<u32, Fault> {
    word(address, true)?;
    // SAFETY: the word is aligned and in the user half.
    unsafe { machine::user_cmpxchg_u32(address, old, new) }.ok_or(Fault { address, write: true })
}

/// How many of the `len` bytes at `address` lie in the user half; an error if there are some and none does.
#[inline]
fn within(address: usize, len: usize, write: bool) -> Result<usize, FaultAt> {
    let count = len.min(USER_END.saturating_sub(address));
    if count == 0 && len > 0 {
        return Err(FaultAt { done: 0, fault: Fault { address, write } });
    }
    Ok(count)
}

#[inline]
fn finish(address: usize, done: usize, len: usize, write: bool) -> Result<(), FaultAt> {
    if done == len {
        return Ok(());
    }
    Err(FaultAt { done, fault: Fault { address: address + done, write } })
}

fn word(address: usize, write: bool) -> Result<(), Fault> {
    // Callers check alignment first and answer EINVAL; a word across pages could not be atomic.
    let inside = Range { start: 0, end: USER_END }.contains(&address);
    if inside && address.is_multiple_of(4) { Ok(()) } else { Err(Fault { address, write }) }
}

const _: () = assert!(USER_END.is_multiple_of(PAGE_SIZE));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paging::{Access, PageTable};

    const BASE: usize = 0x7000_0000;

    /// Two pages, the second read-only, then nothing.
    fn space() -> (PageTable, Frame, Frame) {
        let mut table = PageTable::new().unwrap();
        let frames = (Frame::zeroed().unwrap(), Frame::zeroed().unwrap());
        table.map(BASE, frames.0.clone(), Access::READ | Access::WRITE).unwrap();
        table.map(BASE + PAGE_SIZE, frames.1.clone(), Access::READ).unwrap();
        table.activate();
        (table, frames.0, frames.1)
    }

    #[test]
    fn copies_cross_pages_and_stop_where_access_ends() {
        let (_table, first, second) = space();
        first.write(4094, b"ab");
        second.write(0, b"cd");
        let mut bytes = [0; 4];
        copy_from_user(&mut bytes, BASE + 4094).unwrap();
        assert_eq!(&bytes, b"abcd");
        let fault = Fault { address: BASE + PAGE_SIZE, write: true };
        assert_eq!(copy_to_user(BASE + 4093, b"wxyz"), Err(FaultAt { done: 3, fault }));
        assert_eq!(&first.read_array(4093), b"wxy");
        let end = BASE + 2 * PAGE_SIZE;
        let fault = Fault { address: end, write: false };
        assert_eq!(copy_user_to_frame(&first, 0, end - 1, 9), Err(FaultAt { done: 1, fault }));
    }

    #[test]
    fn the_kernel_half_faults_at_its_first_byte() {
        let (_table, ..) = space();
        let mut byte = [0; 2];
        for address in [USER_END, usize::MAX, 0xffff_8000_0000_0000] {
            let fault = Fault { address, write: false };
            assert_eq!(copy_from_user(&mut byte, address), Err(FaultAt { done: 0, fault }));
        }
        assert_eq!(copy_from_user(&mut [], USER_END), Ok(()));
        assert!(copy_from_user(&mut byte, USER_END - 1).is_err());
    }

    #[test]
    fn words_are_exchanged() {
        let (_table, first, _) = space();
        user_store_u32(BASE + 8, 5).unwrap();
        assert_eq!(user_cmpxchg_u32(BASE + 8, 4, 6), Ok(5));
        assert_eq!(user_cmpxchg_u32(BASE + 8, 5, 6), Ok(5));
        assert_eq!(user_load_u32(BASE + 8), Ok(6));
        assert_eq!(first.read_array(8), 6u32.to_ne_bytes());
        assert!(user_load_u32(BASE + 9).is_err());
        let address = BASE + PAGE_SIZE;
        assert_eq!(user_store_u32(address, 1), Err(Fault { address, write: true }));
    }

    #[test]
    fn clearing_reports_how_far_it_came() {
        let (_table, first, _) = space();
        first.write(0, &[1; PAGE_SIZE]);
        let fault = Fault { address: BASE + PAGE_SIZE, write: true };
        assert_eq!(clear_user(BASE + 16, PAGE_SIZE), Err(FaultAt { done: PAGE_SIZE - 16, fault }));
        assert_eq!(first.read_array::<17>(0), [[1u8; 16].as_slice(), &[0]].concat()[..]);
    }
}
