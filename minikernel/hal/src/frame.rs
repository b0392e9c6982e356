//! Frames: pages of RAM with reference counts.

use core::{
    fmt, mem,
    num::NonZeroU64,
    ops::Range,
    ptr,
    sync::atomic::{AtomicU32, Ordering, fence},
};

use crate::{
    PAGE_SIZE, PhysAddr, machine,
    memory::{OutOfMemory, Purpose, memory},
};

/// Lowest bit of a frame's word, whose rest is its address: the RAM is not the allocator's (a module, the linked root), so it is never freed.
const UNMANAGED: u64 = 1;

/// One page of RAM. A clone is one more owner of the same page; the page is free when the last owner drops it.
///
/// What a frame holds is plain bytes that several owners, user programs and devices may change at any time. Reads and
/// writes therefore copy, and promise no atomicity beyond that of [`Frame::atomic_u32`].
pub struct Frame(NonZeroU64);

impl Frame {
    /// A frame full of zeros.
    pub fn zeroed() -> Result<Self, OutOfMemory> {
        let frame = Self::uninit()?;
        frame.clear(0..PAGE_SIZE);
        Ok(frame)
    }

    /// A frame with arbitrary contents, which may have been another process's: overwrite all of it before a program
    /// can see it.
    #[inline]
    pub fn uninit() -> Result<Self, OutOfMemory> {
        Self::allocate(Purpose::Ordinary)
    }

    pub(crate) fn allocate(purpose: Purpose) -> Result<Self, OutOfMemory> {
        let memory = memory();
        let number = memory.allocate(1, purpose)?;
        // SAFETY: the frame was just allocated, so its record is ours until others get to know the frame. The
        // pointer to the field makes no reference to the fields that the allocator may look at.
        unsafe { (*memory.spans.record(number)).references.store(1, Ordering::Relaxed) };
        let address = u64::from(number) * PAGE_SIZE as u64;
        Ok(Self(NonZeroU64::new(address).expect("frame 0 is never managed")))
    }

    /// A frame outside the allocator's spans.
    ///
    /// # Safety
    /// The page is RAM, mapped in the direct map, that nothing but plain data owns, for ever.
    pub(crate) unsafe fn unmanaged(page: PhysAddr) -> Option<Self> {
        let address = Some(page.as_u64()).filter(|address| address.is_multiple_of(PAGE_SIZE as u64))?;
        NonZeroU64::new(address | UNMANAGED).map(Self)
    }

    /// The frame as a number for a page table, which then owns this reference.
    pub(crate) fn into_raw(self) -> (PhysAddr, bool) {
        let raw = (self.phys(), self.is_managed());
        mem::forget(self);
        raw
    }

    /// The frame that a page table owned.
    ///
    /// # Safety
    /// The arguments came from [`Frame::into_raw`], and its reference passes to the result.
    pub(crate) unsafe fn from_raw(page: PhysAddr, managed: bool) -> Self {
        let word = page.as_u64() | if managed { 0 } else { UNMANAGED };
        Self(NonZeroU64::new(word).expect("a raw frame is never frame 0"))
    }

    /// Where the page lies.
    #[inline]
    pub fn phys(&self) -> PhysAddr {
        PhysAddr::new(self.0.get() & !UNMANAGED)
    }

    /// Whether this is the only owner. Of unmanaged frames there is always another: they are never written in place.
    pub fn is_unique(&self) -> bool {
        self.is_managed() && self.references().load(Ordering::Acquire) == 1
    }

    /// How many handles and page-table entries share the frame; the largest number for unmanaged frames, which are never written in place.
    pub fn owners(&self) -> u32 {
        if self.is_managed() { self.references().load(Ordering::Acquire) } else { u32::MAX }
    }

