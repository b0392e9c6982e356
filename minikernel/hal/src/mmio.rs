//! Device registers in memory.

use core::fmt;

use crate::{PAGE_SIZE, PhysRange, cpu::physical_limit, machine, memory::memory};

/// Why registers could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The range is empty, wraps around, or lies beyond what the processor can address.
    Address,
    /// The range contains RAM that the kernel manages.
    Ram,
    /// No memory for page tables, or no room left for windows.
    OutOfMemory,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not a range of addresses",
            Self::Ram => "the range is RAM",
            Self::OutOfMemory => "no room for a window",
        })
    }
}

impl core::error::Error for MapError {}

/// A window to device registers, uncached. It stays mapped for good: devices are found once.
pub struct Mmio {
    window: machine::MmioWindow,
    range: PhysRange,
}

impl Mmio {
    /// Maps registers.
    pub fn map(range: PhysRange) -> Result<Self, MapError> {
        let end = range.start.checked_add(range.len).filter(|end| end.as_u64() <= physical_limit());
        if range.len == 0 || end.is_none() {
            return Err(MapError::Address);
        }
        let page = PAGE_SIZE as u64;
        let ram = memory().spans.iter().any(|span| {
            range.start.as_u64() < u64::from(span.end) * page
                && u64::from(span.first) * page < range.end().as_u64()
        });
        if ram {
            return Err(MapError::Ram);
        }
        Ok(Self { window: machine::MmioWindow::open(range)?, range })
    }

    /// What is mapped.
    pub fn range(&self) -> PhysRange {
        self.range
    }

    fn check(&self, offset: usize, width: usize) {
        let end = offset.checked_add(width).expect("a register within the window");
        assert!(end as u64 <= self.range.len && offset.is_multiple_of(width), "a register within the window");
    }
}

macro_rules! accessors {
    ($($read:ident, $write:ident: $word:ty;)*) => {
        impl Mmio {
            $(
                #[doc = concat!("Reads the ", stringify!($word), " register at `offset`.")]
                ///
                /// # Panics
                /// As all accesses: when the register does not lie in the window, or is not aligned to its width.
                #[inline]
                pub fn $read(&self, offset: usize) -> $word {
                    self.check(offset, size_of::<$word>());
                    self.window.read::<$word>(offset)
                }

                #[doc = concat!("Writes the ", stringify!($word), " register at `offset`.")]
                #[inline]
                pub fn $write(&self, offset: usize, value: $word) {
                    self.check(offset, size_of::<$word>());
                    self.window.write::<$word>(offset, value);
                }
            )*
        }
    };
}

accessors! {
    read8, write8: u8;
    read16, write16: u16;
    read32, write32: u32;
    read64, write64: u64;
}

impl fmt::Debug for Mmio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mmio({:?})", self.range)
    }
}
