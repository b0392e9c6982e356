//! Memory that the kernel shares with a device.

use alloc::vec::Vec;
use core::{
    fmt,
    ptr::{self, NonNull},
    sync::atomic::{Ordering, fence as cpu_fence},
};

use crate::{
    PAGE_SIZE, PhysAddr, machine,
    memory::{OutOfMemory, Purpose, buddy::block_range, memory},
};

/// Orders reads of shared memory before it against every access after it, and every access before it against writes after it. Between the write of a
/// descriptor and the index that publishes it, or between an index and what it covers (virtio 1.2, section 2.7.13.2).
pub fn fence() {
    cpu_fence(Ordering::AcqRel);
}

/// Orders every access to shared memory before it against every access after it. Between the index that publishes buffers and the device's wish to be
/// notified, or between the driver's wish and the device's index (virtio 1.2, sections 2.7.13.4.1 and 2.7.14).
pub fn full_fence() {
    machine::full_fence();
}

/// Where bytes of the heap lie, for a device to read them there. The caller keeps them until it has, or it reads what comes to lie there. `None`
/// for what does not lie in one piece.
pub fn address_of(bytes: &[u8]) -> Option<PhysAddr> {
    machine::heap_address(bytes)
}

/// Physically contiguous pages, zeroed, below no particular address. The device may write them at any time, so each
/// access is volatile and what is read must be judged as input.
pub struct Dma {
    first: u32,
    length: usize,
    /// Where the direct map has it.
    base: NonNull<u8>,
}

// SAFETY: the memory is this value's alone but for the device, and stays where it is.
unsafe impl Send for Dma {}
// SAFETY: each access is volatile or a copy of bytes; those who share it agree on who writes, as with the device.
unsafe impl Sync for Dma {}

impl Dma {
    /// `pages` contiguous pages; at least one.
    pub fn pages(pages: usize) -> Result<Self, OutOfMemory> {
        let first = memory().allocate(pages, Purpose::Ordinary)?;
        let phys = block_range(first, 1).start;
        // SAFETY: the direct map holds all pages, and nothing lies at its address 0.
        let base = unsafe { NonNull::new_unchecked(machine::direct(phys)) };
        let dma = Self { first, length: pages * PAGE_SIZE, base };
        // SAFETY: the pages were just allocated and are mapped, and `len` covers just them.
        unsafe { ptr::write_bytes(dma.at(0, dma.len()), 0, dma.len()) };
        Ok(dma)
    }

    /// Address for the device.
    pub fn phys(&self) -> PhysAddr {
        block_range(self.first, 1).start
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Always false: there is at least one page.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies out `into.len()` bytes from `offset` on.
    ///
    /// # Panics
    /// As all accesses: when the bytes do not lie in the memory, or are not aligned to their width.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: `at` has checked the range; the copy is of bytes, which have no invalid values.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) }
    }

    /// Copies out `len` bytes from `offset` on, to the end of `into`.
    pub fn append_to(&self, offset: usize, len: usize, into: &mut Vec<u8>) -> Result<(), OutOfMemory> {
        into.try_reserve(len).map_err(|_| OutOfMemory)?;
        let (from, end) = (self.at(offset, len), into.len());
        // SAFETY: `at` has checked the source; the vector has room for as many bytes, all of which are written before they are counted.
        unsafe {
            ptr::copy_nonoverlapping(from, into.as_mut_ptr().add(end), len);
            into.set_len(end + len);
        }
        Ok(())
    }

    /// Copies in all of `from` at `offset`.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let into = self.at(offset, from.len());
        // SAFETY: as for `read`, in the other direction.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) }
    }

    #[inline]
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        if len > self.length || offset > self.length - len {
            refuse();
        }
        // SAFETY: the direct map holds all the pages, one after the other.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Where a word lies.
    #[expect(clippy::inline_always, reason = "drivers read and write a dozen for each buffer")]
    #[inline(always)]
    fn word<T>(&self, offset: usize) -> *mut T {
        // There are whole pages: a word that is aligned and begins within them ends there.
        if !offset.is_multiple_of(size_of::<T>()) || offset >= self.length {
            refuse();
        }
        // SAFETY: as in `at`.
        unsafe { self.base.as_ptr().add(offset).cast() }
    }
}

#[cold]
fn refuse() -> ! {
    panic!("an access to memory that a device shares is not within it, or not aligned");
}

macro_rules! accessors {
    ($($read:ident, $write:ident: $word:ty;)*) => {
        impl Dma {
            $(
                #[doc = concat!("The `", stringify!($word), "` at `offset`.")]
                #[inline(always)]
                pub fn $read(&self, offset: usize) -> $word {
                    // SAFETY: aligned (pages are) and within the memory, as `word` has checked.
                    unsafe { self.word::<$word>(offset).read_volatile() }
                }

                #[doc = concat!("Sets the `", stringify!($word), "` at `offset`.")]
                #[inline(always)]
                pub fn $write(&self, offset: usize, value: $word) {
                    // SAFETY: as for the read.
                    unsafe { self.word::<$word>(offset).write_volatile(value) }
                }
            )*
        }
    };
}

accessors! {
    read_u8, write_u8: u8;
    read_u16, write_u16: u16;
    read_u32, write_u32: u32;
    read_u64, write_u64: u64;
}

impl Drop for Dma {
    fn drop(&mut self) {
        // SAFETY: the pages are this value's alone. That the device knows them no more is the driver's part: it
        // resets the device or takes the buffer back before it drops it.
        unsafe { memory().free(self.first, self.length / PAGE_SIZE) };
    }
}

impl fmt::Debug for Dma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dma({:?})", block_range(self.first, self.length / PAGE_SIZE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_meet() {
        let dma = Dma::pages(3).unwrap();
        assert_eq!(dma.len(), 3 * PAGE_SIZE);
        assert!(dma.phys().is_aligned(PAGE_SIZE as u64));
        dma.write_u64(PAGE_SIZE * 3 - 8, 0x0102_0304_0506_0708);
        assert_eq!(dma.read_u16(PAGE_SIZE * 3 - 8), 0x0708);
        let mut bytes = [0; 2];
        dma.read(PAGE_SIZE * 3 - 2, &mut bytes);
        assert_eq!(bytes, [2, 1]);
        dma.write(4094, b"1234");
        assert_eq!(dma.read_u8(4097), b'4');
    }

    #[test]
    fn bytes_are_appended_behind_others() {
        let dma = Dma::pages(1).unwrap();
        dma.write(10, b"frame");
        let mut bytes = b"a ".to_vec();
        dma.append_to(10, 5, &mut bytes).unwrap();
        assert_eq!(bytes, b"a frame");
    }

    #[test]
    fn a_device_finds_lent_bytes() {
        let address = address_of(b"lent").unwrap();
        let mut seen = [0; 4];
        crate::firmware::read(address, &mut seen).unwrap();
        assert_eq!(&seen, b"lent");
    }

    #[test]
    #[should_panic(expected = "aligned")]
    fn words_are_aligned() {
        Dma::pages(1).unwrap().read_u32(2);
    }
}