    /// Whether both are the same page.
    pub fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Whether the bytes of `range` are all zero.
    ///
    /// # Panics
    /// The range does not lie in the page.
    pub fn is_zero(&self, range: Range<usize>) -> bool {
        let mut chunk = [0u8; 128];
        let mut at = range.start;
        while at < range.end {
            let step = chunk.len().min(range.end - at);
            self.read(at, &mut chunk[..step]);
            // Word by word: the compiler does not make that of bytes where it makes small code.
            let (words, bytes) = chunk[..step].as_chunks();
            let some = words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word));
            if some != 0 || bytes.iter().any(|byte| *byte != 0) {
                return false;
            }
            at += step;
        }
        true
    }

    /// Copies out `into.len()` bytes from `offset` on.
    ///
    /// # Panics
    /// The bytes do not all lie in the page.
    #[inline]
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: `at` has checked the range; `into` is the caller's own memory, which no frame overlaps.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) }
    }

    /// Copies in all of `from` at `offset`.
    ///
    /// # Panics
    /// The bytes do not all lie in the page.
    #[inline]
    pub fn write(&self, offset: usize, from: &[u8]) {
        let into = self.at(offset, from.len());
        // SAFETY: as for `read`, in the other direction.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) }
    }

    /// The `N` bytes at `offset`.
    ///
    /// # Panics
    /// The bytes do not all lie in the page.
    #[inline]
    pub fn read_array<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes);
        bytes
    }

    /// Fills a part of the page with zeros.
    ///
    /// # Panics
    /// The range does not lie in the page.
    pub fn clear(&self, range: Range<usize>) {
        let len = range.end.checked_sub(range.start).expect("a range runs forwards");
        let into = self.at(range.start, len);
        // SAFETY: `at` has checked the range.
        unsafe { ptr::write_bytes(into, 0, len) }
    }

    /// Makes this page's contents those of another.
    pub fn copy_from(&self, other: &Self) {
        // SAFETY: both are whole pages; `copy` allows them to be the same one.
        unsafe { ptr::copy(other.at(0, PAGE_SIZE).cast_const(), self.at(0, PAGE_SIZE), PAGE_SIZE) }
    }

    /// A word of the page for atomic access: futexes, data shared with the vDSO.
    ///
    /// # Panics
    /// `offset` is not a multiple of 4 below [`PAGE_SIZE`].
    pub fn atomic_u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "an atomic word is aligned");
        // SAFETY: the word is aligned and lies in a page that lives as long as `self`; atomics may be shared.
        unsafe { &*self.at(offset, 4).cast::<AtomicU32>() }
    }

    /// Pointer to `len` bytes at `offset`, for which the page has room.
    #[expect(clippy::inline_always, reason = "part of every copy")]
    #[inline(always)]
    pub(crate) fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len).expect("a range within a page");
        assert!(end <= PAGE_SIZE, "a range within a page");
        // SAFETY: the direct map holds the whole page, since frames are mapped before they are handed out.
        unsafe { machine::direct(self.phys()).add(offset) }
    }

    /// The number of a managed frame.
    #[inline]
    fn number(&self) -> u32 {
        (self.0.get() / PAGE_SIZE as u64) as u32
    }

    fn is_managed(&self) -> bool {
        self.0.get() & UNMANAGED == 0
    }

    #[inline]
    fn references(&self) -> &AtomicU32 {
        // SAFETY: the record of an allocated frame stays where it is; this field is atomic and shared only as such.
        unsafe { &(*memory().spans.record(self.number())).references }
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        if self.is_managed() {
            let before = self.references().fetch_add(1, Ordering::Relaxed);
            // Each owner takes at least eight bytes somewhere, so 2^32 of them need more memory than the owners of one
            // page will ever have; were it otherwise, freeing the page too early must not be the result.
            assert!(before < u32::MAX, "too many owners of a frame");
        }
        Self(self.0)
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        if self.is_managed() && self.references().fetch_sub(1, Ordering::Release) == 1 {
            // Whatever the other owners did with the page happens before it is used anew.
            fence(Ordering::Acquire);
            // SAFETY: this was the last owner.
            unsafe { memory().free(self.number(), 1) };
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({})", self.phys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_shared_by_clones() {
        let frame = Frame::zeroed().unwrap();
        assert!(frame.is_unique());
        let other = frame.clone();
        assert!(!frame.is_unique() && frame.same(&other));
        frame.write(4090, b"abcdef");
        assert_eq!(&other.read_array(4090), b"abcdef");
        drop(frame);
        assert!(other.is_unique());
        other.clear(4091..4093);
        assert_eq!(&other.read_array(4090), b"a\0\0def");
        other.atomic_u32(8).store(7, Ordering::Relaxed);
        assert_eq!(other.read_array(8), 7u32.to_ne_bytes());
    }

    #[test]
    fn pages_are_copied_whole() {
        let from = Frame::zeroed().unwrap();
        let to = Frame::uninit().unwrap();
        from.write(0, &[9; PAGE_SIZE]);
        to.copy_from(&from);
        assert_eq!(to.read_array::<PAGE_SIZE>(0), [9; PAGE_SIZE]);
        assert!(!from.same(&to));
    }

    #[test]
    #[should_panic(expected = "within a page")]
    fn access_beyond_the_page_is_a_bug() {
        Frame::zeroed().unwrap().write(4095, &[1, 2]);
    }
}
