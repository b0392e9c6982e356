//! Physical addresses.

use core::fmt;

use crate::PAGE_SIZE;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// The address `value`.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The address as a number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// This address plus `bytes`; `None` where the address space ends.
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Whether the address is a multiple of `alignment`, a power of two.
    pub const fn is_aligned(self, alignment: u64) -> bool {
        self.0 & (alignment - 1) == 0
    }

    /// The address of the page that contains this one.
    #[must_use]
    pub const fn page(self) -> Self {
        Self(self.0 & !(PAGE_SIZE as u64 - 1))
    }

    /// Offset within the page, below [`PAGE_SIZE`].
    pub const fn page_offset(self) -> usize {
        self.0 as usize & (PAGE_SIZE - 1)
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A range of physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PhysRange {
    /// First address.
    pub start: PhysAddr,
    /// Length in bytes.
    pub len: u64,
}

impl PhysRange {
    /// The `len` bytes from `start`.
    pub const fn new(start: PhysAddr, len: u64) -> Self {
        Self { start, len }
    }

    /// The first address behind the range, at most the last address that there is.
    pub const fn end(self) -> PhysAddr {
        PhysAddr(self.start.0.saturating_add(self.len))
    }

    /// Whether `other` lies wholly within this range.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.start.checked_add(other.len).is_some_and(|end| end <= self.end())
    }

    /// Whether the ranges share a byte.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

impl fmt::Debug for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start.0, self.end().0)
    }
}
